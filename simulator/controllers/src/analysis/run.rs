//! What an AnalysisRun does next and how it stands: pure decisions over its spec and status.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lab_api::analysis::{
    AnalysisPhase, AnalysisRunSpec, AnalysisRunStatus, Measurement, Metric, MetricResult,
    RunSummary,
};

use super::metric::{Schedule, rule_matches};
use super::providers::job_name_of;

/// Wait after an error where the metric has no interval.
const ERROR_RETRY: Duration = Duration::from_secs(10);
/// Measurements kept of a metric where `measurementRetention` is silent.
const RETENTION: usize = 10;

/// A run's spec, read: what the decisions below need of it.
pub(super) struct Plan {
    /// One for each metric, in order.
    pub metrics: Vec<Planned>,
    /// Somebody asked the run to end.
    pub terminate: bool,
}

/// A metric, read.
pub(super) struct Planned {
    /// Name.
    pub name: String,
    /// Limits and counts. Its durations are the author's; the cluster's follow.
    pub schedule: Schedule,
    /// Time between the end of a measurement and the next, at the cluster's speed.
    pub pause: Duration,
    /// Time before the first measurement, at the cluster's speed.
    pub initial_delay: Option<Duration>,
    /// True where its outcome does not count.
    pub dry_run: bool,
    /// Measurements kept.
    pub retention: usize,
}

impl Plan {
    /// Reads the metrics of a run that [`super::template::validate`] let pass; `metrics` have
    /// their arguments in place. `scale` shortens waits by the cluster's speed.
    pub(super) fn new(
        spec: &AnalysisRunSpec,
        metrics: &[(Metric, Schedule)],
        scale: impl Fn(Duration) -> Duration,
    ) -> Self {
        let dry: Vec<&str> = spec
            .dry_run
            .iter()
            .flatten()
            .map(|rule| rule.metric_name.as_str())
            .collect();
        let matches = |rule: &str, name: &str| rule_matches(rule).is_ok_and(|it| it(name));
        let metrics = metrics.iter().map(|(metric, schedule)| {
            let kept = spec
                .measurement_retention
                .iter()
                .flatten()
                .rfind(|rule| matches(&rule.metric_name, &metric.name))
                .and_then(|rule| usize::try_from(rule.limit).ok());
            Planned {
                name: metric.name.clone(),
                schedule: schedule.clone(),
                pause: scale(schedule.interval.unwrap_or(ERROR_RETRY)),
                initial_delay: schedule.initial_delay.map(&scale),
                dry_run: dry.iter().any(|rule| matches(rule, &metric.name)),
                // A metric's state is read from its last measurement.
                retention: kept.unwrap_or(RETENTION).max(1),
            }
        });
        Self {
            metrics: metrics.collect(),
            terminate: spec.terminate.unwrap_or(false),
        }
    }
}

/// What is to be done about a metric now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Take a measurement.
    Measure,
    /// Look at the one under way.
    Resume,
    /// End the one under way.
    Terminate,
}

/// The exact moment of a metric's next measurement, by its name: a status knows seconds only,
/// which is too coarse for a fast cluster.
pub(super) type Due = BTreeMap<String, Timestamp>;

/// The metrics, by index, about which something is to be done now.
pub(super) fn tasks(
    plan: &Plan,
    status: &AnalysisRunStatus,
    due: &Due,
    now: Timestamp,
) -> Vec<(usize, Task)> {
    let terminating = is_terminating(plan, status);
    let mut tasks = Vec::new();
    for (index, metric) in plan.metrics.iter().enumerate() {
        let result = result_of(status, &metric.name);
        if result.is_some_and(|result| result.phase.is_completed()) {
            continue;
        }
        let last = result.and_then(|result| result.measurements.last());
        if let Some(last) = last.filter(|last| last.finished_at.is_none()) {
            let early = last.resume_at.as_ref().is_some_and(|at| at.0 > now);
            if terminating {
                tasks.push((index, Task::Terminate));
            } else if !early {
                tasks.push((index, Task::Resume));
            }
        } else if !terminating && next_measurement(metric, status, due).is_some_and(|at| at <= now)
        {
            tasks.push((index, Task::Measure));
        }
    }
    tasks
}

