//! Nothing twice, over real sockets: a server that mixes every pair and every triple of outcomes, in each framing, and
//! drops byte-identical repeats. What it has in the end is what was counted, to the item.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use flate2::read::GzDecoder;

use super::*;

/// What a send comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Taken,
    TooLarge,
    LargerThan,
    TakenThen(&'static str),
    Failed(&'static str),
    TakenThenReset,
    Reset,
    TakenThenInternal,
    TakenThenGarbled,
    Busy,
    Denied,
    Refused,
}
use Fate::*;

/// One of each kind.
const KINDS: [Fate; 8] =
    [Taken, TooLarge, LargerThan, TakenThen("502 Bad Gateway"), Failed("502 Bad Gateway"), TakenThenReset, Reset, Busy];
/// The rest, in pairs.
const MORE: [Fate; 9] = [
    TakenThen("500 Internal Server Error"),
    TakenThen("503 Service Unavailable"),
    TakenThen("504 Gateway Timeout"),
    Failed("504 Gateway Timeout"),
    TakenThen("408 Request Timeout"),
    TakenThenInternal,
    TakenThenGarbled,
    Denied,
    Refused,
];

/// The items that DAKR has, by how often it has them; and the bodies that it knows.
#[derive(Default)]
struct Sink {
    bodies: HashSet<Vec<u8>>,
    items: HashMap<i64, u32>,
}

impl Sink {
    fn take(&mut self, body: &[u8]) {
        if self.bodies.insert(body.to_vec()) {
            let request = SendNetworkTrafficMetricsRequest::decode(body).expect("protobuf");
            request.items.iter().for_each(|item| *self.items.entry(item.tx_bytes).or_default() += 1);
        }
    }

    fn has(&self, item: i64) -> u32 {
        self.items.get(&item).copied().unwrap_or(0)
    }
}

/// What becomes of a message's sends, its halves' included, in turn; then all is taken. By `<seq>.<part>`.
type Scripts = HashMap<String, Vec<Fate>>;

#[derive(Default)]
struct Dakr {
    sink: Mutex<Sink>,
    scripts: Mutex<Scripts>,
}

impl Dakr {
    /// What the next send of the message that `batch` names comes to.
    fn fate(&self, batch: &str) -> Fate {
        let name = batch.rsplit('/').next().expect("a name");
        let message: Vec<&str> = name.splitn(3, '.').take(2).collect();
        let mut scripts = self.scripts.lock().expect("never poisoned");
        match scripts.get_mut(&message.join(".")) {
            Some(script) if !script.is_empty() => script.remove(0),
            _ => Taken,
        }
    }

    fn answer(&self, request: &Seen) -> Vec<u8> {
        let framing = request.header("content-type").to_owned();
        if is_beat(request) {
            return if framing == "application/proto" { ok(&[]) } else { in_envelope(&framing, &[]) };
        }
        let body = unframed(request);
        let fate = self.fate(request.header("x-netmon-batch"));
        if matches!(fate, Taken | TakenThen(_) | TakenThenReset | TakenThenInternal | TakenThenGarbled) {
            self.sink.lock().expect("never poisoned").take(&body);
        }
        let items = SendNetworkTrafficMetricsRequest::decode(&body[..]).expect("protobuf").items.len() as u8;
        match fate {
            Taken if framing == "application/proto" => ok(&[8, items]),
            Taken => in_envelope(&framing, &[8, items]),
            TooLarge => status("413 Content Too Large"),
            LargerThan => error(&framing, 8, "resource_exhausted", "message size 9 is larger than configured max 8"),
            TakenThen(line) | Failed(line) => status(line),
            TakenThenReset | Reset => Vec::new(),
            TakenThenInternal => error(&framing, 13, "internal", "a database of ours"),
            // The beginning of an answer, in each framing.
            TakenThenGarbled => {
                format!("HTTP/1.1 200 OK\r\nContent-Type: {framing}\r\nContent-Length: 1\r\n\r\n\x08").into_bytes()
            }
            Busy => b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n".to_vec(),
            Denied => status("401 Unauthorized"),
            Refused => status("400 Bad Request"),
        }
    }
}

/// The message of a request, whatever it travels in.
fn unframed(request: &Seen) -> Vec<u8> {
    let (packed, bytes) = match request.header("content-type") {
        "application/proto" => (request.header("content-encoding") == "gzip", &request.body[..]),
        _ => (request.body[0] & 1 != 0, &request.body[5..]),
    };
    let mut message = Vec::new();
    match packed {
        true => drop(GzDecoder::new(bytes).read_to_end(&mut message).expect("gzip")),
        false => message.extend_from_slice(bytes),
    }
    message
}

fn in_envelope(content_type: &str, message: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 0, message.len() as u8];
    body.extend_from_slice(message);
    if content_type.contains("grpc-web") {
        body.extend_from_slice(&[0x80, 0, 0, 0, 16]);
        body.extend_from_slice(b"grpc-status: 0\r\n");
    }
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), &body].concat()
}

