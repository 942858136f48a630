//! What a test's own thread logs.

use std::cell::RefCell;
use std::sync::Once;

use log::{LevelFilter, Log, Metadata, Record};

thread_local! {
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

struct Heard;

impl Log for Heard {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &Record<'_>) {
        LINES.with_borrow_mut(|lines| {
            if let Some(lines) = lines {
                lines.push(format!("{} {}", record.level(), record.args()));
            }
        });
    }
    fn flush(&self) {}
}

/// The lines from level info on that `work` logs on this thread.
pub fn lines(work: impl FnOnce()) -> Vec<String> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Heard).expect("the only logger of the unit tests");
        log::set_max_level(LevelFilter::Info);
    });
    LINES.set(Some(Vec::new()));
    work();
    LINES.take().expect("set above")
}
