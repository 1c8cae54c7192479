//! Doing what was decided about a Rollout.

use std::collections::HashMap;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{DeleteParams, EvictParams, Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use lab_api::analysis::AnalysisRun;
use lab_api::objects::{controller_reference, is_controlled_by, object_reference};
use lab_api::rollouts::{MANAGED_BY, POD_TEMPLATE_HASH, REVISION, Rollout, RolloutStatus};
use serde_json::{Value, json};

use super::Controller;
use super::analysis::NewRun;
use super::pass::{Change, News, Plan, RouteView};
use super::revision::has_template_of;
use crate::patch::{difference, merge, merge_status};
use crate::runner::{During, Error, Key, Next};

/// How a change ended that did not fail.
#[derive(Debug, PartialEq, Eq)]
enum Done {
    /// As wanted.
    Yes,
    /// The new ReplicaSet's name is another one's.
    Collided,
}

/// The versions of objects as they were seen, or as they were written since: what was decided
/// hangs on nobody else having written.
struct Versions {
    rollout: Option<String>,
    sets: HashMap<String, Option<String>>,
}

impl Controller {
    /// Does what was decided, then reports it.
    pub(super) async fn apply(
        &self,
        key: &Key,
        rollout: &Rollout,
        plan: Plan,
    ) -> Result<Next, Error> {
        let mut versions = Versions {
            rollout: rollout.metadata.resource_version.clone(),
            sets: HashMap::new(),
        };
        for change in plan.changes {
            if self.change(key, rollout, change, &mut versions).await? == Done::Collided {
                return self.note_collision(key, rollout, versions.rollout).await;
            }
        }
        self.write_status(key, rollout, versions.rollout, &plan.status)
            .await?;
        for news in plan.news {
            self.tell(rollout, news);
        }
        Ok(Next::after(plan.wake))
    }

    /// The next look makes another name.
    async fn note_collision(
        &self,
        key: &Key,
        rollout: &Rollout,
        version: Option<String>,
    ) -> Result<Next, Error> {
        let mut status = rollout.status.clone().unwrap_or_default();
        status.collision_count = Some(status.collision_count.unwrap_or(0).saturating_add(1));
        self.write_status(key, rollout, version, &status).await?;
        Ok(Next::Wait)
    }

    /// Writes what changed of a status, unless somebody else wrote meanwhile: a person who
    /// promotes or aborts does so by writing the status.
    async fn write_status(
        &self,
        key: &Key,
        rollout: &Rollout,
        version: Option<String>,
        status: &RolloutStatus,
    ) -> Result<(), Error> {
        let before = serde_json::to_value(&rollout.status).unwrap_or_default();
        let after = serde_json::to_value(status).unwrap_or_default();
        let Some(changed) = difference(&before, &after) else {
            return Ok(());
        };
        let body = json!({"metadata": {"resourceVersion": version}, "status": changed});
        match merge_status(&self.rollouts(key), &key.name, &body).await {
            Ok(written) => self.writes.record(key, &written.metadata),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn tell(&self, rollout: &Rollout, news: News) {
        let object = object_reference(rollout);
        if news.is_warning {
            self.recorder.warning(&object, news.reason, news.message);
        } else {
            self.recorder.normal(&object, news.reason, news.message);
        }
    }

    async fn change(
        &self,
        key: &Key,
        rollout: &Rollout,
        change: Change,
        versions: &mut Versions,
    ) -> Result<Done, Error> {
        match change {
            Change::Create(set) => return self.create(key, rollout, &set).await,
            Change::SetRevision(revision) => self.set_revision(key, revision, versions).await?,
            Change::Annotate {
                set,
                annotations,
                min_ready,
            } => {
                let mut body = json!({"metadata": {"annotations": annotations}});
                if let Some(seconds) = min_ready {
                    body["spec"] = json!({"minReadySeconds": seconds});
                }
                self.write_set(key, &set, body, versions).await?;
            }
            Change::Scale {
                set,
                to,
                annotations,
            } => {
                let body =
                    json!({"metadata": {"annotations": annotations}, "spec": {"replicas": to}});
                self.write_set(key, &set, body, versions).await?;
            }
            Change::DeleteSet(set) => {
                let answer = self
                    .replica_sets(key)
                    .delete(&set, &DeleteParams::background())
                    .await
                    .during(|| format!("delete ReplicaSet {}/{set}", key.namespace));
                gone_is_fine(answer.map(drop))?;
            }
            Change::Select { service, hash } => self.select(key, &service, &hash).await?,
            Change::PutRoute(route) => self.put_route(*route).await?,
            Change::CreateRun(run) => self.create_run(key, rollout, *run).await?,
            Change::TerminateRun(run) => {
                let body = json!({"spec": {"terminate": true}});
                match merge(&self.runs(key), &run, &body).await {
                    Ok(written) => self.run_writes.record(key, &written.metadata),
                    Err(error) => gone_is_fine(Err(error))?,
                }
            }
            Change::DeleteRun(run) => {
                let answer = self
                    .runs(key)
                    .delete(&run, &DeleteParams::background())
                    .await
                    .during(|| format!("delete AnalysisRun {}/{run}", key.namespace));
                gone_is_fine(answer.map(drop))?;
            }
            Change::Restart(pod) => {
                let pods: Api<Pod> = Api::namespaced(self.shared.client.clone(), &key.namespace);
                let answer = pods
                    .evict(&pod, &EvictParams::default())
                    .await
                    .during(|| format!("evict pod {}/{pod}", key.namespace));
                gone_is_fine(answer.map(drop))?;
            }
            Change::Tell(news) => self.tell(rollout, news),
        }
        Ok(Done::Yes)
    }

    async fn create(&self, key: &Key, rollout: &Rollout, set: &ReplicaSet) -> Result<Done, Error> {
        let name = set.metadata.name.clone().unwrap_or_default();
        let answer = self
            .replica_sets(key)
            .create(&PostParams::default(), set)
            .await
            .during(|| format!("create ReplicaSet {}/{name}", key.namespace));
        match answer {
            Ok(created) => {
                self.set_writes.record(key, &created.metadata);
                Ok(Done::Yes)
            }
            Err(error) if error.already_exists() => self.collided(key, rollout, &name).await,
            Err(error) => {
                let message = format!(
                    "Failed to create new replica set {name:?}: {}",
                    error.answer()
                );
                self.recorder
                    .warning(&object_reference(rollout), "ReplicaSetCreateError", message);
                Err(error)
            }
        }
    }

    /// The name is taken: by our own ReplicaSet, which the cache has yet to show, or by another
    /// one whose hash happens to be the same.
    async fn collided(&self, key: &Key, rollout: &Rollout, name: &str) -> Result<Done, Error> {
        let found = self
            .replica_sets(key)
            .get_opt(name)
            .await
            .during(|| format!("read ReplicaSet {}/{name}", key.namespace))?;
        let uid = rollout.metadata.uid.as_deref().unwrap_or_default();
        let ours = |set: &ReplicaSet| {
            is_controlled_by(&set.metadata, uid) && has_template_of(set, rollout)
        };
        match found {
            Some(set) if !ours(&set) => Ok(Done::Collided),
            Some(set) => {
                self.set_writes.record(key, &set.metadata);
                Ok(Done::Yes)
            }
            None => Ok(Done::Yes),
        }
    }

    async fn create_run(&self, key: &Key, rollout: &Rollout, run: NewRun) -> Result<(), Error> {
        let name = run.name.clone();
        let object = AnalysisRun {
            metadata: ObjectMeta {
                name: Some(run.name),
                namespace: Some(key.namespace.clone()),
                labels: Some(run.labels),
                annotations: Some(run.annotations),
                owner_references: Some(vec![controller_reference(rollout)]),
                ..ObjectMeta::default()
            },
            spec: run.spec,
            ..AnalysisRun::default()
        };
        let created = self
            .runs(key)
            .create(&PostParams::default(), &object)
            .await
            .during(|| format!("create AnalysisRun {}/{name}", key.namespace))?;
        self.run_writes.record(key, &created.metadata);
        Ok(())
    }

    async fn set_revision(
        &self,
        key: &Key,
        revision: i64,
        versions: &mut Versions,
    ) -> Result<(), Error> {
        let body = json!({"metadata": {
            "resourceVersion": versions.rollout,
            "annotations": {REVISION: revision.to_string()},
        }});
        let written = merge(&self.rollouts(key), &key.name, &body).await?;
        self.writes.record(key, &written.metadata);
        versions.rollout = written.metadata.resource_version;
        Ok(())
    }

    /// Writes on a ReplicaSet as it was seen: if somebody else scaled it meanwhile, the decision
    /// has to be made again.
    async fn write_set(
        &self,
        key: &Key,
        set: &str,
        mut body: Value,
        versions: &mut Versions,
    ) -> Result<(), Error> {
        let seen = || {
            let cached = self
                .shared
                .replica_sets
                .get(&Key::new(&key.namespace, set))?;
            cached.metadata.resource_version.clone()
        };
        let version = versions.sets.get(set).cloned().unwrap_or_else(seen);
        body["metadata"]["resourceVersion"] = json!(version);
        let written = merge(&self.replica_sets(key), set, &body).await?;
        self.set_writes.record(key, &written.metadata);
        versions
            .sets
            .insert(set.to_owned(), written.metadata.resource_version);
        Ok(())
    }

    async fn select(&self, key: &Key, service: &str, hash: &str) -> Result<(), Error> {
        let body = json!({
            "metadata": {"annotations": {MANAGED_BY: key.name}},
            "spec": {"selector": {POD_TEMPLATE_HASH: hash}},
        });
        self.write_service(key, service, &body).await
    }

    /// Gives a Service back: it selects by no version any more.
    pub(super) async fn release_service(&self, key: &Key, service: &str) -> Result<(), Error> {
        let body = json!({
            "metadata": {"annotations": {MANAGED_BY: null}},
            "spec": {"selector": {POD_TEMPLATE_HASH: null}},
        });
        let answer = self.write_service(key, service, &body).await;
        gone_is_fine(answer)
    }

    async fn write_service(&self, key: &Key, service: &str, body: &Value) -> Result<(), Error> {
        let services: Api<Service> = Api::namespaced(self.shared.client.clone(), &key.namespace);
        let written = services
            .patch(service, &PatchParams::default(), &Patch::Strategic(body))
            .await
            .during(|| format!("patch Service {}/{service}", key.namespace))?;
        self.service_writes.record(key, &written.metadata);
        Ok(())
    }

    async fn put_route(&self, route: RouteView) -> Result<(), Error> {
        let object: Option<DynamicObject> = route
            .object
            .and_then(|object| serde_json::from_value(object).ok());
        let Some(object) = object else {
            return Ok(());
        };
        self.route_api(route.kind, &route.namespace)
            .replace(&route.name, &PostParams::default(), &object)
            .await
            .during(|| format!("write {} {}/{}", route.kind, route.namespace, route.name))?;
        Ok(())
    }

    fn rollouts(&self, key: &Key) -> Api<Rollout> {
        Api::namespaced(self.shared.client.clone(), &key.namespace)
    }

    fn runs(&self, key: &Key) -> Api<AnalysisRun> {
        Api::namespaced(self.shared.client.clone(), &key.namespace)
    }

    fn replica_sets(&self, key: &Key) -> Api<ReplicaSet> {
        Api::namespaced(self.shared.client.clone(), &key.namespace)
    }
}

fn gone_is_fine(answer: Result<(), Error>) -> Result<(), Error> {
    match answer {
        Err(error) if !error.is_not_found() => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
