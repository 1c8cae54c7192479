//! What each process of a cluster runs, and the configuration it is handed.
//!
//! The program starts itself as `devops-lab component` with its role as JSON in the
//! environment, as a container's entrypoint or as a background process.

mod control_plane;
mod gateway;
mod metrics;
mod node;
mod pushes;
mod registry;
mod registry_faults;
mod registry_upstream;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use lab_context::Context;
use lab_controllers::ImagePushes;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{EngineKind, NodeResources};
use crate::docker::SignalWatch;
use crate::pki::Pki;
use crate::plan::{cidr_text, node_name};
use crate::record::{ClusterDir, Record};

/// Environment variable that carries a process' role.
pub const CONFIG_VARIABLE: &str = "DEVOPS_LAB_CONFIG";
/// Port at which the cluster's DNS server itself listens: 53 with ten thousand added, as the load
/// balancer adds them to the ports of Services that it may not open.
pub const DNS_PORT: u16 = 10_053;
/// Port of a node's agent.
pub const AGENT_PORT: u16 = 10250;

/// What a process is, with all it must know.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "kebab-case")]
pub enum Role {
    /// Control plane, registry and gateway in one process.
    AllInOne {
        /// The API server and the controllers.
        control_plane: Box<ControlPlaneRole>,
        /// The image registry.
        registry: RegistryRole,
        /// The load balancer.
        gateway: GatewayRole,
    },
    /// The API server, the controllers and the scheduler.
    ControlPlane(ControlPlaneRole),
    /// The image registry.
    Registry(RegistryRole),
    /// The load balancer.
    Gateway(GatewayRole),
    /// One node.
    Node(NodeRole),
    /// The users of the application. On the host, whatever the engine: that is where users are.
    Traffic(TrafficRole),
}

/// Configuration of the users.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrafficRole {
    /// What they send.
    pub plan: lab_traffic::Plan,
    /// Where they may send it.
    pub neighbourhood: lab_traffic::Neighbourhood,
    /// Where it is recorded what they meet.
    pub dir: PathBuf,
}

/// Configuration of the control plane.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ControlPlaneRole {
    /// Name of the cluster.
    pub cluster: String,
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where objects are kept.
    pub store: PathBuf,
    /// Certificates of the API.
    pub pki: Pki,
    /// Bearer tokens that are let in: the administrator's and the nodes'.
    pub tokens: Vec<String>,
    /// Bearer token for the nodes' agents.
    pub node_token: String,
    /// Range of Service addresses.
    pub service_cidr: (Ipv4Addr, u8),
    /// Where pods reach the API: the Service `kubernetes`, and what is behind it.
    pub api_service: (Ipv4Addr, Ipv4Addr),
    /// Where pods reach DNS: the Service `kube-dns`, and what is behind it.
    pub dns_service: Option<(Ipv4Addr, Ipv4Addr)>,
    /// Ports of the default Gateway: production and test.
    pub gateway_ports: (u16, u16),
    /// Divides the cluster's own waits.
    pub speed: f64,
    /// Nodes that exist in the API only.
    pub simulated_nodes: Vec<NodePlan>,
    /// The metrics; none in a cluster that an older program made.
    #[serde(default)]
    pub metrics: Option<MetricsRole>,
    /// The cluster's registry; none in a cluster that an older program made.
    #[serde(default)]
    pub registry: Option<RegistryAddress>,
}

/// Where the control plane finds the registry.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct RegistryAddress {
    /// Where it answers.
    pub address: SocketAddr,
    /// Its port on the host, by which images are named.
    pub port: u16,
}

/// Configuration of the metrics.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MetricsRole {
    /// Where Prometheus' HTTP API listens.
    pub listen: SocketAddr,
    /// Where the Service `prometheus` leads to.
    pub endpoint: SocketAddr,
    /// Where the load balancer tells of itself.
    pub gateway: SocketAddr,
    /// Whether pods are scraped; not where they only pretend to run.
    pub watch_pods: bool,
}

/// Configuration of the registry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RegistryRole {
    /// Name of the cluster.
    pub cluster: String,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where images are kept.
    pub dir: PathBuf,
    /// Bearer token of the administrator, who may let it hand out damaged data.
    pub token: String,
    /// The API that is told of pushes, where it is in another process.
    pub notify: Option<ApiAccess>,
}

/// Configuration of the load balancer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GatewayRole {
    /// How to reach the API.
    pub api: ApiAccess,
    /// Where to listen.
    pub config: lab_gateway::GatewayConfig,
    /// The range of Service addresses that this machine must answer for.
    pub local_route: Option<(Ipv4Addr, u8)>,
    /// Where the cluster's DNS listens, which shares the load balancer's addresses.
    pub dns: Option<lab_dns::DnsConfig>,
    /// Divides the cluster's own waits.
    pub speed: f64,
}

