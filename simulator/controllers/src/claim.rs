//! Which dependents belong to an owner that selects by label, and which it takes in or lets go.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#non-template-pod-acquisitions>

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::{Api, Resource};
use lab_api::selector::Selector;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::patch::merge;
use crate::runner::{Cached, Error};

/// Dependents seen from one owner.
#[derive(Debug)]
pub(crate) struct Claims<T> {
    /// Owned and still selected.
    pub owned: Vec<Arc<T>>,
    /// Selected, and nobody's.
    pub adopt: Vec<Arc<T>>,
    /// Owned, but no longer selected: somebody changed a label to take the dependent aside.
    pub release: Vec<Arc<T>>,
}

/// The selector of a workload; `None` for an empty one, which selects nothing there.
pub(crate) fn workload_selector(selector: &LabelSelector) -> Option<Selector> {
    let selector = Selector::from_label_selector(selector);
    (!selector.is_empty()).then_some(selector)
}

/// True where `selector` is there and selects an object.
pub(crate) fn selects(selector: Option<&Selector>, meta: &ObjectMeta) -> bool {
    selector.is_some_and(|selector| {
        selector.matches_with(|key| meta.labels.as_ref()?.get(key).map(String::as_str))
    })
}

/// Sorts what an owner owns and what nobody does; only `adoptable` orphans are taken in.
pub(crate) fn claims<T: Cached>(
    selector: Option<&Selector>,
    owned: Vec<Arc<T>>,
    orphans: &[Arc<T>],
    adoptable: impl Fn(&T) -> bool,
) -> Claims<T> {
    let selected = |object: &T| selects(selector, object.metadata());
    let (owned, lost): (Vec<_>, Vec<_>) = owned.into_iter().partition(|object| selected(object));
    Claims {
        owned,
        adopt: orphans
            .iter()
            .filter(|object| selected(object) && adoptable(object))
            .cloned()
            .collect(),
        // What is going away may as well go away owned.
        release: lost
            .into_iter()
            .filter(|object| object.metadata().deletion_timestamp.is_none())
            .collect(),
    }
}

impl<T: Cached> Claims<T> {
    /// Writes the adoptions and releases; answers with what was written.
    pub(crate) async fn settle<K>(
        &self,
        api: &Api<K>,
        ours: &OwnerReference,
    ) -> Result<Vec<ObjectMeta>, Error>
    where
        K: Resource + Clone + Debug + DeserializeOwned,
    {
        let adopt = self.adopt.iter().map(|object| {
            let mut owners = owners(object.metadata());
            owners.push(ours.clone());
            (object, owners)
        });
        let release = self.release.iter().map(|object| {
            let mut owners = owners(object.metadata());
            owners.retain(|owner| owner.uid != ours.uid);
            (object, owners)
        });
        let mut written = Vec::new();
        for (object, owners) in adopt.chain(release) {
            let meta = object.metadata();
            let body = json!({"metadata": {
                "uid": meta.uid,
                "resourceVersion": meta.resource_version,
                "ownerReferences": owners,
            }});
            match merge(api, meta.name.as_deref().unwrap_or_default(), &body).await {
                Ok(object) => written.push(object.meta().clone()),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }
}

fn owners(meta: &ObjectMeta) -> Vec<OwnerReference> {
    meta.owner_references.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::PodRecord;
    use crate::pods::tests::record;

    fn pod(name: &str, app: &str, deleted: bool, phase: &str) -> Arc<PodRecord> {
        let deletion = deleted.then_some("2026-01-01T00:00:00Z");
        Arc::new(record(json!({
            "metadata": {"name": name, "labels": {"app": app}, "deletionTimestamp": deletion},
            "status": {"phase": phase}})))
    }

    fn names(pods: &[Arc<PodRecord>]) -> Vec<&str> {
        pods.iter().map(|pod| pod.name()).collect()
    }

    #[test]
    fn a_relabelled_pod_is_released_and_a_matching_orphan_adopted() {
        let selector = Selector::parse("app=web").unwrap();
        let owned = vec![
            pod("kept", "web", false, "Running"),
            pod("relabelled", "debug", false, "Running"),
            pod("relabelled-and-going", "debug", true, "Running"),
        ];
        let orphans = [
            pod("stray", "web", false, "Running"),
            pod("other", "db", false, "Running"),
            pod("stray-but-going", "web", true, "Running"),
            pod("stray-but-done", "web", false, "Succeeded"),
        ];
        let claims = claims(Some(&selector), owned, &orphans, PodRecord::is_active);
        assert_eq!(names(&claims.owned), ["kept"]);
        assert_eq!(names(&claims.adopt), ["stray"]);
        assert_eq!(names(&claims.release), ["relabelled"]);
    }

    #[test]
    fn an_empty_workload_selector_selects_nothing() {
        let selector = workload_selector(&LabelSelector::default());
        assert!(!selects(selector.as_ref(), &ObjectMeta::default()));
    }
}
