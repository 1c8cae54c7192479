use serde_json::json;

use super::*;
use crate::fixtures::object;
use crate::subject::samples::World;

/// A Deployment and a Rollout that are set up well, spoiled by `change`.
#[track_caller]
#[expect(
    clippy::needless_pass_by_value,
    reason = "cases are written as literals"
)]
fn case(expected: Option<&str>, with: Value, change: impl Fn(&mut Value)) {
    for kind in ["deployment", "rollout"] {
        let mut with = with.clone();
        with[kind] = json!("hello");
        let with: With = serde_json::from_value(with).unwrap();
        assert_eq!(with.consistent(), Ok(()));
        let name = with.subject.required().unwrap();
        let is_rollout = kind == "rollout";
        let world = if is_rollout {
            World::rollout()
        } else {
            World::deployment()
        };
        let mut seen = world.subjects();
        let mut written = match is_rollout {
            true => serde_json::to_value(&seen.rollouts[0]).unwrap(),
            false => serde_json::to_value(&seen.workloads.deployments[0]).unwrap(),
        };
        written["spec"]["template"]["spec"] = json!({"terminationGracePeriodSeconds": 10, "containers": [{
            "name": "hello", "image": "hello", "ports": [{"name": "http", "containerPort": 8080}],
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}},
            "lifecycle": {"preStop": {"sleep": {"seconds": 2}}},
            "env": [{"name": "GREETING", "value": "hi"}, {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
            "resources": {"requests": {"cpu": "50m"}, "limits": {"memory": "64Mi"}}}]});
        let rolling = json!({"maxUnavailable": 0, "maxSurge": "50%"});
        written["spec"]["strategy"] = match is_rollout {
            true => json!({"canary": rolling}),
            false => json!({"type": "RollingUpdate", "rollingUpdate": rolling}),
        };
        change(&mut written);
        if is_rollout {
            seen.rollouts = vec![object(written)];
        } else {
            seen.workloads.deployments = vec![object(written)];
        }
        let outcome = judge(&with, &name, seen.of(&name, "default"), "default");
        assert_eq!(
            outcome.diagnosis().map(Diagnosis::id),
            expected,
            "{kind} {with:?}"
        );
    }
}

fn all() -> Value {
    json!({"readiness": {"port": 8080, "path": "/readyz"}, "preStop": true, "maxUnavailable": 0, "maxSurge": "50%",
        "resources": ["requests.cpu", "limits.memory"], "env": {"GREETING": "hi"}})
}

fn container(field: &'static str, value: Value) -> impl Fn(&mut Value) {
    move |written| written["spec"]["template"]["spec"]["containers"][0][field] = value.clone()
}

#[test]
fn a_template_that_has_it_all_holds() {
    case(None, all(), |_| {});
    case(None, json!({"container": "hello", "readiness": {}}), |_| {});
    case(
        None,
        all(),
        container(
            "readinessProbe",
            json!({"httpGet": {"path": "/readyz", "port": 8080}}),
        ),
    );
    case(None, json!({"readiness": {"port": "http"}}), |_| {});
    case(
        None,
        all(),
        container(
            "lifecycle",
            json!({"preStop": {"exec": {"command": ["/bin/sh", "-c", "sleep 2"]}}}),
        ),
    );
    case(None, json!({"maxUnavailable": "0%"}), |_| {});
}

#[test]
fn a_readiness_probe_elsewhere_does_not_pass() {
    let probe = |probe: Value| container("readinessProbe", probe);
    case(Some("no-readiness"), all(), probe(json!(null)));
    // A liveness probe is another thing.
    case(Some("no-readiness"), all(), |written| {
        let container = &mut written["spec"]["template"]["spec"]["containers"][0];
        container["livenessProbe"] = container["readinessProbe"].take();
    });
    case(
        Some("readiness-port-wrong"),
        all(),
        probe(json!({"httpGet": {"path": "/readyz", "port": 9090}})),
    );
    case(
        Some("readiness-port-wrong"),
        json!({"readiness": {}}),
        probe(json!({"httpGet": {"port": 9090}})),
    );
    case(
        Some("readiness-port-wrong"),
        json!({"readiness": {}}),
        probe(json!({"httpGet": {"port": "web"}})),
    );
    case(
        Some("readiness-port-wrong"),
        all(),
        probe(json!({"exec": {"command": ["true"]}})),
    );
    case(
        Some("readiness-path-differs"),
        all(),
        probe(json!({"httpGet": {"path": "/", "port": "http"}})),
    );
    case(
        Some("readiness-path-differs"),
        all(),
        probe(json!({"httpGet": {"port": "http"}})),
    );
}

