//! From objects to the picture: a pure function.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use serde_json::Value;

use super::gateway::{self, Listener};
use super::rates::Rates;
use super::story::{self, Told};
use super::versions::{Version, Versions, app_of, controller, version_of};
use super::watch::{Absence, AbsenceKind};
use lab_checks::language::Text;

/// Nodes that are shown; the rest are counted. A picture of more is a texture.
const MOST_NODES: usize = 60;
/// Pods shown of one node; the rest are counted.
const MOST_PODS: usize = 40;

/// The objects of a cluster that a picture is made from, by namespace and name.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// Nodes.
    pub nodes: BTreeMap<String, Value>,
    /// Pods.
    pub pods: BTreeMap<String, Value>,
    /// ReplicaSets.
    pub replica_sets: BTreeMap<String, Value>,
    /// Services.
    pub services: BTreeMap<String, Value>,
    /// Gateways of the Gateway API.
    pub gateways: BTreeMap<String, Value>,
    /// HTTPRoutes.
    pub routes: BTreeMap<String, Value>,
    /// Events.
    pub events: BTreeMap<String, Value>,
}

/// A cluster at a glance. What its members mean is told in the module's first lines.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Picture {
    /// Whether it is there.
    pub cluster: ClusterState,
    /// Applications, by name.
    pub apps: Vec<App>,
    /// Nodes, by name.
    pub nodes: Vec<Node>,
    /// Nodes that are not shown because there are too many.
    pub more_nodes: usize,
    /// Pods that no node has taken.
    pub waiting: Vec<Pod>,
    /// The load balancer.
    pub listeners: Vec<Listener>,
    /// What was measured.
    pub rates: Rates,
    /// What happened, the newest first.
    pub events: Vec<Told>,
}

/// Whether a cluster is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterState {
    /// In a word.
    pub state: &'static str,
    /// In words, where there is something to say.
    pub say: Option<Text>,
    /// The command that helps.
    pub command: Option<String>,
}

/// An application and its versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct App {
    /// Name of its Deployment, Rollout or the like.
    pub name: String,
    /// Versions that pods run or traffic went to, in the order of their slots.
    pub versions: Vec<AppVersion>,
}

/// A version of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AppVersion {
    /// The tag of its image.
    pub version: String,
    /// Chooses its colour and letter.
    pub slot: usize,
    /// Its pods, without those that end.
    pub pods: usize,
    /// Those of them that are ready.
    pub ready: usize,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Its name.
    pub name: String,
    /// `ready`, `cordoned` (takes no new pods) or `lost` (does not answer).
    pub state: &'static str,
    /// Its pods, by application, version and name.
    pub pods: Vec<Pod>,
    /// Pods that are not shown because there are too many.
    pub more_pods: usize,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The application that it belongs to.
    pub app: String,
    /// The version that it runs.
    pub version: String,
    /// Chooses colour and letter.
    pub slot: usize,
    /// How it is.
    pub state: PodState,
    /// Why, in the words of the API, such as `CrashLoopBackOff`.
    pub reason: Option<String>,
    /// How often its containers were started again.
    pub restarts: i64,
}

/// How a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PodState {
    /// Takes requests.
    Ready,
    /// Runs, and does not (yet) pass its readiness probe.
    Unready,
    /// Its containers are on their way.
    Starting,
    /// No node has taken it.
    Waiting,
    /// It crashed, or its image cannot be fetched, or the like.
    Failing,
    /// Told to end, and ending.
    Ending,
    /// Its node does not answer: nobody knows.
    Lost,
    /// Ran to its end.
    Done,
}

