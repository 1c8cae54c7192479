//! Outcomes summed up, a second at a time.
//!
//! All that is kept is the second under way, so memory does not grow with the number of
//! requests.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::outcome::{Backend, Cause, Failure, Outcome, Reply};
use crate::plan::Plan;
use crate::record::Entry;
use crate::second::{Second, Share};

/// Backends told apart in one second; the others are counted without a name. A class has a
/// dozen pods; an application that invents a version per request must not fill the memory.
const BACKENDS: usize = 64;

/// The second under way, and what must be known of those before.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    open: Option<Second>,
    shares: BTreeMap<Backend, (u64, u64)>,
    /// When the first failure came after the last success.
    failing_since: Option<Timestamp>,
}

impl Tally {
    /// Counts an outcome of this moment. Answers what is to be written: the second before, where
    /// a new one has begun, and the failure.
    pub(crate) fn add(&mut self, outcome: Outcome, now: Timestamp, plan: &Plan) -> Vec<Entry> {
        let mut entries: Vec<Entry> = self.close_before(now).into_iter().collect();
        let at = now
            .as_second()
            .max(self.open.as_ref().map_or(i64::MIN, |open| open.at));
        let second = self.open.get_or_insert_with(|| Second {
            at,
            ..Second::default()
        });
        second.requests += 1;
        let success = outcome.reply.is_success();
        let (status, backend) = match &outcome.reply {
            Reply::Answered {
                status, backend, ..
            } => (Some(*status), Some(backend)),
            Reply::Broken { .. } => (None, None),
        };
        second.statuses.count(status);
        if status.is_some() {
            second.latency.add(outcome.took);
        }
        if let Some(backend) = backend {
            let known = self.shares.len() < BACKENDS || self.shares.contains_key(backend);
            let share = self
                .shares
                .entry(if known {
                    backend.clone()
                } else {
                    Backend::default()
                })
                .or_default();
            share.0 += 1;
            share.1 += u64::from(!success);
        }
        if success {
            if let Some(since) = self.failing_since.take() {
                second.outage_ms = second.outage_ms.max(millis(now.duration_since(since)));
            }
        } else {
            second.failed += 1;
            self.failing_since.get_or_insert(now);
            entries.push(Entry::Failure(failure(outcome, now, plan)));
        }
        entries
    }

    /// Closes the second under way if it lies before `now`.
    pub(crate) fn close_before(&mut self, now: Timestamp) -> Option<Entry> {
        let over = self.open.as_ref()?.at < now.as_second();
        over.then(|| self.close(now)).flatten()
    }

    /// Closes the second under way.
    pub(crate) fn close(&mut self, now: Timestamp) -> Option<Entry> {
        let mut second = self.open.take()?;
        if let Some(since) = self.failing_since {
            second.outage_ms = second.outage_ms.max(millis(now.duration_since(since)));
        }
        let shares = std::mem::take(&mut self.shares).into_iter();
        second.shares = shares
            .map(|(backend, (requests, failed))| Share {
                backend,
                requests,
                failed,
            })
            .collect();
        Some(Entry::Second(second))
    }
}

fn millis(time: jiff::SignedDuration) -> u64 {
    // An outage of less than a millisecond is one.
    u64::try_from(time.as_millis()).unwrap_or(0).max(1)
}

fn failure(outcome: Outcome, at: Timestamp, plan: &Plan) -> Failure {
    let (cause, status, words, backend) = match outcome.reply {
        Reply::Answered {
            status,
            backend,
            words,
        } => (Cause::Status, Some(status), words, backend),
        Reply::Broken { cause, words } => (cause, None, words, Backend::default()),
    };
    Failure {
        at,
        cause,
        status,
        words,
        took_ms: rounded(outcome.took),
        backend,
        path: plan.path(outcome.number).to_owned(),
        user: outcome.user,
    }
}

/// Milliseconds with three decimals.
fn rounded(time: Duration) -> f64 {
    let micros = time.as_micros() as f64;
    micros / 1000.0
}
