//! The packages that `script/package` builds, installed for real by dpkg and rpm into a root of their own, whose systemd
//! only writes down what it is asked. The binary in them is a stand-in: what is judged is everything around it.
//!
//! What is missing on a machine is known only while this runs, so it brings its own `main`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const BINARY: &str = "usr/bin/zxporter-netmon";
const UNIT: &str = "usr/lib/systemd/system/zxporter-netmon.service";
const DEFAULT: &str = "etc/default/zxporter-netmon";

/// What a test makes, gone when it is dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("netmon-packages-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn has(&self, below: &str) -> bool {
        self.0.join(below).exists()
    }

    /// A machine with a shell, and a systemd that writes down what it is asked.
    fn machine(name: &str) -> Folder {
        let root = Folder::new(name);
        for below in ["bin", "usr/bin", "run/systemd/system", "var/lib/dpkg/info", "var/lib/dpkg/updates", "dev"] {
            fs::create_dir_all(root.0.join(below)).expect("a folder");
        }
        fs::copy(busybox().expect("looked for before"), root.0.join("bin/busybox")).expect("copied");
        for applet in ["sh", "rm"] {
            symlink("busybox", root.0.join("bin").join(applet)).expect("linked");
        }
        fs::write(root.0.join("dev/null"), "").expect("written");
        for program in ["systemctl", "deb-systemd-helper", "deb-systemd-invoke"] {
            root.write(&format!("usr/bin/{program}"), "#!/bin/sh\necho \"${0##*/} $*\" >>/calls\n", 0o755);
        }
        let there = "Package: init-system-helpers\nStatus: install ok installed\nMaintainer: a <a@localhost>\n\
                     Architecture: all\nVersion: 1.65\nDescription: stand-in\n\n";
        root.write("var/lib/dpkg/status", there, 0o644);
        root
    }

    fn write(&self, below: &str, text: &str, mode: u32) {
        let path = self.0.join(below);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
    }

    fn read(&self, below: &str) -> String {
        fs::read_to_string(self.0.join(below)).unwrap_or_else(|error| panic!("{below}: {error}"))
    }

    /// What was asked of systemd since the last look, without what only brings it up to date.
    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.0.join("calls")).unwrap_or_default();
        let _ = fs::remove_file(self.0.join("calls"));
        let asked = text.lines().filter(|line| !line.contains("daemon-reload"));
        asked.map(|line| line.replace("zxporter-netmon.service", "UNIT")).collect()
    }

    fn mode(&self, below: &str) -> u32 {
        fs::metadata(self.0.join(below)).expect("installed").permissions().mode() & 0o7777
    }
}

fn busybox() -> Option<PathBuf> {
    ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from).into_iter().find(|path| path.exists())
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

fn run(program: &str, arguments: &[&OsStr]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    said
}

/// Builds all packages around a stand-in.
fn build() -> Folder {
    let out = Folder::new("built");
    out.write("stand-in", "#!/bin/sh\n", 0o755);
    let built = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("script/package"))
        .env("NETMON_BINARY", out.0.join("stand-in"))
        .env("NETMON_PACKAGES", out.0.join("packages"))
        .output()
        .expect("script/package");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    out
}

fn package(built: &Folder, ending: &str) -> PathBuf {
    let entries = fs::read_dir(built.0.join("packages")).expect("packages");
    let mut paths = entries.map(|entry| entry.expect("listed").path());
    paths.find(|path| path.to_string_lossy().ends_with(ending)).unwrap_or_else(|| panic!("no {ending}"))
}

/// What every package puts there.
fn installed(root: &Folder) {
    for below in [
        BINARY,
        UNIT,
        "usr/share/doc/zxporter-netmon/names.conf",
        "usr/share/doc/zxporter-netmon/sbom.cdx.json",
        "usr/share/bash-completion/completions/zxporter-netmon",
        "usr/share/zsh/site-functions/_zxporter-netmon",
        "usr/share/fish/vendor_completions.d/zxporter-netmon.fish",
    ] {
        assert!(root.has(below), "{below} is missing");
    }
    assert!(root.has("usr/share/man/man8/zxporter-netmon.8") || root.has("usr/share/man/man8/zxporter-netmon.8.gz"));
    assert_eq!((root.mode(BINARY), root.mode(UNIT), root.mode(DEFAULT)), (0o755, 0o644, 0o640));
    let verified = Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(root.0.join(UNIT)).output();
    let said = verified.map_or(String::new(), |output| String::from_utf8_lossy(&output.stderr).into_owned());
    let unit = |line: &&str| line.contains("zxporter-netmon.service") && !line.contains("is not executable");
    assert_eq!(said.lines().find(unit), None, "systemd-analyze verify");
}

