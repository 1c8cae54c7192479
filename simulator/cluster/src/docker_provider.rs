//! The docker engine's parts: one container each, as `docker` plans them, with the roles of
//! this cluster's record.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use tokio::time::{Instant, sleep};

use crate::docker::{
    ClusterNetwork, Daemon, DockerPlan, LogRequest, NodePlan, Ports, Progress as DockerProgress,
    STATE_DIR, bring_up, claim_network, import_system_image, list, logs, remove_all, remove_node,
    start_existing, start_part, stop,
};
use crate::plan::{GATEWAY_ADMIN_PORT, Network, node_name};
use crate::provider::{Component, Progress, Provider, RunState};
use crate::record::Record;
use crate::roles::{
    ControlPlaneRole, DNS_PORT, GatewayRole, MetricsRole, NodeEngine, NodeRole, RegistryAddress,
    RegistryRole, Role, api_access, ingress_ports, node_plan,
};

/// How long the API may take to answer after its container has started.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Pause between two looks at the API.
const LOOK: Duration = Duration::from_millis(5);

/// Starts and ends the containers of one cluster.
pub struct DockerProvider {
    daemon: Daemon,
    record: Record,
    network: ClusterNetwork,
    program: PathBuf,
}

/// The daemon's version, where one can be used.
///
/// # Errors
/// Why not, with the way out.
pub async fn check() -> Result<String, crate::docker::DaemonError> {
    Daemon::connect().await.map(|daemon| daemon.version)
}

/// A free block of addresses, claimed by making the cluster's network.
///
/// # Errors
/// Where none is free, or the daemon refuses.
pub async fn claim(cluster: &str) -> anyhow::Result<Network> {
    let daemon = Daemon::connect().await?;
    let network = claim_network(&daemon.docker, cluster).await?;
    let [a, b, ..] = network.bridge().octets();
    Ok(Network::Bridge { a, b })
}

/// Removes whatever carries the cluster's label; answers whether there was anything.
///
/// # Errors
/// Where there is no daemon, or it refuses.
pub async fn remove_leftovers(cluster: &str) -> anyhow::Result<bool> {
    let daemon = Daemon::connect().await?;
    let removed = remove_all(&daemon.docker, cluster).await?;
    Ok(removed.containers + removed.networks + removed.volumes > 0)
}

impl DockerProvider {
    /// For the cluster of `record`; `program` is the executable that its containers run.
    ///
    /// # Errors
    /// Where no daemon answers.
    pub async fn connect(record: Record, program: PathBuf) -> anyhow::Result<Self> {
        let daemon = Daemon::connect().await?;
        let Network::Bridge { a, b } = record.network else {
            bail!(
                "the record of cluster {:?} has no bridge network; delete the cluster and start it again",
                record.name
            );
        };
        let subnet = format!("{a}.{b}.0.0/16");
        let network = ClusterNetwork::parse(&subnet)
            .with_context(|| format!("{subnet} is not a network of this program"))?;
        Ok(Self {
            daemon,
            record,
            network,
            program,
        })
    }

    fn plan(&self, image: &str) -> anyhow::Result<DockerPlan> {
        let Record { name, ports, .. } = &self.record;
        let text = |role: &Role| serde_json::to_string(role);
        let nodes: Result<Vec<_>, anyhow::Error> = self
            .record
            .nodes
            .iter()
            .map(|index| self.node(*index, image))
            .collect();
        Ok(DockerPlan {
            cluster: name.clone(),
            network: self.network,
            image: image.to_owned(),
            socket: self.daemon.socket.clone(),
            ports: Ports {
                api: ports.api,
                gateway: ports.production,
                gateway_test: ports.test,
                gateway_https: ports.https,
                registry: ports.registry,
                metrics: ports.metrics,
            },
            control_plane: text(&self.control_plane())?,
            registry: text(&self.registry())?,
            gateway: text(&self.gateway())?,
            nodes: nodes?,
        })
    }

    fn control_plane(&self) -> Role {
        let record = &self.record;
        Role::ControlPlane(ControlPlaneRole {
            cluster: record.name.clone(),
            listen: ([0, 0, 0, 0], record.ports.api).into(),
            store: PathBuf::from(STATE_DIR).join("store.sqlite"),
            pki: record.pki.clone(),
            tokens: vec![record.token.clone(), record.node_token.clone()],
            node_token: record.node_token.clone(),
            service_cidr: record.network.service_cidr(),
            api_service: (record.network.api_service(), record.network.api_endpoint()),
            dns_service: Some((record.network.dns_service(), record.network.dns_endpoint())),
            gateway_ports: (record.ports.production, record.ports.test),
            speed: record.speed,
            simulated_nodes: Vec::new(),
            metrics: record.ports.metrics.map(|port| MetricsRole {
                listen: ([0, 0, 0, 0], port).into(),
                endpoint: (self.network.control_plane(), port).into(),
                gateway: (self.network.gateway(), GATEWAY_ADMIN_PORT).into(),
                watch_pods: true,
            }),
            registry: Some(RegistryAddress {
                address: SocketAddr::from((self.network.registry(), record.ports.registry)),
                port: record.ports.registry,
            }),
        })
    }

