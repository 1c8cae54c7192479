//! Blue/green: preview, switch, and the way back.

use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::api::DeleteParams;
use lab_api::rollouts::{MANAGED_BY, Rollout};
use serde_json::{Value, json};

use super::Stage;

fn strategy(fields: Value) -> Value {
    let mut blue_green = json!({"activeService": "web-active", "previewService": "web-preview"});
    for (key, value) in fields.as_object().unwrap() {
        blue_green[key] = value.clone();
    }
    json!({"blueGreen": blue_green})
}

async fn sleep(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn the_switch_comes_by_itself_once_the_new_version_is_up() {
    let stage = Stage::start(strategy(json!({})), json!({})).await;
    assert_eq!(stage.served("web-active").await, "shop:1");
    assert_eq!(stage.served("web-preview").await, "shop:1");
    stage.set_image("shop:2").await;
    stage.reaches("Healthy", "").await;
    assert_eq!(stage.served("web-active").await, "shop:2");
    // Both are whole until the delay is over.
    assert_eq!(
        stage.pods().await,
        [("shop:1".to_owned(), 3), ("shop:2".to_owned(), 3)]
    );
    sleep(40).await;
    assert_eq!(stage.pods().await, [("shop:2".to_owned(), 3)]);
    let service: Service = stage.cluster.get("web-active").await.unwrap();
    assert_eq!(service.metadata.annotations.unwrap()[MANAGED_BY], "web");
}

#[tokio::test(start_paused = true)]
async fn without_automatic_promotion_a_person_decides() {
    let stage = Stage::start(strategy(json!({"autoPromotionEnabled": false})), json!({})).await;
    stage.set_image("shop:2").await;
    stage.reaches("Paused", "BlueGreenPause").await;
    assert_eq!(stage.served("web-preview").await, "shop:2");
    assert_eq!(stage.served("web-active").await, "shop:1");
    let status = stage.status().await;
    assert_eq!((status.hpa_replicas, status.available_replicas), (3, 3));
    assert!(status.selector.contains(&status.blue_green.active_selector));
    stage.is_golden("blue-green-paused").await;
    sleep(7200).await;
    stage.reaches("Paused", "BlueGreenPause").await;
    stage.promote().await;
    stage.reaches("Healthy", "").await;
    assert_eq!(stage.served("web-active").await, "shop:2");
}

#[tokio::test(start_paused = true)]
async fn promotion_seconds_count_from_the_pause() {
    let stage = Stage::start(strategy(json!({"autoPromotionSeconds": 600})), json!({})).await;
    stage.set_image("shop:2").await;
    stage.reaches("Paused", "BlueGreenPause").await;
    sleep(500).await;
    assert_eq!(stage.served("web-active").await, "shop:1");
    sleep(150).await;
    stage.reaches("Healthy", "").await;
    assert_eq!(stage.served("web-active").await, "shop:2");
}

#[tokio::test(start_paused = true)]
async fn a_small_preview_grows_before_it_is_promoted() {
    let fields = json!({"autoPromotionEnabled": false, "previewReplicaCount": 1});
    let stage = Stage::start(strategy(fields), json!({})).await;
    stage.set_image("shop:2").await;
    stage.reaches("Paused", "BlueGreenPause").await;
    stage.has_pods(&[("shop:1", 3), ("shop:2", 1)]).await;
    stage.promote().await;
    stage.reaches("Healthy", "").await;
    stage.has_pods(&[("shop:1", 3), ("shop:2", 3)]).await;
    assert_eq!(stage.served("web-active").await, "shop:2");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_still_there_takes_over_at_once() {
    let fields = json!({"autoPromotionEnabled": false, "scaleDownDelaySeconds": 3600});
    let stage = Stage::start(strategy(fields), json!({})).await;
    stage.set_image("shop:2").await;
    stage.reaches("Paused", "BlueGreenPause").await;
    stage.promote().await;
    stage.reaches("Healthy", "").await;
    sleep(600).await;
    stage.set_image("shop:1").await;
    stage.reaches("Healthy", "").await;
    assert_eq!(stage.served("web-active").await, "shop:1");
    // And the other one can take over again.
    stage.set_image("shop:2").await;
    stage.reaches("Healthy", "").await;
    assert_eq!(stage.served("web-active").await, "shop:2");
}

#[tokio::test(start_paused = true)]
async fn an_abort_leaves_the_active_version_and_the_preview_goes_later() {
    let stage = Stage::start(strategy(json!({"autoPromotionEnabled": false})), json!({})).await;
    stage.set_image("shop:2").await;
    stage.reaches("Paused", "BlueGreenPause").await;
    stage.abort().await;
    stage
        .reaches(
            "Degraded",
            "RolloutAborted: Rollout aborted update to revision 2",
        )
        .await;
    assert_eq!(stage.served("web-active").await, "shop:1");
    assert_eq!(stage.served("web-preview").await, "shop:2");
    stage.has_pods(&[("shop:1", 3), ("shop:2", 3)]).await;
    sleep(40).await;
    stage.has_pods(&[("shop:1", 3)]).await;
    stage.is_golden("blue-green-aborted").await;
    stage.retry().await;
    stage.reaches("Paused", "BlueGreenPause").await;
    stage.promote_full().await;
    stage.reaches("Healthy", "").await;
    assert_eq!(stage.served("web-active").await, "shop:2");
}

#[tokio::test(start_paused = true)]
async fn old_versions_beyond_the_limit_go_at_once() {
    let fields = json!({"scaleDownDelaySeconds": 3600, "scaleDownDelayRevisionLimit": 1});
    let stage = Stage::start(strategy(fields), json!({})).await;
    for image in ["shop:2", "shop:3"] {
        stage.set_image(image).await;
        stage.reaches("Healthy", "").await;
    }
    stage.has_pods(&[("shop:2", 3), ("shop:3", 3)]).await;
    sleep(4000).await;
    stage.has_pods(&[("shop:3", 3)]).await;
}

#[tokio::test(start_paused = true)]
async fn services_are_given_back_when_the_rollout_goes() {
    let stage = Stage::start(strategy(json!({})), json!({})).await;
    stage
        .cluster
        .delete::<Rollout>("web", &DeleteParams::default())
        .await;
    let free = async || {
        let service: Service = stage.cluster.get("web-active").await.unwrap();
        let annotated = service
            .metadata
            .annotations
            .is_some_and(|annotations| annotations.contains_key(MANAGED_BY));
        (service.spec.unwrap().selector.unwrap().len(), annotated)
    };
    stage.cluster.until((1, false), free).await;
}