/// When the run must be looked at again; `None`: when something changes.
pub(super) fn next_look(plan: &Plan, status: &AnalysisRunStatus, due: &Due) -> Option<Timestamp> {
    plan.metrics
        .iter()
        .filter_map(|metric| {
            let result = result_of(status, &metric.name);
            if result.is_some_and(|result| result.phase.is_completed()) {
                return None;
            }
            let last = result.and_then(|result| result.measurements.last());
            match last.filter(|last| last.finished_at.is_none()) {
                Some(last) => last.resume_at.as_ref().map(|at| at.0),
                None => next_measurement(metric, status, due),
            }
        })
        .min()
}

/// When a metric is measured next; `None` where it has been measured often enough.
fn next_measurement(metric: &Planned, status: &AnalysisRunStatus, due: &Due) -> Option<Timestamp> {
    let result = result_of(status, &metric.name);
    let Some(last) = result.and_then(|result| result.measurements.last()) else {
        return match (metric.initial_delay, &status.started_at) {
            (None, _) => Some(Timestamp::MIN),
            (Some(_), None) => None,
            (Some(delay), Some(started)) => {
                let exact = due.get(&metric.name).copied();
                Some(exact.unwrap_or_else(|| later(started.0, delay)))
            }
        };
    };
    let count = result.map_or(0, |result| result.count);
    if metric.schedule.count.is_some_and(|wanted| count >= wanted) {
        return None;
    }
    let finished = last.finished_at.as_ref()?.0;
    let exact = due.get(&metric.name).copied();
    Some(exact.unwrap_or_else(|| later(finished, metric.pause)))
}

/// A moment after another; the end of time where there is none.
pub(super) fn later(moment: Timestamp, wait: Duration) -> Timestamp {
    moment.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// Notes in `due` when the metrics that were just measured, or have just begun to wait, come next.
pub(super) fn note_due(
    plan: &Plan,
    measured: &BTreeSet<usize>,
    just_started: bool,
    due: &mut Due,
    now: Timestamp,
) {
    for (index, metric) in plan.metrics.iter().enumerate() {
        if measured.contains(&index) {
            due.insert(metric.name.clone(), later(now, metric.pause));
        } else if let Some(delay) = metric.initial_delay.filter(|_| just_started) {
            due.insert(metric.name.clone(), later(now, delay));
        }
    }
}

/// Counts a measurement in its metric's result.
pub(super) fn record(
    status: &mut AnalysisRunStatus,
    metric: &Planned,
    measurement: Measurement,
    metadata: Option<BTreeMap<String, String>>,
) {
    let result = result_mut(status, metric);
    if metadata.is_some() {
        result.metadata = metadata;
    }
    if measurement.phase.is_completed() {
        count(result, measurement.phase);
    }
    match result.measurements.last_mut() {
        Some(last) if last.finished_at.is_none() => *last = measurement,
        Some(_) | None => result.measurements.push(measurement),
    }
}

fn count(result: &mut MetricResult, phase: AnalysisPhase) {
    match phase {
        AnalysisPhase::Successful => {
            result.successful += 1;
            result.consecutive_success += 1;
        }
        AnalysisPhase::Failed => result.failed += 1,
        AnalysisPhase::Inconclusive => result.inconclusive += 1,
        AnalysisPhase::Error => {
            result.error += 1;
            result.consecutive_error += 1;
        }
        AnalysisPhase::Pending | AnalysisPhase::Running => {}
    }
    if phase != AnalysisPhase::Successful {
        result.consecutive_success = 0;
    }
    if phase != AnalysisPhase::Error {
        result.count += 1;
        result.consecutive_error = 0;
    }
}

fn result_of<'a>(status: &'a AnalysisRunStatus, name: &str) -> Option<&'a MetricResult> {
    status
        .metric_results
        .iter()
        .find(|result| result.name == name)
}

