//! Arguments and environment: parts that end with a zero byte, `NAME=value` of the environment behind a `$`.
#![no_main]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use libfuzzer_sys::fuzz_target;
use netmon::config::{Command, parse};

fuzz_target!(|bytes: &[u8]| {
    let parts = || bytes.split(|b| *b == 0);
    let arguments = parts().filter(|part| part.first() != Some(&b'$')).map(|part| OsStr::from_bytes(part).to_owned());
    let environment = |name: &str| {
        let value = |part: &'_ [u8]| -> Option<OsString> {
            let rest = part.strip_prefix(b"$")?.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(OsStr::from_bytes(rest).to_owned())
        };
        parts().find_map(value)
    };
    match parse(arguments, environment, Some("a-host".into())) {
        Ok(Command::Run(config)) => {
            assert!(
                !config.node_name.is_empty() && config.node_name.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
            );
            assert!(config.read_interval_ns >= 100_000_000 && config.flush_interval_ns >= 1_000_000_000);
            if let Some(dakr) = config.dakr {
                assert!(dakr.url.starts_with("http://") || dakr.url.starts_with("https://"));
                assert!(dakr.url.bytes().chain(dakr.token.bytes()).all(|b| b.is_ascii_graphic()));
            }
        }
        Ok(Command::Help | Command::Version | Command::HelpOf(_) | Command::Tool(..)) => {}
        Err(error) => assert!(!error.to_string().contains(char::is_control), "one line"),
    }
});
