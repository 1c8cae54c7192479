//! What the daemon tells about containers, read as sandboxes.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use bollard::models::{
    ContainerInspectResponse, ContainerState as DockerState, ContainerStateStatusEnum,
};
use jiff::Timestamp;

use super::labels::{Part, SandboxIdentity};
use crate::{ContainerId, ContainerState, ContainerStatus, SandboxId, SandboxStatus};

/// Exit code of a container that a node's death ended before the daemon saw how.
pub(super) const KILLED: i32 = 137;

/// One container of the daemon with what its labels say.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) id: String,
    pub(super) sandbox: SandboxIdentity,
    pub(super) part: Part,
    pub(super) state: ContainerState,
    pub(super) image: String,
    pub(super) image_id: String,
}

/// Reads an inspection; `None` where the container is no part of a sandbox or is on its way out.
pub(super) fn read(inspected: ContainerInspectResponse) -> Option<Found> {
    let config = inspected.config?;
    let (sandbox, part) = SandboxIdentity::read(&config.labels?)?;
    Some(Found {
        id: inspected.id?,
        sandbox,
        part,
        state: state(&inspected.state?)?,
        image: config.image.unwrap_or_default(),
        image_id: inspected.image.unwrap_or_default(),
    })
}

fn state(state: &DockerState) -> Option<ContainerState> {
    use ContainerStateStatusEnum as Docker;
    let started_at = time(state.started_at.as_deref());
    match state.status? {
        Docker::CREATED | Docker::EMPTY => Some(ContainerState::Created),
        // A paused container is a running one that hangs, and one that is asked to stop runs
        // until it has.
        Docker::RUNNING | Docker::PAUSED | Docker::RESTARTING | Docker::STOPPING => {
            Some(ContainerState::Running {
                started_at: started_at.unwrap_or_default(),
            })
        }
        Docker::EXITED | Docker::DEAD => Some(ended(state, started_at)),
        Docker::REMOVING => None,
    }
}

fn ended(state: &DockerState, started_at: Option<Timestamp>) -> ContainerState {
    let finished_at = time(state.finished_at.as_deref())
        .or(started_at)
        .unwrap_or_default();
    ContainerState::Exited {
        // Of a process that lives for an instant, the daemon hears the end before it has
        // written down the start.
        started_at: started_at.map(|started| started.min(finished_at)),
        finished_at,
        exit_code: state
            .exit_code
            .and_then(|code| i32::try_from(code).ok())
            .unwrap_or(KILLED),
        oom_killed: state.oom_killed.unwrap_or_default(),
    }
}

/// The daemon writes year 1 for "not yet".
fn time(text: Option<&str>) -> Option<Timestamp> {
    text?
        .parse()
        .ok()
        .filter(|time| *time > Timestamp::UNIX_EPOCH)
}

/// Groups containers to sandboxes. `known` are the sandboxes that may have no container yet;
/// `boot` is when the node started, `None` where it does not run.
pub(super) fn group(
    found: Vec<Found>,
    known: &HashMap<SandboxId, SandboxIdentity>,
    boot: Option<&str>,
) -> Vec<SandboxStatus> {
    let mut sandboxes: BTreeMap<SandboxId, (SandboxIdentity, Vec<Found>)> = known
        .iter()
        .map(|(id, identity)| (id.clone(), (identity.clone(), Vec::new())))
        .collect();
    for container in found {
        let entry = sandboxes
            .entry(container.sandbox.id.clone())
            .or_insert_with(|| (container.sandbox.clone(), Vec::new()));
        entry.1.push(container);
    }
    sandboxes
        .into_values()
        .map(|(identity, parts)| sandbox(identity, parts, boot))
        .collect()
}

fn sandbox(identity: SandboxIdentity, parts: Vec<Found>, boot: Option<&str>) -> SandboxStatus {
    let same_life = boot == Some(identity.boot.as_str());
    let holder_runs = || {
        parts.iter().any(|part| {
            part.part == Part::Holder && matches!(part.state, ContainerState::Running { .. })
        })
    };
    let alive = same_life && (!identity.config.shared || holder_runs());
    let mut containers: Vec<ContainerStatus> = parts.into_iter().filter_map(container).collect();
    containers.sort_by(|a, b| (&a.name, a.attempt).cmp(&(&b.name, b.attempt)));
    SandboxStatus {
        id: identity.id,
        ip: identity
            .config
            .ip
            .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        config: identity.config,
        alive,
        containers,
    }
}

