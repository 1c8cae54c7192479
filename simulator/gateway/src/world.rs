//! What was last seen of the API: one cache per watched kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use kube::Resource;
use kube::runtime::watcher::Event;
use lab_api::gateway::{GRPCRoute, Gateway, GatewayClass, HTTPRoute, ReferenceGrant};

use crate::certificates::Certificate;

/// `namespace/name`, or the name alone for a cluster-scoped object.
pub(crate) fn key<K: Resource>(object: &K) -> String {
    let name = object.meta().name.as_deref().unwrap_or_default();
    match object.meta().namespace.as_deref() {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

/// The objects of one kind. A relist replaces them in one step, so that nobody sees half of it.
#[derive(Debug)]
pub(crate) struct Cache<K> {
    live: BTreeMap<String, Arc<K>>,
    relist: Option<BTreeMap<String, Arc<K>>>,
    synced: bool,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self {
            live: BTreeMap::new(),
            relist: None,
            synced: false,
        }
    }
}

impl<K: Resource> Cache<K> {
    fn apply(&mut self, event: Event<K>) {
        match event {
            Event::Init => self.relist = Some(BTreeMap::new()),
            Event::InitApply(object) => {
                self.relist
                    .get_or_insert_default()
                    .insert(key(&object), Arc::new(object));
            }
            Event::InitDone => {
                self.live = self.relist.take().unwrap_or_default();
                self.synced = true;
            }
            Event::Apply(object) => {
                self.live.insert(key(&object), Arc::new(object));
            }
            Event::Delete(object) => {
                self.live.remove(&key(&object));
            }
        }
    }

    /// The object of this key.
    pub(crate) fn get(&self, key: &str) -> Option<&Arc<K>> {
        self.live.get(key)
    }

    /// All objects, in the order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<K>> {
        self.live.values()
    }
}

/// One event of one watch.
#[derive(Debug)]
pub(crate) enum Change {
    /// Of a GatewayClass.
    Class(Event<GatewayClass>),
    /// Of a Gateway.
    Gateway(Event<Gateway>),
    /// Of an HTTPRoute.
    Route(Event<HTTPRoute>),
    /// Of a GRPCRoute.
    GrpcRoute(Event<GRPCRoute>),
    /// Of an Ingress.
    Ingress(Event<Ingress>),
    /// Of an IngressClass.
    IngressClass(Event<IngressClass>),
    /// Of a ReferenceGrant.
    Grant(Event<ReferenceGrant>),
    /// Of a Secret with a certificate.
    Secret(Event<Secret>),
    /// Of a Namespace, for its labels.
    Namespace(Event<Namespace>),
    /// Of a Service.
    Service(Event<Service>),
    /// Of an EndpointSlice.
    Slice(Event<EndpointSlice>),
}

/// Everything that the load balancer needs to know of the cluster.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) classes: Cache<GatewayClass>,
    pub(crate) gateways: Cache<Gateway>,
    pub(crate) routes: Cache<HTTPRoute>,
    pub(crate) grpc_routes: Cache<GRPCRoute>,
    pub(crate) ingresses: Cache<Ingress>,
    pub(crate) ingress_classes: Cache<IngressClass>,
    pub(crate) grants: Cache<ReferenceGrant>,
    pub(crate) certificates: Cache<Certificate>,
    pub(crate) namespaces: Cache<Namespace>,
    pub(crate) services: Cache<Service>,
    pub(crate) slices: Cache<EndpointSlice>,
}

impl World {
    /// Takes in one event.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Class(event) => self.classes.apply(event),
            Change::Gateway(event) => self.gateways.apply(event),
            Change::Route(event) => self.routes.apply(event),
            Change::GrpcRoute(event) => self.grpc_routes.apply(event),
            Change::Ingress(event) => self.ingresses.apply(event),
            Change::IngressClass(event) => self.ingress_classes.apply(event),
            Change::Grant(event) => self.grants.apply(event),
            Change::Secret(event) => self.certificates.apply(map(event, Certificate::of)),
            Change::Namespace(event) => self.namespaces.apply(event),
            Change::Service(event) => self.services.apply(event),
            Change::Slice(event) => self.slices.apply(event),
        }
    }

    /// True once every kind was listed. Before that, what is missing may only not have been
    /// seen yet, so nothing may be decided.
    pub(crate) fn is_complete(&self) -> bool {
        self.classes.synced
            && self.gateways.synced
            && self.routes.synced
            && self.grpc_routes.synced
            && self.ingresses.synced
            && self.ingress_classes.synced
            && self.grants.synced
            && self.certificates.synced
            && self.namespaces.synced
            && self.services.synced
            && self.slices.synced
    }
}

fn map<A, B>(event: Event<A>, f: impl FnOnce(A) -> B) -> Event<B> {
    match event {
        Event::Apply(object) => Event::Apply(f(object)),
        Event::Delete(object) => Event::Delete(f(object)),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(f(object)),
        Event::InitDone => Event::InitDone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str) -> Namespace {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.to_owned());
        namespace
    }

    #[test]
    fn a_relist_replaces_the_objects_in_one_step() {
        let mut cache = Cache::<Namespace>::default();
        cache.apply(Event::Apply(namespace("old")));
        cache.apply(Event::Init);
        cache.apply(Event::InitApply(namespace("new")));
        assert!(cache.get("old").is_some() && cache.get("new").is_none() && !cache.synced);
        cache.apply(Event::InitDone);
        assert!(cache.get("old").is_none() && cache.get("new").is_some() && cache.synced);
    }
}
