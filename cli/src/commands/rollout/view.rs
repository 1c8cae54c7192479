//! What there is to see of a Rollout: its state, revisions, ReplicaSets, pods and analysis.
//!
//! A pure function from the objects as the API sent them. They are read as JSON and not as
//! types, so that a cluster with more fields than ours shows the same picture.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// Label of the ReplicaSets and pods of one pod template.
pub(super) const TEMPLATE_HASH: &str = "rollouts-pod-template-hash";
/// Annotation with a ReplicaSet's revision; runs carry it too.
const REVISION: &str = "rollout.argoproj.io/revision";
/// Annotation with the moment at which an old ReplicaSet goes.
const SCALE_DOWN_DEADLINE: &str = "scale-down-deadline";
/// Label of the Jobs of an AnalysisRun.
const RUN_UID: &str = "analysisrun.argoproj.io/uid";

/// The objects of one namespace that a view is made from.
#[derive(Clone, Debug, Default)]
pub(super) struct Objects {
    pub(super) rollout: Value,
    pub(super) replica_sets: Vec<Value>,
    pub(super) pods: Vec<Value>,
    pub(super) analysis_runs: Vec<Value>,
    pub(super) jobs: Vec<Value>,
}

/// A Rollout as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
    /// `Canary` or `BlueGreen`.
    pub(super) strategy: &'static str,
    /// Done steps and all steps, such as `1/8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) step: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) set_weight: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) actual_weight: Option<i64>,
    pub(super) images: Vec<ImageView>,
    pub(super) replicas: Replicas,
    pub(super) created_at: Option<Timestamp>,
    /// The newest first.
    pub(super) revisions: Vec<RevisionView>,
}

/// An image in use and what for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ImageView {
    pub(super) image: String,
    /// `stable`, `canary`, `active`, `preview`.
    pub(super) tags: Vec<&'static str>,
}

/// Replicas of a Rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Replicas {
    pub(super) desired: i64,
    pub(super) current: i64,
    pub(super) updated: i64,
    pub(super) ready: i64,
    pub(super) available: i64,
}

/// A revision and what belongs to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RevisionView {
    pub(super) revision: i64,
    pub(super) replica_sets: Vec<ReplicaSetView>,
    pub(super) analysis_runs: Vec<RunView>,
}

/// A ReplicaSet.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReplicaSetView {
    pub(super) name: String,
    pub(super) status: &'static str,
    pub(super) created_at: Option<Timestamp>,
    pub(super) tags: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scale_down_at: Option<Timestamp>,
    #[serde(skip)]
    pub(super) replicas: i64,
    #[serde(skip)]
    pub(super) available: i64,
    pub(super) images: Vec<String>,
    pub(super) pods: Vec<PodView>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodView {
    pub(super) name: String,
    pub(super) status: String,
    /// Ready containers of all, such as `1/1`.
    pub(super) ready: String,
    pub(super) restarts: i64,
    pub(super) created_at: Option<Timestamp>,
}

/// An AnalysisRun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunView {
    pub(super) name: String,
    pub(super) status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
    pub(super) successful: i64,
    pub(super) failed: i64,
    pub(super) inconclusive: i64,
    pub(super) error: i64,
    pub(super) created_at: Option<Timestamp>,
    pub(super) jobs: Vec<JobView>,
}

/// A Job of an AnalysisRun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobView {
    pub(super) name: String,
    pub(super) status: &'static str,
    pub(super) created_at: Option<Timestamp>,
}

