//! Revisions: the ReplicaSet of the present template, what is written on it, and how many old
//! ones are kept to go back to.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use lab_api::hash::{fnv32a, pod_template_hash, safe_encode};
use lab_api::names::LAST_APPLIED;
use lab_api::objects::controller_reference;
use lab_api::rollouts::{
    DESIRED_REPLICAS, POD_TEMPLATE_HASH, REVISION, REVISION_HISTORY, Rollout, SCALE_DOWN_DEADLINE,
};

use super::conditions::{self, PROGRESSING};
use super::pass::{Change, Pass};
use super::set::Set;
use super::spec;
use crate::deployment::revision::{extended, is_empty};

/// Annotations that belong to one object alone and are not copied from the Rollout.
const NOT_COPIED: [&str; 5] = [
    LAST_APPLIED,
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    SCALE_DOWN_DEADLINE,
];

/// Hash of the present template.
pub(super) fn hash(rollout: &Rollout) -> String {
    let collisions = rollout
        .status
        .as_ref()
        .and_then(|status| status.collision_count);
    let template = rollout.spec.template.clone().unwrap_or_default();
    pod_template_hash(&template, collisions)
}

/// True where a ReplicaSet makes the very pods that the Rollout asks for now.
pub(super) fn makes(set: &Set, rollout: &Rollout) -> bool {
    let made = set.object.spec.as_ref();
    let Some(made) = made.and_then(|spec| spec.template.as_ref()) else {
        return false;
    };
    rollout
        .spec
        .template
        .as_ref()
        .is_some_and(|wanted| without_hash(made) == without_hash(wanted))
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

/// Hash of the steps; empty for blue/green.
pub(super) fn step_hash(rollout: &Rollout) -> String {
    let Some(canary) = spec::canary(&rollout.spec) else {
        return String::new();
    };
    let steps = serde_json::to_vec(&canary.steps).expect("steps are representable as JSON");
    safe_encode(fnv32a(&steps))
}

/// The revision written on a Rollout; 0 where there is none.
pub(super) fn of_rollout(rollout: &Rollout) -> i64 {
    rollout
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(REVISION)?.parse().ok())
        .unwrap_or(0)
}

fn next(pass: &Pass) -> i64 {
    let old = pass.sets.iter().enumerate();
    let newest = old
        .filter(|(index, _)| Some(*index) != pass.new)
        .map(|(_, set)| set.revision)
        .max();
    newest.unwrap_or(0).saturating_add(1)
}

/// Gives the ReplicaSet of the present template the newest revision number and the Rollout's
/// annotations.
pub(super) fn renew(pass: &mut Pass) {
    let Some(new) = pass.new_set().cloned() else {
        return;
    };
    let revision = next(pass).max(new.revision);
    let annotations = renewed(&pass.rollout, &new, revision);
    let min_ready = pass.rollout.spec.min_ready_seconds.unwrap_or(0);
    let present = new
        .object
        .spec
        .as_ref()
        .and_then(|spec| spec.min_ready_seconds);
    let differs = present.unwrap_or(0) != min_ready;
    if !annotations.is_empty() || differs {
        pass.push(Change::Annotate {
            set: new.name.clone(),
            annotations,
            min_ready: differs.then_some(min_ready),
        });
    }
    write_on_rollout(pass, revision);
    if conditions::get(&pass.status, PROGRESSING).is_none() {
        let message = format!("Found new replica set {:?}", new.name);
        conditions::set(
            &mut pass.status,
            (PROGRESSING, "True", "FoundNewReplicaSet"),
            message,
            pass.now,
        );
    }
}

/// Creates the ReplicaSet of the present template, with no pods yet.
pub(super) fn create(pass: &mut Pass) {
    let revision = next(pass);
    let built = build(&pass.rollout, revision);
    let name = built.metadata.name.clone().unwrap_or_default();
    pass.push(Change::Create(Box::new(built)));
    pass.tell_now(
        "NewReplicaSetCreated",
        format!("Created ReplicaSet {name} (revision {revision})"),
    );
    write_on_rollout(pass, revision);
    conditions::set(
        &mut pass.status,
        (PROGRESSING, "True", "NewReplicaSetCreated"),
        format!("Created new replica set {name:?}"),
        pass.now,
    );
}

