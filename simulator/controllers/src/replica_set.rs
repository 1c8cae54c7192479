//! ReplicaSets: as many pods as asked for, no more and no fewer.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/>

mod ranking;
mod status;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};
use lab_api::objects::{controller_of, controller_reference, object_reference};
use lab_api::selector::Selector;
use lab_events::Recorder;

use crate::ControllerDef;
use crate::claim::{Claims, claims, selects, workload_selector};
use crate::patch::{merge_status, status_change};
use crate::pods::{PodRecord, from_template};
use crate::runner::{During, Error, Index, Key, Next, OwnWrites, Queue, work};
use crate::shared::Shared;

use ranking::{Siblings, first_to_delete};
use status::Failure;

/// In the list of controllers.
pub(crate) const DEF: ControllerDef = ControllerDef {
    name: "replicaset-controller",
    help: "keeps as many pods alive as each ReplicaSet asks for",
    start,
};

/// ReplicaSets reconciled at a time. Each creates its pods in parallel already.
const WORKERS: usize = 8;

/// Pods created or deleted in one pass at most, so that one huge ReplicaSet does not keep the
/// others waiting (kube-controller-manager's burst).
const BURST: usize = 500;

struct Controller {
    shared: Arc<Shared>,
    recorder: Recorder,
    writes: OwnWrites<Key>,
}

fn start(shared: &Arc<Shared>) -> BoxFuture<'static, ()> {
    let queue = Arc::new(Queue::new(shared.context.clone()));
    watch(shared, &queue);
    let controller = Arc::new(Controller {
        shared: Arc::clone(shared),
        recorder: shared.recorder(DEF.name),
        writes: OwnWrites::new(),
    });
    work(DEF.name, queue, WORKERS, shared.stop.clone(), move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key).await }
    })
    .boxed()
}

fn watch(shared: &Arc<Shared>, queue: &Arc<Queue<Key>>) {
    let to = Arc::clone(queue);
    shared
        .replica_sets
        .on_change(move |change| to.add(Key::of(&change.latest().metadata)));
    let (to, replica_sets) = (Arc::clone(queue), Arc::clone(&shared.replica_sets));
    shared.pods.on_change(move |change| {
        for pod in change.both() {
            match controller_of(&pod.metadata) {
                Some(owner) if owner.kind == "ReplicaSet" => {
                    to.add(Key::new(pod.namespace(), &owner.name));
                }
                Some(_) => {}
                None => {
                    for candidate in replica_sets.in_namespace(pod.namespace()) {
                        if selects(selector(&candidate).as_ref(), &pod.metadata) {
                            to.add(Key::of(&candidate.metadata));
                        }
                    }
                }
            }
        }
    });
}

fn selector(replica_set: &ReplicaSet) -> Option<Selector> {
    workload_selector(&replica_set.spec.as_ref()?.selector)
}

fn active(pods: &[Arc<PodRecord>]) -> Vec<Arc<PodRecord>> {
    let active = pods.iter().filter(|pod| pod.is_active());
    active.cloned().collect()
}

/// What has to happen for a ReplicaSet to have the pods it asks for.
#[derive(Debug, PartialEq)]
enum Change {
    /// Create so many pods.
    Create(usize),
    /// Delete these.
    Delete(Vec<Arc<PodRecord>>),
}

/// Compares the replicas asked for with the `active` pods.
fn desired(
    replicas: i32,
    active: &[Arc<PodRecord>],
    siblings: &Siblings,
    now: jiff::Timestamp,
) -> Option<Change> {
    let wanted = usize::try_from(replicas).unwrap_or(0);
    match wanted.cmp(&active.len()) {
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(Change::Create((wanted - active.len()).min(BURST))),
        std::cmp::Ordering::Less => {
            let surplus = (active.len() - wanted).min(BURST);
            Some(Change::Delete(first_to_delete(
                active, surplus, siblings, now,
            )))
        }
    }
}

