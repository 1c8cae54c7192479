//! The queue and the brain on paused time.

use std::time::Duration;

use k8s_openapi::api::core::v1 as k8s;
use kube::runtime::watcher::Event;
use lab_context::Context;
use serde_json::{Value, json};
use tokio::time::{Instant, advance};

use super::{node_json, pod_json, requesting, watched};
use crate::WatchedPod;
use crate::brain::{Attempt, Brain};

fn brain(nodes: &[Value]) -> Brain {
    let mut brain = Brain::new(Context::simulated(1, 1.0));
    brain.observe_node(Event::Init);
    for node in nodes {
        brain.observe_node(Event::InitApply(
            serde_json::from_value(node.clone()).unwrap(),
        ));
    }
    brain.observe_node(Event::InitDone);
    brain.observe_pod(Event::Init);
    brain.observe_pod(Event::InitDone);
    brain
}

fn one_node(cpu: &str) -> Value {
    node_json("a", &json!({"status": {"allocatable": {"cpu": cpu}}}))
}

fn apply(brain: &mut Brain, name: &str, changes: &Value) {
    brain.observe_pod(Event::Apply(watched(name, changes)));
}

/// Attempts everything that is due, in words.
fn attempts(brain: &mut Brain) -> Vec<String> {
    brain.tick(Instant::now());
    let mut said = Vec::new();
    while brain.has_work() {
        said.extend(brain.attempt(Instant::now()).map(|attempt| match attempt {
            Attempt::Bind { pod, node } => format!("{} → {node}", pod.name),
            Attempt::Unschedulable {
                pod,
                reason,
                is_news,
            } => {
                brain.condition_written(&pod.uid, reason);
                format!("{}: {}", pod.name, if is_news { "news" } else { "again" })
            }
        }));
    }
    said
}

#[tokio::test(start_paused = true)]
async fn nothing_is_decided_before_both_lists_are_in() {
    let mut brain = Brain::new(Context::simulated(1, 1.0));
    brain.observe_node(Event::Init);
    brain.observe_node(Event::InitApply(
        serde_json::from_value(one_node("4")).unwrap(),
    ));
    brain.observe_node(Event::InitDone);
    brain.observe_pod(Event::Init);
    brain.observe_pod(Event::InitApply(watched("web-1", &json!({}))));
    assert!(!brain.has_work());
    brain.observe_pod(Event::InitDone);
    assert_eq!(attempts(&mut brain), ["web-1 → a"]);
}

#[tokio::test(start_paused = true)]
async fn room_is_taken_before_the_binding_is_confirmed() {
    let mut brain = brain(&[one_node("1")]);
    apply(&mut brain, "web-1", &requesting("1", "1Gi"));
    apply(&mut brain, "web-2", &requesting("1", "1Gi"));
    assert_eq!(attempts(&mut brain), ["web-1 → a", "web-2: news"]);
}

#[tokio::test(start_paused = true)]
async fn an_older_state_of_an_assumed_pod_changes_nothing() {
    let mut brain = brain(&[one_node("1")]);
    apply(&mut brain, "web-1", &requesting("1", "1Gi"));
    assert_eq!(attempts(&mut brain), ["web-1 → a"]);
    let mut labelled = requesting("1", "1Gi");
    labelled["metadata"]["labels"] = json!({"colour": "blue"});
    apply(&mut brain, "web-1", &labelled);
    assert!(attempts(&mut brain).is_empty());
}