fn result_mut<'a>(status: &'a mut AnalysisRunStatus, metric: &Planned) -> &'a mut MetricResult {
    let results = &mut status.metric_results;
    let at = match results.iter().position(|result| result.name == metric.name) {
        Some(at) => at,
        None => {
            results.push(MetricResult {
                name: metric.name.clone(),
                phase: AnalysisPhase::Running,
                dry_run: metric.dry_run,
                ..MetricResult::default()
            });
            results.len() - 1
        }
    };
    &mut results[at]
}

/// True where the run ends early: somebody asked for it, or a metric that counts ended badly.
fn is_terminating(plan: &Plan, status: &AnalysisRunStatus) -> bool {
    plan.terminate
        || status.metric_results.iter().any(|result| {
            !result.dry_run
                && matches!(
                    result.phase,
                    AnalysisPhase::Failed | AnalysisPhase::Error | AnalysisPhase::Inconclusive
                )
        })
}

/// A metric that has just been decided: its name and how it ended.
pub(super) type Decided = (String, AnalysisPhase);

/// Brings phases, messages and summaries up to the measurements; answers with the metrics that
/// ended with this.
pub(super) fn assess(plan: &Plan, status: &mut AnalysisRunStatus, now: Timestamp) -> Vec<Decided> {
    let terminating = is_terminating(plan, status);
    status.started_at.get_or_insert(Time(now));
    let mut decided = Vec::new();
    let mut worst: Option<AnalysisPhase> = None;
    let mut message = if plan.terminate {
        "Run Terminated".to_owned()
    } else {
        String::new()
    };
    let mut all_completed = true;
    let (mut summary, mut dry_summary) = (RunSummary::default(), RunSummary::default());
    for metric in &plan.metrics {
        let counted = if metric.dry_run {
            &mut dry_summary
        } else {
            &mut summary
        };
        counted.count += 1;
        let Some(result) = status
            .metric_results
            .iter_mut()
            .find(|result| result.name == metric.name)
        else {
            all_completed = false;
            continue;
        };
        let phase = assess_metric(metric, result, terminating);
        if result.phase != phase {
            if phase.is_completed() {
                decided.push((metric.name.clone(), phase));
            }
            result.phase = phase;
            if let Some(last) = result.measurements.last() {
                result.message.clone_from(&last.message);
            }
        }
        if !phase.is_completed() {
            all_completed = false;
            continue;
        }
        add(counted, phase);
        let is_worst = worst.is_none_or(|worst| phase.is_worse_than(worst));
        if !metric.dry_run && is_worst {
            worst = Some(phase);
            if let Some(reason) = bad_end(metric, result) {
                message = format!("Metric {:?} assessed {phase} due to {reason}", metric.name);
                if let Some(error) = result.message.as_deref().filter(|text| !text.is_empty()) {
                    message = format!("{message}: \"Error Message: {error}\"");
                }
            }
        }
        if metric.dry_run {
            // A dry run's end counts for nothing but the end itself.
            worst = worst.or(Some(AnalysisPhase::Successful));
            if let Some(reason) = bad_end(metric, result) {
                result.message = Some(format!("Metric assessed {phase} due to {reason}"));
            }
        }
    }
    status.run_summary = Some(summary);
    status.dry_run_summary = Some(dry_summary);
    let in_flight = status.metric_results.iter().any(|result| {
        result
            .measurements
            .last()
            .is_some_and(|last| last.finished_at.is_none())
    });
    let (phase, message) = if terminating && !in_flight {
        (worst.unwrap_or(AnalysisPhase::Successful), message)
    } else {
        match worst {
            Some(worst) if all_completed => (worst, message),
            Some(_) | None => (AnalysisPhase::Running, String::new()),
        }
    };
    status.phase = Some(phase);
    status.message = (!message.is_empty()).then_some(message);
    if phase.is_completed() {
        status.completed_at.get_or_insert(Time(now));
    }
    decided
}

