//! What the daemon is asked to make: pure translation of configurations.

use std::collections::HashMap;
use std::net::IpAddr;

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, HostConfigLogConfig,
    Mount, MountType, MountVolumeOptions, NetworkingConfig,
};

use super::labels::{Part, SandboxIdentity};
use super::{DockerConfig, labels};
use crate::{ContainerConfig, EngineError, SandboxId};

/// Enough for any web server; a fork bomb ends here and not on the student's desktop.
const PIDS_LIMIT: i64 = 512;
/// Less is refused by the daemon; Kubernetes has no such floor.
const MIN_MEMORY_BYTES: u64 = 6 * 1024 * 1024;
/// The scheduling period of CPU limits, in microseconds; the kernel's default.
pub(super) const CPU_PERIOD_US: i64 = 100_000;
/// The kernel accepts no smaller quota, in microseconds.
const MIN_CPU_QUOTA_US: i64 = 1_000;
/// The kernel's floor for the weight of a control group.
const MIN_CPU_SHARES: u64 = 2;
/// Linux host names end here; the kubelet cuts longer pod names likewise.
const MAX_HOSTNAME: usize = 63;

/// Name of the sandbox part for people who look at `docker ps`, unique on the daemon.
pub(super) fn container_name(cluster: &str, sandbox: &SandboxIdentity, part: &Part) -> String {
    let pod = format!(
        "{cluster}_{}_{}",
        sandbox.config.namespace, sandbox.config.name
    );
    // The id ends with random letters: the dead remains of the same pod may still be there.
    let suffix = sandbox.id.0.rsplit('-').next().unwrap_or_default();
    match part {
        Part::Holder => format!("{pod}_{suffix}"),
        Part::Opener { volume } => format!("{volume}_open"),
        Part::Container { name, attempt } => format!("{pod}_{name}_{suffix}_{attempt}"),
    }
}

/// Name of the volume behind one emptyDir of a sandbox.
pub(super) fn volume_name(cluster: &str, sandbox: &SandboxId, shared_name: &str) -> String {
    format!("{cluster}_{}_{shared_name}", sandbox.0)
}

/// The container that holds the network of a shared sandbox.
pub(super) fn holder(config: &DockerConfig, sandbox: &SandboxIdentity) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(config.system_image.clone()),
        cmd: Some(vec!["pause".to_owned()]),
        labels: Some(sandbox.labels(&config.cluster, &config.node, &Part::Holder)),
        host_config: Some(HostConfig {
            readonly_rootfs: Some(true),
            ..confined(config)
        }),
        ..ContainerCreateBody::default()
    }
    .on_network(config, sandbox)
}

/// Where [`opener`] has its volume.
pub(super) const OPENER_PATH: &str = "/volume";