fn write_on_rollout(pass: &mut Pass, revision: i64) {
    if pass.revision != revision {
        pass.revision = revision;
        pass.push(Change::SetRevision(revision));
        pass.tell_now(
            "RolloutUpdated",
            format!("Rollout updated to revision {revision}"),
        );
    }
}

/// Annotations that the ReplicaSet lacks or has wrong. One that is taken up again gets the next
/// number, and its former one goes into its history.
fn renewed(rollout: &Rollout, new: &Set, revision: i64) -> BTreeMap<String, Option<String>> {
    let present = new.object.metadata.annotations.clone().unwrap_or_default();
    let mut wanted = copied(rollout);
    if new.revision < revision {
        wanted.insert(REVISION.to_owned(), revision.to_string());
        if new.revision > 0 {
            let history = present.get(REVISION_HISTORY).map_or("", String::as_str);
            wanted.insert(REVISION_HISTORY.to_owned(), extended(history, new.revision));
        }
    }
    wanted.retain(|key, value| present.get(key) != Some(value));
    wanted
        .into_iter()
        .map(|(key, value)| (key, Some(value)))
        .collect()
}

fn copied(rollout: &Rollout) -> BTreeMap<String, String> {
    let mut annotations = rollout.metadata.annotations.clone().unwrap_or_default();
    annotations.retain(|key, _| !NOT_COPIED.contains(&key.as_str()));
    annotations
}

/// The ReplicaSet for a Rollout's template, with no pods yet.
pub(super) fn build(rollout: &Rollout, revision: i64) -> ReplicaSet {
    let hash = hash(rollout);
    let name = rollout.metadata.name.as_deref().unwrap_or_default();
    let mut template = rollout.spec.template.clone().unwrap_or_default();
    let labels = template
        .metadata
        .get_or_insert_default()
        .labels
        .get_or_insert_default();
    labels.insert(POD_TEMPLATE_HASH.to_owned(), hash.clone());
    let labels = labels.clone();
    let mut annotations = copied(rollout);
    annotations.insert(REVISION.to_owned(), revision.to_string());
    annotations.insert(
        DESIRED_REPLICAS.to_owned(),
        spec::replicas(&rollout.spec).to_string(),
    );
    let mut selector = rollout.spec.selector.clone().unwrap_or_default();
    selector
        .match_labels
        .get_or_insert_default()
        .insert(POD_TEMPLATE_HASH.to_owned(), hash.clone());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{hash}")),
            namespace: rollout.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(rollout)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: rollout.spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    }
}

/// Deletes old ReplicaSets beyond `revisionHistoryLimit`, oldest first, that have no pods and
/// that nothing refers to, and the AnalysisRuns made for them.
pub(super) fn clean_up(pass: &mut Pass) {
    let mut old: Vec<Set> = pass
        .others()
        .filter(|set| set.object.metadata.deletion_timestamp.is_none())
        .cloned()
        .collect();
    old.sort_by_key(|set| set.revision);
    let surplus = old
        .len()
        .saturating_sub(spec::revision_history_limit(&pass.rollout.spec));
    for set in old.iter().take(surplus) {
        if is_empty(&set.object) && set.wanted == 0 && !is_referenced(pass, &set.hash) {
            pass.push(Change::DeleteSet(set.name.clone()));
            super::analysis::forget(pass, &set.hash);
        }
    }
}

/// True where users, a preview or the router's weights may still lead to a version.
pub(super) fn is_referenced(pass: &Pass, hash: &str) -> bool {
    let weights = pass.weights.iter();
    let weighted = weights
        .flat_map(|weights| [&weights.canary, &weights.stable])
        .any(|side| side.pod_template_hash == hash && side.weight > 0);
    weighted
        || pass.old.stable_rs == hash
        || pass.services.values().any(|service| service.hash == hash)
}

/// True where the ReplicaSet makes the pods that the Rollout asks for: everything in the
/// template is in the ReplicaSet's, which has the server's defaults besides.
pub(super) fn has_template_of(replica_set: &ReplicaSet, rollout: &Rollout) -> bool {
    let json = |value| serde_json::to_value(value).unwrap_or_default();
    let wanted = json(rollout.spec.template.as_ref());
    let present = json(
        replica_set
            .spec
            .as_ref()
            .and_then(|spec| spec.template.as_ref()),
    );
    contains(&present, &wanted)
}

