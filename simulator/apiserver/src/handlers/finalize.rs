//! `/finalize` of a namespace: its controller says that the content is gone.

use axum::response::Response;
use http::Method;

use super::update;
use crate::call::Call;
use crate::error::ApiError;
use crate::server::Server;
use crate::write::Part;

/// Replaces `spec.finalizers`. A namespace under deletion without finalizers goes.
pub(crate) async fn finalize(server: &Server, call: &Call) -> Result<Response, ApiError> {
    match call.method {
        Method::PUT => update::replace(server, call, Part::Finalizers).await,
        _ => Err(ApiError::MethodNotAllowed),
    }
}
