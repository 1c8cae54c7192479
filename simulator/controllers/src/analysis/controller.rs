//! Carries runs out: takes the measurements that are due, writes what they show.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::DeleteParams;
use lab_api::analysis::{
    AnalysisPhase, AnalysisRun, AnalysisRunStatus, Argument, Measurement, Metric,
};
use lab_api::objects::{controller_of, object_reference};
use lab_events::Recorder;
use serde_json::Value;

use super::arguments::{self, field_value};
use super::metric::{self, Schedule};
use super::providers::{self, Jobs};
use super::run::{self, Due, Plan, Task};
use super::template;
use crate::ControllerDef;
use crate::patch::{merge_status, status_change};
use crate::runner::{During, Error, Key, Next, OwnWrites, Queue, work};
use crate::shared::Shared;

/// In the list of controllers.
pub(crate) const DEF: ControllerDef = ControllerDef {
    name: "analysis-controller",
    help: "takes the measurements of AnalysisRuns and says whether a release is good",
    start,
};

/// Runs looked at a time. Each may wait for answers as long as its requests may take.
const WORKERS: usize = 16;

struct Controller {
    shared: Arc<Shared>,
    recorder: Recorder,
    writes: OwnWrites<Key>,
    /// Exact moments of the next measurements of the runs under way.
    due: Mutex<HashMap<Key, Due>>,
}

fn start(shared: &Arc<Shared>) -> BoxFuture<'static, ()> {
    let queue = Arc::new(Queue::new(shared.context.clone()));
    watch(shared, &queue);
    let controller = Arc::new(Controller {
        shared: Arc::clone(shared),
        recorder: shared.recorder(DEF.name),
        writes: OwnWrites::new(),
        due: Mutex::new(HashMap::new()),
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
        .analysis_runs
        .on_change(move |change| to.add(Key::of(&change.latest().metadata)));
    let to = Arc::clone(queue);
    shared.jobs.on_change(move |change| {
        let meta = &change.latest().metadata;
        if let Some(owner) = controller_of(meta).filter(|owner| owner.kind == "AnalysisRun") {
            let namespace = meta.namespace.as_deref().unwrap_or_default();
            to.add(Key::new(namespace, &owner.name));
        }
    });
}

/// A run with everything that its measurements need.
struct Work<'a> {
    key: &'a Key,
    run: &'a AnalysisRun,
    plan: Plan,
    metrics: Vec<(Metric, Schedule)>,
    /// Values that must not be seen in a status.
    secrets: Vec<String>,
}

