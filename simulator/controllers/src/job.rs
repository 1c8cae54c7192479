//! Jobs: pods that run to their end, tried again when they fail.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/job/>
//!
//! `plan` decides from the pods that are there and from the status; this file counts, asks it and
//! applies. Finished pods are counted where they lie: a count never falls, so a finished pod that
//! somebody deletes stays counted.

mod plan;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};
use lab_api::objects::{controller_of, object_reference};
use lab_events::Recorder;

use crate::ControllerDef;
use crate::patch::{merge_status, status_change};
use crate::pods::{Phase, PodRecord, from_template};
use crate::runner::{During, Error, Index, Key, Next, OwnWrites, Queue, work};
use crate::shared::Shared;

use plan::{Counts, Plan, plan};

/// In the list of controllers.
pub(crate) const DEF: ControllerDef = ControllerDef {
    name: "job-controller",
    help: "runs the pods of each Job to their end",
    start,
};

/// Jobs reconciled at a time.
const WORKERS: usize = 8;
/// Pods created or deleted in one pass at most, as upstream.
const BURST: usize = 500;

struct Controller {
    shared: Arc<Shared>,
    recorder: Recorder,
    pod_writes: OwnWrites<Key>,
    status_writes: OwnWrites<Key>,
    /// When the latest failures were seen, to space the next attempts.
    failures: Mutex<HashMap<Key, Failures>>,
}

/// Failures of a Job's pods, and when the latest was seen.
#[derive(Clone, Copy)]
struct Failures {
    count: i32,
    at: Timestamp,
}

fn start(shared: &Arc<Shared>) -> BoxFuture<'static, ()> {
    let queue = Arc::new(Queue::new(shared.context.clone()));
    let to = Arc::clone(&queue);
    shared
        .jobs
        .on_change(move |change| to.add(Key::of(&change.latest().metadata)));
    let to = Arc::clone(&queue);
    shared.pods.on_change(move |change| {
        for pod in change.both() {
            if let Some(owner) = controller_of(&pod.metadata).filter(|it| it.kind == "Job") {
                to.add(Key::new(pod.namespace(), &owner.name));
            }
        }
    });
    let controller = Arc::new(Controller {
        shared: Arc::clone(shared),
        recorder: shared.recorder(DEF.name),
        pod_writes: OwnWrites::new(),
        status_writes: OwnWrites::new(),
        failures: Mutex::new(HashMap::new()),
    });
    work(DEF.name, queue, WORKERS, shared.stop.clone(), move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key).await }
    })
    .boxed()
}

