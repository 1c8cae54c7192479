//! What to say of a pod: a pure translation of what the engine shows into `PodStatus`.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/>

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState as ApiState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus as ApiStatus, HostIP, Pod, PodCondition, PodIP, PodSpec,
    PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lab_api::conditions::status_text;
use lab_engine::{ContainerId, ContainerState, ContainerStatus, SandboxStatus};

use crate::config::NodeSpec;
use crate::plan::{is_sidecar, latest, previous, settled};

/// Everything that the status is made from.
pub(crate) struct Observed<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) node: &'a NodeSpec,
    pub(crate) sandbox: Option<&'a SandboxStatus>,
    /// Why a container waits (`ErrImagePull`, `CrashLoopBackOff` …), by container name.
    pub(crate) waiting: &'a HashMap<String, Waiting>,
    /// Runs that ended with an earlier sandbox, by container name.
    pub(crate) lost: &'a HashMap<String, ContainerStateTerminated>,
    /// Runs begun in earlier sandboxes, by container name.
    pub(crate) earlier_runs: &'a HashMap<String, u32>,
    pub(crate) verdict: &'a (dyn Fn(&str, &ContainerId) -> (bool, bool) + Sync),
    pub(crate) runtime: &'a str,
    pub(crate) now: Timestamp,
}

/// Why a container does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// The status of the pod as observed.
pub(crate) fn pod_status(observed: &Observed<'_>) -> PodStatus {
    let empty = PodSpec::default();
    let spec = observed.pod.spec.as_ref().unwrap_or(&empty);
    let before = observed.pod.status.clone().unwrap_or_default();
    let init_containers = spec.init_containers.as_deref().unwrap_or_default();
    let init: Vec<_> = init_containers
        .iter()
        .map(|container| observed.container(container, true))
        .collect();
    let main: Vec<_> = spec
        .containers
        .iter()
        .map(|container| observed.container(container, false))
        .collect();
    let phase = observed.phase(spec, &init, &main);
    let initialized = is_initialized(init_containers, &init);
    let finished = matches!(phase, "Succeeded" | "Failed");
    let containers_ready = !finished && initialized && main.iter().all(|container| container.ready);
    let gates_open = spec.readiness_gates.iter().flatten().all(|gate| {
        let conditions = before.conditions.as_deref().unwrap_or_default();
        conditions
            .iter()
            .any(|condition| condition.type_ == gate.condition_type && condition.status == "True")
    });
    let ip = observed
        .sandbox
        .map(|sandbox| sandbox.ip.to_string())
        .or_else(|| before.pod_ip.clone());
    let unready = || {
        if finished {
            ("PodCompleted", String::new())
        } else {
            ("ContainersNotReady", unready_message(&main))
        }
    };
    let ready = containers_ready && gates_open;
    let conditions = Conditions {
        before: before.conditions.unwrap_or_default(),
        now: observed.now,
    }
    .set(
        "PodReadyToStartContainers",
        observed.sandbox.is_some_and(|sandbox| sandbox.alive),
        None,
    )
    .set(
        "Initialized",
        initialized,
        (!initialized).then(|| ("ContainersNotInitialized", incomplete_message(&init))),
    )
    .set(
        "Ready",
        ready,
        (!ready).then(|| {
            if containers_ready {
                (
                    "ReadinessGatesNotReady",
                    "corresponding condition is not true".to_owned(),
                )
            } else {
                unready()
            }
        }),
    )
    .set(
        "ContainersReady",
        containers_ready,
        (!containers_ready).then(unready),
    )
    .set("PodScheduled", true, None)
    .before;
    PodStatus {
        phase: Some(phase.to_owned()),
        conditions: Some(conditions),
        host_ip: Some(observed.node.ip.to_string()),
        host_ips: Some(vec![HostIP {
            ip: observed.node.ip.to_string(),
        }]),
        pod_ips: ip.clone().map(|ip| vec![PodIP { ip }]),
        pod_ip: ip,
        start_time: before.start_time.or(Some(Time(observed.now))),
        init_container_statuses: (!init.is_empty()).then_some(init),
        container_statuses: Some(main),
        qos_class: before.qos_class,
        observed_generation: observed.pod.metadata.generation,
        ..PodStatus::default()
    }
}

