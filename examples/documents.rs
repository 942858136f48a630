//! Makes the man page and the shell completions from the table of settings.
//!
//! `cargo run --example documents -- FOLDER` writes them; `tests/documents.rs` holds those in `package/` to it.

#[path = "documents/completions.rs"]
mod completions;
#[path = "documents/man.rs"]
mod man;

use std::path::PathBuf;
use std::process::ExitCode;

/// The files: name below the folder, and text.
pub fn documents() -> [(&'static str, String); 4] {
    [
        ("zxporter-netmon.8", man::page()),
        ("completions/zxporter-netmon.bash", completions::bash()),
        ("completions/_zxporter-netmon", completions::zsh()),
        ("completions/zxporter-netmon.fish", completions::fish()),
    ]
}

#[allow(dead_code)] // the test takes `documents` alone
fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: documents FOLDER");
        return ExitCode::from(2);
    };
    for (name, text) in documents() {
        let path = folder.join(name);
        let written = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, text));
        if let Err(error) = written {
            eprintln!("cannot write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
