//! Keeps the topology up to date, on a thread of its own: the file of `-topology`, and where this node is.
//!
//! What comes out is a [`Topology`], published whole whenever it changed. Whatever is wrong with a source, the table
//! before stays in use, the trouble is logged with its place, and counted.

pub mod file;
pub mod own;

pub use own::Own;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::{info, warn};

use self::file::{FileError, Stamp};
use self::own::{Asked, NodeQuestion};
use crate::clock::{self, Now, SECOND};
use crate::stats::{Stats, TopologyRefused};
use crate::stop::Stop;
use crate::sys::poll;
use crate::sys::waker::Waker;
use crate::topology::Topology;
use crate::topology::lines::{self, Head, LineError, Wrong};
use crate::topology::names::{Learner, Names};
use crate::topology::published::Published;
use crate::topology::table::Table;

/// From look to look at the file. A ConfigMap takes a minute or so anyway.
const LOOK_NS: u64 = 10 * SECOND;

/// What is known from the start.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `-topology`.
    pub file: Option<PathBuf>,
    /// `NODE_ZONE` and `NODE_REGION`: what the API server copied from the node's labels.
    pub labels: Own,
    /// `-zone` and `-region`: where nothing else tells.
    pub fallback: Own,
}

/// Why a file is not used.
#[derive(Debug)]
pub enum Refusal {
    /// It gives no text.
    File(FileError),
    /// A line of it is wrong.
    Line(LineError),
    /// It was published before the one in use.
    Older(u64, u64),
}

impl Refusal {
    fn reason(&self) -> TopologyRefused {
        match self {
            Refusal::File(_) => TopologyRefused::File,
            Refusal::Line(LineError { wrong: Wrong::Cut | Wrong::Count(..) | Wrong::Empty, .. }) => {
                TopologyRefused::Cut
            }
            Refusal::Line(LineError { wrong: Wrong::Version(_), .. }) => TopologyRefused::Version,
            Refusal::Line(_) => TopologyRefused::Line,
            Refusal::Older(..) => TopologyRefused::Older,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::File(error) => error.fmt(f),
            Refusal::Line(error) => error.fmt(f),
            Refusal::Older(theirs, ours) => write!(f, "it is generation {theirs}, and {ours} is in use"),
        }
    }
}

/// Makes topologies of what there is.
pub struct Locator {
    settings: Settings,
    /// Of the node's labels, as the API server tells them.
    node: Own,
    names: Names,
    table: Arc<Table>,
    head: Option<Head>,
    /// Of the file as it was looked at last, good or bad.
    seen: Option<Stamp>,
    stats: Arc<Stats>,
}

impl Locator {
    /// One that knows the names that rows bear already.
    pub fn new(settings: Settings, names: Names, stats: Arc<Stats>) -> Locator {
        let own = settings.labels.or(&settings.fallback);
        if own.is_known() {
            info!("this node is in zone {:?} of region {:?}", own.zone, own.region);
        }
        Locator { settings, node: Own::default(), names, table: Arc::default(), head: None, seen: None, stats }
    }

    /// Whether the API server is worth a question: nothing else has told where this node is, and it matters.
    pub fn asks_for_node(&self) -> bool {
        self.settings.file.is_some() && !self.settings.labels.is_known()
    }

    /// What the API server said.
    pub fn set_node(&mut self, node: Own) {
        self.node = node;
        // The same file may say other things of another place: warn anew, and learn the place first.
        self.seen = None;
    }

    /// Looks at the file; the topology where something is new.
    pub fn look(&mut self) -> Option<Arc<Topology>> {
        let path = self.settings.file.clone()?;
        let stamp = Stamp::now(&path);
        if stamp.is_some() && stamp == self.seen {
            return None;
        }
        match self.read(&path) {
            Ok(()) => {
                info!("topology {}: {} ranges", path.display(), self.table.len());
                self.stats.topology_ranges.set(self.table.len() as u64);
                Some(self.topology())
            }
            Err(refusal) => {
                self.stats.topology_refused[refusal.reason() as usize].inc();
                if stamp != self.seen || self.seen.is_none() {
                    warn!("topology {}: {refusal}; {} ranges stay in use", path.display(), self.table.len());
                }
                // What changes while it is read is looked at again.
                self.seen = stamp.filter(|_| !matches!(refusal, Refusal::File(FileError::Changing)));
                None
            }
        }
    }

    /// What is known now.
    pub fn topology(&mut self) -> Arc<Topology> {
        let own = self.own();
        let mut learner = Learner::new(std::mem::take(&mut self.names));
        // With no number left the node is nowhere, and says so by `unknown`.
        let number = learner.place(&own.zone, &own.region).unwrap_or(0);
        self.names = learner.finish();
        Arc::new(Topology::new(Arc::clone(&self.table), Arc::new(self.names.clone()), number))
    }

    fn own(&self) -> Own {
        self.settings.labels.or(&self.node).or(&self.settings.fallback)
    }

    fn read(&mut self, path: &Path) -> Result<(), Refusal> {
        let (text, stamp) = file::read(path).map_err(Refusal::File)?;
        let own = self.own();
        // Names of a text that is refused are forgotten.
        let mut learner = Learner::new(self.names.clone());
        let here = learner.place(&own.zone, &own.region).unwrap_or(0);
        let parsed = lines::parse(&text, &mut learner, &[here]).map_err(Refusal::Line)?;
        if let (Some(theirs), Some(ours)) = (parsed.head, self.head)
            && theirs.generation < ours.generation
        {
            return Err(Refusal::Older(theirs.generation, ours.generation));
        }
        for (line, name) in &parsed.lonely {
            warn!("topology {} line {line}: no other line and no node is in {name:?}; is it misspelt?", path.display());
        }
        self.names = learner.finish();
        self.table = Arc::new(parsed.table);
        self.head = parsed.head;
        self.seen = Some(stamp);
        Ok(())
    }
}

/// Looks until the agent ends. `question` is how the API server is asked for this node, where it is to be.
pub fn run(
    mut locator: Locator,
    mut question: Option<NodeQuestion>,
    published: &Published,
    stop: &Stop,
    waker: &Waker,
    wake_collector: &dyn Fn(),
) {
    stop.wakes(waker);
    while !stop.requested() {
        let now: Now = clock::now();
        let mut news = None;
        let due = question.as_mut().map(|question| question.ask_if_due(now));
        match due {
            Some(Asked::Told(own)) => {
                info!("by its labels this node is in zone {:?} of region {:?}", own.zone, own.region);
                locator.set_node(own);
                news = Some(locator.topology());
                question = None;
            }
            Some(Asked::Never(why)) => {
                warn!("the zone of this node is not known: {why} (NODE_ZONE, or -zone and -region)");
                question = None;
            }
            Some(Asked::NotYet) | None => {}
        }
        if let Some(topology) = locator.look().or(news) {
            published.publish(topology);
            wake_collector();
        }
        waker.clear();
        let mut fds = [-1; poll::MAX_FDS];
        fds[0] = waker.raw_fd();
        poll::readable(&fds, LOOK_NS);
    }
}

#[cfg(test)]
mod tests;
