//! Prefers nodes where the pod would leave CPU and memory used in like measure, so that
//! neither runs out while the other lies idle.

use super::{Plugin, PluginDef, Scale};
use crate::node::{plus, weighed};
use crate::{PodInfo, Snapshot};

pub(super) const DEF: PluginDef = PluginDef {
    name: "NodeResourcesBalancedAllocation",
    prepare,
};

/// Weight in kube-scheduler's default configuration.
const WEIGHT: i64 = 1;

fn prepare<'a>(pod: &'a PodInfo, _: &'a Snapshot) -> Plugin<'a> {
    let requests = weighed(pod.template.requests);
    Plugin::score(WEIGHT, Scale::Percent, move |node| {
        let after = plus(node.usage.weighed, requests);
        let cpu = used_percent(after.cpu_millis, node.allocatable.cpu_millis);
        let memory = used_percent(after.memory_bytes, node.allocatable.memory_bytes);
        // The standard deviation of two numbers is half their difference.
        100 - (cpu - memory).abs() / 2
    })
}

/// The used share of `total`, 0 to 100.
fn used_percent(used: u64, total: u64) -> i64 {
    let used = u128::from(used) * 100;
    let percent = used.checked_div(u128::from(total)).unwrap_or(100).min(100);
    i64::try_from(percent).unwrap_or(100)
}
