//! The text form of ranges, `CIDR [zone=] [region=] [scope=] [via=] [service=]` a line, and the table that it makes.
//!
//! A text is taken whole or not at all. `#` begins a comment; lines end with LF or CRLF, the last one too, for a text
//! that ends within a line was cut. A published text says in its first line of which version it is, how new, and how many
//! ranges follow. Knows no files.

use std::fmt;
use std::net::IpAddr;

use super::names::{Learner, Place, TooMany};
use super::scope::{Scope, Via};
use super::table::{Builder, Refused, Said, Table};
use crate::flow::{Addr, Cidr};

/// The longest text, unpacked: 65,536 lines of 256 bytes.
pub const MAX_BYTES: usize = 16 << 20;
/// The longest name of a zone, region or service: that of a label's value.
const MAX_NAME: usize = 63;
/// The version of published texts.
pub const VERSION: u32 = 1;
const MARK: &str = "# zxporter-netmon topology ";
/// Names that one text may be warned of.
const MAX_LONELY: usize = 8;

/// One line, as words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The range.
    pub range: Cidr,
    /// The scope, whatever the place.
    pub scope: Option<Scope>,
    /// What stands on the way.
    pub via: Via,
    /// The zone; empty where it is not said.
    pub zone: &'a str,
    /// The region; empty where it is not said.
    pub region: &'a str,
    /// The service; empty for none.
    pub service: &'a str,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.range)?;
        let words = [
            ("zone", self.zone),
            ("region", self.region),
            ("scope", self.scope.map_or("", Scope::as_str)),
            ("via", self.via.as_str()),
            ("service", self.service),
        ];
        words.iter().filter(|(_, value)| !value.is_empty()).try_for_each(|(key, value)| write!(f, " {key}={value}"))
    }
}

/// The first line of a published text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Higher is newer.
    pub generation: u64,
    /// Lines with a range.
    pub ranges: u32,
}

impl Head {
    /// From the first line of a published text of this version.
    pub fn read(line: &str) -> Option<Head> {
        head(line)?.ok()
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK}{VERSION} generation {} ranges {}", self.generation, self.ranges)
    }
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// What begins the line is no range.
    Range(String),
    /// IPv4 in the clothes of IPv6.
    Mapped(String),
    /// Bits behind the prefix are set.
    HostBits(String, Cidr),
    /// A word that is no `key=value`, or a key that there is not.
    Word(String),
    /// A key twice.
    Twice(&'static str),
    /// A value that the key does not take.
    Value(&'static str, String),
    /// A range, and nothing of it.
    Nothing(Cidr),
    /// Something else was said of the range before.
    Contradicted(Cidr),
    /// More ranges than the table holds.
    Ranges,
    /// More names than there are numbers.
    Names(TooMany),
    /// The text ends within the line.
    Cut,
    /// There is nothing at all in the text.
    Empty,
    /// Published in a form that is not known here.
    Version(String),
    /// Not as many ranges as the first line says.
    Count(u32, u32),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Range(text) => write!(f, "{text:?} is no range such as 10.0.0.0/16 or fd00::/8"),
            Wrong::Mapped(text) => write!(f, "{text:?} is an IPv4 address written as IPv6: write it as IPv4"),
            Wrong::HostBits(text, range) => write!(f, "{text:?} has bits behind its prefix: is {range} meant?"),
            Wrong::Word(text) => {
                write!(f, "{text:?} is not understood: want zone=, region=, scope=, via= or service=, and a value")
            }
            Wrong::Twice(key) => write!(f, "{key}= stands there twice"),
            Wrong::Value("scope", text) => {
                write!(f, "scope={text:?}: want {}", list(Scope::SAYABLE.iter().map(|scope| scope.as_str())))
            }
            Wrong::Value("via", text) => {
                write!(f, "via={text:?}: want {}", list(Via::ALL.iter().skip(1).map(|via| via.as_str())))
            }
            Wrong::Value(key, text) => {
                write!(f, "{key}={text:?}: want 1 to {MAX_NAME} letters, digits, dots, dashes or underscores")
            }
            Wrong::Nothing(range) => write!(f, "nothing is said of {range}"),
            Wrong::Contradicted(range) => write!(f, "another line says something else of {range}"),
            Wrong::Ranges => Refused::TooMany.fmt(f),
            Wrong::Names(error) => error.fmt(f),
            Wrong::Cut => write!(f, "the text ends within this line: it was cut, or a line end is missing"),
            Wrong::Empty => write!(f, "the text is empty (a comment alone would mean: no ranges)"),
            Wrong::Version(text) => {
                write!(f, "published in version {text:?}, and only {VERSION} is known: use the same version everywhere")
            }
            Wrong::Count(said, found) => write!(f, "{said} ranges are announced and {found} are there: it was cut"),
        }
    }
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

