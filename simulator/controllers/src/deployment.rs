//! Deployments: a rolling update from one ReplicaSet to the next, and back.
//!
//! `plan.rs` decides what to do next, on the arithmetic of `size.rs` and `rolling.rs` and the
//! book-keeping of `revision.rs`; `status.rs` says what to report. This file reads and writes.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/>

mod plan;
pub(crate) mod revision;
mod rolling;
pub(crate) mod size;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};
use lab_api::names::REVISION;
use lab_api::objects::{controller_of, controller_reference, is_controlled_by, object_reference};
use lab_events::Recorder;
use serde_json::json;

use crate::ControllerDef;
use crate::claim::{claims, selects, workload_selector};
use crate::patch::{merge, merge_status, status_change};
use crate::pods::PodRecord;
use crate::runner::{During, Error, Index, Key, Next, OwnWrites, Queue, work};
use crate::shared::Shared;

use plan::{Change, desired};
use revision::{Sets, build, has_template_of, size_notes};
use size::{Bounds, recreates, wanted};
use status::News;

/// In the list of controllers.
pub(crate) const DEF: ControllerDef = ControllerDef {
    name: "deployment-controller",
    help: "rolls each Deployment's pod template out through ReplicaSets",
    start,
};

/// Deployments reconciled at a time, as in kube-controller-manager.
const WORKERS: usize = 5;

struct Controller {
    shared: Arc<Shared>,
    recorder: Recorder,
    /// Writes to ReplicaSets.
    set_writes: OwnWrites<Key>,
    /// Writes to the Deployment itself.
    writes: OwnWrites<Key>,
}

