//! Whether a node is heard of, and what its state asks for. Pure but for its memory.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lab_api::names::{TAINT_NOT_READY, TAINT_UNREACHABLE, TAINT_UNSCHEDULABLE};
use tokio::time::Instant;

use lab_api::taints::{NO_EXECUTE, NO_SCHEDULE, taints};

/// Conditions that only the node's agent can know.
const REPORTED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// When each node was last heard of, on this process's own clock: the nodes' clocks may be
/// wrong, so a sign of life is a *change* of what they wrote, not the time in it.
#[derive(Debug, Default)]
pub(super) struct Heard {
    nodes: HashMap<String, Sign>,
}

#[derive(Debug)]
struct Sign {
    renewed: Option<Timestamp>,
    reported: Option<Timestamp>,
    at: Instant,
}

impl Heard {
    /// Takes in a node and its lease; answers when the node last gave a sign of life.
    pub(super) fn listen(&mut self, node: &Node, lease: Option<&Lease>, now: Instant) -> Instant {
        let renewed = lease.and_then(|lease| Some(lease.spec.as_ref()?.renew_time.as_ref()?.0));
        let reported = ready_condition(node)
            .and_then(|ready| ready.last_heartbeat_time.as_ref())
            .map(|at| at.0);
        let name = node.metadata.name.clone().unwrap_or_default();
        let sign = self.nodes.entry(name).or_insert(Sign {
            renewed,
            reported,
            at: now,
        });
        if sign.renewed != renewed || sign.reported != reported {
            *sign = Sign {
                renewed,
                reported,
                at: now,
            };
        }
        sign.at
    }

    /// Forgets a node that was deleted.
    pub(super) fn forget(&mut self, node: &str) {
        self.nodes.remove(node);
    }
}

/// What a node's Ready condition says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// True.
    Ready,
    /// False: the agent is there, and says that it cannot run pods.
    NotReady,
    /// Unknown: nobody is there.
    Unknown,
    /// The node registered a moment ago and has not reported yet.
    NotReported,
}

/// Reads a node's Ready condition.
pub(super) fn readiness(node: &Node) -> Readiness {
    match ready_condition(node).map(|ready| ready.status.as_str()) {
        Some("True") => Readiness::Ready,
        Some("False") => Readiness::NotReady,
        Some(_) => Readiness::Unknown,
        None => Readiness::NotReported,
    }
}

fn ready_condition(node: &Node) -> Option<&NodeCondition> {
    conditions(node)
        .iter()
        .find(|condition| condition.type_ == "Ready")
}

fn conditions(node: &Node) -> &[NodeCondition] {
    node.status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default()
}

/// The conditions of a node that fell silent.
pub(super) fn unknown_conditions(node: &Node, now: Timestamp) -> Vec<NodeCondition> {
    let mut conditions = conditions(node).to_vec();
    for type_ in REPORTED {
        match conditions
            .iter_mut()
            .find(|condition| condition.type_ == type_)
        {
            Some(condition) if condition.status == "Unknown" => {}
            Some(condition) => {
                condition.status = "Unknown".to_owned();
                condition.reason = Some("NodeStatusUnknown".to_owned());
                condition.message = Some("Kubelet stopped posting node status.".to_owned());
                condition.last_transition_time = Some(Time(now));
            }
            None => conditions.push(NodeCondition {
                type_: type_.to_owned(),
                status: "Unknown".to_owned(),
                reason: Some("NodeStatusNeverUpdated".to_owned()),
                message: Some("Kubelet never posted node status.".to_owned()),
                last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                last_transition_time: Some(Time(now)),
            }),
        }
    }
    conditions
}

/// A node's taints before and after.
#[derive(Debug, PartialEq)]
pub(super) struct Taints {
    before: Vec<Taint>,
    after: Vec<Taint>,
}

impl Taints {
    /// The taints to write, if they differ.
    pub(super) fn changed(&self) -> Option<&[Taint]> {
        (self.before != self.after).then_some(&self.after)
    }

    /// True where a taint comes in that sends pods away.
    pub(super) fn adds_eviction(&self) -> bool {
        let evicts = |taints: &[Taint]| {
            taints
                .iter()
                .any(|taint| is_ours(taint) && taint.effect == NO_EXECUTE)
        };
        evicts(&self.after) && !evicts(&self.before)
    }
}

/// The taints that a node's state asks for; those that others set stay. The ones that send
/// pods away come only where `may_evict`.
pub(super) fn desired_taints(node: &Node, may_evict: bool, now: Timestamp) -> Taints {
    let before = taints(node).to_vec();
    let state = match readiness(node) {
        Readiness::Ready | Readiness::NotReported => None,
        Readiness::NotReady => Some(TAINT_NOT_READY),
        Readiness::Unknown => Some(TAINT_UNREACHABLE),
    };
    let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    wanted.extend(state.map(|key| (key, NO_SCHEDULE)));
    wanted.extend(state.filter(|_| may_evict).map(|key| (key, NO_EXECUTE)));
    wanted.extend(cordoned.then_some((TAINT_UNSCHEDULABLE, NO_SCHEDULE)));
    let is =
        |taint: &Taint, (key, effect): (&str, &str)| taint.key == key && taint.effect == effect;
    let mut after: Vec<Taint> = before
        .iter()
        .filter(|taint| !is_ours(taint) || wanted.iter().any(|one| is(taint, *one)))
        .cloned()
        .collect();
    for (key, effect) in wanted {
        if !after.iter().any(|taint| is(taint, (key, effect))) {
            after.push(Taint {
                key: key.to_owned(),
                effect: effect.to_owned(),
                time_added: Some(Time(now)),
                value: None,
            });
        }
    }
    Taints { before, after }
}

