//! A workload that things happen to, one after the other, as a cluster would tell of them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Subjects;
use crate::fixtures::object;
use crate::workload::Workloads;

pub(crate) const OLD: &str = "localhost:5001/hello:1.0.0";
pub(crate) const NEW: &str = "localhost:5001/hello:2.0.0";

/// A second of the sample's time.
pub(crate) fn moment(second: i64) -> Timestamp {
    crate::readers::traffic_record::samples::moment(second)
}

fn time(second: i64) -> String {
    moment(second).to_string()
}

/// Deployment or Rollout `hello` with three pods on three nodes, of image [`OLD`] at first.
#[derive(Clone)]
pub(crate) struct World {
    rollout: bool,
    sets: Vec<Set>,
    current: usize,
    wanted: i32,
    complete: Option<i64>,
    aborted: Option<i64>,
    strategy: Value,
    ends_first: bool,
    pods: Vec<Value>,
    pub(crate) events: Vec<Value>,
    lost: Option<(i64, i64)>,
}

#[derive(Clone)]
struct Set {
    name: String,
    image: String,
    created: i64,
    number: u64,
    earlier: Vec<u64>,
}

impl World {
    pub(crate) fn nothing() -> Self {
        Self {
            rollout: false,
            sets: Vec::new(),
            current: 0,
            wanted: 3,
            complete: None,
            aborted: None,
            strategy: json!({"type": "RollingUpdate"}),
            ends_first: false,
            pods: Vec::new(),
            events: Vec::new(),
            lost: None,
        }
    }

    pub(crate) fn deployment() -> Self {
        let mut world = Self::nothing();
        world.add_set(0, OLD);
        world.event(
            "ScalingReplicaSet",
            world.kind(),
            "hello",
            "Scaled up replica set hello-0 from 0 to 3",
            0,
        );
        world.take_over(0);
        world
    }

    pub(crate) fn rollout() -> Self {
        let mut world = Self {
            rollout: true,
            ..Self::nothing()
        };
        world.add_set(0, OLD);
        world.event(
            "RolloutUpdated",
            "Rollout",
            "hello",
            "Rollout updated to revision 1",
            0,
        );
        world.take_over(0);
        world
    }

