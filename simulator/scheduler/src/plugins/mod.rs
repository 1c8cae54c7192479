//! What rules nodes out, and what prefers them: one file each.
//!
//! A plugin is prepared once per pod, where it may look at the whole snapshot; the filter and
//! the score that it returns then see one node at a time. One that does not concern the pod
//! returns neither, and costs nothing.
//!
//! Kubernetes' NodeName plugin has no counterpart: a pod that names its node is never queued.

mod balanced_allocation;
mod inter_pod_affinity;
mod least_allocated;
mod node_affinity;
mod node_ready;
mod node_resources_fit;
mod node_unschedulable;
mod pod_topology_spread;
mod taint_toleration;

use std::borrow::Cow;

use crate::{Node, PodInfo, Snapshot};

/// Every plugin. Filters run in this order, cheap and telling ones first: the first to object
/// gives the reason that the student reads.
pub const ALL: &[PluginDef] = &[
    node_unschedulable::DEF,
    taint_toleration::DEF,
    node_ready::DEF,
    node_affinity::DEF,
    node_resources_fit::DEF,
    pod_topology_spread::DEF,
    inter_pod_affinity::DEF,
    least_allocated::DEF,
    balanced_allocation::DEF,
];

/// One plugin.
#[derive(Debug)]
pub struct PluginDef {
    /// Kubernetes' name for it, where there is one.
    pub name: &'static str,
    /// Makes its filter and its score for one pod.
    pub prepare: for<'a> fn(&'a PodInfo, &'a Snapshot) -> Plugin<'a>,
}

/// Why a node cannot take a pod, worded to follow a number: "node(s) were unschedulable".
pub type Reason = Cow<'static, str>;

/// Passes a node, or gives the reasons against it.
pub type Filter<'a> = Box<dyn Fn(&Node) -> Result<(), Vec<Reason>> + 'a>;

/// A plugin prepared for one pod.
#[derive(Default)]
pub struct Plugin<'a> {
    /// What rules nodes out.
    pub filter: Option<Filter<'a>>,
    /// What compares the others.
    pub score: Option<Score<'a>>,
}

/// Compares nodes.
pub struct Score<'a> {
    weight: i64,
    scale: Scale,
    raw: Box<dyn Fn(&Node) -> i64 + 'a>,
}

/// How raw scores become 0 to 100.
#[derive(Clone, Copy, Debug)]
enum Scale {
    /// They already are.
    Percent,
    /// In proportion to the highest, which gets 100.
    Most,
    /// In proportion to the highest, which gets 0.
    Least,
    /// Spread out from the lowest (0) to the highest (100); negative ones are possible.
    Range,
}

impl<'a> Plugin<'a> {
    fn filter(filter: impl Fn(&Node) -> Result<(), Vec<Reason>> + 'a) -> Self {
        Self {
            filter: Some(Box::new(filter)),
            score: None,
        }
    }

    fn score(weight: i64, scale: Scale, raw: impl Fn(&Node) -> i64 + 'a) -> Self {
        Self::default().and_score(weight, scale, raw)
    }

    fn and_score(self, weight: i64, scale: Scale, raw: impl Fn(&Node) -> i64 + 'a) -> Self {
        let raw = Box::new(raw);
        Self {
            score: Some(Score { weight, scale, raw }),
            ..self
        }
    }
}

impl Score<'_> {
    /// The weighted points of each node.
    pub(crate) fn points(&self, nodes: &[&Node]) -> impl Iterator<Item = i64> {
        let raw: Vec<i64> = nodes.iter().map(|node| (self.raw)(node)).collect();
        let most = raw.iter().max().copied().unwrap_or_default();
        let least = raw.iter().min().copied().unwrap_or_default();
        let (weight, scale) = (self.weight, self.scale);
        raw.into_iter()
            .map(move |value| weight * scale.percent(value, least, most))
    }
}

impl Scale {
    fn percent(self, value: i64, least: i64, most: i64) -> i64 {
        let share = |part: i64, whole: i64| (100 * part).checked_div(whole).unwrap_or(0);
        match self {
            Self::Percent => value,
            Self::Most => share(value, most),
            Self::Least => 100 - share(value, most),
            Self::Range => share(value - least, most - least),
        }
    }
}

fn object(reason: &'static str) -> Result<(), Vec<Reason>> {
    Err(vec![Cow::Borrowed(reason)])
}
