//! `zxporter-netmon topology compile`: files of a cloud on the command line to lines on the standard output.

use std::io::Write;
use std::process::ExitCode;

use crate::config::tools::Given;
use crate::topology::compile::{Cloud, Entries, Wanted};
use crate::topology::{Scope, Via};

/// The largest file that is read: Azure's has 4 MB.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// Prints the lines. Status 2 for an unknown cloud, 1 where a file cannot be used.
pub fn run(given: &Given) -> ExitCode {
    let (cloud, files) = match given.operands.split_first() {
        Some((cloud, files)) => (cloud.to_str().and_then(Cloud::named), files),
        None => (None, &[][..]),
    };
    let Some(cloud) = cloud else {
        crate::logging::complain(&format_args!("topology compile: want aws, gcp or azure, and then files"));
        return ExitCode::from(2);
    };
    let words = |name| given.word(name).map(|text| text.split(',').map(|word| word.trim().to_owned()).collect());
    let wanted = Wanted {
        regions: words("regions").unwrap_or_default(),
        services: words("services").unwrap_or_default(),
        scope: given.word("scope").and_then(|word| Scope::SAYABLE.into_iter().find(|scope| scope.as_str() == word)),
        via: given.word("via").and_then(Via::from_text).unwrap_or_default(),
    };
    let mut entries = Entries::default();
    for file in files {
        if let Err(why) =
            read(file.as_ref()).and_then(|text| entries.read(cloud, &text).map_err(|error| error.to_string()))
        {
            crate::logging::complain(&format_args!("cannot use {}: {why}", file.display()));
            return ExitCode::FAILURE;
        }
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut written = Ok(());
    entries.lines(cloud, &wanted, |line| {
        if written.is_ok() {
            written = writeln!(out, "{line}");
        }
    });
    match written.and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::logging::complain(&format_args!("cannot write the lines: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn read(file: &std::path::Path) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if size > MAX_FILE_BYTES {
        return Err(format!("{size} bytes are more than any cloud publishes"));
    }
    std::fs::read(file).map_err(|error| error.to_string())
}
