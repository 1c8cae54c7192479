//! `nodeSelector` and node affinity.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/>

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};

use super::{Plugin, PluginDef, Scale, object};
use crate::{Node, PodInfo, Snapshot};

pub(super) const DEF: PluginDef = PluginDef {
    name: "NodeAffinity",
    prepare,
};

/// Weight in kube-scheduler's default configuration.
const WEIGHT: i64 = 2;

fn prepare<'a>(pod: &'a PodInfo, _: &'a Snapshot) -> Plugin<'a> {
    let template = &pod.template;
    let affinity = template.affinity.node_affinity.as_ref();
    let mut plugin = Plugin::default();
    if affinity.is_some() || !template.node_selector.is_empty() {
        plugin = Plugin::filter(|node| {
            if !admits(pod, node) {
                return object("node(s) didn't match Pod's node affinity/selector");
            }
            Ok(())
        });
    }
    let preferred = affinity.and_then(|a| {
        a.preferred_during_scheduling_ignored_during_execution
            .as_ref()
    });
    let Some(preferred) = preferred.filter(|terms| !terms.is_empty()) else {
        return plugin;
    };
    plugin.and_score(WEIGHT, Scale::Most, |node| {
        let terms = preferred
            .iter()
            .filter(|term| matches(&term.preference, node));
        terms.map(|term| i64::from(term.weight)).sum()
    })
}

/// True where the pod's node selector and required node affinity accept `node`.
pub(super) fn admits(pod: &PodInfo, node: &Node) -> bool {
    let template = &pod.template;
    let selected = template
        .node_selector
        .iter()
        .all(|(key, value)| node.labels.get(key) == Some(value));
    let affinity = template.affinity.node_affinity.as_ref();
    let required = affinity.and_then(|a| {
        a.required_during_scheduling_ignored_during_execution
            .as_ref()
    });
    selected
        && required.is_none_or(|selector| {
            let mut terms = selector.node_selector_terms.iter();
            terms.any(|term| matches(term, node))
        })
}

/// All requirements of a term hold. A term without any matches nothing.
fn matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let label = |r: &NodeSelectorRequirement| node.labels.get(&r.key).map(String::as_str);
    // The only field that Kubernetes supports.
    let field = |r: &NodeSelectorRequirement| (r.key == "metadata.name").then_some(&*node.name);
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|r| holds(r, label(r)))
        && fields.iter().all(|r| holds(r, field(r)))
}

fn holds(requirement: &NodeSelectorRequirement, actual: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = || actual.is_some_and(|actual| values.iter().any(|v| v == actual));
    let compared = |fits: fn(i64, i64) -> bool| {
        let actual = actual.and_then(|actual| actual.parse().ok());
        let bound = values.first().and_then(|bound| bound.parse().ok());
        matches!((actual, bound), (Some(actual), Some(bound)) if fits(actual, bound))
    };
    match requirement.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => actual.is_some(),
        "DoesNotExist" => actual.is_none(),
        "Gt" => compared(|actual, bound| actual > bound),
        "Lt" => compared(|actual, bound| actual < bound),
        // Refused by validation; whatever slips through selects nothing.
        _ => false,
    }
}
