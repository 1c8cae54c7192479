//! What to do next for a pod: a pure decision from its spec, what the engine shows, and what
//! the probes found.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use lab_engine::{ContainerState, ContainerStatus, SandboxStatus};

/// First pause before a container that ended at once a second time is started again.
pub(crate) const BACKOFF_START: Duration = Duration::from_secs(10);
/// Longest such pause.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// A container that ran this long starts without a pause after its end.
pub(crate) const BACKOFF_RESET: Duration = Duration::from_secs(600);

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make the sandbox, after removing a dead one.
    CreateSandbox,
    /// Pull the image, create and start the container.
    Start(Which),
    /// A probe failed for good: stop this container.
    Kill(Which, &'static str),
}

/// A container of the pod's spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Which {
    /// True for an init container.
    pub(crate) init: bool,
    /// Index within its list.
    pub(crate) index: usize,
}

impl Which {
    /// The container meant.
    pub(crate) fn of(self, spec: &PodSpec) -> Option<&Container> {
        if self.init {
            spec.init_containers.as_ref()?.get(self.index)
        } else {
            spec.containers.get(self.index)
        }
    }
}

/// What the planner must know beyond the spec and the engine's view.
pub(crate) trait Known {
    /// True where the container was started and its startup probe, if any, has succeeded.
    fn started(&self, container: &str) -> bool;
    /// Which probe (`Liveness`, `Startup`) has failed for good, if any.
    fn doomed(&self, container: &str) -> Option<&'static str>;
    /// Failed runs in a row of this container, so far.
    fn failures(&self, container: &str) -> u32;
    /// When a failed pull or creation may be tried again.
    fn retry_at(&self, container: &str) -> Option<Timestamp>;
    /// Shortens a wait of the cluster's own by its speed.
    fn scale(&self, wait: Duration) -> Duration;
}

/// The plan for one pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// What to do now, in order.
    pub(crate) steps: Vec<Step>,
    /// When to look again though nothing happened.
    pub(crate) wake_at: Option<Timestamp>,
}

/// The latest run of a container.
pub(crate) fn latest<'a>(
    sandbox: Option<&'a SandboxStatus>,
    name: &str,
) -> Option<&'a ContainerStatus> {
    sandbox?
        .containers
        .iter()
        .filter(|container| container.name == name)
        .max_by_key(|container| container.attempt)
}

/// The run before the latest.
pub(crate) fn previous<'a>(
    sandbox: Option<&'a SandboxStatus>,
    name: &str,
) -> Option<&'a ContainerStatus> {
    let newest = latest(sandbox, name)?.attempt;
    let earlier = sandbox?
        .containers
        .iter()
        .filter(|c| c.name == name && c.attempt < newest);
    earlier.max_by_key(|container| container.attempt)
}

/// Decides the next steps for a pod that is not being deleted.
pub(crate) fn plan(
    pod: &Pod,
    sandbox: Option<&SandboxStatus>,
    known: &dyn Known,
    now: Timestamp,
) -> Plan {
    let Some(spec) = &pod.spec else {
        return Plan::default();
    };
    let mut planner = Planner {
        spec,
        sandbox,
        known,
        now,
        plan: Plan::default(),
    };
    if let Some(phase) = settled(spec, sandbox) {
        tracing::trace!(phase, "nothing left to do");
        return planner.plan;
    }
    if sandbox.is_none_or(|sandbox| !sandbox.alive) {
        planner.plan.steps.push(Step::CreateSandbox);
        planner.sandbox = None;
    }
    if planner.init_containers() {
        for index in 0..spec.containers.len() {
            planner.main_container(Which { init: false, index });
        }
    }
    planner.plan
}

/// The final phase, where every container ran to an end that its restart policy accepts.
pub(crate) fn settled(spec: &PodSpec, sandbox: Option<&SandboxStatus>) -> Option<&'static str> {
    let policy = spec.restart_policy.as_deref().unwrap_or("Always");
    let failed_init = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|c| !is_sidecar(c))
        .any(|container| {
            policy == "Never" && exit_code(sandbox, &container.name).is_some_and(|code| code != 0)
        });
    if failed_init {
        return Some("Failed");
    }
    let codes: Option<Vec<i32>> = spec
        .containers
        .iter()
        .map(|container| exit_code(sandbox, &container.name))
        .collect();
    let codes = codes.filter(|codes| !codes.is_empty())?;
    let all_well = codes.iter().all(|code| *code == 0);
    match policy {
        "Never" => Some(if all_well { "Succeeded" } else { "Failed" }),
        "OnFailure" if all_well => Some("Succeeded"),
        _ => None,
    }
}