impl Observed<'_> {
    fn container(&self, container: &Container, init: bool) -> ApiStatus {
        let name = &container.name;
        let run = latest(self.sandbox, name);
        let earlier = self.earlier_runs.get(name).copied().unwrap_or(0);
        let (started, ready) = run.map_or((false, false), |run| self.judge(run, container, init));
        let (state, last_state) = self.states(container, run);
        ApiStatus {
            name: name.clone(),
            image: container.image.clone().unwrap_or_default(),
            image_id: run.map(|run| run.image_id.clone()).unwrap_or_default(),
            container_id: run.map(|run| self.container_id(&run.id)),
            restart_count: i32::try_from(run.map_or(earlier, |run| run.attempt))
                .unwrap_or(i32::MAX),
            ready,
            started: Some(started),
            state: Some(state),
            last_state,
            ..ApiStatus::default()
        }
    }

    /// Whether this run counts as started, and as ready.
    fn judge(&self, run: &ContainerStatus, container: &Container, init: bool) -> (bool, bool) {
        match run.state {
            ContainerState::Created => (false, false),
            ContainerState::Running { .. } => {
                let (started, ready) = (self.verdict)(&container.name, &run.id);
                (
                    started,
                    started && ready && (!init || is_sidecar(container)),
                )
            }
            // An init container that ended well stays "ready", as the kubelet reports it.
            ContainerState::Exited { exit_code, .. } => (false, init && exit_code == 0),
        }
    }

    fn states(
        &self,
        container: &Container,
        run: Option<&ContainerStatus>,
    ) -> (ApiState, Option<ApiState>) {
        let lost = self
            .lost
            .get(&container.name)
            .cloned()
            .map(terminated_state);
        let earlier = previous(self.sandbox, &container.name).and_then(|run| self.terminated(run));
        let last = earlier.map(terminated_state).or(lost);
        let waiting = self.waiting.get(&container.name);
        match (run.map(|run| (run, &run.state)), waiting) {
            (Some((_, ContainerState::Running { started_at })), _) => {
                let running = ContainerStateRunning {
                    started_at: Some(Time(*started_at)),
                };
                (
                    ApiState {
                        running: Some(running),
                        ..ApiState::default()
                    },
                    last,
                )
            }
            // While the next start is held back, the run that ended moves to `lastState`.
            (Some((ended, ContainerState::Exited { .. })), Some(waiting)) => (
                waiting_state(waiting.reason, &waiting.message),
                self.terminated(ended).map(terminated_state),
            ),
            (Some((ended, ContainerState::Exited { .. })), None) => (
                self.terminated(ended)
                    .map(terminated_state)
                    .unwrap_or_default(),
                last,
            ),
            (_, Some(waiting)) => (waiting_state(waiting.reason, &waiting.message), last),
            (_, None) => (waiting_state(self.default_waiting(container), ""), last),
        }
    }

    fn default_waiting(&self, container: &Container) -> &'static str {
        let spec = self.pod.spec.as_ref();
        let init = spec
            .and_then(|spec| spec.init_containers.as_deref())
            .unwrap_or_default();
        let is_init = init.iter().any(|c| c.name == container.name);
        if init.is_empty() && !is_init {
            "ContainerCreating"
        } else {
            "PodInitializing"
        }
    }

    fn terminated(&self, run: &ContainerStatus) -> Option<ContainerStateTerminated> {
        terminated(run, self.runtime)
    }

    fn container_id(&self, id: &ContainerId) -> String {
        container_id(self.runtime, id)
    }

    fn phase(&self, spec: &PodSpec, init: &[ApiStatus], main: &[ApiStatus]) -> &'static str {
        if let Some(phase) = settled(spec, self.sandbox) {
            return phase;
        }
        let has_run = |container: &ApiStatus| {
            let state = container.state.as_ref();
            state.is_some_and(|s| s.running.is_some() || s.terminated.is_some())
                || container.last_state.is_some()
        };
        let initialized = is_initialized(spec.init_containers.as_deref().unwrap_or_default(), init);
        if initialized && !main.is_empty() && main.iter().all(has_run) {
            "Running"
        } else {
            "Pending"
        }
    }
}

