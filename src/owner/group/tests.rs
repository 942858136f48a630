use proptest::prelude::*;

use super::*;

/// The group of the last directory of a path.
fn of(path: &str) -> Option<String> {
    let (mut above, mut folder) = (None, "");
    for name in path.split('/') {
        above = named(above.as_ref(), folder.as_bytes(), name.as_bytes());
        folder = name;
    }
    above.map(|group| group.to_string())
}

#[test]
fn units_and_containers_are_named_as_their_cgroups_are() {
    let id = "3fa2b1c4d5e6".to_owned() + &"0123456789abcdef".repeat(4)[..52];
    for (path, group) in [
        ("system.slice/nginx.service", "unit/nginx.service"),
        ("system.slice/nginx.service/worker", "unit/nginx.service"),
        ("system.slice/system-getty.slice/getty@tty1.service", "unit/getty@tty1.service"),
        ("user.slice/user-1000.slice/session-3.scope", "unit/session-3.scope"),
        ("user.slice/user-1000.slice/user@1000.service/app.slice/firefox.service", "unit/user@1000.service"),
        ("init.scope", "unit/init.scope"),
        ("openrc.nginx", "unit/openrc.nginx"),
        ("system.slice/docker-ID.scope", "container/docker-3fa2b1c4d5e6"),
        ("system.slice/docker-ID.scope/system.slice/nginx.service", "container/docker-3fa2b1c4d5e6"),
        ("machine.slice/libpod-ID.scope/container", "container/libpod-3fa2b1c4d5e6"),
        ("user.slice/user-1.slice/user@1.service/user.slice/libpod-ID.scope", "container/libpod-3fa2b1c4d5e6"),
        ("system.slice/containerd.service/cri-containerd-ID.scope", "container/cri-containerd-3fa2b1c4d5e6"),
        ("docker/ID", "container/docker-3fa2b1c4d5e6"),
        ("docker/ID/docker/ID", "container/docker-3fa2b1c4d5e6"),
        ("machine.slice/machine-web.scope", "container/machine-web"),
        ("lxc.payload.web/system.slice/ssh.service", "container/lxc.payload.web"),
    ] {
        assert_eq!(of(&path.replace("ID", &id)).as_deref(), Some(group), "{path}");
    }
    for path in ["system.slice", "user.slice/user-1000.slice", "", "netmon", "kubepods.slice", "docker", &id[1..]] {
        assert_eq!(of(path), None, "{path}");
    }
}

#[test]
fn a_group_is_of_a_kind_and_has_a_name() {
    let group = Group("unit/nginx.service".into());
    assert_eq!((group.kind(), group.name()), ("unit", "nginx.service"));
    let group = Group("container/docker-3fa2b1c4d5e6".into());
    assert_eq!((group.kind(), group.name()), ("container", "docker-3fa2b1c4d5e6"));
}

proptest! {
    /// Whatever somebody calls his directories, a name is bounded and of printable ASCII.
    #[test]
    fn names_with_odd_bytes_are_escaped(bytes in prop::collection::vec(any::<u8>(), 0..248)) {
        let name = [&bytes[..], b".service"].concat();
        let group = named(None, b"system.slice", &name).expect("a unit");
        prop_assert!(group.bytes().all(|b| b.is_ascii_graphic()) && group.len() <= 4 * 256 + 10);
        // Two units stay two.
        let other = named(None, b"", &[&bytes[..], b"x.service"].concat()).expect("a unit");
        prop_assert_ne!(group, other);
    }
}
