//! Pods that wait for a node.
//!
//! A pod that cannot be placed waits until something changes that might help it, and at least
//! for its back-off: 1 s after the first attempt, doubled with each, 10 s at most.
//! <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-scheduling/scheduler_queues.md>

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use lab_context::Context;
use tokio::time::Instant;

use crate::PodInfo;

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// Even if nothing seems to have changed, try again: a safety net against a change that was
/// not recognised as helpful. Kubernetes' five minutes.
const LONGEST_PARKING: Duration = Duration::from_secs(300);

/// Waiting pods, by uid.
#[derive(Debug)]
pub(crate) struct Queue {
    context: Context,
    pods: HashMap<Arc<str>, Waiting>,
    /// The pods to try now, the most important first, then the oldest.
    active: BTreeSet<(Reverse<i32>, u64, Arc<str>)>,
    /// When each parked pod becomes active by itself.
    timers: BTreeSet<(Instant, Arc<str>)>,
    /// The parked pods that no change has helped yet, so that a change costs nothing for those
    /// that only back off. `sensitive` has those that look at other pods, `asleep` the others.
    asleep: HashSet<Arc<str>>,
    sensitive: HashSet<Arc<str>>,
    arrivals: u64,
}

/// A change that may give a parked pod its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Help {
    /// A node came or changed, or a pod gave up its room: may help any pod.
    Room,
    /// A pod was placed: may help pods that look at other pods.
    Neighbour,
}

#[derive(Debug)]
struct Waiting {
    pod: Arc<PodInfo>,
    arrival: u64,
    attempts: u32,
    stage: Stage,
    /// The reason that the pod's condition already shows.
    shown: Option<String>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// In `active`.
    Active,
    /// Taken out by `next`: being decided on, or being bound.
    Taken,
    /// In `timers` until `due`; help moves that forward to `backed_off`.
    Parked { backed_off: Instant, due: Instant },
}

impl Queue {
    pub(crate) fn new(context: Context) -> Self {
        Self {
            context,
            pods: HashMap::new(),
            active: BTreeSet::new(),
            timers: BTreeSet::new(),
            asleep: HashSet::new(),
            sensitive: HashSet::new(),
            arrivals: 0,
        }
    }

    /// Takes in a new pod, or a change of a waiting one, which is tried again at once.
    pub(crate) fn add(&mut self, pod: PodInfo) {
        let uid = Arc::clone(&pod.uid);
        if let Some(waiting) = self.pods.get_mut(&uid) {
            if *waiting.pod != pod {
                self.unlist(&uid);
                if let Some(waiting) = self.pods.get_mut(&uid) {
                    waiting.pod = Arc::new(pod);
                }
                self.activate(&uid);
            }
            return;
        }
        self.arrivals += 1;
        let waiting = Waiting {
            pod: Arc::new(pod),
            arrival: self.arrivals,
            attempts: 0,
            stage: Stage::Taken,
            shown: None,
        };
        self.pods.insert(Arc::clone(&uid), waiting);
        self.activate(&uid);
    }

    /// Forgets a pod: it is placed, or gone.
    pub(crate) fn remove(&mut self, uid: &str) {
        self.unlist(uid);
        self.pods.remove(uid);
    }

    /// The next pod to try; `None` while all are parked.
    pub(crate) fn next(&mut self) -> Option<Arc<PodInfo>> {
        let (_, _, uid) = self.active.pop_first()?;
        let waiting = self.pods.get_mut(&uid)?;
        waiting.stage = Stage::Taken;
        waiting.attempts = waiting.attempts.saturating_add(1);
        Some(Arc::clone(&waiting.pod))
    }

    /// Puts a pod back that fits nowhere: a change has to come first.
    pub(crate) fn park(&mut self, uid: &str, now: Instant) {
        self.put_back(uid, now, LONGEST_PARKING);
    }

