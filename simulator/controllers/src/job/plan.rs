//! What a Job needs next, and how it stands.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus, UncountedTerminatedPods};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Reason of a Job that ran too long.
pub(super) const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
/// Reason of a Job whose pods failed too often.
pub(super) const BACKOFF_LIMIT_EXCEEDED: &str = "BackoffLimitExceeded";
const COMPLETIONS_REACHED: &str = "CompletionsReached";

/// First wait before a failed pod is replaced, doubled with each failure.
const FIRST_BACK_OFF: Duration = Duration::from_secs(10);
/// Longest wait.
const LAST_BACK_OFF: Duration = Duration::from_secs(600);
/// Failures allowed where the Job does not say (the API server sets it).
const BACKOFF_LIMIT: i32 = 6;

/// A Job's pods by how they stand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Neither finished nor being deleted.
    pub active: i32,
    /// Of these, ready.
    pub ready: i32,
    /// Being deleted.
    pub terminating: i32,
    /// Ended well.
    pub succeeded: i32,
    /// Ended badly.
    pub failed: i32,
    /// Restarts of the active ones' containers.
    pub restarts: i32,
}

/// What to do now.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// Pods to create.
    pub create: usize,
    /// Unfinished pods to delete.
    pub delete: usize,
    /// The status to write.
    pub status: JobStatus,
    /// When to look again.
    pub again: Option<Duration>,
    /// True where the Job itself is to be deleted.
    pub expired: bool,
}

/// Decides; `scale` shortens the cluster's own waits.
pub(super) fn plan(
    job: &Job,
    counts: &Counts,
    failed_at: Option<Timestamp>,
    now: Timestamp,
    scale: impl Fn(Duration) -> Duration,
) -> Plan {
    let default = Default::default();
    let spec = job.spec.as_ref().unwrap_or(&default);
    let mut status = observed(job, counts);
    if let Some(finished) = finished_at(&status) {
        let ttl = spec.ttl_seconds_after_finished;
        let left = ttl.map(|ttl| left(finished, scale(seconds(ttl.into())), now));
        return Plan {
            delete: size(counts.active),
            status,
            again: left.filter(|left| !left.is_zero()),
            expired: left.is_some_and(|left| left.is_zero()),
            ..Plan::default()
        };
    }
    if spec.suspend == Some(true) {
        set(
            &mut status,
            "Suspended",
            true,
            "JobSuspended",
            "Job suspended",
            now,
        );
        status.start_time = None;
        return Plan {
            delete: size(counts.active),
            status,
            ..Plan::default()
        };
    }
    if has(&status, "Suspended") {
        set(
            &mut status,
            "Suspended",
            false,
            "JobResumed",
            "Job resumed",
            now,
        );
    }
    let started = status.start_time.get_or_insert(Time(now)).0;
    // The application's author wrote it: not scaled.
    let deadline = spec
        .active_deadline_seconds
        .map(|limit| left(started, seconds(limit), now));
    if let Some((reason, message)) = failure(spec, counts, deadline) {
        for type_ in ["FailureTarget", "Failed"] {
            set(&mut status, type_, true, reason, message, now);
        }
        status.active = None;
        status.ready = Some(0);
        return Plan {
            delete: size(counts.active),
            status,
            again: spec
                .ttl_seconds_after_finished
                .map(|ttl| scale(seconds(ttl.into()))),
            ..Plan::default()
        };
    }
    if is_complete(spec, counts) {
        let message = "Reached expected number of succeeded pods";
        for type_ in ["SuccessCriteriaMet", "Complete"] {
            set(&mut status, type_, true, COMPLETIONS_REACHED, message, now);
        }
        status.completion_time = Some(Time(now));
        status.active = None;
        status.ready = Some(0);
        return Plan {
            delete: size(counts.active),
            status,
            again: spec
                .ttl_seconds_after_finished
                .map(|ttl| scale(seconds(ttl.into()))),
            ..Plan::default()
        };
    }
    let wanted = wanted(spec, counts);
    let back_off = failed_at
        .map(|at| left(at, scale(back_off(counts.failed)), now))
        .filter(|left| !left.is_zero());
    let missing = size(wanted - counts.active);
    let create = if back_off.is_some() { 0 } else { missing };
    let waits = back_off.filter(|_| missing > 0);
    status.active = nonzero(counts.active + i32::try_from(create).unwrap_or(0));
    Plan {
        create,
        delete: size(counts.active - wanted),
        status,
        again: deadline.into_iter().chain(waits).min(),
        expired: false,
    }
}

/// The status with what the pods show.
fn observed(job: &Job, counts: &Counts) -> JobStatus {
    JobStatus {
        active: nonzero(counts.active),
        ready: Some(counts.ready),
        terminating: Some(counts.terminating),
        succeeded: nonzero(counts.succeeded),
        failed: nonzero(counts.failed),
        uncounted_terminated_pods: Some(UncountedTerminatedPods::default()),
        ..job.status.clone().unwrap_or_default()
    }
}

