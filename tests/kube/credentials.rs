//! Tokens, plugins and kubeconfigs against a server that really refuses.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use netmon::health::Status;
use netmon::kube::credentials::discover;
use netmon::kube::endpoint::{Auth, Endpoint};
use netmon::kube::kubeconfig;

use crate::fake_kube::fixtures::{Scratch, event, list, pod, scratch, uid};
use crate::fake_kube::{FakeKube, Request, answer, json, watch_of, watch_open};
use crate::harness::{Running, endpoint, pace, timeouts, wait_until};

/// A server that takes one token only, and what it is now.
fn guarded(token: &str) -> (FakeKube, Arc<Mutex<String>>) {
    let valid = Arc::new(Mutex::new(token.to_owned()));
    let checked = valid.clone();
    let server = FakeKube::start(move |request: &Request| {
        if request.authorization != format!("Bearer {}", checked.lock().expect("not poisoned")) {
            return answer(
                "401 Unauthorized",
                "Content-Type: application/json\r\n",
                b"{\"kind\":\"Status\",\"code\":401}",
            );
        }
        match request.watch {
            false => json(&list(&[pod("web-1", &uid(1), "10.0.0.1")], "1")),
            true => watch_open(&[]),
        }
    });
    (server, valid)
}

fn with_token_file(url: &str, path: &Path) -> Endpoint {
    Endpoint { auth: Auth::TokenFile(path.to_owned()), ..endpoint(url) }
}

#[test]
fn a_rotated_token_is_read_anew_and_costs_one_refusal() {
    let directory = scratch("rotation");
    let path = directory.path().join("token");
    std::fs::write(&path, "first\n").expect("writable");
    let (server, valid) = guarded("first");
    let kube = Running::start_with(with_token_file(&server.url(), &path), pace(), timeouts());
    wait_until("a watch", || server.counts() == (1, 1));

    // As the kubelet does it: another file under the same name. The server knows the new one only.
    std::fs::write(directory.path().join("new"), "second\n").expect("writable");
    std::fs::rename(directory.path().join("new"), &path).expect("writable");
    *valid.lock().expect("not poisoned") = "second".to_owned();
    server.cut();
    wait_until("a watch with the new token", || {
        server.requests().last().is_some_and(|request| request.authorization == "Bearer second")
    });
    kube.wait_for_state(Status::Healthy, "informer synced");
    let refused = server.requests().iter().skip(2).filter(|request| request.authorization == "Bearer first").count();
    assert_eq!(refused, 1, "one immediate retry");
    assert_eq!(server.counts().0, 1, "and no list");
}

#[test]
fn a_token_that_is_missing_empty_or_broken_is_said_and_waited_for() {
    let directory = scratch("missing");
    let path = directory.path().join("token");
    let (server, _) = guarded("later");
    let kube = Running::start_with(with_token_file(&server.url(), &path), pace(), timeouts());
    kube.wait_for_state(Status::Degraded, "credentials: cannot read");
    std::fs::write(&path, "\n").expect("writable");
    kube.wait_for_state(Status::Degraded, "is empty");
    std::fs::write(&path, "two words").expect("writable");
    kube.wait_for_state(Status::Degraded, "contains white space");
    assert!(!kube.state().message.contains("two words"));
    assert_eq!(server.requests(), [], "nothing is asked without a token that was meant to be used");
    std::fs::write(&path, "later\n").expect("writable");
    kube.wait_for_state(Status::Healthy, "informer synced");
}

#[test]
fn a_wrong_token_is_not_hammered_with() {
    let directory = scratch("wrong");
    let path = directory.path().join("token");
    std::fs::write(&path, "wrong").expect("writable");
    let (server, _) = guarded("right");
    let kube = Running::start_with(with_token_file(&server.url(), &path), pace(), timeouts());
    kube.wait_for_state(Status::Degraded, "credentials: the server refuses");
    crate::fake_kube::pause_for(std::time::Duration::from_millis(500));
    assert!(server.counts().0 < 15, "{} lists", server.counts().0);
    std::fs::write(&path, "right").expect("writable");
    kube.wait_for_state(Status::Healthy, "informer synced");
}

