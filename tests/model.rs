//! The agent's promise as a model (rules 10 to 14): random interleavings of traffic, sweeps with voided dumps and
//! duplicates, ends, lost ends, entries that share a key, sends with every outcome (doubt and size limits in any order),
//! folds, late owners, crashes and restarts with and without a state file. After every step the books balance; at rest
//! they say what the kernel carried and what the sink took, to
//! the byte and the packet, less at most what ended unheard.
//!
//! The same interleavings are run with the rule broken on purpose (mutants): each must be caught.

use proptest::prelude::*;
use proptest::test_runner::{Config as RunnerConfig, TestRunner};

#[path = "model/kept.rs"]
mod kept;
#[path = "model/kernel.rs"]
mod kernel;
#[path = "model/sink.rs"]
mod sink;
mod support;
#[path = "model/two_sources.rs"]
mod two_sources;
#[path = "model/unheard.rs"]
mod unheard;
#[path = "model/world.rs"]
mod world;
use world::World;

/// A deliberate fault in the rule or in how it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    None,
    /// Acknowledge a batch when it is sent, whatever the answer.
    ConsumeBeforeAck,
    /// Read a chunk of a dump before the events that were queued before it.
    EventsAfterChunk,
    /// Merge a batch back though the server may have counted it.
    MergeAmbiguous,
    /// Take absence from a voided dump for an end.
    BelieveVoidedDumps,
    /// Forget a merge.
    DropMerged,
    /// Send a batch before its window is in the state file.
    SendBeforeWriting,
    /// Leave an answer unnoted that says that the message was not counted and may be sent anew.
    ForgetRefusals,
    /// Forget in the middle of a sweep whose end was told in it.
    ForgetTombstones,
    /// Send a message in halves when it is refused for its size, though the server may have counted it before.
    CutInDoubt,
    /// Take the end of one of two entries of a key for that of the other.
    OneEntryAKey,
}

/// One step of the world. Small numbers pick connections, places and outcomes.
#[derive(Clone, Debug)]
enum Step {
    /// Traffic on a tuple; opens the connection if it does not exist.
    Traffic { tuple: u8, bytes: u16 },
    /// The kernel ends a connection: an event is queued.
    End { tuple: u8 },
    /// A packet of a connection raced with one before it: it has an entry of its own that no dump shows.
    Race { tuple: u8, bytes: u16 },
    /// Such an entry ends: an event is queued, under the key of the other.
    EndLoser { tuple: u8 },
    /// A dump of two chunks; between them the world moves, and events are lost if `lost` says how many are not.
    Sweep { voided: bool, skip: u8, twice: u8, moved: Vec<(u8, u16, bool)>, lost: Option<u8> },
    /// The queued events are read between sweeps.
    Drain,
    /// Of the queued events all but the first so many are lost (ENOBUFS).
    Lose { kept: u8 },
    /// A window ends and the batch is sent, with an outcome per attempt.
    Flush { outcomes: Vec<Outcome> },
    /// Rows that are settled and idle go.
    Cleanup,
    /// The API server names the pod whose traffic all this is.
    Named,
    /// The agent dies without a word and starts again without state.
    Crash,
    /// It dies without a word, in the middle of a flush if `sends` says after how many messages, the world moves on,
    /// and it starts again with its state file; what it sends then has an outcome per attempt, too.
    Killed { sends: Option<u8>, outcomes: Vec<Outcome>, after: Vec<Outcome>, moved: Vec<(u8, u16, bool)> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Counted,
    NotCounted,
    /// The server counted it and the answer was lost.
    CountedUnheard,
    /// The request was lost and nobody knows.
    LostUnheard,
    /// 502, and the server behind it had counted it.
    CountedBadGateway,
    /// 502, and no server had it.
    LostBadGateway,
    /// 413.
    TooLarge,
    /// 429 with a code of the server: larger than it takes.
    LargerThan,
    RefusedForGood,
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::Counted),
        2 => Just(Outcome::NotCounted),
        2 => Just(Outcome::CountedUnheard),
        2 => Just(Outcome::LostUnheard),
        2 => Just(Outcome::CountedBadGateway),
        1 => Just(Outcome::LostBadGateway),
        2 => Just(Outcome::TooLarge),
        2 => Just(Outcome::LargerThan),
        1 => Just(Outcome::RefusedForGood),
    ]
}

fn outcomes() -> impl Strategy<Value = Vec<Outcome>> {
    proptest::collection::vec(outcome(), 0..5)
}