type Reason = (&'static str, &'static str);

fn failure(
    spec: &k8s_openapi::api::batch::v1::JobSpec,
    counts: &Counts,
    deadline: Option<Duration>,
) -> Option<Reason> {
    let limit = spec.backoff_limit.unwrap_or(BACKOFF_LIMIT);
    let in_place = spec
        .template
        .spec
        .as_ref()
        .is_some_and(|spec| spec.restart_policy.as_deref() == Some("OnFailure"));
    // Containers that are restarted where they are never make a failed pod.
    let restarted_out = in_place && counts.restarts > 0 && (counts.restarts >= limit || limit == 0);
    if counts.failed > limit || restarted_out {
        let message = "Job has reached the specified backoff limit";
        return Some((BACKOFF_LIMIT_EXCEEDED, message));
    }
    if deadline.is_some_and(|left| left.is_zero()) {
        let message = "Job was active longer than specified deadline";
        return Some((DEADLINE_EXCEEDED, message));
    }
    None
}

fn is_complete(spec: &k8s_openapi::api::batch::v1::JobSpec, counts: &Counts) -> bool {
    match spec.completions {
        Some(completions) => counts.succeeded >= completions,
        // A work queue: one that ended well says that the queue is empty; the others end too.
        None => counts.succeeded > 0 && counts.active == 0,
    }
}

/// Pods that should be active.
fn wanted(spec: &k8s_openapi::api::batch::v1::JobSpec, counts: &Counts) -> i32 {
    let parallelism = spec.parallelism.unwrap_or(1);
    match spec.completions {
        Some(completions) => parallelism.min(completions - counts.succeeded),
        None if counts.succeeded > 0 => counts.active.min(parallelism),
        None => parallelism,
    }
}

fn back_off(failures: i32) -> Duration {
    let doublings = u32::try_from(failures - 1).unwrap_or(0).min(10);
    (FIRST_BACK_OFF * 2_u32.pow(doublings)).min(LAST_BACK_OFF)
}

fn has(status: &JobStatus, type_: &str) -> bool {
    status
        .conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == type_ && condition.status == "True")
}

/// When the Job ended.
fn finished_at(status: &JobStatus) -> Option<Timestamp> {
    let conditions = status.conditions.iter().flatten();
    conditions
        .filter(|it| it.status == "True" && matches!(it.type_.as_str(), "Complete" | "Failed"))
        .find_map(|it| it.last_transition_time.as_ref())
        .map(|at| at.0)
}

fn set(
    status: &mut JobStatus,
    type_: &str,
    holds: bool,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let word = if holds { "True" } else { "False" };
    let conditions = status.conditions.get_or_insert_default();
    let known = conditions.iter_mut().find(|it| it.type_ == type_);
    if let Some(known) = &known
        && known.status == word
    {
        return;
    }
    let condition = JobCondition {
        type_: type_.to_owned(),
        status: word.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    };
    match known {
        Some(known) => *known = condition,
        None => conditions.push(condition),
    }
}

fn seconds(count: i64) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}

/// What is left of a wait that began at `from`.
fn left(from: Timestamp, wait: Duration, now: Timestamp) -> Duration {
    let passed = Duration::try_from(now.duration_since(from)).unwrap_or(Duration::ZERO);
    wait.saturating_sub(passed)
}

fn nonzero(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}

