//! The Node object and its lease.
//!
//! <https://kubernetes.io/docs/concepts/architecture/nodes/>

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{
    DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeStatus,
    NodeSystemInfo, ObjectReference,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use lab_api::names;
use serde_json::json;
use tokio::time::Instant;

use crate::agent::Shared;
use crate::config::NodeSpec;

/// How often a lease is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// How long a lease lasts, in seconds; what the lease itself says.
const LEASE_SECONDS: i32 = 40;
/// Pause after a failed registration.
const RETRY: Duration = Duration::from_millis(200);
/// Registrations, or renewals, under way at once.
const CONCURRENT: usize = 16;

/// Registers the nodes, then renews their leases until the stop signal.
pub(crate) async fn run(shared: Arc<Shared>, port: Option<u16>) {
    use futures::StreamExt;
    let nodes = shared.config.nodes.clone();
    let register = futures::stream::iter(&nodes)
        .for_each_concurrent(CONCURRENT, |node| register(&shared, node, port));
    tokio::select! {
        () = register => {}
        () = shared.stop.cancelled() => return,
    }
    tokio::select! {
        () = renew_all(&shared, port) => {}
        () = shared.stop.cancelled() => {}
    }
}

/// Renews the leases for ever. With many nodes the renewals are spread over the interval; and as
/// an API that is busy takes its time, several are under way at once, or the last nodes of a
/// thousand would be taken for dead while the first are renewed.
async fn renew_all(shared: &Shared, port: Option<u16>) {
    use futures::StreamExt;
    let nodes = &shared.config.nodes;
    let every = shared.context.scale(RENEW_EVERY);
    let gap = every / u32::try_from(nodes.len().max(1)).unwrap_or(u32::MAX);
    loop {
        let mut due = Instant::now();
        let turns = nodes.iter().map(|node| {
            due += gap;
            (node, due)
        });
        futures::stream::iter(turns)
            .for_each_concurrent(CONCURRENT, async |(node, due)| {
                tokio::time::sleep_until(due).await;
                if shared.faults.is_cut_off(&node.name) {
                    return;
                }
                if let Err(error) = heartbeat(shared, node, port).await {
                    tracing::debug!(node = node.name, %error, "heartbeat not written");
                }
            })
            .await;
    }
}

async fn register(shared: &Shared, node: &NodeSpec, port: Option<u16>) {
    if !shared.engine.pods_are_simulated() {
        note(shared, node, "Starting", "Starting kubelet.");
    }
    while let Err(error) = try_register(shared, node, port).await {
        tracing::debug!(node = node.name, %error, "registration will be tried again");
        tokio::time::sleep(RETRY).await;
    }
}

async fn try_register(
    shared: &Shared,
    node: &NodeSpec,
    port: Option<u16>,
) -> Result<(), kube::Error> {
    renew(shared, node).await?;
    let api: Api<Node> = Api::all(shared.client.clone());
    match api
        .create(&PostParams::default(), &node_object(shared, node, port))
        .await
    {
        Ok(_) => {
            note_ready(shared, node);
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let labels = json!({"metadata": {"labels": labels(node)}});
            let known = api
                .patch(&node.name, &PatchParams::default(), &Patch::Merge(labels))
                .await?;
            post_status(shared, node, port).await?;
            if !is_ready(&known) {
                note_ready(shared, node);
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

async fn heartbeat(shared: &Shared, node: &NodeSpec, port: Option<u16>) -> Result<(), kube::Error> {
    renew(shared, node).await?;
    let api: Api<Node> = Api::all(shared.client.clone());
    match api.get_opt(&node.name).await? {
        // Somebody declared us dead while we were away, or the object is new.
        Some(known) if !is_ready(&known) => {
            post_status(shared, node, port).await?;
            note_ready(shared, node);
            Ok(())
        }
        // Somebody deleted it, but this machine still runs.
        None => try_register(shared, node, port).await,
        Some(_) => Ok(()),
    }
}

fn note_ready(shared: &Shared, node: &NodeSpec) {
    let message = format!("Node {} status is now: NodeReady", node.name);
    note(shared, node, "NodeReady", message);
}

/// An event of the node. Its uid is the node's name, as a kubelet has it: it speaks before it
/// knows that of the object.
fn note(shared: &Shared, node: &NodeSpec, reason: &'static str, message: impl Into<String>) {
    let reference = ObjectReference {
        kind: Some("Node".to_owned()),
        name: Some(node.name.clone()),
        uid: Some(node.name.clone()),
        ..ObjectReference::default()
    };
    let events = shared.events.on_host(&node.name);
    events.normal(&reference, reason, message);
}

fn is_ready(node: &Node) -> bool {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    conditions
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

async fn post_status(
    shared: &Shared,
    node: &NodeSpec,
    port: Option<u16>,
) -> Result<(), kube::Error> {
    let api: Api<Node> = Api::all(shared.client.clone());
    let status = json!({"status": node_status(shared, node, port)});
    api.patch_status(&node.name, &PatchParams::default(), &Patch::Merge(status))
        .await
        .map(drop)
}

async fn renew(shared: &Shared, node: &NodeSpec) -> Result<(), kube::Error> {
    let api = leases(&shared.client);
    let spec = LeaseSpec {
        holder_identity: Some(node.name.clone()),
        lease_duration_seconds: Some(LEASE_SECONDS),
        renew_time: Some(MicroTime(shared.context.now())),
        ..LeaseSpec::default()
    };
    match api
        .patch(
            &node.name,
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": &spec})),
        )
        .await
    {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            let metadata = ObjectMeta {
                name: Some(node.name.clone()),
                ..ObjectMeta::default()
            };
            api.create(
                &PostParams::default(),
                &Lease {
                    metadata,
                    spec: Some(spec),
                },
            )
            .await
            .map(drop)
        }
        other => other.map(drop),
    }
}

fn leases(client: &Client) -> Api<Lease> {
    Api::namespaced(client.clone(), names::NODE_LEASE_NAMESPACE)
}

fn labels(node: &NodeSpec) -> BTreeMap<String, String> {
    let own = [
        (names::HOSTNAME, node.name.as_str()),
        (names::OS, "linux"),
        (names::ARCH, architecture()),
    ];
    let own = own
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    own.chain(node.labels.clone()).collect()
}

/// The architecture as Kubernetes and OCI spell it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn node_object(shared: &Shared, node: &NodeSpec, port: Option<u16>) -> Node {
    Node {
        metadata: ObjectMeta {
            name: Some(node.name.clone()),
            labels: Some(labels(node)),
            ..ObjectMeta::default()
        },
        spec: Some(k8s_openapi::api::core::v1::NodeSpec {
            pod_cidr: Some(node.pod_cidr.clone()),
            pod_cidrs: Some(vec![node.pod_cidr.clone()]),
            ..Default::default()
        }),
        status: Some(node_status(shared, node, port)),
    }
}

fn node_status(shared: &Shared, node: &NodeSpec, port: Option<u16>) -> NodeStatus {
    let capacity: BTreeMap<_, _> = [
        ("cpu", cpu_text(node.cpu_millis)),
        ("memory", format!("{}Ki", node.memory_bytes / 1024)),
        ("pods", node.pods.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), Quantity(value)))
    .collect();
    let address = |type_: &str, address: String| NodeAddress {
        type_: type_.to_owned(),
        address,
    };
    NodeStatus {
        allocatable: Some(capacity.clone()),
        capacity: Some(capacity),
        addresses: Some(vec![
            address("InternalIP", node.ip.to_string()),
            address("Hostname", node.name.clone()),
        ]),
        conditions: Some(conditions(shared)),
        daemon_endpoints: port.map(|port| NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint {
                port: i32::from(port),
            }),
        }),
        node_info: Some(system_info(shared, node)),
        ..NodeStatus::default()
    }
}

fn cpu_text(millis: u64) -> String {
    if millis.is_multiple_of(1000) {
        (millis / 1000).to_string()
    } else {
        format!("{millis}m")
    }
}

fn conditions(shared: &Shared) -> Vec<NodeCondition> {
    let now = Time(shared.context.now());
    let table = [
        (
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
        (
            "DiskPressure",
            "False",
            "KubeletHasNoDiskPressure",
            "kubelet has no disk pressure",
        ),
        (
            "PIDPressure",
            "False",
            "KubeletHasSufficientPID",
            "kubelet has sufficient PID available",
        ),
        (
            "Ready",
            "True",
            "KubeletReady",
            "kubelet is posting ready status",
        ),
    ];
    let condition = |(type_, status, reason, message): (&str, &str, &str, &str)| NodeCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: Some(now.clone()),
        last_transition_time: Some(now.clone()),
    };
    table.into_iter().map(condition).collect()
}

fn system_info(shared: &Shared, node: &NodeSpec) -> NodeSystemInfo {
    NodeSystemInfo {
        architecture: architecture().to_owned(),
        operating_system: "linux".to_owned(),
        os_image: "devops-lab".to_owned(),
        kernel_version: kernel_version(),
        kubelet_version: shared.config.version.clone(),
        container_runtime_version: shared.engine.runtime_version(),
        machine_id: node.name.clone(),
        system_uuid: node.name.clone(),
        ..NodeSystemInfo::default()
    }
}

fn kernel_version() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map(|text| text.trim().to_owned())
        .unwrap_or_else(|_| "unknown".to_owned())
}
