//! EndpointSlices: the addresses behind each Service that has a selector.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/>

mod plan;
mod select;

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use lab_api::names::{ENDPOINT_SLICE_CONTROLLER, ENDPOINT_SLICE_MANAGED_BY, SERVICE_NAME};
use lab_api::objects::controller_reference;
use serde_json::json;

use crate::ControllerDef;
use crate::patch::merge;
use crate::pods::PodRecord;
use crate::runner::{
    Cache, Change as CacheChange, During, Error, Index, Key, Next, OwnWrites, Queue, work,
};
use crate::shared::Shared;

use plan::{Change, desired};
pub(crate) use select::{Port, ports, selected_pods, selector};

/// In the list of controllers.
pub(crate) const DEF: ControllerDef = ControllerDef {
    name: "endpointslice-controller",
    help: "lists the pods behind each Service, and which of them are ready",
    start,
};

/// Services reconciled at a time, as in kube-controller-manager.
const WORKERS: usize = 5;

struct Controller {
    shared: Arc<Shared>,
    writes: OwnWrites<Key>,
}

fn start(shared: &Arc<Shared>) -> BoxFuture<'static, ()> {
    let queue = Arc::new(Queue::new(shared.context.clone()));
    watch_services_and_pods(shared, &queue);
    let to = Arc::clone(&queue);
    shared.endpoint_slices.on_change(move |change| {
        for slice in change.both() {
            if let Some(service) = managed_for(&slice.metadata) {
                to.add(service);
            }
        }
    });
    let controller = Arc::new(Controller {
        shared: Arc::clone(shared),
        writes: OwnWrites::new(),
    });
    work(DEF.name, queue, WORKERS, shared.stop.clone(), move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key).await }
    })
    .boxed()
}

/// Adds a Service when it changes, and when a pod that it selects does.
pub(crate) fn watch_services_and_pods(shared: &Arc<Shared>, queue: &Arc<Queue<Key>>) {
    let to = Arc::clone(queue);
    shared
        .services
        .on_change(move |change| to.add(Key::of(&change.latest().metadata)));
    let (to, services) = (Arc::clone(queue), Arc::clone(&shared.services));
    shared.pods.on_change(move |change| {
        if matters(change) {
            add_selecting(&to, &services, change);
        }
    });
}

fn add_selecting(
    queue: &Queue<Key>,
    services: &Cache<Service>,
    change: &CacheChange<'_, PodRecord>,
) {
    for service in services.in_namespace(change.latest().namespace()) {
        let selector = selector(&service);
        if change
            .both()
            .any(|pod| crate::claim::selects(selector.as_ref(), &pod.metadata))
        {
            queue.add(Key::of(&service.metadata));
        }
    }
}

/// Whether a change of a pod can change an endpoint. Most do not: a container's start, a
/// restart count, a condition other than Ready.
fn matters(change: &CacheChange<'_, PodRecord>) -> bool {
    let (Some(old), Some(new)) = (change.old, change.new) else {
        return true;
    };
    let facts = |pod: &PodRecord| {
        (
            pod.ip.clone(),
            pod.ready.holds,
            pod.is_terminating(),
            pod.is_finished(),
            pod.node.clone(),
            pod.metadata.labels.clone(),
        )
    };
    facts(old) != facts(new)
}

/// The Service that a slice of ours belongs to.
fn managed_for(meta: &ObjectMeta) -> Option<Key> {
    let labels = meta.labels.as_ref()?;
    let ours = labels.get(ENDPOINT_SLICE_MANAGED_BY)? == ENDPOINT_SLICE_CONTROLLER;
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    ours.then(|| Some(Key::new(namespace, labels.get(SERVICE_NAME)?)))?
}

impl Controller {
    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let slices_seen = self.shared.endpoint_slices.observed();
        if let Some(wait) = self.writes.unseen(key, slices_seen) {
            return Ok(Next::After(wait));
        }
        let slices = self.slices_of(key);
        let service = self
            .shared
            .services
            .get(key)
            .filter(|service| service.metadata.deletion_timestamp.is_none());
        let Some(service) = service else {
            for slice in slices {
                self.apply(key, None, Change::Delete(slice)).await?;
            }
            self.writes.forget(key);
            return Ok(Next::Wait);
        };
        if selector(&service).is_none() {
            // Somebody else's: a Service without a selector has endpoints written by hand.
            return Ok(Next::Wait);
        }
        let pods = selected_pods(&service, &self.shared.pods);
        for change in desired(&service, &pods, &slices) {
            self.apply(key, Some(&service), change).await?;
        }
        Ok(Next::Wait)
    }

    fn slices_of(&self, key: &Key) -> Vec<Arc<EndpointSlice>> {
        let index = Index::Label {
            namespace: key.namespace.clone(),
            key: SERVICE_NAME.to_owned(),
            value: key.name.clone(),
        };
        let mut slices = self.shared.endpoint_slices.by_index(&index);
        slices.retain(|slice| managed_for(&slice.metadata).is_some());
        slices.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        slices
    }

    async fn apply(
        &self,
        key: &Key,
        service: Option<&Service>,
        change: Change,
    ) -> Result<(), Error> {
        let api: Api<EndpointSlice> = Api::namespaced(self.shared.client.clone(), &key.namespace);
        match change {
            Change::Create(mut slice) => {
                slice.metadata.generate_name = Some(format!("{}-", key.name));
                slice.metadata.owner_references =
                    service.map(|service| vec![controller_reference(service)]);
                let created = api
                    .create(&PostParams::default(), &slice)
                    .await
                    .during(|| format!("create an EndpointSlice for service {key}"));
                match created {
                    Ok(created) => self.writes.record(key, &created.metadata),
                    // Everything in the namespace goes anyway.
                    Err(error) if error.namespace_is_terminating() => {}
                    Err(error) => return Err(error),
                }
            }
            Change::Update {
                slice,
                endpoints,
                ports,
                labels,
            } => {
                let body = json!({
                    "metadata": {"resourceVersion": slice.metadata.resource_version, "labels": labels},
                    "endpoints": endpoints,
                    "ports": ports,
                });
                let name = slice.metadata.name.as_deref().unwrap_or_default();
                let written = merge(&api, name, &body).await?;
                self.writes.record(key, &written.metadata);
            }
            Change::Delete(slice) => {
                let name = slice.metadata.name.as_deref().unwrap_or_default();
                let answer = api
                    .delete(name, &DeleteParams::default())
                    .await
                    .during(|| format!("delete EndpointSlice {}/{name}", key.namespace));
                match answer {
                    Err(error) if !error.is_not_found() => return Err(error),
                    Ok(_) | Err(_) => {}
                }
            }
        }
        Ok(())
    }
}