fn is_ours(taint: &Taint) -> bool {
    [TAINT_NOT_READY, TAINT_UNREACHABLE, TAINT_UNSCHEDULABLE].contains(&taint.key.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::time::Duration;

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn now() -> Timestamp {
        NOW.parse().unwrap()
    }

    fn node(ready: Option<&str>, spec: Value) -> Node {
        let conditions = ready.map(|status| json!([{"type": "Ready", "status": status}]));
        serde_json::from_value(json!({
            "metadata": {"name": "node-1"}, "spec": spec, "status": {"conditions": conditions}}))
        .unwrap()
    }

    fn lease(renewed: &str) -> Lease {
        serde_json::from_value(json!({"metadata": {}, "spec": {"renewTime": renewed}})).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_lease_is_a_sign_of_life_whatever_the_nodes_clock_says() {
        let mut heard = Heard::default();
        let node = node(Some("True"), json!({}));
        let start = Instant::now();
        let mut listen =
            |renewed: &str| heard.listen(&node, Some(&lease(renewed)), Instant::now()) - start;
        assert_eq!(listen("2031-01-01T00:00:00.000000Z").as_secs(), 0);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(listen("2031-01-01T00:00:00.000000Z").as_secs(), 0);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(listen("1999-01-01T00:00:00.000000Z").as_secs(), 20);
    }

    #[test]
    fn a_silent_node_says_unknown_and_why() {
        let mut node = node(Some("True"), json!({}));
        let known = node.status.as_mut().unwrap().conditions.as_mut().unwrap();
        known.push(NodeCondition {
            type_: "NetworkUnavailable".to_owned(),
            status: "False".to_owned(),
            ..NodeCondition::default()
        });
        let short: Vec<_> = unknown_conditions(&node, now())
            .into_iter()
            .map(|condition| {
                format!(
                    "{}={} {}",
                    condition.type_,
                    condition.status,
                    condition.reason.unwrap_or_default()
                )
            })
            .collect();
        let expected = [
            "Ready=Unknown NodeStatusUnknown",
            "NetworkUnavailable=False ",
            "MemoryPressure=Unknown NodeStatusNeverUpdated",
            "DiskPressure=Unknown NodeStatusNeverUpdated",
            "PIDPressure=Unknown NodeStatusNeverUpdated",
        ];
        assert_eq!(short, expected);
    }

    /// Taints as `key:effect`, without their common prefix.
    fn short(taints: &[Taint]) -> Vec<String> {
        taints
            .iter()
            .map(|taint| {
                format!(
                    "{}:{}",
                    taint.key.trim_start_matches("node.kubernetes.io/"),
                    taint.effect
                )
            })
            .collect()
    }

    #[track_caller]
    fn case(ready: Option<&str>, spec: Value, may_evict: bool, expected: &[&str]) {
        let taints = desired_taints(&node(ready, spec), may_evict, now());
        assert_eq!(short(&taints.after), expected);
    }

    #[test]
    fn a_nodes_state_shows_in_its_taints() {
        case(Some("True"), json!({}), true, &[]);
        case(
            Some("Unknown"),
            json!({}),
            true,
            &["unreachable:NoSchedule", "unreachable:NoExecute"],
        );
        case(
            Some("False"),
            json!({}),
            true,
            &["not-ready:NoSchedule", "not-ready:NoExecute"],
        );
        case(None, json!({}), true, &[]);
        case(
            Some("Unknown"),
            json!({}),
            false,
            &["unreachable:NoSchedule"],
        );
        case(
            Some("True"),
            json!({"unschedulable": true}),
            true,
            &["unschedulable:NoSchedule"],
        );
    }

    #[test]
    fn taints_of_others_stay_and_ours_go_with_their_cause() {
        let spec = json!({"taints": [
            {"key": "gpu", "effect": "NoSchedule"},
            {"key": TAINT_UNREACHABLE, "effect": "NoSchedule", "timeAdded": NOW},
            {"key": TAINT_UNREACHABLE, "effect": "NoExecute", "timeAdded": NOW}]});
        case(Some("True"), spec.clone(), true, &["gpu:NoSchedule"]);
        case(
            Some("False"),
            spec.clone(),
            true,
            &[
                "gpu:NoSchedule",
                "not-ready:NoSchedule",
                "not-ready:NoExecute",
            ],
        );
        let later = now() + Duration::from_secs(60);
        let unchanged = desired_taints(&node(Some("Unknown"), spec), true, later);
        assert_eq!(unchanged.changed(), None);
        assert!(!unchanged.adds_eviction());
    }
}
