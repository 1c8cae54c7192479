//! The cluster as one scheduling decision sees it, kept up to date event by event.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::node::{Node, Usage};
use crate::pod::PodInfo;

/// Nodes and the pods on them.
#[derive(Debug, Default)]
pub struct Snapshot {
    nodes: Vec<Node>,
    /// Position of each node.
    index: HashMap<Arc<str>, usize>,
    /// Pods on nodes that are not (or no longer, or not yet) known.
    adrift: HashMap<Arc<str>, Usage>,
    /// The node of each placed pod, by uid.
    placed: HashMap<Arc<str>, Arc<str>>,
    /// Placed pods that keep others away by required anti-affinity, by uid.
    repelling: HashSet<Arc<str>>,
}

impl Snapshot {
    /// The known nodes, in an order that changes only when one comes or goes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The placed pods that have required anti-affinity, each with its node.
    pub fn repelling(&self) -> impl Iterator<Item = (&Node, &PodInfo)> {
        self.repelling.iter().filter_map(|uid| {
            let node = self.nodes.get(*self.index.get(self.placed.get(uid)?)?)?;
            Some((node, &**node.usage.pods.get(uid)?))
        })
    }

    /// Takes in a new or changed node; what runs there is kept. Answers whether it offers
    /// something else than before.
    pub fn set_node(&mut self, mut node: Node) -> bool {
        if let Some(&at) = self.index.get(&node.name) {
            let present = &mut self.nodes[at];
            node.usage = std::mem::take(&mut present.usage);
            let changed = !present.offers_the_same(&node);
            *present = node;
            return changed;
        }
        node.usage = self.adrift.remove(&node.name).unwrap_or_default();
        self.index.insert(Arc::clone(&node.name), self.nodes.len());
        self.nodes.push(node);
        true
    }

    /// Forgets a node. Its pods stay known until somebody deletes them.
    pub fn remove_node(&mut self, name: &str) {
        let Some(at) = self.index.remove(name) else {
            return;
        };
        let node = self.nodes.swap_remove(at);
        if let Some(moved) = self.nodes.get(at) {
            self.index.insert(Arc::clone(&moved.name), at);
        }
        if !node.usage.pods.is_empty() {
            self.adrift.insert(node.name, node.usage);
        }
    }

    /// Puts a pod on a node, or takes in its changes. Answers whether anything changed.
    pub fn place(&mut self, pod: Arc<PodInfo>, node: &str) -> bool {
        if let Some(present) = self.placed.get(&pod.uid) {
            let same_place = **present == *node;
            let usage = self.usage(node);
            if same_place && usage.is_some_and(|u| u.pods.get(&pod.uid) == Some(&pod)) {
                return false;
            }
            self.remove_pod(&pod.uid);
        }
        let uid = Arc::clone(&pod.uid);
        if repels(&pod) {
            self.repelling.insert(Arc::clone(&uid));
        }
        let name = match self.index.get_key_value(node) {
            Some((name, &at)) => {
                self.nodes[at].usage.add(pod);
                Arc::clone(name)
            }
            None => {
                let name: Arc<str> = Arc::from(node);
                self.adrift.entry(Arc::clone(&name)).or_default().add(pod);
                name
            }
        };
        self.placed.insert(uid, name);
        true
    }

    /// Takes a pod off its node. Answers whether it was on one.
    pub fn remove_pod(&mut self, uid: &str) -> bool {
        let Some(node) = self.placed.remove(uid) else {
            return false;
        };
        self.repelling.remove(uid);
        if let Some(&at) = self.index.get(&node) {
            self.nodes[at].usage.remove(uid);
        } else if let Some(usage) = self.adrift.get_mut(&node) {
            usage.remove(uid);
            if usage.pods.is_empty() {
                self.adrift.remove(&node);
            }
        }
        true
    }

    /// The uids of all placed pods.
    pub(crate) fn placed_uids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.placed.keys()
    }

    fn usage(&self, node: &str) -> Option<&Usage> {
        match self.index.get(node) {
            Some(&at) => Some(&self.nodes[at].usage),
            None => self.adrift.get(node),
        }
    }
}

fn repels(pod: &PodInfo) -> bool {
    let anti = pod.template.affinity.pod_anti_affinity.as_ref();
    anti.and_then(|a| {
        a.required_during_scheduling_ignored_during_execution
            .as_ref()
    })
    .is_some_and(|terms| !terms.is_empty())
}
