//! The protobuf wire format, as far as the messages of DAKR need it. It writes fields into a reused buffer and walks
//! the fields of a body.
//!
//! Knows no message and no field number. Format: <https://protobuf.dev/programming-guides/encoding/>.

/// Wire type of int32, int64, bool and enums.
const VARINT: u64 = 0;
/// Wire type of fixed64 and double; DAKR's messages have none, but a field that we do not know may be one.
const FIXED64: u64 = 1;
/// Wire type of strings and messages.
const LENGTH_DELIMITED: u64 = 2;
/// Wire type of fixed32 and float.
const FIXED32: u64 = 5;

#[allow(clippy::cast_possible_truncation, reason = "a varint takes seven bits at a time")]
pub fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes [`varint`] appends.
pub fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends an integer field; zero is left out, as proto3 does. Negative numbers are passed in two's complement.
pub fn integer(out: &mut Vec<u8>, field: u64, value: u64) {
    if value != 0 {
        varint(out, field << 3 | VARINT);
        varint(out, value);
    }
}

/// How many bytes [`integer`] appends, for field numbers below 16.
pub fn integer_len(value: u64) -> usize {
    if value == 0 { 0 } else { 1 + varint_len(value) }
}

/// Appends a string, bytes or message field, empty or not: what a field with presence wants.
pub fn present(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    message(out, field, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends a string field; the empty string is left out, as proto3 does.
pub fn string(out: &mut Vec<u8>, field: u64, text: &[u8]) {
    if !text.is_empty() {
        present(out, field, text);
    }
}

/// How many bytes [`string`] appends, for field numbers below 16.
pub fn string_len(text: &[u8]) -> usize {
    if text.is_empty() { 0 } else { present_len(text.len()) }
}

/// How many bytes a field of `len` bytes with presence takes, for field numbers below 16.
pub fn present_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

/// Appends the head of a message field whose `len` bytes the caller appends next.
pub fn message(out: &mut Vec<u8>, field: u64, len: usize) {
    varint(out, field << 3 | LENGTH_DELIMITED);
    varint(out, len as u64);
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// An integer, sign in two's complement.
    Varint(u64),
    /// A string, bytes or message.
    Bytes(&'a [u8]),
    /// A fixed-width number, which no message of DAKR uses.
    Fixed,
}

/// One field of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    pub number: u64,
    pub value: Value<'a>,
    /// All of its bytes, tag included.
    pub raw: &'a [u8],
}

/// Walks the fields of a body in the order they stand. An `Err` says that the body is malformed, and ends the walk.
pub struct Fields<'a> {
    rest: &'a [u8],
}

/// A body that is not protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl<'a> Fields<'a> {
    /// The fields of `body`.
    pub fn of(body: &'a [u8]) -> Fields<'a> {
        Fields { rest: body }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Malformed)?;
        self.rest = rest;
        Ok(head)
    }

    fn take_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for (at, byte) in self.rest.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7f);
            // The tenth byte holds the one bit that is left.
            if at == 9 && bits > 1 {
                return Err(Malformed);
            }
            value |= bits << (7 * at);
            if byte & 0x80 == 0 {
                self.take(at + 1)?;
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn field(&mut self) -> Result<Field<'a>, Malformed> {
        let whole = self.rest;
        let tag = self.take_varint()?;
        let number = tag >> 3;
        if number == 0 || number > 0x1fff_ffff {
            return Err(Malformed);
        }
        let value = match tag & 7 {
            VARINT => Value::Varint(self.take_varint()?),
            FIXED64 => self.take(8).map(|_| Value::Fixed)?,
            LENGTH_DELIMITED => {
                let len = usize::try_from(self.take_varint()?).map_err(|_| Malformed)?;
                Value::Bytes(self.take(len)?)
            }
            FIXED32 => self.take(4).map(|_| Value::Fixed)?,
            // Groups (3, 4) are gone from proto3; 6 and 7 never were.
            _ => return Err(Malformed),
        };
        let raw = whole.get(..whole.len() - self.rest.len()).ok_or(Malformed)?;
        Ok(Field { number, value, raw })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests;
