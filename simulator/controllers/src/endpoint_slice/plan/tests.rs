use super::*;
use crate::pods::tests::record;
use serde_json::{Value, json};

fn service(spec: Value) -> Service {
    let mut base = json!({
        "metadata": {"name": "web", "namespace": "default", "labels": {"team": "a"}},
        "spec": {"clusterIP": "10.0.0.1", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}});
    for (key, value) in spec.as_object().unwrap() {
        base["spec"][key] = value.clone();
    }
    serde_json::from_value(base).unwrap()
}

fn pod(number: usize, ready: bool, terminating: bool) -> Arc<PodRecord> {
    let name = format!("p{number:03}");
    Arc::new(record(json!({
        "metadata": {"name": name, "uid": format!("u{number:03}"),
            "deletionTimestamp": terminating.then_some("2026-01-01T00:00:00Z")},
        "spec": {"nodeName": "node-1", "containers": [
            {"name": "c", "ports": [{"name": "http", "containerPort": 8000 + number % 2}]}]},
        "status": {"phase": "Running", "podIP": format!("10.1.0.{}", number % 250),
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}})))
}

fn pods(count: usize) -> Vec<Arc<PodRecord>> {
    (0..count).map(|number| pod(number, true, false)).collect()
}

/// Applies changes as the API would.
fn apply(slices: &mut Vec<Arc<EndpointSlice>>, changes: Vec<Change>) {
    for change in changes {
        match change {
            Change::Create(mut slice) => {
                slice.metadata.name = Some(format!("web-{}", slices.len()));
                slices.push(Arc::from(slice));
            }
            Change::Update {
                slice,
                endpoints,
                ports,
                labels,
            } => {
                let at = slices
                    .iter()
                    .position(|found| Arc::ptr_eq(found, &slice))
                    .unwrap();
                let mut updated = slice.as_ref().clone();
                updated.endpoints = Some(endpoints);
                updated.ports = Some(ports);
                updated.metadata.labels = Some(labels);
                slices[at] = Arc::new(updated);
            }
            Change::Delete(slice) => slices.retain(|found| !Arc::ptr_eq(found, &slice)),
        }
    }
}

fn sizes(slices: &[Arc<EndpointSlice>]) -> Vec<usize> {
    slices
        .iter()
        .map(|slice| slice.endpoints.as_ref().map_or(0, Vec::len))
        .collect()
}

#[track_caller]
fn conditions(ready: bool, terminating: bool, publish: bool, expected: (bool, bool, bool)) {
    let service = service(json!({"publishNotReadyAddresses": publish}));
    let found = endpoint(&service, &pod(1, ready, terminating))
        .conditions
        .unwrap();
    let found = (
        found.ready.unwrap(),
        found.serving.unwrap(),
        found.terminating.unwrap(),
    );
    assert_eq!(found, expected, "ready, serving, terminating");
}

#[test]
fn a_terminating_pod_is_never_ready_but_may_still_serve() {
    conditions(true, false, false, (true, true, false));
    conditions(false, false, false, (false, false, false));
    conditions(true, true, false, (false, true, true));
    conditions(false, true, false, (false, false, true));
    conditions(false, false, true, (true, false, false));
    conditions(true, true, true, (true, true, true));
}

#[test]
fn a_service_without_pods_has_one_empty_slice() {
    let mut slices = Vec::new();
    apply(&mut slices, desired(&service(json!({})), &[], &[]));
    assert_eq!(sizes(&slices), [0]);
    assert_eq!(desired(&service(json!({})), &[], &slices), []);
    // The first pod replaces it, and its going brings it back.
    let changes = desired(&service(json!({})), &pods(1), &slices);
    apply(&mut slices, changes);
    assert_eq!(sizes(&slices), [1]);
    let changes = desired(&service(json!({})), &[], &slices);
    apply(&mut slices, changes);
    assert_eq!(sizes(&slices), [0]);
}

#[test]
fn a_slice_says_whose_it_is() {
    let headless = service(json!({"clusterIP": "None"}));
    let mut slices = Vec::new();
    apply(&mut slices, desired(&headless, &pods(1), &[]));
    let expected = json!({
        "team": "a",
        SERVICE_NAME: "web",
        ENDPOINT_SLICE_MANAGED_BY: ENDPOINT_SLICE_CONTROLLER,
        HEADLESS: "",
    });
    assert_eq!(json!(slices[0].metadata.labels), expected);
    let ports = json!([{"name": "", "port": 8080, "protocol": "TCP"}]);
    assert_eq!(json!(slices[0].ports), ports);
    let endpoint = json!({
        "addresses": ["10.1.0.0"],
        "conditions": {"ready": true, "serving": true, "terminating": false},
        "nodeName": "node-1",
        "targetRef": {"kind": "Pod", "namespace": "default", "name": "p000", "uid": "u000"},
    });
    assert_eq!(json!(slices[0].endpoints), json!([endpoint]));
}

#[test]
fn no_slice_holds_more_than_a_hundred_endpoints() {
    let mut slices = Vec::new();
    apply(&mut slices, desired(&service(json!({})), &pods(250), &[]));
    assert_eq!(sizes(&slices), [100, 100, 50]);
    assert_eq!(desired(&service(json!({})), &pods(250), &slices), []);
}

#[test]
fn one_pods_change_touches_one_slice() {
    let mut slices = Vec::new();
    apply(&mut slices, desired(&service(json!({})), &pods(250), &[]));
    let mut changed = pods(250);
    changed[150] = pod(150, false, false);
    let changes = desired(&service(json!({})), &changed, &slices);
    assert_eq!(changes.len(), 1);
    apply(&mut slices, changes);
    // A pod that goes leaves room that the next one takes.
    changed.remove(20);
    let changes = desired(&service(json!({})), &changed, &slices);
    assert_eq!(changes.len(), 1);
    apply(&mut slices, changes);
    assert_eq!(sizes(&slices), [99, 100, 50]);
    changed.push(pod(300, true, false));
    let changes = desired(&service(json!({})), &changed, &slices);
    assert_eq!(changes.len(), 1);
    apply(&mut slices, changes);
    assert_eq!(sizes(&slices), [100, 100, 50]);
}

#[test]
fn pods_with_different_numbers_for_a_named_port_get_slices_of_their_own() {
    let by_name = service(json!({"ports": [{"port": 80, "targetPort": "http"}]}));
    let mut slices = Vec::new();
    apply(&mut slices, desired(&by_name, &pods(4), &[]));
    assert_eq!(sizes(&slices), [2, 2]);
    // The target port becomes a number: the slices of the old ports go.
    let changes = desired(&service(json!({})), &pods(4), &slices);
    apply(&mut slices, changes);
    assert_eq!(sizes(&slices), [4]);
}