/// What is wrong, and in which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    /// From 1.
    pub line: u32,
    /// What is wrong with it.
    pub wrong: Wrong,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.wrong)
    }
}

impl std::error::Error for LineError {}

/// What a text says.
#[derive(Debug)]
pub struct Parsed {
    /// Its ranges.
    pub table: Table,
    /// Of a published text.
    pub head: Option<Head>,
    /// Zones and regions that one line alone names, and no node: perhaps misspelt. The first few.
    pub lonely: Vec<(u32, String)>,
}

/// Reads a text. `own` is the number of the place of this node; zones and regions that `nodes` have are no surprise.
///
/// # Errors
/// [`LineError`] with the first line that is wrong; `learner` may then know names that nothing bears.
pub fn parse(text: &str, learner: &mut Learner, nodes: &[u16]) -> Result<Parsed, LineError> {
    let mut builder = Builder::default();
    let mut uses = Uses::default();
    let (mut found, mut line) = (0u32, 0u32);
    let head = text.lines().next().and_then(head).transpose().map_err(|wrong| LineError { line: 1, wrong })?;
    for whole in text.split_inclusive('\n') {
        line = line.saturating_add(1);
        let at = |wrong| LineError { line, wrong };
        if !whole.ends_with('\n') {
            return Err(at(Wrong::Cut));
        }
        let Some(words) = parse_line(whole).map_err(at)? else { continue };
        let place = learner.place(words.zone, words.region).map_err(Wrong::Names).map_err(at)?;
        let service = learner.service(words.service).map_err(Wrong::Names).map_err(at)?;
        uses.note(place, line);
        let said = Said { scope: words.scope, via: words.via, service, place, is_single: false };
        builder.add(words.range, said).map_err(|refused| match refused {
            Refused::TooMany => at(Wrong::Ranges),
            Refused::Contradicted(range) => contradicted(text, range),
        })?;
        found = found.saturating_add(1);
    }
    if line == 0 {
        return Err(LineError { line: 1, wrong: Wrong::Empty });
    }
    if let Some(head) = head
        && head.ranges != found
    {
        return Err(LineError { line, wrong: Wrong::Count(head.ranges, found) });
    }
    let lonely = uses.lonely(learner, nodes);
    let regions = regions_of_zones(learner);
    builder.replace_places(|place| regions.get(usize::from(place)).copied().unwrap_or(place));
    let table = builder.finish().map_err(|refused| match refused {
        Refused::TooMany => LineError { line, wrong: Wrong::Ranges },
        Refused::Contradicted(range) => contradicted(text, range),
    })?;
    Ok(Parsed { table, head, lonely })
}

/// The words of a line; none where there is no range in it.
///
/// # Errors
/// What is wrong with it.
pub fn parse_line(line: &str) -> Result<Option<Line<'_>>, Wrong> {
    let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
    let Some(first) = words.next() else { return Ok(None) };
    let range = range_of(first)?;
    let mut found = Line { range, scope: None, via: Via::None, zone: "", region: "", service: "" };
    for word in words {
        let Some((key, value)) = word.split_once('=') else { return Err(Wrong::Word(shown(word))) };
        match key {
            "zone" => set_name("zone", &mut found.zone, value)?,
            "region" => set_name("region", &mut found.region, value)?,
            "service" => set_name("service", &mut found.service, value)?,
            "scope" => {
                let scope = Scope::SAYABLE.into_iter().find(|scope| scope.as_str() == value);
                let scope = scope.ok_or_else(|| Wrong::Value("scope", shown(value)))?;
                if found.scope.replace(scope).is_some() {
                    return Err(Wrong::Twice("scope"));
                }
            }
            "via" => {
                let via = Via::from_text(value).filter(|via| *via != Via::None);
                let via = via.ok_or_else(|| Wrong::Value("via", shown(value)))?;
                if std::mem::replace(&mut found.via, via) != Via::None {
                    return Err(Wrong::Twice("via"));
                }
            }
            _ => return Err(Wrong::Word(shown(word))),
        }
    }
    let says_nothing = found.scope.is_none()
        && found.via == Via::None
        && [found.zone, found.region, found.service].iter().all(|name| name.is_empty());
    if says_nothing { Err(Wrong::Nothing(range)) } else { Ok(Some(found)) }
}

fn set_name<'a>(key: &'static str, field: &mut &'a str, value: &'a str) -> Result<(), Wrong> {
    if !is_name(value) {
        return Err(Wrong::Value(key, shown(value)));
    }
    if std::mem::replace(field, value).is_empty() { Ok(()) } else { Err(Wrong::Twice(key)) }
}

/// Whether a text can be the name of a zone, region or service.
pub fn is_name(text: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_part)
}

