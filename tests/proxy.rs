//! Which proxy a URL is reached by, against Go's own answers: recorded in `tests/golden/proxies.txt`, and asked anew
//! where Go is installed.

#[path = "support/go.rs"]
mod go;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use netmon::config::proxy::{Route, route};

const GO: &str = r#"package main

import ("bufio"; "fmt"; "net/http"; "net/url"; "os"; "os/exec"; "strings")

// Go reads the environment once, so each case has a process of its own.
func main() {
	if len(os.Args) > 1 {
		to, err := url.Parse(os.Args[1])
		if err != nil { fmt.Println("no-url"); return }
		proxy, err := http.ProxyFromEnvironment(&http.Request{URL: to})
		switch {
		case err != nil: fmt.Println("error")
		case proxy == nil: fmt.Println("direct")
		default:
			port := proxy.Port()
			if port == "" { port = map[string]string{"http": "80", "https": "443"}[proxy.Scheme] }
			fmt.Println(proxy.Scheme + "://" + proxy.Hostname() + ":" + port)
		}
		return
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Split(lines.Text(), "\t")
		child := exec.Command(os.Args[0], words[0])
		child.Env = words[1:]
		answer, err := child.Output()
		if err != nil { fmt.Println("failed:", err); continue }
		fmt.Print(string(answer))
	}
}
"#;

/// URL and environment of each case.
fn cases() -> Vec<(String, Vec<String>)> {
    let mut cases = Vec::new();
    let mut add = |url: &str, environment: &[&str]| {
        cases.push((url.to_owned(), environment.iter().map(|pair| (*pair).to_owned()).collect()));
    };
    // Which variable is for which scheme, and which goes first.
    for url in ["http://dakr.example.com", "https://dakr.example.com", "https://dakr.example.com:8443/base"] {
        for environment in [
            &[][..],
            &["HTTP_PROXY=http://one:3128"],
            &["HTTPS_PROXY=http://two:3128"],
            &["http_proxy=one:3128"],
            &["https_proxy=two"],
            &["HTTP_PROXY=one:1", "http_proxy=other:1", "HTTPS_PROXY=two:1", "https_proxy=other:1"],
            &["HTTP_PROXY=", "http_proxy=lower:1", "HTTPS_PROXY=", "https_proxy=lower:1"],
            &["ALL_PROXY=http://three:3128", "all_proxy=http://three:3128"],
            &["HTTP_PROXY=https://one", "HTTPS_PROXY=https://two"],
            &["HTTP_PROXY=http://me:pass@one:3128/x?y", "HTTPS_PROXY=me:pass@two:3128"],
            &["HTTPS_PROXY=[fd00::1]:3128", "HTTP_PROXY=http://[fd00::1]"],
            &["HTTPS_PROXY=10.0.0.1:3128", "HTTP_PROXY=HTTP://10.0.0.1"],
            &["HTTP_PROXY=one:1", "HTTPS_PROXY=two:1", "REQUEST_METHOD=GET"],
            &["HTTP_PROXY=:::::", "HTTPS_PROXY=:::::"],
            &["HTTP_PROXY=foo://one:1", "HTTPS_PROXY=foo://two:1"],
            &["HTTP_PROXY=http://one:x", "HTTPS_PROXY=http://two:x"],
        ] {
            add(url, environment);
        }
    }
    // What NO_PROXY excepts.
    let exceptions = [
        "",
        "*",
        " * ",
        "x,*",
        "example.com",
        ".example.com",
        "*.example.com",
        "EXAMPLE.com",
        "dakr.example.com",
        ".dakr.example.com",
        "*.dakr.example.com",
        "akr.example.com",
        "kr.example.com",
        "com",
        ".com",
        "example",
        "dakr",
        "x, example.com",
        "x ,  example.com ,y",
        ",,example.com",
        "example.com:443",
        "example.com:80",
        "example.com:8443",
        ".example.com:8443",
        "*.example.com:443",
        "dakr.example.com.",
        "dakr.example.com:",
        ":443",
        ":",
        "*example.com",
        "*.",
        ".",
        "**",
        "http://dakr.example.com",
        "10.0.0.0/8",
        "10.96.0.0/12",
        "10.96.0.1",
        "10.96.0.1:443",
        "10.96.0.1:6443",
        "10.96.0.1/32",
        "10.96.0.1/33",
        "10.96.0.0/x",
        "10.96.0.0/+12",
        "10.96",
        "10.96.",
        "10.96.0.*",
        "0.0.0.0/0",
        "::/0",
        "fd00::/8",
        "fd00::1",
        "[fd00::1]",
        "[fd00::1]:443",
        "[fd00::1]:6443",
        "FD00::/8",
        "fd00::1:443",
        "::ffff:10.96.0.1",
        "localhost",
        "127.0.0.0/8",
        "x, 10.0.0.0/8",
        "10.0.0.0/8 , fd00::/8",
        "a b",
        "example.com example.org",
        "10.96.0.01",
        "10.96.0.1/012",
        "999.0.0.0/8",
        "dakr.example.com,10.0.0.1",
        "[10.96.0.1]:443",
        "svc,.cluster.local",
    ];
    let urls = [
        "https://dakr.example.com",
        "https://dakr.example.com:8443",
        "https://DAKR.example.COM",
        "http://dakr.example.com",
        "https://example.com",
        "https://xexample.com",
        "https://10.96.0.1",
        "https://10.96.0.1:6443",
        "https://[fd00::1]",
        "https://[fd00::1]:6443",
        "https://[::ffff:10.96.0.1]",
        "https://localhost",
        "https://LOCALHOST",
        "http://localhost:8080",
        "https://127.0.0.1",
        "https://127.9.9.9:1",
        "https://[::1]:443",
        "https://[::ffff:127.0.0.1]",
        "https://x.localhost",
        "https://dakr.example.com.",
        "https://dakr",
        "https://me:pass@dakr.example.com/x",
        "https://kubernetes.default.svc",
        "https://0.0.0.0",
        "https://x.svc.cluster.local",
    ];
    for exception in exceptions {
        for url in urls {
            let pair = format!("NO_PROXY={exception}");
            add(url, &["HTTP_PROXY=http://one:3128", "HTTPS_PROXY=http://two:3128", &pair]);
        }
    }
    add("https://dakr.example.com", &["HTTPS_PROXY=two:1", "no_proxy=example.com"]);
    add("https://dakr.example.com", &["HTTPS_PROXY=two:1", "NO_PROXY=", "no_proxy=example.com"]);
    add("https://dakr.example.com", &["HTTPS_PROXY=two:1", "NO_PROXY=other", "no_proxy=example.com"]);
    cases
}

