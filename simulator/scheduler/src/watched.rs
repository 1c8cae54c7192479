//! The part of a pod that scheduling looks at, as the watch decodes it.
//!
//! At a hundred thousand pods, decoding what nobody reads is the largest cost of a scheduler:
//! fields that are not named here are skipped without being kept.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{
    Affinity, Container, PodSpec, ResourceRequirements, Toleration, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use lab_api::names::DEFAULT_SCHEDULER;
use lab_api::pods::Requests;
use serde::Deserialize;

/// A `v1` Pod without what scheduling ignores.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct WatchedPod {
    /// Standard metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What is wanted.
    #[serde(default)]
    pub spec: WatchedSpec,
    /// What was observed.
    #[serde(default)]
    pub status: WatchedStatus,
}

/// Part of `v1` PodSpec; the fields mean what they mean there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "named and documented by the Pod API")]
pub struct WatchedSpec {
    pub node_name: Option<String>,
    pub scheduler_name: Option<String>,
    pub scheduling_gates: Option<Vec<serde::de::IgnoredAny>>,
    pub priority: Option<i32>,
    pub node_selector: Option<BTreeMap<String, String>>,
    pub affinity: Option<Affinity>,
    pub tolerations: Option<Vec<Toleration>>,
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,
    pub containers: Option<Vec<WatchedContainer>>,
    pub init_containers: Option<Vec<WatchedContainer>>,
}

/// Part of `v1` Container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "named and documented by the Pod API")]
pub struct WatchedContainer {
    pub resources: Option<ResourceRequirements>,
    pub restart_policy: Option<String>,
}

/// Part of `v1` PodStatus.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct WatchedStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: Option<String>,
}

/// What a pod means to the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing<'a> {
    /// Waits for a node, and we are the ones to choose it.
    Pending,
    /// Takes room on this node.
    Placed(&'a str),
    /// Neither: it has run to its end, was deleted before it had a node, is gated, or belongs
    /// to another scheduler.
    Aside,
}

impl WatchedPod {
    pub(crate) fn standing(&self) -> Standing<'_> {
        if matches!(self.status.phase.as_deref(), Some("Succeeded" | "Failed")) {
            return Standing::Aside;
        }
        if let Some(node) = self.spec.node_name.as_deref().filter(|n| !n.is_empty()) {
            return Standing::Placed(node);
        }
        let scheduler = self.spec.scheduler_name.as_deref();
        let ours = scheduler.unwrap_or(DEFAULT_SCHEDULER) == DEFAULT_SCHEDULER;
        let gated = self
            .spec
            .scheduling_gates
            .as_ref()
            .is_some_and(|gates| !gates.is_empty());
        if ours && !gated && self.metadata.deletion_timestamp.is_none() {
            Standing::Pending
        } else {
            Standing::Aside
        }
    }
}

impl WatchedSpec {
    /// The effective requests, by the rules shared with everybody else.
    pub(crate) fn requests(&self) -> Requests {
        let full = |containers: &Option<Vec<WatchedContainer>>| -> Vec<Container> {
            containers
                .iter()
                .flatten()
                .map(WatchedContainer::full)
                .collect()
        };
        lab_api::pods::requests(&PodSpec {
            containers: full(&self.containers),
            init_containers: Some(full(&self.init_containers)),
            ..PodSpec::default()
        })
    }
}

impl WatchedContainer {
    fn full(&self) -> Container {
        Container {
            resources: self.resources.clone(),
            restart_policy: self.restart_policy.clone(),
            ..Container::default()
        }
    }
}

impl kube::Resource for WatchedPod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(_: &()) -> Cow<'_, str> {
        "Pod".into()
    }
    fn group(_: &()) -> Cow<'_, str> {
        "".into()
    }
    fn version(_: &()) -> Cow<'_, str> {
        "v1".into()
    }
    fn plural(_: &()) -> Cow<'_, str> {
        "pods".into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
