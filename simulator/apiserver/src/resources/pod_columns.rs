//! Columns of Pod (`printPod` in `k8s.io/kubernetes/pkg/printers/internalversion`).

use jiff::Timestamp;
use lab_api::age::human_duration;
use serde_json::{Value, json};

use super::Column;
use super::columns::{
    self, NONE, cell, condition, int_at, list_at, or_none, str_at, str_or, text, time_at, wide,
};

/// The columns in order.
pub(super) fn all() -> Vec<Column> {
    vec![
        columns::name(),
        text("Ready", "Ready containers of all containers.", ready),
        text("Status", "What the pod does, or why it does not.", status),
        cell(
            "Restarts",
            "string",
            "Restarts of its containers, and the last one.",
            |pod, now| json!(restarts(pod, now)),
        ),
        columns::age(),
        wide(text("IP", "Address of the pod.", |pod| {
            let first = str_at(pod, "/status/podIPs/0/ip");
            or_none(str_or(pod, "/status/podIP", first).to_owned())
        })),
        wide(text("Node", "Node that runs the pod.", |pod| {
            str_or(pod, "/spec/nodeName", NONE).to_owned()
        })),
        wide(text(
            "Nominated Node",
            "Node where preemption makes room.",
            |pod| str_or(pod, "/status/nominatedNodeName", NONE).to_owned(),
        )),
        wide(text(
            "Readiness Gates",
            "Conditions that readiness also needs.",
            readiness_gates,
        )),
    ]
}

fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

fn is_true(value: &Value, field: &str) -> bool {
    value[field].as_bool().unwrap_or_default()
}

/// Names of the init containers that keep running.
fn sidecars(pod: &Value) -> Vec<&str> {
    let init = list_at(pod, "/spec/initContainers").iter();
    init.filter(|c| is_sidecar(c))
        .filter_map(|c| c["name"].as_str())
        .collect()
}

fn init_statuses(pod: &Value) -> &[Value] {
    list_at(pod, "/status/initContainerStatuses")
}

fn container_statuses(pod: &Value) -> &[Value] {
    list_at(pod, "/status/containerStatuses")
}

fn ready(pod: &Value) -> String {
    let sidecars = sidecars(pod);
    let total = list_at(pod, "/spec/containers").len() + sidecars.len();
    let running =
        |status: &&Value| is_true(status, "ready") && status["state"].get("running").is_some();
    let main = container_statuses(pod).iter().filter(running).count();
    let started = |status: &&Value| {
        let name = status["name"].as_str().unwrap_or_default();
        sidecars.contains(&name) && is_true(status, "started") && is_true(status, "ready")
    };
    let side = init_statuses(pod).iter().filter(started).count();
    format!("{}/{total}", main + side)
}

fn status(pod: &Value) -> String {
    let phase = str_at(pod, "/status/phase");
    let reason = base_reason(pod, phase);
    let reason = match initializing(pod) {
        Some(init) => init,
        None => containers_reason(pod, reason),
    };
    if pod.pointer("/metadata/deletionTimestamp").is_none() {
        reason
    } else if str_at(pod, "/status/reason") == "NodeLost" {
        "Unknown".to_owned()
    } else if matches!(phase, "Succeeded" | "Failed") {
        reason
    } else {
        "Terminating".to_owned()
    }
}

fn base_reason(pod: &Value, phase: &str) -> String {
    let gated = condition(pod, "PodScheduled").is_some_and(|c| c["reason"] == "SchedulingGated");
    if gated {
        "SchedulingGated".to_owned()
    } else {
        str_or(pod, "/status/reason", phase).to_owned()
    }
}

/// What holds the pod at its init containers, if they do.
fn initializing(pod: &Value) -> Option<String> {
    if condition(pod, "Initialized").is_some_and(|c| c["status"] == "True") {
        return None;
    }
    let sidecars = sidecars(pod);
    let total = list_at(pod, "/spec/initContainers").len();
    for (index, status) in init_statuses(pod).iter().enumerate() {
        let name = status["name"].as_str().unwrap_or_default();
        let state = &status["state"];
        let terminated = state.get("terminated");
        if terminated.is_some_and(|t| int_at(t, "/exitCode") == 0)
            || (sidecars.contains(&name) && is_true(status, "started"))
        {
            continue;
        }
        let waiting = str_at(state, "/waiting/reason");
        return Some(match terminated {
            Some(terminated) => format!("Init:{}", exit_reason(terminated)),
            None if !waiting.is_empty() && waiting != "PodInitializing" => {
                format!("Init:{waiting}")
            }
            None => format!("Init:{index}/{total}"),
        });
    }
    None
}

