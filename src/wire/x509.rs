//! What an operator needs to know of a certificate (RFC 5280): whose it is, from whom, until when, for which names.
//!
//! This is for messages, and for the checks that remain where a certificate is trusted because it is the very one that was
//! given. Signatures and chains are webpki's.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Malformed;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
const OCTETS: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANIZATION: &[u8] = &[0x55, 4, 10];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
const ANY_USAGE: &[u8] = &[0x55, 0x1d, 37, 0];
const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
/// 1.3.132.0.35, with tag and length.
const SECP521R1: &[u8] = &[OBJECT_ID, 5, 0x2b, 0x81, 4, 0, 0x23];

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// 1, 2 or 3.
    pub version: u8,
    /// Whose it is: the common name, else the organisation.
    pub subject: String,
    /// Who signed it, in the same way.
    pub issuer: String,
    /// Subject and issuer are the same.
    pub is_self_issued: bool,
    /// The first second in which it is valid, since the Unix epoch.
    pub not_before_s: u64,
    /// The last one.
    pub not_after_s: u64,
    /// DNS names and addresses of subjectAltName.
    pub names: Vec<String>,
    /// May be used by a server: its extended key usage is absent, or says so.
    pub is_for_servers: bool,
    /// Its key is on the curve P-521.
    pub is_p521: bool,
}

/// The next element, its tag and content; `bytes` goes on behind it.
fn element<'a>(bytes: &mut &'a [u8]) -> Result<(u8, &'a [u8]), Malformed> {
    let [tag, length, rest @ ..] = *bytes else { return Err(Malformed) };
    let (length, rest) = match *length {
        short @ 0..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f)).ok_or(Malformed)?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return Err(Malformed),
    };
    let (content, after) = rest.split_at_checked(length).ok_or(Malformed)?;
    *bytes = after;
    Ok((*tag, content))
}

fn expect<'a>(bytes: &mut &'a [u8], wanted: u8) -> Result<&'a [u8], Malformed> {
    match element(bytes)? {
        (tag, content) if tag == wanted => Ok(content),
        _ => Err(Malformed),
    }
}

impl Certificate {
    /// Reads DER.
    pub fn read(mut der: &[u8]) -> Result<Certificate, Malformed> {
        let mut outer = expect(&mut der, SEQUENCE)?;
        let mut body = expect(&mut outer, SEQUENCE)?;
        let mut version = 1;
        if body.first() == Some(&VERSION) {
            let (_, number) = element(&mut expect(&mut body, VERSION)?)?;
            version = number.last().map_or(1, |zero_based| zero_based.saturating_add(1));
        }
        // Serial number and signature algorithm.
        element(&mut body)?;
        element(&mut body)?;
        let issuer = expect(&mut body, SEQUENCE)?;
        let mut validity = expect(&mut body, SEQUENCE)?;
        let (not_before_s, not_after_s) = (time(&mut validity)?, time(&mut validity)?);
        let subject = expect(&mut body, SEQUENCE)?;
        let mut key = expect(&mut body, SEQUENCE)?;
        let algorithm = expect(&mut key, SEQUENCE)?;
        let mut certificate = Certificate {
            version,
            subject: name(subject)?,
            issuer: name(issuer)?,
            is_self_issued: subject == issuer,
            not_before_s,
            not_after_s,
            names: Vec::new(),
            is_for_servers: true,
            is_p521: algorithm.ends_with(SECP521R1),
        };
        while !body.is_empty() {
            let (tag, content) = element(&mut body)?;
            if tag == EXTENSIONS {
                certificate.extensions(content)?;
            }
        }
        Ok(certificate)
    }

    fn extensions(&mut self, mut content: &[u8]) -> Result<(), Malformed> {
        let mut list = expect(&mut content, SEQUENCE)?;
        while !list.is_empty() {
            let mut extension = expect(&mut list, SEQUENCE)?;
            let id = expect(&mut extension, OBJECT_ID)?;
            let (tag, mut value) = element(&mut extension)?;
            if tag != OCTETS {
                // Whether it is critical.
                value = expect(&mut extension, OCTETS)?;
            }
            match id {
                SUBJECT_ALT_NAME => self.names = alternative_names(&mut value)?,
                EXTENDED_KEY_USAGE => {
                    let mut usages = expect(&mut value, SEQUENCE)?;
                    self.is_for_servers = false;
                    while !usages.is_empty() {
                        let usage = expect(&mut usages, OBJECT_ID)?;
                        self.is_for_servers |= usage == SERVER_AUTH || usage == ANY_USAGE;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn alternative_names(value: &mut &[u8]) -> Result<Vec<String>, Malformed> {
    let mut list = expect(value, SEQUENCE)?;
    let mut names = Vec::new();
    while !list.is_empty() {
        let (tag, content) = element(&mut list)?;
        match tag {
            DNS_NAME => names.push(printable(content)),
            IP_ADDRESS => names.extend(match *content {
                [a, b, c, d] => Some(Ipv4Addr::new(a, b, c, d).to_string()),
                _ => <[u8; 16]>::try_from(content).ok().map(|bytes| Ipv6Addr::from(bytes).to_string()),
            }),
            _ => {}
        }
    }
    Ok(names)
}

/// The common name of a distinguished name, else its organisation, else nothing.
fn name(mut parts: &[u8]) -> Result<String, Malformed> {
    let mut found = String::new();
    while !parts.is_empty() {
        let mut set = expect(&mut parts, SET)?;
        while !set.is_empty() {
            let mut pair = expect(&mut set, SEQUENCE)?;
            let id = expect(&mut pair, OBJECT_ID)?;
            let (_, value) = element(&mut pair)?;
            if id == COMMON_NAME || id == ORGANIZATION && found.is_empty() {
                found = printable(value);
            }
        }
    }
    Ok(found)
}

fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).take(100).collect()
}

/// Seconds since the Unix epoch (RFC 5280 4.1.2.5): `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`. What was before is 0.
fn time(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let (tag, text) = element(bytes)?;
    let digits = text.strip_suffix(b"Z").filter(|digits| digits.iter().all(u8::is_ascii_digit)).ok_or(Malformed)?;
    let number = |from: usize, length: usize| {
        let digits = digits.get(from..from + length).ok_or(Malformed)?;
        Ok(digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    };
    let (year, at) = match tag {
        UTC_TIME => match number(0, 2)? {
            year @ 50.. => (1900 + year, 2),
            year => (2000 + year, 2),
        },
        GENERALIZED_TIME => (number(0, 4)?, 4),
        _ => return Err(Malformed),
    };
    let (month, day) = (number(at, 2)?, number(at + 2, 2)?);
    let (hour, minute, second) = (number(at + 4, 2)?, number(at + 6, 2)?, number(at + 8, 2)?);
    if digits.len() != at + 10 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(Malformed);
    }
    // Days since 1970-01-01, with the year begun in March, so that leap days end it.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (month * 153 + 2) / 5 + day
            - 1
            - 719_468;
    Ok(u64::try_from(((days * 24 + hour) * 60 + minute) * 60 + second).unwrap_or(0))
}

#[cfg(test)]
mod tests;
