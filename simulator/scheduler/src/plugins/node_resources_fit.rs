//! A pod's requests must fit into what the node has left.
//!
//! <https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/>

use super::{Plugin, PluginDef, Reason};
use crate::node::plus;
use crate::{PodInfo, Snapshot};

pub(super) const DEF: PluginDef = PluginDef {
    name: "NodeResourcesFit",
    prepare,
};

fn prepare<'a>(pod: &'a PodInfo, _: &'a Snapshot) -> Plugin<'a> {
    let requests = pod.template.requests;
    Plugin::filter(move |node| {
        let after = plus(node.usage.requested, requests);
        let lacking = [
            (node.usage.pods.len() >= node.max_pods, "Too many pods"),
            // A pod that asks for nothing fits even where others ask for too much.
            (
                requests.cpu_millis > 0 && after.cpu_millis > node.allocatable.cpu_millis,
                "Insufficient cpu",
            ),
            (
                requests.memory_bytes > 0 && after.memory_bytes > node.allocatable.memory_bytes,
                "Insufficient memory",
            ),
        ];
        let mut lacking = lacking.into_iter().filter(|(lacks, _)| *lacks).peekable();
        match lacking.peek() {
            None => Ok(()),
            Some(_) => Err(lacking.map(|(_, reason)| Reason::from(reason)).collect()),
        }
    })
}
