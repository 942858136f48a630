//! Compiles `bpf/*.bpf.c`, and what the benches set beside it, into skeletons (`OUT_DIR/*.skel.rs`), and tells the
//! binary which commit it is.
//!
//! The programs include only our own `bpf/*.h` and libbpf's helper headers (shipped by libbpf-cargo), never a
//! generated `vmlinux.h`: they must build on any machine, for any kernel.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use libbpf_cargo::SkeletonBuilder;

/// Programs that the agent never loads.
const BESIDE: [&str; 1] = ["benches/shapes.bpf.c"];

fn main() {
    println!("cargo:rerun-if-changed=bpf");
    for source in BESIDE {
        println!("cargo:rerun-if-changed={source}");
    }
    println!("cargo:rerun-if-env-changed=NETMON_COMMIT");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let mut sources: Vec<PathBuf> = fs::read_dir("bpf")
        .expect("bpf/ is part of the source tree")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(".bpf.c"))
        .collect();
    sources.sort();
    sources.extend(BESIDE.map(PathBuf::from));
    for source in sources {
        let name = source.file_name().expect("read_dir gives named entries").to_string_lossy().replace(".bpf.c", "");
        // Instruction set v2, not v3: with 32-bit registers clang spills four bytes into slots that held a pointer, which
        // the verifier refuses to programs without CAP_PERFMON ("attempt to corrupt spilled pointer on stack").
        SkeletonBuilder::new()
            .source(&source)
            .clang_args(["-Wall", "-Werror", "-Wno-unused-command-line-argument", "-Ibpf", "-mcpu=v2", "-O2"])
            .build_and_generate(out.join(format!("{name}.skel.rs")))
            .unwrap_or_else(|error| panic!("cannot compile {}: {error:#}", source.display()));
    }
    println!("cargo:rustc-env=NETMON_COMMIT={}", commit());
    leave_out_unwind_tables();
}

/// For the static binary alone; see `build/no-unwind-tables.ld`.
fn leave_out_unwind_tables() {
    const SCRIPT: &str = "build/no-unwind-tables.ld";
    println!("cargo:rerun-if-changed={SCRIPT}");
    if env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|libc| libc == "musl") {
        let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
        println!("cargo:rustc-link-arg-bins=-Wl,-T,{root}/{SCRIPT}");
        // No padding to whole pages between code and constants, and strings that end alike stand once: 4 KB.
        println!("cargo:rustc-link-arg-bins=-Wl,-z,noseparate-code,-O2,--build-id=none");
    }
}

/// The short commit, from `NETMON_COMMIT` (image builds have no `.git`) or git, else "unknown".
fn commit() -> String {
    if let Ok(given) = env::var("NETMON_COMMIT")
        && !given.is_empty()
    {
        return given;
    }
    // Where git has them: in a worktree `.git` is a file. A build for development names the commit of its first build,
    // for to name each would compile everything anew after every commit.
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        for file in ["HEAD", "logs/HEAD"] {
            if let Some(path) = git(&["rev-parse", "--git-path", file]).filter(|path| fs::exists(path).unwrap_or(false))
            {
                println!("cargo:rerun-if-changed={path}");
            }
        }
    }
    git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".to_owned())
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
