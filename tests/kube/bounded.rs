//! The heap that one event costs while it is read: what is not kept is skipped, whatever its size.

use netmon::kube::decode::{Event, Events};

use crate::counting::peak_of;
use crate::fake_kube::fixtures::{event, full_pod};

/// The buffer of the connection (16 KiB), the pod and the decoder's own.
const MOST_BYTES: u64 = 64 << 10;
/// What the large part of each event has at the least.
const LARGE_BYTES: usize = 1_000_000;

/// The most heap held while `line` is read; it must be an event of a pod.
fn heap_of(line: &str) -> u64 {
    assert!(line.len() > LARGE_BYTES, "{} bytes", line.len());
    let (read, most) = peak_of(|| Events::new(line.as_bytes()).next().expect("an event").expect("readable"));
    assert!(matches!(read, Event::Changed { object: Some(_), .. }), "{read:?}");
    most
}

#[test]
fn an_annotation_of_1_mb_costs_no_heap_of_its_size() {
    // An escape every few characters, so that no part of it lies in the buffer as it is read.
    for text in ["\"quoted\" ".repeat(110_000), "x".repeat(LARGE_BYTES)] {
        let mut pod = full_pod(7);
        pod.metadata.annotations.get_or_insert_default().insert("example.org/large".to_owned(), text);
        let most = heap_of(&event("MODIFIED", &pod, "6"));
        assert!(most <= MOST_BYTES, "{most} bytes of heap");
    }
}

#[test]
fn managed_fields_of_1_mb_cost_no_heap_of_their_size() {
    let mut pod = full_pod(7);
    let entries = pod.metadata.managed_fields.as_mut().expect("managed fields");
    *entries = entries.iter().cycle().take(330).cloned().collect();
    let most = heap_of(&event("MODIFIED", &pod, "6"));
    assert!(most <= MOST_BYTES, "{most} bytes of heap");
}

#[test]
fn a_name_of_1_mb_is_dropped_and_its_heap_is_given_back() {
    // No server sends one. It is held once while it is read, and the event is none that we can use.
    let line =
        event("MODIFIED", &full_pod(7), "6").replace("\"uid\":\"", &format!("\"uid\":\"{}", "x".repeat(LARGE_BYTES)));
    let (read, most) = peak_of(|| Events::new(line.as_bytes()).next().expect("an event").expect("readable"));
    assert!(matches!(read, Event::Changed { object: None, .. }), "{read:?}");
    assert!(most <= 3 * LARGE_BYTES as u64, "{most} bytes of heap");
}