fn the_deb_is_installed_upgraded_removed_and_purged(built: &Folder) {
    let root = Folder::machine("deb");
    let deb = package(built, ".deb");
    let dpkg = |arguments: &[&str]| {
        let mut all = vec![OsStr::new("--root"), root.0.as_os_str()];
        all.extend(arguments.iter().map(OsStr::new));
        run("dpkg", &all)
    };
    let deb = deb.to_str().expect("UTF-8");
    dpkg(&["--install", deb]);
    installed(&root);
    let helper = ["deb-systemd-helper unmask UNIT", "deb-systemd-helper --quiet was-enabled UNIT"];
    let calls = [&helper[..], &["deb-systemd-helper enable UNIT", "deb-systemd-invoke start UNIT"]].concat();
    assert_eq!(root.calls(), calls);

    // Another version keeps what was changed, and starts what runs anew.
    root.write(DEFAULT, "FLAGS=-dns=off\n", 0o640);
    dpkg(&["--install", deb]);
    assert_eq!(root.read(DEFAULT), "FLAGS=-dns=off\n");
    let calls = [&helper[..], &["deb-systemd-helper enable UNIT", "deb-systemd-invoke restart UNIT"]].concat();
    assert_eq!(root.calls(), calls);

    fs::create_dir_all(root.0.join("var/lib/private/zxporter-netmon")).expect("a folder");
    dpkg(&["--remove", "zxporter-netmon"]);
    assert_eq!(root.calls(), ["deb-systemd-invoke stop UNIT", "deb-systemd-helper mask UNIT"]);
    assert!(!root.has(BINARY) && !root.has(UNIT) && root.has(DEFAULT) && root.has("var/lib/private/zxporter-netmon"));
    dpkg(&["--purge", "zxporter-netmon"]);
    assert_eq!(root.calls(), ["deb-systemd-helper purge UNIT", "deb-systemd-helper unmask UNIT"]);
    assert!(!root.has(DEFAULT) && !root.has("var/lib/private/zxporter-netmon"));
}

fn the_deb_leaves_alone_what_was_disabled(built: &Folder) {
    let root = Folder::machine("disabled");
    let helper = "#!/bin/sh\necho \"${0##*/} $*\" >>/calls\n[ \"$2\" != was-enabled ]\n";
    root.write("usr/bin/deb-systemd-helper", helper, 0o755);
    let deb = package(built, ".deb");
    run("dpkg", &["--root".as_ref(), root.0.as_os_str(), "--install".as_ref(), deb.as_os_str()]);
    let calls = root.calls();
    assert!(calls.contains(&"deb-systemd-helper update-state UNIT".to_owned()), "{calls:?}");
    assert!(!calls.contains(&"deb-systemd-helper enable UNIT".to_owned()), "{calls:?}");
}

fn the_rpm_is_installed_upgraded_and_erased(built: &Folder) {
    let root = Folder::machine("rpm");
    let rpm = package(built, ".rpm");
    let run_rpm = |arguments: &[&OsStr]| {
        let own =
            ["--root".as_ref(), root.0.as_os_str(), "--dbpath".as_ref(), "/var/lib/rpm".as_ref(), "--nodeps".as_ref()];
        run("rpm", &[&own[..], arguments].concat())
    };
    run_rpm(&["--install".as_ref(), rpm.as_os_str()]);
    installed(&root);
    assert_eq!(root.calls(), ["systemctl --no-reload preset UNIT"]);

    root.write(DEFAULT, "FLAGS=-dns=off\n", 0o640);
    run_rpm(&["--upgrade".as_ref(), "--replacepkgs".as_ref(), rpm.as_os_str()]);
    assert_eq!(root.read(DEFAULT), "FLAGS=-dns=off\n");
    assert_eq!(root.calls(), ["systemctl try-restart UNIT"]);

    run_rpm(&["--erase".as_ref(), "zxporter-netmon".as_ref()]);
    assert_eq!(root.calls(), ["systemctl --no-reload disable --now UNIT"]);
    assert!(!root.has(BINARY) && !root.has(UNIT));
    assert_eq!(root.read(&format!("{DEFAULT}.rpmsave")), "FLAGS=-dns=off\n");
}

/// One test: what it is called, what it needs, and what it does.
type Test = (&'static str, &'static [&'static str], fn(&Folder));

const TESTS: &[Test] = &[
    (
        "root_the_deb_is_installed_upgraded_removed_and_purged",
        &["dpkg-deb", "dpkg"],
        the_deb_is_installed_upgraded_removed_and_purged,
    ),
    ("root_the_deb_leaves_alone_what_was_disabled", &["dpkg-deb", "dpkg"], the_deb_leaves_alone_what_was_disabled),
    ("root_the_rpm_is_installed_upgraded_and_erased", &["rpmbuild", "rpm"], the_rpm_is_installed_upgraded_and_erased),
];

fn main() {
    if std::env::args().any(|argument| argument == "--list") {
        TESTS.iter().for_each(|(name, ..)| println!("{name}: test"));
        return;
    }
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let chosen: Vec<&Test> = TESTS.iter().filter(|(name, ..)| name.contains(&filter)).collect();
    let lacking = |needs: &[&'static str]| {
        let program = needs.iter().copied().find(|program| !is_there(program));
        program.or_else(|| busybox().is_none().then_some("busybox"))
    };
    let (mut passed, mut skipped) = (0, 0);
    let mut built = None;
    for (name, needs, test) in chosen {
        if let Some(program) = lacking(needs) {
            println!("test {name} ... skipped: needs {program}");
            skipped += 1;
            continue;
        }
        // A failure ends the program with its words.
        test(built.get_or_insert_with(build));
        println!("test {name} ... ok");
        passed += 1;
    }
    println!("\ntest result: ok. {passed} passed; 0 failed; {skipped} skipped");
}
