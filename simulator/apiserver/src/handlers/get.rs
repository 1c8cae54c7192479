//! GET of one object.

use axum::response::Response;
use http::StatusCode;

use crate::call::Call;
use crate::error::ApiError;
use crate::respond;
use crate::server::Server;

/// Answers the stored bytes, or a form of them.
pub(crate) fn get(server: &Server, call: &Call) -> Result<Response, ApiError> {
    let entry = server
        .store
        .get(&call.definition.collection(), &call.key())
        .ok_or_else(|| ApiError::NotFound(call.subject()))?;
    Ok(respond::one(
        server,
        &call.definition,
        call.form,
        StatusCode::OK,
        &entry.value,
    ))
}