    /// Puts a pod back that failed for another reason than its own: only time has to pass.
    pub(crate) fn retry(&mut self, uid: &str, now: Instant) {
        self.put_back(uid, now, Duration::ZERO);
    }

    /// Something changed: each pod that it may help is tried again once its back-off is over.
    pub(crate) fn wake(&mut self, help: Help) {
        let mut helped = std::mem::take(&mut self.sensitive);
        match help {
            Help::Room => helped.extend(self.asleep.drain()),
            Help::Neighbour => {}
        }
        for uid in helped {
            if let Some(waiting) = self.pods.get_mut(&uid)
                && let Stage::Parked { backed_off, due } = &mut waiting.stage
            {
                self.timers.remove(&(*due, Arc::clone(&uid)));
                *due = *backed_off;
                self.timers.insert((*due, uid));
            }
        }
    }

    /// Moves the pods whose time has come to the active ones.
    pub(crate) fn release(&mut self, now: Instant) {
        while let Some((due, uid)) = self.timers.pop_first() {
            if due > now {
                self.timers.insert((due, uid));
                return;
            }
            self.rouse(&uid);
            self.activate(&uid);
        }
    }

    /// When [`Queue::release`] next has something to do.
    pub(crate) fn next_release(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// True where [`Queue::next`] has a pod to give.
    pub(crate) fn has_active(&self) -> bool {
        !self.active.is_empty()
    }

    /// True where the pod's condition does not yet show `reason`.
    pub(crate) fn is_news(&self, uid: &str, reason: &str) -> bool {
        let waiting = self.pods.get(uid);
        waiting.is_some_and(|waiting| waiting.shown.as_deref() != Some(reason))
    }

    /// Remembers what the pod's condition shows.
    pub(crate) fn set_shown(&mut self, uid: &str, reason: String) {
        if let Some(waiting) = self.pods.get_mut(uid) {
            waiting.shown = Some(reason);
        }
    }

    /// The uids of all waiting pods.
    pub(crate) fn uids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.pods.keys()
    }

    fn activate(&mut self, uid: &Arc<str>) {
        if let Some(waiting) = self.pods.get_mut(uid) {
            waiting.stage = Stage::Active;
            self.active.insert(waiting.rank());
        }
    }

    fn unlist(&mut self, uid: &str) {
        let Some(waiting) = self.pods.get(uid) else {
            return;
        };
        match waiting.stage {
            Stage::Active => {
                self.active.remove(&waiting.rank());
            }
            Stage::Taken => {}
            Stage::Parked { due, .. } => {
                self.timers.remove(&(due, Arc::clone(&waiting.pod.uid)));
                self.rouse(uid);
            }
        }
    }

    fn rouse(&mut self, uid: &str) {
        self.asleep.remove(uid);
        self.sensitive.remove(uid);
    }

    fn put_back(&mut self, uid: &str, now: Instant, parking: Duration) {
        let Some(waiting) = self.pods.get_mut(uid) else {
            return;
        };
        let doublings = waiting.attempts.saturating_sub(1).min(10);
        let backoff = (FIRST_BACKOFF * 2_u32.pow(doublings)).min(LONGEST_BACKOFF);
        let backed_off = now + self.context.scale(backoff);
        let due = backed_off.max(now + self.context.scale(parking));
        waiting.stage = Stage::Parked { backed_off, due };
        let uid = Arc::clone(&waiting.pod.uid);
        self.timers.insert((due, Arc::clone(&uid)));
        if due > backed_off {
            let sensitive = waiting.pod.template.looks_at_other_pods();
            let sleepers = if sensitive {
                &mut self.sensitive
            } else {
                &mut self.asleep
            };
            sleepers.insert(uid);
        }
    }
}

impl Waiting {
    fn rank(&self) -> (Reverse<i32>, u64, Arc<str>) {
        let priority = Reverse(self.pod.template.priority);
        (priority, self.arrival, Arc::clone(&self.pod.uid))
    }
}