/// `10.0.0.0/8`; a bare address is a range of one.
///
/// # Errors
/// [`Wrong::Range`], [`Wrong::Mapped`] or [`Wrong::HostBits`].
pub fn range_of(text: &str) -> Result<Cidr, Wrong> {
    let wrong = || Wrong::Range(shown(text));
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let ip: IpAddr = address.parse().map_err(|_| wrong())?;
    let addr = Addr::from(ip);
    if ip.is_ipv6() && addr.is_v4() {
        return Err(Wrong::Mapped(shown(text)));
    }
    let prefix = match prefix {
        None if ip.is_ipv4() => 32,
        None => 128,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().map_err(|_| wrong())?,
        Some(_) => return Err(wrong()),
    };
    let range = Cidr::new(addr, prefix).ok_or_else(wrong)?;
    if range.first() == addr { Ok(range) } else { Err(Wrong::HostBits(shown(text), range)) }
}

fn head(line: &str) -> Option<Result<Head, Wrong>> {
    let rest = line.strip_prefix(MARK)?;
    let mut words = rest.split_ascii_whitespace();
    let version = words.next().unwrap_or_default();
    if version.parse() != Ok(VERSION) {
        return Some(Err(Wrong::Version(shown(version))));
    }
    let mut number = |key| (words.next() == Some(key)).then(|| words.next()?.parse().ok()).flatten();
    let (generation, ranges) = (number("generation"), number("ranges"));
    let whole = generation.zip(ranges.and_then(|ranges| u32::try_from(ranges).ok()));
    Some(whole.map(|(generation, ranges)| Head { generation, ranges }).ok_or(Wrong::Cut))
}

/// Names the later of two lines that contradict each other.
fn contradicted(text: &str, range: Cidr) -> LineError {
    let same = |line: &str| matches!(parse_line(line), Ok(Some(words)) if words.range == range);
    let line = text.lines().enumerate().filter(|(_, line)| same(line)).last().map_or(0, |(at, _)| at);
    LineError { line: line.saturating_add(1).try_into().unwrap_or(u32::MAX), wrong: Wrong::Contradicted(range) }
}

/// By the number of a place: that of the same zone with its region, where one region alone is known for it.
#[allow(clippy::cast_possible_truncation, reason = "the names are bounded: a number of a place fits 16 bits")]
fn regions_of_zones(learner: &Learner) -> Vec<u16> {
    let names = learner.names();
    let places: Vec<Place> = (0..names.places().count()).map(|number| names.place(number as u16)).collect();
    let mut by_zone: Vec<(u16, u16, u16)> = Vec::new();
    by_zone.extend(
        places
            .iter()
            .enumerate()
            .filter(|(_, p)| p.zone != 0 && p.region != 0)
            .map(|(n, p)| (p.zone, p.region, n as u16)),
    );
    by_zone.sort_unstable();
    let fuller = |place: &Place| {
        let from = by_zone.partition_point(|(zone, ..)| *zone < place.zone);
        let mut same = by_zone.get(from..)?.iter().take_while(|(zone, ..)| *zone == place.zone);
        let (_, _, number) = same.next()?;
        same.next().is_none().then_some(*number)
    };
    let each = |(number, place): (usize, &Place)| match place.region {
        0 if place.zone != 0 => fuller(place).unwrap_or(number as u16),
        _ => number as u16,
    };
    places.iter().enumerate().map(each).collect()
}

/// How often places are named, and where first.
#[derive(Default)]
struct Uses(Vec<(u32, u32)>);

impl Uses {
    fn note(&mut self, place: u16, line: u32) {
        let at = usize::from(place);
        if self.0.len() <= at {
            self.0.resize(at + 1, (0, 0));
        }
        if let Some((count, first)) = self.0.get_mut(at) {
            *count = count.saturating_add(1);
            *first = if *count == 1 { line } else { *first };
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "the names are bounded: a number of a place fits 16 bits")]
    fn lonely(&self, learner: &Learner, nodes: &[u16]) -> Vec<(u32, String)> {
        let names = learner.names();
        let mut lonely: Vec<(u32, String)> = Vec::new();
        for number in [Place::zone_of as fn(&Place) -> u16, Place::region_of] {
            let of_nodes: Vec<u16> = nodes.iter().map(|place| number(&names.place(*place))).collect();
            let mut words: Vec<(u16, u32, u32)> = Vec::new();
            for (place, (count, first)) in self.0.iter().enumerate().filter(|(_, (count, _))| *count > 0) {
                words.push((number(&names.place(place as u16)), *count, *first));
            }
            words.sort_unstable();
            let groups = words.chunk_by(|a, b| a.0 == b.0).filter_map(|group| match group {
                [(word, 1, line)] if *word != 0 && !of_nodes.contains(word) => Some((*line, *word)),
                _ => None,
            });
            lonely.extend(groups.map(|(line, word)| (line, names.word(word).to_owned())));
        }
        lonely.sort_unstable();
        lonely.truncate(MAX_LONELY);
        lonely
    }
}

/// A text of others, on one line, cut.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}
