//! A cluster in which everything holds, for tests to spoil one thing at a time.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::diagnosis::Diagnosis;
use crate::language::Language;
use crate::outcome::Outcome;
use crate::workload::Workloads;

pub(crate) const IMAGE: &str = "localhost:5001/hello:1.0.0";
const SINCE: &str = "2026-01-01T00:00:00Z";

/// A typed object.
#[track_caller]
pub(crate) fn object<T: DeserializeOwned>(value: Value) -> T {
    T::deserialize(value).unwrap()
}

/// The fields of both objects.
pub(crate) fn merged(mut object: Value, more: Value) -> Value {
    if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
        object.extend(more);
    }
    object
}

pub(crate) fn node(name: &str, ready: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {"conditions": [
        {"type": "Ready", "status": ready, "lastTransitionTime": SINCE}]}})
}

/// Spoils the good world and looks at what a check says; no hole of a sentence may stay open.
#[track_caller]
pub(crate) fn check(
    outcome: impl FnOnce(&World) -> Outcome,
    expected: Option<&str>,
    change: impl FnOnce(&mut World),
) {
    let mut world = World::new();
    change(&mut world);
    diagnosed(&outcome(&world), expected);
}

/// An outcome has this diagnosis; none means that the check holds.
#[track_caller]
pub(crate) fn diagnosed(outcome: &Outcome, expected: Option<&str>) {
    let said = outcome
        .diagnosis()
        .map(|diagnosis| diagnosis.text(Language::En));
    let found = outcome.diagnosis().map(Diagnosis::name);
    assert_eq!(found, expected, "{said:?}");
}

/// Deployment hello, its ReplicaSet and three pods, Service hello with its EndpointSlice,
/// HTTPRoute hello on Gateway devops-lab.
pub(crate) struct World {
    pub(crate) deployment: Value,
    pub(crate) replica_sets: Vec<Value>,
    pub(crate) pods: Vec<Value>,
    pub(crate) events: Vec<Value>,
    pub(crate) service: Value,
    pub(crate) slices: Vec<Value>,
    pub(crate) gateway: Value,
    pub(crate) route: Value,
}

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "hello"}}, "spec": {"containers": [
        {"name": "hello", "image": IMAGE, "ports": [{"name": "http", "containerPort": 8080}],
         "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}}}]}})
}

fn owner(kind: &str, name: &str, uid: &str) -> Value {
    json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true}])
}

fn replica_set(name: &str, hash: &str, mut template: Value) -> Value {
    template["metadata"]["labels"]["pod-template-hash"] = json!(hash);
    json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": name, "namespace": "default", "uid": name, "ownerReferences": owner("Deployment", "hello", "d")},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "hello"}}, "template": template}})
}

fn pod(number: usize, set: &str) -> Value {
    let name = format!("{set}-{number}");
    let mut spec = template()["spec"].clone();
    spec["nodeName"] = json!(format!("node-{number}"));
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": "hello"},
            "ownerReferences": owner("ReplicaSet", set, set)},
        "spec": spec,
        "status": {"phase": "Running", "podIP": format!("10.0.0.{number}"),
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": SINCE}],
            "containerStatuses": [{"name": "hello", "image": IMAGE, "imageID": "sha256:c0ffee", "ready": true,
                "restartCount": 0, "state": {"running": {"startedAt": SINCE}}}]}})
}

fn endpoint(number: usize) -> Value {
    let pod = format!("hello-5-{number}");
    json!({"addresses": [format!("10.0.0.{number}")], "conditions": {"ready": true, "serving": true},
        "targetRef": {"kind": "Pod", "name": pod, "namespace": "default", "uid": pod}})
}

