//! POST to a collection.

use axum::response::Response;
use http::StatusCode;

use crate::body;
use crate::call::Call;
use crate::error::ApiError;
use crate::query::WriteOptions;
use crate::respond;
use crate::server::Server;
use crate::write::{self, Target};

/// Stores a new object and answers it as stored.
pub(crate) async fn create(server: &Server, call: &Call) -> Result<Response, ApiError> {
    if call.definition.is_namespaced() && call.namespace.is_none() {
        return Err(ApiError::MethodNotAllowed);
    }
    let body = body::read(call)?;
    let options = WriteOptions::from_query(&call.query)?;
    let written = write::create(server, &Target::of(call), body, &options).await?;
    let response = respond::one(
        server,
        &call.definition,
        call.form,
        StatusCode::CREATED,
        &written.bytes,
    );
    Ok(respond::warn(response, &written.warnings))
}
