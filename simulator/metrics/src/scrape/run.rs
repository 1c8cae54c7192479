//! All targets in their rhythm.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use lab_context::Context;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::discovery::{self, Change, World};
use super::fetch::fetch;
use super::targets::Pace;
use super::{FixedTarget, Target};
use crate::exposition::{Exposition, Metadata};
use crate::labels::{Labels, NAME};
use crate::store::{Rejected, Sample, Store, stale};

/// Scrapes at a time: enough for a class' hundred pods at one interval of a second, and few
/// enough that a room of dead targets does not take the process' sockets.
const AT_A_TIME: usize = 16;
/// A new target is asked within this time, so that a student sees her pod soon; from then on in
/// its own rhythm.
const FIRST: Duration = Duration::from_millis(500);
/// A target that never answered is asked again after this time, for it may just be starting …
const AGAIN: Duration = Duration::from_secs(1);
/// … but no more often than this: then it has the rhythm of the others.
const EARLY_TRIES: u8 = 20;
/// Metrics of which the meaning is kept.
const MOST_METADATA: usize = 4000;
/// Pause for further changes before the targets are worked out anew: pods come in groups.
const SETTLE: Duration = Duration::from_millis(100);

/// How a target did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Unknown,
    Up,
    Down,
}

impl Health {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// A target as it is told.
#[derive(Clone, Debug)]
pub(crate) struct TargetView {
    pub(crate) target: Target,
    pub(crate) health: Health,
    pub(crate) last_error: String,
    pub(crate) last_scrape: Option<Timestamp>,
    pub(crate) took: Duration,
    pub(crate) samples: usize,
}

/// What the scraper shows of itself.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    targets: RwLock<BTreeMap<String, TargetView>>,
    metadata: RwLock<HashMap<String, Metadata>>,
}

impl Shown {
    pub(crate) fn targets(&self) -> Vec<TargetView> {
        let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        targets.values().cloned().collect()
    }

    pub(crate) fn metadata(&self) -> Vec<Metadata> {
        let metadata = self.metadata.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = metadata.values().cloned().collect();
        all.sort_by(|one, other| one.metric.cmp(&other.metric));
        all
    }

    fn show(&self, key: &str, view: TargetView) {
        let mut targets = self.targets.write().unwrap_or_else(PoisonError::into_inner);
        targets.insert(key.to_owned(), view);
    }

    fn forget(&self, key: &str) {
        let mut targets = self.targets.write().unwrap_or_else(PoisonError::into_inner);
        targets.remove(key);
    }

    fn learn(&self, metadata: Vec<Metadata>) {
        let mut known = self
            .metadata
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for one in metadata {
            if known.len() < MOST_METADATA || known.contains_key(&one.metric) {
                known.insert(one.metric.clone(), one);
            }
        }
    }
}

/// What is known of a target while it is scraped.
struct Known {
    target: Target,
    due: Instant,
    busy: bool,
    /// Early tries that are left; none once it has answered.
    early: u8,
    /// Series of the last scrape without times of their own: what is missing next time has ended.
    seen: HashSet<Labels>,
}

/// The answer of one scrape.
struct Done {
    key: String,
    at: Timestamp,
    took: Duration,
    answer: Result<Exposition, String>,
}

/// Scrapes until it is stopped.
pub(crate) struct Scraper {
    store: Arc<Store>,
    context: Context,
    shown: Arc<Shown>,
    pace: Pace,
    fixed: Vec<FixedTarget>,
    known: HashMap<String, Known>,
    running: JoinSet<Done>,
}

impl Scraper {
    pub(crate) fn new(
        store: Arc<Store>,
        context: Context,
        shown: Arc<Shown>,
        fixed: Vec<FixedTarget>,
    ) -> Self {
        Self {
            store,
            pace: Pace::of(&context),
            context,
            shown,
            fixed,
            known: HashMap::new(),
            running: JoinSet::new(),
        }
    }

