//! Revisions: which ReplicaSet is the new one, what is written on it, and how many old ones
//! are kept to go back to.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-back-a-deployment>

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use lab_api::hash::pod_template_hash;
use lab_api::names::{
    DESIRED_REPLICAS, LAST_APPLIED, MAX_REPLICAS, POD_TEMPLATE_HASH, REVISION, REVISION_HISTORY,
};
use lab_api::objects::controller_reference;

use super::size::{Bounds, wanted};

/// Annotations that belong to one object alone and are not copied from the Deployment.
const NOT_COPIED: [&str; 5] = [
    LAST_APPLIED,
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
];

/// Room for the list of earlier revisions, in bytes, as in kube-controller-manager.
const HISTORY_ROOM: usize = 2000;

/// A Deployment's ReplicaSets.
#[derive(Debug, Default)]
pub(super) struct Sets {
    /// The one with the Deployment's present template.
    pub new: Option<Arc<ReplicaSet>>,
    /// All others.
    pub old: Vec<Arc<ReplicaSet>>,
}

impl Sets {
    /// Tells the new ReplicaSet from the old ones. If two carry the template, the older one
    /// is the new one, so that two controllers come to the same conclusion.
    pub(super) fn sort(deployment: &Deployment, mut owned: Vec<Arc<ReplicaSet>>) -> Self {
        owned.sort_by(|a, b| {
            let age = |set: &ReplicaSet| set.metadata.creation_timestamp.clone();
            age(a)
                .cmp(&age(b))
                .then_with(|| a.metadata.name.cmp(&b.metadata.name))
        });
        let new = owned
            .iter()
            .position(|set| has_template_of(set, deployment))
            .map(|index| owned.remove(index));
        Self { new, old: owned }
    }

    /// All of them, the new one first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.new.iter().chain(&self.old)
    }
}

/// True where the ReplicaSet makes the pods that the Deployment asks for now.
pub(super) fn has_template_of(replica_set: &ReplicaSet, deployment: &Deployment) -> bool {
    let Some(spec) = &deployment.spec else {
        return false;
    };
    let Some(template) = replica_set
        .spec
        .as_ref()
        .and_then(|spec| spec.template.as_ref())
    else {
        return false;
    };
    without_hash(template) == without_hash(&spec.template)
}

fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    if let Some(metadata) = &mut template.metadata {
        if let Some(labels) = &mut metadata.labels {
            labels.remove(POD_TEMPLATE_HASH);
        }
        metadata.labels = metadata.labels.take().filter(|labels| !labels.is_empty());
    }
    template
}

/// The number in the revision annotation; 0 where there is none.
pub(super) fn revision(meta: &ObjectMeta) -> i64 {
    meta.annotations
        .as_ref()
        .and_then(|annotations| annotations.get(REVISION)?.parse().ok())
        .unwrap_or(0)
}

fn next_revision(old: &[Arc<ReplicaSet>]) -> i64 {
    let newest = old.iter().map(|set| revision(&set.metadata)).max();
    newest.unwrap_or(0).saturating_add(1)
}

/// The ReplicaSet to create for the Deployment's template.
pub(super) fn build(deployment: &Deployment, old: &[Arc<ReplicaSet>], replicas: i32) -> ReplicaSet {
    let spec = deployment.spec.clone().unwrap_or_default();
    let collisions = deployment
        .status
        .as_ref()
        .and_then(|status| status.collision_count);
    let hash = pod_template_hash(&spec.template, collisions);
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    let mut template = spec.template;
    let labels = template
        .metadata
        .get_or_insert_default()
        .labels
        .get_or_insert_default();
    labels.insert(POD_TEMPLATE_HASH.to_owned(), hash.clone());
    let labels = labels.clone();
    let mut annotations = copied_annotations(deployment);
    annotations.insert(REVISION.to_owned(), next_revision(old).to_string());
    annotations.extend(size_notes(Bounds::of(deployment)));
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{hash}")),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: spec.min_ready_seconds,
            selector: selector_with_hash(spec.selector, hash),
            template: Some(template),
        }),
        status: None,
    }
}

