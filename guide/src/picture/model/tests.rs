//! Pictures of small clusters.

use serde_json::json;

use super::super::rates::BackendRate;
use super::*;

fn node(name: &str, ready: &str) -> Value {
    json!({"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": ready}]}})
}

fn set(name: &str, version: &str, revision: u32) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "default", "uid": name,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"deployment.kubernetes.io/revision": revision.to_string()},
            "ownerReferences": [{"kind": "Deployment", "name": "hello", "uid": "d", "controller": true}]},
        "spec": {"template": {"metadata": {"labels": {"app": "hello"}},
            "spec": {"containers": [{"image": format!("localhost:5001/hello:{version}")}]}}},
    })
}

/// A pod of a ReplicaSet, ready on a node.
fn pod(name: &str, set: &str, version: &str, node: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "hello", "track": version},
            "ownerReferences": [{"kind": "ReplicaSet", "name": set, "uid": set, "controller": true}]},
        "spec": {"nodeName": node, "containers": [{"image": format!("localhost:5001/hello:{version}")}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"restartCount": 0, "state": {"running": {}}}]},
    })
}

/// Two nodes; two pods of version 1.0.0, one of 2.0.0.
fn objects() -> Objects {
    let mut objects = Objects::default();
    for name in ["node-1", "node-2"] {
        objects.nodes.insert(name.to_owned(), node(name, "True"));
    }
    for (name, version, revision) in [("hello-a", "1.0.0", 1), ("hello-b", "2.0.0", 2)] {
        let key = format!("default/{name}");
        objects
            .replica_sets
            .insert(key, set(name, version, revision));
    }
    for (name, set, version, node) in [
        ("hello-a-1", "hello-a", "1.0.0", "node-1"),
        ("hello-a-2", "hello-a", "1.0.0", "node-2"),
        ("hello-b-1", "hello-b", "2.0.0", "node-2"),
    ] {
        let key = format!("default/{name}");
        objects.pods.insert(key, pod(name, set, version, node));
    }
    objects
}

fn picture(objects: &Objects) -> Picture {
    Picture::of(objects, &Rates::default(), &mut Versions::default())
}

#[track_caller]
fn find<'a>(picture: &'a Picture, name: &str) -> &'a Pod {
    let pods = picture.nodes.iter().flat_map(|node| &node.pods);
    pods.chain(&picture.waiting)
        .find(|pod| pod.name == name)
        .unwrap()
}

#[test]
fn pods_stand_on_their_nodes_with_the_version_that_they_run() {
    let picture = picture(&objects());
    let seen: Vec<_> = picture
        .nodes
        .iter()
        .map(|node| {
            let pods: Vec<_> = node
                .pods
                .iter()
                .map(|pod| (pod.app.as_str(), pod.version.as_str(), pod.slot, pod.state))
                .collect();
            (node.name.as_str(), node.state, pods)
        })
        .collect();
    let (one, two) = ("1.0.0", "2.0.0");
    assert_eq!(
        seen,
        [
            ("node-1", "ready", vec![("hello", one, 0, PodState::Ready)]),
            (
                "node-2",
                "ready",
                vec![
                    ("hello", one, 0, PodState::Ready),
                    ("hello", two, 1, PodState::Ready)
                ]
            ),
        ]
    );
    let app = &picture.apps[0];
    let versions: Vec<_> = app
        .versions
        .iter()
        .map(|it| (it.version.as_str(), it.ready))
        .collect();
    assert_eq!(
        (app.name.as_str(), versions),
        ("hello", vec![(one, 2), (two, 1)])
    );
}

