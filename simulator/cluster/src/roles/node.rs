//! A node: its agent, and the engine that runs its pods.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use lab_context::Context;
use lab_engine::Engine;
use lab_engine::docker::{DockerConfig, DockerEngine};
use lab_engine::process::{ProcessConfig, ProcessEngine};
use lab_node::{Agent, AgentConfig, Listen, NodeSpec};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{AGENT_PORT, NodeEngine, NodePlan, NodeRole, context};

/// Where the Docker daemon's socket appears in a node's container.
const SOCKET: &str = "/var/run/docker.sock";

/// Starts the engine and the agent.
pub(super) async fn start(
    role: NodeRole,
    parts: &TaskTracker,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let NodeRole {
        api,
        node,
        token,
        engine,
        dns,
        speed,
    } = role;
    let context = context(speed);
    let engine = start_engine(engine, &node, &context).await?;
    let address = SocketAddr::new(node.ip, AGENT_PORT);
    let config = AgentConfig {
        nodes: vec![node_spec(&node)],
        listen: Some(Listen { address, token }),
        dns: dns.map(Into::into),
        node_ports: true,
        version: crate::KUBERNETES_VERSION.to_owned(),
    };
    let agent = Agent::new(api.client()?, engine, config, context, stop.clone());
    let stop = stop.clone();
    parts.spawn(async move {
        if let Err(error) = agent.run().await {
            tracing::error!(error = format!("{error:#}"), "the node's agent ended");
            stop.cancel();
        }
    });
    Ok(())
}

/// The agent's view of a node.
pub(super) fn node_spec(node: &NodePlan) -> NodeSpec {
    NodeSpec {
        name: node.name.clone(),
        ip: node.ip,
        pod_cidr: node.pod_cidr.clone(),
        labels: Default::default(),
        cpu_millis: node.resources.cpu_millis,
        memory_bytes: node.resources.memory_mib << 20,
        pods: node.resources.pods,
    }
}

async fn start_engine(
    engine: NodeEngine,
    node: &NodePlan,
    context: &Context,
) -> anyhow::Result<Arc<dyn Engine>> {
    let pod_network = node
        .pod_cidr
        .parse()
        .context("the node's range of pod addresses cannot be read")?;
    match engine {
        NodeEngine::Process {
            state_dir,
            images_dir,
            registry_port,
            program,
        } => {
            let config = ProcessConfig {
                state_dir,
                images_dir,
                registry_hosts: vec![
                    format!("localhost:{registry_port}"),
                    format!("127.0.0.1:{registry_port}"),
                ],
                registry_addr: (Ipv4Addr::LOCALHOST, registry_port).into(),
                shim: program,
                pod_network,
                context: context.clone(),
            };
            Ok(Arc::new(ProcessEngine::new(config).await?))
        }
        NodeEngine::Docker {
            cluster,
            container,
            network,
            system_image,
            registry_port,
            registry_address,
        } => {
            crate::docker::protect_agent()?;
            let config = DockerConfig {
                socket: SOCKET.into(),
                cluster,
                node: node.name.clone(),
                node_container: container,
                network,
                pod_network,
                system_image,
                registry_host: format!("localhost:{registry_port}"),
                registry_address: Some(registry_address),
                context: context.clone(),
            };
            Ok(Arc::new(DockerEngine::connect(config).await?))
        }
    }
}