fn container(found: Found) -> Option<ContainerStatus> {
    match found.part {
        Part::Holder | Part::Opener { .. } => None,
        Part::Container { name, attempt } => Some(ContainerStatus {
            id: ContainerId(found.id),
            name,
            attempt,
            image: found.image,
            image_id: found.image_id,
            state: found.state,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SandboxConfig;

    const BOOT: &str = "2026-01-01T00:00:00Z";

    fn identity(shared: bool) -> SandboxIdentity {
        SandboxIdentity {
            id: SandboxId("u1-abcde".into()),
            config: SandboxConfig {
                shared,
                ip: Some("10.89.2.2".parse().unwrap()),
                ..SandboxConfig::default()
            },
            boot: BOOT.into(),
        }
    }

    fn part(shared: bool, part: Part, running: bool) -> Found {
        let started_at = Timestamp::constant(1_767_225_600, 0);
        let state = if running {
            ContainerState::Running { started_at }
        } else {
            ContainerState::Exited {
                started_at: Some(started_at),
                finished_at: started_at,
                exit_code: 137,
                oom_killed: false,
            }
        };
        Found {
            id: "c".into(),
            sandbox: identity(shared),
            part,
            state,
            image: "a".into(),
            image_id: "sha256:a".into(),
        }
    }

    fn app() -> Part {
        Part::Container {
            name: "app".into(),
            attempt: 0,
        }
    }

    #[track_caller]
    fn check_alive(found: Vec<Found>, boot: Option<&str>, expected: bool) {
        let sandboxes = group(found, &HashMap::new(), boot);
        assert_eq!(sandboxes.len(), 1);
        assert_eq!(sandboxes[0].alive, expected);
    }

    #[test]
    fn a_crashed_container_leaves_its_sandbox_alive() {
        check_alive(vec![part(false, app(), false)], Some(BOOT), true);
    }

    #[test]
    fn a_sandbox_of_an_earlier_life_of_the_node_is_dead() {
        check_alive(
            vec![part(false, app(), false)],
            Some("2026-01-02T00:00:00Z"),
            false,
        );
        check_alive(vec![part(false, app(), false)], None, false);
    }

    #[test]
    fn a_shared_sandbox_lives_as_long_as_its_holder() {
        check_alive(
            vec![part(true, Part::Holder, true), part(true, app(), false)],
            Some(BOOT),
            true,
        );
        check_alive(
            vec![part(true, Part::Holder, false), part(true, app(), true)],
            Some(BOOT),
            false,
        );
        check_alive(vec![part(true, app(), true)], Some(BOOT), false);
    }

    #[test]
    fn a_sandbox_without_containers_is_listed() {
        let identity = identity(false);
        let known = HashMap::from([(identity.id.clone(), identity)]);
        let sandboxes = group(Vec::new(), &known, Some(BOOT));
        assert_eq!(sandboxes.len(), 1);
        assert!(sandboxes[0].alive && sandboxes[0].containers.is_empty());
    }

    #[track_caller]
    fn check_start(started: &str, expected: Option<&str>) {
        let docker = DockerState {
            status: Some(ContainerStateStatusEnum::EXITED),
            started_at: Some(started.into()),
            finished_at: Some("2026-01-01T00:00:01.5Z".into()),
            exit_code: Some(7),
            ..DockerState::default()
        };
        let expected = ContainerState::Exited {
            started_at: expected.map(|time| time.parse().unwrap()),
            finished_at: Timestamp::constant(1_767_225_601, 500_000_000),
            exit_code: 7,
            oom_killed: false,
        };
        assert_eq!(state(&docker), Some(expected));
    }

    #[test]
    fn no_container_ends_before_it_starts_or_starts_where_it_never_did() {
        check_start("2026-01-01T00:00:01.2Z", Some("2026-01-01T00:00:01.2Z"));
        check_start("2026-01-01T00:00:01.6Z", Some("2026-01-01T00:00:01.5Z"));
        check_start("0001-01-01T00:00:00Z", None);
    }
}
