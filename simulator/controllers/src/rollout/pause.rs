//! Pauses and aborts: what the status says of them, and what a look at it adds.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lab_api::rollouts::{PauseCondition, RolloutStatus};

/// A canary waits at a pause step.
pub(super) const CANARY_STEP: &str = "CanaryPauseStep";
/// The new version waits to become the active one.
pub(super) const BLUE_GREEN: &str = "BlueGreenPause";
/// An analysis came to no result.
pub(super) const INCONCLUSIVE: &str = "InconclusiveAnalysisRun";

/// Pauses and aborts of one Rollout.
#[derive(Debug)]
pub(super) struct Pauses {
    conditions: Vec<PauseCondition>,
    controller_pause: bool,
    aborted: bool,
    aborted_at: Option<Time>,
    add: Vec<&'static str>,
    remove: Vec<&'static str>,
    clear: bool,
    add_abort: bool,
    remove_abort: bool,
    /// Why it was aborted in this look.
    pub abort_message: String,
}

impl Pauses {
    /// Those of a status.
    pub(super) fn new(status: &RolloutStatus) -> Self {
        Self {
            conditions: status.pause_conditions.clone(),
            controller_pause: status.controller_pause,
            aborted: status.abort,
            aborted_at: status.aborted_at.clone(),
            add: Vec::new(),
            remove: Vec::new(),
            clear: false,
            add_abort: false,
            remove_abort: false,
            abort_message: String::new(),
        }
    }

    /// Since when it has been paused for a reason.
    pub(super) fn since(&self, reason: &str) -> Option<Timestamp> {
        let found = self.conditions.iter().find(|found| found.reason == reason);
        found.map(|found| found.start_time.0)
    }

    /// True where somebody cleared what the controller had paused for.
    pub(super) fn was_resumed(&self, reason: &str) -> bool {
        self.controller_pause && self.since(reason).is_none()
    }

    /// True where the controller has paused and not yet gone on.
    pub(super) fn is_controller_pause(&self) -> bool {
        self.controller_pause
    }

    /// True where a pause was added in this look.
    pub(super) fn has_added(&self) -> bool {
        !self.add.is_empty()
    }

    /// True where the update was given up.
    pub(super) fn is_aborted(&self) -> bool {
        !self.remove_abort && (self.add_abort || self.aborted)
    }

    /// Pauses.
    pub(super) fn add(&mut self, reason: &'static str) {
        self.add.push(reason);
    }

    /// Goes on.
    pub(super) fn remove(&mut self, reason: &'static str) {
        self.remove.push(reason);
    }

    /// Goes on, whatever it was paused for.
    pub(super) fn clear(&mut self) {
        self.clear = true;
    }

    /// Gives the update up.
    pub(super) fn abort(&mut self, why: impl Into<String>) {
        self.add_abort = true;
        self.abort_message = why.into();
    }

    /// Takes that back.
    pub(super) fn remove_abort(&mut self) {
        self.remove_abort = true;
    }

    /// True where a pause that began `since` has lasted for `wait`.
    pub(super) fn has_lasted(since: Timestamp, wait: Duration, now: Timestamp) -> bool {
        since.checked_add(wait).is_ok_and(|end| end <= now)
    }

    /// Writes all of it into a status.
    pub(super) fn write(&self, status: &mut RolloutStatus, now: Timestamp) {
        status.controller_pause = false;
        status.pause_conditions = Vec::new();
        status.abort = self.is_aborted();
        status.aborted_at = None;
        if status.abort {
            let since = self.aborted_at.clone();
            status.aborted_at = since.or_else(|| Some(whole_seconds(now)));
            return;
        }
        if self.clear {
            return;
        }
        let kept = |found: &&PauseCondition| !self.remove.contains(&found.reason.as_str());
        let mut conditions: Vec<_> = self.conditions.iter().filter(kept).cloned().collect();
        let mut controller_pause = self.controller_pause;
        for reason in &self.add {
            if self.since(reason).is_none() {
                controller_pause = true;
                conditions.push(PauseCondition {
                    reason: (*reason).to_owned(),
                    start_time: whole_seconds(now),
                });
            }
        }
        if !conditions.is_empty() {
            status.controller_pause = controller_pause;
            status.pause_conditions = conditions;
        }
    }
}

/// A moment as Kubernetes writes it.
pub(super) fn whole_seconds(moment: Timestamp) -> Time {
    Time(Timestamp::from_second(moment.as_second()).unwrap_or(moment))
}
