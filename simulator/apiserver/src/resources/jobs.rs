//! Job: pods that run to their end.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use lab_api::age::human_duration;
use lab_api::names::{JOB_CONTROLLER_UID, JOB_NAME};
use serde_json::{Value, json};

use super::columns::{self, cell, condition, int_at, list_at, text, time_at};
use super::typed::{Kind, define, words};
use super::{PrepareContext, ResourceDef, Scope, Subresource, pod_spec_defaults, pod_template};
use crate::validation::FieldError;

/// The same labels as older versions spell them; pods carry both.
const LEGACY: [(&str, &str); 2] = [
    ("controller-uid", JOB_CONTROLLER_UID),
    ("job-name", JOB_NAME),
];

/// Failures after which a Job gives up.
const BACKOFF_LIMIT: i32 = 6;
const NON_INDEXED: &str = "NonIndexed";
const TERMINATING_OR_FAILED: &str = "TerminatingOrFailed";

/// The definition of Job.
pub(super) fn definition() -> ResourceDef {
    let mut all = vec![
        columns::name(),
        text("Status", "Status of the job.", |job| status(job).to_owned()),
        text(
            "Completions",
            "Pods that succeeded, of those that must.",
            completions,
        ),
        cell(
            "Duration",
            "string",
            "Time from the start to the end, or to now.",
            |job, now| json!(duration(job, now)),
        ),
        columns::age(),
    ];
    all.extend(columns::workload());
    ResourceDef {
        categories: words(&["all"]),
        subresources: vec![Subresource::Status],
        columns: all,
        ..define::<Job>("batch", "Job", "jobs")
    }
}

fn status(job: &Value) -> &'static str {
    let holds = |type_| condition(job, type_).is_some_and(|it| it["status"] == "True");
    if holds("Complete") {
        "Complete"
    } else if holds("Failed") {
        "Failed"
    } else if job.pointer("/metadata/deletionTimestamp").is_some() {
        "Terminating"
    } else if holds("Suspended") {
        "Suspended"
    } else if holds("FailureTarget") {
        "FailureTarget"
    } else if holds("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn completions(job: &Value) -> String {
    let succeeded = int_at(job, "/status/succeeded");
    let wanted = job.pointer("/spec/completions").and_then(Value::as_i64);
    match (wanted, int_at(job, "/spec/parallelism")) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn duration(job: &Value, now: jiff::Timestamp) -> String {
    let Some(start) = time_at(job, "/status/startTime") else {
        return String::new();
    };
    let failed = list_at(job, "/status/conditions")
        .iter()
        .find(|condition| condition["type"] == "Failed" && condition["status"] == "True");
    let end = time_at(job, "/status/completionTime")
        .or_else(|| failed.and_then(|it| time_at(it, "/lastTransitionTime")))
        .unwrap_or(now);
    human_duration(end.as_second() - start.as_second())
}

impl Kind for Job {
    const SCOPE: Scope = Scope::Namespaced;
    const SELECTABLE: &'static [&'static str] = &["status.successful"];

    fn set_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        pod_template::set_defaults(&mut spec.template);
        if spec.completions.is_none() && spec.parallelism.is_none() {
            spec.completions = Some(1);
        }
        spec.parallelism.get_or_insert(1);
        spec.backoff_limit.get_or_insert(BACKOFF_LIMIT);
        spec.suspend.get_or_insert(false);
        spec.manual_selector.get_or_insert(false);
        pod_spec_defaults::text(&mut spec.completion_mode, NON_INDEXED);
        pod_spec_defaults::text(&mut spec.pod_replacement_policy, TERMINATING_OR_FAILED);
        self.borrow_template_labels();
    }

    fn prepare_for_create(&mut self, _context: &PrepareContext<'_>) -> Result<(), FieldError> {
        self.status = Some(JobStatus::default());
        let manual = self
            .spec
            .as_ref()
            .is_some_and(|spec| spec.manual_selector == Some(true));
        if !manual {
            self.select_own_pods();
        }
        self.borrow_template_labels();
        Ok(())
    }

    fn validate(&self, errors: &mut Vec<FieldError>) {
        let Some(spec) = &self.spec else { return };
        let counts = [
            (spec.parallelism, "spec.parallelism"),
            (spec.completions, "spec.completions"),
            (spec.backoff_limit, "spec.backoffLimit"),
            (
                spec.ttl_seconds_after_finished,
                "spec.ttlSecondsAfterFinished",
            ),
        ];
        for (count, path) in counts {
            pod_template::validate_count(count, path, errors);
        }
        if let Some(seconds) = spec.active_deadline_seconds.filter(|&seconds| seconds < 0) {
            let rule = "must be greater than or equal to 0";
            errors.push(FieldError::invalid(
                "spec.activeDeadlineSeconds",
                seconds,
                rule,
            ));
        }
        if let Some(selector) = &spec.selector {
            pod_template::validate_to_end(selector, &spec.template, errors);
        }
        refuse_unsupported(spec, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Vec<FieldError>) {
        let (Some(spec), Some(before)) = (&self.spec, &old.spec) else {
            return;
        };
        let immutable = [
            ("spec.completions", spec.completions != before.completions),
            ("spec.selector", spec.selector != before.selector),
            (
                "spec.template",
                spec.template != before.template && !waits_to_start(old),
            ),
        ];
        for (path, changed) in immutable {
            if changed {
                let value = Value::Null;
                errors.push(FieldError::invalid(path, value, "field is immutable"));
            }
        }
    }
}

