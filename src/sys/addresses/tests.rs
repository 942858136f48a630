use super::*;

#[test]
fn the_list_holds_loopback() {
    let mut addresses = HostAddresses::open().expect("rtnetlink needs no privilege");
    let mut found = Vec::new();
    addresses.drain(&mut |change| found.push(change));
    assert!(found.contains(&AddressChange::Added(Addr::from_v4([127, 0, 0, 1]))), "{found:?}");
    found.clear();
    addresses.drain(&mut |change| found.push(change));
    assert!(found.is_empty(), "nothing changed: {found:?}");
}

#[test]
fn an_address_on_two_devices_goes_with_the_last() {
    let message = |kind, device: u32| {
        let mut writer = Writer::default();
        writer.message(kind, 0, 0);
        writer.raw(&[2, 24, 0, 0]);
        writer.raw(&device.to_ne_bytes());
        writer.attribute(IFA_ADDRESS, &[10, 0, 0, 2]);
        writer.attribute(IFA_LOCAL, &[10, 0, 0, 1]);
        writer.finish()
    };
    let (mut devices, mut told) = (HashMap::new(), Vec::new());
    for (kind, device) in [(NEW_ADDRESS, 1), (NEW_ADDRESS, 2), (DELETE_ADDRESS, 1), (DELETE_ADDRESS, 2)] {
        let bytes = message(kind, device);
        let message = Messages::of(&bytes).next().expect("one").expect("well formed");
        apply(&mut devices, &message, &mut |change| told.push(change));
    }
    let ours = Addr::from_v4([10, 0, 0, 1]);
    assert_eq!(told, [AddressChange::Added(ours), AddressChange::Removed(ours)]);
}