#[tokio::test(start_paused = true)]
async fn important_pods_go_first_then_the_oldest() {
    let mut brain = brain(&[one_node("4")]);
    apply(&mut brain, "web-1", &json!({}));
    apply(&mut brain, "web-2", &json!({}));
    apply(&mut brain, "urgent-1", &json!({"spec": {"priority": 1000}}));
    assert_eq!(
        attempts(&mut brain),
        ["urgent-1 → a", "web-1 → a", "web-2 → a"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_parked_pod_waits_for_a_change_and_for_its_back_off() {
    let mut brain = brain(&[one_node("1")]);
    apply(&mut brain, "web-1", &requesting("2", "1Gi"));
    assert_eq!(attempts(&mut brain), ["web-1: news"]);
    advance(Duration::from_secs(60)).await;
    assert!(attempts(&mut brain).is_empty());
    let node = |cpu| Event::Apply(serde_json::from_value::<k8s::Node>(one_node(cpu)).unwrap());
    brain.observe_node(node("1500m"));
    assert_eq!(attempts(&mut brain), ["web-1: again"]);
    brain.observe_node(node("2"));
    advance(Duration::from_millis(1999)).await;
    assert!(attempts(&mut brain).is_empty());
    advance(Duration::from_millis(1)).await;
    assert_eq!(attempts(&mut brain), ["web-1 → a"]);
}

#[tokio::test(start_paused = true)]
async fn the_back_off_ends_at_ten_seconds() {
    let mut brain = brain(&[one_node("1")]);
    apply(&mut brain, "web-1", &requesting("1", "1Gi"));
    let mut waits = Vec::new();
    for _ in 0..6 {
        assert_eq!(attempts(&mut brain), ["web-1 → a"]);
        brain.binding_failed("uid-web-1", Instant::now());
        let wait = brain.next_tick().unwrap() - Instant::now();
        waits.push(wait.as_secs());
        advance(wait).await;
    }
    assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
}

#[tokio::test(start_paused = true)]
async fn a_finished_pod_makes_room() {
    let mut brain = brain(&[one_node("1")]);
    apply(&mut brain, "web-1", &requesting("1", "1Gi"));
    apply(&mut brain, "web-2", &requesting("1", "1Gi"));
    assert_eq!(attempts(&mut brain), ["web-1 → a", "web-2: news"]);
    let mut done = requesting("1", "1Gi");
    done["spec"]["nodeName"] = json!("a");
    done["status"] = json!({"phase": "Succeeded"});
    apply(&mut brain, "web-1", &done);
    advance(Duration::from_secs(1)).await;
    assert_eq!(attempts(&mut brain), ["web-2 → a"]);
}

#[tokio::test(start_paused = true)]
async fn what_vanished_while_the_watch_was_down_makes_room() {
    let mut brain = brain(&[one_node("1")]);
    apply(&mut brain, "web-1", &requesting("1", "1Gi"));
    apply(&mut brain, "web-2", &requesting("1", "1Gi"));
    apply(&mut brain, "web-3", &requesting("1", "1Gi"));
    assert_eq!(
        attempts(&mut brain),
        ["web-1 → a", "web-2: news", "web-3: news"]
    );
    brain.observe_pod(Event::Init);
    let survivor: WatchedPod =
        serde_json::from_value(pod_json("web-3", &requesting("1", "1Gi"))).unwrap();
    brain.observe_pod(Event::InitApply(survivor));
    brain.observe_pod(Event::InitDone);
    advance(Duration::from_secs(1)).await;
    assert_eq!(attempts(&mut brain), ["web-3 → a"]);
}

#[tokio::test(start_paused = true)]
async fn pods_that_are_not_ours_to_place_are_left_alone() {
    let mut brain = brain(&[one_node("4")]);
    apply(
        &mut brain,
        "web-1",
        &json!({"spec": {"schedulerName": "other"}}),
    );
    apply(
        &mut brain,
        "web-2",
        &json!({"spec": {"schedulingGates": [{"name": "later"}]}}),
    );
    apply(&mut brain, "web-3", &json!({"spec": {"nodeName": "a"}}));
    let dying = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    apply(&mut brain, "web-4", &dying);
    assert!(attempts(&mut brain).is_empty());
    apply(&mut brain, "web-2", &json!({}));
    assert_eq!(attempts(&mut brain), ["web-2 → a"]);
}

#[tokio::test(start_paused = true)]
async fn a_neighbour_helps_only_pods_that_look_at_others() {
    let mut brain = brain(&[node_json(
        "a",
        &json!({"metadata": {"labels": {"zone": "east"}}}),
    )]);
    let term = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "db"}}});
    let near = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    apply(&mut brain, "web-1", &json!({"spec": {"affinity": near}}));
    apply(&mut brain, "big-1", &requesting("100", "1Gi"));
    assert_eq!(attempts(&mut brain), ["web-1: news", "big-1: news"]);
    apply(&mut brain, "db-1", &json!({"spec": {"nodeName": "a"}}));
    advance(Duration::from_secs(1)).await;
    assert_eq!(attempts(&mut brain), ["web-1 → a"]);
}