/// True for an init container that keeps running beside the others.
/// <https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/>
pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn exit_code(sandbox: Option<&SandboxStatus>, name: &str) -> Option<i32> {
    match latest(sandbox, name)?.state {
        ContainerState::Exited { exit_code, .. } => Some(exit_code),
        ContainerState::Created | ContainerState::Running { .. } => None,
    }
}

/// The pause before the next start, after `failures` runs in a row that ended early.
pub(crate) fn backoff(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => BACKOFF_START
            .saturating_mul(1 << (more - 2).min(10))
            .min(BACKOFF_MAX),
    }
}

struct Planner<'a> {
    spec: &'a PodSpec,
    sandbox: Option<&'a SandboxStatus>,
    known: &'a dyn Known,
    now: Timestamp,
    plan: Plan,
}

impl Planner<'_> {
    /// Plans the init containers; true when the others may run.
    fn init_containers(&mut self) -> bool {
        let containers = self.spec.init_containers.as_deref().unwrap_or_default();
        // Once a main container ran in this sandbox, initialisation is over.
        let initialised = self
            .spec
            .containers
            .iter()
            .any(|c| latest(self.sandbox, &c.name).is_some());
        for (index, container) in containers.iter().enumerate() {
            let which = Which { init: true, index };
            if is_sidecar(container) {
                self.main_container(which);
                if !initialised && !self.known.started(&container.name) {
                    return false;
                }
            } else if !initialised && !self.init_container(which, container) {
                return false;
            }
        }
        true
    }

    /// Plans one ordinary init container; true when it is done.
    fn init_container(&mut self, which: Which, container: &Container) -> bool {
        match latest(self.sandbox, &container.name).map(|status| &status.state) {
            None => self.start(which, &container.name, None),
            Some(ContainerState::Created | ContainerState::Running { .. }) => {}
            Some(ContainerState::Exited { exit_code: 0, .. }) => return true,
            Some(ContainerState::Exited { finished_at, .. }) => {
                self.start(which, &container.name, Some(*finished_at));
            }
        }
        false
    }

    fn main_container(&mut self, which: Which) {
        let Some(container) = which.of(self.spec) else {
            return;
        };
        let policy = if which.init {
            "Always"
        } else {
            self.spec.restart_policy.as_deref().unwrap_or("Always")
        };
        match latest(self.sandbox, &container.name).map(|status| &status.state) {
            None => self.start(which, &container.name, None),
            Some(ContainerState::Created) => {}
            Some(ContainerState::Running { .. }) => {
                if let Some(probe) = self.known.doomed(&container.name) {
                    self.plan.steps.push(Step::Kill(which, probe));
                }
            }
            Some(ContainerState::Exited {
                exit_code,
                finished_at,
                ..
            }) => {
                let restart = match policy {
                    "Never" => false,
                    "OnFailure" => *exit_code != 0,
                    _ => true,
                };
                if restart {
                    self.start(which, &container.name, Some(*finished_at));
                }
            }
        }
    }

    /// Starts now, or looks again when the back-off is over.
    fn start(&mut self, which: Which, name: &str, ended: Option<Timestamp>) {
        let pause = self.known.scale(backoff(self.known.failures(name)));
        let after_end = ended.map(|ended| ended + pause);
        let due = [after_end, self.known.retry_at(name)]
            .into_iter()
            .flatten()
            .max();
        match due.filter(|due| *due > self.now) {
            None => self.plan.steps.push(Step::Start(which)),
            Some(due) => {
                let earliest = self.plan.wake_at.map_or(due, |at| at.min(due));
                self.plan.wake_at = Some(earliest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab_engine::{ContainerId, SandboxConfig, SandboxId};
    use serde_json::json;

    #[derive(Default)]
    struct Facts {
        started: bool,
        doomed: Option<&'static str>,
        failures: u32,
        retry_at: Option<Timestamp>,
    }

    impl Known for Facts {
        fn started(&self, _: &str) -> bool {
            self.started
        }
        fn doomed(&self, _: &str) -> Option<&'static str> {
            self.doomed
        }
        fn failures(&self, _: &str) -> u32 {
            self.failures
        }
        fn retry_at(&self, _: &str) -> Option<Timestamp> {
            self.retry_at
        }
        fn scale(&self, wait: Duration) -> Duration {
            wait
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn running() -> ContainerState {
        ContainerState::Running { started_at: at(0) }
    }

    fn exited(exit_code: i32) -> ContainerState {
        ContainerState::Exited {
            started_at: Some(at(0)),
            finished_at: at(100),
            exit_code,
            oom_killed: false,
        }
    }

    fn sandbox(alive: bool, containers: &[(&str, ContainerState)]) -> SandboxStatus {
        let containers = containers.iter().map(|(name, state)| ContainerStatus {
            id: ContainerId((*name).to_owned()),
            name: (*name).to_owned(),
            attempt: 0,
            image: String::new(),
            image_id: String::new(),
            state: state.clone(),
        });
        SandboxStatus {
            id: SandboxId("s".into()),
            config: SandboxConfig::default(),
            ip: [127, 0, 0, 1].into(),
            alive,
            containers: containers.collect(),
        }
    }

    fn pod(policy: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {}, "spec": {"restartPolicy": policy,
            "initContainers": [{"name": "init"}], "containers": [{"name": "app"}]}}))
        .unwrap()
    }

    const INIT: Which = Which {
        init: true,
        index: 0,
    };
    const APP: Which = Which {
        init: false,
        index: 0,
    };

    #[track_caller]
    fn check(
        policy: &str,
        sandbox: Option<&SandboxStatus>,
        facts: &Facts,
        steps: &[Step],
        wake: Option<i64>,
    ) {
        let plan = plan(&pod(policy), sandbox, facts, at(100));
        assert_eq!(
            plan,
            Plan {
                steps: steps.to_vec(),
                wake_at: wake.map(at)
            }
        );
    }

    #[test]
    fn a_new_pod_gets_its_sandbox_and_its_first_init_container() {
        check(
            "Always",
            None,
            &Facts::default(),
            &[Step::CreateSandbox, Step::Start(INIT)],
            None,
        );
    }

    #[test]
    fn the_app_waits_for_the_init_container() {
        check(
            "Always",
            Some(&sandbox(true, &[("init", running())])),
            &Facts::default(),
            &[],
            None,
        );
        let done = sandbox(true, &[("init", exited(0))]);
        check(
            "Always",
            Some(&done),
            &Facts::default(),
            &[Step::Start(APP)],
            None,
        );
    }

    #[test]
    fn a_dead_sandbox_is_made_anew_with_everything_in_it() {
        let dead = sandbox(false, &[("init", exited(0)), ("app", exited(137))]);
        check(
            "Always",
            Some(&dead),
            &Facts::default(),
            &[Step::CreateSandbox, Step::Start(INIT)],
            None,
        );
    }

    #[test]
    fn the_restart_policy_decides_after_an_end() {
        let ended = |code| sandbox(true, &[("init", exited(0)), ("app", exited(code))]);
        check(
            "Always",
            Some(&ended(0)),
            &Facts::default(),
            &[Step::Start(APP)],
            None,
        );
        check(
            "OnFailure",
            Some(&ended(1)),
            &Facts::default(),
            &[Step::Start(APP)],
            None,
        );
        check("OnFailure", Some(&ended(0)), &Facts::default(), &[], None);
        check("Never", Some(&ended(1)), &Facts::default(), &[], None);
    }

    #[test]
    fn a_crashing_container_is_held_back() {
        let ended = sandbox(true, &[("init", exited(0)), ("app", exited(1))]);
        let facts = |failures| Facts {
            failures,
            ..Facts::default()
        };
        check("Always", Some(&ended), &facts(1), &[Step::Start(APP)], None);
        check("Always", Some(&ended), &facts(2), &[], Some(110));
        check("Always", Some(&ended), &facts(4), &[], Some(140));
        assert_eq!(backoff(40), BACKOFF_MAX);
    }

    #[test]
    fn a_failed_liveness_probe_kills_the_container() {
        let up = sandbox(true, &[("init", exited(0)), ("app", running())]);
        let facts = Facts {
            doomed: Some("Liveness"),
            ..Facts::default()
        };
        check(
            "Always",
            Some(&up),
            &facts,
            &[Step::Kill(APP, "Liveness")],
            None,
        );
    }

    #[test]
    fn a_failed_pull_is_tried_again_only_when_due() {
        let up = sandbox(true, &[("init", exited(0))]);
        let facts = Facts {
            retry_at: Some(at(130)),
            ..Facts::default()
        };
        check("Always", Some(&up), &facts, &[], Some(130));
    }

    #[test]
    fn a_dead_sandbox_of_a_finished_pod_stays_as_it_is() {
        let dead = sandbox(false, &[("init", exited(0)), ("app", exited(0))]);
        check("Never", Some(&dead), &Facts::default(), &[], None);
    }
}