#[test]
fn a_pods_state_is_what_a_learner_should_know_of_it() {
    let waiting = |reason: &str| json!({"status": {"phase": "Pending", "conditions": [], "containerStatuses": [{"restartCount": 3, "state": {"waiting": {"reason": reason}}}]}});
    for (change, state, reason) in [
        (json!({}), PodState::Ready, None),
        (
            json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}),
            PodState::Unready,
            None,
        ),
        (waiting("ContainerCreating"), PodState::Starting, None),
        (
            waiting("CrashLoopBackOff"),
            PodState::Failing,
            Some("CrashLoopBackOff"),
        ),
        (
            waiting("ImagePullBackOff"),
            PodState::Failing,
            Some("ImagePullBackOff"),
        ),
        (
            json!({"status": {"containerStatuses": [{"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}}),
            PodState::Failing,
            Some("OOMKilled"),
        ),
        (
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
            PodState::Ending,
            None,
        ),
        (
            json!({"status": {"phase": "Succeeded"}}),
            PodState::Done,
            None,
        ),
        (
            json!({"spec": {"nodeName": null}, "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]}}),
            PodState::Waiting,
            Some("Unschedulable"),
        ),
    ] {
        let mut objects = objects();
        let pod = objects.pods.get_mut("default/hello-b-1").unwrap();
        merge(pod, &change);
        let picture = picture(&objects);
        let seen = find(&picture, "hello-b-1");
        assert_eq!(
            (seen.state, seen.reason.as_deref()),
            (state, reason),
            "{change}"
        );
    }
}

fn merge(object: &mut Value, change: &Value) {
    match (object, change) {
        (Value::Object(object), Value::Object(change)) => {
            for (name, value) in change {
                merge(object.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (object, change) => *object = change.clone(),
    }
}

#[test]
fn a_dead_node_is_lost_with_all_its_pods_whatever_they_said_last() {
    for ready in ["False", "Unknown"] {
        let mut objects = objects();
        objects
            .nodes
            .insert("node-2".to_owned(), node("node-2", ready));
        let picture = picture(&objects);
        assert_eq!(picture.nodes[1].state, "lost");
        assert!(
            picture.nodes[1]
                .pods
                .iter()
                .all(|pod| pod.state == PodState::Lost)
        );
        assert_eq!(find(&picture, "hello-a-1").state, PodState::Ready);
    }
    // The API has forgotten the node before its pods.
    let mut objects = objects();
    objects.nodes.remove("node-2");
    let picture = picture(&objects);
    assert_eq!((picture.nodes.len(), picture.nodes[1].state), (2, "lost"));
}

#[test]
fn a_cordoned_node_says_so_and_nodes_are_counted_as_people_count() {
    let mut objects = Objects::default();
    for number in (1..=70).rev() {
        let name = format!("node-{number}");
        objects.nodes.insert(name.clone(), node(&name, "True"));
    }
    objects.nodes.get_mut("node-2").unwrap()["spec"] = json!({"unschedulable": true});
    let picture = picture(&objects);
    let names: Vec<_> = picture
        .nodes
        .iter()
        .map(|node| node.name.as_str())
        .collect();
    assert_eq!(
        (&names[..3], picture.nodes[1].state),
        (&["node-1", "node-2", "node-3"][..], "cordoned")
    );
    assert_eq!(
        (names.len(), picture.more_nodes),
        (MOST_NODES, 70 - MOST_NODES)
    );
}

#[test]
fn a_version_keeps_its_colour_after_a_roll_back_and_when_its_first_pods_are_gone() {
    let mut versions = Versions::default();
    let mut objects = objects();
    let _ = Picture::of(&objects, &Rates::default(), &mut versions);
    objects.pods.remove("default/hello-a-1");
    objects.pods.remove("default/hello-a-2");
    objects.replica_sets.remove("default/hello-a");
    let picture = Picture::of(&objects, &Rates::default(), &mut versions);
    assert_eq!(find(&picture, "hello-b-1").slot, 1);
}

/// A canary: two Services, weights 80 and 20.
fn canary() -> Objects {
    let mut objects = objects();
    for (name, track) in [("stable", "1.0.0"), ("canary", "2.0.0")] {
        objects.services.insert(
            format!("default/{name}"),
            json!({"metadata": {"name": name, "namespace": "default"}, "spec": {"selector": {"track": track}}}),
        );
    }
    objects.gateways.insert(
        "default/lab".to_owned(),
        json!({"metadata": {"name": "lab", "namespace": "default"}, "spec": {"listeners": [
            {"name": "production", "port": 8080}, {"name": "test", "port": 8081}]}}),
    );
    objects.routes.insert(
        "default/hello".to_owned(),
        json!({"metadata": {"name": "hello", "namespace": "default"}, "spec": {
            "parentRefs": [{"name": "lab", "sectionName": "production"}],
            "rules": [{"backendRefs": [
                {"name": "stable", "port": 80, "weight": 80}, {"name": "canary", "port": 80, "weight": 20}]}]}}),
    );
    objects
}

fn measured(rates: &[(&str, f64)], pods: &[(&str, f64)]) -> Rates {
    Rates {
        backends: rates
            .iter()
            .map(|(service, rate)| BackendRate {
                route: "default/hello".to_owned(),
                rule: "0".to_owned(),
                backend: format!("default/{service}:80"),
                rate: *rate,
            })
            .collect(),
        pods: pods
            .iter()
            .map(|(pod, rate)| ((*pod).to_owned(), *rate))
            .collect(),
        ..Rates::default()
    }
}

fn shares(picture: &Picture) -> Vec<(&str, f64)> {
    let route = &picture.listeners[0].routes[0];
    let share = |share: &'_ super::super::Share| (share.version.clone(), share.percent);
    let shares: Vec<_> = route.shares.iter().map(share).collect();
    shares
        .into_iter()
        .map(|(version, percent)| (if version == "1.0.0" { "1.0.0" } else { "2.0.0" }, percent))
        .collect()
}

#[test]
fn a_canary_shows_what_is_asked_for_and_what_is_measured() {
    let rates = measured(&[("stable", 17.0), ("canary", 3.0)], &[]);
    let picture = Picture::of(&canary(), &rates, &mut Versions::default());
    let [production, test] = picture.listeners.as_slice() else {
        panic!("{:?}", picture.listeners)
    };
    assert!(test.routes.is_empty());
    let route = &production.routes[0];
    let wanted: Vec<_> = route
        .backends
        .iter()
        .map(|backend| (backend.service.as_str(), backend.percent, backend.ready))
        .collect();
    assert_eq!(wanted, [("stable", 80.0, 2), ("canary", 20.0, 1)]);
    assert_eq!(shares(&picture), [("1.0.0", 85.0), ("2.0.0", 15.0)]);
    assert_eq!(route.rate, 20.0);
}

#[test]
fn during_a_rolling_update_one_service_has_two_versions_and_pods_tell_them_apart() {
    let mut objects = canary();
    objects.services.get_mut("default/stable").unwrap()["spec"]["selector"] =
        json!({"app": "hello"});
    let pods = [("hello-a-1", 2.0), ("hello-a-2", 1.0), ("hello-b-1", 1.0)];
    let rates = measured(&[("stable", 8.0)], &pods);
    let mut versions = Versions::default();
    let picture = Picture::of(&objects, &rates, &mut versions);
    assert_eq!(shares(&picture), [("1.0.0", 75.0), ("2.0.0", 25.0)]);
    // A pod that answered and has ended since still counts.
    objects.pods.remove("default/hello-a-1");
    let picture = Picture::of(&objects, &rates, &mut versions);
    assert_eq!(shares(&picture), [("1.0.0", 75.0), ("2.0.0", 25.0)]);
}

#[test]
fn a_cluster_that_is_stopped_shows_what_was_seen_last_and_one_that_is_gone_nothing() {
    let absence = |kind| Absence {
        kind,
        say: Text::default(),
        command: "devops-lab start".to_owned(),
    };
    let live = picture(&objects());
    let stopped = live.clone().absent(&absence(AbsenceKind::Stopped));
    assert_eq!((stopped.cluster.state, stopped.nodes.len()), ("stopped", 2));
    assert_eq!(stopped.cluster.command.as_deref(), Some("devops-lab start"));
    let gone = live.absent(&absence(AbsenceKind::Gone));
    assert_eq!((gone.cluster.state, gone.nodes.len()), ("gone", 0));
}
