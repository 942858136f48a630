//! Reads single values: durations as Go writes them, address ranges, ports, numbers. Errors say what is allowed.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::clock::{MS, SECOND};
use crate::flow::{Addr, Cidr};

/// What is allowed instead; completes "invalid value …: ".
pub type Allowed = String;

/// Units of Go's `time.ParseDuration`, longest first where one begins like another.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", MS),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
];

/// A duration as Go writes it (`time.ParseDuration`): numbers with fractions and units, `1h15m30.5s`. Signs are not
/// taken: no setting of ours is negative. `None` where it is no such thing or beyond 292 years.
pub fn duration_ns(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(number_len);
        let unit_len = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
        // Digits beyond the eighteenth are less than a nanosecond of an hour.
        let fraction = fraction.get(..fraction.len().min(18))?;
        let part = if fraction.is_empty() {
            0
        } else {
            let digits = u128::from(fraction.parse::<u64>().ok()?);
            (digits * u128::from(*scale) / 10u128.pow(fraction.len() as u32)) as u64
        };
        total = total.checked_add(whole.checked_mul(*scale)?)?.checked_add(part)?;
        rest = tail;
    }
    (!text.is_empty() && total <= i64::MAX as u64).then_some(total)
}

/// A duration of at least `least_ns` and at most 24 h.
pub fn interval_ns(text: &str, least_ns: u64) -> Result<u64, Allowed> {
    const MOST_NS: u64 = 24 * 3_600 * SECOND;
    let least = if least_ns < SECOND { format!("{}ms", least_ns / MS) } else { format!("{}s", least_ns / SECOND) };
    match duration_ns(text) {
        Some(ns) if (least_ns..=MOST_NS).contains(&ns) => Ok(ns),
        _ => Err(format!("a duration from {least} to 24h, such as 5s or 1m30s")),
    }
}

/// A comma-separated list of address ranges; a bare address is a range of one.
pub fn cidrs(text: &str) -> Result<Vec<Cidr>, Allowed> {
    let one = |part: &str| -> Option<Cidr> {
        let (addr, bits) = part.split_once('/').unwrap_or((part, ""));
        let addr: Addr = addr.parse::<IpAddr>().ok()?.into();
        let all = if addr.is_v4() { 32 } else { 128 };
        // Only digits: Rust takes "+8".
        let plain = !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit());
        let bits = if part.contains('/') { plain.then(|| bits.parse().ok()).flatten()? } else { all };
        Cidr::new(addr, bits)
    };
    list(text)
        .map(|part| one(part).ok_or_else(|| format!("ranges such as 10.0.0.0/8,fd00::/8; {part:?} is none")))
        .collect()
}

/// A comma-separated list of ports.
pub fn ports(text: &str) -> Result<Vec<u16>, Allowed> {
    list(text)
        .map(|part| match number(part) {
            Some(port @ 1..=65_535) => Ok(port as u16),
            _ => Err(format!("ports from 1 to 65535, such as 4789,6081; {part:?} is none")),
        })
        .collect()
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// A plain decimal number.
pub fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// A number within bounds.
pub fn within(text: &str, least: u64, most: u64) -> Result<u64, Allowed> {
    number(text).filter(|n| (least..=most).contains(n)).ok_or_else(|| format!("a number from {least} to {most}"))
}

/// An address to listen on: `:8081` (every address of both families), `127.0.0.1:8081`, `[::1]:8081`, `localhost:8081`.
pub fn bind(text: &str) -> Result<SocketAddr, Allowed> {
    let parsed = match text.strip_prefix(':') {
        Some(port) => number(port)
            .and_then(|port| u16::try_from(port).ok())
            .map(|port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))),
        None => text.replace("localhost:", "127.0.0.1:").parse().ok(),
    };
    parsed.ok_or_else(|| "an address to listen on, such as :8081, 127.0.0.1:8081 or [::1]:8081".to_owned())
}

/// A boolean as Go's `strconv.ParseBool` takes it.
pub fn boolean(text: &str) -> Result<bool, Allowed> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("true or false".to_owned()),
    }
}

/// One of a few words.
pub fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, Allowed> {
    words.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        format!("one of {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, ns) in [
            ("5s", 5 * SECOND),
            ("1m30s", 90 * SECOND),
            ("1.5h", 5_400 * SECOND),
            (".5s", SECOND / 2),
            ("1.s", SECOND),
            ("100ms", 100 * MS),
            ("100µs", 100_000),
            ("100us", 100_000),
            ("7ns", 7),
            ("0", 0),
            ("1h0m0.25s", 3_600 * SECOND + SECOND / 4),
        ] {
            assert_eq!(duration_ns(text), Some(ns), "{text}");
        }
        for text in ["", "5", "s", ".s", "5 s", "1d", "-5s", "+5s", "1..5s", "5sx", "99999999999h", "٣s"] {
            assert_eq!(duration_ns(text), None, "{text}");
        }
    }

    #[test]
    fn bounds_are_said() {
        assert_eq!(interval_ns("99ms", 100 * MS), Err("a duration from 100ms to 24h, such as 5s or 1m30s".into()));
        assert_eq!(interval_ns("100ms", 100 * MS), Ok(100 * MS));
        assert!(interval_ns("0s", SECOND).is_err() && interval_ns("25h", SECOND).is_err());
        assert_eq!(within("70000", 0, 65_535), Err("a number from 0 to 65535".into()));
    }

    #[test]
    fn ranges_ports_and_addresses() {
        assert_eq!(cidrs("10.0.0.0/8, fd00::/8").expect("valid").len(), 2);
        assert_eq!(cidrs("192.0.2.7").expect("valid")[0].to_string(), "192.0.2.7/32");
        assert!(cidrs("10.0.0.0/33").is_err() && cidrs("10.0.0.0/").is_err() && cidrs("10.0.0.0/+8").is_err());
        assert_eq!(ports("4789,8472"), Ok(vec![4789, 8472]));
        assert!(ports("0").is_err() && ports("65536").is_err());
        assert_eq!(bind(":8081").expect("valid").to_string(), "[::]:8081");
        assert_eq!(bind("localhost:9").expect("valid").to_string(), "127.0.0.1:9");
        assert!(bind("8081").is_err() && bind(":99999").is_err());
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC{0,40}") {
            let _ = (duration_ns(&text), cidrs(&text), ports(&text), bind(&text));
        }

        /// What Go's `Duration.String` would write is read back.
        #[test]
        fn a_written_duration_is_read(ns in 0u64..1_000_000_000_000_000) {
            let (hours, rest) = (ns / (3_600 * SECOND), ns % (3_600 * SECOND));
            let (minutes, rest) = (rest / (60 * SECOND), rest % (60 * SECOND));
            let text = format!("{hours}h{minutes}m{}.{:09}s", rest / SECOND, rest % SECOND);
            prop_assert_eq!(duration_ns(&text), Some(ns));
        }
    }
}
