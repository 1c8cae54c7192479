//! What all controllers share: the client, the caches and the clock.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Endpoints, Namespace, Node, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use lab_api::analysis::{AnalysisRun, AnalysisTemplate, ClusterAnalysisTemplate};
use lab_api::rollouts::Rollout;
use lab_context::Context;
use lab_events::Recorder;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::HttpClient;
use crate::pods::PodRecord;
use crate::runner::{Cache, Cached, follow};

/// What a person may want to set about the controllers. The defaults are those of
/// kube-controller-manager; all times are before scaling by the cluster's speed.
#[derive(Clone, Debug)]
pub struct ControllersConfig {
    /// How long a node may be silent before it counts as lost.
    pub node_monitor_grace: Duration,
    /// Finished pods that may lie about before the oldest are removed.
    pub terminated_pod_threshold: usize,
    /// How long events are kept. Not scaled: events are for people.
    pub event_ttl: Duration,
    /// Events kept at most, so that a scale test cannot fill the store.
    pub event_limit: usize,
    /// How the image update controller hears of images.
    pub images: crate::ImageNews,
}

impl Default for ControllersConfig {
    fn default() -> Self {
        Self {
            node_monitor_grace: Duration::from_secs(50),
            terminated_pod_threshold: 12_500,
            event_ttl: Duration::from_secs(3600),
            event_limit: 20_000,
            images: crate::ImageNews::default(),
        }
    }
}

/// Handle to everything that controllers share.
pub(crate) struct Shared {
    pub client: Client,
    pub http: Arc<dyn HttpClient>,
    pub config: ControllersConfig,
    pub context: Context,
    pub stop: CancellationToken,
    pub autoscalers: Arc<Cache<HorizontalPodAutoscaler>>,
    pub analysis_runs: Arc<Cache<AnalysisRun>>,
    pub analysis_templates: Arc<Cache<AnalysisTemplate>>,
    pub cluster_analysis_templates: Arc<Cache<ClusterAnalysisTemplate>>,
    pub deployments: Arc<Cache<Deployment>>,
    pub endpoint_slices: Arc<Cache<EndpointSlice>>,
    pub endpoints: Arc<Cache<Endpoints>>,
    pub jobs: Arc<Cache<Job>>,
    pub leases: Arc<Cache<Lease>>,
    pub namespaces: Arc<Cache<Namespace>>,
    pub nodes: Arc<Cache<Node>>,
    pub pods: Arc<Cache<PodRecord>>,
    pub replica_sets: Arc<Cache<ReplicaSet>>,
    pub rollouts: Arc<Cache<Rollout>>,
    pub service_accounts: Arc<Cache<ServiceAccount>>,
    pub services: Arc<Cache<Service>>,
}

impl Shared {
    /// Caches that are still empty, and that nobody feeds before [`Shared::follow_all`].
    pub(crate) fn new(
        client: Client,
        http: Arc<dyn HttpClient>,
        config: ControllersConfig,
        context: Context,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            client,
            http,
            config,
            context,
            stop,
            autoscalers: Cache::new(),
            analysis_runs: Cache::new(),
            analysis_templates: Cache::new(),
            cluster_analysis_templates: Cache::new(),
            deployments: Cache::new(),
            endpoint_slices: Cache::new(),
            endpoints: Cache::new(),
            jobs: Cache::new(),
            leases: Cache::new(),
            namespaces: Cache::new(),
            nodes: Cache::new(),
            pods: Cache::new(),
            replica_sets: Cache::new(),
            rollouts: Cache::new(),
            service_accounts: Cache::new(),
            services: Cache::new(),
        })
    }

    /// Starts one watch per kind.
    pub(crate) fn follow_all(&self, tasks: &TaskTracker) {
        self.follow(&self.autoscalers, tasks);
        self.follow(&self.analysis_runs, tasks);
        self.follow(&self.analysis_templates, tasks);
        self.follow(&self.cluster_analysis_templates, tasks);
        self.follow(&self.deployments, tasks);
        self.follow(&self.endpoint_slices, tasks);
        self.follow(&self.endpoints, tasks);
        self.follow(&self.jobs, tasks);
        self.follow(&self.leases, tasks);
        self.follow(&self.namespaces, tasks);
        self.follow(&self.nodes, tasks);
        self.follow(&self.pods, tasks);
        self.follow(&self.replica_sets, tasks);
        self.follow(&self.rollouts, tasks);
        self.follow(&self.service_accounts, tasks);
        self.follow(&self.services, tasks);
    }

    fn follow<T: Cached>(&self, cache: &Arc<Cache<T>>, tasks: &TaskTracker) {
        tasks.spawn(follow(
            self.client.clone(),
            Arc::clone(cache),
            self.stop.clone(),
        ));
    }

    /// Waits until every cache has seen what existed at the start. Nobody may act before: a
    /// Deployment whose ReplicaSets are not yet known looks like one that has none.
    pub(crate) async fn synced(&self) {
        let waits: Vec<BoxFuture<'_, ()>> = vec![
            self.autoscalers.synced().boxed(),
            self.analysis_runs.synced().boxed(),
            self.analysis_templates.synced().boxed(),
            self.cluster_analysis_templates.synced().boxed(),
            self.deployments.synced().boxed(),
            self.endpoint_slices.synced().boxed(),
            self.endpoints.synced().boxed(),
            self.jobs.synced().boxed(),
            self.leases.synced().boxed(),
            self.namespaces.synced().boxed(),
            self.nodes.synced().boxed(),
            self.pods.synced().boxed(),
            self.replica_sets.synced().boxed(),
            self.rollouts.synced().boxed(),
            self.service_accounts.synced().boxed(),
            self.services.synced().boxed(),
        ];
        join_all(waits).await;
    }

    /// Records events in the name of one controller.
    pub(crate) fn recorder(&self, component: &str) -> Recorder {
        Recorder::start(
            self.client.clone(),
            self.context.clone(),
            component,
            self.stop.clone(),
        )
    }
}