/// `docker://…` from `docker://20.10` and an id.
fn container_id(runtime: &str, id: &ContainerId) -> String {
    let scheme = runtime.split("://").next().unwrap_or(runtime);
    format!("{scheme}://{}", id.0)
}

/// A run that ended, in the API's words; `None` while it has not.
pub(crate) fn terminated(run: &ContainerStatus, runtime: &str) -> Option<ContainerStateTerminated> {
    let ContainerState::Exited {
        started_at,
        finished_at,
        exit_code,
        oom_killed,
    } = run.state
    else {
        return None;
    };
    let reason = match (oom_killed, exit_code) {
        (true, _) => "OOMKilled",
        (false, 0) => "Completed",
        (false, _) => "Error",
    };
    Some(ContainerStateTerminated {
        container_id: Some(container_id(runtime, &run.id)),
        exit_code,
        reason: Some(reason.to_owned()),
        started_at: started_at.map(Time),
        finished_at: Some(Time(finished_at)),
        ..ContainerStateTerminated::default()
    })
}

fn terminated_state(terminated: ContainerStateTerminated) -> ApiState {
    ApiState {
        terminated: Some(terminated),
        ..ApiState::default()
    }
}

fn waiting_state(reason: &str, message: &str) -> ApiState {
    let message = (!message.is_empty()).then(|| message.to_owned());
    let waiting = ContainerStateWaiting {
        reason: Some(reason.to_owned()),
        message,
    };
    ApiState {
        waiting: Some(waiting),
        ..ApiState::default()
    }
}

fn is_initialized(containers: &[Container], statuses: &[ApiStatus]) -> bool {
    containers.iter().zip(statuses).all(|(container, status)| {
        if is_sidecar(container) {
            status.started == Some(true)
        } else {
            status.ready
        }
    })
}

fn unready_message(containers: &[ApiStatus]) -> String {
    let names = names(containers, |container| !container.ready);
    format!("containers with unready status: [{names}]")
}

fn incomplete_message(containers: &[ApiStatus]) -> String {
    let names = names(containers, |container| !container.ready);
    format!("containers with incomplete status: [{names}]")
}

fn names(containers: &[ApiStatus], which: impl Fn(&ApiStatus) -> bool) -> String {
    let names: Vec<_> = containers
        .iter()
        .filter(|c| which(c))
        .map(|c| c.name.as_str())
        .collect();
    names.join(" ")
}

struct Conditions {
    before: Vec<PodCondition>,
    now: Timestamp,
}

impl Conditions {
    fn set(mut self, type_: &str, holds: bool, because: Option<(&str, String)>) -> Self {
        let (reason, message) = because.map_or((None, None), |(reason, message)| {
            (
                Some(reason.to_owned()),
                (!message.is_empty()).then_some(message),
            )
        });
        let status = status_text(holds).to_owned();
        let known = self
            .before
            .iter()
            .position(|condition| condition.type_ == type_);
        let kept = known
            .map(|at| &self.before[at])
            .filter(|condition| condition.status == status)
            .and_then(|condition| condition.last_transition_time.clone());
        let condition = PodCondition {
            type_: type_.to_owned(),
            status,
            reason,
            message,
            last_transition_time: kept.or(Some(Time(self.now))),
            ..PodCondition::default()
        };
        match known {
            Some(at) => self.before[at] = condition,
            None => self.before.push(condition),
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab_engine::{SandboxConfig, SandboxId};
    use serde_json::{Value, json};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn sandbox(runs: &[(&str, u32, ContainerState)]) -> SandboxStatus {
        let containers = runs.iter().map(|(name, attempt, state)| ContainerStatus {
            id: ContainerId(format!("{name}-{attempt}")),
            name: (*name).to_owned(),
            attempt: *attempt,
            image: "app:1".into(),
            image_id: "sha256:1".into(),
            state: state.clone(),
        });
        SandboxStatus {
            id: SandboxId("s".into()),
            config: SandboxConfig::default(),
            ip: [127, 9, 1, 2].into(),
            alive: true,
            containers: containers.collect(),
        }
    }

    fn status(
        runs: &[(&str, u32, ContainerState)],
        waiting: &[(&str, &'static str)],
        ready: bool,
    ) -> Value {
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": {
            "restartPolicy": "Always", "containers": [{"name": "app", "image": "app:1"}]}}))
        .unwrap();
        let node = NodeSpec {
            name: "node-1".into(),
            ip: [127, 9, 1, 1].into(),
            pod_cidr: String::new(),
            labels: Default::default(),
            cpu_millis: 1000,
            memory_bytes: 1 << 30,
            pods: 10,
        };
        let waiting = waiting
            .iter()
            .map(|(name, reason)| {
                (
                    (*name).to_owned(),
                    Waiting {
                        reason,
                        message: String::new(),
                    },
                )
            })
            .collect();
        let sandbox = sandbox(runs);
        let observed = Observed {
            pod: &pod,
            node: &node,
            sandbox: Some(&sandbox),
            waiting: &waiting,
            lost: &HashMap::new(),
            earlier_runs: &HashMap::new(),
            verdict: &|_, _| (true, ready),
            runtime: "process://1",
            now: at(50),
        };
        serde_json::to_value(pod_status(&observed)).unwrap()
    }