fn condition(type_: &str) -> Value {
    json!({"type": type_, "status": "True", "reason": type_, "message": "", "observedGeneration": 2,
        "lastTransitionTime": SINCE})
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            deployment: json!({"apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "hello", "namespace": "default", "uid": "d", "generation": 7},
                "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "hello"}}, "template": template()},
                "status": {"observedGeneration": 7, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3,
                    "availableReplicas": 3}}),
            replica_sets: vec![replica_set("hello-5", "5", template())],
            pods: (1..=3).map(|number| pod(number, "hello-5")).collect(),
            events: Vec::new(),
            service: json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hello", "namespace": "default"},
                "spec": {"clusterIP": "10.96.0.7", "selector": {"app": "hello"},
                    "ports": [{"port": 80, "targetPort": "http", "protocol": "TCP"}]}}),
            slices: vec![
                json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": "hello-x", "namespace": "default", "labels": {"kubernetes.io/service-name": "hello"}},
                "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
                "endpoints": [endpoint(1), endpoint(2), endpoint(3)]}),
            ],
            gateway: json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
                "metadata": {"name": "devops-lab", "namespace": "default"},
                "spec": {"gatewayClassName": "devops-lab", "listeners": []}}),
            route: json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
                "metadata": {"name": "hello", "namespace": "default", "generation": 2},
                "spec": {"parentRefs": [{"name": "devops-lab", "sectionName": "production"}],
                    "rules": [{"backendRefs": [{"name": "hello", "port": 80}]}]},
                "status": {"parents": [{"parentRef": {"name": "devops-lab", "sectionName": "production"},
                    "controllerName": "devops-lab.dev/gateway",
                    "conditions": [condition("Accepted"), condition("ResolvedRefs")]}]}}),
        }
    }

    pub(crate) fn workloads(&self) -> Workloads {
        let named = !self.deployment["metadata"]["name"].is_null();
        Workloads {
            deployments: named
                .then(|| object(self.deployment.clone()))
                .into_iter()
                .collect(),
            replica_sets: self.replica_sets.iter().cloned().map(object).collect(),
            pods: self.pods.iter().cloned().map(object).collect(),
            events: self.events.iter().cloned().map(object).collect(),
        }
    }

    /// Every template and every pod's container with a field set: the whole rollout happened.
    pub(crate) fn template(&mut self, field: &str, value: &Value) {
        let templates = std::iter::once(&mut self.deployment).chain(&mut self.replica_sets);
        for object in templates {
            object["spec"]["template"]["spec"]["containers"][0][field] = value.clone();
        }
        for pod in &mut self.pods {
            pod["spec"]["containers"][0][field] = value.clone();
        }
    }

    pub(crate) fn probe(&mut self, kind: &str, port: u16) {
        self.template(kind, &json!({"httpGet": {"path": "/", "port": port}}));
    }

    /// Pods and ReplicaSet are those of an earlier image.
    pub(crate) fn age_pods(&mut self, image: &str) {
        self.replica_sets[0]["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        for pod in &mut self.pods {
            pod["spec"]["containers"][0]["image"] = json!(image);
        }
    }

    /// A pod of an earlier version beside the three.
    pub(crate) fn add_old_pod(&mut self) {
        let mut old = template();
        old["spec"]["containers"][0]["image"] = json!("localhost:5001/hello:0.9.0");
        self.replica_sets.push(replica_set("hello-4", "4", old));
        self.pods.push(pod(4, "hello-4"));
    }

    pub(crate) fn unready(&mut self, pod: usize) {
        self.pods[pod]["status"]["conditions"][0]["status"] = json!("False");
        self.pods[pod]["status"]["containerStatuses"][0]["ready"] = json!(false);
    }

    pub(crate) fn wait(&mut self, pod: usize, reason: &str, message: &str) {
        self.unready(pod);
        self.pods[pod]["status"]["containerStatuses"][0]["state"] =
            json!({"waiting": {"reason": reason, "message": message}});
    }

    pub(crate) fn restarted(&mut self, pod: usize, code: i32) {
        let status = &mut self.pods[pod]["status"]["containerStatuses"][0];
        status["restartCount"] = json!(2);
        status["lastState"] = json!({"terminated": {"exitCode": code}});
    }

    pub(crate) fn unschedulable(&mut self, pod: usize) {
        self.unready(pod);
        self.pods[pod]["status"]["conditions"] = json!([
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}]);
    }

    pub(crate) fn unhealthy(&mut self, pod: usize, message: &str) {
        let name = self.pods[pod]["metadata"]["name"]
            .as_str()
            .unwrap()
            .to_owned();
        self.event("Unhealthy", "Pod", &name, message);
    }

    pub(crate) fn event(&mut self, reason: &str, kind: &str, name: &str, message: &str) {
        self.events.push(json!({"apiVersion": "v1", "kind": "Event",
            "metadata": {"name": format!("e{}", self.events.len()), "namespace": "default"},
            "reason": reason, "message": message, "lastTimestamp": SINCE,
            "involvedObject": {"kind": kind, "name": name, "uid": name}}));
    }
}
