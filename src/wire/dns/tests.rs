use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// One record of the encoder below.
#[derive(Clone, Debug)]
enum Data {
    A([u8; 4]),
    Aaaa([u8; 16]),
    Cname(Vec<Vec<u8>>),
    Other(u16, Vec<u8>),
}

/// Owner, TTL, data.
type Record = (Vec<Vec<u8>>, u32, Data);

/// Writes messages by RFC 1035, compressing wherever a suffix was written before: shares nothing with the reader.
struct Encoder {
    out: Vec<u8>,
    seen: HashMap<Vec<Vec<u8>>, usize>,
    compress: bool,
}

impl Encoder {
    fn name(&mut self, labels: &[Vec<u8>]) {
        for from in 0..labels.len() {
            let suffix = labels[from..].to_vec();
            match self.seen.get(&suffix) {
                Some(at) if self.compress => return self.out.extend((0xc000u16 | *at as u16).to_be_bytes()),
                _ => {}
            }
            if self.out.len() < 0x4000 {
                self.seen.entry(suffix).or_insert(self.out.len());
            }
            self.out.push(labels[from].len() as u8);
            self.out.extend(&labels[from]);
        }
        self.out.push(0);
    }

    fn record(&mut self, (owner, ttl, data): &Record) {
        self.name(owner);
        let kind = match data {
            Data::A(_) => 1u16,
            Data::Aaaa(_) => 28,
            Data::Cname(_) => 5,
            Data::Other(kind, _) => *kind,
        };
        self.out.extend(kind.to_be_bytes());
        self.out.extend(1u16.to_be_bytes());
        self.out.extend(ttl.to_be_bytes());
        let length_at = self.out.len();
        self.out.extend([0, 0]);
        match data {
            Data::A(a) => self.out.extend(a),
            Data::Aaaa(a) => self.out.extend(a),
            Data::Cname(target) => self.name(target),
            Data::Other(_, bytes) => self.out.extend(bytes),
        }
        let length = (self.out.len() - length_at - 2) as u16;
        self.out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }
}

fn encode(flags: u16, question: &[Vec<u8>], kind: u16, records: &[Record], compress: bool) -> Vec<u8> {
    let mut encoder = Encoder { out: Vec::new(), seen: HashMap::new(), compress };
    // An OPT record behind the answers (EDNS, RFC 6891).
    for word in [0x1234, flags, 1, records.len() as u16, 0, 1] {
        encoder.out.extend(word.to_be_bytes());
    }
    encoder.name(question);
    encoder.out.extend(kind.to_be_bytes());
    encoder.out.extend(1u16.to_be_bytes());
    records.iter().for_each(|record| encoder.record(record));
    encoder.out.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
    encoder.out
}

const ANSWER: u16 = 0x8180;

fn labels(text: &str) -> Vec<Vec<u8>> {
    text.split('.').map(|label| label.as_bytes().to_vec()).collect()
}

/// The name that was asked, addresses as text with their TTL, and whether records are missing.
type Answer = (String, Vec<(String, u32)>, bool);

fn read(bytes: &[u8]) -> Result<Answer, Malformed> {
    let message = Message::read(bytes)?;
    let mut found = Vec::new();
    let what = message.addresses(&mut |address, ttl| found.push((address.to_string(), ttl)))?;
    assert_eq!(what.addresses as usize, found.len());
    Ok((message.name.text(&mut [0; MAX_TEXT_BYTES]).to_owned(), found, what.is_short))
}

fn chain() -> Vec<Record> {
    vec![
        (labels("www.shop.test"), 300, Data::Cname(labels("shop.cdn.test"))),
        (labels("shop.cdn.test"), 20, Data::Cname(labels("edge.cdn.test"))),
        (labels("edge.cdn.test"), 900, Data::Cname(labels("e7.edge.test"))),
        (labels("e7.edge.test"), 60, Data::A([192, 0, 2, 7])),
        (labels("e7.edge.test"), 60, Data::A([192, 0, 2, 8])),
    ]
}

#[test]
fn a_chain_leads_back_to_the_asked_name_in_any_order() {
    let mut records = chain();
    for compress in [true, false, true, false, true] {
        let bytes = encode(ANSWER, &labels("WWW.shop.TEST"), TYPE_A, &records, compress);
        let (name, mut found, short) = read(&bytes).expect("well");
        found.sort();
        assert_eq!((name.as_str(), short), ("www.shop.test", false));
        assert_eq!(found, [("192.0.2.7".to_owned(), 20), ("192.0.2.8".to_owned(), 20)]);
        records.rotate_left(1);
        records.swap(0, 2);
    }
}

