//! The scenarios, one a file. Each names the rules it holds and begins with the rows it expects.

mod truth_itself;

use crate::lab::{Lab, Source};
use crate::topology::Wish;

/// One scenario.
pub struct Scenario {
    /// Its name, that of its file.
    pub name: &'static str,
    /// The rules of the accounting contract that it holds.
    pub rules: &'static str,
    /// The sources that must pass it; others have a reason in the table of exceptions (rule 15).
    pub sources: &'static [Source],
    /// Whether it wants the machine for itself.
    pub alone: bool,
    /// The world it wants.
    pub wish: Wish,
    /// Packets that the truth must not count, as nft matches.
    pub ignored: &'static [&'static str],
    /// Its steps.
    pub run: fn(&Lab) -> Result<(), String>,
}

impl Scenario {
    /// For every source, in the usual world.
    pub const fn new(name: &'static str, rules: &'static str, run: fn(&Lab) -> Result<(), String>) -> Scenario {
        let sources = &[Source::Netfilter, Source::Ebpf, Source::Cilium];
        Scenario { name, rules, sources, alone: false, wish: Wish::USUAL, ignored: &[], run }
    }

    /// Only for these sources.
    pub const fn only(mut self, sources: &'static [Source]) -> Scenario {
        self.sources = sources;
        self
    }

    /// Alone on the machine.
    pub const fn alone(mut self) -> Scenario {
        self.alone = true;
        self
    }

    /// In another world.
    pub const fn within(mut self, wish: Wish) -> Scenario {
        self.wish = wish;
        self
    }

    /// With a truth that leaves packets out.
    pub const fn ignoring(mut self, ignored: &'static [&'static str]) -> Scenario {
        self.ignored = ignored;
        self
    }
}

/// All of them, in the order in which they run.
pub fn all() -> &'static [Scenario] {
    &[truth_itself::SCENARIO]
}
