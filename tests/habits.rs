//! Habits of the repository that no compiler holds: what is skipped has a cause, scripts name no host, and one version of
//! Rust and of what we depend on beyond its promises is used everywhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn path(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(below)
}

fn read(below: &str) -> String {
    fs::read_to_string(path(below)).unwrap_or_else(|e| panic!("{below}: {e}"))
}

/// The Rust files below a folder, by their paths, with their texts.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path(folder)).expect("listed") {
        let below = format!("{folder}/{}", entry.expect("listed").file_name().to_string_lossy());
        if path(&below).is_dir() {
            found.extend(sources(&below));
        } else if below.ends_with(".rs") {
            found.push((below.clone(), read(&below)));
        }
    }
    found.sort();
    found
}

/// What script/test makes of an output: its sums, its causes, and whether CI accepts it.
fn judged(output: &str, ci: &str) -> (String, bool) {
    let log = std::env::temp_dir().join(format!("netmon-habits-{}-{ci}-{}", std::process::id(), output.len()));
    fs::write(&log, output).expect("written");
    let script = ". script/results.sh; read -r p f s < <(results \"$1\"); echo \"$p $f $s\"; \
                  note_causes \"$1\" \"$s\"; print_causes; nothing_is_lacking";
    let said = Command::new("bash")
        .args(["-c", script, "bash"])
        .arg(&log)
        .env("CI", ci)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("bash");
    fs::remove_file(&log).expect("ours");
    (String::from_utf8(said.stdout).expect("UTF-8"), said.status.success())
}

#[test]
fn each_skip_is_counted_with_its_cause() {
    let lab = "test a (rule 1) ... ok (0.1s)\ntest b (rule 2) ... skipped: not for source ebpf (0.0s)\n\
               test c (rule 3) ... skipped: not for source ebpf (0.0s)\n\ntest result: ok. 1 passed; 0 failed; 2 skipped\n";
    let expected = "1 0 2\nskipped:    2  not for source ebpf\n";
    assert_eq!(judged(lab, "true"), (expected.to_owned(), true));
}

#[test]
fn what_the_machine_lacks_fails_under_ci() {
    let go = "skipped: needs Go\ntest result: ok. 0 passed; 0 failed; 1 skipped\n";
    assert_eq!(judged(go, "false"), ("0 0 1\nskipped:    1  needs Go\n".to_owned(), true));
    let (said, accepted) = judged(go, "true");
    assert!(!accepted && said.contains("failed: 1 checks were skipped"), "{said}");
    let silent = "test real::list ... ignored\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured\n";
    let (said, accepted) = judged(silent, "true");
    assert!(!accepted && said.contains("needs a cause"), "{said}");
}