/// The view of a Rollout among its objects.
pub(super) fn view(objects: &Objects) -> View {
    let rollout = &objects.rollout;
    let (status, message) = phase(rollout);
    let canary = rollout.pointer("/spec/strategy/canary").is_some();
    let mut replica_sets: Vec<(i64, ReplicaSetView)> = objects
        .replica_sets
        .iter()
        .filter(|set| is_owned(set, rollout))
        .map(|set| (revision(set), replica_set(set, objects)))
        .collect();
    replica_sets.sort_by_key(|(_, set)| set.created_at);
    let images = images(&replica_sets);
    let canary_set = replica_sets
        .iter()
        .find(|(_, set)| set.tags.contains(&"canary"))
        .map(|(_, set)| set);
    let (step, set_weight, actual_weight) = if canary {
        let weight = set_weight(rollout);
        let actual = actual_weight(rollout, canary_set);
        (step(rollout), Some(weight), Some(actual))
    } else {
        (None, None, None)
    };
    View {
        name: text(rollout, "/metadata/name").to_owned(),
        namespace: text(rollout, "/metadata/namespace").to_owned(),
        status,
        message,
        strategy: if canary { "Canary" } else { "BlueGreen" },
        step,
        set_weight,
        actual_weight,
        images,
        replicas: Replicas {
            desired: rollout
                .pointer("/spec/replicas")
                .and_then(Value::as_i64)
                .unwrap_or(1),
            current: number(rollout, "/status/replicas"),
            updated: number(rollout, "/status/updatedReplicas"),
            ready: number(rollout, "/status/readyReplicas"),
            available: number(rollout, "/status/availableReplicas"),
        },
        created_at: created(rollout),
        revisions: revisions(replica_sets, objects),
    }
}

fn revisions(sets: Vec<(i64, ReplicaSetView)>, objects: &Objects) -> Vec<RevisionView> {
    let mut all: Vec<RevisionView> = Vec::new();
    let at = |all: &mut Vec<RevisionView>, revision: i64| {
        let known = all.iter().position(|known| known.revision == revision);
        known.unwrap_or_else(|| {
            all.push(RevisionView {
                revision,
                replica_sets: Vec::new(),
                analysis_runs: Vec::new(),
            });
            all.len() - 1
        })
    };
    for (revision, set) in sets {
        let place = at(&mut all, revision);
        all[place].replica_sets.push(set);
    }
    let runs = objects.analysis_runs.iter();
    for object in runs.filter(|run| is_owned(run, &objects.rollout)) {
        let place = at(&mut all, revision(object));
        all[place].analysis_runs.push(run(object, &objects.jobs));
    }
    for revision in &mut all {
        revision.analysis_runs.sort_by(|one, other| {
            (one.created_at, &one.name).cmp(&(other.created_at, &other.name))
        });
    }
    all.sort_by_key(|revision| -revision.revision);
    all
}

/// The phase as a client reads it, and why.
pub(super) fn phase(rollout: &Value) -> (String, Option<String>) {
    let generation = rollout
        .pointer("/metadata/generation")
        .and_then(Value::as_i64);
    let observed = text(rollout, "/status/observedGeneration");
    let unobserved = generation.is_some_and(|generation| observed != generation.to_string());
    if unobserved {
        let message = "waiting for rollout spec update to be observed";
        return ("Progressing".to_owned(), Some(message.to_owned()));
    }
    let resumes = rollout.pointer("/status/controllerPause") == Some(&Value::Bool(true))
        && list(rollout, "/status/pauseConditions").is_empty()
        && text(rollout, "/status/phase") == "Paused";
    if resumes {
        let message = "waiting for rollout to unpause";
        return ("Progressing".to_owned(), Some(message.to_owned()));
    }
    let phase = match text(rollout, "/status/phase") {
        "" => "Progressing",
        phase => phase,
    };
    let message = text(rollout, "/status/message");
    (
        phase.to_owned(),
        (!message.is_empty()).then(|| message.to_owned()),
    )
}

fn steps(rollout: &Value) -> &[Value] {
    list(rollout, "/spec/strategy/canary/steps")
}

/// Index of the present step; the number of steps when all are done.
pub(super) fn step_index(rollout: &Value) -> Option<usize> {
    let steps = steps(rollout).len();
    if steps == 0 {
        return None;
    }
    let index = number(rollout, "/status/currentStepIndex");
    Some(usize::try_from(index).unwrap_or(0).min(steps))
}

/// Number of canary steps.
pub(super) fn step_count(rollout: &Value) -> usize {
    steps(rollout).len()
}

fn step(rollout: &Value) -> Option<String> {
    let index = step_index(rollout)?;
    Some(format!("{index}/{}", steps(rollout).len()))
}

