//! What the snapshot adds up.

use std::sync::Arc;

use serde_json::json;

use super::{node, owned_by, pod, requesting, snapshot};
use crate::Snapshot;

fn used_cpu(snapshot: &Snapshot) -> Vec<(&str, u64)> {
    let nodes = snapshot.nodes().iter();
    nodes
        .map(|node| (&*node.name, node.usage.requested.cpu_millis))
        .collect()
}

#[test]
fn a_pod_takes_its_room_once() {
    let mut cluster = snapshot(vec![node("a", &json!({}))], vec![]);
    let web = Arc::new(pod("web-1", &requesting("1", "1Gi")));
    assert!(cluster.place(Arc::clone(&web), "a"));
    assert!(!cluster.place(web, "a"));
    assert_eq!(used_cpu(&cluster), [("a", 1000)]);
    assert!(cluster.remove_pod("uid-web-1"));
    assert!(!cluster.remove_pod("uid-web-1"));
    assert_eq!(used_cpu(&cluster), [("a", 0)]);
}

#[test]
fn a_changed_pod_replaces_itself() {
    let mut cluster = snapshot(vec![node("a", &json!({}))], vec![]);
    cluster.place(Arc::new(pod("web-1", &requesting("1", "1Gi"))), "a");
    assert!(cluster.place(Arc::new(pod("web-1", &requesting("2", "1Gi"))), "a"));
    assert_eq!(used_cpu(&cluster), [("a", 2000)]);
}

#[test]
fn a_node_that_comes_late_or_back_finds_its_pods() {
    let web = pod("web-1", &requesting("1", "1Gi"));
    let mut cluster = snapshot(vec![node("b", &json!({}))], vec![(web, "a")]);
    assert_eq!(used_cpu(&cluster), [("b", 0)]);
    cluster.set_node(node("a", &json!({})));
    assert_eq!(used_cpu(&cluster), [("b", 0), ("a", 1000)]);
    cluster.remove_node("a");
    cluster.remove_node("b");
    cluster.set_node(node("a", &json!({})));
    assert_eq!(used_cpu(&cluster), [("a", 1000)]);
}

#[test]
fn removing_a_node_keeps_the_others_apart() {
    let nodes = ["a", "b", "c"].map(|name| node(name, &json!({}))).into();
    let mut cluster = snapshot(nodes, vec![(pod("web-1", &requesting("1", "1Gi")), "c")]);
    cluster.remove_node("a");
    cluster.place(Arc::new(pod("web-2", &requesting("1", "1Gi"))), "c");
    assert_eq!(used_cpu(&cluster), [("c", 2000), ("b", 0)]);
}

#[test]
fn a_node_counts_as_changed_only_by_what_it_offers() {
    let mut cluster = snapshot(vec![node("a", &json!({}))], vec![]);
    let heartbeat = json!({"metadata": {"resourceVersion": "9"}});
    assert!(!cluster.set_node(node("a", &heartbeat)));
    assert!(cluster.set_node(node("a", &json!({"spec": {"unschedulable": true}}))));
}

#[test]
fn siblings_are_counted_per_node() {
    let sibling = |name| pod(name, &owned_by("rs"));
    let mut cluster = snapshot(
        vec![node("a", &json!({}))],
        vec![(sibling("web-1"), "a"), (sibling("web-2"), "a")],
    );
    assert_eq!(cluster.nodes()[0].usage.by_owner.get("rs"), Some(&2));
    cluster.remove_pod("uid-web-1");
    cluster.remove_pod("uid-web-2");
    assert_eq!(cluster.nodes()[0].usage.by_owner.get("rs"), None);
}
