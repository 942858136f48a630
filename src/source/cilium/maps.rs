//! Where Cilium's conntrack maps are pinned, and opening them. Knows nothing of what they hold.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::sys::bpf::{self, MapInfo};
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

/// `BPF_MAP_TYPE_HASH` and `BPF_MAP_TYPE_LRU_HASH`: the types that Cilium has made them of.
const KINDS: [u32; 2] = [1, 9];
/// Roots that Cilium's agent uses: the host's, and its own where that one is out of its reach.
const ROOTS: [&str; 2] = ["/sys/fs/bpf", "/run/cilium/bpffs"];
/// Folders below a root: where the agent pins, the root itself, and the one that documentation names.
const FOLDERS: [&str; 3] = ["tc/globals", "", "cilium"];

/// The folders in which pins are looked for, first come first served. Made once, for a sweep allocates nothing.
pub struct Places(Vec<[CString; COUNT]>);

/// The maps of one place.
#[derive(Default)]
pub struct Opened {
    /// Those that can be read, with what the kernel says of them.
    pub maps: [Option<(OwnedFd, MapInfo)>; COUNT],
    /// Those that are no conntrack maps of a release that we know.
    pub refused: [Option<MapInfo>; COUNT],
}

impl Places {
    /// Below `root`, or below those that Cilium uses.
    pub fn new(root: Option<&Path>) -> Places {
        let roots: Vec<&Path> = root.map_or_else(|| ROOTS.iter().map(Path::new).collect(), |root| vec![root]);
        let folders = roots.iter().flat_map(|root| FOLDERS.iter().map(|folder| root.join(folder)));
        // A path with a zero byte in it cannot come from the command line.
        let pin = |folder: &PathBuf, name| CString::new(folder.join(name).as_os_str().as_bytes()).unwrap_or_default();
        Places(folders.map(|folder| MAPS.map(|(name, _)| pin(&folder, name))).collect())
    }

    /// Opens what is pinned in the first place that has any of the maps; they may have been replaced since the last
    /// time. Nothing found is no error.
    ///
    /// # Errors
    /// The first error other than that there is nothing, where nothing can be opened.
    pub fn open(&self) -> io::Result<Opened> {
        let mut trouble = None;
        for place in &self.0 {
            let mut opened = Opened::default();
            for (n, (pin, (_, key_bytes))) in place.iter().zip(MAPS).enumerate() {
                match bpf::open_pinned(pin).and_then(|fd| bpf::info(fd.as_fd()).map(|info| (fd, info))) {
                    Ok((fd, info)) => {
                        let sizes = (info.key_bytes, info.value_bytes);
                        if KINDS.contains(&info.kind) && sizes == (key_bytes, VALUE_BYTES) {
                            opened.maps[n] = Some((fd, info));
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
}

impl Opened {
    /// The ids of the maps, 0 where there is none.
    pub fn ids(&self) -> [u32; COUNT] {
        let mut ids = [0; COUNT];
        for (id, map) in ids.iter_mut().zip(&self.maps) {
            *id = map.as_ref().map_or(0, |(_, info)| info.id);
        }
        ids
    }
}
