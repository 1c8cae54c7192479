//! Canaries whose pods are the only means to divide the traffic.

use std::time::Duration;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use lab_api::rollouts::{REVISION, Rollout};
use serde_json::{Value, json};

use super::Stage;
use crate::harness::NEVER_READY;

fn steps(steps: Value) -> Value {
    json!({"canary": {"steps": steps}})
}

async fn sleep(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn pauses_end_by_themselves_however_their_length_is_written() {
    let pauses = json!([{"pause": {"duration": 600}}, {"pause": {"duration": "600"}}, {"pause": {"duration": "2h"}}]);
    let stage = Stage::start(steps(pauses), json!({})).await;
    stage.set_image("shop:2").await;
    let mut waited = Vec::new();
    for index in 0..3 {
        stage.reaches_step(index).await;
        stage.reaches("Paused", "CanaryPauseStep").await;
        let began = stage.now();
        while stage.status().await.current_step_index == Some(index) {
            sleep(10).await;
        }
        waited.push(stage.now().duration_since(began).as_secs() / 60);
    }
    stage.reaches("Healthy", "").await;
    for (found, expected) in waited.iter().zip([10, 10, 120]) {
        assert!((expected - 1..=expected + 1).contains(found), "{waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_abort_at_any_step_brings_the_stable_version_back_and_a_retry_begins_again() {
    let list = json!([{"setWeight": 34}, {"pause": {}}, {"setWeight": 67}, {"pause": {}}]);
    for at in [1, 3] {
        let stage = Stage::start(steps(list.clone()), json!({})).await;
        stage.set_image("shop:2").await;
        stage.reaches_step(1).await;
        stage.reaches("Paused", "CanaryPauseStep").await;
        if at == 3 {
            stage.promote().await;
            stage.reaches_step(3).await;
            stage.reaches("Paused", "CanaryPauseStep").await;
            stage.has_pods(&[("shop:1", 1), ("shop:2", 2)]).await;
        }
        stage.abort().await;
        let message = "RolloutAborted: Rollout aborted update to revision 2";
        stage.reaches("Degraded", message).await;
        stage.has_pods(&[("shop:1", 3)]).await;
        let status = stage.status().await;
        assert_eq!(status.current_step_index, Some(0));
        assert!(status.pause_conditions.is_empty());
        assert!(status.aborted_at.is_some());
        stage.retry().await;
        stage.reaches("Paused", "CanaryPauseStep").await;
        assert_eq!(stage.status().await.current_step_index, Some(1));
        stage.promote_full().await;
        stage.reaches("Healthy", "").await;
        stage.has_pods(&[("shop:2", 3)]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_stable_template_again_ends_an_aborted_update() {
    let stage = Stage::start(steps(json!([{"setWeight": 34}, {"pause": {}}])), json!({})).await;
    stage.set_image("shop:2").await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    stage.abort().await;
    stage
        .reaches(
            "Degraded",
            "RolloutAborted: Rollout aborted update to revision 2",
        )
        .await;
    stage.set_image("shop:1").await;
    stage.reaches("Healthy", "").await;
    assert_eq!(stage.status().await.current_step_index, Some(2));
    stage.has_event("SkipSteps", "Rollback to stable").await;
    let sets = stage.cluster.list::<ReplicaSet>("default").await;
    let mut revisions: Vec<_> = sets
        .iter()
        .map(|set| set.metadata.annotations.as_ref().unwrap()[REVISION].clone())
        .collect();
    revisions.sort();
    assert_eq!(revisions, ["2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn promoting_while_not_paused_skips_one_step_and_full_promotion_skips_all() {
    let list = json!([{"setWeight": 34}, {"pause": {"duration": "10h"}}, {"setWeight": 67}, {"pause": {"duration": "10h"}}]);
    let stage = Stage::start(steps(list), json!({})).await;
    stage.set_image("shop:2").await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    stage.promote().await;
    stage.reaches_step(3).await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    stage.promote_full().await;
    stage.reaches("Healthy", "").await;
    stage
        .has_event("RolloutCompleted", "Full promotion requested")
        .await;
    assert!(!stage.status().await.promote_full);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_inside_the_window_skips_the_steps_and_one_outside_does_not() {
    let stage = Stage::start(
        steps(json!([{"setWeight": 34}, {"pause": {}}])),
        json!({"rollbackWindow": {"revisions": 1}}),
    )
    .await;
    for image in ["shop:2", "shop:3"] {
        sleep(60).await;
        stage.set_image(image).await;
        stage.reaches("Paused", "CanaryPauseStep").await;
        stage.promote_full().await;
        stage.reaches("Healthy", "").await;
    }
    stage.set_image("shop:2").await;
    stage.reaches("Healthy", "").await;
    stage.has_pods(&[("shop:2", 3)]).await;
    stage
        .has_event("RolloutCompleted", "Rollback within window")
        .await;
    // Back to 3 is no way back in time, and 1 is too far back from there.
    stage.set_image("shop:3").await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    stage.promote_full().await;
    stage.reaches("Healthy", "").await;
    stage.set_image("shop:1").await;
    stage.reaches("Paused", "CanaryPauseStep").await;
}

#[tokio::test(start_paused = true)]
async fn a_manual_pause_stops_the_steps_and_promoting_resumes() {
    let stage = Stage::start(
        steps(json!([{"setWeight": 34}, {"pause": {"duration": "1h"}}])),
        json!({}),
    )
    .await;
    stage.set_image("shop:2").await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    stage.patch(json!({"spec": {"paused": true}})).await;
    stage.reaches("Paused", "manually paused").await;
    sleep(4 * 3600).await;
    stage.reaches("Paused", "manually paused").await;
    stage.patch(json!({"spec": {"paused": false}})).await;
    stage.reaches("Healthy", "").await;
}

#[tokio::test(start_paused = true)]
async fn a_version_that_never_comes_up_is_overdue_and_aborted_if_so_wished() {
    for abort in [false, true] {
        let stage = Stage::start(
            steps(json!([{"setWeight": 34}, {"setWeight": 67}])),
            json!({"progressDeadlineSeconds": 300, "progressDeadlineAbort": abort}),
        )
        .await;
        let began = stage.now();
        stage.set_image(NEVER_READY).await;
        let set = stage.cluster.list::<ReplicaSet>("default");
        stage
            .cluster
            .until(true, async || stage.status().await.phase == "Degraded")
            .await;
        let waited = stage.now().duration_since(began).as_secs();
        assert!((300..400).contains(&waited), "{waited}");
        drop(set);
        let status = stage.status().await;
        if abort {
            stage
                .cluster
                .until(true, async || stage.status().await.abort)
                .await;
            stage.has_pods(&[("shop:1", 3)]).await;
        } else {
            assert!(
                status.message.starts_with("ProgressDeadlineExceeded"),
                "{}",
                status.message
            );
            assert!(!status.abort);
        }
        // The old version serves meanwhile.
        let pods = stage.pods().await;
        assert!(
            pods.iter()
                .any(|(image, count)| image == "shop:1" && *count >= 2),
            "{pods:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_version_in_mid_update_replaces_the_canary() {
    let stage = Stage::start(steps(json!([{"setWeight": 34}, {"pause": {}}])), json!({})).await;
    stage.set_image("shop:2").await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    stage.has_pods(&[("shop:1", 2), ("shop:2", 1)]).await;
    stage.set_image("shop:3").await;
    stage.has_pods(&[("shop:1", 2), ("shop:3", 1)]).await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    assert_eq!(stage.status().await.current_step_index, Some(1));
}

#[tokio::test(start_paused = true)]
async fn other_steps_begin_the_update_again() {
    let stage = Stage::start(steps(json!([{"setWeight": 34}, {"pause": {}}])), json!({})).await;
    stage.set_image("shop:2").await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    stage
        .patch(json!({"spec": {"strategy": {"canary": {"steps": [{"pause": {}}]}}}}))
        .await;
    stage.reaches_step(0).await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    stage.promote().await;
    stage.reaches("Healthy", "").await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_replaces_every_pod_and_keeps_enough_of_them() {
    let stage = Stage::start(steps(json!([{"setWeight": 34}])), json!({})).await;
    let names = async || {
        let pods = stage.cluster.list::<Pod>("default").await;
        let names = pods.into_iter().map(|pod| pod.metadata.name.unwrap());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let before = names().await;
    sleep(60).await;
    stage.cluster.observe();
    let at = stage.now().to_string();
    stage.patch(json!({"spec": {"restartAt": at}})).await;
    stage.reaches("Healthy", "").await;
    let after = names().await;
    assert!(before.is_disjoint(&after), "{before:?} {after:?}");
    assert!(stage.cluster.seen().fewest_ready >= 2);
    assert!(stage.status().await.restarted_at.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_resize_in_mid_update_keeps_the_share() {
    let stage = Stage::start(
        steps(json!([{"setWeight": 50}, {"pause": {}}])),
        json!({"replicas": 4}),
    )
    .await;
    stage.set_image("shop:2").await;
    stage.has_pods(&[("shop:1", 2), ("shop:2", 2)]).await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    stage.patch(json!({"spec": {"replicas": 8}})).await;
    stage.has_pods(&[("shop:1", 4), ("shop:2", 4)]).await;
    stage.patch(json!({"spec": {"replicas": 2}})).await;
    stage.has_pods(&[("shop:1", 1), ("shop:2", 1)]).await;
}

#[tokio::test(start_paused = true)]
async fn old_versions_are_kept_as_many_as_wanted() {
    let stage = Stage::start(steps(json!([])), json!({"revisionHistoryLimit": 2})).await;
    for number in 2..=6 {
        stage.set_image(&format!("shop:{number}")).await;
        stage.reaches("Healthy", "").await;
    }
    let count = async || stage.cluster.list::<ReplicaSet>("default").await.len();
    stage.cluster.until(3, count).await;
}

#[tokio::test(start_paused = true)]
async fn replica_sets_and_pods_go_with_their_rollout() {
    let stage = Stage::start(steps(json!([{"setWeight": 34}])), json!({})).await;
    stage
        .cluster
        .delete::<Rollout>("web", &DeleteParams::default())
        .await;
    let left = async || {
        let sets = stage.cluster.list::<ReplicaSet>("default").await.len();
        (sets, stage.cluster.list::<Pod>("default").await.len())
    };
    stage.cluster.until((0, 0), left).await;
}

#[tokio::test(start_paused = true)]
async fn an_invalid_rollout_says_so_and_recovers() {
    let stage = Stage::unready(steps(json!([{"experiment": {}}])), json!({})).await;
    let message = "InvalidSpec: The Rollout \"web\" is invalid: spec.strategy.canary.steps[0].experiment: Forbidden: experiment is not supported by this cluster";
    stage.reaches("Degraded", message).await;
    stage
        .patch(json!({"spec": {"strategy": {"canary": {"steps": [{"setWeight": 10}]}}}}))
        .await;
    stage.reaches("Healthy", "").await;
}

#[tokio::test(start_paused = true)]
async fn the_status_is_as_upstream_writes_it() {
    let stage = Stage::start(steps(json!([{"setWeight": 34}, {"pause": {}}])), json!({})).await;
    sleep(5).await;
    stage.is_golden("canary-healthy").await;
    stage.set_image("shop:2").await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    sleep(5).await;
    stage.is_golden("canary-paused").await;
    stage.abort().await;
    stage.has_pods(&[("shop:1", 3)]).await;
    sleep(5).await;
    stage.is_golden("canary-aborted").await;
}