impl Controller {
    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(run) = self.shared.analysis_runs.get(key) else {
            self.writes.forget(key);
            self.due().remove(key);
            return Ok(Next::Wait);
        };
        if let Some(wait) = self
            .writes
            .unseen(key, self.shared.analysis_runs.observed())
        {
            return Ok(Next::After(wait));
        }
        if run.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Wait);
        }
        if run.phase().is_completed() {
            self.due().remove(key);
            return self.expire(key, &run).await;
        }
        if let Err(error) = template::validate(&run.spec) {
            let message = format!("Analysis spec invalid: {error}");
            return self.give_up(key, &run, message).await;
        }
        match self.prepare(key, &run).await? {
            Ok(work) => self.carry_on(work).await,
            Err(reason) => {
                let message = format!("Unable to resolve metric arguments: {reason}");
                self.give_up(key, &run, message).await
            }
        }
    }

    fn due(&self) -> MutexGuard<'_, HashMap<Key, Due>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the arguments in; the inner error says which one has no value.
    async fn prepare<'a>(
        &self,
        key: &'a Key,
        run: &'a AnalysisRun,
    ) -> Result<Result<Work<'a>, String>, Error> {
        let mut args = run.spec.args.clone().unwrap_or_default();
        let mut secrets = Vec::new();
        for arg in &mut args {
            match self.value(run, arg).await? {
                Ok(Some(secret)) => secrets.push(secret),
                Ok(None) => {}
                Err(reason) => return Ok(Err(reason)),
            }
        }
        let resolved: Result<Vec<_>, String> = run
            .spec
            .metrics
            .iter()
            .map(|metric| {
                let metric =
                    arguments::resolve(metric, &args).map_err(|error| error.to_string())?;
                let schedule = metric::schedule(&metric).map_err(|error| error.to_string())?;
                Ok((metric, schedule))
            })
            .collect();
        Ok(resolved.map(|metrics| {
            let context = &self.shared.context;
            Work {
                key,
                run,
                plan: Plan::new(&run.spec, &metrics, |wait| context.scale(wait)),
                metrics,
                secrets,
            }
        }))
    }

    /// Gives an argument its value, and answers with it where it is a secret.
    async fn value(
        &self,
        run: &AnalysisRun,
        arg: &mut Argument,
    ) -> Result<Result<Option<String>, String>, Error> {
        let Some(from) = arg.value_from.as_ref() else {
            return Ok(Ok(None));
        };
        if arg.value.is_some() {
            let message = format!("arg '{}' has both Value and ValueFrom fields", arg.name);
            return Ok(Err(message));
        }
        if let Some(reference) = &from.secret_key_ref {
            let namespace = run.metadata.namespace.as_deref().unwrap_or_default();
            let api = Api::<Secret>::namespaced(self.shared.client.clone(), namespace);
            let found = api
                .get_opt(&reference.name)
                .await
                .during(|| format!("get Secret {namespace}/{}", reference.name))?;
            let Some(secret) = found else {
                return Ok(Err(format!("secret \"{}\" not found", reference.name)));
            };
            let data = secret.data.unwrap_or_default();
            let Some(content) = data.get(&reference.key) else {
                let message = format!(
                    "key '{}' does not exist in secret '{}'",
                    reference.key, reference.name
                );
                return Ok(Err(message));
            };
            let value = String::from_utf8_lossy(&content.0).into_owned();
            arg.value = Some(value.clone());
            return Ok(Ok((!value.is_empty()).then_some(value)));
        }
        if let Some(reference) = &from.field_ref {
            let json = serde_json::to_value(run).unwrap_or(Value::Null);
            match field_value(&json, &reference.field_path) {
                Some(value) => arg.value = Some(value),
                None => {
                    let message = format!(
                        "arg '{}': the run has no field {}",
                        arg.name, reference.field_path
                    );
                    return Ok(Err(message));
                }
            }
        }
        Ok(Ok(None))
    }

    /// Takes the measurements that are due, and writes how the run stands.
    async fn carry_on(&self, work: Work<'_>) -> Result<Next, Error> {
        let mut status = work.run.status.clone().unwrap_or_default();
        let mut due = self.due().get(work.key).cloned().unwrap_or_default();
        let just_started = status.started_at.is_none();
        let tasks = run::tasks(&work.plan, &status, &due, self.shared.context.now());
        let taken = tasks
            .iter()
            .map(|(index, task)| self.carry_out(&work, &status, *index, task));
        let taken = join_all(taken).await;
        let now = self.shared.context.now();
        let mut finished = BTreeSet::new();
        for ((index, _), measurement) in tasks.iter().zip(taken) {
            let Some(mut measurement) = measurement? else {
                continue;
            };
            if measurement.finished_at.is_some() {
                finished.insert(*index);
            }
            let mut metadata = providers::metadata(&work.metrics[*index].0);
            for text in metadata.iter_mut().flat_map(|all| all.values_mut()) {
                redact(text, &work.secrets);
            }
            for text in measurement.message.iter_mut().chain(&mut measurement.value) {
                redact(text, &work.secrets);
            }
            run::record(
                &mut status,
                &work.plan.metrics[*index],
                measurement,
                metadata,
            );
        }
        run::note_due(&work.plan, &finished, just_started, &mut due, now);
        for (name, phase) in run::assess(&work.plan, &mut status, now) {
            self.tell_metric(work.run, &name, phase);
        }
        let dropped = run::trim(&work.plan, &mut status);
        let next = run::next_look(&work.plan, &status, &due);
        let completed = status.phase.is_some_and(AnalysisPhase::is_completed);
        if completed {
            self.due().remove(work.key);
        } else {
            self.due().insert(work.key.clone(), due);
        }
        self.write(work.key, work.run, &status).await?;
        self.forget_jobs(work.run, &dropped).await?;
        match next {
            Some(at) if !completed => Ok(Next::After(until(at, self.shared.context.now()))),
            Some(_) | None => Ok(Next::Wait),
        }
    }

    /// One measurement, begun, looked at or ended; `None` where nothing has changed.
    async fn carry_out(
        &self,
        work: &Work<'_>,
        status: &AnalysisRunStatus,
        index: usize,
        task: &Task,
    ) -> Result<Option<Measurement>, Error> {
        let (metric, _) = &work.metrics[index];
        let result = status
            .metric_results
            .iter()
            .find(|result| result.name == metric.name);
        let last = result.and_then(|result| result.measurements.last());
        match (task, last) {
            (Task::Measure, _) => self.measure(work, metric, result).await.map(Some),
            (Task::Resume, Some(last)) => self.resume(work, last).await,
            (Task::Terminate, Some(last)) => self.terminate(work, last).await.map(Some),
            (Task::Resume | Task::Terminate, None) => Ok(None),
        }
    }

    async fn measure(
        &self,
        work: &Work<'_>,
        metric: &Metric,
        result: Option<&lab_api::analysis::MetricResult>,
    ) -> Result<Measurement, Error> {
        let namespace = work.key.namespace.as_str();
        let started = self.shared.context.now();
        if let Some(template) = &metric.provider.job {
            let jobs = Jobs::of(&self.shared.client, namespace);
            return Ok(
                match jobs.create(work.run, &metric.name, template, result).await {
                    Ok(name) => Measurement {
                        phase: AnalysisPhase::Running,
                        started_at: Some(Time(started)),
                        metadata: Some(providers::job_metadata(&name)),
                        ..Measurement::default()
                    },
                    Err(error) => providers::judge(metric, Err(error.answer()), started, started),
                },
            );
        }
        let measured = providers::over_http(metric, namespace, &*self.shared.http).await;
        // Validation lets no metric without one of the three providers pass.
        let measured = measured.unwrap_or_else(|| Err("no provider specified".to_owned()));
        let finished = self.shared.context.now();
        Ok(providers::judge(metric, measured, started, finished))
    }

    /// Looks at the Job of a measurement under way.
    async fn resume(
        &self,
        work: &Work<'_>,
        last: &Measurement,
    ) -> Result<Option<Measurement>, Error> {
        let end = |phase, message: Option<String>| Measurement {
            phase,
            message,
            finished_at: Some(Time(self.shared.context.now())),
            ..last.clone()
        };
        let Some(name) = providers::job_name_of(last) else {
            let message = "job metadata reference missing".to_owned();
            return Ok(Some(end(AnalysisPhase::Error, Some(message))));
        };
        let key = Key::new(&work.key.namespace, name);
        let outcome = match self.shared.jobs.get(&key) {
            Some(job) => providers::job_outcome(&job),
            // The cache may be behind; the API is not.
            None => {
                let api = Api::<Job>::namespaced(self.shared.client.clone(), &key.namespace);
                let found = api
                    .get_opt(name)
                    .await
                    .during(|| format!("get Job {key}"))?;
                let Some(job) = found else {
                    let message = format!("job.batch \"{name}\" not found");
                    return Ok(Some(end(AnalysisPhase::Error, Some(message))));
                };
                providers::job_outcome(&job)
            }
        };
        Ok(outcome.map(|phase| end(phase, None)))
    }

    /// Ends a measurement under way.
    async fn terminate(&self, work: &Work<'_>, last: &Measurement) -> Result<Measurement, Error> {
        if let Some(name) = providers::job_name_of(last) {
            Jobs::of(&self.shared.client, &work.key.namespace)
                .delete(name)
                .await?;
        }
        Ok(Measurement {
            phase: AnalysisPhase::Successful,
            message: Some("metric terminated".to_owned()),
            finished_at: Some(Time(self.shared.context.now())),
            ..last.clone()
        })
    }

    async fn forget_jobs(&self, run: &AnalysisRun, names: &[String]) -> Result<(), Error> {
        let namespace = run.metadata.namespace.as_deref().unwrap_or_default();
        let jobs = Jobs::of(&self.shared.client, namespace);
        for name in names {
            jobs.delete(name).await?;
        }
        Ok(())
    }

    /// Ends a run that cannot be measured.
    async fn give_up(&self, key: &Key, run: &AnalysisRun, message: String) -> Result<Next, Error> {
        let now = Time(self.shared.context.now());
        let mut status = run.status.clone().unwrap_or_default();
        status.phase = Some(AnalysisPhase::Error);
        status.message = Some(message);
        status.started_at.get_or_insert_with(|| now.clone());
        status.completed_at = Some(now);
        self.write(key, run, &status).await?;
        Ok(Next::Wait)
    }

    async fn write(
        &self,
        key: &Key,
        run: &AnalysisRun,
        status: &AnalysisRunStatus,
    ) -> Result<(), Error> {
        let Some(body) = status_change(run.status.as_ref(), status) else {
            return Ok(());
        };
        let api = Api::<AnalysisRun>::namespaced(self.shared.client.clone(), &key.namespace);
        match merge_status(&api, &key.name, &body).await {
            Ok(written) => self.writes.record(key, &written.metadata),
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        }
        let phase = status.phase.unwrap_or_default();
        if phase.is_completed() && phase != run.phase() {
            self.tell_run(run, phase);
        }
        Ok(())
    }

    /// Deletes a finished run when its time is over.
    async fn expire(&self, key: &Key, run: &AnalysisRun) -> Result<Next, Error> {
        let Some(at) = expiry(run, |wait| self.shared.context.scale(wait)) else {
            return Ok(Next::Wait);
        };
        let now = self.shared.context.now();
        if at > now {
            return Ok(Next::After(until(at, now)));
        }
        let api = Api::<AnalysisRun>::namespaced(self.shared.client.clone(), &key.namespace);
        let answer = api
            .delete(&key.name, &DeleteParams::default())
            .await
            .during(|| format!("delete AnalysisRun {key}"));
        match answer {
            Err(error) if !error.is_not_found() => Err(error),
            Ok(_) | Err(_) => Ok(Next::Wait),
        }
    }

    fn tell_metric(&self, run: &AnalysisRun, name: &str, phase: AnalysisPhase) {
        let reason = match phase {
            AnalysisPhase::Failed => "MetricFailed",
            AnalysisPhase::Error => "MetricError",
            AnalysisPhase::Inconclusive => "MetricInconclusive",
            _ => "MetricSuccessful",
        };
        let message = format!("Metric '{name}' Completed. Result: {phase}");
        self.tell(run, phase, reason, message);
    }

    fn tell_run(&self, run: &AnalysisRun, phase: AnalysisPhase) {
        let reason = match phase {
            AnalysisPhase::Failed => "AnalysisRunFailed",
            AnalysisPhase::Error => "AnalysisRunError",
            AnalysisPhase::Inconclusive => "AnalysisRunInconclusive",
            _ => "AnalysisRunSuccessful",
        };
        let message = format!("Analysis Completed. Result: {phase}");
        self.tell(run, phase, reason, message);
    }

    fn tell(&self, run: &AnalysisRun, phase: AnalysisPhase, reason: &'static str, message: String) {
        let object = object_reference(run);
        if matches!(phase, AnalysisPhase::Failed | AnalysisPhase::Error) {
            self.recorder.warning(&object, reason, message);
        } else {
            self.recorder.normal(&object, reason, message);
        }
    }
}

fn redact(text: &mut String, secrets: &[String]) {
    for secret in secrets {
        if text.contains(secret.as_str()) {
            *text = text.replace(secret.as_str(), "*****");
        }
    }
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// When a finished run is deleted; `None` where its author did not say.
fn expiry(run: &AnalysisRun, scale: impl Fn(Duration) -> Duration) -> Option<Timestamp> {
    let ttl = run.spec.ttl_strategy.as_ref()?;
    let special = match run.phase() {
        AnalysisPhase::Successful => ttl.seconds_after_success,
        AnalysisPhase::Failed | AnalysisPhase::Error => ttl.seconds_after_failure,
        AnalysisPhase::Inconclusive | AnalysisPhase::Pending | AnalysisPhase::Running => None,
    };
    let seconds = special.or(ttl.seconds_after_completion)?;
    let completed = run.status.as_ref()?.completed_at.as_ref()?.0;
    let wait = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    Some(run::later(completed, scale(wait)))
}