/// Configuration of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeRole {
    /// How to reach the API.
    pub api: ApiAccess,
    /// The node.
    pub node: NodePlan,
    /// Bearer token that the agent asks of its callers.
    pub token: String,
    /// What runs its pods.
    pub engine: NodeEngine,
    /// DNS server of its pods.
    pub dns: Option<Ipv4Addr>,
    /// Divides the cluster's own waits.
    pub speed: f64,
}

/// How a part reaches the API server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApiAccess {
    /// `https://address:port`.
    pub url: String,
    /// Certificate of the authority to trust.
    pub ca_pem: String,
    /// Bearer token.
    pub token: String,
}

/// Name, place and size of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodePlan {
    /// Its name.
    pub name: String,
    /// Its address.
    pub ip: IpAddr,
    /// The range of its pods.
    pub pod_cidr: String,
    /// What it offers.
    pub resources: NodeResources,
}

/// What runs a node's pods.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum NodeEngine {
    /// Child processes of the node's process.
    Process {
        /// The node's own directory.
        state_dir: PathBuf,
        /// Unpacked images, shared by the cluster's nodes.
        images_dir: PathBuf,
        /// Port of the registry on 127.0.0.1.
        registry_port: u16,
        /// The executable that starts pods.
        program: PathBuf,
    },
    /// Containers beside the node's container.
    Docker {
        /// Name of the cluster.
        cluster: String,
        /// Name of the node's container.
        container: String,
        /// Name of the cluster's network.
        network: String,
        /// Image that holds this program.
        system_image: String,
        /// Port of the registry on the host's 127.0.0.1, as the Docker daemon reaches it.
        registry_port: u16,
        /// The registry's address on the cluster's network.
        registry_address: SocketAddr,
    },
}

/// The role of the process engine's first process.
#[must_use]
pub fn all_in_one(record: &Record, dir: &ClusterDir) -> Role {
    let localhost = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let simulated = record.engine == EngineKind::Simulated;
    let gateway_admin = record.network.gateway_admin();
    let mut config = lab_gateway::GatewayConfig {
        admin: Some(gateway_admin),
        ingress: Some(ingress_ports(record.ports)),
        ..lab_gateway::GatewayConfig::on_loopback()
    };
    if simulated {
        // Nothing answers at a simulated pod's address, so there is nothing to forward to.
        config.services = lab_gateway::ServiceBind::Off;
    }
    Role::AllInOne {
        control_plane: Box::new(ControlPlaneRole {
            cluster: record.name.clone(),
            listen: localhost(record.ports.api),
            store: dir.join("store.sqlite"),
            pki: record.pki.clone(),
            tokens: vec![record.token.clone(), record.node_token.clone()],
            node_token: record.node_token.clone(),
            service_cidr: record.network.service_cidr(),
            api_service: (record.network.api_service(), record.network.api_endpoint()),
            dns_service: (!simulated)
                .then(|| (record.network.dns_service(), record.network.dns_endpoint())),
            gateway_ports: (record.ports.production, record.ports.test),
            speed: record.speed,
            simulated_nodes: if simulated {
                record
                    .nodes
                    .iter()
                    .map(|index| node_plan(record, *index))
                    .collect()
            } else {
                Vec::new()
            },
            metrics: record.ports.metrics.map(|port| MetricsRole {
                listen: localhost(port),
                endpoint: localhost(port),
                gateway: gateway_admin,
                watch_pods: !simulated,
            }),
            registry: Some(RegistryAddress {
                address: localhost(record.ports.registry),
                port: record.ports.registry,
            }),
        }),
        registry: RegistryRole {
            cluster: record.name.clone(),
            listen: localhost(record.ports.registry),
            dir: dir.join("registry"),
            token: record.token.clone(),
            notify: None,
        },
        gateway: GatewayRole {
            api: api_access(record, Ipv4Addr::LOCALHOST.into()),
            config,
            local_route: None,
            dns: (!simulated).then(|| loopback_dns(record.network)),
            speed: record.speed,
        },
    }
}

/// DNS on loopback addresses. Port 53 needs privileges that this user may not have, so it is
/// served besides at the port that stands in for it; see `lab_gateway::stand_in`.
fn loopback_dns(network: crate::plan::Network) -> lab_dns::DnsConfig {
    let (service, own) = (network.dns_service(), network.dns_endpoint());
    lab_dns::DnsConfig {
        listen: vec![(own, DNS_PORT).into()],
        udp: vec![(service, DNS_PORT).into()],
        udp_if_permitted: vec![(service, 53).into()],
    }
}

/// The role of a node on the process engine.
#[must_use]
pub fn process_node(record: &Record, dir: &ClusterDir, index: u16) -> Role {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("devops-lab"));
    Role::Node(NodeRole {
        api: api_access(record, Ipv4Addr::LOCALHOST.into()),
        node: node_plan(record, index),
        token: record.node_token.clone(),
        engine: NodeEngine::Process {
            state_dir: dir.join("nodes").join(node_name(index)),
            images_dir: dir.join("images"),
            registry_port: record.ports.registry,
            program,
        },
        dns: Some(record.network.dns_service()),
        speed: record.speed,
    })
}

