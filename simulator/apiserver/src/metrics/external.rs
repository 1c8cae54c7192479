//! `external.metrics.k8s.io`: metrics that belong to no Kubernetes object.
//! <https://github.com/kubernetes/metrics/blob/master/pkg/apis/external_metrics/v1beta1/types.go>

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::{ExternalValue, Question, quantity, refusal, selector};
use crate::error::ApiError;
use crate::object;
use crate::respond;

pub(super) const GROUP: &str = "external.metrics.k8s.io";
pub(super) const VERSION: &str = "v1beta1";

pub(super) async fn answer(question: &Question<'_>) -> Result<Response, ApiError> {
    let path = question.path();
    let ["namespaces", namespace, metric] = path.as_slice() else {
        return Err(ApiError::NoSuchPath);
    };
    let source = question.server.series.get().ok_or(ApiError::NoSuchPath)?;
    let selector = selector(&question.query, "labelSelector")?;
    let values = source
        .external(namespace, metric, &selector)
        .await
        .map_err(|error| refusal(error, GROUP, metric))?;
    let items: Vec<Value> = values.iter().map(|value| item(metric, value)).collect();
    let body = json!({
        "kind": "ExternalMetricValueList",
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "metadata": {},
        "items": items,
    });
    Ok(respond::json(StatusCode::OK, body.to_string()))
}

fn item(metric: &str, value: &ExternalValue) -> Value {
    let mut item = json!({
        "metricName": metric,
        "metricLabels": value.labels,
        "timestamp": object::time(value.measured.time),
        "value": quantity(value.measured.value),
    });
    if let Some(window) = value.measured.window {
        item["window"] = json!(window.as_secs());
    }
    item
}