#[test]
fn records_off_the_chain_are_ignored() {
    let mut records = chain();
    records.push((labels("bank.test"), 60, Data::A([203, 0, 113, 66])));
    records.push((labels("e7.edge.test"), 60, Data::Aaaa([0xfd; 16])));
    records.push((labels("e7.edge.test"), 60, Data::Other(65, vec![0, 1, 0, 0, 4, 0, 4, 203, 0, 113, 67])));
    let (_, found, _) = read(&encode(ANSWER, &labels("www.shop.test"), TYPE_A, &records, true)).expect("well");
    assert_eq!(found.iter().map(|(address, _)| address.as_str()).collect::<Vec<_>>(), ["192.0.2.7", "192.0.2.8"]);
}

#[test]
fn a_chain_that_runs_in_circles_is_refused() {
    let circle =
        [(labels("a.test"), 1, Data::Cname(labels("b.test"))), (labels("b.test"), 1, Data::Cname(labels("a.test")))];
    assert!(read(&encode(ANSWER, &labels("a.test"), TYPE_A, &circle, true)).is_err());
}

#[test]
fn of_a_cut_answer_what_is_whole_is_read() {
    let whole = encode(ANSWER, &labels("www.shop.test"), TYPE_A, &chain(), true);
    // Before the OPT record of eleven bytes: the last address of sixteen.
    let (_, found, short) = read(&whole[..whole.len() - 12]).expect("well");
    assert_eq!((found.len(), short), (1, true));
    let (_, found, short) =
        read(&encode(ANSWER | 0x0200, &labels("www.shop.test"), TYPE_A, &chain(), true)).expect("well");
    assert_eq!((found.len(), short), (2, true));
}

#[test]
fn a_failure_has_no_addresses() {
    let (_, found, _) = read(&encode(ANSWER | 3, &labels("www.shop.test"), TYPE_A, &chain(), true)).expect("well");
    assert!(found.is_empty());
}

#[test]
fn a_ttl_with_the_top_bit_is_zero() {
    let records = [(labels("a.test"), 0x8000_0001, Data::A([192, 0, 2, 1]))];
    let (_, found, _) = read(&encode(ANSWER, &labels("a.test"), TYPE_A, &records, true)).expect("well");
    assert_eq!(found, [("192.0.2.1".to_owned(), 0)]);
}

#[test]
fn what_is_no_single_question_is_refused() {
    let well = encode(0x0100, &labels("a.test"), TYPE_A, &[], true);
    let message = Message::read(&well).expect("a question");
    assert_eq!((message.id, message.kind, message.is_answer), (0x1234, TYPE_A, false));
    for (at, byte) in [(5, 2), (5, 0), (2, 0x28), (HEADER_BYTES + 7 + 4, 3)] {
        let mut bad = well.clone();
        bad[at] = byte;
        assert!(Message::read(&bad).is_err(), "byte {at} is {byte}");
    }
    for cut in 0..well.len() - 11 {
        assert!(Message::read(&well[..cut]).is_err());
    }
}

#[test]
fn pointers_lead_backwards_or_nowhere() {
    let mut bytes = encode(ANSWER, &labels("a.test"), TYPE_A, &[], true);
    // The question's name becomes a pointer to itself, to the header, and a label of an unknown kind.
    for name in [[0xc0, 12], [0xc0, 14], [0x80, 1], [0x40, 1]] {
        bytes[12..14].copy_from_slice(&name);
        assert!(Message::read(&bytes).is_err(), "{name:?}");
    }
    // Two names of 128 bytes behind each other by pointer are longer than a name may be.
    let long: Vec<Vec<u8>> = vec![vec![b'x'; 63], vec![b'y'; 63]];
    let mut twice = encode(ANSWER, &long, TYPE_A, &[(long.clone(), 1, Data::A([1; 4]))], false);
    let owner = HEADER_BYTES + 129 + 4;
    twice.splice(owner + 128..owner + 129, [0xc0, 12]);
    assert!(read(&twice).is_err());
}

#[test]
fn names_are_written_as_ascii() {
    let odd = vec![b"A.b\\".to_vec(), vec![0, b' ', 0xff, b'Z']];
    let records = [(odd.clone(), 5, Data::A([192, 0, 2, 1]))];
    let (text, found, _) = read(&encode(ANSWER, &odd, TYPE_A, &records, true)).expect("well");
    assert_eq!((text.as_str(), found.len()), (r"a\.b\\.\000\032\255z", 1));
    let (text, ..) = read(&encode(ANSWER, &[], TYPE_A, &[], true)).expect("well");
    assert_eq!(text, ".");
    let longest = vec![vec![7; 63], vec![7; 63], vec![7; 63], vec![7; 61]];
    let (text, ..) = read(&encode(ANSWER, &longest, TYPE_A, &[], true)).expect("well");
    assert_eq!(text.len(), 250 * 4 + 3);
    assert!(read(&encode(ANSWER, &vec![vec![7; 63]; 4], TYPE_A, &[], true)).is_err());
}

