use super::*;
use crate::deployment::revision::build;
use serde_json::{Value, json};

/// A Deployment `web` of image `shop:2`, changed by `spec`.
fn deployment(spec: Value) -> Deployment {
    let mut base = json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "d1", "generation": 1,
            "annotations": {REVISION: "2"}},
        "spec": {"replicas": 4, "revisionHistoryLimit": 10, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "shop:2"}]}}}});
    for (key, value) in spec.as_object().unwrap() {
        base["spec"][key] = value.clone();
    }
    serde_json::from_value(base).unwrap()
}

/// The ReplicaSet of image `shop:VERSION`, as the Deployment would have left it.
fn set(deployment: &Deployment, version: u32, wanted: i32, available: i32) -> Arc<ReplicaSet> {
    let mut of_version = deployment.clone();
    let template = &mut of_version.spec.as_mut().unwrap().template;
    template.spec.as_mut().unwrap().containers[0].image = Some(format!("shop:{version}"));
    let mut set = build(&of_version, &[], wanted);
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(REVISION.to_owned(), version.to_string());
    set.metadata.name = Some(format!("web-{version}"));
    set.metadata.generation = Some(1);
    set.status = serde_json::from_value(json!({
        "replicas": wanted, "availableReplicas": available, "observedGeneration": 1}))
    .unwrap();
    Arc::new(set)
}

/// The changes in short: `create 3`, `web-1 → 2`, `renew web-2`, `revision 2`, `delete web-1`.
fn short(changes: &[Change]) -> Vec<String> {
    let name = |set: &ReplicaSet| set.metadata.name.clone().unwrap();
    changes
        .iter()
        .map(|change| match change {
            Change::Create { replicas } => format!("create {replicas}"),
            Change::Resize { set, to } => format!("{} → {to}", name(set)),
            Change::Renew { set, .. } => format!("renew {}", name(set)),
            Change::SetRevision(revision) => format!("revision {revision}"),
            Change::Delete(set) => format!("delete {}", name(set)),
        })
        .collect()
}

/// `sets` are version, wanted and available; version 2 is the Deployment's.
#[track_caller]
fn case(spec: Value, sets: &[(u32, i32, i32)], expected: &[&str]) {
    let deployment = deployment(spec);
    check(&deployment, &deployment, sets, false, expected);
}

/// As [`case`], where the ReplicaSets were last resized when the Deployment was `noted`.
#[track_caller]
fn check(
    deployment: &Deployment,
    noted: &Deployment,
    sets: &[(u32, i32, i32)],
    old_pods_remain: bool,
    expected: &[&str],
) {
    let owned = sets
        .iter()
        .map(|(version, wanted, available)| set(noted, *version, *wanted, *available))
        .collect();
    let sets = Sets::sort(deployment, owned);
    assert_eq!(
        short(&desired(deployment, &sets, old_pods_remain)),
        expected
    );
}

#[test]
fn a_first_rollout_creates_all_replicas_at_once() {
    case(json!({}), &[], &["create 4"]);
    case(json!({"replicas": 0}), &[], &["create 0"]);
}

#[test]
fn a_rolling_update_alternates_between_growing_and_shrinking() {
    // 25 % of 4: one more, one less.
    case(json!({}), &[(1, 4, 4)], &["create 1"]);
    case(json!({}), &[(1, 4, 4), (2, 1, 0)], &["web-1 → 3"]);
    case(json!({}), &[(1, 3, 3), (2, 1, 0)], &["web-2 → 2"]);
    case(json!({}), &[(1, 3, 3), (2, 2, 0)], &[]);
    case(json!({}), &[(1, 3, 3), (2, 2, 2)], &["web-1 → 1"]);
    case(json!({}), &[(1, 1, 1), (2, 2, 2)], &["web-2 → 4"]);
    case(json!({}), &[(1, 0, 0), (2, 4, 4)], &[]);
}

#[test]
fn a_new_size_is_spread_without_rolling_out() {
    let before = deployment(json!({}));
    let after = deployment(json!({"replicas": 8}));
    check(&after, &before, &[(2, 4, 4)], false, &["web-2 → 8"]);
    let to = ["web-2 → 4", "web-1 → 6"];
    check(&after, &before, &[(1, 3, 3), (2, 2, 2)], false, &to);
    let none = deployment(json!({"replicas": 0}));
    let to = ["web-2 → 0", "web-1 → 0"];
    check(&none, &before, &[(1, 3, 3), (2, 2, 2)], false, &to);
}

#[test]
fn a_paused_deployment_follows_its_size_but_not_its_template() {
    case(json!({"paused": true}), &[(1, 4, 4)], &[]);
    case(json!({"paused": true}), &[], &[]);
    let before = deployment(json!({}));
    let after = deployment(json!({"paused": true, "replicas": 6}));
    check(&after, &before, &[(1, 4, 4)], false, &["web-1 → 6"]);
}

#[test]
fn recreate_waits_until_the_last_old_pod_is_gone() {
    let recreate = deployment(json!({"strategy": {"type": "Recreate"}}));
    let case = |sets: &[(u32, i32, i32)], remain, expected: &[&str]| {
        check(&recreate, &recreate, sets, remain, expected);
    };
    case(&[], false, &["create 4"]);
    case(&[(1, 4, 4)], true, &["web-1 → 0"]);
    case(&[(1, 0, 0)], true, &[]);
    case(&[(1, 0, 0)], false, &["create 4"]);
    case(&[(1, 0, 0), (2, 4, 4)], false, &[]);
}

#[test]
fn old_replica_sets_are_removed_only_when_the_rollout_is_complete() {
    let limit = json!({"revisionHistoryLimit": 0});
    case(
        limit.clone(),
        &[(0, 0, 0), (1, 0, 0), (2, 4, 4)],
        &["delete web-0", "delete web-1"],
    );
    case(limit, &[(1, 0, 0), (2, 4, 3)], &[]);
}

#[test]
fn going_back_renews_the_old_replica_set_first() {
    // Version 3 was rolled out, and the template is that of version 2 again.
    let mut back = deployment(json!({}));
    back.metadata
        .annotations
        .as_mut()
        .unwrap()
        .insert(REVISION.to_owned(), "3".to_owned());
    check(
        &back,
        &back,
        &[(2, 0, 0), (3, 4, 4)],
        false,
        &["renew web-2"],
    );
}

#[test]
fn the_deployment_carries_the_revision_of_its_new_replica_set() {
    let mut stale = deployment(json!({}));
    stale.metadata.annotations = None;
    check(&stale, &stale, &[(2, 4, 4)], false, &["revision 2"]);
}

#[test]
fn a_changed_min_ready_time_reaches_the_replica_set() {
    let before = deployment(json!({}));
    let after = deployment(json!({"minReadySeconds": 5}));
    check(&after, &before, &[(2, 4, 4)], false, &["renew web-2"]);
}

#[test]
fn a_deployment_that_is_being_deleted_changes_nothing() {
    let mut going = deployment(json!({}));
    going.metadata.deletion_timestamp =
        serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    check(&going, &going, &[(1, 4, 4)], false, &[]);
}