fn plugin_kubeconfig(directory: &Scratch, url: &str, script: &str, more: &str) -> Endpoint {
    let program = directory.path().join("plugin");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("writable");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("ours");
    let config = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{server: '{url}'}}}}]\nusers:\n- name: u\n  user:\n    exec:\n      \
         apiVersion: client.authentication.k8s.io/v1\n      command: ./plugin\n{more}"
    );
    std::fs::write(directory.path().join("config"), config).expect("writable");
    discover(Some(&directory.path().join("config")), &|_| None).expect("a kubeconfig")
}

/// What it gives has ended by our clock, which may be wrong: it is used, and not asked for again at each request.
#[test]
fn f11_a_plugin_gives_the_token_and_is_asked_again_when_that_is_refused() {
    let directory = scratch("plugin");
    let counter = directory.path().join("runs");
    let script = format!(
        "echo run >> {}\n\
         test \"$WHO\" = us || exit 1\n\
         echo \"$KUBERNETES_EXEC_INFO\" | grep -q '\"interactive\":false' || exit 2\n\
         echo \"$KUBERNETES_EXEC_INFO\" | grep -q '\"server\":\"http://127' || exit 3\n\
         printf '{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"%s\",\
         \"expirationTimestamp\":\"2024-01-01T00:00:00Z\"}}}}' \"$1\"",
        counter.display()
    );
    let watches = Arc::new(Mutex::new(0));
    let seen = watches.clone();
    let server = FakeKube::start(move |request: &Request| {
        assert_eq!(request.authorization, "Bearer from-the-plugin");
        if !request.watch {
            return json(&list(&[pod("web-1", &uid(1), "10.0.0.1")], "1"));
        }
        let mut watches = watches.lock().expect("not poisoned");
        *watches += 1;
        match *watches {
            3 => answer("401 Unauthorized", "Content-Type: application/json\r\n", b"{\"kind\":\"Status\"}"),
            _ => watch_of(&[event("MODIFIED", &pod("web-1", &uid(1), "10.0.0.1"), "2")]),
        }
    });
    let more = "      args: [from-the-plugin]\n      env: [{name: WHO, value: us}]\n      provideClusterInfo: true\n      \
                interactiveMode: IfAvailable\n";
    let endpoint = plugin_kubeconfig(&directory, &server.url(), &script, more);
    let kube = Running::start_with(endpoint, pace(), timeouts());
    wait_until("the pod", || kube.name("10.0.0.1").is_some());
    wait_until("a watch after the refused one", || *seen.lock().expect("not poisoned") > 3);
    let runs = std::fs::read_to_string(counter).expect("written by the plugin").lines().count();
    assert_eq!(runs, 2, "once at the start, once after the refusal");
}

#[test]
fn a_plugin_that_fails_hangs_or_lies_is_said() {
    let rows = [
        ("exit 7", "failed: exit status: 7"),
        ("echo hello", "not an ExecCredential"),
        (
            "echo '{\"apiVersion\":\"client.authentication.k8s.io/v1beta1\",\"kind\":\"ExecCredential\"}'",
            "expected ExecCredential",
        ),
        ("echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\"}'", "no status"),
        (
            "echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{}}'",
            "neither token nor certificate",
        ),
        (
            "echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"a b\"}}'",
            "contains white space",
        ),
        ("yes | head -c 2000000", "more than 1 MiB"),
    ];
    for (script, words) in rows {
        let directory = scratch("bad-plugin");
        let endpoint = plugin_kubeconfig(&directory, "http://127.0.0.1:1", script, "");
        let kube = Running::start_with(endpoint, pace(), timeouts());
        kube.wait_for_state(Status::Degraded, words);
    }
    // One that hangs does not hold up the end of the agent, and is gone with it.
    let directory = scratch("hanging-plugin");
    let marker = directory.path().join("pid");
    let script = format!("echo $$ > {}\nexec sleep 1000", marker.display());
    let endpoint = plugin_kubeconfig(&directory, "http://127.0.0.1:1", &script, "");
    let Auth::Plugin(plugin) = &endpoint.auth else { panic!("a plugin") };
    let error = plugin.run(100_000_000, &|| false).expect_err("it never ends");
    assert!(error.contains("took too long"), "{error}");
    std::fs::remove_file(&marker).expect("written by the plugin");
    let kube = Running::start_with(endpoint, pace(), timeouts());
    let pid = || std::fs::read_to_string(&marker).ok().and_then(|text| text.trim().parse::<i32>().ok());
    wait_until("the plugin", || pid().is_some());
    let pid = pid().expect("written");
    assert!(kube.stop() < std::time::Duration::from_secs(1));
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "neither running nor a zombie");
}

