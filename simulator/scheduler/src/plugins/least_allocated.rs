//! Prefers nodes with more room left.

use super::{Plugin, PluginDef, Scale};
use crate::node::{plus, weighed};
use crate::{PodInfo, Snapshot};

pub(super) const DEF: PluginDef = PluginDef {
    name: "LeastAllocated",
    prepare,
};

/// Weight in kube-scheduler's default configuration.
const WEIGHT: i64 = 1;

fn prepare<'a>(pod: &'a PodInfo, _: &'a Snapshot) -> Plugin<'a> {
    let requests = weighed(pod.template.requests);
    Plugin::score(WEIGHT, Scale::Percent, move |node| {
        let after = plus(node.usage.weighed, requests);
        let cpu = free_percent(after.cpu_millis, node.allocatable.cpu_millis);
        let memory = free_percent(after.memory_bytes, node.allocatable.memory_bytes);
        i64::midpoint(cpu, memory)
    })
}

/// What is left of `total`, 0 to 100.
fn free_percent(used: u64, total: u64) -> i64 {
    let free = u128::from(total.saturating_sub(used)) * 100;
    let percent = free.checked_div(u128::from(total)).unwrap_or(0);
    i64::try_from(percent).unwrap_or(100)
}
