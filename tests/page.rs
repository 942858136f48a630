//! The page as a person meets it: headless Chromium opens it from the real endpoint, clicks, types and reads.
//!
//! Needs `chromium`. Where it is missing every case is counted as skipped, which is why this program brings its own `main`
//! (libtest cannot decide that while it runs); with `CI=true` it is a failure.
//!
//! ```text
//! cargo test --test page -- NAME                        those whose name contains NAME
//! PAGE_PICTURES=FOLDER cargo test --test page           pictures of each state instead, to be looked at
//! ```

#[path = "page/agent.rs"]
mod agent;
#[path = "page/browser.rs"]
mod browser;
#[path = "support/harness.rs"]
mod harness;

use std::cell::RefCell;
use std::fs;
use std::path::Path;

use agent::{Agent, Scene, counts, crowd, name, pod, quiet, row, shop};
use browser::{Browser, Tab};
use netmon::clock::{self, MS, SECOND};
use netmon::flow::{Class, TxRx};
use netmon::health::{Component, Status};

/// The text of a cell: `o` is the owner, or what a sum is of.
fn cell(row: usize, column: &str) -> String {
    format!("document.querySelectorAll('#rows tr:not(.open)')[{row}]?.querySelector('.{column}').textContent")
}

fn first_is(tab: &mut Tab, owner: &str) {
    tab.until(&format!("{} === {owner:?}", cell(0, "o")));
}

const WIDTHS: [u32; 9] = [360, 412, 600, 768, 861, 1024, 1280, 1440, 1920];

fn names_are_text(browser: &mut Browser) {
    let (pod_name, namespace) = ("<img src=x onerror=owned=1>", "<b>shop</b>");
    let domain = "<script>owned=1</script>.example";
    let mut one = row(0, 1, [5.0, 5.0], 0);
    one.name = 0;
    let scene = Scene { rows: vec![one], owners: vec![pod(namespace, pod_name, "<i>w")], names: vec![name(domain)] };
    let agent = Agent::start(scene);
    agent.health.set(Component::DakrTransport, Status::Degraded, "<u>said</u> by a server");
    let mut tab = browser.open(&agent.url);
    first_is(&mut tab, &format!("{namespace}/{pod_name}"));
    assert_eq!(tab.value(&cell(0, "w")), "Deployment <i>w");
    assert_eq!(tab.value(&cell(0, "r")), format!("{domain} · 203.0.0.1"));
    tab.until("$('why').textContent.includes('<u>said</u> by a server')");
    tab.click("#rows .o");
    tab.until(&format!("document.querySelector('.open').innerText.includes({domain:?})"));
    tab.choose("#by", "remote");
    first_is(&mut tab, domain);
    tab.click("#rows .o");
    tab.until(&format!("$('match').value === {domain:?}"));
    first_is(&mut tab, &format!("{namespace}/{pod_name}"));
    let made = "document.querySelectorAll('main img, main b:not(.key b), main i, main u, main script').length";
    assert_eq!(tab.value(made), 0, "markup of a stranger became elements");
    assert_eq!(tab.value("typeof owned"), "undefined");
}

fn sorts(browser: &mut Browser) {
    let agent = Agent::start(shop());
    for width in [1280, 360] {
        let mut tab = browser.open(&agent.url);
        tab.resize(width, 800);
        first_is(&mut tab, "ops/mail-0");
        for (button, first) in [
            ("tx", "shop/web-6d5f7c8b-x2v7k"),
            ("rx", "shop/checkout-6d8f7c9b5-x2x9k"),
            ("bytes", "host"),
            ("rate", "ops/mail-0"),
        ] {
            tab.click(&format!("#sort-{button}"));
            first_is(&mut tab, first);
            assert_eq!(tab.value("document.querySelectorAll('th [aria-pressed=true]').length"), 1);
        }
    }
}