impl Picture {
    /// Before anything is known.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            cluster: ClusterState {
                state: "connecting",
                say: None,
                command: None,
            },
            apps: Vec::new(),
            nodes: Vec::new(),
            more_nodes: 0,
            waiting: Vec::new(),
            listeners: Vec::new(),
            rates: Rates::default(),
            events: Vec::new(),
        }
    }

    /// Of a cluster that is there.
    #[must_use]
    pub fn of(objects: &Objects, rates: &Rates, versions: &mut Versions) -> Self {
        let owners = owners(objects);
        learn_versions(objects, &owners, versions);
        let lost: BTreeSet<&str> = objects
            .nodes
            .values()
            .filter(|node| node_state(node) == "lost")
            .filter_map(name)
            .collect();
        let mut by_node: BTreeMap<&str, Vec<Pod>> = BTreeMap::new();
        let mut waiting = Vec::new();
        for pod in objects.pods.values() {
            let on = text(pod, "/spec/nodeName");
            let is_lost = on.is_some_and(|on| lost.contains(on) || !objects.nodes.contains_key(on));
            let seen = pod_of(pod, &owners, is_lost, versions);
            match on {
                Some(on) => by_node.entry(on).or_default().push(seen),
                None => waiting.push(seen),
            }
        }
        let mut nodes: Vec<_> = objects
            .nodes
            .iter()
            .map(|(key, node)| {
                let pods = by_node.remove(key.as_str()).unwrap_or_default();
                node_of(key, node_state(node), pods)
            })
            .collect();
        // Pods of nodes that are gone from the API too.
        let gone = by_node.into_iter();
        nodes.extend(gone.map(|(name, pods)| node_of(name, "lost", pods)));
        nodes.sort_by_key(|node| natural(&node.name));
        let listeners = gateway::listeners(objects, rates, versions);
        let more_nodes = nodes.len().saturating_sub(MOST_NODES);
        let apps = apps(&nodes, &waiting, &listeners);
        nodes.truncate(MOST_NODES);
        waiting.sort_by(order);
        waiting.truncate(MOST_PODS);
        for node in &mut nodes {
            node.pods.sort_by(order);
            node.more_pods = node.pods.len().saturating_sub(MOST_PODS);
            node.pods.truncate(MOST_PODS);
        }
        Self {
            cluster: ClusterState {
                state: "live",
                say: None,
                command: None,
            },
            apps,
            nodes,
            more_nodes,
            waiting,
            listeners,
            rates: rates.clone(),
            events: story::newest(objects.events.values(), versions),
        }
    }

    /// The same, once the cluster is not there any more.
    #[must_use]
    pub fn absent(mut self, absence: &Absence) -> Self {
        let Absence { kind, say, command } = absence;
        self.cluster = ClusterState {
            state: match kind {
                AbsenceKind::Gone => "gone",
                AbsenceKind::Stopped => "stopped",
                AbsenceKind::Unreachable => "unreachable",
            },
            say: Some(say.clone()),
            command: Some(command.clone()),
        };
        if *kind == AbsenceKind::Gone {
            // What was there will not come back.
            return Self {
                cluster: self.cluster,
                ..Self::empty()
            };
        }
        self
    }
}

/// The workload behind each ReplicaSet, by uid.
fn owners(objects: &Objects) -> HashMap<String, String> {
    let sets = objects.replica_sets.values();
    let owned = sets.filter_map(|set| {
        let (_, workload, _) = controller(set)?;
        Some((text(set, "/metadata/uid")?.to_owned(), workload.to_owned()))
    });
    owned.collect()
}

/// Gives versions their slots in the order in which they were made, and notes what pods run.
fn learn_versions(objects: &Objects, owners: &HashMap<String, String>, versions: &mut Versions) {
    let mut sets: Vec<_> = objects
        .replica_sets
        .values()
        .filter_map(|set| {
            let app = owners.get(text(set, "/metadata/uid")?)?;
            let created = text(set, "/metadata/creationTimestamp").unwrap_or_default();
            let template = set.pointer("/spec/template")?;
            let none = Value::Null;
            let labels = template.pointer("/metadata/labels").unwrap_or(&none);
            let version = version_of(app, template.get("spec")?, labels);
            // Within one second the revision tells.
            let revision = revision(set);
            Some((created, revision, version, name(set)?))
        })
        .collect();
    sets.sort();
    for (_, _, version, set) in sets {
        versions.slot(&version);
        versions.remember(set, &version);
    }
    for pod in objects.pods.values() {
        let version = pod_version(pod, owners);
        if let Some(name) = name(pod) {
            versions.remember(name, &version);
        }
    }
}

fn revision(set: &Value) -> u64 {
    let notes = [
        "/metadata/annotations/deployment.kubernetes.io~1revision",
        "/metadata/annotations/rollout.argoproj.io~1revision",
    ];
    let revision = notes.into_iter().find_map(|note| text(set, note));
    revision
        .and_then(|revision| revision.parse().ok())
        .unwrap_or_default()
}

fn pod_version(pod: &Value, owners: &HashMap<String, String>) -> Version {
    let none = Value::Null;
    let labels = pod.pointer("/metadata/labels").unwrap_or(&none);
    let spec = pod.get("spec").unwrap_or(&none);
    version_of(&app_of(pod, owners), spec, labels)
}

fn node_of(name: &str, state: &'static str, pods: Vec<Pod>) -> Node {
    Node {
        name: name.to_owned(),
        state,
        pods,
        more_pods: 0,
    }
}

fn node_state(node: &Value) -> &'static str {
    let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
    let is_ready = conditions.into_iter().flatten().any(|condition| {
        text(condition, "/type") == Some("Ready") && text(condition, "/status") == Some("True")
    });
    let cordoned = node.pointer("/spec/unschedulable").and_then(Value::as_bool) == Some(true);
    match (is_ready, cordoned) {
        (false, _) => "lost",
        (true, true) => "cordoned",
        (true, false) => "ready",
    }
}

