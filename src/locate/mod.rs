//! Keeps the topology up to date, on a thread of its own. It reads the file of `-topology`, what nodes, routes or
//! Cilium report besides, and where this node is.
//!
//! What comes out is a [`Topology`], published whole whenever it changed. Whatever is wrong with a source, the table
//! before stays in use, the trouble is logged with its place, and counted.

pub mod cilium;
pub mod file;
pub mod own;

pub use own::Own;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::{info, warn};

use self::cilium::Ipcache;
use self::file::{FileError, Stamp};
use self::own::{Asked, NodeQuestion};
use crate::clock::{self, Now, SECOND};
use crate::config::TopologySource;
use crate::flow::{Addr, Cidr};
use crate::kube::places::Places;
use crate::stats::{Stats, TopologyRefused};
use crate::stop::Stop;
use crate::sys::poll;
use crate::sys::routes::Routes;
use crate::sys::waker::Waker;
use crate::topology::Topology;
use crate::topology::cluster::{Found, TooMuch};
use crate::topology::join::join;
use crate::topology::lines::{self, Head, LineError, Wrong};
use crate::topology::names::{Learner, Names};
use crate::topology::published::Published;
use crate::topology::table::{Refused, Table};

/// From look to look at the file. A ConfigMap takes a minute or so anyway.
const LOOK_NS: u64 = 10 * SECOND;
/// From one table to the next, however often nodes change.
const TABLE_NS: u64 = SECOND;

/// What is known from the start.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `-topology`.
    pub file: Option<PathBuf>,
    /// `-topology-source`.
    pub source: TopologySource,
    /// `NODE_ZONE` and `NODE_REGION`: what the API server copied from the node's labels.
    pub labels: Own,
    /// `-zone` and `-region`: where nothing else tells.
    pub fallback: Own,
}

/// Who tells behind which node a range lies. Of one range the first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teller {
    /// The kernel's routes.
    Routes,
    /// Cilium's map of addresses.
    Cilium,
}

/// How many there are.
const TELLERS: usize = 2;

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
    /// Of the file.
    table: Arc<Table>,
    /// The same with what nodes, routes or Cilium tell.
    whole: Arc<Table>,
    /// What the nodes tell.
    found: Found,
    /// Ranges, and the nodes behind which they lie, by who tells.
    hops: [Vec<(Cidr, Addr)>; TELLERS],
    /// What Cilium tells had no room at the last time.
    is_crowded: bool,
    head: Option<Head>,
    /// Of the file as it was looked at last, good, bad or missing; none where it is to be read anew.
    seen: Option<Option<Stamp>>,
    stats: Arc<Stats>,
}

impl Locator {
    /// One that knows the names that rows bear already.
    pub fn new(settings: Settings, names: Names, stats: Arc<Stats>) -> Locator {
        let own = settings.labels.or(&settings.fallback);
        if own.is_known() {
            info!("this node is in zone {:?} of region {:?}", own.zone, own.region);
        }
        Locator {
            settings,
            node: Own::default(),
            names,
            table: Arc::default(),
            whole: Arc::default(),
            found: Found::default(),
            hops: Default::default(),
            is_crowded: false,
            head: None,
            seen: None,
            stats,
        }
    }

    /// Whether the API server is worth a question: nothing else has told where this node is, and it matters.
    pub fn asks_for_node(&self) -> bool {
        let matters = match self.settings.source {
            TopologySource::None => self.settings.file.is_some(),
            TopologySource::Routes => true,
            // It is among them.
            TopologySource::Nodes => false,
        };
        matters && !self.settings.labels.is_known()
    }

    /// What the nodes of the cluster tell, and where this one is by its labels. The topology that follows.
    pub fn set_nodes(&mut self, found: Found, own: Own) -> Arc<Topology> {
        self.found = found;
        self.node = own;
        self.topology()
    }

    /// What the routes or Cilium tell; the topology where that is new.
    pub fn set_hops(&mut self, teller: Teller, hops: Vec<(Cidr, Addr)>) -> Option<Arc<Topology>> {
        (self.hops[teller as usize] != hops).then(|| {
            self.hops[teller as usize] = hops;
            self.topology()
        })
    }

