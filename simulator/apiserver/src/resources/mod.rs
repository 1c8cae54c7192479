//! Every kind that the API serves: one file each, and [`all`].
//!
//! Routes, discovery, tables and field selectors all derive from a [`ResourceDef`]. Handlers
//! never name a kind, so a CustomResourceDefinition can build a definition at run time.

mod analysisruns;
mod analysistemplates;
mod canonical;
mod columns;
mod configmaps;
mod containers;
mod custom;
mod decode;
mod deployments;
mod endpoints;
mod endpointslices;
mod events;
mod gatewayclasses;
mod gateways;
mod generations;
#[cfg(test)]
mod golden;
mod grpcroutes;
mod horizontalpodautoscalers;
mod httproutes;
mod ingressclasses;
mod ingresses;
mod jobs;
mod keys;
mod leases;
mod metadata;
mod metrics;
#[cfg(test)]
mod mistakes;
mod namespaces;
mod nodes;
mod pod_columns;
mod pod_spec_defaults;
mod pod_spec_validation;
mod pod_template;
mod podmonitors;
mod pods;
mod ports;
mod probes;
mod prometheusrules;
mod quantities;
mod referencegrants;
mod replicasets;
mod resource_requirements;
mod rollouts;
mod route_validation;
#[cfg(test)]
mod rows;
mod secrets;
mod service_addresses;
mod service_defaults;
mod service_validation;
mod serviceaccounts;
mod servicemonitors;
mod services;
mod syntax;
#[cfg(test)]
mod testing;
mod typed;
mod volumes;

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::validation::FieldError;

/// Every kind that the API serves, in the order of discovery: core first, because where two
/// groups have a kind of the same name, the earlier one wins.
#[must_use]
pub fn all() -> Vec<ResourceDef> {
    vec![
        configmaps::definition(),
        endpoints::definition(),
        events::definition(),
        namespaces::definition(),
        nodes::definition(),
        pods::definition(),
        secrets::definition(),
        serviceaccounts::definition(),
        services::definition(),
        deployments::definition(),
        replicasets::definition(),
        jobs::definition(),
        leases::definition(),
        ingressclasses::definition(),
        ingresses::definition(),
        endpointslices::definition(),
        gatewayclasses::definition(),
        gateways::definition(),
        grpcroutes::definition(),
        httproutes::definition(),
        analysisruns::definition(),
        analysistemplates::definition(),
        analysistemplates::cluster_definition(),
        referencegrants::definition(),
        horizontalpodautoscalers::definition(),
        podmonitors::definition(),
        prometheusrules::definition(),
        servicemonitors::definition(),
        rollouts::definition(),
    ]
}

/// Whether objects of a kind live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Named within a namespace.
    Namespaced,
    /// Named within the cluster.
    Cluster,
}

/// A part of an object with a path of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subresource {
    /// `/status`: writes touch `.status` only, and writes to the object leave `.status` alone.
    Status,
    /// `/scale` (autoscaling/v1 Scale) over `.spec.replicas`.
    Scale,
    /// `/binding`: sets a pod's node, once.
    Binding,
    /// `/eviction`: deletes a pod unless a disruption budget forbids it.
    Eviction,
    /// `/log`: output of a container, from its node.
    Log,
    /// `/exec`, `/attach`: a stream to a container on its node.
    Exec,
    /// `/portforward`: a stream to a port of a pod.
    PortForward,
    /// `/finalize`: removes finalizers of a namespace.
    Finalize,
    /// `/token`: a token for a ServiceAccount.
    Token,
}

/// A kind as the API serves it.
#[derive(Clone)]
pub struct ResourceDef {
    /// API group; empty for core.
    pub group: Cow<'static, str>,
    /// Version, such as `v1`.
    pub version: Cow<'static, str>,
    /// Further versions in which the same objects are served with the same fields.
    pub older_versions: Vec<Cow<'static, str>>,
    /// Kind, such as `Deployment`.
    pub kind: Cow<'static, str>,
    /// Lower-case plural used in paths.
    pub plural: Cow<'static, str>,
    /// Lower-case singular.
    pub singular: Cow<'static, str>,
    /// Short names that kubectl accepts.
    pub short_names: Vec<Cow<'static, str>>,
    /// Groups of kinds, such as `all`.
    pub categories: Vec<Cow<'static, str>>,
    /// Namespaced or not.
    pub scope: Scope,
    /// Parts with paths of their own.
    pub subresources: Vec<Subresource>,
    /// Columns of `kubectl get`, after which nothing is added: Name and Age are listed too.
    pub columns: Vec<Column>,
    /// What is particular to the kind.
    pub strategy: Arc<dyn Strategy>,
}

/// What a column shows of an object at a moment.
pub type Cell = Arc<dyn Fn(&Value, Timestamp) -> Value + Send + Sync>;

