//! The agent's wall clock, which a scenario moves: `wall.c`, preloaded. The machine's own stays.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::agent::Start;
use crate::lab::Lab;

/// A clock that is moved.
pub struct Wall {
    library: PathBuf,
    file: PathBuf,
}

impl Wall {
    /// One that is right. `None` where the agent is a static binary, into which nothing is preloaded.
    pub fn new(lab: &Lab) -> Result<Option<Wall>, String> {
        if std::env::var_os("LAB_BINARY").is_some() {
            return Ok(None);
        }
        let wall = Wall { library: lab.file("wall.so"), file: lab.file("wall") };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/wall.c");
        let made = Command::new("clang")
            .args(["-shared", "-fPIC", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([&wall.library, &source])
            .status();
        match made {
            Ok(status) if status.success() => {}
            made => return Err(format!("cannot compile {}: {made:?}", source.display())),
        }
        wall.set(0)?;
        Ok(Some(wall))
    }

    /// Sets it so many seconds ahead of the machine's.
    pub fn set(&self, ahead_s: i64) -> Result<(), String> {
        // In place, for it is mapped.
        let file = fs::File::options().create(true).truncate(false).write(true).open(&self.file);
        let written = file.and_then(|file| std::os::unix::fs::FileExt::write_all_at(&file, &ahead_s.to_ne_bytes(), 0));
        written.map_err(|error| format!("cannot set the clock: {error}"))
    }

    /// The agent has this clock.
    pub fn on<'a>(&self, start: Start<'a>) -> Start<'a> {
        start
            .environment("LD_PRELOAD", &self.library.to_string_lossy())
            .environment("LAB_WALL", &self.file.to_string_lossy())
    }
}
