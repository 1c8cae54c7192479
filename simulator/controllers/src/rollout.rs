//! Rollouts of Argo Rollouts: canary and blue/green updates.
//!
//! Each look at a Rollout is a pure decision from [`World`] to [`Plan`]: `canary.rs` and
//! `blue_green.rs` hold the two sequences, on the arithmetic of `counts.rs` and `scaling.rs`,
//! the traffic of `traffic.rs` and `gateway.rs`, and the analyses of `analysis.rs`;
//! `conditions.rs` says what to report. `apply.rs` does what was decided. This file reads.
//!
//! What `kubectl argo rollouts` does, it does by patching status and spec, so promote, abort,
//! retry, restart and undo need nothing but the fields they write.
//!
//! <https://argo-rollouts.readthedocs.io>

mod analysis;
mod apply;
mod blue_green;
mod canary;
mod conditions;
mod counts;
mod gateway;
mod pass;
mod pause;
mod restart;
mod revision;
mod scaling;
mod services;
mod set;
mod spec;
mod status;
mod traffic;
mod validate;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::Endpoint;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use lab_api::names::SERVICE_NAME;
use lab_api::objects::{controller_of, controller_reference};
use lab_api::rollouts::{MANAGED_BY, POD_TEMPLATE_HASH, Rollout};
use lab_api::selector::Selector;
use lab_events::Recorder;

use crate::ControllerDef;
use crate::claim::{claims, selects, workload_selector};
use crate::runner::{Cache, During, Error, Index, Key, Next, OwnWrites, Queue, work};
use crate::shared::Shared;

use analysis::{Run, Templates};
use pass::{Pass, Plan, PodView, RouteView, ServiceView, World};

/// In the list of controllers.
pub(crate) const DEF: ControllerDef = ControllerDef {
    name: "rollouts-controller",
    help: "rolls each Rollout's pod template out as a canary or as blue/green",
    start,
};

/// Rollouts reconciled at a time, as in upstream's controller.
const WORKERS: usize = 10;

struct Controller {
    shared: Arc<Shared>,
    recorder: Recorder,
    /// Writes to ReplicaSets.
    set_writes: OwnWrites<Key>,
    /// Writes to Services.
    service_writes: OwnWrites<Key>,
    /// Writes to AnalysisRuns.
    run_writes: OwnWrites<Key>,
    /// Writes to the Rollout itself.
    writes: OwnWrites<Key>,
}