#[test]
fn a_segment_is_taken_apart_into_whole_messages() {
    let segment = [0, 3, 1, 2, 3, 0, 1, 9, 0, 2, 7];
    let (first, rest) = next_of_segment(&segment).expect("whole");
    let (second, rest) = next_of_segment(rest).expect("whole");
    assert_eq!((first, second, rest), (&[1, 2, 3][..], &[9][..], &[0, 2, 7][..]));
    assert_eq!(next_of_segment(rest), None);
    assert_eq!(next_of_segment(&[0]), None);
}

fn name_strategy() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let label = prop::sample::select(vec!["a", "B", "www", "x7", "cdn", "test", "-", "_srv"]);
    prop::collection::vec(label.prop_map(|text| text.as_bytes().to_vec()), 1..5)
}

fn record_strategy() -> impl Strategy<Value = Record> {
    let data = prop_oneof![
        any::<[u8; 4]>().prop_map(Data::A),
        any::<[u8; 16]>().prop_map(Data::Aaaa),
        name_strategy().prop_map(Data::Cname),
        (prop::sample::select(vec![64u16, 65, 16, 39, 46]), prop::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(kind, bytes)| Data::Other(kind, bytes)),
    ];
    (name_strategy(), any::<u32>(), data)
}

/// The name that `question` leads to, followed over a map: `None` in a circle, or where two CNAMEs share an owner.
fn resolve(question: &[Vec<u8>], records: &[Record]) -> Option<Vec<Vec<u8>>> {
    let lower = |name: &[Vec<u8>]| name.iter().map(|label| label.to_ascii_lowercase()).collect::<Vec<_>>();
    let mut links = HashMap::new();
    for (owner, _, data) in records {
        if let Data::Cname(target) = data
            && links.insert(lower(owner), lower(target)).is_some()
        {
            return None;
        }
    }
    let mut at = lower(question);
    for _ in 0..=records.len() {
        match links.get(&at) {
            Some(next) => at = next.clone(),
            None => return Some(at),
        }
    }
    None
}

proptest! {
    /// What the independent encoder wrote leads where the independent map says, compressed or not.
    #[test]
    fn addresses_are_those_of_the_chains_end(
        question in name_strategy(),
        records in prop::collection::vec(record_strategy(), 0..12),
        v6 in any::<bool>(),
        compress in any::<bool>(),
    ) {
        let kind = if v6 { TYPE_AAAA } else { TYPE_A };
        let Some(end) = resolve(&question, &records) else { return Ok(()) };
        let expected: Vec<String> = records.iter().filter(|(owner, ..)| {
            owner.iter().map(|label| label.to_ascii_lowercase()).eq(end.iter().cloned())
        }).filter_map(|(_, _, data)| match data {
            Data::A(a) if !v6 => Some(Addr::from_v4(*a).to_string()),
            Data::Aaaa(a) if v6 => Some(Addr::from_v6(*a).to_string()),
            _ => None,
        }).collect();
        let (name, found, short) = read(&encode(ANSWER, &question, kind, &records, compress)).expect("well formed");
        prop_assert_eq!(name, question.iter().map(|l| String::from_utf8_lossy(l).to_lowercase()).collect::<Vec<_>>().join("."));
        prop_assert_eq!(found.into_iter().map(|(address, _)| address).collect::<Vec<_>>(), expected);
        prop_assert!(!short);
    }

    /// Any flaw is survived: bytes changed, cut anywhere.
    #[test]
    fn a_damaged_answer_is_survived(
        records in prop::collection::vec(record_strategy(), 0..8),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encode(ANSWER, &labels("www.test"), TYPE_A, &records, true);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        let _ = read(&bytes);
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = read(&bytes);
        let mut rest = &bytes[..];
        while let Some((message, next)) = next_of_segment(rest) {
            let _ = read(message);
            rest = next;
        }
    }
}

#[test]
fn f6_a_question_is_written_as_it_is_read() {
    for edns in [true, false] {
        for name in ["dakr.example.com.", "dakr.example.com", "DAKR.Example.com"] {
            let bytes = question(0x1234, name, TYPE_AAAA, edns).expect("a name");
            let message = Message::read(&bytes).expect("a message");
            assert_eq!((message.id, message.kind, message.is_answer), (0x1234, TYPE_AAAA, false));
            assert_eq!(message.name.text(&mut [0; MAX_TEXT_BYTES]), "dakr.example.com");
        }
    }
    let longest = [&"x".repeat(63); 4].map(String::as_str).join(".");
    assert!(question(1, &longest[2..], TYPE_A, true).is_ok(), "253 characters");
    for bad in ["", ".", "a..b", &"x".repeat(64), longest.as_str()] {
        assert!(question(1, bad, TYPE_A, true).is_err(), "{bad:?}");
    }
}
