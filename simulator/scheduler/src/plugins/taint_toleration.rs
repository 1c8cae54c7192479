//! Taints keep away pods that do not tolerate them; a soft taint only puts them off.

use super::{Plugin, PluginDef, Scale};
use crate::{Node, PodInfo, Snapshot};
use lab_api::taints::tolerated;

pub(super) const DEF: PluginDef = PluginDef {
    name: "TaintToleration",
    prepare,
};

/// Weight in kube-scheduler's default configuration.
const WEIGHT: i64 = 3;

fn prepare<'a>(pod: &'a PodInfo, _: &'a Snapshot) -> Plugin<'a> {
    let tolerations = &pod.template.tolerations;
    let bothers = move |node: &Node, soft: bool| {
        let taints = node.taints.iter();
        taints
            .filter(|taint| (taint.effect == "PreferNoSchedule") == soft)
            .filter(|taint| !tolerated(tolerations, taint))
            .cloned()
            .collect::<Vec<_>>()
    };
    Plugin::filter(move |node| match bothers(node, false).first() {
        None => Ok(()),
        Some(taint) => {
            let value = taint.value.as_deref().unwrap_or_default();
            let reason = format!("node(s) had untolerated taint {{{}: {value}}}", taint.key);
            Err(vec![reason.into()])
        }
    })
    .and_score(WEIGHT, Scale::Least, move |node| {
        i64::try_from(bothers(node, true).len()).unwrap_or(i64::MAX)
    })
}