/// The weight that the steps so far ask for.
fn set_weight(rollout: &Value) -> i64 {
    if rollout.pointer("/status/abort") == Some(&Value::Bool(true)) {
        return 0;
    }
    let all = steps(rollout);
    let Some(index) = step_index(rollout).filter(|index| *index < all.len()) else {
        return 100;
    };
    all[..=index]
        .iter()
        .rev()
        .find_map(|step| step["setWeight"].as_i64())
        .unwrap_or(0)
}

/// The weight that the canary has: as the traffic router says, else its share of the replicas.
fn actual_weight(rollout: &Value, canary: Option<&ReplicaSetView>) -> i64 {
    if let Some(weight) = rollout.pointer("/status/canary/weights/canary/weight") {
        return weight.as_i64().unwrap_or(0);
    }
    let all_done = step_index(rollout).is_none_or(|index| index >= steps(rollout).len());
    let stable = text(rollout, "/status/stableRS");
    if all_done || stable == text(rollout, "/status/currentPodHash") {
        return 100;
    }
    let available = number(rollout, "/status/availableReplicas");
    match canary {
        Some(canary) if available > 0 => canary.available * 100 / available,
        Some(_) | None => 0,
    }
}

fn images(sets: &[(i64, ReplicaSetView)]) -> Vec<ImageView> {
    let mut all: Vec<ImageView> = Vec::new();
    let mut sets: Vec<_> = sets.iter().filter(|(_, set)| set.replicas > 0).collect();
    // The newest first, as in the tree.
    sets.sort_by_key(|(revision, _)| -revision);
    for (_, set) in sets {
        for image in &set.images {
            let known = all.iter_mut().find(|known| known.image == *image);
            let Some(known) = known else {
                all.push(ImageView {
                    image: image.clone(),
                    tags: set.tags.clone(),
                });
                continue;
            };
            for tag in &set.tags {
                if !known.tags.contains(tag) {
                    known.tags.push(tag);
                }
            }
        }
    }
    all
}

fn replica_set(set: &Value, objects: &Objects) -> ReplicaSetView {
    let rollout = &objects.rollout;
    let hash = hash_of(set);
    let mut pods: Vec<PodView> = objects
        .pods
        .iter()
        .filter(|pod| is_owned(pod, set))
        .map(pod)
        .collect();
    pods.sort_by(|one, other| (one.created_at, &one.name).cmp(&(other.created_at, &other.name)));
    let desired = number(set, "/spec/replicas");
    let available = number(set, "/status/availableReplicas");
    let status = if desired == 0 && pods.is_empty() {
        "ScaledDown"
    } else if pods.iter().any(|pod| is_bad_pod(&pod.status)) {
        "Degraded"
    } else if available < desired || pods.is_empty() {
        "Progressing"
    } else {
        "Healthy"
    };
    let containers = list(set, "/spec/template/spec/containers");
    ReplicaSetView {
        name: text(set, "/metadata/name").to_owned(),
        status,
        created_at: created(set),
        tags: tags(rollout, hash),
        scale_down_at: annotation(set, SCALE_DOWN_DEADLINE).parse().ok(),
        replicas: number(set, "/status/replicas").max(desired),
        available,
        images: containers
            .iter()
            .filter_map(|container| container["image"].as_str().map(str::to_owned))
            .collect(),
        pods,
    }
}

fn tags(rollout: &Value, hash: &str) -> Vec<&'static str> {
    let is = |pointer: &str| !hash.is_empty() && text(rollout, pointer) == hash;
    let stable = is("/status/stableRS");
    let mut tags = Vec::new();
    if stable {
        tags.push("stable");
    }
    if rollout.pointer("/spec/strategy/canary").is_some() {
        if is("/status/currentPodHash") && !stable {
            tags.push("canary");
        }
    } else if is("/status/blueGreen/activeSelector") {
        tags.push("active");
    } else if is("/status/blueGreen/previewSelector") {
        tags.push("preview");
    }
    tags
}

fn pod(pod: &Value) -> PodView {
    let statuses = list(pod, "/status/containerStatuses");
    let ready = statuses
        .iter()
        .filter(|status| status["ready"] == Value::Bool(true))
        .count();
    let restarts = statuses
        .iter()
        .filter_map(|status| status["restartCount"].as_i64())
        .sum();
    PodView {
        name: text(pod, "/metadata/name").to_owned(),
        status: pod_status(pod, statuses),
        ready: format!("{ready}/{}", list(pod, "/spec/containers").len()),
        restarts,
        created_at: created(pod),
    }
}

