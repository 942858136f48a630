//! What only tests use is visible to tests alone. The library's modules are public for tests, benches and fuzz targets,
//! so its own build reports no dead code; compiled as a program with `--cfg alone` it does.

use std::process::Command;

/// What the compiler says of the library as a program, with one more function in it where there is one.
#[test]
fn the_agent_uses_all_that_it_holds() {
    let cargo = std::env::var_os("CARGO").expect("run by cargo");
    let checked = Command::new(cargo)
        .args(["rustc", "--quiet", "--locked", "--lib", "--profile", "check", "--crate-type", "bin"])
        .args(["--", "--cfg", "alone", "-D", "warnings"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