/// One column of a Table.
#[derive(Clone)]
pub struct Column {
    /// Name as sent (kubectl upper-cases it).
    pub name: Cow<'static, str>,
    /// `string`, `integer`, `boolean`, `number` or `date`.
    pub type_: &'static str,
    /// `name` for the Name column, else empty.
    pub format: &'static str,
    /// For people.
    pub description: Cow<'static, str>,
    /// 0 is always shown, 1 only with `-o wide`.
    pub priority: i32,
    /// The cell for an object at a moment.
    pub cell: Cell,
}

/// Facts that preparing an object may need.
#[derive(Clone, Copy)]
pub struct PrepareContext<'a> {
    /// The present moment.
    pub now: Timestamp,
    /// Hands out Service addresses and node ports.
    pub allocator: &'a dyn ServiceAllocator,
}

/// Addresses and ports for Services; the server owns the only implementation, which sees what
/// is in use.
pub trait ServiceAllocator: Send + Sync {
    /// A free cluster address, or `wanted` if it is in range and free.
    fn cluster_ip(&self, wanted: Option<&str>) -> Result<String, String>;
    /// A free node port (30000–32767), or `wanted` if it is in range and free.
    fn node_port(&self, wanted: Option<u16>) -> Result<u16, String>;
}

/// A field that the kind does not have, as a dotted path: `spec.template.spec.bogus`,
/// `spec.containers[0].imagee`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField(pub String);

/// Why JSON cannot be read as the kind: the path and what was expected there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DecodeError {
    /// Dotted path of the offending field; may be empty.
    pub path: String,
    /// In the API server's words.
    pub message: String,
}

/// What is particular to a kind. Everything works on JSON, never on a static type.
///
/// The order on create: [`decode`](Self::decode), [`default`](Self::default),
/// [`prepare_for_create`](Self::prepare_for_create), [`validate`](Self::validate). On update
/// [`prepare_for_update`](Self::prepare_for_update) and
/// [`validate_update`](Self::validate_update) as well.
pub trait Strategy: Send + Sync {
    /// Checks types, and reports fields that the kind does not have.
    fn decode(&self, object: &Value) -> Result<Vec<UnknownField>, DecodeError>;

    /// Fills in what the author left out.
    fn default(&self, object: &mut Value) {
        let _ = object;
    }

    /// Sets what only the server may set on a new object, and drops what a client may not.
    fn prepare_for_create(
        &self,
        object: &mut Value,
        context: &PrepareContext<'_>,
    ) -> Result<(), FieldError> {
        let _ = (object, context);
        Ok(())
    }

    /// The same for an update: `old` is what is stored.
    fn prepare_for_update(
        &self,
        object: &mut Value,
        old: &Value,
        context: &PrepareContext<'_>,
    ) -> Result<(), FieldError> {
        let _ = (object, old, context);
        Ok(())
    }

    /// Everything wrong with an object, its metadata included.
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let _ = object;
        Vec::new()
    }

    /// Everything wrong with the change from `old`, beyond [`Strategy::validate`] (immutable
    /// fields).
    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let _ = (object, old);
        Vec::new()
    }

    /// Whether `metadata.generation` counts changes of the kind's spec. Asked only of kinds with
    /// [`Subresource::Status`]; Namespace, Node and Service answer no, as upstream.
    fn counts_generations(&self) -> bool {
        true
    }

    /// Whether `.status` may be given when the object is created (a Node registers with it).
    fn accepts_status_on_create(&self) -> bool {
        false
    }

    /// Seconds that a deleted object keeps existing so that it can end well; `None` where
    /// deletion is at once. `requested` is what the client asked for. Pods answer.
    fn grace_period_seconds(&self, object: &Value, requested: Option<i64>) -> Option<i64> {
        let _ = (object, requested);
        None
    }

    /// True while something besides `metadata.finalizers` must go first: a namespace's
    /// `spec.finalizers`.
    fn delays_deletion(&self, object: &Value) -> bool {
        let _ = object;
        false
    }

    /// Marks an object whose deletion has begun but waits: a namespace's phase.
    fn mark_terminating(&self, object: &mut Value) {
        let _ = object;
    }

    /// Where a kind with [`Subresource::Scale`] keeps what `/scale` reports: the count of pods
    /// in its status, and the selector in its status, which is empty where the selector of the
    /// spec is meant.
    fn scale_status(&self) -> (&'static str, &'static str) {
        ("replicas", "")
    }

    /// Fields beyond `metadata.name` and `metadata.namespace` that a field selector may name.
    fn selectable_fields(&self) -> &'static [&'static str] {
        &[]
    }

    /// Warnings for the author of an object, sent as `Warning` headers.
    fn warnings(&self, object: &Value) -> Vec<String> {
        let _ = object;
        Vec::new()
    }
}