fn contains(whole: &serde_json::Value, part: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Object};
    match (whole, part) {
        (Object(whole), Object(part)) => part
            .iter()
            .all(|(key, part)| whole.get(key).is_some_and(|whole| contains(whole, part))),
        (Array(whole), Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(a, b)| contains(a, b))
        }
        (whole, part) => whole == part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rollout(image: &str) -> Rollout {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "r1", "annotations": {
                "kubernetes.io/change-cause": "try it", REVISION: "7", LAST_APPLIED: "{}"}},
            "spec": {"replicas": 4, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "c", "image": image}]}},
                "strategy": {"canary": {"steps": [{"setWeight": 10}]}}}}))
        .unwrap()
    }

    #[test]
    fn a_built_replica_set_begins_empty_and_carries_hash_and_revision() {
        let built = build(&rollout("shop:1"), 5);
        let hash = hash(&rollout("shop:1"));
        assert_eq!(built.metadata.name, Some(format!("web-{hash}")));
        assert_eq!(
            json!(built.metadata.annotations),
            json!({"kubernetes.io/change-cause": "try it", REVISION: "5", DESIRED_REPLICAS: "4"})
        );
        let owner = &built.metadata.owner_references.as_ref().unwrap()[0];
        assert_eq!(
            (owner.kind.as_str(), owner.api_version.as_str()),
            ("Rollout", "argoproj.io/v1alpha1")
        );
        let spec = built.spec.unwrap();
        assert_eq!(spec.replicas, Some(0));
        assert_eq!(spec.selector.match_labels.unwrap()[POD_TEMPLATE_HASH], hash);
        let template = spec.template.unwrap().metadata.unwrap();
        assert_eq!(template.labels.unwrap()[POD_TEMPLATE_HASH], hash);
    }

    #[test]
    fn a_template_with_defaults_filled_in_is_the_one_of_its_revision() {
        use std::sync::Arc;

        let mut back = rollout("shop:1");
        let mut built = build(&back, 5);
        // As the API does where a ReplicaSet is created.
        let template = built.spec.as_mut().unwrap().template.as_mut().unwrap();
        template.spec.as_mut().unwrap().dns_policy = Some("ClusterFirst".to_owned());
        let set = Set::of(&Arc::new(built.clone()));
        assert!(!makes(&set, &back));
        let mut template = built.spec.unwrap().template.unwrap();
        let labels = template.metadata.as_mut().unwrap().labels.as_mut();
        labels.unwrap().remove(POD_TEMPLATE_HASH);
        back.spec.template = Some(template);
        assert_ne!(hash(&back), set.hash);
        assert!(makes(&set, &back));
        back.spec
            .template
            .as_mut()
            .unwrap()
            .spec
            .as_mut()
            .unwrap()
            .containers[0]
            .image = Some("shop:2".to_owned());
        assert!(!makes(&set, &back));
    }

    #[test]
    fn hashes_tell_templates_collisions_and_steps_apart() {
        let one = rollout("shop:1");
        let mut collided = one.clone();
        collided.status.get_or_insert_default().collision_count = Some(1);
        assert_ne!(hash(&one), hash(&rollout("shop:2")));
        assert_ne!(hash(&one), hash(&collided));
        let mut other = one.clone();
        other
            .spec
            .strategy
            .as_mut()
            .unwrap()
            .canary
            .as_mut()
            .unwrap()
            .steps = None;
        assert_ne!(step_hash(&one), step_hash(&other));
    }

    #[test]
    fn a_template_is_recognised_with_the_servers_defaults_in_it() {
        let mut built = build(&rollout("shop:1"), 1);
        let template = built.spec.as_mut().unwrap().template.as_mut().unwrap();
        template.spec.as_mut().unwrap().restart_policy = Some("Always".to_owned());
        assert!(has_template_of(&built, &rollout("shop:1")));
        assert!(!has_template_of(&built, &rollout("shop:2")));
    }
}
