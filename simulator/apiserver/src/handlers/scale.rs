//! `/scale`: the replica count of any kind that has one.
//! <https://kubernetes.io/docs/reference/kubernetes-api/autoscaling-resources/>

use axum::response::Response;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::body;
use crate::call::Call;
use crate::error::{ApiError, Subject};
use crate::object;
use crate::patch::Patch;
use crate::query::WriteOptions;
use crate::resources::ResourceDef;
use crate::respond;
use crate::server::Server;
use crate::validation::FieldError;
use crate::write::{self, Part, Proposed, Target};

/// Reads or writes the count.
pub(super) async fn scale(server: &Server, call: &Call) -> Result<Response, ApiError> {
    match call.method {
        Method::GET => {
            let entry = write::stored(server, &Target::of(call))?;
            Ok(answer(&call.definition, &object::decode(&entry.value)))
        }
        Method::PUT => {
            let scale = body::read(call)?.value;
            set(server, call, |_| Ok(scale.clone())).await
        }
        Method::PATCH => {
            let patch = Patch::read(call)?;
            // A Scale has no lists, so its patches need nothing of the scaled kind.
            set(server, call, |scale| patch.apply(&call.definition, scale)).await
        }
        _ => Err(ApiError::MethodNotAllowed),
    }
}

async fn set(
    server: &Server,
    call: &Call,
    change: impl Fn(&Value) -> Result<Value, ApiError>,
) -> Result<Response, ApiError> {
    let options = WriteOptions::from_query(&call.query)?;
    let propose = |current: &Value| {
        let scale = change(&of(&call.definition, current))?;
        let mut object = current.clone();
        object::set(
            &mut object,
            &["spec", "replicas"],
            json!(replicas(&scale, call.name())?),
        );
        // The Scale's uid and resourceVersion are preconditions on the object.
        for field in ["uid", "resourceVersion"] {
            let value = object::meta(&scale, field);
            if !value.is_empty() {
                object::set(&mut object, &["metadata", field], json!(value));
            }
        }
        let duplicates = Vec::new();
        Ok(Proposed { object, duplicates })
    };
    let written = write::update(server, &Target::of(call), Part::Main, &options, propose).await?;
    Ok(answer(&call.definition, &object::decode(&written.bytes)))
}

fn answer(definition: &ResourceDef, object: &Value) -> Response {
    respond::json(StatusCode::OK, of(definition, object).to_string())
}

/// The Scale of an object.
fn of(definition: &ResourceDef, object: &Value) -> Value {
    let (replicas, selector) = definition.strategy.scale_status();
    let count = |path: &[&str]| {
        object::at(object, path)
            .and_then(Value::as_i64)
            .unwrap_or(0)
    };
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {},
        "spec": { "replicas": count(&["spec", "replicas"]) },
        "status": { "replicas": count(&["status", replicas]) },
    });
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        scale["metadata"][field] = json!(object::meta(object, field));
    }
    let selector = match selector {
        "" => selector_text(object),
        field => Some(object::text(object, &["status", field]).to_owned()),
    };
    if let Some(selector) = selector {
        scale["status"]["selector"] = json!(selector);
    }
    scale
}

fn replicas(scale: &Value, name: &str) -> Result<i64, ApiError> {
    let value = object::at(scale, &["spec", "replicas"]);
    let count = match value {
        None | Some(Value::Null) => Some(0),
        Some(value) => value.as_i64(),
    };
    match count {
        Some(count) if (0..=i64::from(i32::MAX)).contains(&count) => Ok(count),
        Some(_) | None => {
            let subject = Subject::of_kind("autoscaling", "Scale", name);
            let detail = "must be greater than or equal to 0";
            let error = FieldError::invalid("spec.replicas", value, detail);
            Err(ApiError::Invalid(subject, vec![error]))
        }
    }
}

/// `spec.selector` as a query string has it: what a horizontal autoscaler selects pods by.
fn selector_text(object: &Value) -> Option<String> {
    let selector = object::at(object, &["spec", "selector"])?;
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    let equal = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    let others = expressions.into_iter().flatten().map(|expression| {
        let key = object::text(expression, &["key"]);
        let values = object::texts(expression, &["values"]).join(",");
        match object::text(expression, &["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            // "Exists": nothing else passes validation.
            _ => key.to_owned(),
        }
    });
    Some(equal.chain(others).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_says_itself_which_pods_an_autoscaler_counts() {
        let kinds = crate::resources::all();
        let rollout = kinds.iter().find(|kind| kind.kind == "Rollout").unwrap();
        let object = json!({"spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}},
            "status": {"replicas": 6, "HPAReplicas": 3, "selector": "app=web,rollouts-pod-template-hash=abc"}});
        let scale = of(rollout, &object);
        assert_eq!(
            scale["status"],
            json!({"replicas": 3, "selector": "app=web,rollouts-pod-template-hash=abc"})
        );
    }

    #[test]
    fn the_selector_reads_as_in_a_query() {
        let object = json!({"spec": {"selector": {
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["a", "b"]},
                {"key": "old", "operator": "DoesNotExist"},
            ],
        }}});
        assert_eq!(
            selector_text(&object).unwrap(),
            "app=web,tier in (a,b),!old"
        );
    }
}