    /// Runs until `stop`. Without a client, only the fixed targets are scraped.
    pub(crate) async fn run(mut self, client: Option<Client>, stop: CancellationToken) {
        let mut world = World::default();
        // Kept open where nothing is watched.
        let (_open, nothing) = mpsc::channel(1);
        let mut changes = match &client {
            Some(client) => discovery::start(client, &stop),
            None => nothing,
        };
        let look = self
            .context
            .scale(super::INTERVAL)
            .max(super::SHORTEST_INTERVAL);
        let mut look_at = Instant::now() + look;
        self.follow(&world);
        loop {
            let next = self.next_due().unwrap_or(look_at).min(look_at);
            tokio::select! {
                () = stop.cancelled() => return,
                Some(change) = changes.recv() => {
                    take(&mut world, change, &mut changes).await;
                    if let Some(client) = client.as_ref().filter(|_| world.needs_services()) {
                        world.look_at_services(client).await;
                    }
                    self.follow(&world);
                }
                Some(done) = self.running.join_next() => {
                    if let Ok(done) = done {
                        self.record(done);
                    }
                }
                () = tokio::time::sleep_until(next) => {
                    if Instant::now() >= look_at {
                        look_at = Instant::now() + look;
                        if let Some(client) = client.as_ref().filter(|_| world.needs_services()) {
                            world.look_at_services(client).await;
                            self.follow(&world);
                        }
                    }
                    self.begin();
                }
            }
        }
    }

    /// The moment of the next scrape; none while as many run as may.
    fn next_due(&self) -> Option<Instant> {
        if self.running.len() >= AT_A_TIME {
            return None;
        }
        let waiting = self.known.values().filter(|known| !known.busy);
        waiting.map(|known| known.due).min()
    }

    /// Takes up new targets and lets go of those that are no longer there.
    fn follow(&mut self, world: &World) {
        let fixed = self.fixed.iter().map(|fixed| {
            let instance = match &fixed.source {
                super::Source::Http { address, .. } => address.to_string(),
                super::Source::Own(_) | super::Source::Refused(_) => fixed.job.clone(),
            };
            let labels = Labels::new([("job", fixed.job.clone()), ("instance", instance)]);
            let target = self.pace.target(&fixed.job, fixed.source.clone(), labels);
            match fixed.interval {
                Some(interval) => self.pace.every(target, interval),
                None => target,
            }
        });
        let wanted: HashMap<String, Target> = fixed
            .chain(world.targets(self.pace))
            .map(|target| (key(&target), target))
            .collect();
        let gone: Vec<_> = self
            .known
            .keys()
            .filter(|key| !wanted.contains_key(*key))
            .cloned()
            .collect();
        for key in gone {
            self.end(&key);
        }
        for (key, target) in wanted {
            match self.known.get_mut(&key) {
                Some(known) => known.target = target,
                None => {
                    let due = Instant::now() + FIRST.mul_f64(self.context.random());
                    let view = TargetView {
                        target: target.clone(),
                        health: Health::Unknown,
                        last_error: String::new(),
                        last_scrape: None,
                        took: Duration::ZERO,
                        samples: 0,
                    };
                    self.shown.show(&key, view);
                    let known = Known {
                        target,
                        due,
                        busy: false,
                        early: EARLY_TRIES,
                        seen: HashSet::new(),
                    };
                    self.known.insert(key, known);
                }
            }
        }
    }

    fn begin(&mut self) {
        let now = Instant::now();
        for (key, known) in &mut self.known {
            if self.running.len() >= AT_A_TIME {
                return;
            }
            if known.busy || known.due > now {
                continue;
            }
            known.busy = true;
            // The rhythm is kept; what was missed is not made up for.
            known.due += known.target.interval;
            if known.due <= now {
                known.due = now + known.target.interval;
            }
            let (key, target) = (key.clone(), known.target.clone());
            let at = self.context.now();
            self.running.spawn(async move {
                let answer = fetch(&target).await;
                Done {
                    key,
                    at,
                    took: now.elapsed(),
                    answer,
                }
            });
        }
    }

