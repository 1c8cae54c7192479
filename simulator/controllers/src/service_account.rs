//! Service accounts: every namespace has one called `default`, which pods use unless they ask
//! for another.
//!
//! <https://kubernetes.io/docs/concepts/security/service-accounts/#default-service-accounts>

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;

use crate::ControllerDef;
use crate::runner::{During, Error, Key, Next, Queue, work};
use crate::shared::Shared;

/// In the list of controllers.
pub(crate) const DEF: ControllerDef = ControllerDef {
    name: "serviceaccount-controller",
    help: "gives every namespace a default service account",
    start,
};

/// Namespaces reconciled at a time.
const WORKERS: usize = 2;

const DEFAULT: &str = "default";

fn start(shared: &Arc<Shared>) -> BoxFuture<'static, ()> {
    let queue = Arc::new(Queue::new(shared.context.clone()));
    let to = Arc::clone(&queue);
    shared
        .namespaces
        .on_change(move |change| to.add(Key::of(&change.latest().metadata)));
    let to = Arc::clone(&queue);
    shared.service_accounts.on_change(move |change| {
        if change.new.is_none() {
            let namespace = change.latest().metadata.namespace.as_deref();
            to.add(Key::cluster(namespace.unwrap_or_default()));
        }
    });
    let controller = Arc::clone(shared);
    work(
        DEF.name,
        queue,
        WORKERS,
        shared.stop.clone(),
        move |key: Key| {
            let shared = Arc::clone(&controller);
            async move { reconcile(&shared, &key).await }
        },
    )
    .boxed()
}

async fn reconcile(shared: &Shared, key: &Key) -> Result<Next, Error> {
    let alive = |namespace: &Namespace| namespace.metadata.deletion_timestamp.is_none();
    let namespace = shared.namespaces.get(key);
    let present = shared.service_accounts.get(&Key::new(&key.name, DEFAULT));
    if present.is_some() || !namespace.is_some_and(|namespace| alive(&namespace)) {
        return Ok(Next::Wait);
    }
    let account = ServiceAccount {
        metadata: ObjectMeta {
            name: Some(DEFAULT.to_owned()),
            namespace: Some(key.name.clone()),
            ..ObjectMeta::default()
        },
        ..ServiceAccount::default()
    };
    let created = Api::<ServiceAccount>::namespaced(shared.client.clone(), &key.name)
        .create(&PostParams::default(), &account)
        .await
        .during(|| format!("create the default ServiceAccount of namespace {key}"));
    match created {
        Err(error) if error.already_exists() || error.namespace_is_terminating() => Ok(Next::Wait),
        Err(error) => Err(error),
        Ok(_) => Ok(Next::Wait),
    }
}