impl Controller {
    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(job) = self.shared.jobs.get(key) else {
            self.pod_writes.forget(key);
            self.status_writes.forget(key);
            self.last_failures(|all| all.remove(key));
            return Ok(Next::Wait);
        };
        let pods = self.pod_writes.unseen(key, self.shared.pods.observed());
        let status = self.status_writes.unseen(key, self.shared.jobs.observed());
        if let Some(wait) = pods.or(status) {
            return Ok(Next::After(wait));
        }
        if job.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Wait);
        }
        self.carry_on(key, &job).await
    }

    fn last_failures<T>(&self, look: impl FnOnce(&mut HashMap<Key, Failures>) -> T) -> T {
        look(&mut self.failures.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn carry_on(&self, key: &Key, job: &Job) -> Result<Next, Error> {
        let now = self.shared.context.now();
        let uid = job.metadata.uid.clone().unwrap_or_default();
        let pods = self.shared.pods.by_index(&Index::Owner(uid));
        let counts = count(job, &pods);
        let failed_at = self.failed_at(key, counts.failed, now);
        let plan = plan(job, &counts, failed_at, now, |wait| {
            self.shared.context.scale(wait)
        });
        let created = self.create(key, job, plan.create.min(BURST)).await;
        self.delete(key, job, &pods, &plan).await?;
        self.write(key, job, &plan).await?;
        created?;
        if plan.expired {
            return self.expire(key, job).await;
        }
        Ok(Next::after(plan.again))
    }

    /// When the latest failure was seen; `None` where there has been none since this controller
    /// began to look.
    fn failed_at(&self, key: &Key, failed: i32, now: Timestamp) -> Option<Timestamp> {
        self.last_failures(|all| {
            let known = all
                .entry(key.clone())
                .or_insert(Failures { count: 0, at: now });
            if failed > known.count {
                *known = Failures {
                    count: failed,
                    at: now,
                };
            }
            (known.count > 0).then_some(known.at)
        })
    }

    async fn create(&self, key: &Key, job: &Job, count: usize) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.shared.client.clone(), &key.namespace);
        let pod = pod_from_template(job);
        let params = PostParams::default();
        let answers = join_all((0..count).map(|_| api.create(&params, &pod))).await;
        for answer in answers {
            match answer.during(|| format!("create a pod for Job {key}")) {
                Ok(created) => {
                    self.pod_writes.record(key, &created.metadata);
                    let name = created.metadata.name.as_deref().unwrap_or_default();
                    let message = format!("Created pod: {name}");
                    self.recorder
                        .normal(&object_reference(job), "SuccessfulCreate", message);
                }
                Err(error) if error.namespace_is_terminating() => return Ok(()),
                Err(error) => {
                    let message = format!("Error creating: {}", error.answer());
                    self.recorder
                        .warning(&object_reference(job), "FailedCreate", message);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Deletes as many unfinished pods as the plan says, those that are not ready first.
    async fn delete(
        &self,
        key: &Key,
        job: &Job,
        pods: &[Arc<PodRecord>],
        plan: &Plan,
    ) -> Result<(), Error> {
        let mut active: Vec<_> = pods.iter().filter(|pod| pod.is_active()).collect();
        active.sort_by_key(|pod| (pod.ready.holds, pod.phase));
        let api: Api<Pod> = Api::namespaced(self.shared.client.clone(), &key.namespace);
        for pod in active.into_iter().take(plan.delete.min(BURST)) {
            let params = DeleteParams::default().preconditions(Preconditions {
                uid: pod.metadata.uid.clone(),
                resource_version: None,
            });
            let answer = api
                .delete(pod.name(), &params)
                .await
                .during(|| format!("delete pod {}/{}", key.namespace, pod.name()));
            match answer {
                Ok(deleted) => {
                    if let Some(last) = deleted.left() {
                        self.pod_writes.record(key, &last.metadata);
                    }
                    let message = format!("Deleted pod: {}", pod.name());
                    self.recorder
                        .normal(&object_reference(job), "SuccessfulDelete", message);
                }
                Err(error) if error.is_not_found() || error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn write(&self, key: &Key, job: &Job, plan: &Plan) -> Result<(), Error> {
        let old = job.status.clone().unwrap_or_default();
        let Some(body) = status_change(Some(&old), &plan.status) else {
            return Ok(());
        };
        let api: Api<Job> = Api::namespaced(self.shared.client.clone(), &key.namespace);
        match merge_status(&api, &key.name, &body).await {
            Ok(written) => self.status_writes.record(key, &written.metadata),
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        }
        self.tell(job, &old, &plan.status);
        Ok(())
    }

    /// Reports the conditions that have come to hold.
    fn tell(&self, job: &Job, old: &JobStatus, new: &JobStatus) {
        let object = object_reference(job);
        let newly = |type_: &str, status: &str| {
            let find = |of: &JobStatus| {
                let found = of.conditions.iter().flatten().find(|it| it.type_ == type_);
                found.filter(|it| it.status == status).cloned()
            };
            find(new).filter(|_| find(old).is_none())
        };
        if newly("Complete", "True").is_some() {
            self.recorder.normal(&object, "Completed", "Job completed");
        }
        if let Some(failed) = newly("Failed", "True") {
            let reason = match failed.reason.as_deref() {
                Some(plan::DEADLINE_EXCEEDED) => plan::DEADLINE_EXCEEDED,
                _ => plan::BACKOFF_LIMIT_EXCEEDED,
            };
            let message = failed.message.unwrap_or_default();
            self.recorder.warning(&object, reason, message);
        }
        if newly("Suspended", "True").is_some() {
            self.recorder.normal(&object, "Suspended", "Job suspended");
        }
        if newly("Suspended", "False").is_some() {
            self.recorder.normal(&object, "Resumed", "Job resumed");
        }
    }

    /// Deletes a finished Job whose time is over.
    async fn expire(&self, key: &Key, job: &Job) -> Result<Next, Error> {
        let api: Api<Job> = Api::namespaced(self.shared.client.clone(), &key.namespace);
        let params = DeleteParams::foreground().preconditions(Preconditions {
            uid: job.metadata.uid.clone(),
            resource_version: None,
        });
        let answer = api
            .delete(&key.name, &params)
            .await
            .during(|| format!("delete Job {key}"));
        match answer {
            Err(error) if !error.is_not_found() => Err(error),
            Ok(_) | Err(_) => Ok(Next::Wait),
        }
    }
}

/// The Job's pods by how they stand. Finished pods that are gone stay counted by the status.
fn count(job: &Job, pods: &[Arc<PodRecord>]) -> Counts {
    let of = |holds: &dyn Fn(&PodRecord) -> bool| {
        i32::try_from(pods.iter().filter(|pod| holds(pod)).count()).unwrap_or(i32::MAX)
    };
    let status = job.status.as_ref();
    let before = |count: Option<i32>| count.unwrap_or(0);
    Counts {
        active: of(&PodRecord::is_active),
        ready: of(&|pod| pod.is_active() && pod.ready.holds),
        terminating: of(&|pod| pod.is_terminating() && !pod.is_finished()),
        succeeded: of(&|pod| pod.phase == Phase::Succeeded)
            .max(before(status.and_then(|status| status.succeeded))),
        failed: of(&|pod| pod.phase == Phase::Failed)
            .max(before(status.and_then(|status| status.failed))),
        restarts: pods
            .iter()
            .filter(|pod| pod.is_active())
            .map(|pod| pod.restarts)
            .sum(),
    }
}

fn pod_from_template(job: &Job) -> Pod {
    let template = job.spec.as_ref().map(|spec| spec.template.clone());
    from_template(job, template.unwrap_or_default())
}
