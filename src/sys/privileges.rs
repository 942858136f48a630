//! Capabilities of the calling thread (capabilities(7)), and two doors that are shut for good. They are new privileges
//! by execve, and the reading of this process's memory by others.
//!
//! Which capability is needed for what, and by whom, is not known here: that is [`crate::privileges`].

use std::fmt;
use std::io;

use nix::errno::Errno;
use nix::libc;

/// A set of capabilities, a bit for each number of linux/capability.h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    pub const NONE: Capabilities = Capabilities(0);
    /// Conntrack by netlink, and attaching programs to a cgroup.
    pub const NET_ADMIN: Capabilities = Capabilities(1 << 12);
    /// Locked memory beyond the limit; BPF maps are such before kernel 5.11.
    pub const SYS_RESOURCE: Capabilities = Capabilities(1 << 24);
    /// A more lenient BPF verifier.
    pub const PERFMON: Capabilities = Capabilities(1 << 38);
    /// Programs and maps of BPF.
    pub const BPF: Capabilities = Capabilities(1 << 39);

    /// Those in either.
    pub const fn and(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 | other.0)
    }

    /// Those in both.
    pub const fn within(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 & other.0)
    }

    /// Those that are not in `other`.
    pub const fn without(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 & !other.0)
    }

    /// Whether all of `other` are in it.
    pub const fn contains(self, other: Capabilities) -> bool {
        other.0 & !self.0 == 0
    }

    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }
}

/// By name those that this program knows, the others by their number.
impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(Capabilities, &str); 4] = [
            (Capabilities::NET_ADMIN, "CAP_NET_ADMIN"),
            (Capabilities::BPF, "CAP_BPF"),
            (Capabilities::PERFMON, "CAP_PERFMON"),
            (Capabilities::SYS_RESOURCE, "CAP_SYS_RESOURCE"),
        ];
        let mut rest = *self;
        let mut between = "";
        for (capability, name) in NAMES {
            if rest.contains(capability) {
                rest = rest.without(capability);
                write!(f, "{between}{name}")?;
                between = ", ";
            }
        }
        match (rest.len(), between) {
            (0, "") => f.write_str("none"),
            (0, _) => Ok(()),
            (n, "") => write!(f, "{n} that are not needed"),
            (n, _) => write!(f, " and {n} that are not needed"),
        }
    }
}

/// The effective and the permitted capabilities of this thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// What the kernel checks.
    pub effective: Capabilities,
    /// What can be raised to effective.
    pub permitted: Capabilities,
}

/// What this thread holds.
///
/// # Errors
/// Where a seccomp filter forbids capget(2).
pub fn held() -> io::Result<Held> {
    let sets = get()?;
    Ok(Held { effective: sets.effective, permitted: sets.permitted })
}

/// Makes effective what of `wanted` is permitted. A program whose file has capabilities without the effective bit
/// (`setcap cap_net_admin+p`) starts with none in force. Returns what is in force.
///
/// # Errors
/// Where a seccomp filter forbids capget(2) or capset(2).
pub fn raise(wanted: Capabilities) -> io::Result<Capabilities> {
    let sets = get()?;
    let effective = sets.effective.and(wanted.within(sets.permitted));
    if effective != sets.effective {
        set(Sets { effective, ..sets })?;
    }
    Ok(effective)
}

/// Gives up everything but `kept`, in this thread and what it spawns, for good. Returns what is left.
///
/// # Errors
/// Where a seccomp filter forbids capget(2) or capset(2).
pub fn keep_only(kept: Capabilities) -> io::Result<Capabilities> {
    let sets = get()?;
    let left = kept.within(sets.permitted);
    // What is not permitted and inheritable leaves the ambient set too.
    set(Sets { effective: left.within(sets.effective), permitted: left, inheritable: Capabilities::NONE })?;
    Ok(left)
}

/// Gives up everything, in this thread and what it spawns, for good. That it cannot is said in the log.
pub fn drop_all_in_this_thread() {
    if let Err(error) = keep_only(Capabilities::NONE) {
        let thread = std::thread::current();
        log::warn!("thread {} cannot drop its capabilities: {error}", thread.name().unwrap_or("?"));
    }
}

/// Shuts two doors for the whole process; call it while there is one thread. No program that is executed later has more
/// privileges than this one (PR_SET_NO_NEW_PRIVS). No other process of the same user reads this one's memory, which
/// holds tokens (PR_SET_DUMPABLE).
///
/// # Errors
/// Where a seccomp filter forbids prctl(2).
pub fn shut_doors() -> io::Result<()> {
    nix::sys::prctl::set_no_new_privs()?;
    nix::sys::prctl::set_dumpable(false)?;
    Ok(())
}

#[derive(Clone, Copy)]
struct Sets {
    effective: Capabilities,
    permitted: Capabilities,
    inheritable: Capabilities,
}

/// `struct __user_cap_header_struct` of linux/capability.h: the version, and 0 for the calling thread.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `_LINUX_CAPABILITY_VERSION_3`: two words for each set.
const HEADER: Header = Header { version: 0x2008_0522, pid: 0 };

/// `struct __user_cap_data_struct`: 32 capabilities of each set.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Word {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn get() -> io::Result<Sets> {
    let mut header = HEADER;
    let mut words = [Word::default(); 2];
    // SAFETY: version 3 reads one header and writes two words; both live on this stack for the whole call.
    #[allow(unsafe_code)]
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, words.as_mut_ptr()) };
    Errno::result(result)?;
    let [low, high] = words;
    let whole = |low: u32, high: u32| Capabilities(u64::from(high) << 32 | u64::from(low));
    Ok(Sets {
        effective: whole(low.effective, high.effective),
        permitted: whole(low.permitted, high.permitted),
        inheritable: whole(low.inheritable, high.inheritable),
    })
}

#[allow(clippy::cast_possible_truncation, reason = "one half of the set")]
fn set(sets: Sets) -> io::Result<()> {
    let mut header = HEADER;
    let word = |shift: u32| {
        let half = |set: Capabilities| (set.0 >> shift & u64::from(u32::MAX)) as u32;
        Word { effective: half(sets.effective), permitted: half(sets.permitted), inheritable: half(sets.inheritable) }
    };
    let words = [word(0), word(32)];
    // SAFETY: version 3 reads one header and two words; both live on this stack for the whole call.
    #[allow(unsafe_code)]
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, words.as_ptr()) };
    Errno::result(result)?;
    Ok(())
}

#[cfg(test)]
mod tests;