fn groups(browser: &mut Browser) {
    let agent = Agent::start(shop());
    let mut tab = browser.open(&agent.url);
    first_is(&mut tab, "ops/mail-0");
    for (by, first, rows) in [
        ("owner", "ops/mail-0", "1"),
        ("workload", "ops/mail-0", "1"),
        ("namespace", "shop", "3"),
        ("remote", "10.0.0.3", "1"),
        ("port", "9090/tcp", "1"),
        ("class", "outside", "3"),
        ("scope", "internet", "3"),
    ] {
        tab.choose("#by", by);
        first_is(&mut tab, first);
        assert_eq!(tab.value(&cell(0, "k")), rows, "{by}");
        assert_eq!(tab.value("document.querySelector('th.o').textContent"), by);
    }
    // The plot goes on, though sums say nothing of it, and so do the books.
    tab.until("points.length > 1 && $('books').textContent.endsWith('unexplained 0.100%')");
    tab.click("#rows .o");
    tab.until("$('scope').value === 'internet' && $('by').value === 'row' && lines.length === 3");
    // What is asked stands in the address.
    let address = tab.value("location.href");
    drop(tab);
    let mut tab = browser.open(address.as_str().expect("text"));
    tab.until("$('scope').value === 'internet' && lines.length === 3");
}

fn filters(browser: &mut Browser) {
    let agent = Agent::start(shop());
    let mut tab = browser.open(&agent.url);
    first_is(&mut tab, "ops/mail-0");
    tab.click("#match");
    tab.write("IMAGES.example");
    first_is(&mut tab, "shop/checkout-6d8f7c9b5-x2x9k");
    tab.until("lines.length === 1 && $('count').textContent.startsWith('1 found of 5')");
    tab.write(" & = % nothing");
    tab.until("lines.length === 0 && $('count').textContent === 'nothing matches'");
    tab.value("$('match').select()");
    tab.write(&"ü".repeat(40));
    tab.until("$('count').textContent.includes('at most 64 bytes')");
    tab.value("$('match').select()");
    tab.write("shop");
    tab.choose("#class", "inside");
    tab.until("lines.length === 1");
    assert_eq!(tab.value(&cell(0, "o")), "shop/web-6d5f7c8b-x2v7k");
    assert_eq!(tab.value(&cell(0, "r")), "shop/checkout-6d8f7c9b5-x2x9k");
}

fn saves_csv(browser: &mut Browser) {
    let agent = Agent::start(crowd(300));
    let files = browser.downloads();
    let mut tab = browser.open(&agent.url);
    tab.until("lines.length === 50");
    for (by, columns, lines) in [("row", 16, 301), ("class", 6, 3)] {
        tab.choose("#by", by);
        tab.click("#csv");
        let file = files.join(format!("netmon-by-{by}.csv"));
        let text = (0..300).find_map(|_| {
            clock::sleep_ns(100 * MS);
            fs::read_to_string(&file).ok().filter(|text| text.ends_with('\n'))
        });
        let text = text.unwrap_or_else(|| panic!("{} never came", file.display()));
        assert_eq!(text.lines().count(), lines, "all rows, not those that are shown");
        assert_eq!(text.lines().next().expect("a head").split(',').count(), columns);
    }
}

fn pauses(browser: &mut Browser) {
    let agent = Agent::start(shop());
    let mut tab = browser.open(&agent.url);
    tab.until("points.length > 1");
    tab.click("#pause");
    // A question that was on its way is answered.
    clock::sleep_ns(500 * MS);
    let shown = tab.value("[$('when').textContent, $('rows').innerText, points.length].join()");
    clock::sleep_ns(5 * SECOND);
    assert_eq!(tab.value("[$('when').textContent, $('rows').innerText, points.length].join()"), shown);
    assert_eq!(tab.value("$('pause').textContent"), "paused");
    // Who asks is answered all the same.
    tab.click("#sort-bytes");
    first_is(&mut tab, "host");
    tab.click("#pause");
    let before = tab.value("points.length");
    tab.until(&format!("points.length > {before}"));
}

