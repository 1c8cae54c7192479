//! The learner's objects: which of those in the API are hers, and what of each is to be kept.
//!
//! Hers is what no controller made for her and the cluster did not begin with. Kept is what she
//! asked for, without what the API and the controllers wrote into it.

use std::collections::{BTreeMap, BTreeSet};

use kube::Client;
use lab_api::names::{DEFAULT_GATEWAY, NODE_LEASE_NAMESPACE, REVISION};
use lab_api::{monitoring, rollouts};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::labs::kinds::{Kinds, TypedName};

/// Namespaces whose content is the cluster's own.
const SYSTEM_NAMESPACES: [&str; 4] = [
    "kube-system",
    "kube-public",
    NODE_LEASE_NAMESPACE,
    monitoring::NAMESPACE,
];
/// Kinds that are made from others, come and go by themselves, or are kept in another way.
const PASSING: [&str; 5] = ["Event", "Lease", "Endpoints", "Node", "AnalysisRun"];
/// What the API writes into an object's metadata.
const WRITTEN: [&str; 9] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];
/// Labels that a Job's controller writes into its template.
const OF_JOBS: [&str; 4] = [
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
    "controller-uid",
    "job-name",
];

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

/// The objects of a cluster that are the learner's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Objects {
    /// Each with what its status was.
    #[serde(with = "as_list")]
    pub(super) own: BTreeMap<Key, Value>,
    /// The ReplicaSets of a Deployment or Rollout: its revisions.
    #[serde(with = "as_list")]
    pub(super) revisions: BTreeMap<Key, Vec<Value>>,
    /// All events by namespace and name, each with what changes in it where the same happens
    /// again.
    pub(super) events: BTreeMap<String, Value>,
    /// Those of them that stay true where everything around them is made anew.
    pub(super) history: Vec<Value>,
    /// Labels, taints and cordons of nodes, by node.
    pub(super) nodes: BTreeMap<String, NodeMarks>,
}

/// What people set on nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NodeMarks {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) taints: Vec<Value>,
    pub(super) unschedulable: bool,
}

/// JSON has no keys but text.
mod as_list {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Key;

    pub(super) fn serialize<S: Serializer, V: Serialize>(
        map: &BTreeMap<Key, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        map.iter().collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, V: Deserialize<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Key, V>, D::Error> {
        let list = Vec::<(Key, V)>::deserialize(deserializer)?;
        Ok(list.into_iter().collect())
    }
}

impl Key {
    /// Of an object as the API gives it, with its type.
    pub(super) fn of(object: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            api_version: text(&object["apiVersion"]),
            kind: text(&object["kind"]),
            namespace: text(&object["metadata"]["namespace"]),
            name: text(&object["metadata"]["name"]),
        }
    }

    /// Its kind, and where it is.
    pub(super) fn typed(&self) -> TypedName<'_> {
        TypedName {
            api_version: &self.api_version,
            kind: &self.kind,
            namespace: &self.namespace,
        }
    }

    /// `deployment/hello`, with the namespace where it is another than the default one.
    pub(super) fn label(&self) -> String {
        let kind = self.kind.to_lowercase();
        match self.namespace.as_str() {
            "" | "default" => format!("{kind}/{}", self.name),
            other => format!("{kind}/{} in {other}", self.name),
        }
    }
}

/// Events, which a cluster serves twice.
pub(super) fn is_event(object: &Value) -> bool {
    object["kind"] == "Event"
}

impl Objects {
    /// Reads a cluster.
    ///
    /// # Errors
    /// Where the API does not answer.
    pub(super) async fn read(client: &Client) -> Result<Self, kube::Error> {
        let kinds = Kinds::of(client).await?;
        Ok(Self::of(kinds.list_all(client).await?))
    }

    /// Reads a cluster, and all its pods beside.
    ///
    /// # Errors
    /// Where the API does not answer.
    pub(super) async fn read_with_pods(client: &Client) -> Result<(Self, Vec<Value>), kube::Error> {
        let kinds = Kinds::of(client).await?;
        let all = kinds.list_all(client).await?;
        let pods = all.iter().filter(|object| object["kind"] == "Pod");
        let pods = pods.cloned().collect();
        Ok((Self::of(all), pods))
    }

