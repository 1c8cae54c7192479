//! The loop itself, against a small API on paused time.

use std::time::Duration;

use lab_context::Context;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::fake_api::FakeApi;
use super::{node_json, owned_by, pod_json, requesting};

/// What the API is asked for in the first minute, sorted because bindings run side by side.
async fn first_minute(nodes: Vec<Value>, pods: Vec<Value>, refused: &[&str]) -> Vec<String> {
    let (client, mut log) = FakeApi::start(nodes, pods, refused);
    let stop = CancellationToken::new();
    let running = tokio::spawn(crate::run(client, Context::simulated(1, 1.0), stop.clone()));
    let end = Instant::now() + Duration::from_secs(60);
    let mut lines = Vec::new();
    while let Ok(Some(line)) = tokio::time::timeout_at(end, log.recv()).await {
        lines.push(line);
    }
    stop.cancel();
    let stopped = timeout(Duration::from_secs(1), running).await;
    stopped.expect("stops when told").unwrap();
    lines.sort();
    lines
}

fn nodes(names: &[&str]) -> Vec<Value> {
    names
        .iter()
        .map(|name| node_json(name, &json!({})))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn three_replicas_land_on_three_nodes() {
    let web = |name| pod_json(name, &owned_by("rs"));
    let pods = vec![web("web-1"), web("web-2"), web("web-3")];
    let lines = first_minute(nodes(&["a", "b", "c"]), pods, &[]).await;
    let bound: Vec<_> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("bind "))
        .collect();
    let mut used: Vec<_> = bound
        .iter()
        .filter_map(|line| line.split(" → ").nth(1))
        .collect();
    used.sort_unstable();
    assert_eq!(used, ["a", "b", "c"], "{lines:?}");
    for line in bound {
        let (pod, node) = line.split_once(" → ").unwrap();
        let event = format!("event Scheduled: Successfully assigned default/{pod} to {node}");
        assert!(lines.contains(&event), "{event} in {lines:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_a_place_says_why_once() {
    let pods = vec![pod_json("web-1", &requesting("100", "1Gi"))];
    let lines = first_minute(nodes(&["a", "b"]), pods, &[]).await;
    assert_eq!(
        lines,
        [
            "event FailedScheduling: 0/2 nodes are available: 2 Insufficient cpu.",
            "web-1 PodScheduled=False Unschedulable",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_binding_is_tried_again() {
    let pods = vec![pod_json("web-1", &json!({}))];
    let lines = first_minute(nodes(&["a"]), pods, &["web-1"]).await;
    assert_eq!(
        lines,
        [
            "bind web-1 → a",
            "event Scheduled: Successfully assigned default/web-1 to a",
            "refuse web-1",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn pods_fill_the_nodes_and_the_rest_wait() {
    let pods = (0..25)
        .map(|i| pod_json(&format!("web-{i}"), &json!({})))
        .collect();
    let lines = first_minute(nodes(&["a", "b"]), pods, &[]).await;
    let count = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!(count("bind "), 20);
    assert_eq!(
        count("event FailedScheduling: 0/2 nodes are available: 2 Too many pods."),
        5
    );
}