fn opens_a_row(browser: &mut Browser) {
    let agent = Agent::start(shop());
    let mut tab = browser.open(&agent.url);
    tab.resize(360, 800);
    tab.until("lines.length === 5");
    tab.click("#rows tr:nth-child(2) .o");
    tab.until("document.querySelector('.open dl')");
    let said = tab.value("document.querySelector('.open').innerText");
    for wanted in
        ["uid-checkout-6d8f7c9b5-x2x9k", "cdn.images.example.net", "Deployment checkout", "netfilter", "10.244.1.2"]
    {
        assert!(said.as_str().expect("text").contains(wanted), "{wanted} in {said}");
    }
    // It stays with its row, wherever that goes.
    let above = "document.querySelector('.open').previousSibling === lines[N]";
    tab.until(&above.replace('N', "1"));
    tab.click("#sort-rx");
    tab.until(&above.replace('N', "0"));
    tab.click("#rows tr:nth-child(1) .o");
    tab.until("!document.querySelector('.open')");
    tab.value("lines[1].focus()");
    tab.press("Enter", 13);
    tab.until(&above.replace('N', "1"));
}

fn shows_all_rows(browser: &mut Browser) {
    let agent = Agent::start(crowd(5_000));
    let mut tab = browser.open(&agent.url);
    for (shown, left) in [(50, true), (250, true), (1_250, true), (5_000, false)] {
        tab.until(&format!("lines.length === {shown}"));
        assert_eq!(tab.value("!$('more').hidden"), left, "{shown}");
        if left {
            tab.click("#more");
        }
    }
}

fn keeps_an_hour(browser: &mut Browser) {
    let agent = Agent::start(quiet());
    let mut tab = browser.open(&agent.url);
    tab.until("$('count').textContent.startsWith('none yet')");
    tab.click("#pause");
    clock::sleep_ns(500 * MS);
    // Seventy minutes of sweeps, five seconds apart.
    tab.value(
        "(() => { points = []; base = null; const end = Date.now(); for (let n = 840; n >= 0; n--) { const at = new Date(end - n * 5000).toISOString(); \
         take({timestamp: at, swept: at, node_name: 'n', rows: 0, items: [], totals: {tx_bytes: (840 - n) * 5000, rx_bytes: 0}}); } plot(); })()",
    );
    assert_eq!(tab.value("points.length"), 721);
    assert_eq!(tab.value("points[0].tx"), 1000);
    let steps = "$('ptx').getAttribute('d').split('H').length";
    assert_eq!(tab.value(steps), 62);
    tab.click("#span");
    tab.until(&format!("{steps} === 722 && $('axes').textContent.includes('48\u{a0}min')"));
    // Another run of the agent begins at 0; what is behind is kept.
    tab.value("take({timestamp: new Date().toISOString(), swept: new Date().toISOString(), node_name: 'n', rows: 0, items: [], totals: {tx_bytes: 1, rx_bytes: 0}})");
    assert!(tab.value("points.length").as_u64().expect("a number") > 700);
}

