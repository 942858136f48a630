//! The settings of an agent, each with its value and where that comes from, as lines of text.

use std::fmt::Write;

use super::setting::{Default, Kind};
use super::settings::SETTINGS;

/// One line for each setting: name, value, and `flag`, `environment` or `default`, apart by tabs. What is secret is
/// not shown; only whether it was given.
pub fn lines(given: &[(&'static str, String)]) -> String {
    let mut text = String::with_capacity(4096);
    for setting in SETTINGS {
        let value = given.iter().find(|(name, _)| *name == setting.name).map(|(_, value)| value.as_str());
        let (value, from) = match (value, setting.default) {
            (Some(value), _) if setting.is_flag() => (value, "flag"),
            (Some(value), _) => (value, "environment"),
            (None, Default::Text(default) | Default::Described(default)) => (default, "default"),
        };
        let value = if setting.kind == Kind::Secret && from != "default" { "(not shown)" } else { value };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}\t{value}\t{from}", setting.written());
    }
    text
}

#[cfg(test)]
mod tests;