fn pod_of(
    pod: &Value,
    owners: &HashMap<String, String>,
    is_lost: bool,
    versions: &mut Versions,
) -> Pod {
    let version = pod_version(pod, owners);
    let slot = versions.slot(&version);
    let (state, reason) = pod_state(pod, is_lost);
    let containers = pod.pointer("/status/containerStatuses");
    let containers = containers.and_then(Value::as_array).into_iter().flatten();
    let restarts = containers
        .filter_map(|container| container.get("restartCount")?.as_i64())
        .sum();
    Pod {
        name: name(pod).unwrap_or_default().to_owned(),
        namespace: text(pod, "/metadata/namespace")
            .unwrap_or_default()
            .to_owned(),
        app: version.app,
        version: version.version,
        slot,
        state,
        reason,
        restarts,
    }
}

/// How a pod is, and why.
fn pod_state(pod: &Value, is_lost: bool) -> (PodState, Option<String>) {
    let phase = text(pod, "/status/phase").unwrap_or("Pending");
    let own = || text(pod, "/status/reason").map(str::to_owned);
    match phase {
        "Succeeded" => return (PodState::Done, own()),
        "Failed" => return (PodState::Failing, own().or(Some("Failed".to_owned()))),
        _ => {}
    }
    if is_lost {
        return (PodState::Lost, own());
    }
    if pod.pointer("/metadata/deletionTimestamp").is_some() {
        return (PodState::Ending, own());
    }
    if text(pod, "/spec/nodeName").is_none() {
        let reason = condition(pod, "PodScheduled").and_then(|it| text(it, "/reason"));
        return (PodState::Waiting, reason.map(str::to_owned));
    }
    if let Some(reason) = trouble(pod) {
        return (PodState::Failing, Some(reason));
    }
    let ready = condition(pod, "Ready").and_then(|it| text(it, "/status"));
    match (phase, ready) {
        ("Running", Some("True")) => (PodState::Ready, None),
        ("Running", _) => (PodState::Unready, None),
        _ => (PodState::Starting, None),
    }
}

/// Why a container does not run, where something is wrong with it.
fn trouble(pod: &Value) -> Option<String> {
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let statuses = lists
        .into_iter()
        .filter_map(|list| pod.pointer(list)?.as_array());
    statuses.flatten().find_map(|status| {
        if let Some(reason) = text(status, "/state/waiting/reason") {
            let on_its_way = matches!(reason, "ContainerCreating" | "PodInitializing");
            return (!on_its_way).then(|| reason.to_owned());
        }
        let ended = status.pointer("/state/terminated")?;
        let failed = ended.get("exitCode").and_then(Value::as_i64) != Some(0);
        let reason = text(ended, "/reason").unwrap_or("Error");
        failed.then(|| reason.to_owned())
    })
}

fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions
        .iter()
        .find(|condition| text(condition, "/type") == Some(type_))
}

/// Applications with their versions: of the pods, and of the traffic.
fn apps(nodes: &[Node], waiting: &[Pod], listeners: &[Listener]) -> Vec<App> {
    let mut apps: BTreeMap<&str, BTreeMap<usize, AppVersion>> = BTreeMap::new();
    let pods = nodes.iter().flat_map(|node| &node.pods).chain(waiting);
    for pod in pods.filter(|pod| pod.state != PodState::Done) {
        let versions = apps.entry(&pod.app).or_default();
        let entry = versions.entry(pod.slot).or_insert_with(|| AppVersion {
            version: pod.version.clone(),
            slot: pod.slot,
            pods: 0,
            ready: 0,
        });
        entry.pods += usize::from(pod.state != PodState::Ending);
        entry.ready += usize::from(pod.state == PodState::Ready);
    }
    for share in listeners
        .iter()
        .flat_map(|listener| &listener.routes)
        .flat_map(|route| &route.shares)
    {
        let versions = apps.entry(&share.app).or_default();
        versions.entry(share.slot).or_insert_with(|| AppVersion {
            version: share.version.clone(),
            slot: share.slot,
            pods: 0,
            ready: 0,
        });
    }
    let app = |(name, versions): (&str, BTreeMap<usize, AppVersion>)| App {
        name: name.to_owned(),
        versions: versions.into_values().collect(),
    };
    apps.into_iter().map(app).collect()
}

fn order(one: &Pod, other: &Pod) -> std::cmp::Ordering {
    let key = |pod: &Pod| (pod.app.clone(), pod.slot, pod.name.clone());
    key(one).cmp(&key(other))
}

/// Names in the order in which people count: `node-10` after `node-9`.
fn natural(name: &str) -> (String, u64, String) {
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (stem, number) = name.split_at(name.len() - digits);
    (
        stem.to_owned(),
        number.parse().unwrap_or_default(),
        name.to_owned(),
    )
}

pub(super) fn name(object: &Value) -> Option<&str> {
    text(object, "/metadata/name")
}

pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer)?.as_str()
}

#[cfg(test)]
mod tests;
