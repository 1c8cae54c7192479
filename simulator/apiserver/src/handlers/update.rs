//! PUT of an object.

use axum::response::Response;

use crate::body;
use crate::call::Call;
use crate::error::ApiError;
use crate::query::WriteOptions;
use crate::server::Server;
use crate::write::{self, Part, Target};

/// Replaces an object.
pub(crate) async fn update(server: &Server, call: &Call) -> Result<Response, ApiError> {
    replace(server, call, Part::Main).await
}

/// Replaces a part of an object by that of the body.
pub(crate) async fn replace(
    server: &Server,
    call: &Call,
    part: Part,
) -> Result<Response, ApiError> {
    let body = body::read(call)?;
    let options = WriteOptions::from_query(&call.query)?;
    let target = Target::of(call);
    let proposed = |_current: &_| {
        Ok(write::Proposed {
            object: body.value.clone(),
            duplicates: body.duplicates.clone(),
        })
    };
    let written = write::update(server, &target, part, &options, proposed).await?;
    Ok(written.respond(server, call))
}