    fn condition<'a>(status: &'a Value, type_: &str) -> &'a Value {
        let conditions = status["conditions"].as_array().unwrap();
        conditions
            .iter()
            .find(|condition| condition["type"] == type_)
            .unwrap()
    }

    #[test]
    fn a_running_ready_container_makes_a_ready_pod() {
        let status = status(
            &[("app", 0, ContainerState::Running { started_at: at(9) })],
            &[],
            true,
        );
        assert_eq!(status["phase"], "Running");
        assert_eq!(status["podIP"], "127.9.1.2");
        assert_eq!(condition(&status, "Ready")["status"], "True");
        assert_eq!(status["containerStatuses"][0]["ready"], true);
        assert_eq!(
            status["containerStatuses"][0]["containerID"],
            "process://app-0"
        );
    }

    #[test]
    fn a_failing_readiness_probe_names_the_container() {
        let status = status(
            &[("app", 0, ContainerState::Running { started_at: at(9) })],
            &[],
            false,
        );
        assert_eq!(status["phase"], "Running");
        assert_eq!(condition(&status, "Ready")["status"], "False");
        assert_eq!(
            condition(&status, "Ready")["message"],
            "containers with unready status: [app]"
        );
    }

    #[test]
    fn a_container_held_back_shows_its_last_end() {
        let ended = |code| ContainerState::Exited {
            started_at: Some(at(1)),
            finished_at: at(2),
            exit_code: code,
            oom_killed: false,
        };
        let status = status(
            &[("app", 2, ended(3))],
            &[("app", "CrashLoopBackOff")],
            false,
        );
        let container = &status["containerStatuses"][0];
        assert_eq!(container["state"]["waiting"]["reason"], "CrashLoopBackOff");
        assert_eq!(container["lastState"]["terminated"]["exitCode"], 3);
        assert_eq!(container["restartCount"], 2);
        assert_eq!(status["phase"], "Running");
    }

    #[test]
    fn a_pod_whose_image_cannot_be_pulled_stays_pending() {
        let status = status(&[], &[("app", "ErrImagePull")], false);
        assert_eq!(status["phase"], "Pending");
        assert_eq!(
            status["containerStatuses"][0]["state"]["waiting"]["reason"],
            "ErrImagePull"
        );
    }

    #[test]
    fn memory_exhaustion_is_called_by_its_name() {
        let killed = ContainerState::Exited {
            started_at: Some(at(1)),
            finished_at: at(2),
            exit_code: 137,
            oom_killed: true,
        };
        let status = status(&[("app", 0, killed)], &[], false);
        assert_eq!(
            status["containerStatuses"][0]["state"]["terminated"]["reason"],
            "OOMKilled"
        );
    }
}