    fn registry(&self) -> Role {
        Role::Registry(RegistryRole {
            cluster: self.record.name.clone(),
            listen: ([0, 0, 0, 0], self.record.ports.registry).into(),
            dir: PathBuf::from(STATE_DIR).join("registry"),
            token: self.record.token.clone(),
            notify: Some(api_access(
                &self.record,
                self.network.control_plane().into(),
            )),
        })
    }

    fn gateway(&self) -> Role {
        let record = &self.record;
        let (network, prefix) = record.network.service_cidr();
        Role::Gateway(GatewayRole {
            api: api_access(record, self.network.control_plane().into()),
            config: lab_gateway::GatewayConfig {
                bind: [0, 0, 0, 0].into(),
                services: lab_gateway::ServiceBind::Wildcard { network, prefix },
                admin: Some((self.network.gateway(), GATEWAY_ADMIN_PORT).into()),
                ingress: Some(ingress_ports(record.ports)),
                ..lab_gateway::GatewayConfig::on_loopback()
            },
            local_route: Some((network, prefix)),
            // Datagrams are answered from the Service's own address; connections come through
            // the Service as any other.
            dns: Some(lab_dns::DnsConfig {
                listen: vec![(record.network.dns_endpoint(), DNS_PORT).into()],
                udp: vec![(record.network.dns_service(), 53).into()],
                udp_if_permitted: Vec::new(),
            }),
            speed: record.speed,
        })
    }

    fn node(&self, index: u16, image: &str) -> anyhow::Result<NodePlan> {
        let record = &self.record;
        let name = node_name(index);
        let role = Role::Node(NodeRole {
            api: api_access(record, self.network.control_plane().into()),
            node: node_plan(record, index),
            token: record.node_token.clone(),
            engine: NodeEngine::Docker {
                cluster: record.name.clone(),
                container: format!("{}-{name}", record.name),
                network: record.name.clone(),
                system_image: image.to_owned(),
                registry_port: record.ports.registry,
                registry_address: SocketAddr::from((
                    self.network.registry(),
                    record.ports.registry,
                )),
            },
            dns: Some(record.network.dns_service()),
            speed: record.speed,
        });
        Ok(NodePlan {
            name,
            index: u8::try_from(index)?,
            config: serde_json::to_string(&role)?,
        })
    }

    /// Makes sure that the network is there with the addresses of the record.
    async fn reclaim_network(&self) -> anyhow::Result<()> {
        let network = claim_network(&self.daemon.docker, &self.record.name).await?;
        if network != self.network {
            bail!(
                "the network of cluster {:?} is gone and its addresses are taken by another; delete the cluster and start it again",
                self.record.name
            );
        }
        Ok(())
    }

    async fn await_answer(&self) -> anyhow::Result<()> {
        let client = crate::lifecycle::client(&self.record)?;
        let began = Instant::now();
        loop {
            let Err(error) = client.apiserver_version().await else {
                return Ok(());
            };
            if began.elapsed() > ANSWER_LIMIT {
                let hint = format!("see `devops-lab logs --name {}`", self.record.name);
                return Err(error).with_context(|| {
                    format!(
                        "the API does not answer after {} s; {hint}",
                        ANSWER_LIMIT.as_secs()
                    )
                });
            }
            sleep(LOOK).await;
        }
    }

    async fn up_from_nothing(
        &self,
        image: &str,
        progress: &dyn Progress,
    ) -> anyhow::Result<Vec<String>> {
        let plan = self.plan(image)?;
        let prefix = format!("{}-", self.record.name);
        let say = |event: DockerProgress| match event {
            DockerProgress::Started {
                container, after, ..
            } => {
                let part = container.strip_prefix(&prefix).unwrap_or(&container);
                progress.done(part, after, &format!("container {container}"));
            }
        };
        progress.begin("containers");
        bring_up(&self.daemon.docker, &plan, &say).await?;
        let names = ["control-plane", "registry", "gateway"].map(str::to_owned);
        Ok(names
            .into_iter()
            .chain(plan.nodes.into_iter().map(|node| node.name))
            .collect())
    }

