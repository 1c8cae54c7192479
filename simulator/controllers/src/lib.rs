//! The controllers: each compares what is wanted with what is, and makes one become the other.
//!
//! They are written as for a real cluster: all they hold is a `kube::Client`. This crate must
//! never know the store, axum, an engine, or how a cluster is put together.
//!
//! A controller is one file with two halves: a pure decision (`desired`, `plan`, …) that tables
//! test, and a thin `reconcile` that reads caches, asks for the decision and applies it. Every
//! reconcile looks at the world as it is, not at the event that woke it, and is safe to run
//! twice.
//!
//! Start reading at [`ALL`], then `replica_set.rs`, then `deployment.rs`. What they stand on is
//! in `runner.rs`.
//!
//! <https://kubernetes.io/docs/concepts/architecture/controller/>

#![cfg_attr(
    test,
    expect(
        clippy::needless_pass_by_value,
        reason = "a table whose cells are json!(…) reads best without references"
    )
)]

mod analysis;
mod bootstrap;
mod claim;
mod deployment;
mod discovery;
mod endpoint;
mod endpoint_slice;
mod event_expiry;
mod garbage_collector;
mod horizontal_pod_autoscaler;
mod http;
mod image_update;
mod job;
mod namespace;
mod node_lifecycle;
mod patch;
mod pod_garbage_collector;
mod pods;
mod replica_set;
mod rollout;
mod runner;
mod service_account;
mod service_load_balancer;
mod shared;
mod taint_eviction;

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use kube::Client;
use lab_context::Context;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use analysis::{
    ExpressionError, MetricError, MetricProblem, Request, TemplateError, instantiate,
};
pub use bootstrap::{
    ApiAddress, BootstrapConfig, BootstrapError, DnsAddress, bootstrap, default_gateway,
};
pub use http::{BODY_MAX, HttpClient, HttpError, HttpRequest, HttpResponse};
pub use image_update::{ImageNews, ImagePush, ImagePushes, ImageRegistry};
pub use shared::ControllersConfig;

use shared::Shared;

/// A controller as the list of controllers knows it.
pub struct ControllerDef {
    /// Name, as in kube-controller-manager.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub help: &'static str,
    /// Registers with the shared caches, and gives back the work to do once they are filled.
    start: fn(&Arc<Shared>) -> BoxFuture<'static, ()>,
}

impl fmt::Debug for ControllerDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControllerDef")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Every controller. To add one, write its file and add its line.
pub const ALL: &[ControllerDef] = &[
    analysis::DEF,
    deployment::DEF,
    endpoint::DEF,
    endpoint_slice::DEF,
    event_expiry::DEF,
    garbage_collector::DEF,
    horizontal_pod_autoscaler::DEF,
    job::DEF,
    image_update::DEF,
    namespace::DEF,
    node_lifecycle::DEF,
    pod_garbage_collector::DEF,
    replica_set::DEF,
    rollout::DEF,
    service_account::DEF,
    service_load_balancer::DEF,
    taint_eviction::DEF,
];

/// Runs every controller until `stop`, then waits for what they have in hand.
///
/// Failures never end it: a request that fails is logged and tried again with back-off.
/// `http` reaches what analysis measures.
pub async fn run(
    client: Client,
    http: Arc<dyn HttpClient>,
    config: ControllersConfig,
    context: Context,
    stop: CancellationToken,
) {
    let shared = Shared::new(client, http, config, context, stop.clone());
    let tasks = TaskTracker::new();
    let controllers: Vec<_> = ALL.iter().map(|def| (def.start)(&shared)).collect();
    shared.follow_all(&tasks);
    tokio::select! {
        () = shared.synced() => {}
        () = stop.cancelled() => {}
    }
    if !stop.is_cancelled() {
        for controller in controllers {
            tasks.spawn(controller);
        }
    }
    tasks.close();
    tasks.wait().await;
}
