//! The decision: from a pod and a snapshot to a node, or to the reasons why not.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::plugins::{self, Filter, Reason, Score};
use crate::{Node, PodInfo, Snapshot};

/// Nodes to score per pod; once that many can take it, the search ends. It is kube-scheduler's
/// minimum for `percentageOfNodesToScore`: beyond it a better node costs more time than it is
/// worth. <https://kubernetes.io/docs/concepts/scheduling-eviction/scheduler-perf-tuning/>
const ENOUGH_NODES: usize = 100;

/// Where a pod goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Name of the node.
    pub node: Arc<str>,
    /// How many nodes were looked at. The next search starts behind them, so that all nodes of
    /// a large cluster get their turn.
    pub examined: usize,
}

/// Why a pod goes nowhere; displayed as Kubernetes words it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unschedulable {
    /// How many nodes there are.
    pub nodes: usize,
    /// How many of them each reason rules out.
    pub reasons: BTreeMap<Reason, usize>,
}

/// Chooses a node for `pod`: filters from the node at `start` on, scores those that remain,
/// and lets `random` (in `0.0..1.0`) break ties.
///
/// # Errors
/// [`Unschedulable`] where every node is ruled out.
pub fn schedule(
    pod: &PodInfo,
    snapshot: &Snapshot,
    start: usize,
    random: &mut dyn FnMut() -> f64,
) -> Result<Decision, Unschedulable> {
    let (mut filters, mut scores) = (Vec::new(), Vec::new());
    for plugin in plugins::ALL {
        let prepared = (plugin.prepare)(pod, snapshot);
        filters.extend(prepared.filter);
        scores.extend(prepared.score);
    }
    let found = search(snapshot.nodes(), start, &filters)?;
    let node = match found.feasible.as_slice() {
        [only] => only,
        several => best(several, &scores, random),
    };
    Ok(Decision {
        node: Arc::clone(&node.name),
        examined: found.examined,
    })
}

struct Found<'a> {
    feasible: Vec<&'a Node>,
    examined: usize,
}

fn search<'a>(
    nodes: &'a [Node],
    start: usize,
    filters: &[Filter<'_>],
) -> Result<Found<'a>, Unschedulable> {
    let (before, after) = nodes.split_at(start.checked_rem(nodes.len()).unwrap_or(0));
    let mut feasible = Vec::new();
    let mut examined = 0;
    let mut reasons = BTreeMap::new();
    for node in after.iter().chain(before) {
        examined += 1;
        // As in kube-scheduler, the first plugin that objects speaks for the node.
        match filters.iter().try_for_each(|filter| filter(node)) {
            Ok(()) => feasible.push(node),
            Err(objections) => {
                for reason in objections {
                    *reasons.entry(reason).or_default() += 1;
                }
            }
        }
        if feasible.len() == ENOUGH_NODES {
            break;
        }
    }
    if feasible.is_empty() {
        let nodes = nodes.len();
        return Err(Unschedulable { nodes, reasons });
    }
    Ok(Found { feasible, examined })
}

/// The node with the highest weighted sum; among equals, a random one. `nodes` is not empty.
fn best<'a>(nodes: &[&'a Node], scores: &[Score<'_>], random: &mut dyn FnMut() -> f64) -> &'a Node {
    let mut totals = vec![0; nodes.len()];
    for score in scores {
        for (total, points) in totals.iter_mut().zip(score.points(nodes)) {
            *total += points;
        }
    }
    let highest = totals.iter().max().copied().unwrap_or_default();
    let winners: Vec<_> = nodes
        .iter()
        .zip(&totals)
        .filter(|(_, total)| **total == highest)
        .map(|(node, _)| *node)
        .collect();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a share of a small number is a small number"
    )]
    let at = (random() * winners.len() as f64) as usize;
    winners[at.min(winners.len() - 1)]
}

impl fmt::Display for Unschedulable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, reasons } = self;
        if *nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        let mut parts: Vec<String> = reasons
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        parts.sort();
        write!(f, "0/{nodes} nodes are available: {}.", parts.join(", "))
    }
}

impl std::error::Error for Unschedulable {}