fn error(framing: &str, number: u8, code: &str, message: &str) -> Vec<u8> {
    if framing != "application/proto" {
        let status = format!("grpc-status: {number}\r\ngrpc-message: {message}\r\n");
        return format!("HTTP/1.1 200 OK\r\nContent-Type: {framing}\r\n{status}Content-Length: 0\r\n\r\n").into_bytes();
    }
    let body = format!(r#"{{"code":"{code}","message":"{message}"}}"#);
    let head = "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nContent-Length:";
    format!("{head} {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A batch of messages that hold these items.
fn batch_of(seq: u64, messages: &[Vec<i64>]) -> Batch {
    let counts: Vec<u32> = messages.iter().map(|items| items.len() as u32).collect();
    let mut batch = batch(seq, &counts);
    for (message, items) in batch.messages.iter_mut().zip(messages) {
        let mut request = SendNetworkTrafficMetricsRequest::decode(&message.body[..]).expect("our own");
        // What was merged back is sent anew with another time.
        request.items.iter_mut().zip(items).for_each(|(item, id)| (item.tx_bytes, item.rx_bytes) = (*id, seq as i64));
        message.body = request.encode_to_vec();
    }
    batch
}

/// A push over real sockets whose waits take no time.
struct Steps {
    push: Push<Http>,
    clock_ns: Arc<AtomicU64>,
    settled: Receiver<Settled>,
    dakr: Arc<Dakr>,
    seq: u64,
}

impl Steps {
    fn new(protocol: DakrProtocol) -> Steps {
        let dakr = Arc::<Dakr>::default();
        let answers = dakr.clone();
        let (url, _) = serve(move |request| answers.answer(request));
        // Ahead of the real clock, by which requests are given up.
        let clock_ns = Arc::new(AtomicU64::new(clock::now().mono_ns + 86_400 * SECOND));
        let (report, settled) = unbounded();
        let http = Http::new(&url, None, None);
        let settings = Settings {
            node_name: "node-a".to_owned(),
            cluster_id: String::new(),
            boot: "b".to_owned(),
            protocol,
            flush_interval_ns: 60 * SECOND,
            started_ns: 0,
        };
        let (flight, time) = (http.flight(), clock_ns.clone());
        let now = move || clock::Now { mono_ns: time.load(SeqCst), wall_ns: 0 };
        let client = Client::new(http, Token::new("t", None), now);
        let push = Push::new(client, flight, settings, Arc::default(), Arc::default(), move |news| {
            let _ = report.send(news);
        });
        Steps { push, clock_ns, settled, dakr, seq: 0 }
    }

    /// Sends messages with their scripts, and what comes back of them once more, until DAKR has all of it.
    fn deliver(&mut self, messages: Vec<(Vec<i64>, Vec<Fate>)>) {
        let (mut messages, mut scripts): (Vec<Vec<i64>>, Vec<Vec<Fate>>) = messages.into_iter().unzip();
        let said = scripts.clone();
        while !messages.is_empty() {
            self.seq += 1;
            let scripts = std::mem::take(&mut scripts).into_iter().enumerate();
            let named = scripts.map(|(part, script)| (format!("{}.{part}", self.seq), script));
            *self.dakr.scripts.lock().expect("never poisoned") = named.collect();
            self.push.accept(Parcel::Batch(batch_of(self.seq, &messages), None));
            let numbered: Vec<i64> = messages.concat();
            messages = Vec::new();
            for (first, count, verdict) in self.until_settled() {
                let items = &numbered[first as usize..(first + count) as usize];
                let sink = self.dakr.sink.lock().expect("never poisoned");
                let times = match verdict {
                    Verdict::Acknowledged => 1,
                    Verdict::Merge => 0,
                    other => panic!("{other:?} for {said:?}"),
                };
                for item in items {
                    assert_eq!(sink.has(*item), times, "item {item}, {verdict:?}, of {said:?}");
                }
                if verdict == Verdict::Merge {
                    messages.push(items.to_vec());
                }
            }
        }
    }

    fn until_settled(&mut self) -> Vec<(u32, u32, Verdict)> {
        let mut found = Vec::new();
        loop {
            let again_ns = self.push.step();
            for news in self.settled.try_iter() {
                match news {
                    Settled::Items { first_item, items, verdict, .. } => found.push((first_item, items, verdict)),
                    Settled::Batch(_) => return found,
                    _ => {}
                }
            }
            self.clock_ns.fetch_max(again_ns, SeqCst);
        }
    }
}

/// All scripts with their items: every triple of the kinds, and every pair of all.
fn scripts() -> Vec<Vec<Fate>> {
    let mut scripts = Vec::new();
    for a in KINDS {
        for b in KINDS {
            scripts.extend(KINDS.iter().map(|c| vec![a, b, *c]));
        }
    }
    let all: Vec<Fate> = KINDS.into_iter().chain(MORE).collect();
    for (at, a) in all.iter().enumerate() {
        let others = all.iter().enumerate().filter(|(other, _)| at.max(*other) >= KINDS.len());
        scripts.extend(others.map(|(_, b)| vec![*a, *b]));
    }
    scripts
}

fn f1_every_mix(protocol: DakrProtocol) {
    let mut steps = Steps::new(protocol);
    let (mut item, mut sent) = (0, 0i64);
    let mut scripts = scripts();
    // Neighbours of one kind would only make each other wait.
    let count = scripts.len();
    (0..count).for_each(|at| scripts.swap(at, at * 7919 % count));
    for chunk in scripts.chunks(16) {
        let messages = chunk.iter().map(|script| {
            item += 4;
            ((item - 3..=item).collect(), script.clone())
        });
        steps.deliver(messages.collect());
        sent += chunk.len() as i64 * 4;
    }
    let sink = steps.dakr.sink.lock().expect("never poisoned");
    assert_eq!(sink.items.len() as i64, sent, "nothing is missing");
    assert!(sink.items.values().all(|times| *times == 1), "nothing is there twice");
}

#[test]
fn f1_every_mix_of_outcomes_is_delivered_once_in_connect_framing() {
    f1_every_mix(DakrProtocol::Connect);
}

#[test]
fn f1_every_mix_of_outcomes_is_delivered_once_in_grpc_web_framing() {
    f1_every_mix(DakrProtocol::GrpcWeb);
}

#[test]
fn f1_every_mix_of_outcomes_is_delivered_once_in_grpc_framing() {
    f1_every_mix(DakrProtocol::Grpc);
}

#[test]
fn f1_f2_at_the_stop_halves_are_delivered_and_what_is_in_doubt_stays_whole() {
    let dakr = Arc::<Dakr>::default();
    let answers = dakr.clone();
    let (url, _sees) = serve(move |request| answers.answer(request));
    let mut pushing = push(&url, Token::new("t", None));
    let mut scripts: Vec<Vec<Fate>> = Vec::new();
    for doubt in [TakenThen("502 Bad Gateway"), Failed("502 Bad Gateway"), TakenThenReset, Reset, TakenThenGarbled] {
        for large in [TooLarge, LargerThan] {
            // Whatever of this is before the stop: by then it is in doubt.
            scripts.push(vec![doubt, large, large, large, large, large, large]);
        }
    }
    let doubtful = scripts.len();
    let messages: Vec<Vec<i64>> = (0..doubtful as i64).map(|part| (part * 8 + 1..=part * 8 + 8).collect()).collect();
    let named = scripts.into_iter().enumerate().map(|(part, script)| (format!("1.{part}"), script));
    *dakr.scripts.lock().expect("never poisoned") = named.collect();
    give(&pushing, batch_of(1, &messages));
    clock::sleep_ns(SECOND / 2);
    let now = clock::now();
    pushing.handle.stop(now, now.mono_ns + 15 * SECOND);
    let (settled, _) = until_batch(&pushing.settled);
    assert_eq!(settled.len(), doubtful, "none was cut");
    let unknown = Verdict::Drop(netmon::stats::Lost::ShutdownAmbiguous);
    assert!(settled.iter().all(|settled| settled.2 == unknown), "{settled:?}");
    // The last batch: 200 items, and a limit somewhere below.
    let items: Vec<i64> = (1_000..1_200).collect();
    let refused = vec![TooLarge, LargerThan, TooLarge, TooLarge, LargerThan];
    *dakr.scripts.lock().expect("never poisoned") = HashMap::from([("2.0".to_owned(), refused)]);
    give(&pushing, batch_of(2, std::slice::from_ref(&items)));
    let (settled, _) = until_batch(&pushing.settled);
    assert!(settled.iter().all(|settled| settled.2 == Verdict::Acknowledged), "{settled:?}");
    pushing.batches = None;
    pushing.thread.join().expect("no panic");
    let sink = dakr.sink.lock().expect("never poisoned");
    assert!(items.iter().all(|item| sink.has(*item) == 1));
    assert!(sink.items.values().all(|times| *times == 1), "nothing is there twice");
}
