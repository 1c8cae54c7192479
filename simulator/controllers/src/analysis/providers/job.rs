//! Measurements by a Job: its end is the outcome.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use lab_api::analysis::{AnalysisPhase, AnalysisRun, JobMetric, Measurement, MetricResult};
use lab_api::objects::{controller_of, controller_reference};

use crate::runner::{During, Error};

/// Key of a measurement's metadata that holds the Job's name.
const JOB_NAME: &str = "job-name";
/// Annotation of a Job that names its run.
const RUN_NAME: &str = "analysisrun.argoproj.io/name";
/// Annotation of a Job that names its metric.
const METRIC_NAME: &str = "analysisrun.argoproj.io/metric-name";
/// Label of a Job with its run's uid.
const RUN_UID: &str = "analysisrun.argoproj.io/uid";
/// Longest name: pods carry it as a label.
const NAME_MAX: usize = 63;

/// Makes and removes the Jobs of one namespace.
pub(in crate::analysis) struct Jobs(Api<Job>);

impl Jobs {
    /// Of the namespace of a run.
    pub(in crate::analysis) fn of(client: &Client, namespace: &str) -> Self {
        Self(Api::namespaced(client.clone(), namespace))
    }

    /// Creates the Job of a run's next measurement, and answers with its name. One that is there
    /// already, made for the same measurement, is taken.
    pub(in crate::analysis) async fn create(
        &self,
        run: &AnalysisRun,
        metric: &str,
        template: &JobMetric,
        result: Option<&MetricResult>,
    ) -> Result<String, Error> {
        let job = job(run, metric, template, result);
        let name = job.metadata.name.clone().unwrap_or_default();
        let action = || format!("create Job {name:?}");
        match self
            .0
            .create(&PostParams::default(), &job)
            .await
            .during(action)
        {
            Err(error) if error.already_exists() => {
                let there = self.0.get(&name).await.during(action)?;
                let ours = controller_of(&there.metadata)
                    .is_some_and(|owner| Some(&owner.uid) == run.metadata.uid.as_ref());
                if ours { Ok(name) } else { Err(error) }
            }
            answer => answer.map(|_| name),
        }
    }

    /// Deletes a Job with its pods; one that is gone is fine.
    pub(in crate::analysis) async fn delete(&self, name: &str) -> Result<(), Error> {
        let answer = self
            .0
            .delete(name, &DeleteParams::foreground())
            .await
            .during(|| format!("delete Job {name:?}"));
        match answer {
            Err(error) if !error.is_not_found() => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// The name of the Job that a measurement waits for.
pub(in crate::analysis) fn job_name_of(measurement: &Measurement) -> Option<&str> {
    measurement
        .metadata
        .as_ref()?
        .get(JOB_NAME)
        .map(String::as_str)
}

/// The metadata of a measurement that waits for a Job.
pub(in crate::analysis) fn metadata(job: &str) -> BTreeMap<String, String> {
    [(JOB_NAME.to_owned(), job.to_owned())].into()
}

/// How a Job ended; `None` while it has not.
pub(in crate::analysis) fn outcome(job: &Job) -> Option<AnalysisPhase> {
    job.status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .filter(|condition| condition.status == "True")
        .find_map(|condition| match condition.type_.as_str() {
            "Complete" => Some(AnalysisPhase::Successful),
            "Failed" => Some(AnalysisPhase::Failed),
            _ => None,
        })
}

fn job(
    run: &AnalysisRun,
    metric: &str,
    template: &JobMetric,
    result: Option<&MetricResult>,
) -> Job {
    let given = template.metadata.clone().unwrap_or_default();
    let mut labels = given.labels.unwrap_or_default();
    let mut annotations = given.annotations.unwrap_or_default();
    let uid = run.metadata.uid.clone().unwrap_or_default();
    annotations.insert(
        RUN_NAME.to_owned(),
        run.metadata.name.clone().unwrap_or_default(),
    );
    annotations.insert(METRIC_NAME.to_owned(), metric.to_owned());
    labels.insert(RUN_UID.to_owned(), uid.clone());
    // One more than all measurements so far.
    let number = result.map_or(1, |result| result.count + result.error + 1);
    Job {
        metadata: ObjectMeta {
            name: Some(name(&uid, metric, number)),
            namespace: run.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(run)]),
            ..ObjectMeta::default()
        },
        spec: Some(template.spec.clone()),
        status: None,
    }
}

/// `UID.METRIC.NUMBER`, the metric shortened so that all of it fits.
fn name(uid: &str, metric: &str, number: i32) -> String {
    let end = format!(".{number}");
    let room = NAME_MAX.saturating_sub(uid.len() + 1 + end.len());
    let metric: String = metric.chars().take(room).collect();
    format!("{uid}.{}{end}", metric.trim_end_matches(['-', '.', '_']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_job_belongs_to_its_run_and_is_numbered() {
        let run: AnalysisRun = serde_json::from_value(json!({
            "metadata": {"name": "shop-1", "namespace": "shop", "uid": "5a0c1f7e-6f1f-4d5e-8f5e-0a1b2c3d4e5f"},
            "spec": {"metrics": []}}))
        .unwrap();
        let template: JobMetric = serde_json::from_value(json!({
            "metadata": {"labels": {"team": "shop"}},
            "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}}))
        .unwrap();
        let result = MetricResult {
            count: 1,
            error: 1,
            ..MetricResult::default()
        };
        let job = job(&run, "smoke-test-of-the-shop", &template, Some(&result));
        let meta = job.metadata;
        assert_eq!(
            meta.name.as_deref(),
            Some("5a0c1f7e-6f1f-4d5e-8f5e-0a1b2c3d4e5f.smoke-test-of-the-shop.3")
        );
        assert_eq!(meta.labels.unwrap()["team"], "shop");
        assert_eq!(meta.owner_references.unwrap()[0].kind, "AnalysisRun");
        let long = name(&"u".repeat(36), &"m".repeat(80), 12);
        assert_eq!(long.len(), NAME_MAX);
    }

    #[test]
    fn only_a_condition_that_holds_ends_a_job() {
        let job = |conditions: serde_json::Value| -> Job {
            serde_json::from_value(json!({"metadata": {}, "status": {"conditions": conditions}}))
                .unwrap()
        };
        assert_eq!(outcome(&job(json!([]))), None);
        assert_eq!(
            outcome(&job(json!([{"type": "Complete", "status": "True"}]))),
            Some(AnalysisPhase::Successful)
        );
        assert_eq!(
            outcome(&job(
                json!([{"type": "Suspended", "status": "True"}, {"type": "Failed", "status": "True"}])
            )),
            Some(AnalysisPhase::Failed)
        );
        assert_eq!(
            outcome(&job(json!([{"type": "Failed", "status": "False"}]))),
            None
        );
    }
}