fn says_its_state(browser: &mut Browser) {
    let agent = Agent::start(quiet());
    let mut tab = browser.open(&agent.url);
    tab.until("$('overall').textContent === 'healthy' && $('count').textContent === 'none yet: nothing was counted'");
    assert_eq!(tab.value("document.title"), "worker-3 \u{2013} zxporter-netmon");
    agent.health.set(Component::DakrTransport, Status::Degraded, "no answer from dakr.example.com");
    tab.until(
        "$('overall').textContent === 'degraded' && $('why').textContent.endsWith('no answer from dakr.example.com')",
    );
    let about = format!("version {} · up 3\u{a0}h · ", netmon::VERSION);
    tab.until(&format!("$('about').textContent === {:?}", about.clone() + "no push yet, failing now"));
    agent.stats.last_push_ms.set(clock::now().wall_ns / MS - 240_000);
    tab.until(&format!("$('about').textContent === {:?}", about + "last push 4\u{a0}min ago, failing now"));
    agent.health.set(Component::DakrTransport, Status::Healthy, "connected");
    tab.until("$('about').textContent.endsWith('last push 4\u{a0}min ago')");
    agent.stats.counted_tx_bytes.set(7_000_000);
    agent.stats.acknowledged_bytes.set(5_000_000);
    agent.stats.open_bytes.set(2_000_000);
    let books = "Counted 7.00\u{a0}MB = acknowledged 5.00\u{a0}MB + waiting 2.00\u{a0}MB + withheld 0\u{a0}B + unattributed 0\u{a0}B + lost 0\u{a0}B";
    tab.until(&format!("$('ledger').textContent === {books:?}"));
    let address = agent.address();
    drop(agent);
    tab.until("$('overall').textContent.startsWith('no answer for ') && document.body.className === 'gone'");
    let again = Agent::at(&address, shop());
    tab.until("$('overall').textContent === 'healthy' && lines.length === 5 && document.body.className === ''");
    // An end that was said is no riddle.
    again.pulse.stopping();
    tab.until("$('overall').textContent === 'stopping'");
    drop(again);
    tab.until("$('overall').textContent === 'stopped' && document.body.className === 'gone'");
    let _next = Agent::at(&address, shop());
    tab.until("$('overall').textContent === 'healthy'");
}

/// The plot begins with what the agent remembers.
fn remembers(browser: &mut Browser) {
    let agent = Agent::start(shop());
    let begun_ns = clock::now().wall_ns - 3_500 * SECOND;
    for n in 0..690 {
        let mut by_class = [TxRx::ZERO; Class::ALL.len()];
        by_class[Class::Inside as usize] = TxRx { tx: counts(n * 4_000), rx: counts(0) };
        by_class[Class::Outside as usize] = TxRx { tx: counts(n * 1_000), rx: counts(n * 50) };
        agent.snapshots.history.note(begun_ns + n * 5 * SECOND, &by_class);
    }
    let mut tab = browser.open(&agent.url);
    tab.until("points.length > 689");
    assert_eq!(tab.value("[points[0].tx, points[688].rx].join()"), "1000,10");
    tab.until("points.length > 691 && points.every((p, n) => n === 0 || p.from === points[n - 1].to)");
    // And it is of the class that is asked for.
    tab.choose("#class", "outside");
    tab.until("points.length === 689 && points[0].tx === 200 && points[688].rx === 10");
    assert_eq!(tab.value("$('ht').textContent"), "Traffic, outside");
    let mut by_class = [TxRx::ZERO; Class::ALL.len()];
    by_class[Class::Inside as usize] = TxRx { tx: counts(690 * 4_000), rx: counts(0) };
    by_class[Class::Outside as usize] = TxRx { tx: counts(690_000), rx: counts(50 * 690) };
    agent.snapshots.history.note(begun_ns + 690 * 5 * SECOND, &by_class);
    tab.until("points.length === 690");
    tab.choose("#class", "inside");
    tab.until("points.length === 690 && points[0].tx === 800 && points[0].rx === 0");
    tab.choose("#class", "");
    tab.until("points.length > 689 && points[0].tx === 1000 && $('ht').textContent === 'Traffic'");
}

/// What is wider than the window, or than the card that it is in.
const HANGS_OUT: &str = "(() => { const d = document.documentElement; \
     const out = [...document.querySelectorAll('section, section *, header *, footer *')].filter(e => { \
       if (e.closest('svg') && e.tagName !== 'svg') return false; \
       const r = e.getBoundingClientRect(), c = (e.closest('section') || d).getBoundingClientRect(); \
       return r.width > 0 && (r.right > c.right + 0.5 || r.left < c.left - 0.5); }); \
     if (d.scrollWidth > d.clientWidth) out.push(d); \
     return out.slice(0, 5).map(e => e.tagName + '#' + e.id + '.' + e.className + ' ' + e.textContent.slice(0, 60)).join(); })()";