    async fn repair(&self, image: &str, progress: &dyn Progress) -> anyhow::Result<Vec<String>> {
        let before = list(&self.daemon.docker, &self.record.name).await?;
        let mut started: Vec<_> = before
            .iter()
            .filter(|part| !part.running)
            .map(|part| part.component.clone())
            .collect();
        let began = Instant::now();
        if !started.is_empty() {
            progress.begin("containers");
            start_existing(&self.daemon.docker, &self.record.name).await?;
            for part in &started {
                progress.done(part, began.elapsed(), "");
            }
        }
        let present: HashSet<_> = before.into_iter().map(|part| part.component).collect();
        let plan = self.plan(image)?;
        for node in plan
            .nodes
            .iter()
            .filter(|node| !present.contains(&node.name))
        {
            progress.begin(&node.name);
            start_part(&self.daemon.docker, &plan, node).await?;
            progress.done(&node.name, began.elapsed(), "");
            started.push(node.name.clone());
        }
        if ["control-plane", "registry", "gateway"]
            .iter()
            .any(|part| !present.contains(*part))
        {
            bail!(
                "a container of cluster {:?} was removed; what it held may be gone with it: delete the cluster and start it again",
                self.record.name
            );
        }
        Ok(started)
    }
}

#[async_trait]
impl Provider for DockerProvider {
    async fn up(&self, progress: &dyn Progress) -> anyhow::Result<Vec<String>> {
        let began = Instant::now();
        progress.begin("system image");
        let image = import_system_image(&self.daemon.docker, &self.program).await?;
        let note = if image.imported {
            "made from this program"
        } else {
            "present"
        };
        progress.done("system image", began.elapsed(), note);
        self.reclaim_network().await?;
        let parts = list(&self.daemon.docker, &self.record.name).await?;
        let started = if parts.is_empty() {
            self.up_from_nothing(&image.reference, progress).await?
        } else {
            self.repair(&image.reference, progress).await?
        };
        self.await_answer().await?;
        Ok(started)
    }

    async fn stop(&self) -> anyhow::Result<()> {
        Ok(stop(&self.daemon.docker, &self.record.name).await?)
    }

    async fn delete(&self) -> anyhow::Result<()> {
        remove_all(&self.daemon.docker, &self.record.name).await?;
        Ok(())
    }

    async fn components(&self) -> anyhow::Result<Vec<Component>> {
        let parts = list(&self.daemon.docker, &self.record.name).await?;
        let component = |part: crate::docker::PartStatus| Component {
            name: part.component,
            state: match (part.running, part.status.contains("(Paused)")) {
                (true, true) => RunState::Paused,
                (true, false) => RunState::Running,
                (false, _) => RunState::Stopped,
            },
            handle: format!("container {}", part.container),
        };
        Ok(parts.into_iter().map(component).collect())
    }

    async fn start_component(&self, name: &str) -> anyhow::Result<()> {
        let docker = &self.daemon.docker;
        let parts = list(docker, &self.record.name).await?;
        if let Some(part) = parts.iter().find(|part| part.component == name) {
            let started = docker.start_container(&part.container, None).await;
            return started
                .with_context(|| format!("failed to start container {}", part.container));
        }
        let image = import_system_image(docker, &self.program).await?;
        let plan = self.plan(&image.reference)?;
        let node = plan.nodes.iter().find(|node| node.name == name);
        let node = node.with_context(|| {
            format!("cluster {:?} has no part called {name:?}", self.record.name)
        })?;
        Ok(start_part(docker, &plan, node).await?)
    }

    async fn stop_component(&self, name: &str) -> anyhow::Result<()> {
        let container = format!("{}-{name}", self.record.name);
        let stopped = self.daemon.docker.stop_container(&container, None).await;
        stopped.with_context(|| format!("failed to stop container {container}"))
    }

    async fn kill_component(&self, name: &str) -> anyhow::Result<()> {
        let container = format!("{}-{name}", self.record.name);
        let killed = self.daemon.docker.kill_container(&container, None).await;
        killed.with_context(|| format!("failed to kill container {container}"))
    }

    async fn remove_node(&self, name: &str) -> anyhow::Result<()> {
        Ok(remove_node(&self.daemon.docker, &self.record.name, name).await?)
    }

    async fn logs(
        &self,
        name: &str,
        tail: Option<u64>,
        follow: bool,
    ) -> anyhow::Result<BoxStream<'static, anyhow::Result<Bytes>>> {
        let request = LogRequest {
            follow,
            tail_lines: tail,
        };
        Ok(logs(&self.daemon.docker, &self.record.name, name, request)
            .map_err(anyhow::Error::from)
            .boxed())
    }
}
