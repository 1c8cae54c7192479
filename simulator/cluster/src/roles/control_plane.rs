//! The control plane: store, API server, controllers and scheduler in one process.

use std::sync::Arc;

use anyhow::Context as _;
use lab_apiserver::{ApiServer, ApiServerConfig, Version};
use lab_context::Context;
use lab_controllers::{
    ApiAddress, BootstrapConfig, ControllersConfig, DnsAddress, ImageNews, ImagePushes,
    ImageRegistry,
};
use lab_engine::simulated::{SimulatedConfig, SimulatedEngine};
use lab_node::{Agent, AgentConfig};
use lab_store::Store;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::metrics::{RequestCounts, own_metrics};
use super::{ControlPlaneRole, DNS_PORT, context, pushes};
use crate::node_connection::Nodes;
use crate::series::Adapter;
use crate::serve::{require_token, serve_tls, tls};
use crate::service_http::ServiceHttp;
use crate::usage::UsageSampler;

/// Opens the store, starts everything and answers a client that needs no socket.
pub(super) async fn start(
    role: ControlPlaneRole,
    pushes: ImagePushes,
    parts: &TaskTracker,
    stop: &CancellationToken,
) -> anyhow::Result<kube::Client> {
    let context = context(role.speed);
    let listener = TcpListener::bind(role.listen)
        .await
        .with_context(|| format!("the Kubernetes API cannot listen on {}", role.listen))?;
    if let Some(parent) = role.store.parent() {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("failed to create {}", parent.display()))?;
    }
    let store = Store::open(&role.store)
        .with_context(|| format!("failed to open the store {}", role.store.display()))?;
    let nodes = Arc::new(Nodes::new(role.node_token.clone()));
    let config = ApiServerConfig {
        service_cidr: role.service_cidr,
        version: Version::default(),
        node_connection: Some(nodes.clone()),
        context: context.clone(),
        stop: stop.clone(),
    };
    let watched = store.clone();
    let server = ApiServer::new(store, config);
    let router = server.router();
    let client = kube::Client::new(router.clone(), "default");
    nodes.set_client(client.clone());
    let usage = Arc::new(UsageSampler::new(
        client.clone(),
        Arc::clone(&nodes),
        context.clone(),
    ));
    server.serve_usage(usage.clone());
    let bootstrap = BootstrapConfig {
        production_port: role.gateway_ports.0,
        test_port: role.gateway_ports.1,
        api: Some(ApiAddress {
            cluster_ip: role.api_service.0,
            address: role.api_service.1,
            port: role.listen.port(),
        }),
        dns: role.dns_service.map(|(cluster_ip, address)| DnsAddress {
            cluster_ip,
            address,
            port: DNS_PORT,
        }),
        metrics: role.metrics.as_ref().map(|metrics| metrics.endpoint),
    };
    lab_controllers::bootstrap(&client, &bootstrap)
        .await
        .context("failed to set up the cluster's first objects")?;
    // Clients are answered only once the first objects are there.
    let requests = RequestCounts::default();
    if let Some(role) = role.metrics {
        let own = own_metrics(watched, requests.clone());
        let handle = super::metrics::start(role, own, &client, &context, parts, stop).await?;
        server.serve_series(Arc::new(Adapter::new(handle, context.clone())));
    }
    let router = pushes::webhooks(pushes.clone()).merge(router);
    let guarded = requests.count(require_token(router, role.tokens));
    parts.spawn(serve_tls(listener, tls(&role.pki)?, guarded, stop.clone()));
    let http = Arc::new(ServiceHttp::new(client.clone(), context.clone()));
    parts.spawn(lab_controllers::run(
        client.clone(),
        http,
        ControllersConfig {
            images: ImageNews {
                pushes,
                registry: role
                    .registry
                    .map(|place| Arc::new(pushes::Registry::new(place)) as Arc<dyn ImageRegistry>),
            },
            ..ControllersConfig::default()
        },
        context.clone(),
        stop.clone(),
    ));
    parts.spawn(lab_scheduler::run(
        client.clone(),
        context.clone(),
        stop.clone(),
    ));
    if role.simulated_nodes.is_empty() {
        let stop = stop.clone();
        parts.spawn(async move { usage.run(stop).await });
    } else {
        start_simulated(&role.simulated_nodes, &nodes, &client, context, parts, stop);
    }
    Ok(client)
}

fn start_simulated(
    plans: &[super::NodePlan],
    nodes: &Nodes,
    client: &kube::Client,
    context: Context,
    parts: &TaskTracker,
    stop: &CancellationToken,
) {
    let engine = Arc::new(SimulatedEngine::new(
        SimulatedConfig::default(),
        context.clone(),
    ));
    let config = AgentConfig {
        nodes: plans.iter().map(super::node::node_spec).collect(),
        listen: None,
        dns: None,
        node_ports: false,
        version: crate::KUBERNETES_VERSION.to_owned(),
    };
    let agent = Agent::new(client.clone(), engine, config, context, stop.clone());
    nodes.set_local(agent.handle());
    parts.spawn(async move {
        if let Err(error) = agent.run().await {
            tracing::error!(
                error = format!("{error:#}"),
                "the simulated nodes' agent ended"
            );
        }
    });
}
