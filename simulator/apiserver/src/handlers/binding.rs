//! `pods/binding`: the scheduler's decision.
//! <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/binding-v1/>
//!
//! This is on the path of every pod, so it does its one change without the steps of a general
//! update: nothing that the author of a pod wrote can change here.

use axum::response::Response;
use http::{Method, StatusCode};
use lab_store::{Precondition, WriteError};
use serde_json::{Value, json};

use crate::body;
use crate::call::Call;
use crate::error::{ApiError, Subject};
use crate::object;
use crate::query::WriteOptions;
use crate::respond;
use crate::server::Server;
use crate::validation::FieldError;
use crate::write::{self, Target};

/// Gives a pod its node, once.
pub(super) async fn bind(server: &Server, call: &Call) -> Result<Response, ApiError> {
    if call.method != Method::POST {
        return Err(ApiError::MethodNotAllowed);
    }
    let binding = body::read(call)?.value;
    let options = WriteOptions::from_query(&call.query)?;
    let node = target_node(call, &binding)?;
    let target = Target::of(call);
    loop {
        let entry = write::stored(server, &target)?;
        let mut pod = object::decode(&entry.value);
        check(call, &pod, &binding)?;
        assign(
            &mut pod,
            node,
            &binding,
            &object::time(server.context.now()),
        );
        if options.dry_run {
            break;
        }
        let precondition = Precondition::Revision(entry.revision);
        let collection = call.definition.collection();
        let encode = object::encoder(&pod);
        match server
            .store
            .put(&collection, &entry.name, precondition, encode)
            .await
        {
            Ok(_) => break,
            // Another write won; look again whether the pod is still free.
            Err(WriteError::Conflict { .. }) => {}
            Err(error) => return Err(ApiError::from_write(error, call.subject())),
        }
    }
    Ok(respond::success(StatusCode::CREATED, None))
}

fn target_node<'a>(call: &Call, binding: &'a Value) -> Result<&'a str, ApiError> {
    let invalid = |error| {
        let subject = Subject::of_kind("", "Binding", call.name());
        Err(ApiError::Invalid(subject, vec![error]))
    };
    let kind = object::text(binding, &["target", "kind"]);
    if !matches!(kind, "" | "Node") {
        return invalid(FieldError::not_supported(
            "target.kind",
            kind,
            &["Node", "<empty>"],
        ));
    }
    match object::text(binding, &["target", "name"]) {
        "" => invalid(FieldError::required("target.name", "")),
        node => Ok(node),
    }
}

fn check(call: &Call, pod: &Value, binding: &Value) -> Result<(), ApiError> {
    let name = call.name();
    let refuse = |why: String| {
        let mut subject = call.subject();
        subject.plural = "pods/binding".to_owned();
        Err(ApiError::Conflict(subject, why))
    };
    let (uid, wanted) = (object::meta(pod, "uid"), object::meta(binding, "uid"));
    if !wanted.is_empty() && wanted != uid {
        return refuse(format!(
            "Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}"
        ));
    }
    if !object::meta(pod, "deletionTimestamp").is_empty() {
        return refuse(format!(
            "pod {name} is being deleted, cannot be assigned to a host"
        ));
    }
    match object::text(pod, &["spec", "nodeName"]) {
        "" => Ok(()),
        node => refuse(format!("pod {name} is already assigned to node \"{node}\"")),
    }
}

fn assign(pod: &mut Value, node: &str, binding: &Value, now: &str) {
    object::set(pod, &["spec", "nodeName"], json!(node));
    let annotations = object::at(binding, &["metadata", "annotations"]).and_then(Value::as_object);
    for (key, value) in annotations.into_iter().flatten() {
        object::set(pod, &["metadata", "annotations", key], value.clone());
    }
    let path = ["status", "conditions"];
    let present = object::at(pod, &path).and_then(Value::as_array);
    let mut conditions = present.cloned().unwrap_or_default();
    conditions.retain(|condition| object::text(condition, &["type"]) != "PodScheduled");
    conditions.push(json!({
        "type": "PodScheduled",
        "status": "True",
        "lastTransitionTime": now,
    }));
    object::set(pod, &path, Value::Array(conditions));
}
