//! Why pods do not become ready: the likeliest cause, from their specs and statuses.

use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStatus, Event, Pod, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use lab_api::pods;

use crate::diagnosis::Diagnosis;
use crate::readers::images::{Registry, why_not_pulled};
use crate::workload::{name_list, port_list};

/// The likeliest cause that these pods are not all Ready; none where they are.
///
/// What stops a pod earliest is named first: without a node there is no image, without an image
/// no container, without a container no probe.
pub(crate) fn trouble(pods: &[&Pod], events: &[Event], registry: &Registry) -> Option<Diagnosis> {
    let waiting: Vec<_> = pods
        .iter()
        .copied()
        .filter(|pod| !pods::is_ready(pod))
        .collect();
    let first = |find: &dyn Fn(&Pod) -> Option<Diagnosis>| waiting.iter().find_map(|pod| find(pod));
    first(&unschedulable)
        .or_else(|| first(&|pod| not_pulled(pod, registry)))
        .or_else(|| first(&not_created))
        .or_else(|| first(&crashing))
        .or_else(|| first(&|pod| unready(pod, events)))
        .or_else(|| first(&not_scheduled))
        .or_else(|| {
            (!waiting.is_empty()).then(|| Diagnosis::PodsStarting {
                pods: name_list(waiting.iter().copied()),
            })
        })
}

/// Images that these pods wait for: the registry need only be asked where there are any.
pub(crate) fn waits_for_image(pods: &[&Pod]) -> bool {
    pods.iter()
        .any(|pod| statuses(pod).any(|status| pull_problem(status).is_some()))
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| {
        status
            .init_container_statuses
            .iter()
            .flatten()
            .chain(status.container_statuses.iter().flatten())
    })
}

fn unschedulable(pod: &Pod) -> Option<Diagnosis> {
    let condition = pods::pod_condition(pod, "PodScheduled")?;
    (condition.status == "False" && condition.reason.as_deref() == Some("Unschedulable")).then(
        || Diagnosis::Unschedulable {
            pod: pod.name_any(),
            message: condition.message.clone().unwrap_or_default(),
        },
    )
}

fn not_scheduled(pod: &Pod) -> Option<Diagnosis> {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
    node.is_none().then(|| Diagnosis::NotScheduled {
        pod: pod.name_any(),
    })
}

fn waiting(status: &ContainerStatus) -> Option<(&str, &str)> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    Some((
        waiting.reason.as_deref()?,
        waiting.message.as_deref().unwrap_or_default(),
    ))
}

fn pull_problem(status: &ContainerStatus) -> Option<&str> {
    let (reason, message) = waiting(status)?;
    matches!(
        reason,
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull"
    )
    .then_some(message)
}

fn not_pulled(pod: &Pod, registry: &Registry) -> Option<Diagnosis> {
    let (status, message) =
        statuses(pod).find_map(|status| Some((status, pull_problem(status)?)))?;
    // The spec says what was asked for; a runtime may report the image under another name.
    let image = containers(pod)
        .find(|container| container.name == status.name)
        .and_then(|c| c.image.as_deref());
    let image = image.unwrap_or(&status.image);
    Some(
        why_not_pulled(image, registry).unwrap_or_else(|| Diagnosis::PullFailed {
            pod: pod.name_any(),
            image: image.to_owned(),
            message: message.to_owned(),
        }),
    )
}

fn not_created(pod: &Pod) -> Option<Diagnosis> {
    let (reason, message) = statuses(pod).filter_map(waiting).find(|(reason, _)| {
        !matches!(
            *reason,
            "ContainerCreating" | "PodInitializing" | "CrashLoopBackOff"
        ) && !reason.starts_with("ErrImage")
            && !reason.starts_with("ImagePull")
    })?;
    Some(Diagnosis::ContainerNotCreated {
        pod: pod.name_any(),
        reason: reason.to_owned(),
        message: message.to_owned(),
    })
}

fn crashing(pod: &Pod) -> Option<Diagnosis> {
    let status = statuses(pod)
        .find(|status| !status.ready && (is_down(status) || status.restart_count > 0))?;
    let ended = |state: &Option<ContainerState>| state.as_ref()?.terminated.clone();
    let code = ended(&status.state)
        .or_else(|| ended(&status.last_state))
        .map(|ended| ended.exit_code);
    let container = containers(pod).find(|container| container.name == status.name);
    // 137 and 143 are SIGKILL and SIGTERM, 0 an application that obeyed: somebody ended it, and
    // that is the liveness probe's way.
    if matches!(code, Some(0 | 137 | 143) | None)
        && let Some(container) = container
        && let Some(probe) = wrong_port(container, container.liveness_probe.as_ref())
    {
        let ports = port_list(container.ports.iter().flatten());
        return Some(Diagnosis::KilledByLiveness {
            pod: pod.name_any(),
            probe,
            ports,
        });
    }
    // A container that runs again after a restart, as after a stop of the cluster, is no crash.
    is_down(status).then(|| Diagnosis::Crashing {
        pod: pod.name_any(),
        code: code.map_or_else(|| "?".to_owned(), |code| code.to_string()),
    })
}

fn is_down(status: &ContainerStatus) -> bool {
    let ended = status
        .state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    ended.is_some_and(|ended| ended.exit_code != 0)
        || waiting(status).is_some_and(|(reason, _)| reason == "CrashLoopBackOff")
}

fn unready(pod: &Pod, events: &[Event]) -> Option<Diagnosis> {
    let runs = |name: &str| {
        let mut all = statuses(pod);
        all.any(|status| {
            status.name == name
                && status
                    .state
                    .as_ref()
                    .is_some_and(|state| state.running.is_some())
        })
    };
    let container = containers(pod)
        .find(|container| container.readiness_probe.is_some() && runs(&container.name))?;
    if let Some(probe) = wrong_port(container, container.readiness_probe.as_ref()) {
        let ports = port_list(container.ports.iter().flatten());
        return Some(Diagnosis::ReadinessPortWrong {
            plural: "pods".to_owned(),
            name: pod.name_any(),
            probe,
            ports,
        });
    }
    let message = events.iter().rev().find(|event| {
        event.reason.as_deref() == Some("Unhealthy")
            && event.involved_object.uid == pod.metadata.uid
            && event
                .message
                .as_deref()
                .is_some_and(|message| message.starts_with("Readiness"))
    })?;
    Some(Diagnosis::ReadinessFailing {
        pod: pod.name_any(),
        message: message.message.clone().unwrap_or_default(),
    })
}

/// The port of a probe that is none of the ports its container declares.
pub(crate) fn wrong_port(container: &Container, probe: Option<&Probe>) -> Option<String> {
    let probe = probe?;
    let http = probe.http_get.as_ref().map(|http| &http.port);
    let port = http.or_else(|| probe.tcp_socket.as_ref().map(|tcp| &tcp.port))?;
    let ports = container.ports.as_deref().unwrap_or_default();
    let (known, text) = match port {
        IntOrString::Int(number) => (
            ports.iter().any(|port| port.container_port == *number),
            number.to_string(),
        ),
        IntOrString::String(name) => (
            ports.iter().any(|port| port.name.as_ref() == Some(name)),
            name.clone(),
        ),
    };
    // Declaring ports is optional: where none is declared, nothing can be compared.
    (!known && !ports.is_empty()).then_some(text)
}

fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    let spec = pod.spec.iter();
    spec.flat_map(|spec| {
        spec.containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
    })
}
