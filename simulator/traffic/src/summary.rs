//! What a stretch of traffic comes to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::histogram::Histogram;
use crate::outcome::Failure;
use crate::record::{End, Entry, Run};
use crate::second::{Second, Statuses};

/// Failures shown in full: enough to see what went wrong, few enough for a screen.
const SHOWN: usize = 10;
/// Versions, pods and kinds of failure told apart; the rest are counted together.
const KINDS: usize = 100;

/// Sums over seconds and failures; takes the same memory however many there are.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The run that the last of it belongs to.
    pub run: Option<Run>,
    /// Its orderly end, where it came.
    pub end: Option<End>,
    /// Requests that ended.
    pub requests: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Seconds in which requests ended.
    pub seconds: u64,
    /// Answers by class of status.
    pub statuses: Statuses,
    /// How long answers took.
    pub latency: Histogram,
    /// The first and the last second.
    pub span: Option<(i64, i64)>,
    /// The longest stretch from a failure to the next success without any success between, in
    /// milliseconds.
    pub longest_outage_ms: u64,
    /// When the first request failed.
    pub first_failure: Option<Timestamp>,
    /// When the last one did.
    pub last_failure: Option<Timestamp>,
    /// The first failures.
    pub failures: Vec<Failure>,
    /// The last second.
    pub last_second: Option<Second>,
    versions: BTreeMap<Option<Arc<str>>, (u64, u64)>,
    pods: BTreeMap<Option<Arc<str>>, (u64, u64)>,
    causes: BTreeMap<String, (u64, String)>,
    users: BTreeSet<u32>,
    /// The last second in which a request succeeded.
    last_success: Option<i64>,
}

/// What a version, or a pod, answered.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionShare {
    /// Its name; `None` for answers that do not say who gave them.
    pub name: Option<Arc<str>>,
    /// Requests that it answered.
    pub requests: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Its share of all answers, 0 to 1.
    pub share: f64,
}

/// Failures that read the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CauseCount {
    /// Status or cause.
    pub label: String,
    /// How many.
    pub count: u64,
    /// The words of the first of them.
    pub words: String,
}

impl Summary {
    /// Takes in an entry of the record.
    pub fn add(&mut self, entry: &Entry) {
        match entry {
            Entry::Run(run) => self.begin(run),
            Entry::Second(second) => self.add_second(second),
            Entry::Failure(failure) => self.add_failure(failure),
            Entry::End(end) => self.end = Some(*end),
        }
    }

    fn begin(&mut self, run: &Run) {
        if self.run.as_ref().is_none_or(|before| before.run != run.run) {
            self.end = None;
        }
        self.run = Some(run.clone());
    }

    fn add_second(&mut self, second: &Second) {
        self.requests += second.requests;
        self.failed += second.failed;
        self.seconds += 1;
        self.statuses.merge(second.statuses);
        self.latency.merge(&second.latency);
        let first = self.span.map_or(second.at, |(first, _)| first);
        self.span = Some((first, second.at));
        self.longest_outage_ms = self.longest_outage_ms.max(second.outage_ms);
        if second.failed < second.requests {
            self.last_success = Some(second.at);
        }
        for share in &second.shares {
            let counts = (share.requests, share.failed);
            count(&mut self.versions, share.backend.version.as_ref(), counts);
            count(&mut self.pods, share.backend.pod.as_ref(), counts);
        }
        self.last_second = Some(second.clone());
    }

    fn add_failure(&mut self, failure: &Failure) {
        self.first_failure.get_or_insert(failure.at);
        self.last_failure = Some(failure.at);
        self.users.insert(failure.user);
        let label = failure.label();
        if self.causes.len() < KINDS || self.causes.contains_key(&label) {
            let cause = self.causes.entry(label).or_default();
            cause.0 += 1;
            if cause.1.is_empty() {
                cause.1.clone_from(&failure.words);
            }
        }
        if self.failures.len() < SHOWN {
            self.failures.push(failure.clone());
        }
    }

    /// The share of requests that succeeded, 0 to 1; `None` without requests.
    #[must_use]
    pub fn availability(&self) -> Option<f64> {
        ratio(self.requests.saturating_sub(self.failed), self.requests)
    }

    /// Requests per second over the whole span.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        let (first, last) = self.span?;
        let seconds = u64::try_from(last - first + 1).ok()?;
        ratio(self.requests, seconds)
    }

    /// What each version answered, the largest share first.
    #[must_use]
    pub fn versions(&self) -> Vec<VersionShare> {
        shares(&self.versions)
    }

    /// What each pod answered, the largest share first.
    #[must_use]
    pub fn pods(&self) -> Vec<VersionShare> {
        shares(&self.pods)
    }

    /// Kinds of failure, the most frequent first.
    #[must_use]
    pub fn causes(&self) -> Vec<CauseCount> {
        let causes = self.causes.iter();
        let mut causes: Vec<_> = causes
            .map(|(label, (count, words))| CauseCount {
                label: label.clone(),
                count: *count,
                words: words.clone(),
            })
            .collect();
        causes.sort_by_key(|cause| std::cmp::Reverse(cause.count));
        causes
    }

    /// How many users saw a failure.
    #[must_use]
    pub fn users_affected(&self) -> usize {
        self.users.len()
    }

    /// From the first failure to the last, in milliseconds; `None` without failures.
    #[must_use]
    pub fn recovery_ms(&self) -> Option<u64> {
        let (first, last) = (self.first_failure?, self.last_failure?);
        u64::try_from(last.duration_since(first).as_millis()).ok()
    }

    /// True where a request succeeded after the last failure, or none failed.
    #[must_use]
    pub fn recovered(&self) -> bool {
        match (self.last_failure, self.last_success) {
            (None, _) => true,
            (Some(failure), Some(success)) => success > failure.as_second(),
            (Some(_), None) => false,
        }
    }
}

fn count(
    counts: &mut BTreeMap<Option<Arc<str>>, (u64, u64)>,
    name: Option<&Arc<str>>,
    (requests, failed): (u64, u64),
) {
    let name = name.filter(|_| counts.len() < KINDS || counts.contains_key(&name.cloned()));
    let slot = counts.entry(name.cloned()).or_default();
    slot.0 += requests;
    slot.1 += failed;
}

fn shares(counts: &BTreeMap<Option<Arc<str>>, (u64, u64)>) -> Vec<VersionShare> {
    let total = counts.values().map(|(requests, _)| requests).sum();
    let mut shares: Vec<_> = counts
        .iter()
        .map(|(name, (requests, failed))| VersionShare {
            name: name.clone(),
            requests: *requests,
            failed: *failed,
            share: ratio(*requests, total).unwrap_or(0.0),
        })
        .collect();
    shares.sort_by_key(|share| std::cmp::Reverse(share.requests));
    shares
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
