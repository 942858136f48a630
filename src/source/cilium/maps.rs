//! Where Cilium's conntrack maps, and those of services' backends, are pinned, and opening them. Knows nothing of what
//! they hold.

use std::ffi::CString;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::sys::bpf::{HASHES, MapInfo, PinnedMap};
use crate::wire::cilium_ct::{KEY4_BYTES, KEY6_BYTES, VALUE_BYTES};

/// How many maps there can be. A cluster of one family has two of them.
pub const COUNT: usize = 4;
/// The names of the pins, and the bytes of a key: TCP and everything else of each family.
pub const MAPS: [(&str, usize); COUNT] = [
    ("cilium_ct4_global", KEY4_BYTES),
    ("cilium_ct_any4_global", KEY4_BYTES),
    ("cilium_ct6_global", KEY6_BYTES),
    ("cilium_ct_any6_global", KEY6_BYTES),
];

/// Roots that Cilium's agent uses: the host's, and its own where that one is out of its reach.
const ROOTS: [&str; 2] = ["/sys/fs/bpf", "/run/cilium/bpffs"];
/// Folders below a root: where the agent pins, the root itself, and the one that documentation names.
const FOLDERS: [&str; 3] = ["tc/globals", "", "cilium"];

/// Names that the map of services' backends has had, the newest first, of each family. Keys and values have grown with
/// the name; ids stay what they are when Cilium copies one to the next.
const BACKENDS: [[&str; GENERATIONS]; 2] = [
    ["cilium_lb4_backends_v3", "cilium_lb4_backends_v2", "cilium_lb4_backends"],
    ["cilium_lb6_backends_v3", "cilium_lb6_backends_v2", "cilium_lb6_backends"],
];
/// How many names there have been.
const GENERATIONS: usize = 3;

/// The folders in which pins are looked for, first come first served: below `root`, or below those that Cilium uses.
pub fn folders(root: Option<&Path>) -> impl Iterator<Item = PathBuf> {
    let roots: Vec<&Path> = root.map_or_else(|| ROOTS.iter().map(Path::new).collect(), |root| vec![root]);
    let below = |root: &Path| FOLDERS.map(|folder| root.join(folder));
    roots.into_iter().flat_map(below).collect::<Vec<_>>().into_iter()
}

/// Where a name is pinned in a folder.
pub fn pin(folder: &Path, name: &str) -> CString {
    // A path with a zero byte in it cannot come from the command line.
    CString::new(folder.join(name).as_os_str().as_bytes()).unwrap_or_default()
}

/// What helps where a pin cannot be opened.
pub fn cure(error: &io::Error) -> &'static str {
    // A pin's owner and mode are EACCES; EPERM is the system call itself.
    match error.raw_os_error() {
        Some(nix::libc::EPERM) => "before Linux 5.19 grant CAP_BPF; later a seccomp profile denies bpf(2)",
        _ => "they belong to uid 0",
    }
}

/// The folders of pins with the paths of the maps. Made once, for a sweep allocates nothing.
pub struct Places(Vec<Place>);

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, place) in self.0.iter().enumerate() {
            write!(f, "{}{}", if n == 0 { "" } else { ", " }, place.folder.display())?;
        }
        Ok(())
    }
}

struct Place {
    folder: PathBuf,
    maps: [CString; COUNT],
    backends: [[CString; GENERATIONS]; 2],
}

/// The maps of backends of IPv4 and IPv6, the newest first.
pub type Backends = [[Option<PinnedMap>; GENERATIONS]; 2];

/// The maps of one place.
#[derive(Default)]
pub struct Opened {
    /// Those that can be read.
    pub maps: [Option<PinnedMap>; COUNT],
    /// Those that are no conntrack maps of a release that we know.
    pub refused: [Option<MapInfo>; COUNT],
    place: usize,
}

impl Places {
    /// Below `root`, or below those that Cilium uses.
    pub fn new(root: Option<&Path>) -> Places {
        let place = |folder: PathBuf| Place {
            maps: MAPS.map(|(name, _)| pin(&folder, name)),
            backends: BACKENDS.map(|names| names.map(|name| pin(&folder, name))),
            folder,
        };
        Places(folders(root).map(place).collect())
    }

    /// Opens what is pinned in the first place that has any of the maps; they may have been replaced since the last
    /// time. Nothing found is no error.
    ///
    /// # Errors
    /// The first error other than that there is nothing, where nothing can be opened.
    pub fn open(&self) -> io::Result<Opened> {
        let mut trouble = None;
        for (number, place) in self.0.iter().enumerate() {
            let mut opened = Opened { place: number, ..Opened::default() };
            for (n, (pin, (_, key_bytes))) in place.maps.iter().zip(MAPS).enumerate() {
                match PinnedMap::open(pin) {
                    Ok(map) => {
                        let info = *map.info();
                        let sizes = (info.key_bytes, info.value_bytes);
                        if HASHES.contains(&info.kind) && sizes == (key_bytes, VALUE_BYTES) {
                            opened.maps[n] = Some(map);
                        } else {
                            opened.refused[n] = Some(info);
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => trouble = trouble.or(Some(error)),
                }
            }
            if opened.ids() != [0; COUNT] || opened.refused.iter().any(Option::is_some) {
                return Ok(opened);
            }
        }
        trouble.map_or_else(|| Ok(Opened::default()), Err)
    }

    /// Opens the maps of backends that stand beside `opened`; what is not there, or cannot be opened, is left out.
    pub fn open_backends(&self, opened: &Opened) -> Backends {
        let mut backends = Backends::default();
        let Some(place) = self.0.get(opened.place) else { return backends };
        for (maps, pins) in backends.iter_mut().zip(&place.backends) {
            for (map, pin) in maps.iter_mut().zip(pins) {
                *map = PinnedMap::open(pin).ok();
            }
        }
        backends
    }
}

impl Opened {
    /// The ids of the maps, 0 where there is none.
    pub fn ids(&self) -> [u32; COUNT] {
        let mut ids = [0; COUNT];
        for (id, map) in ids.iter_mut().zip(&self.maps) {
            *id = map.as_ref().map_or(0, |map| map.info().id);
        }
        ids
    }
}
