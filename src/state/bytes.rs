//! Encodes and decodes the values of the state file: integers as varints, addresses by family, structs field by field.
//! One place defines both directions, so that they always agree.
//!
//! It knows no table. Decoding never panics, whatever the bytes.

use crate::flow::{Addr, ConnectionKey, Counts, Traffic, TxRx};
use crate::topology::Way;
use crate::wire::Malformed;
use crate::wire::protobuf::varint;

/// The bytes that remain to be decoded.
#[derive(Clone, Copy, Debug)]
pub struct In<'a>(pub &'a [u8]);

impl<'a> In<'a> {
    /// The next `n` bytes.
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(Malformed)?;
        self.0 = tail;
        Ok(head)
    }

    /// Reads a length, then that many bytes.
    pub fn block(&mut self) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(u64::take(self)?).map_err(|_| Malformed)?;
        self.bytes(len)
    }
}

/// Appends a length and the bytes.
pub fn put_block(out: &mut Vec<u8>, bytes: &[u8]) {
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A word that can be kept.
pub trait Persist: Sized {
    /// Appends it.
    fn put(&self, out: &mut Vec<u8>);
    /// Reads it.
    ///
    /// # Errors
    /// When the bytes are too few or cannot be such a word.
    fn take(from: &mut In<'_>) -> Result<Self, Malformed>;
}

/// Structs field by field; what is not kept gets a value after the semicolon.
macro_rules! persist {
    ($name:ty { $($field:ident),* $(; $other:ident : $value:expr)* }) => {
        impl $crate::state::bytes::Persist for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $( $crate::state::bytes::Persist::put(&self.$field, out); )*
            }
            fn take(from: &mut $crate::state::bytes::In<'_>) -> Result<Self, $crate::wire::Malformed> {
                Ok(Self { $( $field: $crate::state::bytes::Persist::take(from)?, )* $( $other: $value, )* })
            }
        }
    };
}
pub(crate) use persist;

/// An enum whose variants have numbers in the state file.
pub trait Numbered: Sized {
    /// Its number.
    fn number(&self) -> u8;
    /// The variant of a number.
    fn of_number(number: u8) -> Option<Self>;
}

/// Enums without fields, by the numbers that their variants have in the state file.
///
/// A number once given stays, or an agent could not go on from the file of the one before. A variant without a number
/// does not compile:
///
/// ```
/// use netmon::state::bytes::Numbered;
/// # #[derive(Debug, PartialEq)]
/// enum Colour { Red, Green }
/// netmon::persist_as_number!(Colour { Red = 0, Green = 7 });
/// assert_eq!((Colour::Green.number(), Colour::of_number(0)), (7, Some(Colour::Red)));
/// ```
///
/// ```compile_fail,E0004
/// enum Colour { Red, Green, Blue }
/// netmon::persist_as_number!(Colour { Red = 0, Green = 7 });
/// ```
#[macro_export]
macro_rules! persist_as_number {
    ($name:ident { $($variant:ident = $number:literal),+ $(,)? }) => {
        impl $crate::state::bytes::Numbered for $name {
            fn number(&self) -> u8 {
                match self {
                    $($name::$variant => $number),+
                }
            }
            fn of_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some($name::$variant),)+
                    _ => None,
                }
            }
        }

        impl $crate::state::bytes::Persist for $name {
            fn put(&self, out: &mut Vec<u8>) {
                out.push($crate::state::bytes::Numbered::number(self));
            }
            fn take(from: &mut $crate::state::bytes::In<'_>) -> Result<Self, $crate::wire::Malformed> {
                let number = <u8 as $crate::state::bytes::Persist>::take(from)?;
                <Self as $crate::state::bytes::Numbered>::of_number(number).ok_or($crate::wire::Malformed)
            }
        }
    };
}

impl Persist for u8 {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }
    fn take(from: &mut In<'_>) -> Result<u8, Malformed> {
        Ok(from.bytes(1)?[0])
    }
}

impl Persist for u64 {
    fn put(&self, out: &mut Vec<u8>) {
        varint(out, *self);
    }
    fn take(from: &mut In<'_>) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = u8::take(from)?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                break;
            }
            value |= part << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }
}

impl Persist for u32 {
    fn put(&self, out: &mut Vec<u8>) {
        varint(out, u64::from(*self));
    }
    fn take(from: &mut In<'_>) -> Result<u32, Malformed> {
        u32::try_from(u64::take(from)?).map_err(|_| Malformed)
    }
}

impl Persist for u16 {
    fn put(&self, out: &mut Vec<u8>) {
        varint(out, u64::from(*self));
    }
    fn take(from: &mut In<'_>) -> Result<u16, Malformed> {
        u16::try_from(u64::take(from)?).map_err(|_| Malformed)
    }
}

impl Persist for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn take(from: &mut In<'_>) -> Result<bool, Malformed> {
        match u8::take(from)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }
}

impl Persist for usize {
    fn put(&self, out: &mut Vec<u8>) {
        varint(out, *self as u64);
    }
    fn take(from: &mut In<'_>) -> Result<usize, Malformed> {
        usize::try_from(u64::take(from)?).map_err(|_| Malformed)
    }
}

impl<T: Persist> Persist for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(word) = self {
            word.put(out);
        }
    }
    fn take(from: &mut In<'_>) -> Result<Option<T>, Malformed> {
        bool::take(from)?.then(|| T::take(from)).transpose()
    }
}

impl Persist for Box<str> {
    fn put(&self, out: &mut Vec<u8>) {
        put_block(out, self.as_bytes());
    }
    fn take(from: &mut In<'_>) -> Result<Box<str>, Malformed> {
        std::str::from_utf8(from.block()?).map(Into::into).map_err(|_| Malformed)
    }
}

impl Persist for Addr {
    fn put(&self, out: &mut Vec<u8>) {
        let bytes = if self.is_v4() { &self.octets()[12..] } else { &self.octets()[..] };
        put_block(out, bytes);
    }
    fn take(from: &mut In<'_>) -> Result<Addr, Malformed> {
        let bytes = from.block()?;
        match (bytes.try_into(), bytes.try_into()) {
            (Ok(v4), _) => Ok(Addr::from_v4(v4)),
            (_, Ok(v6)) => Ok(Addr::from_v6(v6)),
            _ => Err(Malformed),
        }
    }
}

impl Persist for Way {
    fn put(&self, out: &mut Vec<u8>) {
        self.number().put(out);
    }
    fn take(from: &mut In<'_>) -> Result<Way, Malformed> {
        Way::from_number(u16::take(from)?).ok_or(Malformed)
    }
}

persist!(Counts { bytes, packets });
persist!(Traffic { orig, reply });
persist!(TxRx { tx, rx });
persist!(ConnectionKey { src, dst, sport, dport, ct_zone, protocol, family, realm });

#[cfg(test)]
mod tests;
