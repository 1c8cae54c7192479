//! One verb or subresource per file. None of them knows a kind, except where a subresource
//! belongs to one kind alone.

mod binding;
mod create;
mod delete;
mod eviction;
mod finalize;
mod get;
mod list;
mod log;
mod patch;
mod scale;
mod status;
mod update;
mod watch;

use std::sync::Arc;

use axum::response::Response;

pub(crate) use create::create;
pub(crate) use delete::{delete, delete_collection};
pub(crate) use get::get;
pub(crate) use list::list;
pub(crate) use patch::patch;
pub(crate) use update::update;
pub(crate) use watch::watch;

use crate::call::Call;
use crate::error::ApiError;
use crate::resources::Subresource;
use crate::server::Server;

/// A request to a part of an object.
pub(crate) async fn subresource(
    server: &Arc<Server>,
    call: &Call,
    part: Subresource,
) -> Result<Response, ApiError> {
    match part {
        Subresource::Status => status::status(server, call).await,
        Subresource::Scale => scale::scale(server, call).await,
        Subresource::Binding => binding::bind(server, call).await,
        Subresource::Eviction => eviction::evict(server, call).await,
        Subresource::Log => log::log(server, call).await,
        Subresource::Finalize => finalize::finalize(server, call).await,
        Subresource::Exec => Err(not_yet("kubectl exec and attach")),
        Subresource::PortForward => Err(not_yet("kubectl port-forward")),
        Subresource::Token => Err(not_yet("kubectl create token")),
    }
}

fn not_yet(what: &str) -> ApiError {
    ApiError::NotImplemented(format!("{what}: this cluster does not support it yet"))
}