fn selector_with_hash(mut selector: LabelSelector, hash: String) -> LabelSelector {
    selector
        .match_labels
        .get_or_insert_default()
        .insert(POD_TEMPLATE_HASH.to_owned(), hash);
    selector
}

fn copied_annotations(deployment: &Deployment) -> BTreeMap<String, String> {
    let mut annotations = deployment.metadata.annotations.clone().unwrap_or_default();
    annotations.retain(|key, _| !NOT_COPIED.contains(&key.as_str()));
    annotations
}

/// What a ReplicaSet remembers of the Deployment's size, for proportional scaling.
pub(super) fn size_notes(bounds: Bounds) -> [(String, String); 2] {
    [
        (DESIRED_REPLICAS.to_owned(), bounds.replicas.to_string()),
        (MAX_REPLICAS.to_owned(), bounds.max_total().to_string()),
    ]
}

/// Annotations that the existing new ReplicaSet lacks or has wrong; empty where all is well.
///
/// Going back to an earlier template takes its ReplicaSet up again: it gets the next revision
/// number, and its former one goes into its history.
pub(super) fn renewed_annotations(
    deployment: &Deployment,
    new: &ReplicaSet,
    old: &[Arc<ReplicaSet>],
) -> BTreeMap<String, String> {
    let present = new.metadata.annotations.clone().unwrap_or_default();
    let mut wanted = copied_annotations(deployment);
    let (before, next) = (revision(&new.metadata), next_revision(old));
    if before < next {
        wanted.insert(REVISION.to_owned(), next.to_string());
        if before > 0 {
            let history = present.get(REVISION_HISTORY).map_or("", String::as_str);
            wanted.insert(REVISION_HISTORY.to_owned(), extended(history, before));
        }
    }
    wanted.retain(|key, value| present.get(key) != Some(value));
    wanted
}

/// A list of revisions with one more at its end, cut at its beginning to fit an annotation.
pub(crate) fn extended(history: &str, revision: i64) -> String {
    let mut revisions: Vec<&str> = history.split(',').filter(|one| !one.is_empty()).collect();
    let latest = revision.to_string();
    revisions.push(&latest);
    let mut joined = revisions.join(",");
    while joined.len() > HISTORY_ROOM
        && let Some((_oldest, rest)) = joined.split_once(',')
    {
        joined = rest.to_owned();
    }
    joined
}

/// Old ReplicaSets beyond `revisionHistoryLimit`, oldest first, that have no pods any more.
pub(super) fn surplus(deployment: &Deployment, old: &[Arc<ReplicaSet>]) -> Vec<Arc<ReplicaSet>> {
    let limit = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.revision_history_limit);
    let Some(limit) = limit.filter(|limit| *limit != i32::MAX) else {
        return Vec::new();
    };
    let mut alive: Vec<_> = old
        .iter()
        .filter(|set| set.metadata.deletion_timestamp.is_none())
        .collect();
    let limit = usize::try_from(limit).unwrap_or(0);
    let count = alive.len().saturating_sub(limit);
    alive.sort_by_key(|set| revision(&set.metadata));
    alive
        .into_iter()
        .take(count)
        .filter(|set| is_empty(set))
        .cloned()
        .collect()
}

