use super::*;

#[test]
fn sets_are_said_by_name() {
    let known = Capabilities::NET_ADMIN.and(Capabilities::BPF);
    assert_eq!(known.to_string(), "CAP_NET_ADMIN, CAP_BPF");
    assert_eq!(Capabilities::NONE.to_string(), "none");
    assert_eq!(known.and(Capabilities(3)).to_string(), "CAP_NET_ADMIN, CAP_BPF and 2 that are not needed");
    assert_eq!(Capabilities(1).to_string(), "1 that are not needed");
    assert!(known.contains(Capabilities::BPF) && !known.contains(Capabilities::PERFMON));
}

#[test]
fn what_a_thread_gives_up_is_gone_there_and_nowhere_else() {
    let before = held().expect("capget");
    std::thread::spawn(|| {
        let kept = Capabilities::NET_ADMIN;
        let left = keep_only(kept).expect("capset");
        assert!(kept.contains(left));
        assert_eq!(held().expect("capget").permitted, left);
        assert_eq!(raise(Capabilities::BPF).expect("capset"), held().expect("capget").effective);
        assert!(!held().expect("capget").effective.contains(Capabilities::BPF));
        drop_all_in_this_thread();
        let none = Held { effective: Capabilities::NONE, permitted: Capabilities::NONE };
        assert_eq!(held().expect("capget"), none);
        let child = std::thread::spawn(|| held().expect("capget"));
        assert_eq!(child.join().expect("it ends"), none);
    })
    .join()
    .expect("the thread's assertions hold");
    assert_eq!(held().expect("capget"), before);
}