fn start(shared: &Arc<Shared>) -> BoxFuture<'static, ()> {
    let queue = Arc::new(Queue::new(shared.context.clone()));
    watch(shared, &queue);
    let controller = Arc::new(Controller {
        shared: Arc::clone(shared),
        recorder: shared.recorder(DEF.name),
        set_writes: OwnWrites::new(),
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
        .deployments
        .on_change(move |change| to.add(Key::of(&change.latest().metadata)));
    let (to, deployments) = (Arc::clone(queue), Arc::clone(&shared.deployments));
    shared.replica_sets.on_change(move |change| {
        for set in change.both() {
            if controller_of(&set.metadata).is_some() {
                to_owner(&to, set);
                continue;
            }
            let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
            for candidate in deployments.in_namespace(namespace) {
                if selects(selector(&candidate).as_ref(), &set.metadata) {
                    to.add(Key::of(&candidate.metadata));
                }
            }
        }
    });
    // Recreate waits for the last old pod to be gone.
    let (to, replica_sets) = (Arc::clone(queue), Arc::clone(&shared.replica_sets));
    shared.pods.on_change(move |change| {
        let gone = change.new.is_none_or(|pod| pod.is_finished());
        if let (true, Some(owner)) = (gone, controller_of(&change.latest().metadata))
            && let Some(set) = replica_sets.get(&Key::new(change.latest().namespace(), &owner.name))
        {
            to_owner(&to, &set);
        }
    });
}

fn to_owner(queue: &Queue<Key>, replica_set: &ReplicaSet) {
    if let Some(owner) = controller_of(&replica_set.metadata)
        && owner.kind == "Deployment"
    {
        let namespace = replica_set.metadata.namespace.as_deref();
        queue.add(Key::new(namespace.unwrap_or_default(), &owner.name));
    }
}

fn selector(deployment: &Deployment) -> Option<lab_api::selector::Selector> {
    workload_selector(&deployment.spec.as_ref()?.selector)
}

impl Controller {
    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(deployment) = self.shared.deployments.get(key) else {
            self.writes.forget(key);
            self.set_writes.forget(key);
            return Ok(Next::Wait);
        };
        let unseen = self
            .writes
            .unseen(key, self.shared.deployments.observed())
            .or_else(|| {
                self.set_writes
                    .unseen(key, self.shared.replica_sets.observed())
            });
        if let Some(wait) = unseen {
            return Ok(Next::After(wait));
        }
        let Some(sets) = self.claim(key, &deployment).await? else {
            // The cache tells when the claims have arrived.
            return Ok(Next::Wait);
        };
        let mut news = None;
        let mut outcome = Ok(());
        for change in desired(&deployment, &sets, self.old_pods_remain(&deployment, &sets)) {
            outcome = self.apply(key, &deployment, &sets, change, &mut news).await;
            if outcome.is_err() {
                break;
            }
        }
        let next = self
            .write_status(key, &deployment, &sets, news.as_ref())
            .await?;
        outcome.map(|()| next)
    }

    /// The Deployment's ReplicaSets; `None` after adopting or releasing some.
    async fn claim(&self, key: &Key, deployment: &Deployment) -> Result<Option<Sets>, Error> {
        let uid = deployment.metadata.uid.clone().unwrap_or_default();
        let owned = self.shared.replica_sets.by_index(&Index::Owner(uid));
        let orphans = self
            .shared
            .replica_sets
            .by_index(&Index::Orphan(key.namespace.clone()));
        let alive = |set: &ReplicaSet| set.metadata.deletion_timestamp.is_none();
        let claims = claims(selector(deployment).as_ref(), owned, &orphans, alive);
        if alive_deployment(deployment) {
            let ours = controller_reference(deployment);
            let written = claims.settle(&self.replica_sets(key), &ours).await?;
            for meta in &written {
                self.set_writes.record(key, meta);
            }
            if !written.is_empty() {
                return Ok(None);
            }
        }
        Ok(Some(Sets::sort(deployment, claims.owned)))
    }

    /// True where pods of old ReplicaSets exist. Only asked for where it matters.
    fn old_pods_remain(&self, deployment: &Deployment, sets: &Sets) -> bool {
        let strategy = deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.strategy.as_ref());
        recreates(strategy)
            && sets
                .old
                .iter()
                .filter_map(|set| set.metadata.uid.clone())
                .flat_map(|uid| self.shared.pods.by_index(&Index::Owner(uid)))
                .any(|pod: Arc<PodRecord>| !pod.is_finished())
    }

    async fn apply(
        &self,
        key: &Key,
        deployment: &Deployment,
        sets: &Sets,
        change: Change,
        news: &mut Option<News>,
    ) -> Result<(), Error> {
        match change {
            Change::Create { replicas } => self.create(key, deployment, sets, replicas, news).await,
            Change::Resize { set, to } => self.resize(key, deployment, &set, to).await,
            Change::Renew { set, annotations } => {
                self.renew(key, deployment, &set, &annotations).await
            }
            Change::SetRevision(revision) => {
                let body = json!({"metadata": {"annotations": {REVISION: revision}}});
                let written = merge(&self.deployments(key), &key.name, &body).await?;
                self.writes.record(key, &written.metadata);
                Ok(())
            }
            Change::Delete(set) => self.delete(key, &set).await,
        }
    }

    async fn create(
        &self,
        key: &Key,
        deployment: &Deployment,
        sets: &Sets,
        replicas: i32,
        news: &mut Option<News>,
    ) -> Result<(), Error> {
        let set = build(deployment, &sets.old, replicas);
        let name = set.metadata.name.clone().unwrap_or_default();
        let answer = self
            .replica_sets(key)
            .create(&PostParams::default(), &set)
            .await
            .during(|| format!("create ReplicaSet {}/{name}", key.namespace));
        match answer {
            Ok(created) => {
                self.set_writes.record(key, &created.metadata);
                self.tell_resized(deployment, &name, 0, replicas);
                *news = Some(News::Created(name));
                Ok(())
            }
            Err(error) if error.already_exists() => {
                if self.collides(key, deployment, &name).await? {
                    *news = Some(News::Collided);
                }
                Ok(())
            }
            // Everything in the namespace goes anyway.
            Err(error) if error.namespace_is_terminating() => Ok(()),
            Err(error) => {
                let message = format!(
                    "Failed to create new replica set {name:?}: {}",
                    error.answer()
                );
                self.recorder.warning(
                    &object_reference(deployment),
                    "ReplicaSetCreateError",
                    message,
                );
                *news = Some(News::Refused(name, error.answer()));
                Err(error)
            }
        }
    }

    /// The name is taken: by our own ReplicaSet, which the cache has yet to show, or by
    /// another one whose hash happens to be the same. Then the next try uses another hash.
    async fn collides(
        &self,
        key: &Key,
        deployment: &Deployment,
        name: &str,
    ) -> Result<bool, Error> {
        let found = self
            .replica_sets(key)
            .get_opt(name)
            .await
            .during(|| format!("read ReplicaSet {}/{name}", key.namespace))?;
        let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
        let Some(set) = found else { return Ok(false) };
        let ours = is_controlled_by(&set.metadata, uid) && has_template_of(&set, deployment);
        if ours {
            self.set_writes.record(key, &set.metadata);
        }
        Ok(!ours)
    }

    async fn resize(
        &self,
        key: &Key,
        deployment: &Deployment,
        set: &ReplicaSet,
        to: i32,
    ) -> Result<(), Error> {
        let notes: BTreeMap<_, _> = size_notes(Bounds::of(deployment)).into();
        let body = json!({
            "metadata": {"resourceVersion": set.metadata.resource_version, "annotations": notes},
            "spec": {"replicas": to},
        });
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let written = merge(&self.replica_sets(key), name, &body).await?;
        self.set_writes.record(key, &written.metadata);
        self.tell_resized(deployment, name, wanted(set), to);
        Ok(())
    }

    fn tell_resized(&self, deployment: &Deployment, set: &str, from: i32, to: i32) {
        let direction = match to.cmp(&from) {
            std::cmp::Ordering::Less => "down",
            std::cmp::Ordering::Equal => return,
            std::cmp::Ordering::Greater => "up",
        };
        self.recorder.normal(
            &object_reference(deployment),
            "ScalingReplicaSet",
            format!("Scaled {direction} replica set {set} from {from} to {to}"),
        );
    }

    async fn renew(
        &self,
        key: &Key,
        deployment: &Deployment,
        set: &ReplicaSet,
        annotations: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let min_ready = deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.min_ready_seconds)
            .unwrap_or(0);
        let body = json!({
            "metadata": {"resourceVersion": set.metadata.resource_version, "annotations": annotations},
            "spec": {"minReadySeconds": min_ready},
        });
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let written = merge(&self.replica_sets(key), name, &body).await?;
        self.set_writes.record(key, &written.metadata);
        Ok(())
    }

    async fn delete(&self, key: &Key, set: &ReplicaSet) -> Result<(), Error> {
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let params = DeleteParams::background().preconditions(Preconditions {
            uid: set.metadata.uid.clone(),
            resource_version: set.metadata.resource_version.clone(),
        });
        let answer = self
            .replica_sets(key)
            .delete(name, &params)
            .await
            .during(|| format!("delete ReplicaSet {}/{name}", key.namespace));
        match answer {
            Err(error) if !error.is_not_found() => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn write_status(
        &self,
        key: &Key,
        deployment: &Deployment,
        sets: &Sets,
        news: Option<&News>,
    ) -> Result<Next, Error> {
        let now = self.shared.context.now();
        let status = status::observe(deployment, sets, news, now);
        if let Some(body) = status_change(deployment.status.as_ref(), &status) {
            match merge_status(&self.deployments(key), &key.name, &body).await {
                Ok(written) => self.writes.record(key, &written.metadata),
                Err(error) if error.is_not_found() => return Ok(Next::Wait),
                Err(error) => return Err(error),
            }
        }
        Ok(Next::after(status::next_deadline(deployment, &status, now)))
    }

    fn deployments(&self, key: &Key) -> Api<Deployment> {
        Api::namespaced(self.shared.client.clone(), &key.namespace)
    }

    fn replica_sets(&self, key: &Key) -> Api<ReplicaSet> {
        Api::namespaced(self.shared.client.clone(), &key.namespace)
    }
}

fn alive_deployment(deployment: &Deployment) -> bool {
    deployment.metadata.deletion_timestamp.is_none()
}