/// A suspended Job that has not run yet may still get another template.
fn waits_to_start(job: &Job) -> bool {
    let suspended = job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true);
    let started = job
        .status
        .as_ref()
        .is_some_and(|status| status.start_time.is_some());
    suspended && !started
}

/// What the schema allows and the controller does not do.
fn refuse_unsupported(spec: &JobSpec, errors: &mut Vec<FieldError>) {
    let indexed = spec
        .completion_mode
        .as_deref()
        .is_some_and(|mode| mode != NON_INDEXED);
    let replacement = spec
        .pod_replacement_policy
        .as_deref()
        .is_some_and(|policy| policy != TERMINATING_OR_FAILED);
    let unsupported = [
        ("spec.completionMode", indexed, "only NonIndexed is"),
        (
            "spec.podReplacementPolicy",
            replacement,
            "only TerminatingOrFailed is",
        ),
        (
            "spec.backoffLimitPerIndex",
            spec.backoff_limit_per_index.is_some(),
            "use backoffLimit",
        ),
        (
            "spec.maxFailedIndexes",
            spec.max_failed_indexes.is_some(),
            "use backoffLimit",
        ),
        (
            "spec.podFailurePolicy",
            spec.pod_failure_policy.is_some(),
            "use backoffLimit",
        ),
        (
            "spec.successPolicy",
            spec.success_policy.is_some(),
            "use completions",
        ),
        ("spec.managedBy", spec.managed_by.is_some(), "remove it"),
    ];
    for (path, set, instead) in unsupported {
        if set {
            let rule = format!("not supported here: {instead}");
            errors.push(FieldError::forbidden(path, rule));
        }
    }
}

/// Gives a Job its own labels and selector, by its uid.
trait OwnPods {
    fn select_own_pods(&mut self);
    fn borrow_template_labels(&mut self);
}

impl OwnPods for Job {
    fn select_own_pods(&mut self) {
        let uid = self.metadata.uid.clone().unwrap_or_default();
        let name = self.metadata.name.clone().unwrap_or_default();
        let spec = self.spec.get_or_insert_default();
        let meta = spec.template.metadata.get_or_insert_default();
        let labels = meta.labels.get_or_insert_default();
        labels.insert(JOB_CONTROLLER_UID.to_owned(), uid.clone());
        labels.insert(JOB_NAME.to_owned(), name);
        for (legacy, present) in LEGACY {
            let value = labels.get(present).cloned().unwrap_or_default();
            labels.insert(legacy.to_owned(), value);
        }
        let own: BTreeMap<String, String> = [(JOB_CONTROLLER_UID.to_owned(), uid)].into();
        spec.selector = Some(LabelSelector {
            match_labels: Some(own),
            match_expressions: None,
        });
    }

