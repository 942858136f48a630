//! Counts by our own BPF programs where Cilium's maps cannot answer, and goes on saying why.

use std::os::fd::RawFd;

use super::Cilium;
use crate::clock::Now;
use crate::source::{Condition, Each, Source, SourceError, Sweep};

/// The programs' source, with what is wrong with Cilium's maps in its condition.
pub struct Beside {
    programs: Box<dyn Source>,
    why: String,
}

impl Beside {
    /// `programs` count in the place of `cilium`.
    pub fn new(programs: Box<dyn Source>, cilium: &Cilium) -> Beside {
        let mut why = cilium.complaints();
        why.push(format!("so {} counts in its place", programs.name()));
        Beside { programs, why: why.join("; ") }
    }
}

impl Source for Beside {
    fn name(&self) -> &'static str {
        self.programs.name()
    }

    fn sweep(&mut self, now: Now, each: Each<'_>) -> Result<Sweep, SourceError> {
        self.programs.sweep(now, each)
    }

    fn drain(&mut self, now: Now, each: Each<'_>) -> Result<Sweep, SourceError> {
        self.programs.drain(now, each)
    }

    fn poll_fds(&self) -> &[RawFd] {
        self.programs.poll_fds()
    }

    fn upkeep(&mut self, now: Now) -> Condition {
        let own = self.programs.upkeep(now).degraded;
        let degraded = if own.is_empty() { self.why.clone() } else { format!("{own}; {}", self.why) };
        Condition { degraded }
    }

    fn ends_are_told(&self) -> bool {
        self.programs.ends_are_told()
    }
}