fn size(count: i32) -> usize {
    usize::try_from(count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn job(spec: Value, status: Value) -> Job {
        let mut job = json!({"metadata": {"name": "pi"}, "spec": {"backoffLimit": 2,
            "completions": 1, "parallelism": 1, "template": {"spec": {"containers": [], "restartPolicy": "Never"}}}});
        for (key, value) in spec.as_object().unwrap() {
            job["spec"][key] = value.clone();
        }
        job["status"] = status;
        serde_json::from_value(job).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + second).unwrap()
    }

    fn decide(spec: Value, counts: Counts, failed_at: Option<i64>, now: i64) -> Plan {
        let status = json!({"startTime": "2026-01-01T00:00:00Z"});
        plan(
            &job(spec, status),
            &counts,
            failed_at.map(at),
            at(now),
            |wait| wait,
        )
    }

    #[track_caller]
    fn moves(spec: Value, counts: Counts, create: usize, delete: usize) {
        let plan = decide(spec, counts, None, 1);
        assert_eq!((plan.create, plan.delete), (create, delete));
    }

    fn counts(active: i32, succeeded: i32, failed: i32) -> Counts {
        Counts {
            active,
            succeeded,
            failed,
            ..Counts::default()
        }
    }

    #[test]
    fn as_many_pods_run_as_are_still_needed() {
        moves(json!({}), counts(0, 0, 0), 1, 0);
        moves(json!({}), counts(1, 0, 0), 0, 0);
        moves(
            json!({"completions": 5, "parallelism": 2}),
            counts(0, 0, 0),
            2,
            0,
        );
        moves(
            json!({"completions": 5, "parallelism": 2}),
            counts(1, 4, 0),
            0,
            0,
        );
        moves(
            json!({"completions": 5, "parallelism": 2}),
            counts(0, 4, 0),
            1,
            0,
        );
        moves(
            json!({"completions": 5, "parallelism": 1}),
            counts(3, 0, 0),
            0,
            2,
        );
        moves(
            json!({"completions": null, "parallelism": 3}),
            counts(0, 0, 0),
            3,
            0,
        );
        moves(
            json!({"completions": null, "parallelism": 3}),
            counts(2, 1, 0),
            0,
            0,
        );
        moves(json!({"suspend": true}), counts(1, 0, 0), 0, 1);
    }

    fn conditions(plan: &Plan) -> Vec<String> {
        let all = plan.status.conditions.iter().flatten();
        all.map(|it| {
            format!(
                "{}={} {}",
                it.type_,
                it.status,
                it.reason.as_deref().unwrap_or("")
            )
        })
        .collect()
    }

    #[test]
    fn a_job_is_complete_when_enough_pods_succeeded() {
        let plan = decide(json!({"completions": 2}), counts(0, 2, 0), None, 5);
        assert_eq!(
            conditions(&plan),
            [
                "SuccessCriteriaMet=True CompletionsReached",
                "Complete=True CompletionsReached"
            ]
        );
        assert_eq!(plan.status.completion_time, Some(Time(at(5))));
        let queue = json!({"completions": null, "parallelism": 2});
        assert!(conditions(&decide(queue.clone(), counts(1, 1, 0), None, 5)).is_empty());
        assert_eq!(
            conditions(&decide(queue, counts(0, 2, 0), None, 5)).len(),
            2
        );
    }

    #[test]
    fn a_failed_pod_is_replaced_after_a_pause_until_the_limit() {
        let waiting = decide(json!({}), counts(0, 0, 1), Some(0), 1);
        assert_eq!(
            (waiting.create, waiting.again),
            (0, Some(Duration::from_secs(9)))
        );
        let tried = decide(json!({}), counts(0, 0, 1), Some(0), 10);
        assert_eq!(tried.create, 1);
        let later = decide(json!({}), counts(0, 0, 2), Some(0), 10);
        assert_eq!(later.again, Some(Duration::from_secs(10)));
        let over = decide(json!({}), counts(0, 0, 3), Some(0), 100);
        assert_eq!(
            conditions(&over),
            [
                "FailureTarget=True BackoffLimitExceeded",
                "Failed=True BackoffLimitExceeded"
            ]
        );
        assert_eq!(over.create, 0);
    }

    #[test]
    fn restarts_in_place_count_against_the_limit() {
        let spec = json!({"template": {"spec": {"containers": [], "restartPolicy": "OnFailure"}}});
        let restarted = |restarts| Counts {
            active: 1,
            restarts,
            ..Counts::default()
        };
        assert!(conditions(&decide(spec.clone(), restarted(1), None, 1)).is_empty());
        assert_eq!(conditions(&decide(spec, restarted(2), None, 1)).len(), 2);
    }

    #[test]
    fn a_job_that_runs_too_long_fails_and_its_pods_go() {
        let spec = json!({"activeDeadlineSeconds": 30});
        let early = decide(spec.clone(), counts(1, 0, 0), None, 10);
        assert_eq!(early.again, Some(Duration::from_secs(20)));
        let late = decide(spec, counts(1, 0, 0), None, 30);
        assert_eq!(conditions(&late)[1], "Failed=True DeadlineExceeded");
        assert_eq!(late.delete, 1);
    }

    #[test]
    fn a_finished_job_is_deleted_when_its_time_is_over() {
        let status = json!({"startTime": "2026-01-01T00:00:00Z", "succeeded": 1, "conditions": [
            {"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:00:05Z"}]});
        let job = job(json!({"ttlSecondsAfterFinished": 60}), status);
        let decide = |now| plan(&job, &counts(0, 1, 0), None, at(now), |wait| wait);
        assert_eq!(decide(10).again, Some(Duration::from_secs(55)));
        assert!(!decide(10).expired);
        assert!(decide(65).expired);
    }

    #[test]
    fn a_resumed_job_starts_its_clock_anew() {
        let status = json!({"conditions": [{"type": "Suspended", "status": "True"}]});
        let job = job(json!({"suspend": false}), status);
        let plan = plan(&job, &Counts::default(), None, at(7), |wait| wait);
        assert_eq!(conditions(&plan), ["Suspended=False JobResumed"]);
        assert_eq!(plan.status.start_time, Some(Time(at(7))));
        assert_eq!(plan.create, 1);
    }
}
