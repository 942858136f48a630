//! Reads the wanted fields of a JSON stream. It skips everything else without buffering, and treats a value of an
//! unexpected type as missing, not as an error.
//!
//! `#[derive(Deserialize)]` is not used for what an API server sends. It refuses the whole stream for one field of a
//! wrong type, a `null` list or a repeated key. Knows nothing of pods.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The longest string that is stored. Names, uids and versions have at most 253 characters (RFC 1123 subdomains).
pub const TEXT_MAX_BYTES: usize = 512;

/// A value that is read from JSON. Unknown fields are skipped. A `null`, or a value of a type without a method here,
/// changes nothing.
pub trait Lenient {
    fn text(&mut self, _text: &str) {}

    /// `true` or `false`.
    fn boolean(&mut self, _value: bool) {}

    /// A number without a fraction.
    fn number(&mut self, _value: i64) {}

    /// The value of `key` is next in `map` and must be read.
    fn field<'de, A: MapAccess<'de>>(&mut self, _key: &str, map: &mut A) -> Result<(), A::Error> {
        skip(map)
    }

    /// Reads the next element of a list, if there is one.
    fn element<'de, A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        Ok(list.next_element::<IgnoredAny>()?.is_some())
    }
}

/// Skips the value of the key just read.
pub fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(|_| ())
}

/// Reads the value of the key just read into a new `T`. So a repeated key replaces the earlier value, as in the API
/// server's own decoder.
pub fn value<'de, T: Lenient + Default, A: MapAccess<'de>>(map: &mut A) -> Result<T, A::Error> {
    let mut fresh = T::default();
    map.next_value_seed(Into(&mut fresh))?;
    Ok(fresh)
}

/// Reads into an existing value.
pub struct Into<'a, T>(pub &'a mut T);

impl<'de, T: Lenient> DeserializeSeed<'de> for Into<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Lenient> Visitor<'de> for Into<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.text(text);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.0.boolean(value);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.0.number(value);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        if let Ok(value) = i64::try_from(value) {
            self.0.number(value);
        }
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Key>()? {
            self.0.field(key.as_str(), &mut map)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while self.0.element(&mut list)? {}
        Ok(())
    }
}

/// A string; empty if it is missing, of another type, or longer than [`TEXT_MAX_BYTES`].
#[derive(Debug, Default)]
pub struct Text(pub Option<String>);

impl Text {
    /// Returns the string unless it is empty.
    pub fn given(self) -> Option<String> {
        self.0.filter(|text| !text.is_empty())
    }
}

impl Lenient for Text {
    fn text(&mut self, text: &str) {
        if text.len() <= TEXT_MAX_BYTES {
            self.0 = Some(text.to_owned());
        }
    }
}

/// A boolean; `false` if it is missing or of another type.
#[derive(Debug, Default)]
pub struct Flag(pub bool);

impl Lenient for Flag {
    fn boolean(&mut self, value: bool) {
        self.0 = value;
    }
}

/// A number without a fraction.
#[derive(Debug, Default)]
pub struct Number(pub Option<i64>);

impl Lenient for Number {
    fn number(&mut self, value: i64) {
        self.0 = Some(value);
    }
}

/// A list. Each element is read into a new `T` and passed to `F`.
pub struct Each<'a, T, F>(pub &'a mut F, pub PhantomData<T>);

impl<T: Lenient + Default, F: FnMut(T)> Lenient for Each<'_, T, F> {
    fn element<'de, A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        let mut item = T::default();
        if list.next_element_seed(Into(&mut item))?.is_none() {
            return Ok(false);
        }
        (self.0)(item);
        Ok(true)
    }
}

/// Reads the list that is the value of the key just read.
pub fn each<'de, T: Lenient + Default, A: MapAccess<'de>>(
    map: &mut A,
    mut take: impl FnMut(T),
) -> Result<(), A::Error> {
    map.next_value_seed(Into(&mut Each(&mut take, PhantomData)))
}

/// A key of an object, in a fixed buffer. A key longer than all known keys is only known to be unknown.
struct Key {
    length: u8,
    bytes: [u8; Key::MAX_BYTES],
}

impl Key {
    const MAX_BYTES: usize = 31;

    fn as_str(&self) -> &str {
        self.bytes.get(..usize::from(self.length)).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        struct KeyVisitor;

        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            #[allow(clippy::cast_possible_truncation, reason = "the length was held against the key's room")]
            fn visit_str<E>(self, text: &str) -> Result<Key, E> {
                let mut key = Key { length: 0, bytes: [0; Key::MAX_BYTES] };
                if let Some(place) = key.bytes.get_mut(..text.len()) {
                    place.copy_from_slice(text.as_bytes());
                    key.length = text.len() as u8;
                }
                Ok(key)
            }
        }

        deserializer.deserialize_identifier(KeyVisitor)
    }
}