#[test]
fn an_end_without_a_pause_or_without_time_does_not_pass() {
    case(
        Some("no-pre-stop"),
        all(),
        container("lifecycle", json!(null)),
    );
    case(
        Some("no-pre-stop"),
        all(),
        container("lifecycle", json!({"preStop": {"sleep": {"seconds": 0}}})),
    );
    case(
        Some("grace-too-short"),
        all(),
        container("lifecycle", json!({"preStop": {"sleep": {"seconds": 10}}})),
    );
    case(Some("grace-too-short"), all(), |written| {
        written["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(2);
    });
    case(
        Some("grace-too-short"),
        all(),
        container(
            "lifecycle",
            json!({"preStop": {"exec": {"command": ["sleep", "30"]}}}),
        ),
    );
}

#[test]
fn what_the_strategy_tolerates_is_compared_as_written() {
    let rolling = |field: &'static str, value: Value| {
        move |written: &mut Value| {
            let strategy = &mut written["spec"]["strategy"];
            let of = if strategy["canary"].is_object() {
                "canary"
            } else {
                "rollingUpdate"
            };
            strategy[of][field] = value.clone();
        }
    };
    case(
        Some("unavailable-allowed"),
        all(),
        rolling("maxUnavailable", json!(1)),
    );
    // A quarter of three is rounded down to none, and nobody decided that.
    case(
        Some("unavailable-allowed"),
        all(),
        rolling("maxUnavailable", json!("25%")),
    );
    case(
        Some("unavailable-allowed"),
        all(),
        rolling("maxUnavailable", json!(null)),
    );
    case(Some("surge-differs"), all(), rolling("maxSurge", json!(1)));
}

#[test]
fn needs_and_variables_must_be_there() {
    case(
        Some("no-requests"),
        all(),
        container("resources", json!({"limits": {"memory": "64Mi"}})),
    );
    case(
        Some("no-requests"),
        all(),
        container(
            "resources",
            json!({"requests": {"cpu": "1", "memory": "64Mi"}}),
        ),
    );
    case(
        Some("environment-differs"),
        all(),
        container("env", json!([{"name": "GREETING", "value": "hello"}])),
    );
    case(
        Some("environment-differs"),
        json!({"env": {"NODE": "node-1"}}),
        |_| {},
    );
    case(
        Some("environment-differs"),
        json!({"env": {"MISSING": ""}}),
        |_| {},
    );
    case(
        Some("missing"),
        json!({"container": "proxy", "preStop": true}),
        |_| {},
    );
    case(Some("named-otherwise"), all(), |written| {
        written["metadata"]["name"] = json!("helo")
    });
}

#[test]
fn a_deployment_that_ends_all_pods_first_does_not_pass() {
    let with: With =
        serde_json::from_value(json!({"deployment": "hello", "maxUnavailable": 0})).unwrap();
    let name = with.subject.required().unwrap();
    let seen = World::deployment().recreating().subjects();
    let outcome = judge(&with, &name, seen.of(&name, "default"), "default");
    assert_eq!(
        outcome.diagnosis().map(Diagnosis::id),
        Some("unavailable-allowed")
    );
}

#[test]
fn faults_of_the_author_are_told() {
    let problem = |with: Value| {
        let with: With = serde_json::from_value(with).unwrap();
        with.consistent().unwrap_err()
    };
    assert!(problem(json!({"preStop": true})).contains("deployment"));
    assert!(problem(json!({"deployment": "hello"})).contains("nothing"));
    assert!(problem(json!({"deployment": "hello", "resources": ["cpu"]})).contains("cpu"));
}