/// True for a ReplicaSet that has no pods and is to have none.
pub(crate) fn is_empty(replica_set: &ReplicaSet) -> bool {
    let status = replica_set.status.clone().unwrap_or_default();
    wanted(replica_set) == 0
        && status.replicas == 0
        && status.observed_generation >= replica_set.metadata.generation
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn deployment(image: &str) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "d1", "annotations": {
                "kubernetes.io/change-cause": "try it", REVISION: "7", LAST_APPLIED: "{}"}},
            "spec": {"replicas": 4, "revisionHistoryLimit": 1, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "c", "image": image}]}}}}))
        .unwrap()
    }

    fn set(name: &str, annotations: Value) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": {"name": name, "annotations": annotations, "generation": 1},
            "spec": {"replicas": 0, "selector": {}},
            "status": {"replicas": 0, "observedGeneration": 1}}))
        .unwrap()
    }

    #[test]
    fn a_built_replica_set_is_recognised_as_the_new_one() {
        let first = deployment("shop:1");
        let built = Arc::new(build(&first, &[], 3));
        let sets = Sets::sort(&first, vec![Arc::clone(&built)]);
        assert!(sets.new.is_some());
        let sets = Sets::sort(&deployment("shop:2"), vec![built]);
        assert!(sets.new.is_none());
        assert_eq!(sets.old.len(), 1);
    }

    #[test]
    fn a_built_replica_set_carries_hash_revision_and_sizes() {
        let old = [Arc::new(set("web-old", json!({REVISION: "4"})))];
        let built = build(&deployment("shop:1"), &old, 2);
        let hash = built.metadata.labels.as_ref().unwrap()[POD_TEMPLATE_HASH].clone();
        assert_eq!(built.metadata.name, Some(format!("web-{hash}")));
        let spec = built.spec.unwrap();
        assert_eq!(spec.replicas, Some(2));
        assert_eq!(spec.selector.match_labels.unwrap()[POD_TEMPLATE_HASH], hash);
        let template = spec.template.unwrap().metadata.unwrap();
        assert_eq!(template.labels.unwrap()[POD_TEMPLATE_HASH], hash);
        let expected = json!({
            "kubernetes.io/change-cause": "try it", REVISION: "5", DESIRED_REPLICAS: "4", MAX_REPLICAS: "5"});
        assert_eq!(json!(built.metadata.annotations), expected);
    }

    #[test]
    fn a_collision_gives_another_name() {
        let mut other = deployment("shop:1");
        other.status.get_or_insert_default().collision_count = Some(1);
        let names = [build(&deployment("shop:1"), &[], 1), build(&other, &[], 1)]
            .map(|set| set.metadata.name);
        assert_ne!(names[0], names[1]);
    }

    #[test]
    fn going_back_gives_the_old_replica_set_the_next_revision() {
        let old = [Arc::new(set("web-2", json!({REVISION: "3"})))];
        let back = set("web-1", json!({REVISION: "2", REVISION_HISTORY: "1"}));
        let expected = json!({
            "kubernetes.io/change-cause": "try it", REVISION: "4", REVISION_HISTORY: "1,2"});
        assert_eq!(
            json!(renewed_annotations(&deployment("shop:1"), &back, &old)),
            expected
        );
        let current = set(
            "web-1",
            json!({REVISION: "4", "kubernetes.io/change-cause": "try it"}),
        );
        assert_eq!(
            renewed_annotations(&deployment("shop:1"), &current, &old),
            BTreeMap::new()
        );
    }

    #[test]
    fn the_history_forgets_its_oldest_entries() {
        let long = (1..700)
            .map(|n| n.to_string())
            .collect::<Vec<_>>()
            .join(",");
        let extended = extended(&long, 700);
        assert!(extended.len() <= HISTORY_ROOM);
        assert!(extended.ends_with(",699,700"));
        assert!(!extended.starts_with("1,2,"));
    }

    #[test]
    fn empty_old_replica_sets_beyond_the_limit_go_oldest_first() {
        let mut busy = set("busy", json!({REVISION: "1"}));
        busy.status.as_mut().unwrap().replicas = 1;
        let old: Vec<_> = [
            set("second", json!({REVISION: "2"})),
            set("third", json!({REVISION: "3"})),
            busy,
        ]
        .map(Arc::new)
        .into();
        let names: Vec<_> = surplus(&deployment("shop:9"), &old)
            .iter()
            .map(|set| set.metadata.name.clone().unwrap())
            .collect();
        assert_eq!(names, ["second"]);
        let mut unlimited = deployment("shop:9");
        unlimited.spec.as_mut().unwrap().revision_history_limit = None;
        assert!(surplus(&unlimited, &old).is_empty());
    }
}