/// The reason of a termination, or its signal or exit code.
fn exit_reason(terminated: &Value) -> String {
    match (str_at(terminated, "/reason"), int_at(terminated, "/signal")) {
        ("", 0) => format!("ExitCode:{}", int_at(terminated, "/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn containers_reason(pod: &Value, mut reason: String) -> String {
    let mut has_running = false;
    for status in container_statuses(pod).iter().rev() {
        let state = &status["state"];
        let waiting = str_at(state, "/waiting/reason");
        if !waiting.is_empty() {
            reason = waiting.to_owned();
        } else if let Some(terminated) = state.get("terminated") {
            reason = exit_reason(terminated);
        } else if is_true(status, "ready") && state.get("running").is_some() {
            has_running = true;
        }
    }
    if reason == "Completed" && has_running {
        let ready = condition(pod, "Ready").is_some_and(|c| c["status"] == "True");
        reason = if ready { "Running" } else { "NotReady" }.to_owned();
    }
    reason
}

/// Restarts of the containers (of all init containers while they run), and how long ago.
fn restarts(pod: &Value, now: Timestamp) -> String {
    let sidecars = sidecars(pod);
    let initializing = initializing(pod).is_some();
    let counts = |status: &&Value| {
        initializing || sidecars.contains(&status["name"].as_str().unwrap_or_default())
    };
    let init = init_statuses(pod).iter().filter(counts);
    let main = container_statuses(pod).iter().filter(|_| !initializing);
    let (mut total, mut last) = (0, None);
    for status in init.chain(main) {
        total += int_at(status, "/restartCount");
        last = last.max(time_at(status, "/lastState/terminated/finishedAt"));
    }
    match last {
        Some(last) if total > 0 => {
            let ago = human_duration(now.as_second() - last.as_second());
            format!("{total} ({ago} ago)")
        }
        _ => total.to_string(),
    }
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list_at(pod, "/spec/readinessGates");
    let holds = |gate: &&Value| {
        let type_ = gate["conditionType"].as_str().unwrap_or_default();
        condition(pod, type_).is_some_and(|c| c["status"] == "True")
    };
    if gates.is_empty() {
        NONE.to_owned()
    } else {
        format!("{}/{}", gates.iter().filter(holds).count(), gates.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::row;
    use super::*;

    /// Checks Ready, Status and Restarts.
    #[track_caller]
    fn case(pod: &Value, expected: [&str; 3]) {
        let cells = row(&super::super::pods::definition(), pod);
        assert_eq!(&cells[1..4], expected);
    }

    fn pod(phase: &str, status: &Value) -> Value {
        let mut pod = json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}]},
            "status": {"phase": phase},
        });
        for (key, value) in status.as_object().unwrap() {
            pod["status"][key] = value.clone();
        }
        pod
    }

    fn running(name: &str) -> Value {
        json!({"name": name, "ready": true, "started": true, "restartCount": 0, "state": {"running": {}}})
    }

    #[test]
    fn a_pod_says_what_it_does() {
        case(&pod("Pending", &json!({})), ["0/2", "Pending", "0"]);
        case(
            &pod(
                "Running",
                &json!({"containerStatuses": [running("a"), running("b")]}),
            ),
            ["2/2", "Running", "0"],
        );
        case(
            &pod(
                "Pending",
                &json!({"containerStatuses": [running("a"),
                {"name": "b", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]}),
            ),
            ["1/2", "ImagePullBackOff", "0"],
        );
        case(
            &pod(
                "Running",
                &json!({"containerStatuses": [running("a"), {
                "name": "b", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"finishedAt": "2026-01-01T00:55:00Z"}}}]}),
            ),
            ["1/2", "CrashLoopBackOff", "3 (5m ago)"],
        );
        case(
            &pod(
                "Failed",
                &json!({"containerStatuses": [
                {"name": "a", "state": {"terminated": {"exitCode": 3}}}]}),
            ),
            ["0/2", "ExitCode:3", "0"],
        );
        case(
            &pod("Failed", &json!({"reason": "Evicted"})),
            ["0/2", "Evicted", "0"],
        );
        case(
            &pod(
                "Succeeded",
                &json!({"containerStatuses": [
                {"name": "a", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]}),
            ),
            ["0/2", "Completed", "0"],
        );
    }

    #[test]
    fn a_deleted_pod_is_terminating_until_it_ends() {
        let mut deleted = pod(
            "Running",
            &json!({"containerStatuses": [running("a"), running("b")]}),
        );
        deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        case(&deleted, ["2/2", "Terminating", "0"]);
    }

    #[test]
    fn init_containers_and_sidecars_have_their_say() {
        let mut initializing = pod(
            "Pending",
            &json!({"initContainerStatuses": [
            {"name": "i", "restartCount": 2, "state": {"terminated": {"exitCode": 0}}},
            {"name": "j", "state": {"running": {}}}]}),
        );
        initializing["spec"]["initContainers"] = json!([{"name": "i"}, {"name": "j"}]);
        case(&initializing, ["0/2", "Init:1/2", "2"]);
        initializing["status"]["initContainerStatuses"][1]["state"] =
            json!({"terminated": {"exitCode": 1, "reason": "Error"}});
        case(&initializing, ["0/2", "Init:Error", "2"]);

        let mut sidecar = pod(
            "Running",
            &json!({
            "initContainerStatuses": [running("s")],
            "containerStatuses": [running("a"), running("b")]}),
        );
        sidecar["spec"]["initContainers"] = json!([{"name": "s", "restartPolicy": "Always"}]);
        case(&sidecar, ["3/3", "Running", "0"]);
    }
}
