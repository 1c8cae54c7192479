//! What a cluster's containers are made from: pure.

use std::collections::HashMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, HostConfigLogConfig,
    Mount, MountType, MountVolumeOptions, NetworkingConfig, PortBinding,
};
use lab_engine::docker::labels;

use super::ClusterNetwork;

/// Where parts keep what must outlive their container.
pub const STATE_DIR: &str = "/var/lib/devops-lab";

/// The environment variable that holds a part's configuration.
const CONFIG_VARIABLE: &str = "DEVOPS_LAB_CONFIG";
/// Where the daemon's socket appears in node containers.
const SOCKET_IN_NODE: &str = "/var/run/docker.sock";
/// A part is one process with a few threads per core.
const PIDS_LIMIT: i64 = 1024;
/// Time to end in order, in seconds, before the daemon kills.
pub(super) const STOP_SECONDS: i32 = 10;

/// What a container of the cluster is for, in the order of starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// API server, store, controllers and scheduler.
    ControlPlane,
    /// The image registry.
    Registry,
    /// The load balancer.
    Gateway,
    /// A node agent, and the anchor of its pods.
    Node,
}

impl Role {
    const ALL: [Self; 4] = [
        Self::ControlPlane,
        Self::Registry,
        Self::Gateway,
        Self::Node,
    ];

    /// The name in labels, in container names and in `devops-lab component NAME`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Registry => "registry",
            Self::Gateway => "gateway",
            Self::Node => "node",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Ports on 127.0.0.1; the parts listen on the same numbers inside their containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The Kubernetes API, usually 6443.
    pub api: u16,
    /// The load balancer's production listener, usually 8080.
    pub gateway: u16,
    /// The load balancer's test listener, usually 8081.
    pub gateway_test: u16,
    /// HTTPS of the load balancer, for listeners that a user adds.
    pub gateway_https: u16,
    /// The registry, usually 5001.
    pub registry: u16,
    /// The metrics, usually 9090.
    pub metrics: Option<u16>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlan {
    /// Name within the cluster, such as `node-1`.
    pub name: String,
    /// Its place in the address plan, from 1 to [`super::MAX_NODES`].
    pub index: u8,
    /// Its configuration.
    pub config: String,
}

/// All that is needed to make a cluster's containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerPlan {
    /// Name of the cluster, of its network and the beginning of its containers' names.
    pub cluster: String,
    /// Its addresses.
    pub network: ClusterNetwork,
    /// The image that holds this program.
    pub image: String,
    /// The daemon's socket, for the nodes.
    pub socket: PathBuf,
    /// Ports for the student's machine.
    pub ports: Ports,
    /// Configuration of the control plane.
    pub control_plane: String,
    /// Configuration of the registry.
    pub registry: String,
    /// Configuration of the load balancer.
    pub gateway: String,
    /// The nodes.
    pub nodes: Vec<NodePlan>,
}

/// One container to be made.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) body: ContainerCreateBody,
}

/// The name of a part's container: `NAME-registry`, `NAME-node-1`.
pub(super) fn container_name(cluster: &str, component: &str) -> String {
    format!("{cluster}-{component}")
}

impl DockerPlan {
    /// Every container, in the order of starting.
    pub(super) fn parts(&self) -> Vec<Part> {
        let mut parts = vec![self.control_plane(), self.registry(), self.gateway()];
        parts.extend(self.nodes.iter().filter_map(|node| self.node(node)));
        parts
    }

    fn control_plane(&self) -> Part {
        let ports: Vec<u16> = [self.ports.api]
            .into_iter()
            .chain(self.ports.metrics)
            .collect();
        let host = HostConfig {
            mounts: Some(vec![self.state_volume("state")]),
            port_bindings: Some(publish(&ports)),
            ..self.confined()
        };
        self.part(
            Role::ControlPlane,
            None,
            self.network.control_plane(),
            &self.control_plane,
            host,
        )
    }

    fn registry(&self) -> Part {
        let host = HostConfig {
            mounts: Some(vec![self.state_volume("registry")]),
            port_bindings: Some(publish(&[self.ports.registry])),
            ..self.confined()
        };
        self.part(
            Role::Registry,
            None,
            self.network.registry(),
            &self.registry,
            host,
        )
    }