/// Where Ingresses are served: beside the production listener, and on the port for HTTPS.
#[must_use]
pub fn ingress_ports(ports: crate::ports::Ports) -> lab_gateway::IngressPorts {
    lab_gateway::IngressPorts {
        http: ports.production,
        https: ports.https,
    }
}

/// A node of the record.
#[must_use]
pub fn node_plan(record: &Record, index: u16) -> NodePlan {
    NodePlan {
        name: node_name(index),
        ip: record.network.node_ip(index),
        pod_cidr: cidr_text(record.network.pod_cidr(index)),
        resources: record.resources.clone(),
    }
}

/// Access to the API at `ip`, with the nodes' token.
#[must_use]
pub fn api_access(record: &Record, ip: IpAddr) -> ApiAccess {
    ApiAccess {
        url: format!("https://{ip}:{}", record.ports.api),
        ca_pem: record.pki.ca_pem.clone(),
        token: record.node_token.clone(),
    }
}

impl ApiAccess {
    /// A client with this access.
    ///
    /// # Errors
    /// Where the address or the certificate cannot be read.
    pub fn client(&self) -> anyhow::Result<kube::Client> {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject;
        let mut config =
            kube::Config::new(self.url.parse().context("the API's address is not a URL")?);
        let ca = CertificateDer::from_pem_slice(self.ca_pem.as_bytes())
            .context("the authority's certificate cannot be read")?;
        config.root_cert = Some(vec![ca.to_vec()]);
        config.auth_info.token = Some(self.token.clone().into());
        config.proxy_url = None;
        Ok(kube::Client::try_from(config)?)
    }
}

/// Runs the role in the environment until TERM or INT.
///
/// # Errors
/// Where the role cannot be read, or its part cannot start; the message is for the part's log.
pub fn run_from_env() -> anyhow::Result<()> {
    let text = std::env::var(CONFIG_VARIABLE).with_context(|| {
        format!("{CONFIG_VARIABLE} is not set: `devops-lab component` is started by `devops-lab start`, not by hand")
    })?;
    let role: Role =
        serde_json::from_str(&text).with_context(|| format!("{CONFIG_VARIABLE} is not a role"))?;
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("DEVOPS_LAB_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,kube=warn")),
        )
        .init();
    crate::process::register()?;
    // A session of its own: the terminal's Ctrl-C and hang-up are not for the cluster.
    let _ = rustix::process::setsid();
    let _ = rustls::crypto::ring::default_provider().install_default();
    runtime(&role)?.block_on(run(role))
}

/// Nodes and gateways of a classroom's cluster need little; a small runtime keeps idle memory low.
fn runtime(role: &Role) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = match role {
        Role::Node(_) | Role::Registry(_) | Role::Traffic(_) => {
            tokio::runtime::Builder::new_current_thread()
        }
        Role::AllInOne { .. } | Role::ControlPlane(_) | Role::Gateway(_) => {
            tokio::runtime::Builder::new_multi_thread()
        }
    };
    builder.enable_all().build()
}

async fn run(role: Role) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let _watch = watch_signals(&role, &stop)?;
    let parts = TaskTracker::new();
    match role {
        Role::AllInOne {
            control_plane,
            registry,
            gateway,
        } => {
            let pushes = ImagePushes::default();
            registry::start(registry, Some(&pushes), &parts, &stop).await?;
            let client = control_plane::start(*control_plane, pushes, &parts, &stop).await?;
            gateway::start(gateway, Some(client), &parts, &stop).await?;
        }
        Role::ControlPlane(role) => {
            let pushes = ImagePushes::default();
            drop(control_plane::start(role, pushes, &parts, &stop).await?);
        }
        Role::Registry(role) => registry::start(role, None, &parts, &stop).await?,
        Role::Gateway(role) => gateway::start(role, None, &parts, &stop).await?,
        Role::Node(role) => node::start(role, &parts, &stop).await?,
        Role::Traffic(role) => {
            let TrafficRole {
                plan,
                neighbourhood,
                dir,
            } = role;
            lab_traffic::run(plan, &neighbourhood, &dir, context(1.0), stop).await?;
        }
    }
    parts.close();
    parts.wait().await;
    Ok(())
}

/// Cancels `stop` at TERM or INT. A node's container shares its process namespace with its pods,
/// so there only signals from outside count; what is returned must be kept.
fn watch_signals(role: &Role, stop: &CancellationToken) -> anyhow::Result<Option<SignalWatch>> {
    if let Role::Node(NodeRole {
        engine: NodeEngine::Docker { .. },
        ..
    }) = role
    {
        return Ok(Some(SignalWatch::start(stop.clone())?));
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let signalled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        signalled.cancel();
    });
    Ok(None)
}

/// Clock and randomness of a part.
fn context(speed: f64) -> Context {
    Context::system(speed)
}