    /// What the API server said.
    pub fn set_node(&mut self, node: Own) {
        self.node = node;
        // The same file may say other things of another place: warn anew, and learn the place first. One that is missing
        // says nothing.
        self.seen = self.seen.filter(Option::is_none);
    }

    /// Looks at the file; the topology where something is new.
    pub fn look(&mut self) -> Option<Arc<Topology>> {
        let path = self.settings.file.clone()?;
        let stamp = Stamp::now(&path);
        if self.seen == Some(stamp) {
            return None;
        }
        match self.read(&path) {
            Ok(()) => {
                info!("topology {}: {} ranges", path.display(), self.table.len());
                Some(self.topology())
            }
            Err(refusal) => {
                self.stats.topology_refused[refusal.reason() as usize].inc();
                warn!("topology {}: {refusal}; {} ranges stay in use", path.display(), self.table.len());
                // What changes while it is read is looked at again.
                self.seen = (!matches!(refusal, Refusal::File(FileError::Changing))).then_some(stamp);
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
        let mut merged = self.merged(&mut learner, TELLERS);
        let was_crowded = std::mem::take(&mut self.is_crowded);
        if let (Err(refused), false) = (&merged, self.hops[Teller::Cilium as usize].is_empty()) {
            // The old table is no way out: addresses of pods pass from node to node.
            if !was_crowded {
                self.refuse("Cilium tells", refused);
            }
            self.is_crowded = true;
            merged = self.merged(&mut learner, Teller::Cilium as usize);
        }
        match merged {
            Ok(whole) => self.whole = whole,
            Err(refused) => self.refuse("nodes or routes tell", &refused),
        }
        self.stats.topology_ranges.set(self.whole.len() as u64);
        self.names = learner.finish();
        Arc::new(Topology::new(Arc::clone(&self.whole), Arc::new(self.names.clone()), number))
    }

    /// The nodes tell too much.
    fn refuse_nodes(&mut self) {
        self.refuse("nodes or routes tell", &Refused::TooMany);
    }

    fn refuse(&self, who_tells: &str, refused: &Refused) {
        self.stats.topology_refused[TopologyRefused::Source as usize].inc();
        warn!("what {who_tells} is not used: {refused}; {} ranges stay in use", self.whole.len());
    }

    /// The file's ranges, and the others where the file has none like them: of the first so many who tell.
    fn merged(&self, learner: &mut Learner, tellers: usize) -> Result<Arc<Table>, Refused> {
        let hops = || self.hops.iter().take(tellers).flatten();
        if self.found.ranges.is_empty() && hops().next().is_none() {
            return Ok(Arc::clone(&self.table));
        }
        // With no number left a place is not known, and says so by `unknown`.
        let places: Vec<u16> =
            self.found.places.iter().map(|(zone, region)| learner.place(zone, region).unwrap_or(0)).collect();
        let of_nodes = self.found.ranges.iter().map(|(range, place)| (*range, places.get(usize::from(*place))));
        let mut more: Vec<(Cidr, u16)> = of_nodes.filter_map(|(range, place)| Some((range, *place?))).collect();
        let place = |node: Addr| self.table.find(node).filter(|said| said.place != 0).map(|said| said.place);
        more.extend(join(hops().filter_map(|(range, node)| Some((*range, place(*node)?)))));
        self.table.with(&more).map(Arc::new)
    }

    fn own(&self) -> Own {
        let (labels, fallback) = (&self.settings.labels, &self.settings.fallback);
        match self.settings.source {
            // A watch hears of a new label; the pod has the one of its start.
            TopologySource::Nodes => self.node.or(labels).or(fallback),
            TopologySource::None | TopologySource::Routes => labels.or(&self.node).or(fallback),
        }
    }

    fn read(&mut self, path: &Path) -> Result<(), Refusal> {
        let (text, stamp) = file::read(path).map_err(Refusal::File)?;
        let own = self.own();
        // Names of a text that is refused are forgotten.
        let mut learner = Learner::new(self.names.clone());
        let mut nodes = vec![learner.place(&own.zone, &own.region).unwrap_or(0)];
        nodes.extend(self.found.places.iter().filter_map(|(zone, region)| learner.place(zone, region).ok()));
        let parsed = lines::parse(&text, &mut learner, &nodes).map_err(Refusal::Line)?;
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
        self.seen = Some(Some(stamp));
        Ok(())
    }
}

/// Who is asked besides the file.
#[derive(Default)]
pub struct Sources {
    /// How the API server is asked for this node, where it is to be.
    pub question: Option<NodeQuestion>,
    /// The nodes of the cluster, and the name of this one.
    pub nodes: Option<(Arc<Places>, String)>,
    /// The kernel's routes.
    pub routes: Option<Routes>,
    /// Cilium's map of addresses.
    pub cilium: Option<Ipcache>,
}

/// Looks until the agent ends. `waker` is also called when nodes change.
pub fn run(
    mut locator: Locator,
    mut sources: Sources,
    published: &Published,
    stop: &Stop,
    waker: &Waker,
    wake_collector: &dyn Fn(),
) {
    stop.wakes(waker);
    let mut heard = Heard::default();
    while !stop.requested() {
        let now: Now = clock::now();
        let answered = ask(&mut locator, &mut sources.question, now);
        let told = sources.nodes.as_ref().and_then(|(places, own)| heard.nodes(&mut locator, places, own, now));
        let routed = sources.routes.as_mut().and_then(|routes| match routes.next_hops() {
            Ok(hops) => locator.set_hops(Teller::Routes, hops),
            Err(error) => {
                warn!("cannot read the kernel's routes: {error}");
                None
            }
        });
        let tunnelled = sources.cilium.as_mut().and_then(Ipcache::read_if_due);
        let tunnelled = tunnelled.and_then(|hops| locator.set_hops(Teller::Cilium, hops));
        // The last is made of all that is known.
        if let Some(topology) = locator.look().or(tunnelled).or(routed).or(told).or(answered) {
            published.publish(topology);
            wake_collector();
        }
        waker.clear();
        let mut fds = [-1; poll::MAX_FDS];
        fds[0] = waker.raw_fd();
        poll::readable(&fds, heard.wait_ns(now));
    }
}

/// What the answer about this node changes.
fn ask(locator: &mut Locator, question: &mut Option<NodeQuestion>, now: Now) -> Option<Arc<Topology>> {
    match question.as_mut()?.ask_if_due(now) {
        Asked::Told(own) => {
            info!("by its labels this node is in zone {:?} of region {:?}", own.zone, own.region);
            locator.set_node(own);
            *question = None;
            Some(locator.topology())
        }
        Asked::Never(why) => {
            warn!("the zone of this node is not known: {why} (NODE_ZONE, or -zone and -region)");
            *question = None;
            None
        }
        Asked::NotYet => None,
    }
}

/// Which state of the nodes is in use.
#[derive(Default)]
struct Heard {
    generation: u64,
    /// No other table before.
    due_mono_ns: u64,
    is_waiting: bool,
}

impl Heard {
    /// What a change of the nodes changes, at most once a second.
    fn nodes(&mut self, locator: &mut Locator, places: &Places, own: &str, now: Now) -> Option<Arc<Topology>> {
        let generation = places.generation();
        self.is_waiting = generation != self.generation && now.mono_ns < self.due_mono_ns;
        if generation == self.generation || self.is_waiting {
            return None;
        }
        self.generation = generation;
        self.due_mono_ns = now.mono_ns.saturating_add(TABLE_NS);
        let (ranges, here) = {
            let cluster = places.lock();
            let here =
                cluster.node(own).map(|node| Own { zone: node.zone.to_string(), region: node.region.to_string() });
            (cluster.ranges(), here.unwrap_or_default())
        };
        match ranges {
            Ok(found) => Some(locator.set_nodes(found, here)),
            Err(TooMuch) => {
                locator.refuse_nodes();
                None
            }
        }
    }

    fn wait_ns(&self, now: Now) -> u64 {
        match self.is_waiting {
            true => self.due_mono_ns.saturating_sub(now.mono_ns).min(LOOK_NS),
            false => LOOK_NS,
        }
    }
}

#[cfg(test)]
mod tests;
