//! What is cut, what is not, and that no reader can tell.

use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::*;

/// Hands out so many bytes at a time, in turn.
pub struct Split<'a> {
    /// What is left.
    pub bytes: &'a [u8],
    /// The most that the next reads give.
    pub sizes: std::iter::Cycle<std::vec::IntoIter<usize>>,
}

impl Read for Split<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.sizes.next().unwrap_or(1).clamp(1, buffer.len().max(1));
        let (mut now, later) = self.bytes.split_at(size.min(self.bytes.len()));
        self.bytes = later;
        now.read(buffer)
    }
}

/// What goes on of them, read so many at a time.
fn abridged(bytes: &[u8], sizes: &[usize]) -> Vec<u8> {
    let sizes = match sizes {
        [] => vec![usize::MAX],
        sizes => sizes.to_vec(),
    };
    let mut left = Vec::new();
    Abridged::new(Split { bytes, sizes: sizes.into_iter().cycle() }).read_to_end(&mut left).expect("memory");
    left
}

/// The same with every string that is too long to be kept made one and the same.
fn comparable(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > TEXT_MAX_BYTES => *text = "too long".to_owned(),
        Value::Array(list) => list.iter_mut().for_each(comparable),
        Value::Object(map) => {
            map.retain(|key, _| key.len() <= TEXT_MAX_BYTES);
            map.values_mut().for_each(comparable);
        }
        _ => {}
    }
}

/// Every reader of the one finds in the other what it finds in the first, or refuses both.
fn assert_same(whole: &[u8], cut: &[u8]) {
    assert!(cut.len() <= whole.len());
    let skips = |bytes| serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| error.classify());
    assert_eq!(skips(whole).err(), skips(cut).err(), "skipped, {:?}", String::from_utf8_lossy(whole));
    let read = |bytes| {
        let mut value = serde_json::from_slice::<Value>(bytes).map_err(|error| error.classify());
        let _ = value.as_mut().map(comparable);
        value
    };
    assert_eq!(read(whole), read(cut), "{:?}", String::from_utf8_lossy(whole));
}

#[test]
fn short_strings_go_on_as_they_are() {
    for text in
        ["", "a", "\\n\\u00e9\\ud83d\\ude00", "é日本", &"x".repeat(TEXT_MAX_BYTES), &"\\\"".repeat(TEXT_MAX_BYTES)]
    {
        let json = format!("{{\"{text}\":[\"{text}\",1.5e3,null,true]}} \"{text}\"");
        assert_eq!(abridged(json.as_bytes(), &[]), json.as_bytes());
        assert_eq!(abridged(json.as_bytes(), &[1]), json.as_bytes());
    }
}

#[test]
fn a_long_string_is_cut_to_one_that_is_too_long_to_be_kept() {
    for (unit, length) in [("x", 1), ("\\\"", 2), ("\\u0041", 6)] {
        for units in [TEXT_MAX_BYTES + 1, TEXT_MAX_BYTES + 2, 100_000] {
            let json = format!("[\"{}\",\"next\"]", unit.repeat(units));
            let cut = abridged(json.as_bytes(), &[]);
            assert_same(json.as_bytes(), &cut);
            let texts: Vec<String> = serde_json::from_slice(&cut).expect("JSON");
            assert!(texts[0].len() > TEXT_MAX_BYTES);
            assert_eq!(texts[1], "next");
            if length < 6 {
                assert_eq!(cut.len(), (TEXT_MAX_BYTES + 1) * length + "[\"\",\"next\"]".len());
            }
        }
    }
}

