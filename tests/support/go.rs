//! Programs in Go: the control of what is to behave as Go's own packages do.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Builds a program of one file; `None` where Go is not installed.
pub fn build(name: &str, source: &str) -> Option<PathBuf> {
    Command::new("go").arg("version").stdout(Stdio::null()).status().ok().filter(|status| status.success())?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("main.go"), source).expect("written");
    let status = Command::new("go")
        .args(["build", "-o", "control", "main.go"])
        .current_dir(&folder)
        .envs([("CGO_ENABLED", "0"), ("GO111MODULE", "off"), ("GOFLAGS", "")])
        .status()
        .expect("go");
    assert!(status.success(), "the control in Go does not build");
    Some(folder.join("control"))
}