/// A container that only carries a volume and is never started. It has the sandbox's label, so
/// that an interrupted call leaves nothing that the sandbox's removal would not find.
pub(super) fn opener(
    config: &DockerConfig,
    sandbox: &SandboxIdentity,
    volume: &str,
    image: &str,
) -> ContainerCreateBody {
    let part = Part::Opener {
        volume: volume.to_owned(),
    };
    let mount = Mount {
        target: Some(OPENER_PATH.to_owned()),
        source: Some(volume.to_owned()),
        typ: Some(MountType::VOLUME),
        volume_options: Some(MountVolumeOptions {
            no_copy: Some(true),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    };
    ContainerCreateBody {
        image: Some(image.to_owned()),
        // An image may have no command of its own; one is demanded, though it never runs.
        cmd: Some(vec!["never-started".to_owned()]),
        labels: Some(sandbox.labels(&config.cluster, &config.node, &part)),
        host_config: Some(HostConfig {
            mounts: Some(vec![mount]),
            network_mode: Some("none".to_owned()),
            ..confined(config)
        }),
        ..ContainerCreateBody::default()
    }
}

/// One container of a pod. `holder` is the container whose network it joins, where there is
/// one.
pub(super) fn container(
    config: &DockerConfig,
    sandbox: &SandboxIdentity,
    container: &ContainerConfig,
    holder: Option<&str>,
) -> Result<ContainerCreateBody, EngineError> {
    let ContainerConfig {
        name,
        attempt,
        image,
        command,
        args,
        working_dir,
        env,
        mounts: _,
        memory_limit_bytes,
        cpu_limit_millis,
        cpu_request_millis,
        run_as_user,
        run_as_non_root: _,
        read_only_root,
    } = container;
    let part = Part::Container {
        name: name.clone(),
        attempt: *attempt,
    };
    let mut labels = sandbox.labels(&config.cluster, &config.node, &part);
    if let Some(millis) = cpu_limit_millis {
        labels.insert(labels::CPU_LIMIT.to_owned(), millis.to_string());
    }
    let body = ContainerCreateBody {
        image: Some(image.clone()),
        entrypoint: some_unless_empty(command),
        // With a command of its own, the image's arguments belong to a program that does not
        // run: they go, as in Kubernetes. Docker does so by itself.
        cmd: some_unless_empty(args),
        working_dir: working_dir.clone(),
        env: Some(environment(env)),
        user: run_as_user.map(|user| user.to_string()),
        labels: Some(labels),
        host_config: Some(HostConfig {
            memory: memory_limit_bytes.map(memory),
            // Equal to the limit: no swap, as on a Kubernetes node.
            memory_swap: memory_limit_bytes.map(memory),
            cpu_period: cpu_limit_millis.map(|_| CPU_PERIOD_US),
            cpu_quota: cpu_limit_millis.map(cpu_quota),
            cpu_shares: cpu_request_millis.map(cpu_shares),
            mounts: Some(mounts(&config.cluster, sandbox, container)?),
            readonly_rootfs: Some(*read_only_root),
            ..confined(config)
        }),
        ..ContainerCreateBody::default()
    };
    Ok(match holder {
        Some(holder) => body.in_network_of(holder),
        None => body.on_network(config, sandbox),
    })
}

trait Attach {
    fn on_network(self, config: &DockerConfig, sandbox: &SandboxIdentity) -> Self;
    fn in_network_of(self, holder: &str) -> Self;
}

impl Attach for ContainerCreateBody {
    /// Gives the container the sandbox's own address, name and DNS.
    fn on_network(mut self, config: &DockerConfig, sandbox: &SandboxIdentity) -> Self {
        let endpoint = EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: sandbox.config.ip.map(|ip| ip.to_string()),
                ..EndpointIpamConfig::default()
            }),
            ..EndpointSettings::default()
        };
        self.networking_config = Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(config.network.clone(), endpoint)])),
        });
        self.hostname = Some(hostname(&sandbox.config.hostname));
        let host = self.host_config.get_or_insert_default();
        host.network_mode = Some(config.network.clone());
        host.dns = some_unless_empty(&texts(&sandbox.config.dns_servers));
        host.dns_search = some_unless_empty(&sandbox.config.dns_search);
        host.dns_options = some_unless_empty(&sandbox.config.dns_options);
        self
    }

    /// Shares another container's network; name and DNS then come from there too.
    fn in_network_of(mut self, holder: &str) -> Self {
        self.host_config.get_or_insert_default().network_mode = Some(format!("container:{holder}"));
        self
    }
}

/// What a container may still do as root: what the usual images do before they become somebody
/// else (give files to their user, listen on port 80). A part of what Pod Security's "baseline"
/// allows; nothing that reaches the machine or its network.
/// <https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline>
const CAPABILITIES: [&str; 7] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETUID",
];

/// What holds for every container of a pod, whatever its author wrote.
fn confined(config: &DockerConfig) -> HostConfig {
    HostConfig {
        pid_mode: Some(format!("container:{}", config.node_container)),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(CAPABILITIES.map(str::to_owned).to_vec()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        pids_limit: Some(PIDS_LIMIT),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            // The kubelet's own numbers. https://kubernetes.io/docs/concepts/cluster-administration/logging/#log-rotation
            config: Some(HashMap::from([
                ("max-size".to_owned(), "10m".to_owned()),
                ("max-file".to_owned(), "5".to_owned()),
            ])),
        }),
        ..HostConfig::default()
    }
}

