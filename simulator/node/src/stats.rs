//! From the engine's counters to rates.
//!
//! Nothing is sampled unless somebody asks: a question takes one sample of every running
//! container, and CPU is the difference to the sample of the question before. Whoever asks
//! regularly sets the window that way.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use lab_api::pods::phase;
use lab_api::quantity::{parse_millis, parse_units};
use lab_engine::{
    ContainerId, ContainerState, ContainerStatus, EngineError, SandboxConfig, SandboxStatus,
    SimulatedUsage,
};
use tokio::time::Instant;

use crate::agent::Shared;
use crate::summary::{
    ContainerStats, CpuStats, MemoryStats, NodeStats, PodReference, PodStats, SIMULATED_CPU,
    SIMULATED_LOAD, SIMULATED_MEMORY, Summary,
};

/// The shortest window: CPU time is counted in hundredths of a second, so that this gives a
/// precision of a hundredth of a core. Who asks sooner gets the answer before once more.
const SHORTEST: Duration = Duration::from_secs(1);

/// A container younger than this is measured from its start, when it had used nothing.
const YOUNG: Duration = Duration::from_secs(30);

/// What a simulated container holds in memory where nobody says otherwise.
const SIMULATED_MEMORY_BYTES: u64 = 16 << 20;

/// What a window of the Metrics API is on a real cluster; simulated pods use the same at every
/// moment of theirs.
const SIMULATED_WINDOW_MILLIS: u64 = 15_000;

/// A pod label that differs between the revisions of one workload.
const TEMPLATE_HASHES: [&str; 2] = ["pod-template-hash", "rollouts-pod-template-hash"];

/// The samples of the question before, and what was answered to it.
#[derive(Default)]
pub(crate) struct Windows {
    last: Option<Last>,
}

struct Last {
    at: Instant,
    cpu_nanos: HashMap<ContainerId, u64>,
    summary: Summary,
}

/// Answers what the agent's pods use.
pub(crate) async fn summary(
    shared: &Arc<Shared>,
    namespace: Option<&str>,
) -> Result<Summary, EngineError> {
    if shared.engine.pods_are_simulated() {
        return Ok(simulated(shared, namespace));
    }
    let mut windows = shared.windows.lock().await;
    let fresh = windows
        .last
        .as_ref()
        .is_some_and(|last| last.at.elapsed() < SHORTEST);
    if !fresh {
        windows.last = Some(measure(shared, windows.last.as_ref()).await?);
    }
    let last = windows.last.as_ref().expect("measured, or measured before");
    let mut summary = last.summary.clone();
    summary
        .pods
        .retain(|pod| namespace.is_none_or(|wanted| pod.pod_ref.namespace == wanted));
    Ok(summary)
}

async fn measure(shared: &Shared, before: Option<&Last>) -> Result<Last, EngineError> {
    let sandboxes = shared.engine.list_sandboxes().await?;
    let running: Vec<ContainerId> = sandboxes
        .iter()
        .flat_map(running)
        .map(|(container, _)| container.id.clone())
        .collect();
    let stats = shared.engine.list_stats(&running).await?;
    let (at, now) = (Instant::now(), shared.context.now());
    let moment = Moment { at, now, before };
    // A process engine's or docker engine's agent has exactly one node.
    let node = shared.nodes.keys().next().cloned().unwrap_or_default();
    let pods = sandboxes.iter().filter_map(|sandbox| {
        let containers: Vec<ContainerStats> = running_stats(sandbox, &stats, &moment)?;
        Some(pod_stats(&sandbox.config, &node, containers))
    });
    let pods: Vec<PodStats> = pods.collect();
    let cpu_nanos = stats
        .into_iter()
        .map(|(id, stats)| (id, stats.cpu_nanos))
        .collect();
    let nodes = node_sums(shared, &pods, now);
    Ok(Last {
        at,
        cpu_nanos,
        summary: Summary { nodes, pods },
    })
}

struct Moment<'a> {
    at: Instant,
    now: Timestamp,
    before: Option<&'a Last>,
}

fn running(sandbox: &SandboxStatus) -> impl Iterator<Item = (&ContainerStatus, Timestamp)> {
    sandbox
        .containers
        .iter()
        .filter_map(|container| match container.state {
            ContainerState::Running { started_at } => Some((container, started_at)),
            ContainerState::Created | ContainerState::Exited { .. } => None,
        })
}

/// What the containers of a pod use; `None` while one of them has no window yet, since half a
/// pod would look like an idle one.
fn running_stats(
    sandbox: &SandboxStatus,
    stats: &HashMap<ContainerId, lab_engine::ContainerStats>,
    moment: &Moment<'_>,
) -> Option<Vec<ContainerStats>> {
    let containers: Vec<ContainerStats> = running(sandbox)
        .map(|(container, started_at)| {
            let used = stats.get(&container.id)?;
            let (window, nanos) = window(&container.id, used.cpu_nanos, started_at, moment)?;
            let cpu = CpuStats {
                time: moment.now,
                window_millis: millis(window),
                usage_nano_cores: rate(nanos, window),
            };
            Some(container_stats(&container.name, cpu, used.memory_bytes))
        })
        .collect::<Option<_>>()?;
    (!containers.is_empty()).then_some(containers)
}

