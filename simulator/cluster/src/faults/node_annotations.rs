//! Faults that a node's agent plays, told by annotations of its Node.

use anyhow::Context as _;
use futures::FutureExt;
use lab_api::faults::{self, Share};
use serde_json::{Value, json};

use super::stage::{Stage, cluster_wide, kind};
use super::{ANY, FaultDef, Injected, REAL, Target};

/// Share of their time that a slow node's pods keep, where nobody says.
const SLOW_SHARE: &str = "20%";

pub(super) const PARTITION: FaultDef = FaultDef {
    name: "node-partition",
    help: "cut a node off from the control plane; its pods go on running",
    expect: "heartbeats stop: NotReady when the lease lapses (40 s), taints, eviction after 5 min; the node's pods still run and may answer, and end once it is back",
    healed_by: "devops-lab fault heal node-partition joins it again (or: kubectl annotate node NODE faults.devops-lab.dev/partition-)",
    target: Target::Node,
    engines: ANY,
    options: &[],
    passing: false,
    inject: |stage, request| {
        async move {
            let node = stage.node(request.target.as_deref()).await?;
            set(stage, &node, faults::PARTITION, Some("true")).await?;
            Ok(Injected {
                did: format!("cut {node} off from the control plane"),
                target: node,
                undo: Value::Null,
            })
        }
        .boxed()
    },
    heal: |stage, injection| {
        async move {
            set(stage, &injection.target, faults::PARTITION, None).await?;
            Ok(format!("joined {} to the control plane", injection.target))
        }
        .boxed()
    },
};

pub(super) const SLOW: FaultDef = FaultDef {
    name: "node-slow",
    help: "let the pods of a node run a share of their time only (--share 20%)",
    expect: "its pods answer slowly, latency rises for the share of requests they get, and probes may time out",
    healed_by: "devops-lab fault heal node-slow gives them their time back (or: kubectl annotate node NODE faults.devops-lab.dev/slow-)",
    target: Target::Node,
    engines: REAL,
    options: &["share"],
    passing: false,
    inject: |stage, request| {
        async move {
            let share = request.share.as_deref().unwrap_or(SLOW_SHARE);
            let parsed = Share::parse(share).filter(|share| *share != Share::ALL);
            let share = parsed.with_context(|| {
                format!("{share:?} is no share: write a percentage above 0% and below 100%")
            })?;
            let node = stage.node(request.target.as_deref()).await?;
            set(stage, &node, faults::SLOW, Some(&share.to_string())).await?;
            Ok(Injected {
                did: format!("slowed {node} down: its pods get {share} of their time"),
                target: node,
                undo: Value::Null,
            })
        }
        .boxed()
    },
    heal: |stage, injection| {
        async move {
            set(stage, &injection.target, faults::SLOW, None).await?;
            Ok(format!(
                "gave the pods of {} their time back",
                injection.target
            ))
        }
        .boxed()
    },
};

async fn set(stage: &Stage, node: &str, key: &str, value: Option<&str>) -> anyhow::Result<()> {
    stage
        .annotate(
            &kind("", "v1", "Node"),
            &cluster_wide(node),
            json!({key: value}),
        )
        .await
}
