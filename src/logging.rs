//! The log: stderr, one line a message, human time stamps.

use log::LevelFilter;

/// Starts logging at `level`, unless `RUST_LOG` says otherwise (env_logger's syntax). Messages of the TLS and HTTP
/// libraries are held to warnings: they would show what is sent to whom.
pub fn init(level: LevelFilter) {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level.min(LevelFilter::Warn)).filter_module("netmon", level).format_target(false);
    if let Ok(filters) = std::env::var("RUST_LOG") {
        builder.parse_filters(&filters);
    }
    builder.format_timestamp_millis().init();
}
