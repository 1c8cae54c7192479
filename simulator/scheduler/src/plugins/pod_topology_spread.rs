//! Spreads pods over nodes and zones.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/>. A
//! pod without constraints of its own is spread over nodes with the pods of its controller;
//! Kubernetes' second default, over zones, is left out because our nodes have none.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{Taint, TopologySpreadConstraint};
use lab_api::selector::Selector;

use super::{Plugin, PluginDef, Scale, node_affinity, object};
use crate::{Node, PodInfo, Snapshot};
use lab_api::taints::tolerated;

pub(super) const DEF: PluginDef = PluginDef {
    name: "PodTopologySpread",
    prepare,
};

/// Weight in kube-scheduler's default configuration.
const WEIGHT: i64 = 2;

fn prepare<'a>(pod: &'a PodInfo, snapshot: &'a Snapshot) -> Plugin<'a> {
    let template = &pod.template;
    if template.spread.is_empty() {
        return over_nodes_with_siblings(pod);
    }
    let (hard, soft): (Vec<_>, Vec<_>) = template
        .spread
        .iter()
        .map(|constraint| Spread::count(constraint, pod, snapshot))
        .partition(|spread| spread.constraint.when_unsatisfiable == "DoNotSchedule");
    let plugin = Plugin::filter(move |node| {
        for spread in &hard {
            match spread.skew(node) {
                None => {
                    return object(
                        "node(s) didn't match pod topology spread constraints (missing required label)",
                    );
                }
                Some(skew) if skew > i64::from(spread.constraint.max_skew) => {
                    return object("node(s) didn't match pod topology spread constraints");
                }
                Some(_) => {}
            }
        }
        Ok(())
    });
    if soft.is_empty() {
        return plugin;
    }
    plugin.and_score(WEIGHT, Scale::Least, move |node| {
        soft.iter().map(|spread| spread.crowd(node)).sum()
    })
}

fn over_nodes_with_siblings(pod: &PodInfo) -> Plugin<'_> {
    let Some(owner) = &pod.template.owner else {
        return Plugin::default();
    };
    Plugin::score(WEIGHT, Scale::Least, move |node| {
        count(node.usage.by_owner.get(owner).copied().unwrap_or(0))
    })
}

/// One constraint, with the matching pods of each domain counted.
struct Spread<'a> {
    constraint: &'a TopologySpreadConstraint,
    domains: HashMap<&'a str, i64>,
    /// 1 where the pod itself matches, and so adds to the domain it lands in.
    own: i64,
}

impl<'a> Spread<'a> {
    fn count(
        constraint: &'a TopologySpreadConstraint,
        pod: &'a PodInfo,
        snapshot: &'a Snapshot,
    ) -> Self {
        let selector = selector(constraint, &pod.template.labels);
        let selects = |labels| selector.as_ref().is_some_and(|s| s.matches(labels));
        let mut domains = HashMap::new();
        for node in snapshot.nodes() {
            let Some(domain) = node.labels.get(&constraint.topology_key) else {
                continue;
            };
            if !counts(constraint, pod, node) {
                continue;
            }
            let pods = node.usage.pods.values();
            let matching = pods
                .filter(|other| other.namespace == pod.namespace && !other.terminating)
                .filter(|other| selects(&other.template.labels));
            *domains.entry(domain.as_str()).or_default() += count(matching.count());
        }
        Self {
            constraint,
            domains,
            own: i64::from(selects(&pod.template.labels)),
        }
    }

    /// How far the pod would put the node's domain ahead of the emptiest; `None` for a node
    /// outside all domains.
    fn skew(&self, node: &Node) -> Option<i64> {
        let domain = node.labels.get(&self.constraint.topology_key)?;
        let here = self.domains.get(domain.as_str()).copied().unwrap_or(0);
        let wanted = self.constraint.min_domains.unwrap_or(1);
        let enough = i64::from(wanted) <= count(self.domains.len());
        let emptiest = self.domains.values().min().copied();
        let emptiest = emptiest.filter(|_| enough).unwrap_or(0);
        Some(here + self.own - emptiest)
    }

    /// Matching pods in the node's domain. A node outside all domains is as bad as all
    /// domains together.
    fn crowd(&self, node: &Node) -> i64 {
        let domain = node.labels.get(&self.constraint.topology_key);
        domain.map_or_else(
            || 1 + self.domains.values().sum::<i64>(),
            |domain| self.domains.get(domain.as_str()).copied().unwrap_or(0),
        )
    }
}

/// The pods that count, `matchLabelKeys` included; without a selector, none.
fn selector(
    constraint: &TopologySpreadConstraint,
    labels: &BTreeMap<String, String>,
) -> Option<Selector> {
    let mut selector = constraint.label_selector.clone()?;
    let keys = constraint.match_label_keys.iter().flatten();
    let own = keys.filter_map(|key| Some((key.clone(), labels.get(key)?.clone())));
    selector
        .match_labels
        .get_or_insert_default()
        .extend(own.collect::<Vec<_>>());
    Some(Selector::from_label_selector(&selector))
}

/// Whether the node's pods and domain are counted: by default where the pod's node affinity
/// accepts it, whatever its taints.
fn counts(constraint: &TopologySpreadConstraint, pod: &PodInfo, node: &Node) -> bool {
    let affinity_honoured = constraint.node_affinity_policy.as_deref() != Some("Ignore");
    let taints_honoured = constraint.node_taints_policy.as_deref() == Some("Honor");
    let untolerated = |taint: &Taint| {
        taint.effect != "PreferNoSchedule" && !tolerated(&pod.template.tolerations, taint)
    };
    (!affinity_honoured || node_affinity::admits(pod, node))
        && !(taints_honoured && node.taints.iter().any(untolerated))
}

fn count(pods: usize) -> i64 {
    i64::try_from(pods).unwrap_or(i64::MAX)
}
