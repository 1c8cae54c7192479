//! DELETE of an object or of a collection.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::list::selected;
use crate::call::Call;
use crate::deletion::{self, Deleted, Options};
use crate::error::ApiError;
use crate::respond;
use crate::selection::{self, Selection};
use crate::server::Server;
use crate::write::{self, Target};

/// Answers a Status where the object is gone, and the object where it waits.
pub(crate) async fn delete(server: &Server, call: &Call) -> Result<Response, ApiError> {
    let options = Options::of(call)?;
    let deleted = deletion::delete(server, &Target::of(call), &options).await?;
    Ok(match deleted {
        Deleted::Gone(object) => {
            let details = write::details(&call.definition, &object);
            respond::success(StatusCode::OK, Some(details))
        }
        Deleted::Waiting(bytes) => {
            respond::one(server, &call.definition, call.form, StatusCode::OK, &bytes)
        }
    })
}

/// Deletes what the selectors select, and answers the list of it.
pub(crate) async fn delete_collection(server: &Server, call: &Call) -> Result<Response, ApiError> {
    if call.definition.is_namespaced() && call.namespace.is_none() {
        return Err(ApiError::MethodNotAllowed);
    }
    let options = Options::of(call)?;
    let selection = Selection::from_query(
        &call.definition,
        call.namespace.as_deref(),
        None,
        &call.query,
    )?;
    let (entries, revision) = selected(server, call, &selection);
    let mut items: Vec<Value> = Vec::with_capacity(entries.len());
    for entry in entries {
        let (_, name) = selection::split(&entry.name);
        let target = Target {
            name: Some(name),
            ..Target::of(call)
        };
        match deletion::delete(server, &target, &options).await {
            Ok(Deleted::Gone(object)) => items.push(object),
            Ok(Deleted::Waiting(bytes)) => items.push(call.definition.decode(&bytes)),
            // Somebody else was faster.
            Err(ApiError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let list = json!({
        "kind": format!("{}List", call.definition.kind),
        "apiVersion": call.definition.api_version(),
        "metadata": { "resourceVersion": revision.to_string() },
        "items": items,
    });
    Ok(respond::json(StatusCode::OK, list.to_string()))
}
