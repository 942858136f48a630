use nix::sched::{CloneFlags, unshare};

use super::*;

#[test]
fn root_a_fixed_table_is_replaced_seen_to_be_gone_and_deleted_at_the_end() {
    let run = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("root, to make a network namespace");
        let asker = RequestSocket::open(Family::Netfilter).expect("a socket");
        let is_there = || match transact(&asker, &nftables::get(FIXED_NAME)) {
            Ok(()) => true,
            Err(error) if error.raw_os_error() == Some(nix::libc::ENOENT) => false,
            Err(error) => panic!("{error}"),
        };
        std::mem::forget(make_fixed().expect("a table, as a killed agent leaves it"));
        assert!(is_there());
        let tracking = Tracking { table: Some(make_fixed().expect("it is replaced")) };
        assert!(tracking.table.as_ref().is_some_and(Table::stands));
        transact(&asker, &nftables::delete(FIXED_NAME)).expect("anybody may");
        assert!(!tracking.table.as_ref().is_some_and(Table::stands));
        let tracking = Tracking { table: Some(make_fixed().expect("a new one")) };
        assert!(is_there());
        drop(tracking);
        assert!(!is_there());
    });
    run.join().expect("the test's thread");
}
