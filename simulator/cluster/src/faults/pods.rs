//! Faults of single pods.

use anyhow::Context as _;
use futures::FutureExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;
use lab_api::faults;
use serde_json::{Value, json};

use super::stage::kind;
use super::{ANY, FaultDef, Injected, REAL, Target};

pub(super) const KILL: FaultDef = FaultDef {
    name: "pod-kill",
    help: "kill a pod without any grace",
    expect: "requests in flight to it fail, and its controller makes another at once; a pod that nobody controls is gone",
    healed_by: "the pod's controller replaces it; nothing is left to heal",
    target: Target::Pod,
    engines: ANY,
    options: &[],
    passing: true,
    inject: |stage, request| {
        async move {
            let place = stage.pod(request.target.as_deref()).await?;
            let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &place.namespace);
            let at_once = DeleteParams::default().grace_period(0);
            pods.delete(&place.name, &at_once)
                .await
                .with_context(|| format!("pod {place} is not killed"))?;
            Ok(Injected {
                did: format!("killed pod {place}"),
                target: place.to_string(),
                undo: Value::Null,
            })
        }
        .boxed()
    },
    heal: |_, injection| {
        let done = format!("pod {} was left to its controller", injection.target);
        async move { Ok(done) }.boxed()
    },
};

pub(super) const MEMORY: FaultDef = FaultDef {
    name: "pod-memory",
    help: "let a pod run out of memory until it is OOM-killed",
    expect: "its containers end with OOMKilled and exit code 137, and are started again after a back-off that grows",
    healed_by: "the node starts its containers again; nothing is left to heal",
    target: Target::Pod,
    engines: REAL,
    options: &[],
    passing: true,
    inject: |stage, request| {
        async move {
            let place = stage.pod(request.target.as_deref()).await?;
            let annotations = json!({faults::MEMORY: "exhaust"});
            stage
                .annotate(&kind("", "v1", "Pod"), &place, annotations)
                .await?;
            Ok(Injected {
                did: format!("took the memory of pod {place} away"),
                target: place.to_string(),
                undo: Value::Null,
            })
        }
        .boxed()
    },
    heal: |_, injection| {
        let done = format!("pod {} was left to its node", injection.target);
        async move { Ok(done) }.boxed()
    },
};