    fn gateway(&self) -> Part {
        let host = HostConfig {
            // For one local route, which makes the whole range of service addresses its own.
            cap_add: Some(vec!["NET_ADMIN".to_owned()]),
            port_bindings: Some(publish(&[
                self.ports.gateway,
                self.ports.gateway_test,
                self.ports.gateway_https,
            ])),
            tmpfs: Some(scratch(&["/tmp", STATE_DIR])),
            ..self.confined()
        };
        self.part(
            Role::Gateway,
            None,
            self.network.gateway(),
            &self.gateway,
            host,
        )
    }

    /// `None` where the plan has no address for it.
    pub(super) fn node(&self, node: &NodePlan) -> Option<Part> {
        let host = HostConfig {
            // The one thing of the host that any container gets: the agent makes its pods as
            // its neighbours. It must keep them from reaching through: `protect_agent`.
            binds: Some(vec![format!("{}:{SOCKET_IN_NODE}", self.socket.display())]),
            tmpfs: Some(scratch(&["/tmp", STATE_DIR])),
            ..self.confined()
        };
        let address = self.network.node(node.index)?;
        Some(self.part(Role::Node, Some(&node.name), address, &node.config, host))
    }

    fn part(
        &self,
        role: Role,
        node: Option<&str>,
        address: Ipv4Addr,
        config: &str,
        host: HostConfig,
    ) -> Part {
        let component = node.unwrap_or(role.as_str());
        let mut labels = HashMap::from([
            (labels::CLUSTER.to_owned(), self.cluster.clone()),
            (labels::ROLE.to_owned(), role.as_str().to_owned()),
        ]);
        labels.extend(node.map(|node| (labels::NODE.to_owned(), node.to_owned())));
        let exposed = host
            .port_bindings
            .iter()
            .flat_map(|ports| ports.keys().cloned())
            .collect();
        Part {
            name: container_name(&self.cluster, component),
            role,
            body: ContainerCreateBody {
                image: Some(self.image.clone()),
                cmd: Some(vec!["component".to_owned(), role.as_str().to_owned()]),
                env: Some(vec![format!("{CONFIG_VARIABLE}={config}")]),
                hostname: Some(component.to_owned()),
                labels: Some(labels),
                exposed_ports: Some(exposed),
                stop_timeout: Some(i64::from(STOP_SECONDS)),
                networking_config: Some(self.endpoint(address)),
                host_config: Some(host),
                ..ContainerCreateBody::default()
            },
        }
    }

    /// What holds for every part. A part that ends stays ended: a student who kills one wants
    /// to see what its absence does, and `devops-lab start` brings it back.
    fn confined(&self) -> HostConfig {
        HostConfig {
            network_mode: Some(self.cluster.clone()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            readonly_rootfs: Some(true),
            tmpfs: Some(scratch(&["/tmp"])),
            pids_limit: Some(PIDS_LIMIT),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(HashMap::from([
                    ("max-size".to_owned(), "10m".to_owned()),
                    ("max-file".to_owned(), "3".to_owned()),
                ])),
            }),
            ..HostConfig::default()
        }
    }

    fn endpoint(&self, address: Ipv4Addr) -> NetworkingConfig {
        let endpoint = EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: Some(address.to_string()),
                ..EndpointIpamConfig::default()
            }),
            ..EndpointSettings::default()
        };
        NetworkingConfig {
            endpoints_config: Some(HashMap::from([(self.cluster.clone(), endpoint)])),
        }
    }

    fn state_volume(&self, kind: &str) -> Mount {
        let own = HashMap::from([(labels::CLUSTER.to_owned(), self.cluster.clone())]);
        Mount {
            target: Some(STATE_DIR.to_owned()),
            source: Some(format!("devops-lab-{}-{kind}", self.cluster)),
            typ: Some(MountType::VOLUME),
            volume_options: Some(MountVolumeOptions {
                labels: Some(own),
                ..MountVolumeOptions::default()
            }),
            ..Mount::default()
        }
    }
}

