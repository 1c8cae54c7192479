//! `autoscaling/v1` HorizontalPodAutoscalers: the stored v2 objects in the older form, which
//! `kubectl autoscale` sends until 1.32.
//!
//! A request is read in the old form, carried out on v2, and its answer written in the old form
//! again. What v1 has no field for stands in annotations, as on a real server, so that an update
//! through v1 loses nothing. Watches are refused: everything that watches asks for the preferred
//! version.
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/horizontal-pod-autoscaler-v1/>

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::{Method, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::body;
use crate::call::Call;
use crate::error::ApiError;
use crate::metrics::Virtual;
use crate::negotiate::Form;
use crate::object;
use crate::patch::Patch;
use crate::resources::ResourceDef;
use crate::router::dispatch;
use crate::server::Server;

const GROUP: &str = "autoscaling";
const OLD: &str = "autoscaling/v1";
const NEW: &str = "autoscaling/v2";
const OLD_PREFIX: &str = "/apis/autoscaling/v1/";
const NEW_PREFIX: &str = "/apis/autoscaling/v2/";
const PLURAL: &str = "horizontalpodautoscalers";

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

/// The old version, for discovery.
pub(crate) fn groups(server: &Server) -> Vec<(&'static str, &'static str, Vec<Virtual>)> {
    if server.catalog.find(GROUP, "v2", PLURAL).is_none() {
        return Vec::new();
    }
    let kind = Virtual {
        group: GROUP,
        version: "v1",
        plural: PLURAL,
        singular: "horizontalpodautoscaler",
        short_names: &["hpa"],
        kind: "HorizontalPodAutoscaler",
        namespaced: true,
        verbs: &["create", "delete", "get", "list", "patch", "update"],
    };
    vec![(GROUP, "v1", vec![kind])]
}

/// The old version as a definition, for documents about it.
pub(crate) fn definition(server: &Server, group: &str, version: &str) -> Option<Arc<ResourceDef>> {
    if (group, version) != (GROUP, "v1") {
        return None;
    }
    let stored = server.catalog.find(GROUP, "v2", PLURAL)?;
    let mut old = ResourceDef::clone(stored);
    old.version = "v1".into();
    Some(Arc::new(old))
}

/// True for requests in the old version.
pub(crate) fn is_meant(request: &Request) -> bool {
    request.uri().path().starts_with(OLD_PREFIX)
}

/// Carries a request out on v2.
pub(crate) async fn answer(
    server: &Arc<Server>,
    mut request: Request,
) -> Result<Response, ApiError> {
    let moved = request
        .uri()
        .to_string()
        .replacen(OLD_PREFIX, NEW_PREFIX, 1);
    *request.uri_mut() = moved.parse().map_err(|_| ApiError::NoSuchPath)?;
    let mut call = Call::read(&server.catalog, request).await?;
    if call.query.flag("watch") {
        let text = "autoscaling/v1 cannot be watched here; watch autoscaling/v2";
        return Err(ApiError::BadRequest(text.to_owned()));
    }
    match call.method {
        Method::POST | Method::PUT if call.subresource.is_none() => {
            let old = body::read(&call)?.value;
            put(&mut call, &upgrade(old)?);
        }
        Method::PATCH if call.subresource.is_none() => {
            let old = current(server, &call).await?;
            let patched = Patch::read(&call)?.apply(&call.definition, &old)?;
            put(&mut call, &upgrade(patched)?);
            call.method = Method::PUT;
        }
        Method::GET | Method::DELETE => {}
        _ => return Err(ApiError::MethodNotAllowed),
    }
    let response = dispatch(server, &call).await?;
    downgrade_response(response).await
}

fn put(call: &mut Call, object: &Value) {
    call.body = Bytes::from(object.to_string());
    call.content_type = Some("application/json".to_owned());
}

/// The object as it is, in the old form.
async fn current(server: &Arc<Server>, call: &Call) -> Result<Value, ApiError> {
    let read = Call {
        definition: Arc::clone(&call.definition),
        namespace: call.namespace.clone(),
        name: call.name.clone(),
        subresource: None,
        method: Method::GET,
        query: crate::query::Query::default(),
        form: Form::Object,
        content_type: None,
        body: Bytes::new(),
    };
    let response = dispatch(server, &read).await?;
    let bytes = collect(response.into_body()).await?;
    Ok(downgrade(object::decode(&bytes)))
}

async fn collect(body: axum::body::Body) -> Result<Bytes, ApiError> {
    let collected = body.collect().await;
    collected
        .map(|collected| collected.to_bytes())
        .map_err(|error| ApiError::Internal(error.to_string()))
}

async fn downgrade_response(response: Response) -> Result<Response, ApiError> {
    let (mut parts, body) = response.into_parts();
    let bytes = collect(body).await?;
    let mut value = object::decode(&bytes);
    let list = "HorizontalPodAutoscalerList";
    match object::text(&value, &["kind"]) {
        "HorizontalPodAutoscaler" => value = downgrade(value),
        kind if kind == list => {
            value["apiVersion"] = json!(OLD);
            if let Some(items) = value["items"].as_array_mut() {
                for item in items {
                    *item = downgrade(item.take());
                }
            }
        }
        // A Table or a Status reads the same in both.
        _ => {}
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    debug_assert_ne!(parts.status, StatusCode::SWITCHING_PROTOCOLS);
    Ok(Response::from_parts(parts, value.to_string().into()))
}

/// From v1 to v2.
fn upgrade(mut old: Value) -> Result<Value, ApiError> {
    if object::text(&old, &["apiVersion"]) == OLD {
        old["apiVersion"] = json!(NEW);
    }
    let mut metrics = Vec::new();
    let path = ["spec", "targetCPUUtilizationPercentage"];
    if let Some(percent) = object::remove(&mut old, &path) {
        metrics.push(json!({ "type": "Resource", "resource": {
            "name": "cpu",
            "target": { "type": "Utilization", "averageUtilization": percent },
        }}));
    }
    if let Some(Value::Array(others)) = annotation(&mut old, METRICS)? {
        metrics.extend(others);
    }
    if !metrics.is_empty() {
        object::set(&mut old, &["spec", "metrics"], Value::Array(metrics));
    }
    if let Some(behavior) = annotation(&mut old, BEHAVIOR)? {
        object::set(&mut old, &["spec", "behavior"], behavior);
    }
    for derived in [CURRENT_METRICS, CONDITIONS] {
        object::remove(&mut old, &["metadata", "annotations", derived]);
    }
    if object::at(&old, &["metadata", "annotations"]).is_some_and(|map| map == &json!({})) {
        object::remove(&mut old, &["metadata", "annotations"]);
    }
    // Status is not the author's to write.
    object::remove(&mut old, &["status"]);
    Ok(old)
}

fn annotation(object: &mut Value, key: &str) -> Result<Option<Value>, ApiError> {
    let Some(text) = object::remove(object, &["metadata", "annotations", key]) else {
        return Ok(None);
    };
    serde_json::from_str(text.as_str().unwrap_or_default())
        .map(Some)
        .map_err(|error| ApiError::BadRequest(format!("annotation {key}: {error}")))
}

/// From v2 to v1.
fn downgrade(mut new: Value) -> Value {
    new["apiVersion"] = json!(OLD);
    let metrics = object::remove(&mut new, &["spec", "metrics"]);
    let mut metrics = into_list(metrics);
    let cpu = metrics
        .iter()
        .position(|metric| cpu_percent(metric).is_some());
    if let Some(cpu) = cpu {
        let percent = cpu_percent(&metrics.remove(cpu));
        object::put(
            &mut new,
            &["spec", "targetCPUUtilizationPercentage"],
            percent,
        );
    }
    if !metrics.is_empty() {
        annotate(&mut new, METRICS, &Value::Array(metrics));
    }
    if let Some(behavior) = object::remove(&mut new, &["spec", "behavior"]) {
        annotate(&mut new, BEHAVIOR, &behavior);
    }
    let current = into_list(object::remove(&mut new, &["status", "currentMetrics"]));
    let percent = current
        .iter()
        .find_map(|metric| metric.pointer("/resource/current/averageUtilization"));
    if let Some(percent) = percent.cloned() {
        let path = ["status", "currentCPUUtilizationPercentage"];
        object::put(&mut new, &path, Some(percent));
    }
    if !current.is_empty() {
        annotate(&mut new, CURRENT_METRICS, &Value::Array(current));
    }
    if let Some(conditions) = object::remove(&mut new, &["status", "conditions"]) {
        annotate(&mut new, CONDITIONS, &conditions);
    }
    new
}

fn into_list(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

fn cpu_percent(metric: &Value) -> Option<Value> {
    let resource = metric.get("resource")?;
    (resource["name"] == "cpu")
        .then(|| resource.pointer("/target/averageUtilization").cloned())
        .flatten()
}

fn annotate(object: &mut Value, key: &str, value: &Value) {
    object::set(
        object,
        &["metadata", "annotations", key],
        json!(value.to_string()),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_old_version_cannot_say_survives_an_update_through_it() {
        let new = json!({
            "apiVersion": NEW, "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
            "spec": {"maxReplicas": 3, "behavior": {"scaleUp": {"selectPolicy": "Min"}}, "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
                {"type": "Pods", "pods": {"metric": {"name": "hits"}, "target": {"type": "AverageValue", "averageValue": "5"}}},
            ]},
        });
        let old = downgrade(new.clone());
        assert_eq!(old["spec"]["targetCPUUtilizationPercentage"], 50);
        assert_eq!(old["apiVersion"], OLD);
        assert!(old["spec"].get("metrics").is_none());
        assert_eq!(upgrade(old).unwrap(), new);
    }
}
