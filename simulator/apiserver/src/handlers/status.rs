//! `/status`: what controllers observe, apart from what people want.

use axum::response::Response;
use http::Method;

use super::{get, patch, update};
use crate::call::Call;
use crate::error::ApiError;
use crate::server::Server;
use crate::write::Part;

/// Reads the object, or writes its status.
pub(crate) async fn status(server: &Server, call: &Call) -> Result<Response, ApiError> {
    match call.method {
        Method::GET => get(server, call),
        Method::PUT => update::replace(server, call, Part::Status).await,
        Method::PATCH => patch::patch_part(server, call, Part::Status).await,
        _ => Err(ApiError::MethodNotAllowed),
    }
}