/// Volumes of a container: emptyDirs, and a place for files where the root cannot be written.
fn mounts(
    cluster: &str,
    sandbox: &SandboxIdentity,
    container: &ContainerConfig,
) -> Result<Vec<Mount>, EngineError> {
    let mut mounts = Vec::new();
    for mount in &container.mounts {
        let target = format!(
            "/{}",
            super::archive::relative(&mount.container_path)?.display()
        );
        let volume = Mount {
            target: Some(target),
            typ: Some(MountType::VOLUME),
            ..Mount::default()
        };
        if let Some(shared_name) = &mount.shared_name {
            mounts.push(Mount {
                source: Some(volume_name(cluster, &sandbox.id, shared_name)),
                read_only: Some(mount.read_only),
                // An emptyDir begins empty, whatever the image has at that path.
                volume_options: Some(MountVolumeOptions {
                    no_copy: Some(true),
                    ..MountVolumeOptions::default()
                }),
                ..volume
            });
        } else if container.read_only_root {
            // The daemon unpacks nothing into a read-only root, but does into a volume; this
            // one has no name and goes with its container.
            mounts.push(Mount {
                volume_options: Some(MountVolumeOptions {
                    labels: Some(HashMap::from([(
                        labels::CLUSTER.to_owned(),
                        cluster.to_owned(),
                    )])),
                    ..MountVolumeOptions::default()
                }),
                ..volume
            });
        }
    }
    Ok(mounts)
}

/// `NAME=value` lines where the last entry of a name wins.
fn environment(env: &[(String, String)]) -> Vec<String> {
    let last: HashMap<&str, usize> = env
        .iter()
        .enumerate()
        .map(|(at, (name, _))| (name.as_str(), at))
        .collect();
    env.iter()
        .enumerate()
        .filter(|(at, (name, _))| last[name.as_str()] == *at)
        .map(|(_, (name, value))| format!("{name}={value}"))
        .collect()
}

fn memory(bytes: u64) -> i64 {
    i64::try_from(bytes.max(MIN_MEMORY_BYTES)).unwrap_or(i64::MAX)
}

pub(super) fn cpu_quota(millis: u64) -> i64 {
    let quota = millis.saturating_mul(CPU_PERIOD_US.unsigned_abs()) / 1000;
    i64::try_from(quota)
        .unwrap_or(i64::MAX)
        .max(MIN_CPU_QUOTA_US)
}

/// 1024 shares are one core. <https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/>
fn cpu_shares(millis: u64) -> i64 {
    let shares = (millis.saturating_mul(1024) / 1000).max(MIN_CPU_SHARES);
    i64::try_from(shares).unwrap_or(i64::MAX)
}

fn hostname(wanted: &str) -> String {
    let cut: String = wanted.chars().take(MAX_HOSTNAME).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

fn some_unless_empty(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.to_vec())
}

