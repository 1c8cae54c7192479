//! Where measurements come from.

mod job;
mod json_path;
mod prometheus;
mod web;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lab_api::analysis::{AnalysisPhase, Measurement, Metric, MetricHeader};

use super::expr::{Expression, ExpressionError, Value};

pub(super) use job::{Jobs, job_name_of, metadata as job_metadata, outcome as job_outcome};
use json_path::JsonPath;

use crate::http::{HttpClient, HttpRequest};

/// Longest value that is kept of a measurement, in characters: a status is no archive.
const VALUE_MAX: usize = 4096;

/// A measurement that came to an end.
#[derive(Debug)]
pub(super) struct Measured {
    /// What was measured, as it is kept.
    pub value: String,
    /// The same, for the conditions.
    pub result: Value,
    /// What the provider has to say about it.
    pub metadata: Option<BTreeMap<String, String>>,
}

/// Takes a measurement over HTTP; `None` where the metric's provider is another.
pub(super) async fn over_http(
    metric: &Metric,
    namespace: &str,
    http: &dyn HttpClient,
) -> Option<Result<Measured, String>> {
    if let Some(prometheus) = &metric.provider.prometheus {
        return Some(prometheus::measure(prometheus, namespace, http).await);
    }
    match &metric.provider.web {
        Some(web) => Some(web::measure(web, namespace, http).await),
        None => None,
    }
}

/// What a provider has to say about a metric as such.
pub(super) fn metadata(metric: &Metric) -> Option<BTreeMap<String, String>> {
    let query = metric.provider.prometheus.as_ref()?.query.clone()?;
    Some([("ResolvedPrometheusQuery".to_owned(), query)].into())
}

/// The measurement that a provider's answer amounts to, under the metric's conditions.
pub(super) fn judge(
    metric: &Metric,
    measured: Result<Measured, String>,
    started: Timestamp,
    finished: Timestamp,
) -> Measurement {
    let mut measurement = Measurement {
        started_at: Some(Time(started)),
        finished_at: Some(Time(finished)),
        ..Measurement::default()
    };
    match measured {
        Err(message) => {
            measurement.phase = AnalysisPhase::Error;
            measurement.message = Some(message);
        }
        Ok(measured) => {
            measurement.value = Some(shorten(measured.value));
            measurement.metadata = measured.metadata;
            match phase(metric, &measured.result) {
                Ok(phase) => measurement.phase = phase,
                Err(error) => {
                    measurement.phase = AnalysisPhase::Error;
                    measurement.message = Some(error.to_string());
                }
            }
        }
    }
    measurement
}

fn shorten(mut value: String) -> String {
    if let Some((at, _)) = value.char_indices().nth(VALUE_MAX) {
        value.truncate(at);
        value.push('…');
    }
    value
}

/// The outcome of a result under the metric's conditions.
fn phase(metric: &Metric, result: &Value) -> Result<AnalysisPhase, ExpressionError> {
    let holds = |condition: &Option<String>| match condition.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => Expression::parse(text)?.holds(result).map(Some),
    };
    let success = holds(&metric.success_condition)?;
    let failure = holds(&metric.failure_condition)?;
    Ok(match (success, failure) {
        (_, Some(true)) | (Some(false), None) => AnalysisPhase::Failed,
        (None, None | Some(false)) | (Some(true), _) => AnalysisPhase::Successful,
        (Some(false), Some(false)) => AnalysisPhase::Inconclusive,
    })
}

fn headers(headers: Option<&[MetricHeader]>) -> Vec<(String, String)> {
    headers
        .unwrap_or_default()
        .iter()
        .map(|header| (header.key.clone(), header.value.clone()))
        .collect()
}

/// A GET without a body.
fn get(url: String, namespace: &str, timeout: Duration) -> HttpRequest {
    HttpRequest {
        method: "GET".to_owned(),
        url,
        headers: Vec::new(),
        body: Vec::new(),
        timeout,
        namespace: namespace.to_owned(),
        insecure: false,
    }
}

/// Seconds that an author gave; `default` where there are none.
fn seconds(given: Option<i64>, default: u64) -> Duration {
    let given = given.and_then(|seconds| u64::try_from(seconds).ok());
    Duration::from_secs(given.filter(|&seconds| seconds > 0).unwrap_or(default))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn case(success: &str, failure: &str, result: f64, expected: AnalysisPhase) {
        let metric: Metric = serde_json::from_value(json!({
            "name": "m", "successCondition": success, "failureCondition": failure}))
        .unwrap();
        assert_eq!(phase(&metric, &Value::Float(result)), Ok(expected));
    }

    #[test]
    fn the_conditions_decide_the_outcome() {
        case("", "", 1.0, AnalysisPhase::Successful);
        case("result < 1", "", 0.5, AnalysisPhase::Successful);
        case("result < 1", "", 1.5, AnalysisPhase::Failed);
        case("", "result > 1", 0.5, AnalysisPhase::Successful);
        case("", "result > 1", 1.5, AnalysisPhase::Failed);
        case("result < 1", "result > 2", 0.5, AnalysisPhase::Successful);
        case("result < 1", "result > 2", 1.5, AnalysisPhase::Inconclusive);
        case("result < 1", "result > 2", 2.5, AnalysisPhase::Failed);
        case("result < 3", "result > 2", 2.5, AnalysisPhase::Failed);
    }

    #[test]
    fn a_condition_that_cannot_be_evaluated_is_an_error_with_its_place() {
        let metric: Metric =
            serde_json::from_value(json!({"name": "m", "successCondition": "result[0] < 1"}))
                .unwrap();
        let measured = Measured {
            value: "[]".to_owned(),
            result: Value::List(Vec::new()),
            metadata: None,
        };
        let at = Timestamp::UNIX_EPOCH;
        let measurement = judge(&metric, Ok(measured), at, at);
        assert_eq!(measurement.phase, AnalysisPhase::Error);
        assert_eq!(measurement.value.as_deref(), Some("[]"));
        let message = measurement.message.unwrap();
        assert!(
            message.starts_with("index out of range: 0 (array length is 0) (1:7)"),
            "{message}"
        );
    }
}
