//! Endpoints: what came before EndpointSlices, for those who still read it.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/service/#endpoints>

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Service,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use crate::ControllerDef;
use crate::endpoint_slice::{Port, ports, selected_pods, selector, watch_services_and_pods};
use crate::patch::merge;
use crate::pods::PodRecord;
use crate::runner::{During, Error, Key, Next, OwnWrites, Queue, work};
use crate::shared::Shared;

/// In the list of controllers.
pub(crate) const DEF: ControllerDef = ControllerDef {
    name: "endpoints-controller",
    help: "keeps the older Endpoints objects beside EndpointSlices",
    start,
};

/// Services reconciled at a time, as in kube-controller-manager.
const WORKERS: usize = 5;

/// Addresses kept at most; who needs more reads EndpointSlices.
const CAPACITY: usize = 1000;

const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const CONTROLLER: &str = "endpoint-controller";
const HEADLESS: &str = "service.kubernetes.io/headless";

struct Controller {
    shared: Arc<Shared>,
    writes: OwnWrites<Key>,
}

fn start(shared: &Arc<Shared>) -> BoxFuture<'static, ()> {
    let queue = Arc::new(Queue::new(shared.context.clone()));
    watch_services_and_pods(shared, &queue);
    let to = Arc::clone(&queue);
    shared
        .endpoints
        .on_change(move |change| to.add(Key::of(&change.latest().metadata)));
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

impl Controller {
    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        if let Some(wait) = self.writes.unseen(key, self.shared.endpoints.observed()) {
            return Ok(Next::After(wait));
        }
        let present = self.shared.endpoints.get(key);
        let Some(service) = self.shared.services.get(key) else {
            self.writes.forget(key);
            return match present {
                Some(present) if is_ours(&present) => self.delete(key).await,
                Some(_) | None => Ok(Next::Wait),
            };
        };
        if selector(&service).is_none() {
            return Ok(Next::Wait);
        }
        let pods = selected_pods(&service, &self.shared.pods);
        let wanted = desired(&service, &pods);
        match present {
            None => self.create(key, &wanted).await?,
            Some(present) if differs(&present, &wanted) => {
                let body = json!({
                    "metadata": {
                        "resourceVersion": present.metadata.resource_version,
                        "labels": wanted.metadata.labels,
                        "annotations": {OVER_CAPACITY: over_capacity(&wanted)},
                    },
                    "subsets": wanted.subsets,
                });
                let written = merge(&self.api(key), &key.name, &body).await?;
                self.writes.record(key, &written.metadata);
            }
            Some(_) => {}
        }
        Ok(Next::Wait)
    }

    async fn create(&self, key: &Key, wanted: &Endpoints) -> Result<(), Error> {
        let created = self
            .api(key)
            .create(&PostParams::default(), wanted)
            .await
            .during(|| format!("create Endpoints {key}"));
        match created {
            Ok(created) => self.writes.record(key, &created.metadata),
            // Everything in the namespace goes anyway.
            Err(error) if error.namespace_is_terminating() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn delete(&self, key: &Key) -> Result<Next, Error> {
        let answer = self
            .api(key)
            .delete(&key.name, &DeleteParams::default())
            .await
            .during(|| format!("delete Endpoints {key}"));
        match answer {
            Err(error) if !error.is_not_found() => Err(error),
            Ok(_) | Err(_) => Ok(Next::Wait),
        }
    }

    fn api(&self, key: &Key) -> Api<Endpoints> {
        Api::namespaced(self.shared.client.clone(), &key.namespace)
    }
}

/// Endpoints written by hand stay when there is no Service of their name.
fn is_ours(endpoints: &Endpoints) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(MANAGED_BY))
        .map(String::as_str)
        == Some(CONTROLLER)
}

fn differs(present: &Endpoints, wanted: &Endpoints) -> bool {
    let subsets = |endpoints: &Endpoints| endpoints.subsets.clone().unwrap_or_default();
    subsets(present) != subsets(wanted)
        || present.metadata.labels != wanted.metadata.labels
        || over_capacity(present) != over_capacity(wanted)
}

fn over_capacity(endpoints: &Endpoints) -> Option<&String> {
    endpoints.metadata.annotations.as_ref()?.get(OVER_CAPACITY)
}

