//! A recovery as it is observed: what changes in the cluster, and after how long.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tokio::time::{Instant, sleep};

use crate::lifecycle::is_ready;

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// What is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Readiness of nodes: `Ready`, `NotReady`, and whether pods are sent away.
    nodes: BTreeMap<String, (bool, bool)>,
    /// Available and wanted replicas of Deployments.
    deployments: BTreeMap<String, (i32, i32)>,
    /// Pods by name, with their node.
    pods: BTreeMap<String, String>,
}

impl Sight {
    /// Looks.
    ///
    /// # Errors
    /// Where the API does not answer.
    pub async fn of(client: &Client) -> anyhow::Result<Self> {
        let all = ListParams::default();
        let nodes = Api::<Node>::all(client.clone());
        let deployments = Api::<Deployment>::all(client.clone());
        let pods = Api::<Pod>::all(client.clone());
        let (nodes, deployments, pods) =
            tokio::try_join!(nodes.list(&all), deployments.list(&all), pods.list(&all))
                .context("the API does not answer")?;
        Ok(Self {
            nodes: nodes.items.iter().map(node).collect(),
            deployments: deployments.items.iter().map(deployment).collect(),
            pods: pods.items.iter().filter_map(pod).collect(),
        })
    }

    /// Whether every Deployment has what it wants.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let mut deployments = self.deployments.values();
        deployments.all(|(available, wanted)| available >= wanted)
    }

    /// What has changed since, in words.
    #[must_use]
    pub fn changes(&self, later: &Self) -> Vec<String> {
        let mut words = Vec::new();
        for (name, &(ready, tainted)) in &later.nodes {
            let Some(&(was_ready, was_tainted)) = self.nodes.get(name) else {
                continue;
            };
            match (was_ready, ready) {
                (true, false) => words.push(format!("{name} is NotReady")),
                (false, true) => words.push(format!("{name} is Ready")),
                _ => {}
            }
            if tainted && !was_tainted {
                words.push(format!("{name} is tainted: its pods have to leave"));
            }
        }
        for (name, node) in &later.pods {
            if !self.pods.contains_key(name) {
                words.push(format!("pod {name} is made, on {node}"));
            }
        }
        for name in self.pods.keys() {
            if !later.pods.contains_key(name) {
                words.push(format!("pod {name} is gone, or on its way out"));
            }
        }
        for (name, &(available, wanted)) in &later.deployments {
            if self.deployments.get(name) != Some(&(available, wanted)) {
                words.push(format!("{name} has {available} of {wanted} available"));
            }
        }
        words
    }
}

fn node(node: &Node) -> (String, (bool, bool)) {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref());
    let tainted = taints
        .unwrap_or_default()
        .iter()
        .any(|t| t.effect == "NoExecute");
    (node.name_any(), (is_ready(node), tainted))
}

fn deployment(deployment: &Deployment) -> (String, (i32, i32)) {
    let status = deployment.status.as_ref();
    let available = status.and_then(|status| status.available_replicas);
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    let name = format!("deployment {}", deployment.name_any());
    (name, (available.unwrap_or(0), wanted.unwrap_or(1)))
}

fn pod(pod: &Pod) -> Option<(String, String)> {
    let node = pod.spec.as_ref()?.node_name.clone()?;
    pod.metadata
        .deletion_timestamp
        .is_none()
        .then(|| (pod.name_any(), node))
}

/// How a watch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Something was missing, and all is there again, this long after the beginning.
    Recovered(Duration),
    /// Time is over, and nothing was ever missing.
    Untouched,
    /// Time is over, and something is missing still.
    Missing,
}

/// Tells every change since `before` with its time, until everything that was lost is back, or
/// `limit` has passed. A control plane that does not answer for a while is waited for.
pub async fn recovery(
    client: &Client,
    before: Sight,
    limit: Duration,
    mut tell: impl FnMut(Duration, &str),
) -> Ended {
    let began = Instant::now();
    let (mut last, mut hurt) = (before, false);
    while began.elapsed() < limit {
        if let Ok(now) = Sight::of(client).await {
            for change in last.changes(&now) {
                tell(began.elapsed(), &change);
            }
            hurt |= !now.is_whole();
            last = now;
            if hurt && last.is_whole() {
                return Ended::Recovered(began.elapsed());
            }
        }
        sleep(LOOK).await;
    }
    if hurt {
        Ended::Missing
    } else {
        Ended::Untouched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(ready: bool, tainted: bool, available: i32, pods: &[(&str, &str)]) -> Sight {
        let pods = pods
            .iter()
            .map(|(pod, node)| ((*pod).into(), (*node).into()));
        Sight {
            nodes: [("node-1".into(), (ready, tainted))].into(),
            deployments: [("deployment hello".into(), (available, 3))].into(),
            pods: pods.collect(),
        }
    }

    #[test]
    fn changes_are_told_in_words() {
        let before = sight(true, false, 3, &[("a", "node-1")]);
        assert!(before.is_whole() && before.changes(&before).is_empty());
        let lost = sight(false, true, 2, &[("a", "node-1")]);
        assert!(!lost.is_whole());
        assert_eq!(
            before.changes(&lost),
            [
                "node-1 is NotReady",
                "node-1 is tainted: its pods have to leave",
                "deployment hello has 2 of 3 available"
            ]
        );
        let moved = sight(false, true, 3, &[("b", "node-2")]);
        assert_eq!(
            lost.changes(&moved),
            [
                "pod b is made, on node-2",
                "pod a is gone, or on its way out",
                "deployment hello has 3 of 3 available"
            ]
        );
    }
}