fn add(summary: &mut RunSummary, phase: AnalysisPhase) {
    match phase {
        AnalysisPhase::Successful => summary.successful += 1,
        AnalysisPhase::Failed => summary.failed += 1,
        AnalysisPhase::Inconclusive => summary.inconclusive += 1,
        AnalysisPhase::Error => summary.error += 1,
        AnalysisPhase::Pending | AnalysisPhase::Running => {}
    }
}

/// How one metric stands.
fn assess_metric(metric: &Planned, result: &MetricResult, terminating: bool) -> AnalysisPhase {
    if result.phase.is_completed() {
        return result.phase;
    }
    let Some(last) = result.measurements.last() else {
        return if terminating {
            AnalysisPhase::Successful
        } else {
            AnalysisPhase::Pending
        };
    };
    if !last.phase.is_completed() {
        return AnalysisPhase::Running;
    }
    if let Some((phase, _)) = over_limit(metric, result) {
        return phase;
    }
    let enough_in_a_row = metric.schedule.consecutive_success_limit;
    if enough_in_a_row > 0 && result.consecutive_success >= enough_in_a_row {
        return AnalysisPhase::Successful;
    }
    if metric
        .schedule
        .count
        .is_some_and(|wanted| result.count >= wanted)
    {
        return if enough_in_a_row > 0 {
            AnalysisPhase::Inconclusive
        } else {
            AnalysisPhase::Successful
        };
    }
    if terminating {
        AnalysisPhase::Successful
    } else {
        AnalysisPhase::Running
    }
}

/// The limit that a metric has passed, and how that is said.
fn over_limit(metric: &Planned, result: &MetricResult) -> Option<(AnalysisPhase, String)> {
    let schedule = &metric.schedule;
    if let Some(limit) = schedule.failure_limit
        && result.failed > limit
    {
        let reason = format!("failed ({}) > failureLimit ({limit})", result.failed);
        return Some((AnalysisPhase::Failed, reason));
    }
    if result.inconclusive > schedule.inconclusive_limit {
        let reason = format!(
            "inconclusive ({}) > inconclusiveLimit ({})",
            result.inconclusive, schedule.inconclusive_limit
        );
        return Some((AnalysisPhase::Inconclusive, reason));
    }
    if result.consecutive_error > schedule.consecutive_error_limit {
        let reason = format!(
            "consecutiveErrors ({}) > consecutiveErrorLimit ({})",
            result.consecutive_error, schedule.consecutive_error_limit
        );
        return Some((AnalysisPhase::Error, reason));
    }
    None
}

/// Why a metric did not end well; `None` where it did.
fn bad_end(metric: &Planned, result: &MetricResult) -> Option<String> {
    if result.phase == AnalysisPhase::Successful {
        return None;
    }
    over_limit(metric, result)
        .map(|(_, reason)| reason)
        .or_else(|| {
            let limit = metric.schedule.consecutive_success_limit;
            Some(format!(
                "consecutiveSuccess ({}) < consecutiveSuccessLimit ({limit})",
                result.consecutive_success
            ))
        })
}

/// Forgets the oldest measurements; answers with the names of the Jobs that they waited for.
pub(super) fn trim(plan: &Plan, status: &mut AnalysisRunStatus) -> Vec<String> {
    let mut jobs = Vec::new();
    for result in &mut status.metric_results {
        let kept = plan
            .metrics
            .iter()
            .find(|metric| metric.name == result.name)
            .map_or(RETENTION, |metric| metric.retention);
        let surplus = result.measurements.len().saturating_sub(kept);
        let forgotten = result.measurements.drain(..surplus);
        jobs.extend(forgotten.filter_map(|it| job_name_of(&it).map(str::to_owned)));
    }
    jobs
}