    /// Sorts all objects of a cluster.
    pub(super) fn of(all: Vec<Value>) -> Self {
        let mut objects = Self::default();
        for object in all {
            let key = Key::of(&object);
            if is_event(&object) {
                // The other of the two kinds has other fields.
                if key.api_version == "v1" {
                    let place = event_place(&key.namespace, &key.name);
                    objects.events.insert(place, seen(&object));
                    if outlives(&object) {
                        objects.history.push(kept(object));
                    }
                }
            } else if key.kind == "Node" {
                objects.nodes.insert(key.name, NodeMarks::of(&object));
            } else if let Some(owner) = owner_of_revision(&object, &key) {
                objects
                    .revisions
                    .entry(owner)
                    .or_default()
                    .push(kept(object));
            } else if is_own(&object, &key) {
                objects.own.insert(key, kept(object));
            }
        }
        for sets in objects.revisions.values_mut() {
            sets.sort_by_key(name);
        }
        objects
    }

    /// Those that are there in every cluster, as its beginning has them.
    pub(super) fn of_every_cluster(&self, gateway: Value) -> Self {
        let own = self.own.iter().filter(|(key, _)| is_of_every_cluster(key));
        let own = own.map(|(key, object)| (key.clone(), object.clone()));
        let gateway = (Key::of(&gateway), gateway);
        Self {
            own: own.chain([gateway]).collect(),
            nodes: self
                .nodes
                .iter()
                .map(|(node, marks)| (node.clone(), marks.at_first()))
                .collect(),
            ..Self::default()
        }
    }

    /// True where there is something that the learner made.
    pub(super) fn has_own(&self) -> bool {
        self.own.keys().any(|key| !is_of_every_cluster(key))
    }
}

/// Where an event is: its name, which no other event gets, in its namespace.
pub(super) fn event_place(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

/// True for an event that stays true where the objects around it are made anew: an autoscaler did
/// what it did.
pub(super) fn outlives(event: &Value) -> bool {
    event["involvedObject"]["kind"] == "HorizontalPodAutoscaler"
}

/// How often and when an event was seen.
pub(super) fn seen(event: &Value) -> Value {
    let fields = ["count", "firstTimestamp", "lastTimestamp"];
    let fields = fields.map(|field| (field.to_owned(), event[field].clone()));
    Value::Object(fields.into_iter().collect())
}

fn name(object: &Value) -> String {
    Key::of(object).name
}

/// What a cluster begins with and a learner may change.
fn is_of_every_cluster(key: &Key) -> bool {
    key.name == DEFAULT_GATEWAY
        && ["Gateway", "GatewayClass", "IngressClass"].contains(&key.kind.as_str())
}

/// The Deployment or Rollout whose revision an object is.
fn owner_of_revision(object: &Value, key: &Key) -> Option<Key> {
    if key.kind != "ReplicaSet" || is_ending(object) {
        return None;
    }
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    let text = |field: &str| owner[field].as_str().unwrap_or_default().to_owned();
    Some(Key {
        api_version: text("apiVersion"),
        kind: text("kind"),
        namespace: key.namespace.clone(),
        name: text("name"),
    })
}

fn is_ending(object: &Value) -> bool {
    object["metadata"].get("deletionTimestamp").is_some()
}

fn is_own(object: &Value, key: &Key) -> bool {
    let owners = object["metadata"]["ownerReferences"].as_array();
    let is_made = owners.is_some_and(|owners| !owners.is_empty());
    let is_passing = PASSING.contains(&key.kind.as_str());
    !(is_made || is_passing || is_ending(object) || is_of_the_cluster(key))
}

/// What the cluster made for itself.
fn is_of_the_cluster(key: &Key) -> bool {
    let system = |namespace: &str| SYSTEM_NAMESPACES.contains(&namespace);
    match key.kind.as_str() {
        "Namespace" => system(&key.name) || key.name == "default",
        "ServiceAccount" => system(&key.namespace) || key.name == "default",
        "ConfigMap" => system(&key.namespace) || key.name == "kube-root-ca.crt",
        "Service" | "EndpointSlice" => {
            // The metrics' own namespace takes what learners add to it, but not this.
            system(&key.namespace)
                || (key.namespace == "default" && key.name.starts_with("kubernetes"))
        }
        _ => system(&key.namespace) && key.namespace != monitoring::NAMESPACE,
    }
}

impl NodeMarks {
    fn of(node: &Value) -> Self {
        let labels = node["metadata"]["labels"].as_object();
        let text =
            |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
        let taints = node["spec"]["taints"].as_array().into_iter().flatten();
        Self {
            labels: labels.into_iter().flatten().filter_map(text).collect(),
            taints: taints.filter(|taint| !is_written(taint)).cloned().collect(),
            unschedulable: node["spec"]["unschedulable"] == true,
        }
    }

    /// Without what people set: labels of Kubernetes' own only.
    fn at_first(&self) -> Self {
        let own = |key: &str| key.contains("kubernetes.io/");
        let labels = self.labels.iter().filter(|(key, _)| own(key));
        Self {
            labels: labels
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            ..Self::default()
        }
    }
}

/// Taints that controllers put on a node and take away.
pub(super) fn is_written(taint: &Value) -> bool {
    taint["key"]
        .as_str()
        .is_some_and(|key| key.starts_with("node.kubernetes.io/"))
}

/// An object without what the API wrote into it.
fn kept(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|field, _| !WRITTEN.contains(&field.as_str()));
    }
    match object["kind"].as_str() {
        Some("Pod") => {
            if let Some(spec) = object["spec"].as_object_mut() {
                spec.remove("nodeName");
            }
        }
        Some("Job") => strip_job(&mut object),
        _ => {}
    }
    object
}

