//! What only tests use is visible to tests alone. The library's modules are public for tests, benches and fuzz targets,
//! so its own build reports no dead code. Here it is compiled as a program of private modules, which does.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder of links to what is in `from`, without `besides`.
fn mirrored(from: &Path, to: &Path, besides: &[&str]) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder of ours") {
        let name = entry.expect("an entry").file_name();
        if !besides.iter().any(|other| *other == name) {
            symlink(from.join(&name), to.join(&name)).expect("a link");
        }
    }
}

/// The package again, its modules private, in a folder beside what cargo builds.
fn closed() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("alone");
    let _ = fs::remove_dir_all(&copy);
    mirrored(package, &copy, &["src", "target", ".git"]);
    mirrored(&package.join("src"), &copy.join("src"), &["lib.rs"]);
    let root = fs::read_to_string(package.join("src/lib.rs")).expect("lib.rs");
    let root: String = root.lines().map(|line| line.strip_prefix("pub ").unwrap_or(line).to_owned() + "\n").collect();
    fs::write(copy.join("src/lib.rs"), root).expect("written");
    copy
}

#[test]
fn the_agent_uses_all_that_it_holds() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the folder of builds");
    let checked = Command::new(std::env::var_os("CARGO").expect("run by cargo"))
        .args(["rustc", "--quiet", "--locked", "--lib", "--profile", "check", "--crate-type", "bin"])
        .arg("--target-dir")
        .arg(target)
        .args(["--", "--cfg", "alone", "-D", "warnings"])
        .current_dir(closed())
        .output()
        .expect("cargo");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
