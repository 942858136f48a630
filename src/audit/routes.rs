//! What the kernel's routes say of an address, without a question for each: its tables, read once after each change.
//!
//! Only where this is what the kernel would answer. What is asked here is the address alone: no source, no mark. Where
//! a rule chooses another table by it, the kernel answers. So it does for a route of several ways, and for a route of a
//! kind that is not known here. Pure: knows routes and rules, not who reads them.

use crate::class::Classes;
use crate::flow::Addr;
use crate::topology::table::Table;
use crate::wire::rtnetlink::{Hop, Route, Rule, TABLE_DEFAULT, TABLE_LOCAL, TABLE_MAIN};

/// Routes at most; where there are more, the kernel is asked for each address.
const MAX_ROUTES: usize = 8_192;

/// The rules of one family, in their order: whether they ask for the usual tables in the usual order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// Of the usual tables so many are asked.
    asked: u8,
    is_odd: bool,
}

impl Rules {
    /// Takes the next rule.
    pub fn add(&mut self, rule: Rule) {
        match rule {
            Rule::Never => {}
            Rule::Table { table: TABLE_LOCAL, is_for_all: true } if self.asked == 0 => self.asked = 1,
            // That what is asked of a table before all else is asked of it makes no difference.
            Rule::Table { table: TABLE_MAIN, is_for_all } if self.asked == 1 => self.asked += u8::from(is_for_all),
            Rule::Table { table: TABLE_DEFAULT, is_for_all: true } if self.asked == 2 => {}
            Rule::Table { .. } | Rule::Odd => self.is_odd = true,
        }
    }

    fn are_usual(&self) -> bool {
        self.asked == 2 && !self.is_odd
    }
}

/// Routes on their way into [`Routes`].
#[derive(Default)]
pub struct Builder {
    routes: Vec<Route>,
    /// Of IPv4 and IPv6.
    pub rules: [Rules; 2],
    is_full: bool,
}

impl Builder {
    /// Takes a route.
    pub fn add(&mut self, route: Route) {
        // Which tables others are in is for rules to say, and they do not.
        if ![TABLE_LOCAL, TABLE_MAIN, TABLE_DEFAULT].contains(&route.table) {
            return;
        }
        if self.routes.len() < MAX_ROUTES { self.routes.push(route) } else { self.is_full = true }
    }

    /// Makes [`Routes`] of them.
    #[allow(clippy::cast_possible_truncation, reason = "fewer than MAX_ROUTES")]
    pub fn finish(mut self) -> Routes {
        // The host's own first, then the best.
        let order = |route: &Route| (route.range.first(), route.range.prefix(), u32::MAX - route.table, route.metric);
        self.routes.sort_unstable_by_key(order);
        self.routes.dedup_by(|worse, best| {
            let is_same = worse.range == best.range;
            // Of equals the kernel chooses one; of several by IPv6 too, by who is reachable.
            let is_open = worse.metric <= best.metric || !worse.range.is_v4();
            if is_same && worse.table == best.table && is_open {
                best.hop = None;
            }
            is_same
        });
        let is_own = |route: &&Route| !self.is_full && route.table == TABLE_LOCAL && route.own_link != 0;
        let links = self.routes.iter().filter(is_own);
        let links = links.map(|route| (route.range.first(), route.own_link)).collect();
        let own: Vec<_> =
            self.routes.iter().filter(|route| route.table == TABLE_LOCAL).map(|route| route.range).collect();
        // The first stands for the kernel's own answer.
        let mut hops = vec![Hop { link: 0, mtu: 0 }];
        let places = self.routes.iter().map(|route| {
            let is_within_own = || own.iter().any(|own| route.range.is_narrower_within(own));
            let place = match route.hop {
                Some(hop) if route.table == TABLE_MAIN && !is_within_own() => Some(hop),
                Some(hop) if route.table == TABLE_LOCAL => Some(hop),
                _ => None,
            }
            .map_or(0, |hop| {
                hops.iter().skip(1).position(|known| *known == hop).map_or_else(
                    || {
                        hops.push(hop);
                        hops.len() - 1
                    },
                    |at| at + 1,
                )
            });
            (route.range, place as u16)
        });
        let places: Vec<_> = places.collect();
        let table = Table::default().with(&places).unwrap_or_default();
        let has = |is_v4: bool| {
            let in_default = |route: &Route| route.table == TABLE_DEFAULT && route.range.is_v4() == is_v4;
            !self.is_full && self.rules[usize::from(!is_v4)].are_usual() && !self.routes.iter().any(in_default)
        };
        Routes { own: links, table, paths: vec![None; hops.len()], hops, knows: [has(true), has(false)] }
    }
}

/// What the kernel would say, and what became of it before.
#[derive(Default)]
pub struct Routes {
    /// Links of the host's own addresses, in the order of those.
    own: Vec<(Addr, u32)>,
    table: Table,
    hops: Vec<Hop>,
    paths: Vec<Option<super::Path>>,
    knows: [bool; 2],
}

impl Routes {
    /// The number of the answer for an address; none where only the kernel knows.
    pub fn find(&self, addr: Addr) -> Option<Found> {
        if !self.knows[usize::from(!addr.is_v4())] || Classes::is_of_many(addr) || addr.is_unspecified() {
            return None;
        }
        match self.table.find(addr) {
            None => Some(Found::NoWay),
            Some(said) if said.place == 0 => None,
            Some(said) => Some(Found::Hop(said.place)),
        }
    }

    /// Whether own addresses were told; every host has some.
    pub fn know_own(&self) -> bool {
        !self.own.is_empty()
    }

    /// The link that has an address of the host's.
    pub fn link_of(&self, own: Addr) -> Option<u32> {
        let at = self.own.binary_search_by_key(&own, |(addr, _)| *addr).ok()?;
        self.own.get(at).map(|(_, link)| *link)
    }

    /// The answer of this number.
    pub fn hop(&self, found: Found) -> Hop {
        let Found::Hop(place) = found else { return Hop { link: 0, mtu: 0 } };
        self.hops.get(usize::from(place)).copied().unwrap_or(Hop { link: 0, mtu: 0 })
    }

    /// What was kept for the answer.
    pub fn path(&self, found: Found) -> Option<super::Path> {
        match found {
            Found::NoWay => Some(super::Path::UNKNOWN),
            Found::Hop(place) => *self.paths.get(usize::from(place))?,
        }
    }

    /// Keeps which path an answer means.
    pub fn keep(&mut self, found: Found, path: super::Path) {
        if let Found::Hop(place) = found
            && let Some(kept) = self.paths.get_mut(usize::from(place))
        {
            *kept = Some(path);
        }
    }
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No route leads there.
    NoWay,
    /// By its number.
    Hop(u16),
}

#[cfg(test)]
mod tests;