fn fits_every_width(browser: &mut Browser) {
    for scene in [quiet(), shop(), crowd(300)] {
        let agent = Agent::start(scene);
        let why = "no answer from https://a-very-long-name-of-a-server-of-the-control-plane.dakr.example.com:443 for 4 minutes";
        agent.health.set(Component::DakrTransport, Status::Degraded, why);
        let mut tab = browser.open(&agent.url);
        tab.until("points.length > 1");
        for width in WIDTHS {
            tab.resize(width, 900);
            for by in ["row", "owner"] {
                tab.choose("#by", by);
                tab.until("data");
                if tab.value("lines.length > 0") == true && by == "row" {
                    tab.click("#rows .o");
                    tab.until("document.querySelector('.open')");
                }
                assert_eq!(tab.value(HANGS_OUT), "", "{width} px by {by}");
            }
        }
    }
}

type Case = fn(&mut Browser);

const CASES: [(&str, Case); 12] = [
    ("page_shows_names_as_text", names_are_text),
    ("page_sorts", sorts),
    ("page_groups", groups),
    ("page_filters", filters),
    ("page_saves_csv", saves_csv),
    ("page_pauses", pauses),
    ("page_opens_a_row", opens_a_row),
    ("page_shows_all_rows", shows_all_rows),
    ("page_keeps_an_hour", keeps_an_hour),
    ("page_remembers", remembers),
    ("page_says_its_state", says_its_state),
    ("page_fits_every_width", fits_every_width),
];

/// Pictures of each state at each width.
fn pictures(browser: &mut Browser, folder: &Path) {
    fs::create_dir_all(folder).expect("a folder");
    let degraded = "cannot push to dakr.example.com:443: connection refused; 12 failures in 10 min, 424 MB wait";
    for (state, scene) in
        [("quiet", quiet()), ("little", shop()), ("5000", crowd(5_000)), ("degraded", shop()), ("stopped", shop())]
    {
        let mut agent = Some(Agent::start(scene));
        let health = agent.as_ref().map(|agent| agent.health.clone());
        if state == "degraded" {
            health.expect("it runs").set(Component::DakrTransport, Status::Degraded, degraded);
        }
        let mut tab = browser.open(&agent.as_ref().expect("it runs").url.clone());
        tab.until("points.length > 5");
        if state == "stopped" {
            agent.as_ref().expect("it runs").pulse.stopping();
            tab.until("stopping");
            agent = None;
            tab.until("document.body.className === 'gone'");
        }
        for (width, height) in [(360, 800), (768, 1000), (1280, 900), (1920, 1080)] {
            tab.resize(width, height);
            clock::sleep_ns(300 * MS);
            tab.picture(&folder.join(format!("{state}-{width}.png")));
        }
        if state == "5000" {
            for by in ["workload", "row"] {
                tab.choose("#by", by);
                tab.until("lines.length");
                if by == "row" {
                    tab.click("#rows .o");
                    tab.until("document.querySelector('.open')");
                }
                for width in [360, 768, 1920] {
                    tab.resize(width, 900);
                    tab.value("scrollTo(0, $('hr').getBoundingClientRect().top + scrollY - 20)");
                    clock::sleep_ns(300 * MS);
                    tab.picture(&folder.join(format!("{state}-by-{by}-{width}.png")));
                }
            }
        }
        tab.darken();
        tab.value("scrollTo(0, 0)");
        tab.resize(1280, 900);
        tab.picture(&folder.join(format!("{state}-dark.png")));
        drop(tab);
        drop(agent);
    }
}

fn main() {
    let program = browser::program();
    if let (Some(folder), Some(program)) = (std::env::var_os("PAGE_PICTURES"), program) {
        return pictures(&mut Browser::start(program), Path::new(&folder));
    }
    let browser = RefCell::new(None);
    let cases = CASES.iter().map(|(name, case)| {
        let (browser, program) = (&browser, program);
        let run =
            move || case(browser.borrow_mut().get_or_insert_with(|| Browser::start(program.expect("not lacking"))));
        ((*name).to_owned(), Box::new(run) as Box<dyn FnOnce()>)
    });
    harness::run(cases, if program.is_some() { "" } else { "chromium" });
}
