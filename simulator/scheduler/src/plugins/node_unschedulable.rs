//! Cordoned nodes take no new pods.

use lab_api::names::TAINT_UNSCHEDULABLE;

use super::{Plugin, PluginDef, object};
use crate::{PodInfo, Snapshot};
use lab_api::taints::tolerates_no_schedule;

pub(super) const DEF: PluginDef = PluginDef {
    name: "NodeUnschedulable",
    prepare,
};

fn prepare<'a>(pod: &'a PodInfo, _: &'a Snapshot) -> Plugin<'a> {
    if tolerates_no_schedule(&pod.template.tolerations, TAINT_UNSCHEDULABLE) {
        return Plugin::default();
    }
    Plugin::filter(|node| {
        if node.cordoned {
            return object("node(s) were unschedulable");
        }
        Ok(())
    })
}
