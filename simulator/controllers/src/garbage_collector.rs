//! Garbage collection: what is left of owners that are gone goes too.
//!
//! Deleting a Deployment deletes one object. That its ReplicaSets and pods follow is the work
//! of this controller, which knows nothing of Deployments: it follows owner references, over
//! all kinds that the API serves.
//!
//! `graph.rs` knows who owns whom and decides; this file watches, checks and writes.
//!
//! <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>

mod graph;

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use futures::{FutureExt, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, Preconditions};
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::Event;
use kube::{Api, Resource};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::ControllerDef;
use crate::discovery::{Served, served};
use crate::patch::merge;
use crate::runner::{Cache, Cached, During, Error, Key, Next, Queue, events, work};
use crate::shared::Shared;

use graph::{FOREGROUND, Fate, Graph, ORPHAN, Object, Owner, Propagation, Task, Uid, fate};

/// In the list of controllers.
pub(crate) const DEF: ControllerDef = ControllerDef {
    name: "garbage-collector-controller",
    help: "deletes objects whose owners are gone",
    start,
};

/// Objects looked at at a time, as in kube-controller-manager.
const WORKERS: usize = 20;

/// Wait before asking again what the API serves.
const DISCOVERY_RETRY: Duration = Duration::from_secs(1);

struct Controller {
    shared: Arc<Shared>,
    graph: Mutex<Graph>,
    queue: Arc<Queue<Uid>>,
}

fn start(shared: &Arc<Shared>) -> BoxFuture<'static, ()> {
    let controller = Arc::new(Controller {
        shared: Arc::clone(shared),
        graph: Mutex::new(Graph::default()),
        queue: Arc::new(Queue::new(shared.context.clone())),
    });
    let cached = vec![
        controller.hear_of(&shared.analysis_runs, true),
        controller.hear_of(&shared.analysis_templates, true),
        controller.hear_of(&shared.cluster_analysis_templates, false),
        controller.hear_of(&shared.deployments, true),
        controller.hear_of(&shared.endpoint_slices, true),
        controller.hear_of(&shared.endpoints, true),
        controller.hear_of(&shared.leases, true),
        controller.hear_of(&shared.namespaces, false),
        controller.hear_of(&shared.nodes, false),
        controller.hear_of(&shared.pods, true),
        controller.hear_of(&shared.replica_sets, true),
        controller.hear_of(&shared.rollouts, true),
        controller.hear_of(&shared.service_accounts, true),
        controller.hear_of(&shared.services, true),
    ];
    controller.run(cached).boxed()
}

impl Controller {
    /// Learns of a kind from the cache that is there anyway.
    fn hear_of<T: Cached>(self: &Arc<Self>, cache: &Cache<T>, namespaced: bool) -> Arc<Served> {
        let kind = Arc::new(Served {
            resource: ApiResource::erase::<T::Object>(&()),
            namespaced,
        });
        let (controller, of) = (Arc::clone(self), Arc::clone(&kind));
        cache.on_change(move |change| {
            let meta = change.latest().metadata();
            match change.new {
                Some(_) => controller.saw(Object::of(&of, meta)),
                None => controller.lost(meta.uid.as_deref().unwrap_or_default()),
            }
        });
        kind
    }

    async fn run(self: Arc<Self>, cached: Vec<Arc<Served>>) {
        let Some(all) = self.discover().await else {
            return;
        };
        let tasks = TaskTracker::new();
        let is_cached = |kind: &Served| {
            cached.iter().any(|known| {
                known.resource.kind == kind.resource.kind
                    && known.resource.group == kind.resource.group
            })
        };
        let mut listed = Vec::new();
        // Kinds that come later (CustomResourceDefinitions) will need discovery again.
        for kind in all.iter().filter(|kind| !is_cached(kind)) {
            let (done, wait) = watch::channel(false);
            tasks.spawn(Arc::clone(&self).follow(Arc::clone(kind), done));
            listed.push(known(wait));
        }
        tokio::select! {
            // Before all kinds are known, an owner may seem to have no dependents.
            _ = join_all(listed) => {}
            () = self.shared.stop.cancelled() => {}
        }
        let (queue, stop) = (Arc::clone(&self.queue), self.shared.stop.clone());
        work(DEF.name, queue, WORKERS, stop, move |uid: Uid| {
            let (controller, kinds) = (Arc::clone(&self), Arc::clone(&all));
            async move { controller.reconcile(&uid, &kinds).await }
        })
        .await;
        tasks.close();
        tasks.wait().await;
    }

