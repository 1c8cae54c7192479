//! `custom.metrics.k8s.io`: metrics of Kubernetes objects.
//! <https://github.com/kubernetes/metrics/blob/master/pkg/apis/custom_metrics/v1beta2/types.go>

use axum::response::Response;
use http::StatusCode;
use lab_api::selector::Selector;
use serde_json::{Value, json};

use super::{ObjectQuestion, ObjectValue, Question, quantity, refusal, selector};
use crate::error::{ApiError, Subject};
use crate::object;
use crate::resources::ResourceDef;
use crate::respond;
use crate::server::Server;

pub(super) const GROUP: &str = "custom.metrics.k8s.io";
pub(super) const VERSION: &str = "v1beta2";

/// In place of a name: all objects that the label selector matches.
const ALL: &str = "*";

pub(super) async fn answer(question: &Question<'_>) -> Result<Response, ApiError> {
    let (namespace, resource, name, metric) = match question.path().as_slice() {
        // A metric of the namespace itself.
        ["namespaces", namespace, "metrics", metric] => ("", "namespaces", *namespace, *metric),
        ["namespaces", namespace, resource, name, metric] => {
            (*namespace, *resource, *name, *metric)
        }
        [resource, name, metric] => ("", *resource, *name, *metric),
        _ => return Err(ApiError::NoSuchPath),
    };
    let source = question.server.series.get().ok_or(ApiError::NoSuchPath)?;
    // `deployments.apps`
    let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
    let definition = kind(question.server, group, plural)?;
    let names = if name == ALL {
        let labels = selector(&question.query, "labelSelector")?;
        matching(question.server, &definition, namespace, &labels)
    } else {
        vec![name.to_owned()]
    };
    let asked = ObjectQuestion {
        namespace: namespace.to_owned(),
        group: group.to_owned(),
        resource: plural.to_owned(),
        names,
        metric: metric.to_owned(),
        selector: selector(&question.query, "metricLabelSelector")?,
    };
    let values = source
        .of_objects(&asked)
        .await
        .map_err(|error| refusal(error, GROUP, metric))?;
    if values.is_empty() && name != ALL {
        return Err(ApiError::NotFound(Box::new(Subject {
            group: GROUP.to_owned(),
            plural: metric.to_owned(),
            kind: String::new(),
            name: name.to_owned(),
        })));
    }
    let items: Vec<Value> = values
        .iter()
        .map(|value| item(&definition, &asked, value))
        .collect();
    let body = json!({
        "kind": "MetricValueList",
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "metadata": {},
        "items": items,
    });
    Ok(respond::json(StatusCode::OK, body.to_string()))
}

fn kind(
    server: &Server,
    group: &str,
    plural: &str,
) -> Result<std::sync::Arc<ResourceDef>, ApiError> {
    let versions = server.catalog.group_versions();
    versions
        .into_iter()
        .filter(|(of, _)| *of == group)
        .find_map(|(group, version)| server.catalog.find(group, version, plural).cloned())
        .ok_or_else(|| {
            let resource = if group.is_empty() {
                plural.to_owned()
            } else {
                format!("{plural}.{group}")
            };
            ApiError::BadRequest(format!(
                "there is no kind {resource:?} that could have metrics"
            ))
        })
}

fn matching(
    server: &Server,
    definition: &ResourceDef,
    namespace: &str,
    labels: &Selector,
) -> Vec<String> {
    let prefix = if namespace.is_empty() {
        String::new()
    } else {
        format!("{namespace}/")
    };
    let page = server
        .store
        .list(&definition.collection(), &prefix, None, None);
    let objects = page
        .entries
        .iter()
        .map(|entry| object::decode(&entry.value));
    objects
        .filter(|object| {
            labels.matches_with(|key| object::at(object, &["metadata", "labels", key])?.as_str())
        })
        .map(|object| object::meta(&object, "name").to_owned())
        .collect()
}

fn item(definition: &ResourceDef, asked: &ObjectQuestion, value: &ObjectValue) -> Value {
    let mut described = json!({
        "kind": definition.kind,
        "name": value.name,
        "apiVersion": format!("/{}", definition.api_version()),
    });
    if !definition.group.is_empty() {
        described["apiVersion"] = json!(definition.api_version());
    }
    if !asked.namespace.is_empty() {
        described["namespace"] = json!(asked.namespace);
    }
    let mut item = json!({
        "describedObject": described,
        "metric": { "name": asked.metric, "selector": null },
        "timestamp": object::time(value.measured.time),
        "value": quantity(value.measured.value),
    });
    if let Some(window) = value.measured.window {
        item["windowSeconds"] = json!(window.as_secs());
    }
    item
}
