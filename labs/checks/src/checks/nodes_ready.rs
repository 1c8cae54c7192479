//! K001: enough nodes are Ready and take pods.

use k8s_openapi::api::core::v1::Node;
use kube::{Api, ResourceExt};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckDef, accepts, schema, start};
use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::fact::Fact;
use crate::outcome::{Evidence, Outcome};
use crate::read;
use crate::workload::name_list;

pub(super) const DEF: CheckDef = CheckDef {
    code: "K001",
    name: "nodes-ready",
    help: "At least `atLeast` nodes (1 by default) are Ready and not cordoned.",
    schema: schema::<With>,
    accepts: accepts::<With>,
    run: |context, with| start(DEF.name, run, context, with),
};

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    #[serde(default = "one")]
    at_least: usize,
}

fn one() -> usize {
    1
}

async fn run(context: CheckContext, with: With) -> Result<Outcome, Diagnosis> {
    let nodes: Vec<Node> = read::list(Api::all(context.client)).await?;
    Ok(judge(with, &nodes))
}

fn judge(with: With, nodes: &[Node]) -> Outcome {
    let (good, bad): (Vec<_>, Vec<_>) = nodes
        .iter()
        .partition(|node| ready_since(node).is_some() && !is_cordoned(node));
    let evidence = Evidence {
        expected: Fact::NodesWanted {
            nodes: with.at_least.to_string(),
        },
        observed: Fact::Nodes {
            ready: good.len().to_string(),
            nodes: name_list(good.iter().copied()),
        },
        since: good.iter().filter_map(|node| ready_since(node)).max(),
    };
    Outcome::of(
        evidence,
        if good.len() >= with.at_least {
            Ok(())
        } else {
            Err(trouble(with, good.len(), &bad))
        },
    )
}

fn trouble(with: With, found: usize, bad: &[&Node]) -> Diagnosis {
    let (cordoned, down): (Vec<&Node>, Vec<_>) =
        bad.iter().partition(|node| ready_since(node).is_some());
    if found + bad.len() < with.at_least {
        let found = (found + bad.len()).to_string();
        Diagnosis::TooFewNodes {
            expected: with.at_least.to_string(),
            found,
        }
    } else if !down.is_empty() {
        Diagnosis::NodesNotReady {
            nodes: down
                .iter()
                .map(|node| node.name_any())
                .collect::<Vec<_>>()
                .join(", "),
        }
    } else {
        Diagnosis::NodesCordoned {
            nodes: name_list(cordoned),
        }
    }
}

fn is_cordoned(node: &Node) -> bool {
    node.spec
        .as_ref()
        .and_then(|spec| spec.unschedulable)
        .unwrap_or(false)
}

/// Since when the node has been Ready; none where it is not.
fn ready_since(node: &Node) -> Option<jiff::Timestamp> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions
        .iter()
        .find(|condition| condition.type_ == "Ready" && condition.status == "True")?;
    Some(
        ready
            .last_transition_time
            .as_ref()
            .map_or(jiff::Timestamp::UNIX_EPOCH, |time| time.0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{node, object};
    use serde_json::json;

    #[track_caller]
    fn case(nodes: &[serde_json::Value], expected: Option<&str>) {
        let nodes: Vec<Node> = nodes.iter().cloned().map(object).collect();
        let outcome = judge(With { at_least: 3 }, &nodes);
        assert_eq!(outcome.diagnosis().map(Diagnosis::id), expected);
    }

    #[test]
    fn only_ready_and_open_nodes_count() {
        let cordoned = |name| {
            let mut node = node(name, "True");
            node["spec"] = json!({"unschedulable": true});
            node
        };
        case(
            &[node("a", "True"), node("b", "True"), node("c", "True")],
            None,
        );
        case(
            &[node("a", "True"), node("b", "True")],
            Some("too-few-nodes"),
        );
        case(
            &[node("a", "True"), node("b", "True"), node("c", "False")],
            Some("nodes-not-ready"),
        );
        case(
            &[node("a", "True"), node("b", "True"), node("c", "Unknown")],
            Some("nodes-not-ready"),
        );
        case(
            &[node("a", "True"), node("b", "True"), cordoned("c")],
            Some("nodes-cordoned"),
        );
        case(&[], Some("too-few-nodes"));
    }
}