/// Over which time a container used how much.
fn window(
    id: &ContainerId,
    cpu_nanos: u64,
    started_at: Timestamp,
    moment: &Moment<'_>,
) -> Option<(Duration, u64)> {
    let before = moment
        .before
        .and_then(|last| Some((last.at, last.cpu_nanos.get(id)?)));
    if let Some((at, earlier)) = before {
        // Children that have ended take their part of the count with them.
        return Some((moment.at - at, cpu_nanos.saturating_sub(*earlier)));
    }
    let age = Duration::try_from(moment.now.duration_since(started_at)).ok()?;
    (SHORTEST..YOUNG).contains(&age).then_some((age, cpu_nanos))
}

fn rate(nanos: u64, window: Duration) -> u64 {
    let per_second = u128::from(nanos) * 1_000_000_000 / window.as_nanos().max(1);
    u64::try_from(per_second).unwrap_or(u64::MAX)
}

fn millis(window: Duration) -> u64 {
    u64::try_from(window.as_millis()).unwrap_or(u64::MAX)
}

fn container_stats(name: &str, cpu: CpuStats, memory_bytes: u64) -> ContainerStats {
    ContainerStats {
        name: name.to_owned(),
        cpu,
        memory: MemoryStats {
            time: cpu.time,
            working_set_bytes: memory_bytes,
        },
    }
}

fn pod_stats(config: &SandboxConfig, node: &str, containers: Vec<ContainerStats>) -> PodStats {
    PodStats {
        pod_ref: PodReference {
            name: config.name.clone(),
            namespace: config.namespace.clone(),
            uid: config.uid.clone(),
        },
        node_name: node.to_owned(),
        containers,
    }
}

fn node_sums(shared: &Shared, pods: &[PodStats], now: Timestamp) -> Vec<NodeStats> {
    let mut sums: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
    for name in shared.nodes.keys() {
        sums.insert(name, (0, 0, SIMULATED_WINDOW_MILLIS));
    }
    for pod in pods {
        let Some(sum) = sums.get_mut(pod.node_name.as_str()) else {
            continue;
        };
        for container in &pod.containers {
            sum.0 = sum.0.saturating_add(container.cpu.usage_nano_cores);
            sum.1 = sum.1.saturating_add(container.memory.working_set_bytes);
            sum.2 = container.cpu.window_millis;
        }
    }
    let node = |(name, (cpu, memory, window)): (&str, (u64, u64, u64))| NodeStats {
        node_name: name.to_owned(),
        cpu: CpuStats {
            time: now,
            window_millis: window,
            usage_nano_cores: cpu,
        },
        memory: MemoryStats {
            time: now,
            working_set_bytes: memory,
        },
    };
    sums.into_iter().map(node).collect()
}

/// Pods that do not really run use what a script or their annotations say, at every moment.
fn simulated(shared: &Shared, namespace: Option<&str>) -> Summary {
    let all = shared.all_pods();
    let running: Vec<&Arc<Pod>> = all.iter().filter(|pod| is_running(pod)).collect();
    let mut groups: HashMap<Group, Load> = HashMap::new();
    for pod in &running {
        let load = groups.entry(Group::of(pod)).or_default();
        load.sharers += 1;
        load.cpu_millis = load
            .cpu_millis
            .max(annotation(pod, SIMULATED_LOAD, parse_millis));
    }
    let now = shared.context.now();
    let pods: Vec<PodStats> = running
        .into_iter()
        .filter(|pod| namespace.is_none_or(|wanted| pod.namespace().as_deref() == Some(wanted)))
        .map(|pod| simulated_pod(shared, pod, groups[&Group::of(pod)], now))
        .collect();
    let nodes = node_sums(shared, &pods, now);
    Summary { nodes, pods }
}

fn is_running(pod: &Pod) -> bool {
    phase(pod) == "Running" && pod.metadata.deletion_timestamp.is_none()
}

/// Pods that carry the same labels belong to one workload and share its load.
#[derive(PartialEq, Eq, Hash)]
struct Group {
    namespace: String,
    labels: Vec<(String, String)>,
}