    /// Every kind but events, which own nothing and would be most of the graph; `None` when
    /// stopped meanwhile.
    async fn discover(&self) -> Option<Arc<Vec<Arc<Served>>>> {
        loop {
            match served(&self.shared.client).await {
                Ok(kinds) => {
                    let kinds = kinds
                        .into_iter()
                        .filter(|kind| kind.resource.kind != "Event");
                    return Some(Arc::new(kinds.map(Arc::new).collect()));
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "will retry");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(self.shared.context.scale(DISCOVERY_RETRY)) => {}
                () = self.shared.stop.cancelled() => return None,
            }
        }
    }

    /// Learns of a kind from a watch of its objects' metadata.
    async fn follow(self: Arc<Self>, kind: Arc<Served>, listed: watch::Sender<bool>) {
        let api: Api<PartialObjectMeta<DynamicObject>> =
            Api::all_with(self.shared.client.clone(), &kind.resource);
        let mut events = pin!(events(api));
        let mut list = Vec::new();
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = self.shared.stop.cancelled() => return,
            };
            match event {
                Some(Ok(Event::Init)) => list.clear(),
                Some(Ok(Event::InitApply(object))) => list.push(Object::of(&kind, object.meta())),
                Some(Ok(Event::InitDone)) => {
                    let gone = self.graph().missing(&kind, &list);
                    gone.iter().for_each(|uid| self.lost(uid));
                    list.drain(..).for_each(|object| self.saw(object));
                    listed.send_replace(true);
                }
                Some(Ok(Event::Apply(object))) => self.saw(Object::of(&kind, object.meta())),
                Some(Ok(Event::Delete(object))) => {
                    self.lost(object.meta().uid.as_deref().unwrap_or_default());
                }
                Some(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(kind = kind.resource.kind, error, "watch interrupted");
                }
                None => return,
            }
        }
    }

    fn saw(&self, object: Object) {
        let affected = self.graph().apply(object);
        affected.into_iter().for_each(|uid| self.queue.add(uid));
    }

    fn lost(&self, uid: &str) {
        let affected = self.graph().remove(uid);
        affected.into_iter().for_each(|uid| self.queue.add(uid));
    }

    fn graph(&self) -> MutexGuard<'_, Graph> {
        self.graph.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn reconcile(&self, uid: &Uid, kinds: &[Arc<Served>]) -> Result<Next, Error> {
        let task = self.graph().task(uid);
        match task {
            Task::Nothing => {}
            Task::Orphan { object, dependents } => {
                for dependent in dependents {
                    self.disown(&dependent, std::slice::from_ref(&object.uid))
                        .await?;
                }
                self.drop_finalizer(&object, ORPHAN).await?;
            }
            Task::Release { object } => self.drop_finalizer(&object, FOREGROUND).await?,
            Task::AwaitDependents { dependents } => {
                dependents.into_iter().for_each(|uid| self.queue.add(uid));
            }
            Task::CheckOwners {
                object,
                owners,
                has_dependents,
            } => {
                let owners = self.check(&object, owners, kinds).await?;
                match fate(&object, &owners, has_dependents) {
                    Fate::Keep => {}
                    Fate::Disown(gone) => self.disown(&object, &gone).await?,
                    Fate::Delete(propagation) => self.delete(&object, propagation).await?,
                }
            }
        }
        Ok(Next::Wait)
    }

    /// Asks the API about each owner that the graph does not know: its watch may be behind
    /// that of its dependents.
    async fn check(
        &self,
        object: &Object,
        owners: Vec<(OwnerReference, Owner)>,
        kinds: &[Arc<Served>],
    ) -> Result<Vec<(OwnerReference, Owner)>, Error> {
        let mut checked = Vec::new();
        for (reference, owner) in owners {
            let owner = match owner {
                Owner::Absent if self.exists(object, &reference, kinds).await? => Owner::Present,
                owner => owner,
            };
            checked.push((reference, owner));
        }
        Ok(checked)
    }

    async fn exists(
        &self,
        object: &Object,
        owner: &OwnerReference,
        kinds: &[Arc<Served>],
    ) -> Result<bool, Error> {
        let kind = kinds.iter().find(|kind| {
            kind.resource.kind == owner.kind && kind.resource.api_version == owner.api_version
        });
        // What cannot be checked is not deleted: an owner of an unknown kind, and one in a
        // namespace that an object of the cluster cannot name.
        let Some(kind) = kind.filter(|kind| object.kind.namespaced || !kind.namespaced) else {
            return Ok(true);
        };
        let namespace = &object.key.namespace;
        let found = self
            .api(kind, namespace)
            .get_metadata_opt(&owner.name)
            .await
            .during(|| format!("read {} {namespace}/{}", owner.kind, owner.name))?;
        Ok(found.is_some_and(|found| found.metadata.uid.as_ref() == Some(&owner.uid)))
    }

    async fn disown(&self, object: &Object, gone: &[Uid]) -> Result<(), Error> {
        let mut owners = object.owners.clone();
        owners.retain(|owner| !gone.contains(&owner.uid));
        if owners.len() == object.owners.len() {
            return Ok(());
        }
        self.patch(object, json!({"ownerReferences": owners})).await
    }

    async fn drop_finalizer(&self, object: &Object, finalizer: &str) -> Result<(), Error> {
        let mut finalizers = object.finalizers.clone();
        finalizers.retain(|present| present != finalizer);
        self.patch(object, json!({"finalizers": finalizers})).await
    }

    async fn patch(&self, object: &Object, mut metadata: serde_json::Value) -> Result<(), Error> {
        metadata["uid"] = json!(object.uid);
        metadata["resourceVersion"] = json!(object.resource_version);
        let api = self.api(&object.kind, &object.key.namespace);
        let answer = merge(&api, &object.key.name, &json!({"metadata": metadata})).await;
        match answer {
            Err(error) if !error.is_not_found() => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn delete(&self, object: &Object, propagation: Propagation) -> Result<(), Error> {
        let params = match propagation {
            Propagation::Background => DeleteParams::background(),
            Propagation::Foreground => DeleteParams::foreground(),
            Propagation::Orphan => DeleteParams::orphan(),
        };
        let params = params.preconditions(Preconditions {
            uid: Some(object.uid.clone()),
            resource_version: None,
        });
        let kind = &object.kind.resource.kind;
        let answer = self
            .api(&object.kind, &object.key.namespace)
            .delete(&object.key.name, &params)
            .await
            .during(|| format!("delete {kind} {}, whose owners are gone", object.key));
        match answer {
            Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn api(&self, kind: &Served, namespace: &str) -> Api<DynamicObject> {
        let client = self.shared.client.clone();
        if kind.namespaced {
            Api::namespaced_with(client, namespace, &kind.resource)
        } else {
            Api::all_with(client, &kind.resource)
        }
    }
}

/// Waits until a kind has been listed, or its watch has been stopped.
async fn known(mut listed: watch::Receiver<bool>) {
    let _ = listed.wait_for(|done| *done).await;
}

impl Object {
    fn of(kind: &Arc<Served>, meta: &ObjectMeta) -> Self {
        Self {
            kind: Arc::clone(kind),
            key: Key::of(meta),
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            owners: meta.owner_references.clone().unwrap_or_default(),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
        }
    }
}