    fn record(&mut self, done: Done) {
        let Done {
            key,
            at,
            took,
            answer,
        } = done;
        let Some(known) = self.known.get_mut(&key) else {
            return;
        };
        known.busy = false;
        let ms = at.as_millisecond();
        let (mut seen, mut samples) = (HashSet::new(), 0);
        let mut problem = String::new();
        match answer {
            Ok(exposition) => {
                samples = exposition.samples.len();
                self.shown.learn(exposition.metadata);
                for exposed in exposition.samples {
                    let labels = merged(&known.target, exposed.labels);
                    let own = exposed.at.filter(|_| known.target.honor_timestamps);
                    let sample = Sample {
                        at: own.unwrap_or(ms),
                        value: exposed.value,
                    };
                    let kept = self.store.append(&labels, sample);
                    if kept == Err(Rejected::TooManySeries) && problem.is_empty() {
                        problem = Rejected::TooManySeries.to_string();
                    }
                    // What gives its own times also ends on its own.
                    if own.is_none() {
                        seen.insert(labels);
                    }
                }
            }
            Err(error) => problem = error,
        }
        let up = samples > 0 || problem.is_empty();
        if up {
            known.early = 0;
        } else if let Some(left) = known.early.checked_sub(1) {
            known.early = left;
            known.due = known.due.min(Instant::now() + AGAIN);
        }
        for ended in known.seen.difference(&seen) {
            let sample = Sample {
                at: ms,
                value: stale(),
            };
            let _ = self.store.append(ended, sample);
        }
        known.seen = seen;
        #[expect(clippy::cast_precision_loss, reason = "samples are few")]
        let reports = [
            ("up", f64::from(u8::from(up))),
            ("scrape_duration_seconds", took.as_secs_f64()),
            ("scrape_samples_scraped", samples as f64),
        ];
        for (name, value) in reports {
            let labels = with_name(&known.target.labels, name);
            let _ = self.store.append(&labels, Sample { at: ms, value });
        }
        let view = TargetView {
            target: known.target.clone(),
            health: if up { Health::Up } else { Health::Down },
            last_error: problem,
            last_scrape: Some(at),
            took,
            samples,
        };
        self.shown.show(&key, view);
    }

    /// Ends all series of a target that is gone.
    fn end(&mut self, key: &str) {
        self.shown.forget(key);
        let Some(known) = self.known.remove(key) else {
            return;
        };
        // A moment later than what may have been written just now.
        let sample = Sample {
            at: self.context.now().as_millisecond() + 1,
            value: stale(),
        };
        let reports = ["up", "scrape_duration_seconds", "scrape_samples_scraped"];
        let reports = reports.map(|name| with_name(&known.target.labels, name));
        for labels in known.seen.iter().chain(&reports) {
            let _ = self.store.append(labels, sample);
        }
    }
}

/// Takes in a change and what follows at once: pods come in groups.
async fn take(world: &mut World, first: Change, changes: &mut mpsc::Receiver<Change>) {
    world.apply(first);
    let settled = Instant::now() + SETTLE;
    while let Ok(Some(change)) = tokio::time::timeout_at(settled, changes.recv()).await {
        world.apply(change);
    }
}

fn key(target: &Target) -> String {
    format!(
        "{}\n{}\n{}",
        target.pool,
        target.source.url(),
        target.labels
    )
}

fn with_name(labels: &Labels, name: &str) -> Labels {
    let mut labels = labels.edit();
    labels.set(NAME, name);
    labels.build()
}

/// The labels of a sample and its target. Where both have one, the target's wins and the
/// sample's is kept as `exported_NAME`, unless the sample's is to be honoured.
fn merged(target: &Target, exposed: Vec<(String, String)>) -> Labels {
    let mut labels = if target.honor_labels {
        target.labels.edit()
    } else {
        Labels::default().edit()
    };
    for (name, value) in exposed {
        if !target.honor_labels && !target.labels.get(&name).is_empty() {
            labels.set(format!("exported_{name}"), value);
        } else {
            labels.set(name, value);
        }
    }
    if !target.honor_labels {
        for (name, value) in target.labels.pairs() {
            labels.set(name.clone(), value.clone());
        }
    }
    labels.build()
}

#[cfg(test)]
mod tests;
