//! Makes the kernel count bytes per connection and report the ends of connections.
//!
//! Both are settings of the network namespace that anybody may change, so they are checked every minute. If `/proc/sys`
//! is read-only, as in a container, a temporary nf_tables rule switches accounting on, which needs only CAP_NET_ADMIN.

use std::fs;
use std::io;

use super::tracking::transact;
use crate::sys::netlink::{Family, RequestSocket};
use crate::wire::nftables::{self, CtKey};

const ACCOUNTING: &str = "/proc/sys/net/netfilter/nf_conntrack_acct";
const EVENTS: &str = "/proc/sys/net/netfilter/nf_conntrack_events";
/// The table lives for two requests.
const THROW_AWAY: &str = "zxporter-netmon-acct";

/// What was found and done.
pub struct Accounting {
    manage: bool,
    /// Why the kernel does not report ends; empty if it does.
    unreported: String,
    said_older: bool,
}

impl Accounting {
    /// `manage`: whether settings may be changed.
    pub fn new(manage: bool) -> Accounting {
        Accounting { manage, unreported: String::new(), said_older: false }
    }

    /// Whether the kernel reports ends at all.
    pub fn events_are_on(&self) -> bool {
        self.unreported.is_empty()
    }

    /// Checks the settings, switches on what is off, and returns what is wrong with accounting and with events (empty:
    /// nothing).
    pub fn ensure(&mut self) -> [String; 2] {
        self.ensure_events();
        [self.ensure_accounting(), self.unreported.clone()]
    }

    fn ensure_accounting(&self) -> String {
        let state = match read(ACCOUNTING) {
            Ok(state) => state,
            Err(error) => return format!("cannot read {ACCOUNTING}: {error} (is the module nf_conntrack loaded?)"),
        };
        if state == "1" {
            return String::new();
        }
        const OFF: &str = "accounting is off (net.netfilter.nf_conntrack_acct is 0)";
        if !self.manage {
            return format!("{OFF} and -manage-conntrack=false forbids the agent to switch it on: set it to 1");
        }
        let by_sysctl = fs::write(ACCOUNTING, "1");
        if by_sysctl.is_ok() {
            log::info!("switched on conntrack accounting; connections opened before have no counters");
            return String::new();
        }
        match switch_on_by_nft() {
            Ok(()) if read(ACCOUNTING).is_ok_and(|state| state == "1") => {
                log::info!(
                    "switched on conntrack accounting through nf_tables; connections opened before have no counters"
                );
                String::new()
            }
            Ok(()) => format!("{OFF} and an nf_tables rule did not switch it on: set it to 1 on the host"),
            Err(error) => format!("{OFF} and cannot be switched on: {error}; set it to 1 on the host"),
        }
    }

    /// With 2, the kernel's default, the kernel never reports the end of connections that are older than the first
    /// listener. Sets 1 if allowed.
    fn ensure_events(&mut self) {
        const NOT_REPORTED: &str = "the kernel does not report closed connections";
        let state = match read(EVENTS) {
            Ok(state) => state,
            Err(error) => {
                self.unreported =
                    format!("the kernel may not report closed connections: cannot read {EVENTS}: {error}");
                return;
            }
        };
        self.unreported.clear();
        if state == "1" || (self.manage && fs::write(EVENTS, "1").is_ok()) {
            return;
        }
        if state == "0" {
            self.unreported = format!("{NOT_REPORTED} (net.netfilter.nf_conntrack_events is 0; set it to 1)");
        } else if !self.said_older {
            self.said_older = true;
            log::info!(
                "net.netfilter.nf_conntrack_events is {state} and {}: the kernel may not report the end of connections \
                 older than the agent, so sweeps stay frequent until these are gone",
                if self.manage { "cannot be set to 1" } else { "-manage-conntrack=false forbids setting it" }
            );
        }
    }
}

fn switch_on_by_nft() -> io::Result<()> {
    let socket = RequestSocket::open(Family::Netfilter)?;
    // What a killed predecessor left.
    let _ = transact(&socket, &nftables::delete(THROW_AWAY));
    transact(&socket, &nftables::create(THROW_AWAY, CtKey::OriginalBytes, false))?;
    transact(&socket, &nftables::delete(THROW_AWAY))
}

fn read(path: &str) -> io::Result<String> {
    Ok(fs::read_to_string(path)?.trim().to_owned())
}
