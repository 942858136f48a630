//! The thread `kube` with short waits, and questions about what it published.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use netmon::clock::{self, MS, SECOND};
use netmon::flow::Addr;
use netmon::health::{ComponentState, Health, Status};
use netmon::kube::client::Timeouts;
use netmon::kube::endpoint::{Auth, Endpoint};
use netmon::kube::watch::WatchPace;
use netmon::kube::{self, Kube, Outlets, Settings};
use netmon::owner::pods::Published;
use netmon::owner::{Pod, PodIndex};
use netmon::stats::Stats;

/// All waits of the specification, a hundredth as long.
pub fn pace() -> WatchPace {
    let full = WatchPace::default();
    WatchPace {
        start_delay_ns: full.start_delay_ns / 100,
        backoff_ns: full.backoff_ns / 100,
        backoff_max_ns: full.backoff_max_ns / 100,
        healthy_ns: full.healthy_ns / 100,
        retry_after_max_ns: full.retry_after_max_ns / 100,
        same_version_ns: full.same_version_ns / 100,
        silence_ns: full.silence_ns / 100,
        short_watch_ns: full.short_watch_ns / 100,
        watch_seconds: full.watch_seconds,
    }
}

/// The silences a tenth as long, so that loaded machines do not trip over them.
pub fn timeouts() -> Timeouts {
    Timeouts {
        list_read: Duration::from_millis(1500),
        watch_read: Duration::from_millis(1500),
        answer: Duration::from_secs(3),
        ..Timeouts::default()
    }
}

pub fn endpoint(url: &str) -> Endpoint {
    Endpoint {
        url: url.to_owned(),
        origin: "test".to_owned(),
        ca: None,
        insecure: false,
        client: None,
        auth: Auth::Anonymous,
        proxy: None,
    }
}

pub struct Running {
    pub published: Arc<Published>,
    pub health: Arc<Health>,
    pub stats: Arc<Stats>,
    pub woken: Arc<AtomicUsize>,
    kube: Option<Kube>,
}

impl Running {
    pub fn start(url: &str) -> Running {
        Running::start_with(endpoint(url), pace(), timeouts())
    }

    pub fn start_with(endpoint: Endpoint, pace: WatchPace, timeouts: Timeouts) -> Running {
        Running::of(Settings { endpoint, node_name: "node-1".to_owned(), pace, timeouts })
    }

    pub fn of(settings: Settings) -> Running {
        let published = Arc::new(Published::default());
        let health = Arc::new(Health::default());
        let stats = Arc::new(Stats::default());
        let woken = Arc::new(AtomicUsize::new(0));
        let counting = woken.clone();
        let outlets = Outlets {
            published: published.clone(),
            health: health.clone(),
            stats: stats.clone(),
            wake: Box::new(move || {
                counting.fetch_add(1, Ordering::Relaxed);
            }),
        };
        let kube = kube::spawn(settings, outlets).expect("a thread");
        Running { published, health, stats, woken, kube: Some(kube) }
    }

    pub fn index(&self) -> Arc<PodIndex> {
        self.published.get()
    }

    pub fn owner(&self, ip: &str) -> Option<Arc<Pod>> {
        let addr = Addr::from(ip.parse::<std::net::IpAddr>().expect("an address"));
        self.index().owner_of(addr, clock::now().mono_ns).cloned()
    }

    /// The name of the pod that has the address now.
    pub fn name(&self, ip: &str) -> Option<String> {
        self.owner(ip).map(|pod| pod.name.to_string())
    }

    pub fn state(&self) -> ComponentState {
        self.health.components().into_iter().find(|c| c.name == "pod_cache").expect("set at the start")
    }

    /// Waits until the component says this, within ten seconds.
    pub fn wait_for_state(&self, status: Status, words: &str) {
        let end = clock::now().mono_ns + 10 * SECOND;
        let mut state = self.state();
        while state.status != status || !state.message.contains(words) {
            assert!(clock::now().mono_ns < end, "waited ten seconds for {status:?} with {words:?}; it is {state:?}");
            clock::sleep_ns(MS);
            state = self.state();
        }
    }

    /// Stops it and says how long that took.
    pub fn stop(mut self) -> Duration {
        let from = clock::now().mono_ns;
        let kube = self.kube.take().expect("stopped once");
        assert!(kube.stop(Duration::from_secs(1)), "the thread ends within a second");
        Duration::from_nanos(clock::now().mono_ns - from)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(kube) = self.kube.take() {
            kube.stop(Duration::from_secs(1));
        }
    }
}

/// Waits until something is so; fails after ten seconds.
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let end = clock::now().mono_ns + 10 * SECOND;
    while !is_so() {
        assert!(clock::now().mono_ns < end, "waited ten seconds for: {what}");
        clock::sleep_ns(2 * MS);
    }
}
