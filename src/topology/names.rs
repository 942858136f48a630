//! Zones, regions and services as numbers, so that a row and a range need three bytes for them.
//!
//! Numbers stay what they are: names are added, never taken away, for rows of yesterday bear them.

use std::collections::HashMap;
use std::fmt;

use super::scope::Scope;

/// Pairs of zone and region at most. The largest clouds have some 150 zones.
pub const MAX_PLACES: usize = 4_096;
/// Services at most, "none" included: their number is one byte.
pub const MAX_SERVICES: usize = 256;

/// A zone and its region, as numbers of words; 0 is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The zone.
    pub zone: u16,
    /// The region.
    pub region: u16,
}

impl Place {
    /// The zone.
    pub fn zone_of(&self) -> u16 {
        self.zone
    }

    /// The region.
    pub fn region_of(&self) -> u16 {
        self.region
    }

    /// How far it is to another place. Whether two places of one region share a zone is known only where both zones
    /// are. Whether two zones share a region is known only where both regions are. Else the distance is unknown.
    pub fn distance_to(self, other: Place) -> Scope {
        let regions_known = self.region != 0 && other.region != 0;
        let zones_known = self.zone != 0 && other.zone != 0;
        if regions_known && self.region != other.region {
            Scope::CrossRegion
        } else if zones_known && self.zone == other.zone {
            Scope::Zone
        } else if zones_known && regions_known {
            Scope::Region
        } else {
            Scope::Unknown
        }
    }
}

/// More names than there are numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMany {
    /// Of pairs of zone and region.
    Places,
    /// Of services.
    Services,
}

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TooMany::Places => write!(f, "more than {} zones and regions since the start", MAX_PLACES - 1),
            TooMany::Services => write!(f, "more than {} services since the start", MAX_SERVICES - 1),
        }
    }
}

impl std::error::Error for TooMany {}

/// What the numbers mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Names of zones and regions.
    words: Vec<Box<str>>,
    places: Vec<Place>,
    services: Vec<Box<str>>,
}

impl Default for Names {
    /// The number 0 of each kind.
    fn default() -> Names {
        Names { words: vec!["".into()], places: vec![Place::default()], services: vec!["".into()] }
    }
}

impl Names {
    /// The place with a number; not known where there is none.
    #[inline]
    pub fn place(&self, number: u16) -> Place {
        self.places.get(usize::from(number)).copied().unwrap_or_default()
    }

    /// The name of the zone of the place with a number; empty where it is not known.
    pub fn zone(&self, number: u16) -> &str {
        self.word(self.place(number).zone)
    }

    /// The name of the region of the place with a number; empty where it is not known.
    pub fn region(&self, number: u16) -> &str {
        self.word(self.place(number).region)
    }

    /// The name of the service with a number; empty for none.
    pub fn service(&self, number: u8) -> &str {
        self.services.get(usize::from(number)).map_or("", |name| name)
    }

    /// The names of all services, by number; the first is none.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.services.iter().map(|name| &**name)
    }

    /// The zones and regions of all places, by number; the first is not known.
    pub fn places(&self) -> impl Iterator<Item = (&str, &str)> {
        self.places.iter().map(|place| (self.word(place.zone), self.word(place.region)))
    }

    /// The name of a zone or region; empty for 0.
    pub fn word(&self, number: u16) -> &str {
        self.words.get(usize::from(number)).map_or("", |word| word)
    }
}

/// Adds names.
pub struct Learner {
    names: Names,
    words: HashMap<Box<str>, u16>,
    places: HashMap<Place, u16>,
    services: HashMap<Box<str>, u8>,
}

impl Learner {
    /// One that knows these names.
    #[allow(clippy::cast_possible_truncation, reason = "the names are bounded where they are learnt")]
    pub fn new(names: Names) -> Learner {
        Learner {
            words: names.words.iter().enumerate().map(|(number, word)| (word.clone(), number as u16)).collect(),
            places: names.places.iter().enumerate().map(|(number, place)| (*place, number as u16)).collect(),
            services: names.services.iter().enumerate().map(|(number, name)| (name.clone(), number as u8)).collect(),
            names,
        }
    }

    /// The number of a zone and region; either may be empty.
    ///
    /// # Errors
    /// [`TooMany::Places`].
    #[allow(clippy::cast_possible_truncation, reason = "the names are bounded where they are learnt")]
    pub fn place(&mut self, zone: &str, region: &str) -> Result<u16, TooMany> {
        // Each place names two words at most, so words never run out first.
        let place = Place { zone: self.word(zone), region: self.word(region) };
        if let Some(number) = self.places.get(&place) {
            return Ok(*number);
        }
        if self.names.places.len() >= MAX_PLACES {
            return Err(TooMany::Places);
        }
        let number = self.names.places.len() as u16;
        self.names.places.push(place);
        self.places.insert(place, number);
        Ok(number)
    }

    /// The number of a service.
    ///
    /// # Errors
    /// [`TooMany::Services`].
    pub fn service(&mut self, name: &str) -> Result<u8, TooMany> {
        if let Some(number) = self.services.get(name) {
            return Ok(*number);
        }
        let number = u8::try_from(self.names.services.len()).map_err(|_| TooMany::Services)?;
        self.names.services.push(name.into());
        self.services.insert(name.into(), number);
        Ok(number)
    }

    /// What it knows so far.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// What it knows.
    pub fn finish(self) -> Names {
        self.names
    }

    #[allow(clippy::cast_possible_truncation, reason = "the names are bounded where they are learnt")]
    fn word(&mut self, word: &str) -> u16 {
        if let Some(number) = self.words.get(word) {
            return *number;
        }
        // Two for each place, and those of one place that was refused.
        let number = self.names.words.len() as u16;
        self.names.words.push(word.into());
        self.words.insert(word.into(), number);
        number
    }
}
