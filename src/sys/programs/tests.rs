use super::*;

#[test]
fn missing_capabilities_are_named() {
    let new = (6, 1);
    assert_eq!(missing_capabilities(0, new), ["CAP_BPF", "CAP_NET_ADMIN"]);
    assert_eq!(missing_capabilities(1 << 39, new), ["CAP_NET_ADMIN"]);
    assert_eq!(missing_capabilities(1 << 12, new), ["CAP_BPF"]);
    assert!(missing_capabilities(1 << 12 | 1 << 39, new).is_empty());
    assert!(missing_capabilities(1 << 21, new).is_empty());
    assert_eq!(missing_capabilities(1 << 12 | 1 << 39, (5, 10)), ["CAP_SYS_RESOURCE"]);
}

#[test]
fn the_verifiers_last_word_is_found() {
    let lines = [
        "libbpf: prog 'egress': BPF program load failed: -EACCES\n".to_owned(),
        "libbpf: prog 'egress': -- BEGIN PROG LOAD LOG --\n0: R1=ctx()\nattempt to corrupt spilled pointer on \
             stack\nprocessed 12 insns\n-- END PROG LOAD LOG --\n"
            .to_owned(),
        "libbpf: failed to load object\n".to_owned(),
    ];
    assert_eq!(verifier_line(&lines).as_deref(), Some("attempt to corrupt spilled pointer on stack"));
    assert_eq!(verifier_line(&lines[2..]), None);
}

/// Attach EPERM beside an exclusive program blamed seccomp or lockdown.
#[test]
fn root_f43_the_program_that_holds_the_place_is_named() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let root = cgroup::find(None).expect("the host's cgroup2");
    let dir = root.join(format!("nm-f43-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("below")).expect("cgroups");
    let exclusive = bpf::exclusive_program(&dir, "nm_exclusive").expect("attached alone");
    for place in [dir.clone(), dir.join("below")] {
        let refused = explained(Some(&place), |_| {
            Err::<(), _>(Failure { step: "attach", errno: Some(nix::libc::EPERM), text: String::new() })
        });
        let said = refused.expect_err("refused").to_string();
        assert!(said.contains("\"nm_exclusive\"") && said.contains("ALLOW_MULTI"), "{said}");
        assert!(said.contains(&format!("cgroup {} alone", dir.display())), "{said}");
    }
    drop(exclusive);
    let free = explained(Some(&dir), |_| {
        Err::<(), _>(Failure { step: "attach", errno: Some(nix::libc::EPERM), text: String::new() })
    });
    assert!(free.expect_err("refused").to_string().contains("seccomp"));
    let _ = std::fs::remove_dir(dir.join("below"));
    let _ = std::fs::remove_dir(&dir);
}
