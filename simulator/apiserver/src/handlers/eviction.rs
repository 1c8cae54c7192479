//! `pods/eviction`: deletion of a pod that asks permission first.
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/>
//!
//! There is no PodDisruptionBudget yet, so permission is always given.

use axum::response::Response;
use http::{Method, StatusCode};
use serde_json::json;

use crate::body;
use crate::call::Call;
use crate::deletion::{self, Options};
use crate::error::ApiError;
use crate::object;
use crate::respond;
use crate::server::Server;
use crate::write::Target;

/// Evicts a pod.
pub(super) async fn evict(server: &Server, call: &Call) -> Result<Response, ApiError> {
    if call.method != Method::POST {
        return Err(ApiError::MethodNotAllowed);
    }
    let body = body::read(call)?;
    let name = object::meta(&body.value, "name");
    if !name.is_empty() && name != call.name() {
        return Err(ApiError::BadRequest(format!(
            "name in URL does not match name in Eviction object: {} != {name}",
            call.name()
        )));
    }
    let no_options = json!({});
    let options = body.value.get("deleteOptions").unwrap_or(&no_options);
    let options = Options::from_json(options, &call.query)?;
    deletion::delete(server, &Target::of(call), &options).await?;
    Ok(respond::success(StatusCode::CREATED, None))
}