/// Every mirror is the machine's to name: apt's sources, rustup's and cargo's settings. The one exception is where rustup
/// comes from on a machine that has none and names no mirror.
#[test]
fn scripts_name_no_host() {
    let mut places = vec!["Containerfile".to_owned(), ".ci/run".to_owned(), "fuzz/instrument".to_owned()];
    for entry in fs::read_dir(path("script")).expect("script") {
        places.push(format!("script/{}", entry.expect("listed").file_name().to_string_lossy()));
    }
    let mut wrong = Vec::new();
    for place in &places {
        for line in read(place).lines().filter(|line| !line.trim_start().starts_with('#')) {
            let is_default = line.contains("${RUSTUP_UPDATE_ROOT:-https://static.rust-lang.org/rustup}");
            let hosts =
                ["debian.org", "ubuntu.com", "rust-lang.org", "rustup.rs", "crates.io", "docker.io", "github.com"];
            if hosts.iter().any(|host| line.contains(host)) && !is_default {
                wrong.push(format!("{place}: {}", line.trim()));
            }
        }
    }
    assert!(places.len() > 10 && wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn one_rust_everywhere() {
    let file = read("rust-toolchain.toml");
    let wanted = file.lines().find_map(|line| line.strip_prefix("channel = ")).expect("a channel").trim_matches('"');
    assert_eq!(wanted.split('.').count(), 3, "{wanted} is not one version");
    let container = read("Containerfile");
    assert!(container.contains(&format!("FROM rust:{wanted}-")), "Containerfile does not build with {wanted}");
    assert!(!read("Cargo.toml").contains("rust-version"), "an older Rust is promised, and never built with");
}

/// A cast that may cut or turn a number has its reason beside it, or does not pass.
#[test]
fn casts_in_src_are_judged() {
    let root = read("src/lib.rs");
    let lints = root.lines().find(|line| line.starts_with("#![cfg_attr(not(test), warn(")).expect("lints");
    for lint in ["clippy::cast_possible_truncation", "clippy::cast_sign_loss"] {
        assert!(lints.contains(lint), "{lint} is off");
    }
    assert!(read("script/test").contains("cargo clippy --quiet --locked --all-targets -- -D warnings"));
    for (place, text) in sources("src") {
        let allowed = text.split("#[allow(clippy::cast_").skip(1);
        let without = allowed.filter(|rest| !rest.split(']').next().is_some_and(|inside| inside.contains("reason = ")));
        assert_eq!(without.count(), 0, "{place}: a cast is allowed without a reason");
    }
}

/// Unit tests of a module `x` stand in `x/tests.rs` beside it, or below that.
#[test]
fn unit_tests_stand_in_one_place() {
    let is_test = |place: &str| place.ends_with("/tests.rs") || place.contains("/tests/");
    let tests = |text: &str| text.lines().any(|line| line.trim() == "#[test]" || line.trim_end() == "mod tests {");
    let wrong = sources("src").into_iter().filter(|(place, text)| !is_test(place) && tests(text));
    let wrong: Vec<String> = wrong.map(|(place, _)| place).collect();
    assert_eq!(wrong, Vec::<String>::new());
}

/// The subject of a commit says what is true afterwards; the reason is in its body.
#[test]
fn subjects_of_commits_are_short() {
    if !path(".git").exists() {
        return; // sources without their history
    }
    let log = Command::new("git").args(["log", "-40", "--format=%s"]).current_dir(path("")).output().expect("git");
    let subjects = String::from_utf8(log.stdout).expect("UTF-8");
    // One of 61 characters is on main, whose history stays.
    let known = "One difference of the clocks; scopes of every kind in the lab";
    let long: Vec<&str> =
        subjects.lines().filter(|subject| subject.chars().count() > 60 && *subject != known).collect();
    assert!(log.status.success() && long.is_empty(), "{long:?}");
}

/// `unversioned` is what its crate promises nothing about.
#[test]
fn what_builds_on_no_promise_is_pinned() {
    let manifest = read("Cargo.toml");
    let ureq = manifest.lines().find(|line| line.starts_with("ureq ")).expect("ureq");
    let built_on = Command::new("grep").args(["-rl", "ureq::unversioned", "src"]).current_dir(path("")).status();
    assert!(built_on.is_ok_and(|status| status.success()), "nothing builds on it: the pin may go");
    assert!(ureq.contains("version = \"=3."), "{ureq}");
}

/// Readers get pods as snapshots and ask for names under a lock; the picture in `lib.rs` must not say otherwise.
#[test]
fn the_picture_in_lib_rs_says_how_pods_and_names_arrive() {
    let picture = read("src/lib.rs");
    let arriving = picture.lines().find(|line| line.contains("immutable snapshots")).expect("how pods arrive");
    assert!(arriving.contains("pods") && !arriving.contains("names"), "{arriving}");
    let asked = picture.lines().find(|line| line.contains("under a lock")).expect("how names are asked for");
    assert!(asked.contains("names"), "{asked}");
    let (pods, names) = (read("src/owner/pods.rs"), read("src/names/mod.rs"));
    assert!(pods.contains("Arc<PodIndex>"), "pods are published whole");
    assert!(names.contains("Mutex<"), "names are behind a lock");
}

/// Rule 20: whose bytes they are never depends on the wall clock. These files show it, send it, or translate stamps that
/// others made by it; a new one is to be weighed.
#[test]
fn f11_only_these_files_know_wall_time() {
    let known = [
        "agent/shared.rs",
        "batch.rs",
        "clock.rs",
        "collect/freezer.rs",
        "collect/pipeline.rs",
        "collect/pipeline/count.rs",
        "collect/pipeline/record.rs",
        "collect/player.rs",
        "collect/reading.rs",
        "collect/run.rs",
        "collect/snapshot.rs",
        "doctor/dakr.rs",
        "export/dakr/client.rs",
        "export/dakr/heart.rs",
        "export/dakr/outcome.rs",
        "export/dakr/push.rs",
        "export/dakr/retry/persist.rs",
        "export/dakr/transport.rs",
        "export/json.rs",
        "export/json/items.rs",
        "export/view/mod.rs",
        "export/view/text.rs",
        "http/routes.rs",
        "kube/client.rs",
        "kube/failure.rs",
        "kube/index.rs",
        "kube/mod.rs",
        "logging.rs",
        "logging/line.rs",
        "net/tls.rs",
        "snapshot.rs",
        "state/store.rs",
        "stats.rs",
        "takeover.rs",
        "tools/flows.rs",
        "tools/publish.rs",
        "wire/recording.rs",
    ];
    let words = ["wall_ns", "wall_ms", "wall_of", "wall_clock", "WallClock", "SystemTime", "UNIX_EPOCH"];
    let is_test = |place: &str| place.ends_with("/tests.rs") || place.contains("/tests/");
    let knows = |text: &str| words.iter().any(|word| text.contains(word));
    let found = sources("src").into_iter().filter(|(place, text)| !is_test(place) && knows(text));
    let found: Vec<String> = found.map(|(place, _)| place["src/".len()..].to_owned()).collect();
    assert_eq!(found, known, "see rule 20");
}

#[test]
fn f28_whoever_installs_the_chart_gets_a_startup_probe() {
    let mut daemons = 0;
    for entry in fs::read_dir(path("tests/golden/chart")).expect("manifests") {
        let file = entry.expect("listed").path();
        let text = fs::read_to_string(&file).expect("UTF-8");
        if text.contains("kind: DaemonSet") {
            daemons += 1;
            assert!(
                text.contains("startupProbe:\n            httpGet:\n              path: /healthz"),
                "{}",
                file.display()
            );
        }
    }
    assert!(daemons > 5, "only {daemons} manifests");
}

#[test]
fn f29_the_image_is_told_its_commit() {
    let recipe = read("Containerfile");
    let (before, _) = recipe.split_once("RUN install -D \"$(script/binary)\"").expect("the build");
    assert!(before.contains("\nARG NETMON_COMMIT\n"), "the build has it");
    assert!(read("Containerfile").contains("podman build --build-arg NETMON_COMMIT=$(git rev-parse"), "and says so");
    assert!(read("script/engine").contains("--build-arg \"NETMON_COMMIT=$commit\""));
}
