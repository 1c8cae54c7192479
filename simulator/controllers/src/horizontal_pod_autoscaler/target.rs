//! What an autoscaler scales, through the `scale` subresource of its kind: a Deployment, a
//! ReplicaSet, a Rollout, or anything else that has one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::autoscaling::v2::CrossVersionObjectReference;
use kube::api::{Patch, PatchParams};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::discovery::{self, ApiResource};
use kube::{Api, Client};
use serde_json::json;

/// Finds the plural of kinds and remembers it.
#[derive(Default)]
pub(super) struct Kinds {
    known: Mutex<HashMap<(String, String), ApiResource>>,
}

impl Kinds {
    pub(super) async fn resource(
        &self,
        client: &Client,
        reference: &CrossVersionObjectReference,
    ) -> Result<ApiResource, String> {
        let api_version = reference
            .api_version
            .clone()
            .unwrap_or_else(|| "v1".to_owned());
        let key = (api_version.clone(), reference.kind.clone());
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&key) {
            return Ok(known.clone());
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let kind = GroupVersionKind::gvk(group, version, &reference.kind);
        let no_match = |_| {
            let kind = &reference.kind;
            format!("no matches for kind {kind:?} in group {group:?}")
        };
        let (found, _) = discovery::pinned_kind(client, &kind)
            .await
            .map_err(no_match)?;
        lock().insert(key, found.clone());
        Ok(found)
    }
}

/// The size of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scale {
    /// Wanted replicas.
    pub(super) replicas: i32,
    /// Replicas that exist.
    pub(super) present: i32,
    /// Selects its pods; empty where the target does not say.
    pub(super) selector: String,
}

/// An object with a `scale` subresource.
pub(super) struct Target {
    api: Api<DynamicObject>,
    name: String,
}

impl Target {
    pub(super) fn new(client: Client, namespace: &str, resource: &ApiResource, name: &str) -> Self {
        Self {
            api: Api::namespaced_with(client, namespace, resource),
            name: name.to_owned(),
        }
    }

    pub(super) async fn scale(&self) -> Result<Scale, String> {
        let scale = self.api.get_scale(&self.name).await.map_err(answer)?;
        let status = scale.status.unwrap_or_default();
        Ok(Scale {
            replicas: scale.spec.and_then(|spec| spec.replicas).unwrap_or(0),
            present: status.replicas,
            selector: status.selector.unwrap_or_default(),
        })
    }

    pub(super) async fn set(&self, replicas: i32) -> Result<(), String> {
        let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        let params = PatchParams::default();
        let scaled = self.api.patch_scale(&self.name, &params, &patch).await;
        scaled.map(|_| ()).map_err(answer)
    }
}

fn answer(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