/// Loopback only: nothing of a student's cluster is for her neighbours in the lecture hall.
fn publish(ports: &[u16]) -> HashMap<String, Option<Vec<PortBinding>>> {
    ports
        .iter()
        .map(|port| {
            let binding = PortBinding {
                host_ip: Some("127.0.0.1".to_owned()),
                host_port: Some(port.to_string()),
            };
            (format!("{port}/tcp"), Some(vec![binding]))
        })
        .collect()
}

/// Places in memory that may be written below a read-only root; empty again after a restart.
fn scratch(paths: &[&str]) -> HashMap<String, String> {
    paths
        .iter()
        .map(|&path| (path.to_owned(), String::new()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> DockerPlan {
        let node = |index: u8| NodePlan {
            name: format!("node-{index}"),
            index,
            config: format!("{{\"node\":{index}}}"),
        };
        DockerPlan {
            cluster: "lab".into(),
            network: ClusterNetwork::parse("10.89.0.0/16").unwrap(),
            image: "devops-lab/system:abc".into(),
            socket: "/run/user/1000/docker.sock".into(),
            ports: Ports {
                api: 6443,
                gateway: 8080,
                gateway_test: 8081,
                gateway_https: 8443,
                registry: 5001,
                metrics: Some(9090),
            },
            control_plane: "{}".into(),
            registry: "{}".into(),
            gateway: "{}".into(),
            nodes: vec![node(1), node(2)],
        }
    }

    fn host(part: &Part) -> &HostConfig {
        part.body.host_config.as_ref().unwrap()
    }

    #[test]
    fn the_control_plane_comes_first_and_every_part_has_its_address() {
        let found: Vec<_> = plan()
            .parts()
            .into_iter()
            .map(|part| {
                let endpoints = part
                    .body
                    .networking_config
                    .unwrap()
                    .endpoints_config
                    .unwrap();
                (
                    part.name,
                    endpoints["lab"]
                        .ipam_config
                        .as_ref()
                        .unwrap()
                        .ipv4_address
                        .clone()
                        .unwrap(),
                )
            })
            .collect();
        let expected = [
            ("lab-control-plane", "10.89.0.2"),
            ("lab-registry", "10.89.0.3"),
            ("lab-gateway", "10.89.0.4"),
            ("lab-node-1", "10.89.1.1"),
            ("lab-node-2", "10.89.1.2"),
        ];
        assert_eq!(
            found,
            expected.map(|(name, ip)| (name.to_owned(), ip.to_owned()))
        );
    }

    #[test]
    fn only_the_load_balancer_has_a_capability_and_only_nodes_reach_the_daemon() {
        for part in plan().parts() {
            let host = host(&part);
            assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]), "{}", part.name);
            assert_eq!(host.readonly_rootfs, Some(true));
            assert_eq!(
                host.cap_add.is_some(),
                part.role == Role::Gateway,
                "{}",
                part.name
            );
            assert_eq!(
                host.binds.is_some(),
                part.role == Role::Node,
                "{}",
                part.name
            );
        }
        let binds = host(&plan().parts()[3]).binds.clone().unwrap();
        assert_eq!(binds, ["/run/user/1000/docker.sock:/var/run/docker.sock"]);
    }

    #[test]
    fn ports_are_published_on_loopback_under_their_own_numbers() {
        let mut published: Vec<_> = plan()
            .parts()
            .iter()
            .flat_map(|part| host(part).port_bindings.clone().unwrap_or_default())
            .map(|(inside, outside)| (inside, outside.unwrap().remove(0)))
            .map(|(inside, outside)| (inside, outside.host_ip.unwrap(), outside.host_port.unwrap()))
            .collect();
        published.sort();
        let expected = ["5001", "6443", "8080", "8081", "8443", "9090"].map(|port| {
            (
                format!("{port}/tcp"),
                "127.0.0.1".to_owned(),
                port.to_owned(),
            )
        });
        assert_eq!(published, expected);
    }

    #[test]
    fn a_part_is_told_its_role_and_its_configuration() {
        let node = &plan().parts()[4];
        assert_eq!(
            node.body.cmd,
            Some(vec!["component".to_owned(), "node".to_owned()])
        );
        assert_eq!(
            node.body.env,
            Some(vec!["DEVOPS_LAB_CONFIG={\"node\":2}".to_owned()])
        );
        assert_eq!(node.body.labels.as_ref().unwrap()[labels::NODE], "node-2");
    }
}
