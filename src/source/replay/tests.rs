use super::*;
use crate::flow::{Addr, Connection, Reading};
use crate::source::recorder::Recorder;
use crate::wire::conntrack::tests::TCP_ENTRY;
use crate::wire::conntrack::{MESSAGE_DELETE, MESSAGE_NEW};
use crate::wire::netlink::{self, Writer};

const HOST: Addr = Addr::from_v4([10, 9, 0, 1]);

fn at(mono_ns: u64) -> Now {
    Now { mono_ns, wall_ns: 1_000 + mono_ns }
}

fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.message(kind, 2, 1);
    writer.raw(payload);
    writer.finish()
}

/// Addresses, a drain with an end, a sweep with an entry, and the end.
fn recording() -> Vec<u8> {
    let (entry, end, done) =
        (message(MESSAGE_NEW, TCP_ENTRY), message(MESSAGE_DELETE, TCP_ENTRY), message(netlink::DONE, &[0; 4]));
    let mut bytes = recording::header().to_vec();
    for frame in [
        Frame::Started(at(0)),
        Frame::Address(AddressChange::Added(HOST)),
        Frame::DrainBegins(at(1)),
        Frame::Event(&end),
        Frame::Ends,
        Frame::Address(AddressChange::Removed(HOST)),
        Frame::SweepBegins(at(2), 1),
        Frame::Buckets(4),
        Frame::Overflow(2),
        Frame::Chunk(&entry),
        Frame::Chunk(&done),
        Frame::Buckets(4),
        Frame::Ends,
        Frame::Closed,
    ] {
        recording::append(&mut bytes, &frame);
    }
    bytes
}

fn open(bytes: &[u8]) -> Result<Replay<&[u8]>, SourceError> {
    Replay::from_input(Path::new("r"), bytes)
}

#[test]
fn it_plays_in_the_recorded_order_on_the_recorded_clock() {
    let bytes = recording();
    let mut replay = open(&bytes).expect("a recording");
    let (mut seen, mut addresses) = (Vec::new(), Vec::new());
    let mut each = |c: &Connection| seen.push(c.reading);
    assert_eq!(replay.played_at(), at(0), "when the agent started");
    replay.addresses(&mut |change| addresses.push(change));
    assert_eq!(addresses, [AddressChange::Added(HOST)]);
    assert_eq!(replay.upcoming(), Some(Upcoming { step: Step::Drain, at: at(1) }));
    assert_eq!(replay.play(&mut each).expect("a drain").seen, 1);
    assert_eq!(replay.played_at(), at(1));
    replay.addresses(&mut |change| addresses.push(change));
    assert_eq!(addresses.last(), Some(&AddressChange::Removed(HOST)));
    assert_eq!(replay.upcoming(), Some(Upcoming { step: Step::Sweep, at: at(2) }));
    let sweep = replay.play(&mut each).expect("a sweep");
    assert!(sweep.complete && sweep.sweep_soon);
    assert_eq!((sweep.seen, sweep.overflows, sweep.events_lost), (1, 1, 2));
    assert_eq!(replay.upcoming(), None);
    assert!(matches!(replay.play(&mut each), Err(SourceError::Finished)));
    assert_eq!(seen, [Reading::CutOff, Reading::Live]);
}

/// Plays to the end; the error that ended it.
fn play_out(bytes: &[u8]) -> SourceError {
    let mut replay = match open(bytes) {
        Ok(replay) => replay,
        Err(error) => return error,
    };
    loop {
        if let Err(error) = replay.play(&mut |_| {}) {
            return error;
        }
    }
}

#[test]
fn a_file_cut_off_anywhere_is_known_as_such_and_where() {
    let bytes = recording();
    assert!(matches!(play_out(&bytes), SourceError::Finished));
    for len in 0..bytes.len() {
        match play_out(&bytes[..len]) {
            SourceError::Open(why) if len < HEADER => assert!(why.contains("not a recording"), "{len}: {why}"),
            SourceError::Open(why) | SourceError::Read(why) => {
                assert!(why.contains("beyond byte") && why.contains("cut off"), "{len}: {why}");
            }
            SourceError::Finished => panic!("{len} of {} bytes pass for the whole", bytes.len()),
        }
    }
}

#[test]
fn a_changed_byte_is_noticed_wherever_it_stands() {
    let bytes = recording();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        assert!(!matches!(play_out(&changed), SourceError::Finished), "byte {at}");
    }
}

#[test]
fn frames_out_of_order_are_refused() {
    let (started, sweep) = (Frame::Started(at(0)), Frame::SweepBegins(at(1), 1));
    for frames in [&[sweep][..], &[started, Frame::Buckets(1)], &[started, started], &[started, sweep, sweep]] {
        let mut bytes = recording::header().to_vec();
        frames.iter().for_each(|frame| recording::append(&mut bytes, frame));
        assert!(play_out(&bytes).to_string().contains("a frame of this kind is not allowed here"), "{frames:?}");
    }
}

#[test]
fn what_a_recorder_writes_is_played() {
    let path = std::env::temp_dir().join(format!("netmon-recorder-{}", std::process::id()));
    let recorder = Recorder::create(&path, at(0)).expect("a file");
    let collector = recorder.clone();
    collector.address(AddressChange::Added(HOST));
    recorder.write(&Frame::DrainBegins(at(1)));
    recorder.write(&Frame::Event(&message(MESSAGE_DELETE, TCP_ENTRY)));
    recorder.write(&Frame::Ends);
    drop((recorder, collector));
    let mut replay = Replay::open(&path).expect("a recording");
    std::fs::remove_file(&path).expect("it was made");
    let mut seen = 0;
    replay.play(&mut |_| seen += 1).expect("a drain");
    assert_eq!(seen, 1);
    assert!(matches!(replay.play(&mut |_| {}), Err(SourceError::Finished)));
}

#[test]
fn a_full_disk_ends_the_recording_and_nothing_else() {
    let recorder = Recorder::create(Path::new("/dev/full"), at(0)).map(|_| ());
    assert!(recorder.is_err(), "it is said at the start");
}

/// A recording says who talks to whom: it is for its owner alone, whatever the file was before, and no link is followed.
#[test]
fn f5_a_recording_is_for_its_owner_alone() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    let folder = std::env::temp_dir().join(format!("netmon-recorder-mode-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("ours");
    let (new, old, link) = (folder.join("new"), folder.join("old"), folder.join("link"));
    std::fs::write(&old, "before").expect("ours");
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o644)).expect("ours");
    for path in [&new, &old] {
        drop(Recorder::create(path, at(0)).expect("a file"));
        assert_eq!(std::fs::metadata(path).expect("there").mode() & 0o7777, 0o600, "{}", path.display());
    }
    let target = folder.join("target");
    std::fs::write(&target, "kept").expect("ours");
    symlink(&target, &link).expect("ours");
    assert!(Recorder::create(&link, at(0)).is_err());
    assert_eq!(std::fs::read(&target).expect("there"), b"kept");
    let _ = std::fs::remove_dir_all(&folder);
}