#[test]
fn a_broken_string_stays_broken_wherever_it_is_cut() {
    let long = "x".repeat(TEXT_MAX_BYTES + 5);
    for broken in [
        &b"\n"[..],
        b"\0",
        b"\\x",
        b"\\u12",
        b"\\u12x4",
        b"\\",
        b"\\ud83d",
        b"\\ud83dxxxx\\ude00",
        b"\\ud83d\\n\\n\\ude00",
        b"\\ud83d\\\"\\ude00",
        b"\\ude00\\ud83d",
        b"\xc3",
        b"\xc3x\xa9",
        b"\xc3xxxx\xa9",
        b"\xc3\\n\xa9",
        b"\xc3\\n\\nxx\xa9",
        b"\xe4\xb8xxxx\xad",
        b"\xe4xxxx\xb8xxxx\xad",
        b"\xff",
        b"\xed\xa0\x80",
    ] {
        for (before, after) in [("", ""), (&long[..], &long[..]), ("", &long), (&long, "")] {
            let json = [b"[\"", before.as_bytes(), broken, after.as_bytes(), b"\"]"].concat();
            for size in [1, 2, 3, 7, 515, 516, 517, 518, 519, 16384] {
                assert_same(&json, &abridged(&json, &[size]));
            }
            assert!(serde_json::from_slice::<Value>(&abridged(&json, &[])).is_err());
        }
    }
}

#[test]
fn a_read_of_which_nothing_is_left_is_not_the_end() {
    let json = format!("\"{}\"1", "x".repeat(100_000));
    assert!(abridged(json.as_bytes(), &[64]).ends_with(b"\"1"));
    assert!(Abridged::new(json.as_bytes()).read(&mut []).is_ok_and(|read| read == 0));
}

#[test]
fn plain_characters_are_told_from_the_others_at_every_place() {
    for byte in 0..=255u8 {
        for at in 0..20 {
            for length in at + 1..20 {
                let mut bytes = vec![b'!'; length];
                bytes[at] = byte;
                let is_plain = (0x20..0x80).contains(&byte) && byte != b'"' && byte != b'\\';
                assert_eq!(plain(&bytes), if is_plain { length } else { at }, "{byte:#x} at {at} of {length}");
            }
        }
    }
}

/// Pieces of strings, among them all that can be wrong; as they stand in JSON.
fn arb_piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..700usize).prop_map(|count| vec![b'x'; count]),
        4 => "[ -~&&[^\"\\\\]]{0,9}".prop_map(String::into_bytes),
        2 => "(\\\\[\"\\\\/bfnrt]){0,9}".prop_map(String::into_bytes),
        2 => "\\\\u[0-9a-fA-F]{4}".prop_map(String::into_bytes),
        2 => "\\\\ud83d\\\\ude00".prop_map(String::into_bytes),
        2 => "[é日😀]{1,9}".prop_map(String::into_bytes),
        1 => "(\\\\ud83d|\\\\ude00|\\\\u12|\\\\x|\n)".prop_map(String::into_bytes),
        1 => prop::sample::select(vec![&b"\xe6"[..], b"\x97", b"\xa5", b"\xff", b"\xf0\x9f"]).prop_map(<[u8]>::to_vec),
    ]
}

fn arb_string() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(arb_piece(), 0..7)
        .prop_map(|pieces| [b"\"".to_vec(), pieces.concat(), b"\"".to_vec()].concat())
}

fn arb_json() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![4 => arb_string(), 1 => prop::sample::select(vec!["1", "null", "-2e5"]).prop_map(|text| text.as_bytes().to_vec())];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let member = (arb_string(), inner.clone()).prop_map(|(key, value)| [key, b":".to_vec(), value].concat());
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|list| [b"[", &list.join(&b","[..])[..], b"]"].concat()),
            prop::collection::vec(member, 0..4).prop_map(|list| [b"{", &list.join(&b", "[..])[..], b"}"].concat()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_reader_can_tell(
        json in arb_json(), sizes in prop::collection::vec(prop_oneof![1..9usize, 500..700usize], 0..6),
    ) {
        let cut = abridged(&json, &sizes);
        assert_same(&json, &cut);
        // Once more finds nothing to do but what had to go on because a read ended there.
        assert_same(&json, &abridged(&cut, &sizes));
    }

    #[test]
    fn nor_where_something_is_changed(
        json in arb_json(), sizes in prop::collection::vec(1..700usize, 0..6),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        end in any::<prop::sample::Index>(),
    ) {
        let mut json = json;
        for (at, byte) in changes {
            let at = at.index(json.len());
            json[at] = byte;
        }
        json.truncate(end.index(json.len() * 2 + 1));
        assert_same(&json, &abridged(&json, &sizes));
    }
}
