//! Requests and answers: one file per kind of thing in a repository.

mod blobs;
mod discovery;
mod manifests;
mod uploads;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{HeaderName, ORIGIN};
use axum::http::{HeaderValue, Method, StatusCode, response};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use serde::Deserialize;

use crate::error::Refusal;
use crate::route::Route;
use crate::{Registry, admin};

/// Digest of what was sent or stored.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// Id of an upload, which dockerd logs.
const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// Tells dockerd that this is a registry.
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// Every query parameter of the specification, unread.
#[derive(Debug, Deserialize)]
struct Params {
    digest: Option<String>,
    mount: Option<String>,
    from: Option<String>,
    n: Option<String>,
    last: Option<String>,
    #[serde(rename = "artifactType")]
    artifact_type: Option<String>,
}

/// The registry's whole HTTP interface.
pub(crate) fn router(registry: Registry) -> Router {
    Router::new()
        .route("/v2", get(base))
        .route("/v2/", get(base))
        .route("/v2/{*path}", any(dispatch))
        .route("/devops-lab/identity", get(admin::identity))
        .route("/devops-lab/gc", post(admin::collect_garbage))
        .fallback(async || Refusal::PathUnknown)
        .layer(from_fn(guard))
        .with_state(registry)
}

/// Turns web pages away: a page open in a student's browser can send requests to loopback, and
/// browsers put an `Origin` on all that could change something. No registry client does.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = if request.headers().contains_key(ORIGIN) {
        Refusal::FromWebPage.into_response()
    } else {
        next.run(request).await
    };
    let version = HeaderValue::from_static("registry/2.0");
    response.headers_mut().insert(API_VERSION, version);
    response
}

/// `GET /v2/`: yes, this is a registry.
async fn base() -> axum::Json<serde_json::Value> {
    axum::Json(serde_json::json!({}))
}

async fn dispatch(
    State(registry): State<Registry>,
    Path(path): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let route = Route::parse(&path)?;
    let query = Query::<Params>::try_from_uri(request.uri());
    let Query(params) = query.map_err(|error| Refusal::QueryInvalid {
        reason: error.to_string(),
    })?;
    let method = request.method().clone();
    match route {
        Route::Catalog => match method {
            Method::GET => discovery::catalog(&registry, &params).await,
            _ => Err(Refusal::MethodNotAllowed),
        },
        Route::Tags(name) => match method {
            Method::GET => discovery::tags(&registry, name, &params).await,
            _ => Err(Refusal::MethodNotAllowed),
        },
        Route::Referrers(name, digest) => match method {
            Method::GET => discovery::referrers(&registry, name, digest, &params).await,
            _ => Err(Refusal::MethodNotAllowed),
        },
        Route::Manifest(name, reference) => match method {
            Method::GET | Method::HEAD => manifests::get(&registry, name, reference, &method).await,
            Method::PUT => manifests::put(&registry, name, reference, request).await,
            Method::DELETE => manifests::delete(&registry, name, reference).await,
            _ => Err(Refusal::MethodNotAllowed),
        },
        Route::Blob(name, digest) => match method {
            Method::GET => blobs::get(&registry, name, digest, request.headers()).await,
            Method::HEAD => blobs::head(&registry, name, digest).await,
            Method::DELETE => blobs::delete(&registry, name, digest).await,
            _ => Err(Refusal::MethodNotAllowed),
        },
        Route::Uploads(name) => match method {
            Method::POST => uploads::begin(&registry, name, &params, request).await,
            _ => Err(Refusal::MethodNotAllowed),
        },
        Route::Upload(name, id) => match method {
            Method::GET => uploads::status(&registry, name, id).await,
            Method::PATCH => uploads::append(&registry, name, id, request).await,
            Method::PUT => uploads::finish(&registry, name, id, &params, request).await,
            Method::DELETE => uploads::cancel(&registry, name, id).await,
            _ => Err(Refusal::MethodNotAllowed),
        },
    }
}

/// Finishes an answer. Header values come from parsed names and numbers, or were in a request.
fn send(builder: response::Builder, body: Body) -> Result<Response, Refusal> {
    Ok(builder.body(body).unwrap_or_else(|error| {
        tracing::error!(%error, "an answer's header has a forbidden character");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }))
}
