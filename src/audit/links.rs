//! Which of the node's links are audited, and which ports its tunnels have. It does not know what is counted.

use super::equation::Side;
use super::{Audit, MAX_UPLINKS, Uplink};
use crate::flow::{Addr, TxRx};
use crate::wire::genetlink;
use crate::wire::rtnetlink::{Link, LinkKind};

/// Links at most that are looked at.
const MAX_LINKS: usize = 4_096;
/// Asked for the way to everywhere: an address of a documentation range (RFC 5737), to which nobody has a route of its own.
pub(super) const ANYWHERE: Addr = Addr::from_v4([192, 0, 2, 1]);

impl Audit {
    /// Reads the links again, and forgets which way addresses are reached. Called about once a minute.
    pub fn look(&mut self) {
        self.list();
        self.forget_ways();
        if self.links.iter().any(|(_, has_device)| *has_device) {
            for index in self.links.iter().map(|(link, _)| link.index).collect::<Vec<_>>() {
                if self.is_uplink(index) {
                    self.uplink(index);
                }
            }
        } else {
            self.path_to(ANYWHERE, ANYWHERE);
        }
    }

    /// Hands over the UDP ports of the tunnels that are among the links, as the kernel has them.
    pub fn tunnel_ports(&mut self, each: &mut dyn FnMut(u16)) {
        let Some(kernel) = &mut self.kernel else { return };
        self.links.iter().map(|(link, _)| link.port).filter(|port| *port != 0).for_each(&mut *each);
        let mut asked_fou = false;
        for (link, _) in &self.links {
            let Some(family) = link.more_ports else { continue };
            let is_asked = match family {
                genetlink::Family::WireGuard => false,
                // It tells of all links at once.
                genetlink::Family::Fou => std::mem::replace(&mut asked_fou, true),
            };
            if is_asked {
                continue;
            }
            if let Err(error) = kernel.more_ports(family, link, each) {
                let name = String::from_utf8_lossy(&link.name);
                log::debug!("cannot ask for the ports of tunnel {}: {error}", name.trim_end_matches('\0'));
            }
        }
    }

    pub(super) fn list(&mut self) {
        let Some(kernel) = &mut self.kernel else { return };
        let links = &mut self.links;
        links.clear();
        let read = kernel.links(&mut |link, has_device| {
            if links.len() < MAX_LINKS {
                links.push((*link, has_device));
            }
        });
        if let Err(error) = read {
            log::debug!("cannot list the links: {error}");
        }
    }

    pub(super) fn link(&self, index: u32) -> Option<&(Link, bool)> {
        self.links.iter().find(|(link, _)| link.index == index)
    }

    /// Whether a link carries the node's packets to others: a device is behind it, or behind what is below it. Where no
    /// link has one the node is a container, and every link is that is neither a tunnel nor for itself.
    pub(super) fn is_uplink(&self, index: u32) -> bool {
        let Some((link, _)) = self.link(index) else { return false };
        if link.master != 0 {
            return false;
        }
        match link.kind {
            LinkKind::Loopback | LinkKind::Dummy | LinkKind::Tunnel { .. } => false,
            LinkKind::Veth => !self.links.iter().any(|(_, has_device)| *has_device),
            LinkKind::Plain | LinkKind::Gathered | LinkKind::Bridge | LinkKind::Vlan => {
                self.has_device(index, 4) || !self.links.iter().any(|(_, has_device)| *has_device)
            }
        }
    }

    /// Whether a device is behind a link, at most `depth` links down.
    fn has_device(&self, index: u32, depth: u8) -> bool {
        let Some((link, has_device)) = self.link(index) else { return false };
        let below = |index: u32| depth > 0 && self.has_device(index, depth - 1);
        *has_device
            || match link.kind {
                LinkKind::Gathered | LinkKind::Bridge => {
                    self.links.iter().any(|(slave, _)| slave.master == index && below(slave.index))
                }
                LinkKind::Vlan => link.lower != 0 && below(link.lower),
                LinkKind::Plain | LinkKind::Loopback | LinkKind::Veth | LinkKind::Tunnel { .. } | LinkKind::Dummy => {
                    false
                }
            }
    }

    /// The number of an uplink; one that is new is audited from the end of this sweep on.
    #[allow(clippy::cast_possible_truncation, reason = "at most MAX_UPLINKS")]
    pub(super) fn uplink(&mut self, index: u32) -> Option<u8> {
        if let Some(at) = self.uplinks.iter().position(|uplink| uplink.link.index == index) {
            return Some(at as u8);
        }
        let (link, _) = *self.link(index)?;
        if self.uplinks.len() == MAX_UPLINKS {
            return None;
        }
        let header = if link.is_ethernet { 14 } else { 0 };
        let side = Side::new(header);
        let at = self.uplinks.len() as u8;
        self.uplinks.push(Uplink {
            link,
            base: TxRx::ZERO,
            odd_base: [0; 3],
            odd: [0; 3],
            is_open: false,
            is_new: false,
            books: 0,
            tx: side.clone(),
            rx: side,
            shown: Default::default(),
        });
        // What is on top is audited from the same moment on, for it is taken out of what this one carries.
        let is_on_top = |above: &Link| above.kind == LinkKind::Vlan && above.lower == index;
        let above: Vec<u32> =
            self.links.iter().filter(|(above, _)| is_on_top(above)).map(|(above, _)| above.index).collect();
        above.into_iter().for_each(|above| {
            self.uplink(above);
        });
        Some(at)
    }
}
