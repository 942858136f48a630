use super::*;

#[test]
fn a_folder_is_given_and_a_link_is_not_followed() {
    let folder = std::env::temp_dir().join(format!("netmon-give-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a writable temporary directory");
    let own = fs::metadata(&folder).expect("just made").uid();
    assert!(give(folder.as_os_str(), own).is_ok());
    if own == 0 {
        give(folder.as_os_str(), 65532).expect("root may");
        let now = fs::metadata(&folder).expect("still there");
        assert_eq!((now.uid(), now.gid(), now.mode() & 0o7777), (65532, 65532, 0o700));
    }
    let link = folder.with_extension("link");
    std::os::unix::fs::symlink(&folder, &link).expect("ours");
    assert!(give(link.as_os_str(), own + 1).is_err());
    fs::remove_file(&link).expect("ours");
    fs::remove_dir(&folder).expect("ours");
    assert!(give(folder.as_os_str(), own).is_err(), "it is gone");
}