#[test]
fn a_plugin_that_is_not_there_says_how_to_get_it() {
    let directory = scratch("no-plugin");
    let endpoint = plugin_kubeconfig(&directory, "http://127.0.0.1:1", "", "      installHint: ask the wizard\n");
    std::fs::remove_file(directory.path().join("plugin")).expect("written before");
    let kube = Running::start_with(endpoint, pace(), timeouts());
    kube.wait_for_state(Status::Degraded, "ask the wizard");
}

/// A kubeconfig with this cluster and this user.
fn parse(cluster: &str, user: &str) -> Result<Endpoint, String> {
    let text = format!(
        "apiVersion: v1\nkind: Config\npreferences: {{}}\ncurrent-context: here\ncontexts:\n- name: other\n  context: {{cluster: x, \
         user: y}}\n- name: here\n  context: {{cluster: k, user: u, namespace: n}}\nclusters:\n- name: k\n  cluster: {{{cluster}}}\n\
         users:\n- name: u\n  user: {{{user}}}\n"
    );
    kubeconfig::parse(&text, Path::new("/etc/kube"), "test")
}

#[test]
fn kubeconfigs_are_read_as_kubectl_does() {
    let server = "server: 'https://k.example.org:6443/'";
    let endpoint = parse(server, "token: abc").expect("a token");
    assert_eq!(endpoint.url, "https://k.example.org:6443");
    assert!(matches!(endpoint.auth, Auth::Token(secret) if secret.0 == "abc"));
    let endpoint = parse(server, "token: abc, tokenFile: t").expect("the file goes before");
    assert!(matches!(endpoint.auth, Auth::TokenFile(path) if path == Path::new("/etc/kube/t")));
    let endpoint = parse(&format!("{server}, certificate-authority: pki/ca.crt"), "{}".trim_matches(['{', '}']));
    let ca = format!("{:?}", endpoint.expect("anonymous").ca);
    assert_eq!(ca, "Some(File(/etc/kube/pki/ca.crt))");
    let endpoint = parse(&format!("{server}, certificate-authority-data: aGVsbG8=, certificate-authority: x"), "");
    assert_eq!(endpoint.expect("data before file").ca.expect("given").read().expect("in place"), b"hello");
    let endpoint =
        parse(&format!("{server}, insecure-skip-tls-verify: true, proxy-url: 'http://p:3128'"), "").expect("both");
    assert!(endpoint.insecure && endpoint.proxy.as_deref() == Some("http://p:3128"));
    let user = "client-certificate: c.crt, client-key: /k.key";
    assert_eq!(
        format!("{:?}", parse(server, user).expect("certificates").client),
        "Some((File(/etc/kube/c.crt), File(/k.key)))"
    );
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let server = "server: 'https://k.example.org'";
    for (cluster, user, words) in [
        ("server: ''", "", "no server"),
        ("server: 'ftp://k'", "", "does not start with https://"),
        ("server: 'https://me:secret@k'", "", "with a user in it"),
        ("server: 'https://k', tls-server-name: other", "", "tls-server-name"),
        ("server: 'https://k', proxy-url: 'socks5://p'", "", "proxy-url other than"),
        ("server: 'https://k', insecure-skip-tls-verify: true, certificate-authority: x", "", "exclude each other"),
        ("server: 'https://k', certificate-authority-data: '***'", "", "certificate-authority-data is not base64"),
        (server, "auth-provider: {name: gcp}", "auth-provider"),
        (server, "username: a, password: b", "username"),
        (server, "as: root", "user.as is"),
        (server, "as-groups: [a]", "as-groups"),
        (server, "as-uid: '1'", "as-uid"),
        (server, "client-certificate: a", "without client-key"),
        (server, "client-key: a", "without client-certificate"),
        (server, "token: 'a b'", "contains white space"),
        (server, "exec: {command: x}", "apiVersion"),
        (server, "exec: {command: x, apiVersion: client.authentication.k8s.io/v1alpha1}", "v1alpha1"),
        (
            server,
            "exec: {command: x, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Always}",
            "interactiveMode",
        ),
        (server, "token: a, exec: {command: x, apiVersion: client.authentication.k8s.io/v1}", "beside"),
    ] {
        let error = parse(cluster, user).expect_err(words);
        assert!(error.contains(words), "{error} does not say {words}");
        assert!(!error.contains("secret"), "{error}");
    }
    let parse = |text: &str| kubeconfig::parse(text, Path::new("/"), "test").expect_err("not usable");
    assert!(parse("").contains("no kubeconfig") || parse("").contains("current-context"));
    assert!(parse("contexts: []").contains("current-context is not set"));
    assert!(parse("current-context: x").contains("not among its contexts"));
    assert!(
        parse("current-context: x\ncontexts: [{name: x, context: {cluster: y}}]").contains("not among its clusters")
    );
    assert!(parse("clusters: [\ntoken: hush").contains("line"));
    assert!(!parse("clusters: {token: hush}").contains("hush"));
}

