//! Cilium's map of addresses (`cilium_ipcache`): it names the node of a pod or of a range of pods. Where Cilium builds
//! tunnels, the kernel's routes do not.
//!
//! Cilium's agent makes the map anew when it starts, and does not always remove one with another release's name. So the
//! map is opened for each reading, and of several the one made last is used. It may hold 512,000 entries, which take 1
//! to 4 us each to read. The reader rests a hundred times as long as a reading took. An entry within a range of the
//! same node is dropped on the way.

use std::fmt::Write as _;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::{info, warn};

use crate::clock;
use crate::flow::{Addr, Cidr};
use crate::source::cilium::maps::{cure, folders, pin};
use crate::stats::{Stats, TopologyRefused};
use crate::sys::bpf::{BatchReader, LPM_TRIE, PinnedMap};
use crate::topology::table::MAX_RANGES;
use crate::wire::cilium_ipcache::{self, Layout};

/// The names that it has had.
const NAMES: [&str; 2] = ["cilium_ipcache_v2", "cilium_ipcache"];
/// Entries asked for in one call.
const BATCH: u32 = 512;
/// From one reading to the next, in times of what one takes: one hundredth of a core at most.
const REST: u64 = 100;
/// Ranges that are kept while it is read. More are not used: a table of ranges would hardly hold them.
const MOST: usize = 2 * MAX_RANGES;

/// The map, wherever it is now.
pub struct Ipcache {
    folders: Vec<PathBuf>,
    due_mono_ns: u64,
    /// What was said of it last.
    said: String,
    stats: Arc<Stats>,
}

impl Ipcache {
    /// The one below `root`, or where Cilium has it.
    pub fn new(root: Option<&Path>, stats: Arc<Stats>) -> Ipcache {
        Ipcache { folders: folders(root).collect(), due_mono_ns: 0, said: String::new(), stats }
    }

    /// Ranges, and the nodes behind which they lie; none where it was read lately, or cannot be read this time.
    pub fn read_if_due(&mut self) -> Option<Vec<(Cidr, Addr)>> {
        let began = clock::now().mono_ns;
        if began < self.due_mono_ns {
            return None;
        }
        let found = self.read();
        let now = clock::now().mono_ns;
        self.due_mono_ns = now.saturating_add(now.saturating_sub(began).saturating_mul(REST));
        found
    }

    fn read(&mut self) -> Option<Vec<(Cidr, Addr)>> {
        let (path, map) = match self.open() {
            Ok(Some(found)) => found,
            Ok(None) => {
                let mut text = "no map of Cilium's addresses (cilium_ipcache) in".to_owned();
                for (n, folder) in self.folders.iter().enumerate() {
                    let _ = write!(text, "{} {}", if n == 0 { "" } else { "," }, folder.display());
                }
                self.say(text, false);
                return Some(Vec::new());
            }
            Err((path, error)) => {
                self.say(format!("cannot open {}: {error} ({})", path.display(), cure(&error)), false);
                return Some(Vec::new());
            }
        };
        let info = *map.info();
        let layout = Layout::of(info.key_bytes, info.value_bytes).filter(|_| info.kind == LPM_TRIE);
        let Some(layout) = layout else {
            let (kind, key, value) = (info.kind, info.key_bytes, info.value_bytes);
            let what =
                format!("a map of type {kind} with keys of {key} and values of {value} bytes is of no known release");
            self.say(format!("{} is not used: {what}", path.display()), true);
            return Some(Vec::new());
        };
        let mut ranges = Ranges::default();
        let mut reader = BatchReader::new(info.key_bytes, info.value_bytes, BATCH);
        let read = reader.read(map.as_fd(), &mut |key, value| {
            if let Ok(Some((range, node))) = cilium_ipcache::parse(layout, key, value) {
                ranges.add(range, node);
            }
        });
        match read {
            Ok((_, true)) if ranges.are_too_many => {
                self.say(
                    format!("{} is not used: it has more than {MOST} ranges of other nodes", path.display()),
                    true,
                );
                Some(Vec::new())
            }
            Ok((_, true)) => {
                self.say(format!("{} tells behind which node pods are", path.display()), false);
                Some(ranges.kept)
            }
            Ok((_, false)) => {
                self.say(format!("{} changes faster than it can be read", path.display()), true);
                None
            }
            Err(error) => {
                self.say(format!("cannot read {}: {error}", path.display()), true);
                None
            }
        }
    }

    /// The map that was made last in the first folder that has any; or the first that cannot be opened, where none can.
    fn open(&self) -> Result<Option<(PathBuf, PinnedMap)>, (PathBuf, io::Error)> {
        let mut trouble = None;
        for folder in &self.folders {
            let mut newest: Option<(PathBuf, PinnedMap)> = None;
            for name in NAMES {
                match PinnedMap::open(&pin(folder, name)) {
                    Ok(map) if newest.as_ref().is_some_and(|(_, other)| other.info().id > map.info().id) => {}
                    Ok(map) => newest = Some((folder.join(name), map)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => trouble = trouble.or(Some((folder.join(name), error))),
                }
            }
            if newest.is_some() {
                return Ok(newest);
            }
        }
        trouble.map_or(Ok(None), Err)
    }

    /// Says it once.
    fn say(&mut self, text: String, is_refused: bool) {
        if self.said == text {
            return;
        }
        if is_refused {
            self.stats.topology_refused[TopologyRefused::Source as usize].inc();
            warn!("{text}");
        } else {
            info!("{text}");
        }
        self.said = text;
    }
}

/// What a map tells, in its order.
#[derive(Default)]
struct Ranges {
    kept: Vec<(Cidr, Addr)>,
    are_too_many: bool,
}

impl Ranges {
    fn add(&mut self, range: Cidr, node: Addr) {
        // What lies in a range comes right before it.
        while self.kept.last().is_some_and(|last| last.1 == node && last.0.is_narrower_within(&range)) {
            self.kept.pop();
        }
        if self.kept.len() < MOST {
            self.kept.push((range, node));
        } else {
            self.are_too_many = true;
        }
    }
}