impl Controller {
    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(replica_set) = self.shared.replica_sets.get(key) else {
            self.writes.forget(key);
            return Ok(Next::Wait);
        };
        if let Some(wait) = self.writes.unseen(key, self.shared.pods.observed()) {
            return Ok(Next::After(wait));
        }
        let claims = self.claims(&replica_set);
        let active = active(&claims.owned);
        let mut outcome = Ok(());
        if replica_set.metadata.deletion_timestamp.is_none() {
            if self.settle(key, &replica_set, &claims).await? {
                // The cache tells when the claims have arrived.
                return Ok(Next::Wait);
            }
            outcome = self.manage(key, &replica_set, &active).await;
        }
        let next = self
            .write_status(key, &replica_set, &active, outcome.as_ref().err())
            .await?;
        outcome.map_err(|failure| failure.error)?;
        Ok(next)
    }

    fn claims(&self, replica_set: &ReplicaSet) -> Claims<PodRecord> {
        let uid = replica_set.metadata.uid.clone().unwrap_or_default();
        let namespace = replica_set.metadata.namespace.clone().unwrap_or_default();
        let owned = self.shared.pods.by_index(&Index::Owner(uid));
        let orphans = self.shared.pods.by_index(&Index::Orphan(namespace));
        let selector = selector(replica_set);
        claims(selector.as_ref(), owned, &orphans, PodRecord::is_active)
    }

    /// Adopts and releases pods; true where there was something to do.
    async fn settle(
        &self,
        key: &Key,
        replica_set: &ReplicaSet,
        claims: &Claims<PodRecord>,
    ) -> Result<bool, Error> {
        let api: Api<Pod> = Api::namespaced(self.shared.client.clone(), &key.namespace);
        let written = claims
            .settle(&api, &controller_reference(replica_set))
            .await?;
        for meta in &written {
            self.writes.record(key, meta);
        }
        Ok(!written.is_empty())
    }

    async fn manage(
        &self,
        key: &Key,
        replica_set: &ReplicaSet,
        active: &[Arc<PodRecord>],
    ) -> Result<(), Failure> {
        let replicas = replica_set
            .spec
            .as_ref()
            .and_then(|spec| spec.replicas)
            .unwrap_or(1);
        let siblings = self.siblings(replica_set, replicas, active);
        match desired(replicas, active, &siblings, self.shared.context.now()) {
            None => Ok(()),
            Some(Change::Create(count)) => self
                .create(key, replica_set, count)
                .await
                .map_err(Failure::create),
            Some(Change::Delete(pods)) => self
                .delete(key, replica_set, &pods)
                .await
                .map_err(Failure::delete),
        }
    }

    /// Pods per node over all ReplicaSets of the same owner. Only asked for when shrinking.
    fn siblings(
        &self,
        replica_set: &ReplicaSet,
        replicas: i32,
        active: &[Arc<PodRecord>],
    ) -> Siblings {
        if usize::try_from(replicas).is_ok_and(|wanted| wanted >= active.len()) {
            return Siblings::default();
        }
        let Some(owner) = controller_of(&replica_set.metadata) else {
            return Siblings::count(active);
        };
        let of_owner = self
            .shared
            .replica_sets
            .by_index(&Index::Owner(owner.uid.clone()));
        let pods: Vec<_> = of_owner
            .iter()
            .filter_map(|sibling| sibling.metadata.uid.clone())
            .flat_map(|uid| self.shared.pods.by_index(&Index::Owner(uid)))
            .filter(|pod| pod.is_active())
            .collect();
        Siblings::count(&pods)
    }

    /// Creates pods in batches of 1, 2, 4, …: if the first is refused (a quota, a bad
    /// template), the API server is spared hundreds of refusals.
    async fn create(&self, key: &Key, replica_set: &ReplicaSet, count: usize) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.shared.client.clone(), &key.namespace);
        let pod = pod_from_template(replica_set);
        let params = PostParams::default();
        let (mut left, mut batch) = (count, 1);
        while left > 0 {
            let size = batch.min(left);
            let answers = join_all((0..size).map(|_| api.create(&params, &pod))).await;
            for answer in answers {
                match answer.during(|| format!("create a pod for ReplicaSet {key}")) {
                    Ok(created) => self.created(key, replica_set, &created),
                    // Everything in the namespace goes anyway.
                    Err(error) if error.namespace_is_terminating() => return Ok(()),
                    Err(error) => {
                        let message = format!("Error creating: {}", error.answer());
                        self.recorder.warning(
                            &object_reference(replica_set),
                            "FailedCreate",
                            message,
                        );
                        return Err(error);
                    }
                }
            }
            left -= size;
            batch *= 2;
        }
        Ok(())
    }

    fn created(&self, key: &Key, replica_set: &ReplicaSet, pod: &Pod) {
        self.writes.record(key, &pod.metadata);
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        self.recorder.normal(
            &object_reference(replica_set),
            "SuccessfulCreate",
            format!("Created pod: {name}"),
        );
    }

    async fn delete(
        &self,
        key: &Key,
        replica_set: &ReplicaSet,
        pods: &[Arc<PodRecord>],
    ) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.shared.client.clone(), &key.namespace);
        let api = &api;
        let deletions = pods.iter().map(|pod| async move {
            let params = DeleteParams::default().preconditions(Preconditions {
                uid: pod.metadata.uid.clone(),
                resource_version: None,
            });
            let answer = api
                .delete(pod.name(), &params)
                .await
                .during(|| format!("delete pod {}/{}", key.namespace, pod.name()));
            (pod, answer)
        });
        for (pod, answer) in join_all(deletions).await {
            match answer {
                Ok(deleted) => {
                    if let Some(last) = deleted.left() {
                        self.writes.record(key, &last.metadata);
                    }
                    self.recorder.normal(
                        &object_reference(replica_set),
                        "SuccessfulDelete",
                        format!("Deleted pod: {}", pod.name()),
                    );
                }
                Err(error) if error.is_not_found() || error.is_conflict() => {}
                Err(error) => {
                    let message = format!("Error deleting: {}", error.answer());
                    self.recorder
                        .warning(&object_reference(replica_set), "FailedDelete", message);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn write_status(
        &self,
        key: &Key,
        replica_set: &ReplicaSet,
        active: &[Arc<PodRecord>],
        failure: Option<&Failure>,
    ) -> Result<Next, Error> {
        let now = self.shared.context.now();
        let status = status::observe(replica_set, active, failure, now);
        if let Some(body) = status_change(replica_set.status.as_ref(), &status) {
            let api: Api<ReplicaSet> = Api::namespaced(self.shared.client.clone(), &key.namespace);
            match merge_status(&api, &key.name, &body).await {
                Err(error) if error.is_not_found() => return Ok(Next::Wait),
                answer => answer?,
            };
        }
        Ok(Next::after(status::next_available(
            replica_set,
            active,
            now,
        )))
    }
}

fn pod_from_template(replica_set: &ReplicaSet) -> Pod {
    let spec = replica_set.spec.as_ref();
    let template = spec.and_then(|spec| spec.template.clone());
    from_template(replica_set, template.unwrap_or_default())
}

/// `minReadySeconds`. Not scaled: the application's author wrote it.
fn min_ready(replica_set: &ReplicaSet) -> Duration {
    let seconds = replica_set
        .spec
        .as_ref()
        .and_then(|spec| spec.min_ready_seconds)
        .unwrap_or(0);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::record;
    use serde_json::json;

    fn pods(count: usize) -> Vec<Arc<PodRecord>> {
        (0..count)
            .map(|i| {
                let name = format!("p{i}");
                Arc::new(record(json!({"metadata": {"name": name, "uid": name}})))
            })
            .collect()
    }

    #[track_caller]
    fn case(replicas: i32, active: usize, created: usize, deleted: usize) {
        let pods = pods(active);
        let siblings = Siblings::count(&pods);
        let found = match desired(replicas, &pods, &siblings, jiff::Timestamp::UNIX_EPOCH) {
            None => (0, 0),
            Some(Change::Create(count)) => (count, 0),
            Some(Change::Delete(pods)) => (0, pods.len()),
        };
        assert_eq!(found, (created, deleted));
    }

    #[test]
    fn the_difference_is_created_or_deleted() {
        case(3, 0, 3, 0);
        case(3, 3, 0, 0);
        case(1, 3, 0, 2);
        case(0, 2, 0, 2);
        case(-1, 2, 0, 2);
        case(2000, 0, BURST, 0);
        case(0, 2000, 0, BURST);
    }

    #[test]
    fn a_pod_is_made_from_the_template_and_owned() {
        let replica_set: ReplicaSet = serde_json::from_value(json!({
            "metadata": {"name": "web-abc", "namespace": "shop", "uid": "u1"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {
                "metadata": {"labels": {"app": "web"}, "annotations": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]}}}}))
        .unwrap();
        let pod = pod_from_template(&replica_set);
        let expected: Pod = serde_json::from_value(json!({
            "metadata": {"generateName": "web-abc-", "namespace": "shop",
                "labels": {"app": "web"}, "annotations": {"a": "b"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-abc",
                    "uid": "u1", "controller": true, "blockOwnerDeletion": true}]},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}))
        .unwrap();
        assert_eq!(pod, expected);
    }
}