#[test]
fn bombs_large_files_and_other_encodings() {
    let directory = scratch("encodings");
    let path = directory.path().join("config");
    let load = |bytes: &[u8]| {
        std::fs::write(&path, bytes).expect("writable");
        discover(Some(&path), &|_| None).map_err(|error| error.to_string())
    };
    let good = "current-context: c\ncontexts: [{name: c, context: {cluster: k}}]\nclusters: [{name: k, cluster: {server: 'https://k'}}]\n";
    let utf16 = |text: &str, unit: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(unit).collect::<Vec<u8>>();
    assert!(load(good.as_bytes()).is_ok());
    assert!(load(&[b"\xef\xbb\xbf", good.as_bytes()].concat()).is_ok());
    assert!(load(&[&b"\xff\xfe"[..], &utf16(good, u16::to_le_bytes)].concat()).is_ok());
    assert!(load(&[&b"\xfe\xff"[..], &utf16(good, u16::to_be_bytes)].concat()).is_ok());
    assert!(load(b"\xff\xfe\x00\xd8").expect_err("half a pair").contains("UTF-16"));
    assert!(load(b"a: \xff").expect_err("no UTF-8").contains("UTF-8"));
    assert!(load(&vec![b'#'; 10 << 20]).expect_err("ten megabytes").contains("larger than 1 MiB"));
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..12 {
        let before = level - 1;
        bomb += &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{before}"); 10].join(","));
    }
    let began = netmon::clock::now().mono_ns;
    let _ = load((bomb + "users: *a11\n" + good).as_bytes());
    assert!(netmon::clock::now().mono_ns - began < 2_000_000_000, "a billion laughs take no time");
    assert!(load(&[b"[".repeat(100_000), b"]".repeat(100_000)].concat()).is_err(), "deep nesting ends in an error");
    assert!(discover(Some(Path::new("/no/such/file")), &|_| None).is_err());
}

