//! Writes the condition PodScheduled=False, in the background.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, Patch, PatchParams};
use lab_context::Context;
use serde_json::json;
use tokio::sync::mpsc;

use crate::PodInfo;

/// Conditions that may wait to be written. When a thousand pods have no place, the first ones
/// tell the story; the others are told at their next attempt.
const QUEUE: usize = 256;

/// The way to the writing task, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Conditions {
    queue: mpsc::Sender<(Arc<PodInfo>, String)>,
}

impl Conditions {
    pub(crate) fn start(client: kube::Client, context: Context) -> Self {
        let (queue, mut waiting) = mpsc::channel::<(Arc<PodInfo>, String)>(QUEUE);
        tokio::spawn(async move {
            while let Some((pod, reason)) = waiting.recv().await {
                write(&client, &context, &pod, &reason).await;
            }
        });
        Self { queue }
    }

    /// Queues a condition; false where there is no room.
    pub(crate) fn unschedulable(&self, pod: Arc<PodInfo>, reason: String) -> bool {
        self.queue.try_send((pod, reason)).is_ok()
    }
}

async fn write(client: &kube::Client, context: &Context, pod: &PodInfo, reason: &str) {
    let condition = PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some("Unschedulable".to_owned()),
        message: Some(reason.to_owned()),
        last_transition_time: Some(Time(context.now())),
        ..PodCondition::default()
    };
    // The uid makes it a conflict, rather than a wrong condition on a namesake, when the pod
    // was replaced in between.
    let patch = json!({
        "metadata": {"uid": &*pod.uid},
        "status": {"conditions": [condition]},
    });
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace);
    let written = pods
        .patch_status(&pod.name, &PatchParams::default(), &Patch::Strategic(patch))
        .await;
    if let Err(error) = written {
        tracing::debug!(pod = %pod.name, namespace = %pod.namespace, %error, "condition not written");
    }
}
