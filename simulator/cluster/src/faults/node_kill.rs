//! A node dies from one moment to the next: `kill -9`, or `docker kill`.

use futures::FutureExt;
use serde_json::Value;

use super::{FaultDef, Injected, REAL, Target};

pub(super) const DEF: FaultDef = FaultDef {
    name: "node-kill",
    help: "kill a node at once, and its pods with it",
    expect: "the node is NotReady when its lease lapses (40 s), its pods are replaced when they no longer tolerate that (5 min); the speed of the cluster shortens both",
    healed_by: "devops-lab fault heal node-kill switches the node on again",
    target: Target::Node,
    engines: REAL,
    options: &[],
    passing: false,
    inject: |stage, request| {
        async move {
            let node = stage.node(request.target.as_deref()).await?;
            stage.provider.kill_component(&node).await?;
            Ok(Injected {
                did: format!("killed {node} and every pod on it"),
                target: node,
                undo: Value::Null,
            })
        }
        .boxed()
    },
    heal: |stage, injection| {
        async move {
            stage.provider.start_component(&injection.target).await?;
            Ok(format!("switched {} on", injection.target))
        }
        .boxed()
    },
};