/// Some are used again and again.
fn tuple() -> impl Strategy<Value = u8> {
    prop_oneof![any::<u8>(), 0u8..2]
}

fn step() -> impl Strategy<Value = Step> {
    let moved = proptest::collection::vec((tuple(), 1u16..2_000, any::<bool>()), 0..6);
    let killed_moved = proptest::collection::vec((tuple(), 1u16..2_000, any::<bool>()), 0..4);
    prop_oneof![
        8 => (tuple(), 1u16..2_000).prop_map(|(tuple, bytes)| Step::Traffic { tuple, bytes }),
        3 => tuple().prop_map(|tuple| Step::End { tuple }),
        2 => (tuple(), 1u16..2_000).prop_map(|(tuple, bytes)| Step::Race { tuple, bytes }),
        2 => tuple().prop_map(|tuple| Step::EndLoser { tuple }),
        4 => (any::<bool>(), any::<u8>(), any::<u8>(), moved, proptest::option::weighted(0.2, any::<u8>()))
            .prop_map(|(voided, skip, twice, moved, lost)| Step::Sweep { voided, skip, twice, moved, lost }),
        2 => Just(Step::Drain),
        1 => any::<u8>().prop_map(|kept| Step::Lose { kept }),
        3 => outcomes().prop_map(|outcomes| Step::Flush { outcomes }),
        1 => Just(Step::Cleanup),
        1 => Just(Step::Named),
        1 => Just(Step::Crash),
        2 => (proptest::option::of(0u8..6), outcomes(), outcomes(), killed_moved)
            .prop_map(|(sends, outcomes, after, moved)| Step::Killed { sends, outcomes, after, moved }),
    ]
}

fn run(mutant: Mutant, cases: u32) -> Result<(), String> {
    let config = RunnerConfig { cases, failure_persistence: None, max_shrink_iters: 2_000, ..RunnerConfig::default() };
    let mut runner = TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    runner
        .run(&(any::<bool>(), proptest::collection::vec(step(), 1..60)), |(roomy, steps)| {
            let mut world = World::new(mutant, roomy);
            for step in &steps {
                world.step(step).map_err(TestCaseError::fail)?;
            }
            world.check_at_rest().map_err(TestCaseError::fail)
        })
        .map_err(|error| error.to_string())
}

#[test]
fn rule_14_holds_over_any_interleaving() {
    let cases = if std::env::var_os("NETMON_LONG").is_some() { 100_000 } else { 3_000 };
    if let Err(error) = run(Mutant::None, cases) {
        panic!("{error}");
    }
}

#[test]
fn every_mutant_of_the_rule_is_caught() {
    for mutant in [
        Mutant::ConsumeBeforeAck,
        Mutant::EventsAfterChunk,
        Mutant::MergeAmbiguous,
        Mutant::BelieveVoidedDumps,
        Mutant::DropMerged,
        Mutant::SendBeforeWriting,
        Mutant::ForgetRefusals,
        Mutant::ForgetTombstones,
        Mutant::CutInDoubt,
        Mutant::OneEntryAKey,
    ] {
        assert!(run(mutant, 3_000).is_err(), "{mutant:?} was not caught");
    }
}

fn run_two_sources(mutant: two_sources::Mutant, cases: u32) -> Result<(), String> {
    let config = RunnerConfig { cases, failure_persistence: None, max_shrink_iters: 2_000, ..RunnerConfig::default() };
    let mut runner = TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    runner
        .run(&proptest::collection::vec(two_sources::step(), 1..60), |steps| {
            let mut world = two_sources::World::new(mutant);
            for step in &steps {
                world.step(step).map_err(TestCaseError::fail)?;
            }
            world.check_at_rest().map_err(TestCaseError::fail)
        })
        .map_err(|error| error.to_string())
}

#[test]
fn rule_21_a_byte_is_counted_by_one_source() {
    let cases = if std::env::var_os("NETMON_LONG").is_some() { 100_000 } else { 3_000 };
    if let Err(error) = run_two_sources(two_sources::Mutant::None, cases) {
        panic!("{error}");
    }
}

#[test]
fn rule_21_every_mutant_of_the_choice_is_caught() {
    use two_sources::Mutant::{Both, ChosenByArrival, Flapping, Neither};
    for mutant in [Both, Neither, Flapping, ChosenByArrival] {
        assert!(run_two_sources(mutant, 3_000).is_err(), "{mutant:?} was not caught");
    }
}
