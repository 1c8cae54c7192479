use super::*;
use std::sync::Arc;

use serde_json::{Value, json};

const START: &str = "2026-01-01T00:00:00Z";

fn at(seconds: i64) -> Timestamp {
    START.parse::<Timestamp>().unwrap() + Duration::from_secs(u64::try_from(seconds).unwrap())
}

fn deployment(spec: &Value) -> Deployment {
    let mut base = json!({
        "metadata": {"name": "web", "generation": 3},
        "spec": {"replicas": 3, "progressDeadlineSeconds": 600, "selector": {}, "template": {}}});
    for (key, value) in spec.as_object().unwrap() {
        base["spec"][key] = value.clone();
    }
    serde_json::from_value(base).unwrap()
}

fn set(name: &str, wanted: i32, replicas: i32, available: i32) -> Arc<ReplicaSet> {
    serde_json::from_value::<ReplicaSet>(json!({
        "metadata": {"name": name},
        "spec": {"replicas": wanted, "selector": {}},
        "status": {"replicas": replicas, "readyReplicas": available, "availableReplicas": available}}))
    .map(Arc::new)
    .unwrap()
}

fn sets(new: Option<Arc<ReplicaSet>>, old: &[Arc<ReplicaSet>]) -> Sets {
    Sets {
        new,
        old: old.to_vec(),
    }
}

/// `Type=Status Reason` of each condition.
fn short(status: &DeploymentStatus) -> Vec<String> {
    status
        .conditions
        .iter()
        .flatten()
        .map(|found| {
            format!(
                "{}={} {}",
                found.type_,
                found.status,
                found.reason.clone().unwrap()
            )
        })
        .collect()
}

/// Lets `deployment` observe one stage after the other; each gives the expected Progressing.
struct Story {
    deployment: Deployment,
}

impl Story {
    #[track_caller]
    fn observe(&mut self, seconds: i64, sets: &Sets, expected: &str) -> DeploymentStatus {
        let status = observe(&self.deployment, sets, None, at(seconds));
        let progressing = short(&status)
            .into_iter()
            .find_map(|text| text.strip_prefix("Progressing=").map(str::to_owned));
        assert_eq!(progressing.as_deref().unwrap_or("none"), expected);
        self.deployment.status = Some(status.clone());
        status
    }
}

#[test]
fn counts_are_summed_over_replica_sets() {
    let sets = sets(Some(set("new", 2, 2, 1)), &[set("old", 2, 3, 2)]);
    let status = observe(&deployment(&json!({})), &sets, None, at(0));
    let expected = DeploymentStatus {
        observed_generation: Some(3),
        replicas: Some(5),
        updated_replicas: Some(2),
        ready_replicas: Some(3),
        available_replicas: Some(3),
        unavailable_replicas: Some(1),
        conditions: status.conditions.clone(),
        ..DeploymentStatus::default()
    };
    assert_eq!(status, expected);
}

#[test]
fn a_deployment_is_available_with_all_but_the_pods_that_may_be_missed() {
    let status = |available| {
        let sets = sets(Some(set("new", 3, 3, available)), &[]);
        let four = deployment(&json!({"replicas": 4}));
        short(&observe(&four, &sets, None, at(0)))[0].clone()
    };
    assert_eq!(status(2), "Available=False MinimumReplicasUnavailable");
    assert_eq!(status(3), "Available=True MinimumReplicasAvailable");
}

#[test]
fn a_rollout_progresses_until_it_is_complete() {
    let mut story = Story {
        deployment: deployment(&json!({})),
    };
    let stage = |replicas, available| sets(Some(set("new", 3, replicas, available)), &[]);
    story.observe(0, &stage(0, 0), "True FoundNewReplicaSet");
    story.observe(1, &stage(3, 0), "True ReplicaSetUpdated");
    story.observe(2, &stage(3, 2), "True ReplicaSetUpdated");
    let complete = story.observe(3, &stage(3, 3), "True NewReplicaSetAvailable");
    assert_eq!(
        next_deadline(&story.deployment, &complete, at(3)),
        None,
        "nothing to wait for"
    );
    // A pod that dies later is no rollout.
    story.observe(9999, &stage(3, 2), "True NewReplicaSetAvailable");
}