    /// A Job without labels has those of its pods.
    fn borrow_template_labels(&mut self) {
        let template = self.spec.as_ref().and_then(|spec| {
            let meta = spec.template.metadata.as_ref()?;
            meta.labels.clone()
        });
        let labels = &mut self.metadata.labels;
        if labels.as_ref().is_none_or(BTreeMap::is_empty) {
            *labels = template.filter(|labels| !labels.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{created, definition, row, updated};
    use super::*;

    fn job(spec: &Value) -> Value {
        let mut job = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "pi", "namespace": "default", "uid": "u1"},
            "spec": {"template": {"spec": {"restartPolicy": "Never",
                "containers": [{"name": "pi", "image": "pi:1"}]}}}});
        for (key, value) in spec.as_object().unwrap() {
            job["spec"][key] = value.clone();
        }
        job
    }

    #[test]
    fn a_job_selects_its_own_pods() {
        let job = created("Job", job(&json!({}))).unwrap();
        assert_eq!(
            job["spec"]["selector"],
            json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u1"}})
        );
        let labels = &job["spec"]["template"]["metadata"]["labels"];
        assert_eq!(labels["job-name"], "pi");
        assert_eq!(labels["batch.kubernetes.io/job-name"], "pi");
        assert_eq!(job["spec"]["completions"], 1);
        assert_eq!(job["spec"]["backoffLimit"], 6);
    }

    #[track_caller]
    fn refused(spec: &Value, expected: &str) {
        let errors = created("Job", job(spec)).unwrap_err();
        assert_eq!(errors, [expected]);
    }

    #[test]
    fn what_cannot_run_to_an_end_is_refused() {
        let template = json!({"spec": {"restartPolicy": "Always", "containers": [{"name": "pi", "image": "pi:1"}]}});
        refused(
            &json!({"template": template}),
            "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
        );
        refused(
            &json!({"parallelism": -1}),
            "spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
        );
        refused(
            &json!({"completionMode": "Indexed", "completions": 2}),
            "spec.completionMode: Forbidden: not supported here: only NonIndexed is",
        );
    }

    #[test]
    fn a_template_cannot_change_once_the_job_runs() {
        let old = created("Job", job(&json!({}))).unwrap();
        let mut new = old.clone();
        new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("pi:2");
        let errors = updated("Job", &old, new.clone()).unwrap_err();
        assert!(
            errors[0].starts_with("spec.template: Invalid value"),
            "{errors:?}"
        );
        let mut waiting = old.clone();
        waiting["spec"]["suspend"] = json!(true);
        new["spec"]["suspend"] = json!(true);
        assert!(updated("Job", &waiting, new).is_ok());
    }

    #[test]
    fn a_row_says_how_far_the_job_is() {
        let definition = definition("Job");
        let mut job = created("Job", job(&json!({"completions": 3}))).unwrap();
        job["metadata"]["creationTimestamp"] = json!("2026-01-01T00:59:00Z");
        job["status"] = json!({"startTime": "2026-01-01T00:59:00Z", "succeeded": 1});
        assert_eq!(
            row(&definition, &job)[..5],
            ["pi", "Running", "1/3", "60s", "60s"]
        );
        job["status"]["conditions"] = json!([{"type": "Complete", "status": "True"}]);
        job["status"]["completionTime"] = json!("2026-01-01T00:59:05Z");
        assert_eq!(row(&definition, &job)[1..4], ["Complete", "1/3", "5s"]);
    }
}