/// The Endpoints of a Service with these pods.
fn desired(service: &Service, pods: &[Arc<PodRecord>]) -> Endpoints {
    let spec = service.spec.as_ref();
    let published = spec.and_then(|spec| spec.publish_not_ready_addresses) == Some(true);
    // Unlike a slice, Endpoints cannot say "terminating", so such pods are left out.
    let listed: Vec<_> = pods
        .iter()
        .filter(|pod| published || !pod.is_terminating())
        .collect();
    let mut by_ports: BTreeMap<Vec<Port>, EndpointSubset> = BTreeMap::new();
    for pod in listed.iter().take(CAPACITY) {
        let subset = by_ports.entry(ports(service, pod)).or_default();
        let list = if published || pod.ready.holds {
            &mut subset.addresses
        } else {
            &mut subset.not_ready_addresses
        };
        list.get_or_insert_default().push(address(service, pod));
    }
    let subsets: Vec<_> = by_ports
        .into_iter()
        .map(|(ports, mut subset)| {
            subset.ports = (!ports.is_empty()).then(|| ports.iter().map(endpoint_port).collect());
            subset
        })
        .collect();
    let truncated = listed.len() > CAPACITY;
    Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels(service)),
            annotations: truncated
                .then(|| [(OVER_CAPACITY.to_owned(), "truncated".to_owned())].into()),
            ..ObjectMeta::default()
        },
        subsets: (!subsets.is_empty()).then_some(subsets),
    }
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_BY.to_owned(), CONTROLLER.to_owned());
    let cluster_ip = service
        .spec
        .as_ref()
        .and_then(|spec| spec.cluster_ip.as_deref());
    if cluster_ip == Some("None") {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels
}

fn address(service: &Service, pod: &PodRecord) -> EndpointAddress {
    let named = pod.subdomain.is_some() && pod.subdomain == service.metadata.name;
    EndpointAddress {
        ip: pod.ip.clone().unwrap_or_default(),
        hostname: pod.hostname.clone().filter(|_| named),
        node_name: Some(pod.node.clone()).filter(|node| !node.is_empty()),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: Some(pod.namespace().to_owned()),
            name: Some(pod.name().to_owned()),
            uid: Some(pod.uid().to_owned()),
            ..ObjectReference::default()
        }),
    }
}

fn endpoint_port(port: &Port) -> EndpointPort {
    EndpointPort {
        app_protocol: port.app_protocol.clone(),
        name: Some(port.name.clone()).filter(|name| !name.is_empty()),
        port: port.port,
        protocol: Some(port.protocol.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::record;

    fn pod(name: &str, ready: bool, terminating: bool) -> Arc<PodRecord> {
        Arc::new(record(json!({
            "metadata": {"name": name, "uid": name, "deletionTimestamp": terminating.then_some("2026-01-01T00:00:00Z")},
            "status": {"podIP": "10.1.0.1",
                "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}})))
    }

    fn names(list: Option<&Vec<EndpointAddress>>) -> Vec<&str> {
        list.into_iter()
            .flatten()
            .filter_map(|address| address.target_ref.as_ref()?.name.as_deref())
            .collect()
    }

    #[track_caller]
    fn case(publish: bool, ready: &[&str], not_ready: &[&str]) {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}], "publishNotReadyAddresses": publish}}))
        .unwrap();
        let pods = [
            pod("a", true, false),
            pod("b", false, false),
            pod("c", true, true),
        ];
        let subsets = desired(&service, &pods).subsets.unwrap();
        assert_eq!(subsets.len(), 1);
        assert_eq!(names(subsets[0].addresses.as_ref()), ready);
        assert_eq!(names(subsets[0].not_ready_addresses.as_ref()), not_ready);
    }

    #[test]
    fn pods_are_listed_as_ready_or_not_and_terminating_ones_not_at_all() {
        case(false, &["a"], &["b"]);
        case(true, &["a", "b", "c"], &[]);
    }

    #[test]
    fn a_thousand_addresses_are_kept_and_the_rest_is_mentioned() {
        let service = Service::default();
        let pods: Vec<_> = (0..1001)
            .map(|n| pod(&format!("p{n}"), true, false))
            .collect();
        let endpoints = desired(&service, &pods);
        assert_eq!(over_capacity(&endpoints).unwrap(), "truncated");
        assert_eq!(
            endpoints.subsets.unwrap()[0]
                .addresses
                .as_ref()
                .unwrap()
                .len(),
            CAPACITY
        );
        assert_eq!(over_capacity(&desired(&service, &pods[..1000])), None);
    }
}