/// A Job's selector is made for it, and must not be given.
fn strip_job(object: &mut Value) {
    if let Some(spec) = object["spec"].as_object_mut() {
        spec.remove("selector");
    }
    for labels in ["/metadata/labels", "/spec/template/metadata/labels"] {
        if let Some(labels) = object.pointer_mut(labels).and_then(Value::as_object_mut) {
            labels.retain(|label, _| !OF_JOBS.contains(&label.as_str()));
        }
    }
}

/// What the learner asked for: an object without its status and what controllers noted on it.
pub(super) fn wanted(object: &Value) -> Value {
    let mut wanted = object.clone();
    if let Some(fields) = wanted.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = wanted["metadata"].as_object_mut() {
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.retain(|name, _| name != REVISION && name != rollouts::REVISION);
        }
        let is_empty = |value: &Value| value.as_object().is_some_and(Map::is_empty);
        metadata.retain(|_, value| !is_empty(value));
    }
    wanted
}

/// Name and number of each revision.
pub(super) fn history(sets: Option<&Vec<Value>>) -> BTreeSet<(String, String)> {
    let number = |set: &Value| {
        let notes = &set["metadata"]["annotations"];
        let number = notes[REVISION]
            .as_str()
            .or(notes[rollouts::REVISION].as_str());
        number.unwrap_or_default().to_owned()
    };
    let sets = sets.into_iter().flatten();
    sets.map(|set| (name(set), number(set))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(kind: &str, namespace: &str, name: &str) -> Value {
        let metadata = json!({"name": name, "namespace": namespace, "uid": name});
        json!({"apiVersion": "v1", "kind": kind, "metadata": metadata})
    }

    fn own(all: Vec<Value>) -> Vec<String> {
        Objects::of(all).own.keys().map(Key::label).collect()
    }

    #[test]
    fn what_controllers_and_the_cluster_made_is_not_the_learners() {
        let mut owned = object("Pod", "default", "hello-1");
        owned["metadata"]["ownerReferences"] = json!([{"kind": "ReplicaSet", "name": "hello"}]);
        let mut ending = object("ConfigMap", "default", "ending");
        ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let theirs = vec![
            owned,
            ending,
            object("Event", "default", "e"),
            object("Lease", "kube-node-lease", "node-1"),
            object("Endpoints", "default", "hello"),
            object("ServiceAccount", "default", "default"),
            object("ServiceAccount", "shop", "default"),
            object("ConfigMap", "shop", "kube-root-ca.crt"),
            object("Namespace", "", "kube-system"),
            object("Namespace", "", "default"),
            object("Service", "default", "kubernetes"),
            object("Service", "kube-system", "kube-dns"),
            object("Service", "monitoring", "prometheus"),
            object("Node", "", "node-1"),
        ];
        assert_eq!(own(theirs), [""; 0]);
        let hers = vec![
            object("Pod", "default", "alone"),
            object("Namespace", "", "shop"),
            object("Service", "shop", "hello"),
            object("PrometheusRule", "monitoring", "alarms"),
        ];
        assert_eq!(
            own(hers),
            [
                "namespace/shop",
                "pod/alone",
                "prometheusrule/alarms in monitoring",
                "service/hello in shop"
            ]
        );
    }

    #[test]
    fn revisions_belong_to_their_owner_and_what_the_api_wrote_is_left_out() {
        let mut set = object("ReplicaSet", "default", "hello-5f");
        set["metadata"]["annotations"] = json!({REVISION: "3"});
        set["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "apps/v1", "kind": "Deployment", "name": "hello", "controller": true
        }]);
        let objects = Objects::of(vec![set]);
        let (owner, sets) = objects.revisions.first_key_value().unwrap();
        assert_eq!(owner.label(), "deployment/hello");
        assert_eq!(sets[0]["metadata"].get("uid"), None);
        assert_eq!(sets[0]["metadata"].get("ownerReferences"), None);
        let expected = BTreeSet::from([("hello-5f".to_owned(), "3".to_owned())]);
        assert_eq!(history(Some(sets)), expected);
    }

    #[test]
    fn a_status_and_a_revision_are_nothing_that_was_asked_for() {
        let mut before = object("Deployment", "default", "hello");
        let mut after = before.clone();
        after["status"] = json!({"replicas": 3});
        after["metadata"]["annotations"] = json!({REVISION: "2"});
        assert_eq!(wanted(&before), wanted(&after));
        before["spec"] = json!({"replicas": 2});
        assert_ne!(wanted(&before), wanted(&after));
    }

    #[test]
    fn marks_of_a_node_are_what_people_set() {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "node-1", "labels": {"kubernetes.io/os": "linux", "disk": "fast"}},
            "spec": {"unschedulable": true, "taints": [
                {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
                {"key": "gpu", "effect": "NoSchedule"}
            ]}
        });
        let objects = Objects::of(vec![node]);
        let marks = &objects.nodes["node-1"];
        assert_eq!((marks.taints.len(), marks.unschedulable), (1, true));
        let first = &objects.of_every_cluster(Value::Null).nodes["node-1"];
        assert_eq!(
            first.labels.keys().collect::<Vec<_>>(),
            ["kubernetes.io/os"]
        );
        assert!(first.taints.is_empty() && !first.unschedulable);
    }

    #[test]
    fn what_an_autoscaler_did_is_kept_whole_and_of_others_when_it_was_seen() {
        let event = |name: &str, kind: &str| {
            let mut event = object("Event", "default", name);
            event["involvedObject"] = json!({"kind": kind, "name": "hello"});
            event["message"] = json!("New size: 4; reason: cpu above target");
            event["count"] = json!(2);
            event
        };
        let objects = Objects::of(vec![
            event("hello.1", "HorizontalPodAutoscaler"),
            event("hello.2", "Deployment"),
        ]);
        let places: Vec<_> = objects.events.keys().collect();
        assert_eq!(places, ["default/hello.1", "default/hello.2"]);
        assert_eq!(objects.events["default/hello.2"]["count"], 2);
        let [kept] = &objects.history[..] else {
            panic!("{:?}", objects.history)
        };
        assert_eq!(kept["metadata"]["name"], "hello.1");
        assert_eq!(kept["metadata"].get("uid"), None);
        assert!(kept["message"].is_string());
    }

    #[test]
    fn objects_are_the_same_after_they_were_written_and_read() {
        let objects = Objects::of(vec![
            object("Pod", "default", "alone"),
            object("Event", "default", "e"),
            object("Node", "", "node-1"),
        ]);
        let text = serde_json::to_string(&objects).unwrap();
        assert_eq!(serde_json::from_str::<Objects>(&text).unwrap(), objects);
    }
}
