//! Services of type LoadBalancer: an address at once.
//!
//! In a cloud, this controller would ask for a load balancer and wait for its address. Here the
//! range of Service addresses can be reached from the student's machine, so the Service's own
//! address is the one.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/service/#loadbalancer>

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{LoadBalancerIngress, LoadBalancerStatus, Service};
use kube::Api;
use lab_api::objects::object_reference;
use lab_events::Recorder;
use serde_json::json;

use crate::ControllerDef;
use crate::patch::merge_status;
use crate::runner::{Error, Key, Next, Queue, work};
use crate::shared::Shared;

/// In the list of controllers.
pub(crate) const DEF: ControllerDef = ControllerDef {
    name: "service-lb-controller",
    help: "gives Services of type LoadBalancer an address",
    start,
};

/// Services reconciled at a time.
const WORKERS: usize = 2;

fn start(shared: &Arc<Shared>) -> BoxFuture<'static, ()> {
    let queue = Arc::new(Queue::new(shared.context.clone()));
    let to = Arc::clone(&queue);
    shared
        .services
        .on_change(move |change| to.add(Key::of(&change.latest().metadata)));
    let recorder = shared.recorder("service-controller");
    let controller = Arc::clone(shared);
    work(
        DEF.name,
        queue,
        WORKERS,
        shared.stop.clone(),
        move |key: Key| {
            let (shared, recorder) = (Arc::clone(&controller), recorder.clone());
            async move { reconcile(&shared, &recorder, &key).await }
        },
    )
    .boxed()
}

async fn reconcile(shared: &Shared, recorder: &Recorder, key: &Key) -> Result<Next, Error> {
    let Some(service) = shared.services.get(key) else {
        return Ok(Next::Wait);
    };
    let wanted = desired(&service);
    if present(&service) == wanted {
        return Ok(Next::Wait);
    }
    // An absent list is removed by null.
    let body = json!({"status": {"loadBalancer": {"ingress": wanted.ingress}}});
    let api: Api<Service> = Api::namespaced(shared.client.clone(), &key.namespace);
    match merge_status(&api, &key.name, &body).await {
        Err(error) if error.is_not_found() => return Ok(Next::Wait),
        answer => answer?,
    };
    if wanted.ingress.is_some() {
        recorder.normal(
            &object_reference(service.as_ref()),
            "EnsuredLoadBalancer",
            "Ensured load balancer",
        );
    }
    Ok(Next::Wait)
}

fn present(service: &Service) -> LoadBalancerStatus {
    let status = service.status.as_ref();
    status
        .and_then(|status| status.load_balancer.clone())
        .unwrap_or_default()
}

/// The load balancer that a Service should have: its own address, or none. A class names a
/// load balancer that is not ours.
fn desired(service: &Service) -> LoadBalancerStatus {
    let spec = service.spec.clone().unwrap_or_default();
    let ours = spec.type_.as_deref() == Some("LoadBalancer") && spec.load_balancer_class.is_none();
    let address = spec
        .cluster_ip
        .filter(|ip| ours && !ip.is_empty() && ip != "None");
    LoadBalancerStatus {
        ingress: address.map(|ip| {
            vec![LoadBalancerIngress {
                ip: Some(ip),
                ip_mode: Some("VIP".to_owned()),
                ..LoadBalancerIngress::default()
            }]
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[track_caller]
    fn case(spec: Value, expected: Value) {
        let service = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
        assert_eq!(json!(desired(&service)), expected);
    }

    #[test]
    fn a_load_balancer_is_reached_at_the_services_own_address() {
        let address = json!({"ingress": [{"ip": "10.0.0.7", "ipMode": "VIP"}]});
        case(
            json!({"type": "LoadBalancer", "clusterIP": "10.0.0.7"}),
            address,
        );
        case(json!({"type": "LoadBalancer"}), json!({}));
        case(
            json!({"type": "ClusterIP", "clusterIP": "10.0.0.7"}),
            json!({}),
        );
        let classed =
            json!({"type": "LoadBalancer", "clusterIP": "10.0.0.7", "loadBalancerClass": "x/y"});
        case(classed, json!({}));
    }
}