impl Group {
    fn of(pod: &Pod) -> Self {
        let labels = pod.metadata.labels.iter().flatten();
        let labels = labels.filter(|(key, _)| !TEMPLATE_HASHES.contains(&key.as_str()));
        Self {
            namespace: pod.namespace().unwrap_or_default(),
            labels: labels.map(|(k, v)| (k.clone(), v.clone())).collect(),
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Load {
    sharers: usize,
    cpu_millis: u64,
}

fn simulated_pod(shared: &Shared, pod: &Pod, load: Load, now: Timestamp) -> PodStats {
    let config = SandboxConfig {
        namespace: pod.namespace().unwrap_or_default(),
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        ..SandboxConfig::default()
    };
    let spec = pod.spec.as_ref();
    let containers = spec.map_or(&[][..], |spec| &spec.containers);
    let annotated = annotated(pod, load, containers.len());
    let containers = containers.iter().map(|container| {
        let used = shared
            .engine
            .simulated_usage(&config, &container.name, load.sharers)
            .unwrap_or(annotated);
        let cpu = CpuStats {
            time: now,
            window_millis: SIMULATED_WINDOW_MILLIS,
            usage_nano_cores: used.cpu_millis.saturating_mul(1_000_000),
        };
        container_stats(&container.name, cpu, used.memory_bytes)
    });
    let node = spec.and_then(|spec| spec.node_name.as_deref());
    let containers = containers.collect();
    pod_stats(&config, node.unwrap_or_default(), containers)
}

fn annotated(pod: &Pod, load: Load, containers: usize) -> SimulatedUsage {
    let parts = u64::try_from(load.sharers.saturating_mul(containers).max(1)).unwrap_or(u64::MAX);
    let memory = annotation(pod, SIMULATED_MEMORY, parse_units);
    SimulatedUsage {
        cpu_millis: annotation(pod, SIMULATED_CPU, parse_millis) + load.cpu_millis / parts,
        memory_bytes: if memory == 0 {
            SIMULATED_MEMORY_BYTES
        } else {
            memory
        },
    }
}

/// A quantity in an annotation; 0 where there is none or it cannot be read.
fn annotation<E>(pod: &Pod, key: &str, parse: impl Fn(&str) -> Result<i128, E>) -> u64 {
    let text = pod.annotations().get(key);
    text.and_then(|text| parse(text).ok())
        .map_or(0, |value| u64::try_from(value.max(0)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab_engine::SandboxId;

    fn sandbox(started_at: Timestamp) -> SandboxStatus {
        SandboxStatus {
            id: SandboxId("s".into()),
            config: SandboxConfig {
                name: "web".into(),
                ..SandboxConfig::default()
            },
            ip: [127, 0, 0, 1].into(),
            alive: true,
            containers: vec![ContainerStatus {
                id: ContainerId("c".into()),
                name: "app".into(),
                attempt: 0,
                image: String::new(),
                image_id: String::new(),
                state: ContainerState::Running { started_at },
            }],
        }
    }

    fn used(cpu_millis: u64) -> HashMap<ContainerId, lab_engine::ContainerStats> {
        let stats = lab_engine::ContainerStats {
            cpu_nanos: cpu_millis * 1_000_000,
            memory_bytes: 7,
        };
        HashMap::from([(ContainerId("c".into()), stats)])
    }

    fn cpu(stats: Option<Vec<ContainerStats>>) -> Option<(u64, u64)> {
        let cpu = stats?.first()?.cpu;
        Some((cpu.window_millis, cpu.usage_nano_cores))
    }

    #[tokio::test(start_paused = true)]
    async fn cpu_is_the_rate_between_two_questions() {
        let start = Timestamp::UNIX_EPOCH;
        let last = Last {
            at: Instant::now(),
            cpu_nanos: HashMap::from([(ContainerId("c".into()), 2_000_000_000)]),
            summary: Summary::default(),
        };
        tokio::time::advance(Duration::from_secs(15)).await;
        let at = |second, before| Moment {
            at: Instant::now(),
            now: start + Duration::from_secs(second),
            before,
        };
        let of = |millis, moment: &Moment<'_>| {
            cpu(running_stats(&sandbox(start), &used(millis), moment))
        };
        assert_eq!(
            of(5_000, &at(100, Some(&last))),
            Some((15_000, 200_000_000))
        );
        // Less than before: a child has ended.
        assert_eq!(of(1_000, &at(100, Some(&last))), Some((15_000, 0)));
        // Never seen before, but young: from its start.
        assert_eq!(of(5_000, &at(10, None)), Some((10_000, 500_000_000)));
        // Never seen before and old, or too young to tell.
        assert_eq!(of(5_000, &at(100, None)), None);
        assert_eq!(of(5_000, &at(0, None)), None);
    }

    #[test]
    fn a_load_is_shared_and_a_share_is_added() {
        let pod: Pod = serde_json::from_value(serde_json::json!({"metadata": {"annotations": {
            SIMULATED_CPU: "20m", SIMULATED_MEMORY: "1Gi", SIMULATED_LOAD: "900m"}}}))
        .unwrap();
        let load = Load {
            sharers: 3,
            cpu_millis: 900,
        };
        let expected = SimulatedUsage {
            cpu_millis: 320,
            memory_bytes: 1 << 30,
        };
        assert_eq!(annotated(&pod, load, 1), expected);
    }
}
