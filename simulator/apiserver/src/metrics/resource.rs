//! `metrics.k8s.io`: what `kubectl top` prints and what a HorizontalPodAutoscaler of CPU reads.
//! <https://github.com/kubernetes/metrics/blob/master/pkg/apis/metrics/v1beta1/types.go>

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use http::StatusCode;
use lab_store::Entry;
use serde_json::{Value, json};

use super::{Question, READ, Usage, Virtual};
use crate::error::{ApiError, Subject};
use crate::object;
use crate::resources::ResourceDef;
use crate::respond;
use crate::selection::Selection;
use crate::server::Server;

pub(super) const GROUP: &str = "metrics.k8s.io";
pub(super) const VERSION: &str = "v1beta1";
const API_VERSION: &str = "metrics.k8s.io/v1beta1";

pub(super) fn kinds() -> Vec<Virtual> {
    let kind = |plural, kind, namespaced| Virtual {
        group: GROUP,
        version: VERSION,
        plural,
        singular: "",
        short_names: &[],
        kind,
        namespaced,
        verbs: READ,
    };
    vec![
        kind("nodes", "NodeMetrics", false),
        kind("pods", "PodMetrics", true),
    ]
}

pub(super) async fn answer(question: &Question<'_>) -> Result<Response, ApiError> {
    let body = match question.path().as_slice() {
        ["nodes"] => list("NodeMetricsList", &nodes(question, None).await?),
        ["nodes", name] => one("nodes", name, nodes(question, Some(name)).await?)?,
        ["pods"] => list("PodMetricsList", &pods(question, None, None).await?),
        ["namespaces", namespace, "pods"] => list(
            "PodMetricsList",
            &pods(question, Some(namespace), None).await?,
        ),
        ["namespaces", namespace, "pods", name] => one(
            "pods",
            &format!("{namespace}/{name}"),
            pods(question, Some(namespace), Some(name)).await?,
        )?,
        _ => return Err(ApiError::NoSuchPath),
    };
    Ok(respond::json(StatusCode::OK, body.to_string()))
}

fn list(kind: &str, items: &[Value]) -> Value {
    json!({ "kind": kind, "apiVersion": API_VERSION, "metadata": {}, "items": items })
}

fn one(plural: &str, name: &str, items: Vec<Value>) -> Result<Value, ApiError> {
    items.into_iter().next().ok_or_else(|| {
        ApiError::NotFound(Box::new(Subject {
            group: GROUP.to_owned(),
            plural: plural.to_owned(),
            kind: String::new(),
            name: name.to_owned(),
        }))
    })
}

/// The stored objects that the question selects, with their metadata.
fn selected(
    question: &Question<'_>,
    definition: &Arc<ResourceDef>,
    namespace: Option<&str>,
    name: Option<&str>,
) -> Result<Vec<Value>, ApiError> {
    let selection = Selection::from_query(definition, namespace, name, &question.query)?;
    let store = &question.server.store;
    let page = store.list(&definition.collection(), &selection.prefix(), None, None);
    let wanted = |entry: &Entry| {
        (selection.is_everything() && name.is_none()) || selection.selects(definition, entry)
    };
    let entries = page.entries.into_iter().filter(wanted);
    Ok(entries.map(|entry| object::decode(&entry.value)).collect())
}

fn definition(server: &Server, plural: &str) -> Result<Arc<ResourceDef>, ApiError> {
    let found = server.catalog.find("", "v1", plural);
    found.cloned().ok_or(ApiError::NoSuchPath)
}

async fn nodes(question: &Question<'_>, name: Option<&str>) -> Result<Vec<Value>, ApiError> {
    let server = question.server;
    let source = server.usage.get().ok_or(ApiError::NoSuchPath)?;
    let nodes = selected(question, &definition(server, "nodes")?, None, name)?;
    let usage = source.nodes().await;
    let usage: HashMap<&str, Usage> = usage.iter().map(|n| (n.node.as_str(), n.usage)).collect();
    let item = |node: &Value| {
        let used = usage.get(object::meta(node, "name"))?;
        let mut item = item("NodeMetrics", node, used);
        item["usage"] = amounts(used);
        Some(item)
    };
    Ok(nodes.iter().filter_map(item).collect())
}

async fn pods(
    question: &Question<'_>,
    namespace: Option<&str>,
    name: Option<&str>,
) -> Result<Vec<Value>, ApiError> {
    let server = question.server;
    let source = server.usage.get().ok_or(ApiError::NoSuchPath)?;
    let pods = selected(question, &definition(server, "pods")?, namespace, name)?;
    let usage = source.pods(namespace).await;
    let usage: HashMap<(&str, &str), &[(String, Usage)]> = usage
        .iter()
        .map(|p| {
            (
                (p.namespace.as_str(), p.pod.as_str()),
                p.containers.as_slice(),
            )
        })
        .collect();
    let item = |pod: &Value| {
        let key = (object::meta(pod, "namespace"), object::meta(pod, "name"));
        let containers = usage.get(&key)?;
        let (_, first) = containers.first()?;
        let used =
            |(name, usage): &(String, Usage)| json!({ "name": name, "usage": amounts(usage) });
        let mut item = item("PodMetrics", pod, first);
        item["containers"] = containers.iter().map(used).collect();
        Some(item)
    };
    Ok(pods.iter().filter_map(item).collect())
}

fn item(kind: &str, of: &Value, usage: &Usage) -> Value {
    let mut metadata = json!({
        "name": object::meta(of, "name"),
        "creationTimestamp": object::time(usage.time),
    });
    if let Some(namespace) = object::at(of, &["metadata", "namespace"]) {
        metadata["namespace"] = namespace.clone();
    }
    if let Some(labels) = object::at(of, &["metadata", "labels"]) {
        metadata["labels"] = labels.clone();
    }
    json!({
        "kind": kind,
        "apiVersion": API_VERSION,
        "metadata": metadata,
        "timestamp": object::time(usage.time),
        "window": duration(usage.window),
    })
}

/// As metrics-server writes them: CPU in billionths, memory in Ki.
fn amounts(usage: &Usage) -> Value {
    json!({
        "cpu": match usage.cpu_nano_cores {
            0 => "0".to_owned(),
            nanos => format!("{nanos}n"),
        },
        "memory": format!("{}Ki", usage.memory_bytes / 1024),
    })
}

/// A duration as Go prints it, to the millisecond.
pub(super) fn duration(window: Duration) -> String {
    let millis = window.as_millis();
    let (minutes, rest) = (millis / 60_000, millis % 60_000);
    let seconds = match (rest / 1000, rest % 1000) {
        (seconds, 0) => format!("{seconds}s"),
        (seconds, fraction) => {
            let fraction = format!("{fraction:03}");
            format!("{seconds}.{}s", fraction.trim_end_matches('0'))
        }
    };
    if minutes == 0 {
        seconds
    } else {
        format!("{minutes}m{seconds}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_gos() {
        let case = |millis, text| assert_eq!(duration(Duration::from_millis(millis)), text);
        case(15_000, "15s");
        case(1_500, "1.5s");
        case(14_052, "14.052s");
        case(75_000, "1m15s");
    }
}
