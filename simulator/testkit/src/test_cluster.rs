//! A whole cluster in the test's process: store, API server, controllers, scheduler, and one
//! agent with the simulated engine. On paused tokio time, hours pass in moments.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams, PostParams};
use lab_apiserver::{ApiServer, ApiServerConfig, Version};
use lab_context::Context;
use lab_controllers::{BootstrapConfig, ControllersConfig, bootstrap};
use lab_engine::simulated::{SimulatedConfig, SimulatedEngine};
use lab_node::{Agent, AgentConfig, NodeSpec};
use lab_store::Store;
use serde_json::json;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::http::ScriptedHttp;
use crate::usage::AgentUsage;

/// How long [`TestCluster::eventually`] waits, in the cluster's own time.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Pause between two looks, in the cluster's own time.
const LOOK: Duration = Duration::from_millis(100);

/// A running cluster; it ends when it is dropped.
pub struct TestCluster {
    /// An administrator's client.
    pub client: kube::Client,
    /// The store beneath, for questions that the API does not answer.
    pub store: Store,
    /// The cluster's clock.
    pub context: Context,
    /// The API server, for what a test supplies to it later.
    pub server: ApiServer,
    /// The engine, for what its pods are scripted to use.
    pub engine: SimulatedEngine,
    _guard: DropGuard,
}

impl TestCluster {
    /// A cluster of `nodes` nodes, seeded. Call it under `#[tokio::test(start_paused = true)]`.
    ///
    /// # Panics
    /// Where the first objects cannot be created.
    pub async fn start(nodes: u16, seed: u64) -> Self {
        Self::start_with(nodes, seed, ScriptedHttp::new()).await
    }

    /// The same, with what controllers reach over HTTP.
    ///
    /// # Panics
    /// Where the first objects cannot be created.
    pub async fn start_with(nodes: u16, seed: u64, http: ScriptedHttp) -> Self {
        let context = Context::simulated(seed, 1.0);
        let stop = CancellationToken::new();
        let store = Store::in_memory();
        let config = ApiServerConfig {
            service_cidr: (Ipv4Addr::new(10, 96, 0, 0), 16),
            version: Version::default(),
            node_connection: None,
            context: context.clone(),
            stop: stop.clone(),
        };
        let server = ApiServer::new(store.clone(), config);
        let client = kube::Client::new(server.router(), "default");
        bootstrap(&client, &BootstrapConfig::default())
            .await
            .expect("an empty store takes the first objects");
        let engine = SimulatedEngine::new(SimulatedConfig::default(), context.clone());
        let agent = AgentConfig {
            nodes: (1..=nodes).map(node).collect(),
            listen: None,
            dns: None,
            node_ports: false,
            version: "v1.36.2".to_owned(),
        };
        let agent = Agent::new(
            client.clone(),
            Arc::new(engine.clone()),
            agent,
            context.clone(),
            stop.clone(),
        );
        server.serve_usage(Arc::new(AgentUsage(agent.handle())));
        tokio::spawn(agent.run());
        tokio::spawn(lab_controllers::run(
            client.clone(),
            Arc::new(http),
            ControllersConfig::default(),
            context.clone(),
            stop.clone(),
        ));
        tokio::spawn(lab_scheduler::run(
            client.clone(),
            context.clone(),
            stop.clone(),
        ));
        Self {
            client,
            store,
            context,
            server,
            engine,
            _guard: stop.drop_guard(),
        }
    }

    /// Creates a Deployment whose pods carry the label `app: NAME`.
    ///
    /// # Panics
    /// Where the API refuses it.
    pub async fn deploy(&self, name: &str, image: &str, replicas: u32) {
        let deployment = json!({
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"containers": [{"name": "app", "image": image}]},
                },
            },
        });
        let deployment = serde_json::from_value(deployment).expect("a Deployment");
        let created = self
            .deployments()
            .create(&PostParams::default(), &deployment)
            .await;
        created.expect("the API takes the Deployment");
    }

    /// Gives a Deployment another image.
    ///
    /// # Panics
    /// Where the API refuses it.
    pub async fn set_image(&self, name: &str, image: &str) {
        let containers = json!([{"name": "app", "image": image}]);
        let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        let patched = self
            .deployments()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        patched.expect("the API takes the image");
    }

    /// Waits until a Deployment is rolled out completely.
    ///
    /// # Panics
    /// Where it is not within an hour of the cluster's time.
    pub async fn rolled_out(&self, name: &str) {
        self.eventually(&format!("{name} is rolled out"), async || {
            let deployment = self.deployments().get(name).await.expect("it exists");
            is_complete(&deployment)
        })
        .await;
    }

    /// Waits until something holds.
    ///
    /// # Panics
    /// Where it does not within an hour of the cluster's time.
    pub async fn eventually(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let began = tokio::time::Instant::now();
        while !holds().await {
            assert!(began.elapsed() < PATIENCE, "not within an hour: {what}");
            tokio::time::sleep(LOOK).await;
        }
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::default_namespaced(self.client.clone())
    }
}

fn is_complete(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    deployment.status.as_ref().is_some_and(|status| {
        status.observed_generation == deployment.metadata.generation
            && status.updated_replicas == wanted
            && status.replicas == wanted
            && status.available_replicas == wanted
    })
}

fn node(number: u16) -> NodeSpec {
    NodeSpec {
        name: format!("node-{number}"),
        ip: Ipv4Addr::new(10, 0, 0, 1).into(),
        pod_cidr: "10.128.0.0/9".to_owned(),
        labels: BTreeMap::new(),
        cpu_millis: 4000,
        memory_bytes: 4 << 30,
        pods: 110,
    }
}
