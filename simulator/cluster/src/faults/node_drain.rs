//! A node is emptied for maintenance: no new pods, and the present ones are evicted.

use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::FutureExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{EvictParams, ListParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::stage::{Stage, cluster_wide, kind};
use super::{ANY, FaultDef, Injected, Target};

/// How long evictions may be refused, in the cluster's own time: a disruption budget gives way
/// once a replacement is ready.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pause between two tries, in the cluster's own time.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) const DEF: FaultDef = FaultDef {
    name: "node-drain",
    help: "empty a node as for maintenance: cordon it and evict its pods",
    expect: "its pods end gracefully and are made anew on the other nodes; nothing new is placed on it",
    healed_by: "devops-lab fault heal node-drain uncordons it (or: kubectl uncordon NODE)",
    target: Target::Node,
    engines: ANY,
    options: &[],
    passing: false,
    inject: |stage, request| {
        async move {
            let node = stage.node(request.target.as_deref()).await?;
            cordon(stage, &node, true).await?;
            let evicted = evict_all(stage, &node).await?;
            Ok(Injected {
                did: format!("cordoned {node} and evicted {evicted} pods"),
                target: node,
                undo: Value::Null,
            })
        }
        .boxed()
    },
    heal: |stage, injection| {
        async move {
            cordon(stage, &injection.target, false).await?;
            Ok(format!("uncordoned {}", injection.target))
        }
        .boxed()
    },
};

async fn cordon(stage: &Stage, node: &str, on: bool) -> anyhow::Result<()> {
    let patch = json!({"spec": {"unschedulable": on.then_some(true)}});
    stage
        .patch(&kind("", "v1", "Node"), &cluster_wide(node), patch)
        .await
}

async fn evict_all(stage: &Stage, node: &str) -> anyhow::Result<usize> {
    let pods: Api<Pod> = Api::all(stage.client.clone());
    let here = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let pods = pods.list(&here).await.context("the API does not answer")?;
    for pod in &pods.items {
        let namespace = pod.namespace().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(stage.client.clone(), &namespace);
        let name = pod.name_any();
        let deadline = tokio::time::Instant::now() + stage.context.scale(PATIENCE);
        loop {
            match api.evict(&name, &EvictParams::default()).await {
                Ok(_) => break,
                Err(kube::Error::Api(status)) if status.code == 404 => break,
                Err(kube::Error::Api(status)) if status.code == 429 => {
                    if tokio::time::Instant::now() > deadline {
                        bail!(
                            "pod {namespace}/{name} may not be evicted: {}",
                            status.message
                        );
                    }
                    tokio::time::sleep(stage.context.scale(PAUSE)).await;
                }
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("pod {namespace}/{name} is not evicted"));
                }
            }
        }
    }
    Ok(pods.items.len())
}
