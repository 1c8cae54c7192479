//! From a request to its handler.
//!
//! Paths below `/api` and `/apis` are looked up in the [`Catalog`](crate::catalog::Catalog)
//! when they are asked for, instead of being registered one by one, so that a kind which is
//! defined at run time needs no new router.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::Method;

use crate::call::Call;
use crate::discovery;
use crate::error::ApiError;
use crate::handlers;
use crate::legacy_autoscaling;
use crate::metrics;
use crate::openapi;
use crate::respond;
use crate::reviews;
use crate::server::Server;

/// The whole API.
pub(crate) fn router(server: Arc<Server>) -> Router {
    Router::new()
        .route("/version", get(discovery::version))
        .route("/healthz", get(healthy))
        .route("/livez", get(healthy))
        .route("/readyz", get(healthy))
        .route("/api", get(discovery::core))
        .route("/apis", get(discovery::groups))
        .route("/api/v1", get(discovery::core_resources))
        .route("/apis/{group}", get(discovery::group))
        .route("/apis/{group}/{version}", get(discovery::resources))
        .route("/openapi/v2", get(openapi::v2))
        .route("/openapi/v3", get(openapi::index))
        .route("/openapi/v3/api/v1", get(openapi::core_document))
        .route("/openapi/v3/apis/{group}/{version}", get(openapi::document))
        .merge(reviews::routes())
        .fallback(resource)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed.into_response())
        .with_state(server)
}

async fn healthy() -> Response {
    respond::plain("ok")
}

async fn resource(State(server): State<Arc<Server>>, request: Request) -> Response {
    match answer(&server, request).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

async fn answer(server: &Arc<Server>, request: Request) -> Result<Response, ApiError> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    if let Some(answer) = metrics::answer(server, &method, &uri).await {
        return answer;
    }
    if legacy_autoscaling::is_meant(&request) {
        return legacy_autoscaling::answer(server, request).await;
    }
    let call = Call::read(&server.catalog, request).await?;
    dispatch(server, &call).await
}

/// Answers a request that was read.
pub(crate) async fn dispatch(server: &Arc<Server>, call: &Call) -> Result<Response, ApiError> {
    tracing::trace!(method = %call.method, kind = %call.definition.kind, key = call.key());
    if let Some(part) = call.subresource {
        return handlers::subresource(server, call, part).await;
    }
    match (call.method.clone(), call.name.is_some()) {
        (Method::GET, _) if call.query.flag("watch") => handlers::watch(server, call),
        (Method::GET, true) => handlers::get(server, call),
        (Method::GET, false) => handlers::list(server, call),
        (Method::POST, false) => handlers::create(server, call).await,
        (Method::PUT, true) => handlers::update(server, call).await,
        (Method::PATCH, true) => handlers::patch(server, call).await,
        (Method::DELETE, true) => handlers::delete(server, call).await,
        (Method::DELETE, false) => handlers::delete_collection(server, call).await,
        _ => Err(ApiError::MethodNotAllowed),
    }
}
