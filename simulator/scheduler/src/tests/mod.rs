//! The scheduler as its users see it: decisions as tables, and the loop against a small API.

mod deciding;
mod fake_api;
mod living;
mod placing;
mod waiting;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{Node, PodInfo, Snapshot, Templates, WatchedPod};

/// A ready node of 4 cores and 8 GiB, overlaid with `changes`.
fn node_json(name: &str, changes: &Value) -> Value {
    let mut node = json!({
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/hostname": name},
            "resourceVersion": "1",
        },
        "spec": {},
        "status": {
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    });
    overlay(&mut node, changes);
    node
}

/// A pod labelled `app: NAME-without-its-number`, overlaid with `changes`.
fn pod_json(name: &str, changes: &Value) -> Value {
    let app = name.rsplit_once('-').map_or(name, |(app, _)| app);
    let mut pod = json!({
        "metadata": {
            "namespace": "default",
            "name": name,
            "uid": format!("uid-{name}"),
            "labels": {"app": app},
            "resourceVersion": "1",
        },
        "spec": {"containers": [{"name": "main"}]},
    });
    overlay(&mut pod, changes);
    pod
}

fn overlay(onto: &mut Value, changes: &Value) {
    match (onto, changes) {
        (Value::Object(onto), Value::Object(changes)) => {
            for (key, value) in changes {
                overlay(onto.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (onto, changes) => *onto = changes.clone(),
    }
}

fn node(name: &str, changes: &Value) -> Node {
    Node::read(&serde_json::from_value(node_json(name, changes)).unwrap())
}

fn watched(name: &str, changes: &Value) -> WatchedPod {
    serde_json::from_value(pod_json(name, changes)).unwrap()
}

fn pod(name: &str, changes: &Value) -> PodInfo {
    Templates::default().read(&watched(name, changes))
}

/// Changes that ask for CPU and memory.
fn requesting(cpu: &str, memory: &str) -> Value {
    let requests = json!({"cpu": cpu, "memory": memory});
    json!({"spec": {"containers": [{"name": "main", "resources": {"requests": requests}}]}})
}

/// Changes that make a ReplicaSet the controller.
fn owned_by(uid: &str) -> Value {
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": uid, "uid": uid, "controller": true});
    json!({"metadata": {"ownerReferences": [owner]}})
}

fn snapshot(nodes: Vec<Node>, pods: Vec<(PodInfo, &str)>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for node in nodes {
        snapshot.set_node(node);
    }
    for (pod, node) in pods {
        snapshot.place(Arc::new(pod), node);
    }
    snapshot
}
