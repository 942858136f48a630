//! `zxporter-netmon doctor`: prints what was found, and answers with an exit status.

use std::process::ExitCode;

use crate::config::Config;
use crate::config::tools::Given;
use crate::doctor;
use crate::findings::{json, status, text};

/// Looks and prints. Status 0 where all is well, 3 with warnings alone, 1 where something does not work.
pub fn run(given: &Given, config: &Config) -> ExitCode {
    let (title, found) = doctor::examine(config);
    match given.word("format") {
        Some("json") => print!("{}", json(&found)),
        _ => {
            let style = super::view::style(given, |name| std::env::var(name).ok());
            print!("{title}\n{}", text(&found, if style.utf8 { "→" } else { "->" }));
        }
    }
    ExitCode::from(status(&found))
}