/// What kubectl calls the pod's status, for pods without init containers.
fn pod_status(pod: &Value, containers: &[Value]) -> String {
    if pod.pointer("/metadata/deletionTimestamp").is_some() {
        return "Terminating".to_owned();
    }
    let held = containers.iter().rev().find_map(|status| {
        let state = &status["state"];
        let reason = |of: &Value| of["reason"].as_str().map(str::to_owned);
        reason(&state["waiting"]).or_else(|| reason(&state["terminated"]))
    });
    let reason = text(pod, "/status/reason");
    let phase = match (reason, text(pod, "/status/phase")) {
        ("", "") => "Unknown",
        ("", phase) => phase,
        (reason, _) => reason,
    };
    held.unwrap_or_else(|| phase.to_owned())
}

/// True for what does not get better by waiting a moment.
pub(super) fn is_bad_pod(status: &str) -> bool {
    matches!(
        status,
        "CrashLoopBackOff"
            | "CreateContainerConfigError"
            | "CreateContainerError"
            | "ErrImagePull"
            | "Error"
            | "Failed"
            | "ImagePullBackOff"
            | "InvalidImageName"
            | "OOMKilled"
            | "RunContainerError"
    )
}

fn run(run: &Value, jobs: &[Value]) -> RunView {
    let sum = |field: &str| {
        let results = list(run, "/status/metricResults").iter();
        results.filter_map(|result| result[field].as_i64()).sum()
    };
    let uid = text(run, "/metadata/uid");
    let mut jobs: Vec<JobView> = jobs
        .iter()
        .filter(|job| !uid.is_empty() && label(job, RUN_UID) == uid)
        .map(job)
        .collect();
    jobs.sort_by(|one, other| (one.created_at, &one.name).cmp(&(other.created_at, &other.name)));
    let status = match text(run, "/status/phase") {
        "" => "Pending",
        phase => phase,
    };
    let message = text(run, "/status/message");
    RunView {
        name: text(run, "/metadata/name").to_owned(),
        status: status.to_owned(),
        message: (!message.is_empty()).then(|| message.to_owned()),
        successful: sum("successful"),
        failed: sum("failed"),
        inconclusive: sum("inconclusive"),
        error: sum("error"),
        created_at: created(run),
        jobs,
    }
}

fn job(job: &Value) -> JobView {
    let holds = |type_: &str| {
        let conditions = list(job, "/status/conditions");
        conditions
            .iter()
            .any(|it| it["type"] == type_ && it["status"] == "True")
    };
    let status = if holds("Complete") {
        "Successful"
    } else if holds("Failed") {
        "Failed"
    } else {
        "Running"
    };
    JobView {
        name: text(job, "/metadata/name").to_owned(),
        status,
        created_at: created(job),
    }
}

/// The template hash in an object's labels.
pub(super) fn hash_of(object: &Value) -> &str {
    label(object, TEMPLATE_HASH)
}

/// The revision in an object's annotations; 0 where there is none.
pub(super) fn revision(object: &Value) -> i64 {
    annotation(object, REVISION).parse().unwrap_or(0)
}

/// True where `owner` controls `object`.
pub(super) fn is_owned(object: &Value, owner: &Value) -> bool {
    let uid = text(owner, "/metadata/uid");
    let owners = list(object, "/metadata/ownerReferences");
    owners
        .iter()
        .any(|reference| reference["controller"] == Value::Bool(true) && reference["uid"] == uid)
}

fn label<'a>(object: &'a Value, key: &str) -> &'a str {
    object["metadata"]["labels"][key]
        .as_str()
        .unwrap_or_default()
}

fn annotation<'a>(object: &'a Value, key: &str) -> &'a str {
    object["metadata"]["annotations"][key]
        .as_str()
        .unwrap_or_default()
}

fn created(object: &Value) -> Option<Timestamp> {
    text(object, "/metadata/creationTimestamp").parse().ok()
}

/// The text at a JSON pointer, or an empty one.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn number(object: &Value, pointer: &str) -> i64 {
    object
        .pointer(pointer)
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

/// The list at a JSON pointer, or an empty one.
pub(super) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}
