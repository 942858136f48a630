use super::*;
use crate::batch::Verdict;
use crate::stats::Lost;

fn place() -> Place {
    Place { boot_id: "b0".into(), netns: 4_026_531_840 }
}

fn notes() -> Vec<Note> {
    let ended = |name: &str, verdict| Note::Ended(name.to_owned(), verdict);
    vec![ended("0", Verdict::Acknowledged), Note::Halved("1".to_owned()), ended("1.0", Verdict::Drop(Lost::TooLarge))]
}

fn without_notes() -> Vec<u8> {
    encode(&place(), "node/b", b"tables".to_vec(), |out| out.extend_from_slice(b"batch")).concat()
}

fn file() -> Vec<u8> {
    let mut file = without_notes();
    notes().iter().for_each(|note| file.extend_from_slice(&encode_note(note)));
    file
}

#[test]
fn what_was_written_is_read() {
    let state = decode(&file(), &place()).expect("unharmed");
    assert_eq!((state.sender.as_str(), &state.tables[..], &state.batch[..]), ("node/b", &b"tables"[..], &b"batch"[..]));
    assert_eq!(state.notes, notes());
}

#[test]
fn of_another_boot_namespace_or_version_it_is_not_used() {
    let other = Place { boot_id: "b1".into(), ..place() };
    assert_eq!(decode(&file(), &other).expect("its rows are of use").gone, Some(Gone::Boot));
    let other = Place { netns: 7, ..place() };
    assert_eq!(decode(&file(), &other).expect("its rows are of use").gone, Some(Gone::Namespace));
    assert_eq!(decode(&file(), &place()).expect("unharmed").gone, None);
    let mut future = file();
    future[7] = 9;
    assert_eq!(decode(&future, &place()), Err(Unfit::Version(9)));
    assert_eq!(decode(b"#!/bin/sh\n", &place()), Err(Unfit::Foreign));
}

#[test]
fn cut_anywhere_it_is_refused_or_its_last_notes_are_missing() {
    let whole = file();
    let body = without_notes().len();
    for len in 0..whole.len() {
        match decode(&whole[..len], &place()) {
            Ok(state) => assert!(len >= body && notes().starts_with(&state.notes), "{len}"),
            Err(unfit) => assert!(len < body && matches!(unfit, Unfit::Foreign | Unfit::Harmed), "{len}"),
        }
    }
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let whole = file();
    for at in 0..whole.len() * 8 {
        let mut harmed = whole.clone();
        harmed[at / 8] ^= 1 << (at % 8);
        if let Ok(state) = decode(&harmed, &place()) {
            assert!(notes().starts_with(&state.notes) && state.notes.len() < notes().len(), "bit {at}");
        }
    }
}