fn texts(addresses: &[IpAddr]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lab_context::Context;

    use super::*;
    use crate::SandboxConfig;

    fn config() -> DockerConfig {
        DockerConfig {
            socket: "/run/docker.sock".into(),
            cluster: "lab".into(),
            node: "node-1".into(),
            node_container: "lab-node-1".into(),
            network: "lab".into(),
            pod_network: "10.89.2.0/24".parse().unwrap(),
            system_image: "devops-lab/system:1".into(),
            registry_host: "localhost:5001".into(),
            registry_address: None,
            context: Context::system(1.0),
        }
    }

    fn sandbox() -> SandboxIdentity {
        SandboxIdentity {
            id: SandboxId("u1-abcde".into()),
            config: SandboxConfig {
                namespace: "default".into(),
                name: "web-1".into(),
                hostname: "web-1".into(),
                ip: Some("10.89.2.7".parse().unwrap()),
                dns_servers: vec!["10.89.192.10".parse().unwrap()],
                dns_search: vec!["default.svc.cluster.local".into()],
                dns_options: vec!["ndots:5".into()],
                ..SandboxConfig::default()
            },
            boot: "now".into(),
        }
    }

    fn made(config_of_container: &ContainerConfig, holder: Option<&str>) -> ContainerCreateBody {
        container(&config(), &sandbox(), config_of_container, holder).unwrap()
    }

    #[test]
    fn a_pod_gets_no_privileges_and_dies_with_its_node() {
        for body in [
            made(&ContainerConfig::default(), None),
            holder(&config(), &sandbox()),
        ] {
            let host = body.host_config.unwrap();
            assert_eq!(host.pid_mode.as_deref(), Some("container:lab-node-1"));
            assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
            assert_eq!(
                host.security_opt,
                Some(vec!["no-new-privileges".to_owned()])
            );
            assert_eq!(host.pids_limit, Some(PIDS_LIMIT));
            assert_eq!(
                (host.binds, host.port_bindings, host.privileged),
                (None, None, None)
            );
        }
    }

    #[test]
    fn a_single_container_carries_the_pods_address_name_and_dns() {
        let body = made(&ContainerConfig::default(), None);
        let endpoints = body.networking_config.unwrap().endpoints_config.unwrap();
        let address = endpoints["lab"]
            .ipam_config
            .as_ref()
            .unwrap()
            .ipv4_address
            .as_deref();
        assert_eq!(address, Some("10.89.2.7"));
        assert_eq!(body.hostname.as_deref(), Some("web-1"));
        let host = body.host_config.unwrap();
        assert_eq!(host.dns, Some(vec!["10.89.192.10".to_owned()]));
        assert_eq!(host.dns_options, Some(vec!["ndots:5".to_owned()]));
    }

    #[test]
    fn containers_of_a_shared_sandbox_take_all_of_that_from_the_holder() {
        let body = made(&ContainerConfig::default(), Some("holder"));
        assert_eq!((body.networking_config, body.hostname), (None, None));
        let host = body.host_config.unwrap();
        assert_eq!(host.network_mode.as_deref(), Some("container:holder"));
        assert_eq!((host.dns, host.dns_search), (None, None));
    }

    #[track_caller]
    fn check_limits(memory: u64, cpu: u64, request: u64, expected: (i64, i64, i64)) {
        let limits = ContainerConfig {
            memory_limit_bytes: Some(memory),
            cpu_limit_millis: Some(cpu),
            cpu_request_millis: Some(request),
            ..ContainerConfig::default()
        };
        let host = made(&limits, None).host_config.unwrap();
        assert_eq!(host.memory_swap, host.memory, "no swap");
        let found = (
            host.memory.unwrap(),
            host.cpu_quota.unwrap(),
            host.cpu_shares.unwrap(),
        );
        assert_eq!(found, expected);
    }

    #[test]
    fn limits_are_translated_within_what_docker_accepts() {
        check_limits(64 << 20, 500, 250, (64 << 20, 50_000, 256));
        check_limits(1, 1, 0, (6 << 20, 1_000, 2));
        check_limits(u64::MAX, 64_000, 64_000, (i64::MAX, 6_400_000, 65_536));
    }

    #[test]
    fn later_variables_win_and_keep_their_place() {
        let env = [("A", "1"), ("B", "2"), ("A", "3")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(environment(&env), ["B=2", "A=3"]);
    }

    #[test]
    fn long_pod_names_make_shorter_host_names() {
        assert_eq!(hostname(&format!("{}-x", "a".repeat(62))), "a".repeat(62));
        assert_eq!(hostname("web-1"), "web-1");
    }

    #[test]
    fn files_need_a_volume_only_where_the_root_is_read_only() {
        let mount = crate::Mount {
            container_path: "/etc/config".into(),
            files: BTreeMap::from([("key".to_owned(), Vec::new())]),
            shared_name: None,
            read_only: true,
        };
        let mut with_files = ContainerConfig {
            mounts: vec![mount],
            ..ContainerConfig::default()
        };
        assert_eq!(
            made(&with_files, None).host_config.unwrap().mounts,
            Some(Vec::new())
        );
        with_files.read_only_root = true;
        let mounts = made(&with_files, None).host_config.unwrap().mounts.unwrap();
        assert_eq!(mounts[0].target.as_deref(), Some("/etc/config"));
        assert_eq!(mounts[0].source, None);
    }
}