#[test]
fn a_rollout_without_progress_exceeds_its_deadline() {
    let mut story = Story {
        deployment: deployment(&json!({})),
    };
    let stuck = sets(Some(set("new", 3, 3, 0)), &[]);
    story.observe(0, &stuck, "True FoundNewReplicaSet");
    let status = story.observe(600, &stuck, "True FoundNewReplicaSet");
    let wait = next_deadline(&story.deployment, &status, at(600)).unwrap();
    assert_eq!(wait.as_secs(), 1);
    let late = story.observe(601, &stuck, "False ProgressDeadlineExceeded");
    assert_eq!(next_deadline(&story.deployment, &late, at(601)), None);
    // It may still succeed.
    let complete = sets(Some(set("new", 3, 3, 3)), &[]);
    story.observe(700, &complete, "True NewReplicaSetAvailable");
}

#[test]
fn every_progress_starts_the_deadline_anew() {
    let mut story = Story {
        deployment: deployment(&json!({})),
    };
    let stage = |available| sets(Some(set("new", 3, 3, available)), &[]);
    story.observe(0, &stage(0), "True FoundNewReplicaSet");
    story.observe(599, &stage(1), "True ReplicaSetUpdated");
    let status = story.observe(1198, &stage(2), "True ReplicaSetUpdated");
    let progress = &status.conditions.as_ref().unwrap()[1];
    assert_eq!(progress.last_update_time, Some(Time(at(1198))));
    assert_eq!(progress.last_transition_time, Some(Time(at(0))));
}

#[test]
fn a_pause_stops_the_deadline() {
    let mut story = Story {
        deployment: deployment(&json!({"paused": true})),
    };
    let stuck = sets(Some(set("new", 3, 3, 0)), &[]);
    story.observe(0, &stuck, "Unknown DeploymentPaused");
    let status = story.observe(5000, &stuck, "Unknown DeploymentPaused");
    assert_eq!(next_deadline(&story.deployment, &status, at(5000)), None);
    story.deployment.spec.as_mut().unwrap().paused = None;
    story.observe(5001, &stuck, "Unknown DeploymentResumed");
}

#[test]
fn without_a_deadline_there_is_no_progress_to_report() {
    let mut story = Story {
        deployment: deployment(&json!({"progressDeadlineSeconds": i32::MAX})),
    };
    story.observe(0, &sets(Some(set("new", 3, 3, 0)), &[]), "none");
}

#[test]
fn the_creation_of_a_replica_set_is_told_even_before_the_cache_knows_it() {
    let told = |news: &News| {
        let status = observe(&deployment(&json!({})), &sets(None, &[]), Some(news), at(0));
        let progress = status.conditions.unwrap().pop().unwrap();
        (progress.reason.unwrap(), progress.message.unwrap())
    };
    assert_eq!(
        told(&News::Created("web-abc".into())),
        (
            "NewReplicaSetCreated".into(),
            "Created new replica set \"web-abc\"".into()
        )
    );
    assert_eq!(
        told(&News::Refused("web-abc".into(), "quota".into())),
        (
            "ReplicaSetCreateError".into(),
            "Failed to create new replica set \"web-abc\": quota".into()
        )
    );
}

#[test]
fn a_replica_sets_failure_is_passed_on_and_withdrawn() {
    let mut failing = set("new", 3, 0, 0).as_ref().clone();
    failing.status.as_mut().unwrap().conditions = serde_json::from_value(json!([
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "no"}]))
    .unwrap();
    let mut deployment = deployment(&json!({}));
    let status = observe(
        &deployment,
        &sets(Some(Arc::new(failing)), &[]),
        None,
        at(0),
    );
    assert!(short(&status).contains(&"ReplicaFailure=True FailedCreate".to_owned()));
    deployment.status = Some(status);
    let status = observe(
        &deployment,
        &sets(Some(set("new", 3, 3, 0)), &[]),
        None,
        at(1),
    );
    assert!(
        !short(&status)
            .iter()
            .any(|text| text.starts_with("ReplicaFailure"))
    );
}