#[test]
fn f23_a_plugin_sees_no_token_of_dakr_and_leaves_nothing_behind() {
    if std::env::var_os("CLUSTER_TOKEN").is_none() {
        // Once more, as an agent that has one.
        let name = "credentials::f23_a_plugin_sees_no_token_of_dakr_and_leaves_nothing_behind";
        let status = std::process::Command::new(std::env::current_exe().expect("this test"))
            .args([name, "--exact"])
            .envs([("CLUSTER_TOKEN", "dakr-secret"), ("DAKR_URL", "https://me:hunter2@dakr.example.com")])
            .status();
        assert!(status.expect("it runs").success());
        return;
    }
    let directory = scratch("f23");
    let (seen, pids) = (directory.path().join("seen"), directory.path().join("pids"));
    // It leaves a child that keeps its output, and one that does not.
    let script = format!(
        "#!/bin/sh\nenv > {}\nsleep 300 &\necho $! >> {pids}\nsleep 300 >/dev/null 2>&1 &\necho $! >> {pids}\n\
         echo '{{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{{\"token\":\"t\"}}}}'\n",
        seen.display(),
        pids = pids.display()
    );
    let endpoint = plugin_kubeconfig(&directory, "http://127.0.0.1:1", &script, "");
    let Auth::Plugin(plugin) = &endpoint.auth else { panic!("a plugin") };
    for _ in 0..3 {
        let started_ns = netmon::clock::now().mono_ns;
        plugin.run(20 * netmon::clock::SECOND, &|| false).expect("a token");
        assert!(netmon::clock::now().mono_ns - started_ns < 10 * netmon::clock::SECOND, "a child is not waited for");
    }
    let pids = std::fs::read_to_string(&pids).expect("written by the plugin");
    assert_eq!(pids.lines().count(), 6);
    for pid in pids.lines() {
        let gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        wait_until("a child to be gone", gone);
    }
    let environment = std::fs::read_to_string(&seen).expect("written by the plugin");
    assert!(environment.contains("KUBERNETES_EXEC_INFO=") && environment.contains("PATH="), "{environment}");
    assert!(!environment.contains("CLUSTER_TOKEN") && !environment.contains("DAKR_URL"), "{environment}");
}

#[test]
fn f24_a_pipe_is_no_token_and_does_not_block() {
    let directory = scratch("f24");
    let pipe = directory.path().join("token");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let endless = directory.path().join("endless");
    std::os::unix::fs::symlink("/dev/zero", &endless).expect("a link");
    for path in [&pipe, &endless] {
        let error = netmon::kube::secret::read_file(path).expect_err("no regular file");
        assert!(error.contains("it is no regular file"), "{error}");
        let mut token = netmon::export::dakr::token::Token::new("", Some(path.clone()));
        let error = token.refresh().expect_err("no regular file").to_string();
        assert!(error.contains("it is no regular file"), "{error}");
    }
    let large = directory.path().join("large");
    std::fs::write(&large, vec![b'x'; 2 << 20]).expect("written");
    assert!(netmon::kube::secret::read_file(&large).expect_err("too large").contains("larger"));
}

#[test]
fn f24_kubeconfig_is_read_from_the_environment() {
    let directory = scratch("f24-environment");
    let (one, other) = (directory.path().join("one"), directory.path().join("other"));
    let text = "current-context: c\ncontexts: [{name: c, context: {cluster: k}}]\n\
                clusters: [{name: k, cluster: {server: 'https://api.example.com'}}]\n";
    std::fs::write(&one, text).expect("written");
    let found = |list: String| {
        let environment = move |name: &str| match name {
            "KUBECONFIG" => Some(list.clone()),
            // It goes before the cluster that we run in.
            "KUBERNETES_SERVICE_HOST" => Some("10.96.0.1".to_owned()),
            _ => None,
        };
        discover(None, &environment).map(|endpoint| endpoint.url).map_err(|error| error.to_string())
    };
    let url = Ok("https://api.example.com".to_owned());
    assert_eq!(found(one.display().to_string()), url);
    assert_eq!(found(format!("{}:{}:", other.display(), one.display())), url);
    assert!(found(other.display().to_string()).expect_err("not there").contains("cannot read"));
    std::fs::write(&other, text).expect("written");
    assert!(found(format!("{}:{}", other.display(), one.display())).expect_err("two").contains("--flatten"));
}
