//! Nodes that are not ready take no new pods.
//!
//! In Kubernetes this is the not-ready taint alone, which a controller adds a moment after the
//! condition changed. Looking at the condition closes that moment; a pod that tolerates the
//! taint still gets there.

use lab_api::names::TAINT_NOT_READY;

use super::{Plugin, PluginDef, object};
use crate::{PodInfo, Snapshot};
use lab_api::taints::tolerates_no_schedule;

pub(super) const DEF: PluginDef = PluginDef {
    name: "NodeReady",
    prepare,
};

fn prepare<'a>(pod: &'a PodInfo, _: &'a Snapshot) -> Plugin<'a> {
    if tolerates_no_schedule(&pod.template.tolerations, TAINT_NOT_READY) {
        return Plugin::default();
    }
    Plugin::filter(|node| {
        if !node.ready {
            return object("node(s) were not ready");
        }
        Ok(())
    })
}