    fn kind(&self) -> &'static str {
        if self.rollout {
            "Rollout"
        } else {
            "Deployment"
        }
    }

    fn add_set(&mut self, created: i64, image: &str) {
        let number = self.newest() + 1;
        self.sets.push(Set {
            name: format!("hello-{}", self.sets.len()),
            image: image.to_owned(),
            created,
            number,
            earlier: Vec::new(),
        });
        self.current = self.sets.len() - 1;
    }

    fn newest(&self) -> u64 {
        self.sets.iter().map(|set| set.number).max().unwrap_or(0)
    }

    /// The present set's pods are made, and the update is complete four seconds later.
    fn take_over(&mut self, at: i64) {
        self.pods.clear();
        for number in 1..=self.wanted {
            self.make_pod(
                &format!("{number}x{at}"),
                i64::from(number) % 3 + 1,
                at + i64::from(number) - 1,
            );
        }
        self.complete = Some(at + 4);
        self.aborted = None;
    }

    fn make_pod(&mut self, suffix: &str, node: i64, at: i64) {
        let set = self.sets[self.current].name.clone();
        let name = format!("{set}-{suffix}");
        self.event(
            "SuccessfulCreate",
            "ReplicaSet",
            &set,
            &format!("Created pod: {name}"),
            at,
        );
        self.pods.push(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "uid": name, "creationTimestamp": time(at),
                "ownerReferences": owner("ReplicaSet", &set)},
            "spec": {"nodeName": format!("node-{node}"), "containers": []},
            "status": {"phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": time(at + 1)}]}}));
    }

    pub(crate) fn event(&mut self, reason: &str, kind: &str, name: &str, message: &str, at: i64) {
        let again = self
            .events
            .iter_mut()
            .find(|event| event["message"] == message && event["involvedObject"]["name"] == name);
        if let Some(event) = again {
            event["lastTimestamp"] = json!(time(at));
            event["count"] = json!(2);
            return;
        }
        self.events.push(json!({"apiVersion": "v1", "kind": "Event",
            "metadata": {"name": format!("e{}", self.events.len()), "namespace": "default"},
            "reason": reason, "message": message, "count": 1,
            "firstTimestamp": time(at), "lastTimestamp": time(at),
            "involvedObject": {"kind": kind, "name": name}}));
    }

    fn change(mut self, from: usize, at: i64) -> Self {
        let (old, new) = (
            self.sets[from].name.clone(),
            self.sets[self.current].name.clone(),
        );
        let number = self.sets[self.current].number;
        if self.rollout {
            self.event(
                "RolloutUpdated",
                "Rollout",
                "hello",
                &format!("Rollout updated to revision {number}"),
                at,
            );
            self.event(
                "RolloutCompleted",
                "Rollout",
                "hello",
                &format!("Rollout completed update to revision {number} ({new}): done"),
                at + 4,
            );
        } else {
            let (down, up) = if self.ends_first {
                (at, at + 2)
            } else {
                (at + 2, at)
            };
            self.event(
                "ScalingReplicaSet",
                "Deployment",
                "hello",
                &format!("Scaled down replica set {old} from 3 to 0"),
                down,
            );
            self.event(
                "ScalingReplicaSet",
                "Deployment",
                "hello",
                &format!("Scaled up replica set {new} from 0 to 1"),
                up,
            );
        }
        self.take_over(at);
        self
    }

    /// A new template; its ReplicaSet is new even where the image is one of before.
    pub(crate) fn update(mut self, at: i64, image: &str) -> Self {
        let from = self.current;
        self.add_set(at, image);
        self.change(from, at)
    }

    /// Back to the revision before.
    pub(crate) fn undo(self, at: i64) -> Self {
        let current = self.sets[self.current].number;
        let earlier = self.sets.iter().filter(|set| set.number < current);
        let previous = earlier.max_by_key(|set| set.number).unwrap().image.clone();
        self.undo_to(at, &previous)
    }

    /// Back to the revision of this image.
    pub(crate) fn undo_to(mut self, at: i64, image: &str) -> Self {
        let from = self.current;
        let number = self.newest() + 1;
        self.current = self.sets.iter().position(|set| set.image == image).unwrap();
        let set = &mut self.sets[self.current];
        set.earlier.push(set.number);
        set.number = number;
        self.change(from, at)
    }

    pub(crate) fn recreating(mut self) -> Self {
        self.strategy = json!({"type": "Recreate"});
        self.ends_first = true;
        self
    }

    /// All old pods end at once, and none may be made beside them.
    pub(crate) fn without_surge(mut self, max_unavailable: &Value) -> Self {
        self.strategy = json!({"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 0, "maxUnavailable": max_unavailable}});
        self.ends_first = true;
        self
    }

    pub(crate) fn going_on(mut self) -> Self {
        self.complete = None;
        self
    }

    pub(crate) fn aborted(mut self, at: i64) -> Self {
        self.complete = None;
        self.aborted = Some(at);
        self
    }

    /// By hand; nothing is made or deleted in the sample.
    pub(crate) fn scaled_to(mut self, replicas: i32) -> Self {
        self.wanted = replicas;
        self.pods.truncate(usize::try_from(replicas).unwrap());
        self
    }

    pub(crate) fn without_a_pod(mut self) -> Self {
        self.pods.pop();
        self
    }

    pub(crate) fn with_an_ending_pod(mut self) -> Self {
        let mut ending = self.pods[0].clone();
        ending["metadata"]["name"] = json!("hello-0-ending");
        ending["metadata"]["uid"] = json!("ending");
        ending["metadata"]["deletionTimestamp"] = json!(time(0));
        self.pods.push(ending);
        self
    }

    /// The first pod is deleted, and replaced within two seconds.
    pub(crate) fn pod_deleted(mut self, at: i64) -> Self {
        let gone = self.pods.remove(0)["metadata"]["name"]
            .as_str()
            .unwrap()
            .to_owned();
        self.event("Killing", "Pod", &gone, "Stopping container hello", at);
        self.make_pod(&format!("r{at}"), 1, at);
        self
    }

    /// The same without grace, which leaves no event of the pod's end.
    pub(crate) fn pod_killed(mut self, at: i64) -> Self {
        self.pods.remove(0);
        self.make_pod(&format!("r{at}"), 1, at);
        self
    }

    /// The present set gets a pod more.
    pub(crate) fn scaled_up(mut self, at: i64) -> Self {
        self.wanted += 1;
        self.make_pod(&format!("s{at}"), 1, at);
        self
    }

    /// A pod is removed because fewer are wanted.
    pub(crate) fn scaled_down(mut self, at: i64) -> Self {
        self.wanted -= 1;
        let gone = self.pods.remove(0)["metadata"]["name"]
            .as_str()
            .unwrap()
            .to_owned();
        self.event("Killing", "Pod", &gone, "Stopping container hello", at);
        self.event(
            "SuccessfulDelete",
            "ReplicaSet",
            "hello",
            &format!("Deleted pod: {gone}"),
            at,
        );
        self
    }

    /// Node 1 is found missing, four seconds after its last sign of life; its pod is replaced half
    /// a minute later.
    pub(crate) fn node_lost(mut self, at: i64) -> Self {
        self.event(
            "NodeNotReady",
            "Node",
            "node-1",
            "Node node-1 status is now: NodeNotReady",
            at,
        );
        self.lost = Some((at, at - 4));
        let on_it = |pod: &&Value| pod["spec"]["nodeName"] == "node-1";
        let hit: Vec<_> = self
            .pods
            .iter()
            .filter(on_it)
            .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
            .collect();
        self.pods.retain(|pod| pod["spec"]["nodeName"] != "node-1");
        for pod in hit {
            self.event("NodeNotReady", "Pod", &pod, "Node is not ready", at);
            self.make_pod(&format!("n{at}"), 2, at + 30);
        }
        self
    }

    /// No pod was on node 1.
    pub(crate) fn on_other_nodes(mut self) -> Self {
        for pod in &mut self.pods {
            pod["spec"]["nodeName"] = json!("node-2");
        }
        self
    }

    pub(crate) fn node_is_back(mut self) -> Self {
        self.lost = None;
        self
    }

    pub(crate) fn nodes(&self) -> Vec<Value> {
        let nodes = ["node-1", "node-2", "node-3"].map(|name| crate::fixtures::node(name, "True"));
        let mut nodes = Vec::from(nodes);
        if let Some((at, _)) = self.lost {
            nodes[0]["status"]["conditions"][0] =
                json!({"type": "Ready", "status": "Unknown", "lastTransitionTime": time(at)});
        }
        nodes
    }

    pub(crate) fn leases(&self) -> Vec<Value> {
        let renewed = self.lost.map_or(10_000, |(_, renewed)| renewed);
        vec![
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "node-1", "namespace": "kube-node-lease"},
            "spec": {"renewTime": format!("{}.250000Z", time(renewed).trim_end_matches('Z'))}}),
        ]
    }

    fn template(&self, set: usize) -> Value {
        // Sets of one image differ in something else, as templates that are edited by hand do.
        json!({"metadata": {"labels": {"app": "hello"}, "annotations": {"set": set.to_string()}},
            "spec": {"containers": [{"name": "hello", "image": self.sets[set].image}]}})
    }

    fn set(&self, index: usize) -> Value {
        let set = &self.sets[index];
        let prefix = if self.rollout {
            "rollout.argoproj.io"
        } else {
            "deployment.kubernetes.io"
        };
        let earlier: Vec<_> = set.earlier.iter().map(ToString::to_string).collect();
        let mut annotations = serde_json::Map::new();
        annotations.insert(format!("{prefix}/revision"), json!(set.number.to_string()));
        if !earlier.is_empty() {
            annotations.insert(
                format!("{prefix}/revision-history"),
                json!(earlier.join(",")),
            );
        }
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": set.name, "namespace": "default", "uid": set.name,
                "creationTimestamp": time(set.created), "annotations": annotations,
                "labels": {"rollouts-pod-template-hash": set.name},
                "ownerReferences": owner(self.kind(), "d")},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "hello"}}, "template": self.template(index)}})
    }

    fn deployment_object(&self) -> Value {
        let condition = self.complete.map(|at| {
            json!({"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable",
                "lastUpdateTime": time(at), "lastTransitionTime": time(0)})
        });
        let conditions: Vec<_> = condition.into_iter().collect();
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "hello", "namespace": "default", "uid": "d", "generation": 7},
            "spec": {"replicas": self.wanted, "selector": {"matchLabels": {"app": "hello"}},
                "strategy": self.strategy, "template": self.template(self.current)},
            "status": {"observedGeneration": 7, "replicas": self.wanted, "updatedReplicas": self.wanted,
                "conditions": conditions}})
    }

    pub(crate) fn rollout_object(&self) -> Value {
        let current = &self.sets[self.current];
        let stable = match (
            self.complete,
            self.sets
                .iter()
                .filter(|set| set.number < current.number)
                .max_by_key(|set| set.number),
        ) {
            (None, Some(before)) => &before.name,
            (Some(_), _) | (None, None) => &current.name,
        };
        let completed = match self.complete {
            Some(at) => {
                json!({"type": "Completed", "status": "True", "reason": "RolloutCompleted", "message": "",
                "lastUpdateTime": time(at), "lastTransitionTime": time(at)})
            }
            None => {
                json!({"type": "Completed", "status": "False", "reason": "RolloutCompleted", "message": "",
                "lastUpdateTime": time(0), "lastTransitionTime": time(0)})
            }
        };
        let mut status = json!({"observedGeneration": "7", "currentPodHash": current.name, "stableRS": stable,
            "phase": if self.complete.is_some() { "Healthy" } else { "Progressing" },
            "conditions": [completed]});
        if let Some(at) = self.aborted {
            status["abort"] = json!(true);
            status["abortedAt"] = json!(time(at));
            status["phase"] = json!("Degraded");
            status["message"] = json!("RolloutAborted");
        }
        json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "hello", "namespace": "default", "uid": "d", "generation": 7},
            "spec": {"replicas": self.wanted, "template": self.template(self.current), "strategy": {"canary": {
                "steps": [{"setWeight": 20}, {"pause": {}}]}}},
            "status": status})
    }

    pub(crate) fn subjects(&self) -> Subjects {
        let exists = !self.sets.is_empty();
        Subjects {
            workloads: Workloads {
                deployments: (exists && !self.rollout)
                    .then(|| object(self.deployment_object()))
                    .into_iter()
                    .collect(),
                replica_sets: (0..self.sets.len())
                    .map(|set| object(self.set(set)))
                    .collect(),
                pods: self.pods.iter().cloned().map(object).collect(),
                events: self.events.iter().cloned().map(object).collect(),
            },
            rollouts: (exists && self.rollout)
                .then(|| object(self.rollout_object()))
                .into_iter()
                .collect(),
        }
    }
}

fn owner(kind: &str, name: &str) -> Value {
    let uid = name;
    json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true}])
}
