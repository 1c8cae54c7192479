//! Node: a machine that runs pods.

use k8s_openapi::api::core::v1::{Node, Taint};
use serde_json::Value;

use super::columns::{self, NONE, condition, list_at, or_none, str_at, str_or, text, wide};
use super::syntax::{push_problems, qualified_name_problems};
use super::typed::{Kind, define, words};
use super::{ResourceDef, Scope, Subresource};
use crate::validation::FieldError;

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const UNKNOWN: &str = "<unknown>";
const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// The definition of Node.
pub(super) fn definition() -> ResourceDef {
    let info = |name, description, field: &'static str, otherwise: &'static str| {
        text(name, description, move |o| {
            str_or(o, &format!("/status/nodeInfo/{field}"), otherwise).to_owned()
        })
    };
    ResourceDef {
        short_names: words(&["no"]),
        subresources: vec![Subresource::Status],
        columns: vec![
            columns::name(),
            text(
                "Status",
                "Whether it runs pods, and takes new ones.",
                status,
            ),
            text("Roles", "What the node is for.", roles),
            columns::age(),
            info("Version", "Version of its agent.", "kubeletVersion", ""),
            wide(text("Internal-IP", "Address in the cluster.", |o| {
                address(o, "InternalIP")
            })),
            wide(text("External-IP", "Address outside.", |o| {
                address(o, "ExternalIP")
            })),
            wide(info("OS-Image", "Operating system.", "osImage", UNKNOWN)),
            wide(info("Kernel-Version", "Kernel.", "kernelVersion", UNKNOWN)),
            wide(info(
                "Container-Runtime",
                "What runs containers.",
                "containerRuntimeVersion",
                UNKNOWN,
            )),
        ],
        ..define::<Node>("", "Node", "nodes")
    }
}

impl Kind for Node {
    const SCOPE: Scope = Scope::Cluster;
    const COUNTS_GENERATIONS: bool = false;
    const ACCEPTS_STATUS_ON_CREATE: bool = true;
    const SELECTABLE: &'static [&'static str] = &["spec.unschedulable"];

    /// What is not reserved for the machine itself is there for pods.
    fn set_defaults(&mut self) {
        self.spec.get_or_insert_default();
        if let Some(status) = &mut self.status
            && status.allocatable.as_ref().is_none_or(|map| map.is_empty())
        {
            status.allocatable.clone_from(&status.capacity);
        }
    }

    fn validate(&self, errors: &mut Vec<FieldError>) {
        let taints = self.spec.as_ref().and_then(|spec| spec.taints.as_deref());
        let taints = taints.unwrap_or_default();
        for (index, taint) in taints.iter().enumerate() {
            let path = format!("spec.taints[{index}]");
            validate_taint(taint, &path, errors);
            let same = |other: &Taint| other.key == taint.key && other.effect == taint.effect;
            if taints[..index].iter().any(same) {
                let path = format!("{path}.effect");
                errors.push(FieldError::duplicate(path, &taint.effect));
            }
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Vec<FieldError>) {
        let cidr = |node: &Self| node.spec.as_ref()?.pod_cidr.clone();
        if cidr(old).is_some() && cidr(self) != cidr(old) {
            let rule = "node updates may not change podCIDR except from \"\" to valid";
            errors.push(FieldError::forbidden("spec.podCIDRs", rule));
        }
    }
}

fn validate_taint(taint: &Taint, path: &str, errors: &mut Vec<FieldError>) {
    let key = &taint.key;
    push_problems(
        errors,
        &format!("{path}.key"),
        key,
        qualified_name_problems(key),
    );
    let place = format!("{path}.effect");
    match taint.effect.as_str() {
        "" => errors.push(FieldError::required(place, "")),
        effect if EFFECTS.contains(&effect) => {}
        effect => errors.push(FieldError::not_supported(place, effect, EFFECTS)),
    }
}

fn status(node: &Value) -> String {
    let ready = match condition(node, "Ready").map(|condition| str_at(condition, "/status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    if node.pointer("/spec/unschedulable").and_then(Value::as_bool) == Some(true) {
        format!("{ready},SchedulingDisabled")
    } else {
        ready.to_owned()
    }
}

fn roles(node: &Value) -> String {
    let labels = node.pointer("/metadata/labels").and_then(Value::as_object);
    let role = |(key, value): (&String, &Value)| match key.strip_prefix(ROLE_PREFIX) {
        Some(role) => Some(role.to_owned()),
        None if key == "kubernetes.io/role" => value.as_str().map(str::to_owned),
        None => None,
    };
    let mut roles: Vec<String> = labels.into_iter().flatten().filter_map(role).collect();
    roles.retain(|role| !role.is_empty());
    roles.sort_unstable();
    roles.dedup();
    or_none(roles.join(","))
}

fn address(node: &Value, type_: &str) -> String {
    let mut addresses = list_at(node, "/status/addresses").iter();
    let found = addresses.find(|address| address["type"] == type_);
    found
        .map_or(NONE, |address| str_at(address, "/address"))
        .to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::row;
    use super::*;

    #[test]
    fn a_node_says_whether_it_takes_pods() {
        let mut node = json!({
            "metadata": {"name": "node-1", "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": ""}},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "10.89.0.11"}],
                "nodeInfo": {"kubeletVersion": "v1.36.0", "osImage": "devops-lab"},
            },
        });
        assert_eq!(
            row(&definition(), &node),
            [
                "node-1",
                "Ready",
                "control-plane,worker",
                "60m",
                "v1.36.0",
                "10.89.0.11",
                NONE,
                "devops-lab",
                UNKNOWN,
                UNKNOWN
            ]
        );
        node["spec"] = json!({"unschedulable": true});
        node["status"]["conditions"][0]["status"] = json!("Unknown");
        node["metadata"]["labels"] = json!({});
        let cells = row(&definition(), &node);
        assert_eq!(cells[1..3], ["NotReady,SchedulingDisabled", NONE]);
    }
}
