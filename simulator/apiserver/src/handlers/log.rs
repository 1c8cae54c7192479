//! `pods/log`: output of a container, fetched from the pod's node.
//! <https://kubernetes.io/docs/concepts/cluster-administration/logging/>

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, Method, header};
use serde_json::Value;

use crate::call::Call;
use crate::error::ApiError;
use crate::node_connection::{LogRequest, NodeConnectionError};
use crate::object;
use crate::query::Query;
use crate::server::Server;
use crate::write::{self, Target};

/// Streams a log.
pub(super) async fn log(server: &Server, call: &Call) -> Result<Response, ApiError> {
    if call.method != Method::GET {
        return Err(ApiError::MethodNotAllowed);
    }
    let entry = write::stored(server, &Target::of(call))?;
    let pod = object::decode(&entry.value);
    let request = request(call, container(call, &pod)?)?;
    check_state(&pod, &request)?;
    let node = object::text(&pod, &["spec", "nodeName"]);
    if node.is_empty() {
        // Not scheduled: nothing can have been written.
        return Ok(text(Body::empty()));
    }
    let nodes = server.nodes.as_ref().ok_or_else(|| {
        ApiError::NotImplemented("logs: this cluster has no connection to its nodes".to_owned())
    })?;
    let stream = nodes
        .container_logs(node, request)
        .await
        .map_err(node_error)?;
    Ok(text(Body::from_stream(stream)))
}

fn text(body: Body) -> Response {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn node_error(error: NodeConnectionError) -> ApiError {
    match error {
        NodeConnectionError::Refused(message) => ApiError::BadRequest(message),
        NodeConnectionError::Unreachable { ref source, .. }
        | NodeConnectionError::Lost { ref source, .. } => {
            ApiError::Internal(format!("{error}: {source}"))
        }
    }
}

/// The container asked for, or the only one.
fn container(call: &Call, pod: &Value) -> Result<String, ApiError> {
    let name = call.name();
    let containers = names(pod, "containers");
    let init = names(pod, "initContainers");
    let ephemeral = names(pod, "ephemeralContainers");
    if let Some(wanted) = call.query.text("container") {
        let all = containers.iter().chain(&init).chain(&ephemeral);
        return if all.into_iter().any(|container| *container == wanted) {
            Ok(wanted.to_owned())
        } else {
            Err(ApiError::BadRequest(format!(
                "container {wanted} is not valid for pod {name}"
            )))
        };
    }
    match containers.as_slice() {
        [only] if init.is_empty() => Ok((*only).to_owned()),
        several => {
            let choice = several.join(" ");
            let init = match init.as_slice() {
                [] => String::new(),
                init => format!(" or one of the init containers: [{}]", init.join(" ")),
            };
            Err(ApiError::BadRequest(format!(
                "a container name must be specified for pod {name}, choose one of: [{choice}]{init}"
            )))
        }
    }
}

fn names<'a>(pod: &'a Value, list: &str) -> Vec<&'a str> {
    let containers = object::at(pod, &["spec", list]).and_then(Value::as_array);
    let name = |container: &'a Value| object::text(container, &["name"]);
    containers.into_iter().flatten().map(name).collect()
}

fn request(call: &Call, container: String) -> Result<LogRequest, ApiError> {
    let query = &call.query;
    Ok(LogRequest {
        namespace: call.namespace.clone().unwrap_or_default(),
        pod: call.name().to_owned(),
        container,
        follow: query.flag("follow"),
        tail_lines: count(query, "tailLines")?,
        since_seconds: query.number("sinceSeconds")?,
        since_time: since_time(query)?,
        timestamps: query.flag("timestamps"),
        previous: query.flag("previous"),
        limit_bytes: count(query, "limitBytes")?,
    })
}

fn count(query: &Query, name: &str) -> Result<Option<u64>, ApiError> {
    let number = query.number(name)?;
    let negative = || ApiError::BadRequest(format!("{name} must be greater than or equal to 0"));
    number
        .map(|number| u64::try_from(number).map_err(|_| negative()))
        .transpose()
}

fn since_time(query: &Query) -> Result<Option<jiff::Timestamp>, ApiError> {
    let text = query.text("sinceTime");
    let malformed = |_| {
        ApiError::BadRequest("sinceTime must be a time such as 2026-01-31T12:00:00Z".to_owned())
    };
    text.map(|text| text.parse().map_err(malformed)).transpose()
}

/// Refuses what cannot have an answer, in the kubelet's words.
fn check_state(pod: &Value, request: &LogRequest) -> Result<(), ApiError> {
    let LogRequest {
        pod: name,
        container,
        ..
    } = request;
    let status = status_of(pod, container);
    let state = |path: &[&str]| status.and_then(|status| object::at(status, path));
    let ran_before = state(&["lastState", "terminated"]).is_some();
    if request.previous && !ran_before {
        return Err(ApiError::BadRequest(format!(
            "previous terminated container \"{container}\" in pod \"{name}\" not found"
        )));
    }
    let started = state(&["state", "running"])
        .or(state(&["state", "terminated"]))
        .is_some();
    let scheduled = !object::text(pod, &["spec", "nodeName"]).is_empty();
    if started || ran_before || !scheduled {
        return Ok(());
    }
    let reason = state(&["state", "waiting", "reason"]).and_then(Value::as_str);
    let why = match reason {
        Some("ErrImagePull") => "image can't be pulled",
        Some("ImagePullBackOff") => "trying and failing to pull image",
        Some(reason) => reason,
        None => "ContainerCreating",
    };
    Err(ApiError::BadRequest(format!(
        "container \"{container}\" in pod \"{name}\" is waiting to start: {why}"
    )))
}

fn status_of<'a>(pod: &'a Value, container: &str) -> Option<&'a Value> {
    [
        "containerStatuses",
        "initContainerStatuses",
        "ephemeralContainerStatuses",
    ]
    .iter()
    .filter_map(|list| object::at(pod, &["status", list])?.as_array())
    .flatten()
    .find(|status| object::text(status, &["name"]) == container)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn case(status: &Value, previous: bool, refusal: Option<&str>) {
        let pod = json!({"spec": {"nodeName": "n"}, "status": {"containerStatuses": [status]}});
        let request = LogRequest {
            pod: "p".into(),
            container: "c".into(),
            previous,
            ..LogRequest::default()
        };
        let error = check_state(&pod, &request)
            .err()
            .map(|error| error.to_string());
        assert_eq!(error.as_deref(), refusal);
    }

    #[test]
    fn a_log_that_cannot_exist_is_refused_with_the_reason() {
        case(&json!({"name": "c", "state": {"running": {}}}), false, None);
        case(
            &json!({"name": "c", "state": {"waiting": {"reason": "ImagePullBackOff"}}}),
            false,
            Some(
                "container \"c\" in pod \"p\" is waiting to start: trying and failing to pull image",
            ),
        );
        case(
            &json!({"name": "other"}),
            false,
            Some("container \"c\" in pod \"p\" is waiting to start: ContainerCreating"),
        );
        case(
            &json!({"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {}}}),
            false,
            None,
        );
        case(
            &json!({"name": "c", "state": {"running": {}}}),
            true,
            Some("previous terminated container \"c\" in pod \"p\" not found"),
        );
    }
}