fn line(case: &(String, Vec<String>)) -> String {
    std::iter::once(&case.0).chain(&case.1).cloned().collect::<Vec<_>>().join("\t")
}

fn ours((url, environment): &(String, Vec<String>)) -> String {
    let of = |name: &str| {
        environment
            .iter()
            .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, v)| v.to_owned())
    };
    match route(url, &of) {
        Ok(Route::Direct | Route::Excepted(_)) => "direct".to_owned(),
        Ok(Route::Through(proxy)) => proxy.to_string().replace(['[', ']'], ""),
        Err(_) => "refused".to_owned(),
    }
}

/// Go's answers, by case; `None` where Go is not installed.
fn go(cases: &[(String, Vec<String>)]) -> Option<Vec<String>> {
    let mut child = Command::new(go::build("proxy", GO)?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the control starts");
    let text: String = cases.iter().map(|case| line(case) + "\n").collect();
    let mut stdin = child.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("no panic").expect("taken");
    let answers: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    assert_eq!(answers.len(), cases.len(), "an answer each");
    Some(answers)
}

#[test]
fn f7_the_proxy_is_the_one_that_go_uses() {
    let cases = cases();
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/proxies.txt");
    let asked = go(&cases);
    if let (Some(answers), Some(_)) = (&asked, std::env::var_os("NETMON_BLESS")) {
        let text: String =
            cases.iter().zip(answers).map(|(case, answer)| format!("{answer}\t{}\n", line(case))).collect();
        std::fs::write(&file, text).expect("written");
    }
    let recorded = std::fs::read_to_string(&file).expect("the recorded answers");
    let recorded: BTreeMap<&str, &str> =
        recorded.lines().filter_map(|text| text.split_once('\t')).map(|(answer, case)| (case, answer)).collect();
    let mut wrong = Vec::new();
    for (at, case) in cases.iter().enumerate() {
        let line = line(case);
        let go = *recorded.get(line.as_str()).unwrap_or_else(|| panic!("not recorded (NETMON_BLESS=1): {line}"));
        if let Some(answers) = &asked {
            assert_eq!(answers[at], go, "what was recorded is not what Go says: {line}");
        }
        let ours = ours(case);
        // What Go ignores, or fails at with each request, ends the start here.
        let is_unusable = [":::::", "foo://", ":x"].iter().any(|bad| line.contains(bad));
        let named = if line.starts_with("https:") { "HTTPS_PROXY=" } else { "HTTP_PROXY=" };
        let wanted = match go {
            "error" => "refused",
            _ if is_unusable && line.contains(named) => "refused",
            go => go,
        };
        if ours != wanted {
            wrong.push(format!("{line}: {ours}, Go {go}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(cases.len() > 1000);
}
