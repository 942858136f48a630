//! The pods of this node, as a [`Store`]: kept in the [`Index`], published as a
//! [`PodIndex`](crate::owner::PodIndex).

use std::sync::Arc;

use super::decode::{Object, PodView};
use super::index::{Index, PODS_MAX};
use super::reflector::Store;
use crate::clock::Now;
use crate::owner::pods::Published;
use crate::stats::KubeSkip;

pub struct PodStore {
    index: Index,
    /// Of the list that is being read.
    listed: Vec<PodView>,
    published: Arc<Published>,
    wake: Box<dyn Fn() + Send>,
}

impl PodStore {
    pub fn new(published: Arc<Published>, wake: Box<dyn Fn() + Send>) -> PodStore {
        PodStore { index: Index::default(), listed: Vec::new(), published, wake }
    }
}

impl Store for PodStore {
    fn begin(&mut self) {
        self.listed.clear();
    }

    fn listed(&mut self, object: Object) -> Result<(), KubeSkip> {
        let pod = object.into_pod().ok_or(KubeSkip::NoPod)?;
        // One that has finished, nobody knows when.
        if pod.terminal && pod.ended_ns.is_none() {
            return Ok(());
        }
        if self.listed.len() >= PODS_MAX {
            return Err(KubeSkip::TooMany);
        }
        self.listed.push(pod);
        Ok(())
    }

    fn complete(&mut self, now: Now) -> u64 {
        self.index.look_at_clock(now);
        self.listed.retain(|pod| !self.index.is_history(now, pod));
        let left_out = self.index.replace(now, std::mem::take(&mut self.listed));
        self.index.heard(now);
        left_out
    }

    fn changed(&mut self, now: Now, object: Object) -> Result<(), KubeSkip> {
        let pod = object.into_pod().ok_or(KubeSkip::NoPod)?;
        let is_kept = self.index.upsert(now, pod);
        self.index.heard(now);
        if is_kept { Ok(()) } else { Err(KubeSkip::TooMany) }
    }

    fn gone(&mut self, now: Now, object: Object) -> Result<(), KubeSkip> {
        let pod = object.into_pod().ok_or(KubeSkip::NoPod)?;
        self.index.finish(now, pod);
        self.index.heard(now);
        Ok(())
    }

    fn forget(&mut self, now: Now) {
        self.index.forget(now);
    }

    fn living(&self) -> usize {
        self.index.living()
    }

    fn publish(&mut self) {
        if let Some(index) = self.index.snapshot() {
            self.published.publish(index);
            (self.wake)();
        }
    }
}
