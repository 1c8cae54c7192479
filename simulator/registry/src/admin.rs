//! Our own paths beside the specification's: whose registry this is, and its garbage.

use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Registry;

/// Query of a garbage collection.
#[derive(Debug, Deserialize)]
pub(crate) struct GcQuery {
    /// Only say what would be removed.
    #[serde(default)]
    dry_run: bool,
    /// Another grace period than the registry's, in seconds.
    grace_seconds: Option<u64>,
}

/// Tells our registry from a stranger's that happens to listen on the same port.
pub(crate) async fn identity(State(registry): State<Registry>) -> Json<Value> {
    Json(json!({"cluster": &*registry.cluster, "program": "devops-lab"}))
}

/// Collects garbage and reports.
pub(crate) async fn collect_garbage(
    State(registry): State<Registry>,
    Query(query): Query<GcQuery>,
) -> Response {
    let GcQuery {
        dry_run,
        grace_seconds,
    } = query;
    let grace = grace_seconds.map_or(registry.grace, Duration::from_secs);
    match registry.collect_garbage_older_than(grace, dry_run).await {
        Ok(report) => Json(report).into_response(),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "garbage collection failed"
            );
            let message = std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
            let body = json!({"errors": [{"code": "UNKNOWN", "message": message, "detail": null}]});
            (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response()
        }
    }
}
