//! Namespaces: deleting one deletes everything in it, whatever its kind.
//!
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/>

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::core::DynamicObject;
use serde_json::json;

use crate::ControllerDef;
use crate::discovery::{Served, served};
use crate::patch::merge_status;
use crate::runner::{During, Error, Key, Next, Queue, work};
use crate::shared::Shared;

/// In the list of controllers.
pub(crate) const DEF: ControllerDef = ControllerDef {
    name: "namespace-controller",
    help: "empties namespaces that are being deleted, then lets them go",
    start,
};

/// Namespaces emptied at a time.
const WORKERS: usize = 4;

/// Time until another look at what is still there: pods take seconds to terminate.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The finalizer in a namespace's spec that this controller serves.
const FINALIZER: &str = "kubernetes";

fn start(shared: &Arc<Shared>) -> BoxFuture<'static, ()> {
    let queue = Arc::new(Queue::new(shared.context.clone()));
    let to = Arc::clone(&queue);
    shared.namespaces.on_change(move |change| {
        if change.latest().metadata.deletion_timestamp.is_some() {
            to.add(Key::of(&change.latest().metadata));
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
    let Some(namespace) = shared.namespaces.get(key) else {
        return Ok(Next::Wait);
    };
    let kinds = served(&shared.client).await?;
    let mut left = Vec::new();
    for kind in kinds.iter().filter(|kind| kind.namespaced) {
        let count = empty(shared, &key.name, kind).await?;
        if count > 0 {
            left.push((kind.resource.plural.clone(), count));
        }
    }
    if left.is_empty() {
        finalize(shared, &key.name).await?;
        return Ok(Next::Wait);
    }
    tell(shared, &namespace, &left).await?;
    Ok(Next::After(LOOK_AGAIN))
}

/// Deletes all objects of a kind; answers how many are still there.
async fn empty(shared: &Shared, namespace: &str, kind: &Served) -> Result<usize, Error> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(shared.client.clone(), namespace, &kind.resource);
    let list = ListParams::default();
    let plural = &kind.resource.plural;
    let count = async || {
        let found = api.list_metadata(&list).await;
        found
            .map(|found| found.items.len())
            .during(|| format!("list {plural} of namespace {namespace:?}"))
    };
    if count().await? == 0 {
        return Ok(0);
    }
    api.delete_collection(&DeleteParams::background(), &list)
        .await
        .during(|| format!("delete {plural} of namespace {namespace:?}"))?;
    count().await
}

/// Removes our finalizer, upon which the API lets the namespace go.
async fn finalize(shared: &Shared, name: &str) -> Result<(), Error> {
    let api: Api<Namespace> = Api::all(shared.client.clone());
    let found = api
        .get_opt(name)
        .await
        .during(|| format!("read namespace {name:?}"))?;
    let Some(mut namespace) = found else {
        return Ok(());
    };
    if let Some(finalizers) = namespace
        .spec
        .as_mut()
        .and_then(|spec| spec.finalizers.as_mut())
    {
        finalizers.retain(|finalizer| finalizer != FINALIZER);
    }
    let answer = api
        .replace_subresource("finalize", name, &PostParams::default(), &namespace)
        .await
        .during(|| format!("finalize namespace {name:?}"));
    match answer {
        Err(error) if !error.is_not_found() => Err(error),
        Ok::<Namespace, _>(_) | Err(_) => Ok(()),
    }
}

/// Says what a namespace is waiting for, to those who wonder.
async fn tell(
    shared: &Shared,
    namespace: &Namespace,
    left: &[(String, usize)],
) -> Result<(), Error> {
    let present = namespace
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref());
    let condition = remaining(left, present.unwrap_or_default(), shared.context.now());
    if present.is_some_and(|present| present.contains(&condition)) {
        return Ok(());
    }
    let mut conditions = present.unwrap_or_default().to_vec();
    conditions.retain(|other| other.type_ != condition.type_);
    conditions.push(condition);
    let name = namespace.metadata.name.as_deref().unwrap_or_default();
    let api: Api<Namespace> = Api::all(shared.client.clone());
    match merge_status(&api, name, &json!({"status": {"conditions": conditions}})).await {
        Err(error) if !error.is_not_found() => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn remaining(
    left: &[(String, usize)],
    present: &[NamespaceCondition],
    now: Timestamp,
) -> NamespaceCondition {
    let kinds: Vec<_> = left
        .iter()
        .map(|(plural, count)| format!("{plural} has {count} resource instances"))
        .collect();
    let type_ = "NamespaceContentRemaining";
    let since = present.iter().find(|condition| condition.type_ == type_);
    NamespaceCondition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        reason: Some("SomeResourcesRemain".to_owned()),
        message: Some(format!(
            "Some resources are remaining: {}",
            kinds.join(", ")
        )),
        last_transition_time: since
            .and_then(|condition| condition.last_transition_time.clone())
            .or(Some(Time(now))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_says_what_keeps_it() {
        let left = [("pods".to_owned(), 2), ("secrets".to_owned(), 1)];
        let first = remaining(&left, &[], Timestamp::UNIX_EPOCH);
        let expected = "Some resources are remaining: pods has 2 resource instances, secrets has 1 resource instances";
        assert_eq!(first.message.as_deref(), Some(expected));
        let later = remaining(&left, std::slice::from_ref(&first), Timestamp::MAX);
        assert_eq!(later, first);
    }
}