fn start(shared: &Arc<Shared>) -> BoxFuture<'static, ()> {
    let queue = Arc::new(Queue::new(shared.context.clone()));
    watch(shared, &queue);
    watch_analysis(shared, &queue);
    let controller = Arc::new(Controller {
        shared: Arc::clone(shared),
        recorder: shared.recorder(DEF.name),
        set_writes: OwnWrites::new(),
        service_writes: OwnWrites::new(),
        run_writes: OwnWrites::new(),
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
        .rollouts
        .on_change(move |change| to.add(Key::of(&change.latest().metadata)));
    let (to, rollouts) = (Arc::clone(queue), Arc::clone(&shared.rollouts));
    shared.replica_sets.on_change(move |change| {
        for set in change.both() {
            let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
            match controller_of(&set.metadata) {
                Some(owner) if owner.kind == "Rollout" => {
                    to.add(Key::new(namespace, &owner.name));
                }
                Some(_) => {}
                None => {
                    for candidate in rollouts.in_namespace(namespace) {
                        if selects(selector(&candidate).as_ref(), &set.metadata) {
                            to.add(Key::of(&candidate.metadata));
                        }
                    }
                }
            }
        }
    });
    let (to, rollouts) = (Arc::clone(queue), Arc::clone(&shared.rollouts));
    shared.services.on_change(move |change| {
        let meta = &change.latest().metadata;
        let name = meta.name.as_deref().unwrap_or_default();
        add_naming(&to, &rollouts, meta, name);
    });
    let (to, rollouts) = (Arc::clone(queue), Arc::clone(&shared.rollouts));
    shared.endpoint_slices.on_change(move |change| {
        let meta = &change.latest().metadata;
        if let Some(service) = meta.labels.as_ref().and_then(|l| l.get(SERVICE_NAME)) {
            add_naming(&to, &rollouts, meta, service);
        }
    });
}

/// Adds the Rollouts that name a Service, in the namespace of `meta`.
fn add_naming(queue: &Queue<Key>, rollouts: &Cache<Rollout>, meta: &ObjectMeta, service: &str) {
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    for rollout in rollouts.in_namespace(namespace) {
        let named = validate::named_services(&rollout.spec);
        if named.iter().any(|(_, named)| named == service) {
            queue.add(Key::of(&rollout.metadata));
        }
    }
}

/// AnalysisRuns tell how they fare; templates may be what an invalid Rollout waits for.
fn watch_analysis(shared: &Arc<Shared>, queue: &Arc<Queue<Key>>) {
    let to = Arc::clone(queue);
    shared.analysis_runs.on_change(move |change| {
        let meta = &change.latest().metadata;
        if let Some(owner) = controller_of(meta)
            && owner.kind == "Rollout"
        {
            let namespace = meta.namespace.as_deref().unwrap_or_default();
            to.add(Key::new(namespace, &owner.name));
        }
    });
    let (to, rollouts) = (Arc::clone(queue), Arc::clone(&shared.rollouts));
    shared.analysis_templates.on_change(move |change| {
        let meta = &change.latest().metadata;
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        for rollout in rollouts.in_namespace(namespace) {
            to.add(Key::of(&rollout.metadata));
        }
    });
    let (to, rollouts) = (Arc::clone(queue), Arc::clone(&shared.rollouts));
    shared.cluster_analysis_templates.on_change(move |_| {
        for rollout in rollouts.all() {
            to.add(Key::of(&rollout.metadata));
        }
    });
}

fn selector(rollout: &Rollout) -> Option<Selector> {
    workload_selector(rollout.spec.selector.as_ref()?)
}

/// What to do for a Rollout, and what to report of it.
fn plan(world: World) -> Plan {
    let mut pass = Pass::new(world);
    if pass.rollout.metadata.deletion_timestamp.is_some() {
        let status = pass.old.clone();
        return pass.done(status);
    }
    if let Some(problem) = validate::problem(&pass) {
        let mut status = pass.old.clone();
        conditions::set_invalid(&mut status, problem, pass.now);
        let generation = pass.rollout.metadata.generation.unwrap_or(0);
        status.observed_generation = generation.to_string();
        let (phase, message) = conditions::phase(&pass.rollout.spec, &status);
        status.phase = phase.to_owned();
        status.message = message;
        return pass.done(status);
    }
    conditions::note_pauses(&mut pass);
    if spec::canary(&pass.rollout.spec).is_some() {
        canary::plan(pass)
    } else {
        blue_green::plan(pass)
    }
}

impl Controller {
    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(rollout) = self.shared.rollouts.get(key) else {
            self.writes.forget(key);
            self.set_writes.forget(key);
            self.service_writes.forget(key);
            self.run_writes.forget(key);
            self.release_services(key, &[]).await?;
            return Ok(Next::Wait);
        };
        if let Some(wait) = self.unseen(key) {
            return Ok(Next::After(wait));
        }
        let Some(sets) = self.claim(key, &rollout).await? else {
            // The cache tells when the claims have arrived.
            return Ok(Next::Wait);
        };
        let named = validate::named_services(&rollout.spec);
        self.release_services(key, &named).await?;
        let world = self.look(key, &rollout, sets).await?;
        let plan = plan(world);
        self.apply(key, &rollout, plan).await
    }

    /// How long to wait at most for the caches to show what was written here.
    fn unseen(&self, key: &Key) -> Option<std::time::Duration> {
        let shared = &self.shared;
        self.writes
            .unseen(key, shared.rollouts.observed())
            .or_else(|| self.set_writes.unseen(key, shared.replica_sets.observed()))
            .or_else(|| self.service_writes.unseen(key, shared.services.observed()))
            .or_else(|| self.run_writes.unseen(key, shared.analysis_runs.observed()))
    }

    /// The Rollout's ReplicaSets; `None` after adopting or releasing some.
    async fn claim(
        &self,
        key: &Key,
        rollout: &Rollout,
    ) -> Result<Option<Vec<Arc<ReplicaSet>>>, Error> {
        let uid = rollout.metadata.uid.clone().unwrap_or_default();
        let owned = self.shared.replica_sets.by_index(&Index::Owner(uid));
        let orphans = self
            .shared
            .replica_sets
            .by_index(&Index::Orphan(key.namespace.clone()));
        let adoptable = |set: &ReplicaSet| {
            let labels = set.metadata.labels.as_ref();
            set.metadata.deletion_timestamp.is_none()
                && labels.is_some_and(|labels| labels.contains_key(POD_TEMPLATE_HASH))
        };
        let claims = claims(selector(rollout).as_ref(), owned, &orphans, adoptable);
        if rollout.metadata.deletion_timestamp.is_none() {
            let api = Api::<ReplicaSet>::namespaced(self.shared.client.clone(), &key.namespace);
            let written = claims.settle(&api, &controller_reference(rollout)).await?;
            for meta in &written {
                self.set_writes.record(key, meta);
            }
            if !written.is_empty() {
                return Ok(None);
            }
        }
        Ok(Some(claims.owned))
    }

    /// Everything that the decision looks at.
    async fn look(
        &self,
        key: &Key,
        rollout: &Arc<Rollout>,
        sets: Vec<Arc<ReplicaSet>>,
    ) -> Result<World, Error> {
        let now = self.shared.context.now();
        let pods = if restart::is_due(rollout, now) {
            self.pods(&sets)
        } else {
            Vec::new()
        };
        Ok(World {
            rollout: Arc::clone(rollout),
            services: self.services(key, rollout),
            routes: self.routes(rollout).await?,
            runs: self.runs_of(rollout),
            templates: self.templates(key, rollout),
            pods,
            sets,
            now,
            speed: self.shared.context.speed(),
        })
    }

    fn pods(&self, sets: &[Arc<ReplicaSet>]) -> Vec<PodView> {
        let mut views = Vec::new();
        for set in sets {
            let uid = set.metadata.uid.clone().unwrap_or_default();
            for pod in self.shared.pods.by_index(&Index::Owner(uid)) {
                if pod.is_finished() {
                    continue;
                }
                let created = pod.metadata.creation_timestamp.as_ref();
                views.push(PodView {
                    name: pod.name().to_owned(),
                    set: set.metadata.name.clone().unwrap_or_default(),
                    created: created.map_or(Timestamp::MIN, |at| at.0),
                    is_terminating: pod.is_terminating(),
                    is_ready: pod.ready.holds,
                });
            }
        }
        views
    }

    fn services(&self, key: &Key, rollout: &Rollout) -> BTreeMap<String, ServiceView> {
        let named = validate::named_services(&rollout.spec).into_iter();
        named
            .filter_map(|(_, name)| {
                let service = self.shared.services.get(&Key::new(&key.namespace, &name))?;
                // One that is gone has nothing to say.
                let managed_by = manager(&service).filter(|by| {
                    self.shared
                        .rollouts
                        .get(&Key::new(&key.namespace, by))
                        .is_some()
                });
                let view = ServiceView {
                    hash: selected_hash(&service),
                    managed_by,
                    ready: self.ready_pods(key, &name),
                };
                Some((name, view))
            })
            .collect()
    }

    /// Names of the pods that a Service's EndpointSlices list as ready.
    fn ready_pods(&self, key: &Key, service: &str) -> Vec<String> {
        let index = Index::Label {
            namespace: key.namespace.clone(),
            key: SERVICE_NAME.to_owned(),
            value: service.to_owned(),
        };
        let slices = self.shared.endpoint_slices.by_index(&index);
        let endpoints = slices.iter().filter_map(|slice| slice.endpoints.as_ref());
        let ready = |endpoint: &&Endpoint| {
            let conditions = endpoint.conditions.as_ref();
            conditions.is_none_or(|conditions| conditions.ready != Some(false))
        };
        let name = |endpoint: &Endpoint| endpoint.target_ref.as_ref()?.name.clone();
        endpoints.flatten().filter(ready).filter_map(name).collect()
    }

    fn runs_of(&self, rollout: &Rollout) -> Vec<Run> {
        let uid = rollout.metadata.uid.clone().unwrap_or_default();
        let owned = self.shared.analysis_runs.by_index(&Index::Owner(uid));
        owned.iter().map(|run| Run::of(run)).collect()
    }

    /// All templates, where the Rollout asks for any.
    fn templates(&self, key: &Key, rollout: &Rollout) -> Templates {
        if validate::analyses(&rollout.spec).is_empty() {
            return Templates::default();
        }
        let namespaced = self.shared.analysis_templates.in_namespace(&key.namespace);
        let cluster = self.shared.cluster_analysis_templates.all();
        let name = |meta: &ObjectMeta| meta.name.clone().unwrap_or_default();
        Templates {
            namespaced: namespaced
                .iter()
                .map(|template| (name(&template.metadata), template.spec.clone()))
                .collect(),
            cluster: cluster
                .iter()
                .map(|template| (name(&template.metadata), template.spec.clone()))
                .collect(),
        }
    }

    async fn routes(&self, rollout: &Rollout) -> Result<Vec<RouteView>, Error> {
        let mut views = Vec::new();
        for route in gateway::named(rollout) {
            let api = self.route_api(route.kind, &route.namespace);
            let found = api
                .get_opt(&route.name)
                .await
                .during(|| format!("read {} {}/{}", route.kind, route.namespace, route.name))?;
            views.push(RouteView {
                object: found.and_then(|object| serde_json::to_value(object).ok()),
                kind: route.kind,
                namespace: route.namespace,
                name: route.name,
            });
        }
        Ok(views)
    }

    fn route_api(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(lab_api::gateway::GROUP, lab_api::gateway::VERSION, kind);
        let resource = ApiResource::from_gvk(&kind);
        Api::namespaced_with(self.shared.client.clone(), namespace, &resource)
    }

    /// Gives Services back that the Rollout once managed and does not name any more.
    async fn release_services(&self, key: &Key, named: &[(&str, String)]) -> Result<(), Error> {
        for service in self.shared.services.in_namespace(&key.namespace) {
            let name = service.metadata.name.clone().unwrap_or_default();
            let is_named = named.iter().any(|(_, named)| *named == name);
            if !is_named && manager(&service).as_ref() == Some(&key.name) {
                self.release_service(key, &name).await?;
            }
        }
        Ok(())
    }
}

fn manager(service: &Service) -> Option<String> {
    let annotations = service.metadata.annotations.as_ref()?;
    annotations.get(MANAGED_BY).cloned()
}

fn selected_hash(service: &Service) -> String {
    service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref()?.get(POD_TEMPLATE_HASH).cloned())
        .unwrap_or_default()
}
