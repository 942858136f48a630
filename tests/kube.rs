//! The Kubernetes client against a scripted API server: what it asks, how often, what it makes of the answers.

#[path = "support/counting.rs"]
mod counting;
#[path = "support/fake_kube/mod.rs"]
mod fake_kube;

#[path = "kube/bounded.rs"]
mod bounded;
#[path = "kube/credentials.rs"]
mod credentials;
#[path = "kube/harness.rs"]
mod harness;
#[path = "kube/locate.rs"]
mod locate;
#[path = "kube/memory.rs"]
mod memory;
#[path = "kube/publish.rs"]
mod publish;
#[path = "kube/real.rs"]
mod real;
#[path = "kube/tls.rs"]
mod tls;
#[path = "kube/trouble.rs"]
mod trouble;
#[path = "kube/watching.rs"]
mod watching;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;
