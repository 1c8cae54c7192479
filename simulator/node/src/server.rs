//! The agent's HTTP server: the API server reads logs and the use of resources here.

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use lab_engine::LogOptions;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Listen;
use crate::handle::{AgentHandle, LogError, LogQuery};

/// Binds and serves until the stop signal; answers the port.
pub(crate) async fn start(
    handle: AgentHandle,
    listen: &Listen,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> anyhow::Result<u16> {
    let listener = bind(listen.address).await?;
    let port = listener.local_addr()?.port();
    let expected = format!("Bearer {}", listen.token);
    let authorized = middleware::from_fn(move |request: Request, next: Next| {
        let given = request
            .headers()
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let allowed = given == Some(expected.as_str());
        async move {
            if allowed {
                next.run(request).await
            } else {
                StatusCode::UNAUTHORIZED.into_response()
            }
        }
    });
    let router = Router::new()
        .route("/containerLogs/{namespace}/{pod}/{container}", get(logs))
        .route("/stats/summary", get(summary))
        .with_state(handle)
        .layer(authorized);
    let stop = stop.clone();
    tasks.spawn(async move {
        let served = axum::serve(listener, router)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await;
        if let Err(error) = served {
            tracing::warn!(%error, "the agent's server ended");
        }
    });
    Ok(port)
}

/// The port asked for, else a free one: the Node object carries the port, so nobody guesses.
async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(_) if address.port() != 0 => Ok(TcpListener::bind((address.ip(), 0)).await?),
        Err(error) => Err(unusable(address.ip(), &error)),
    }
}

fn unusable(ip: IpAddr, error: &std::io::Error) -> anyhow::Error {
    anyhow::anyhow!("the node's address {ip} cannot be listened on: {error}")
}

/// The query of `/containerLogs`, as the kubelet's.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct LogParameters {
    follow: bool,
    previous: bool,
    timestamps: bool,
    tail_lines: Option<u64>,
    since: Option<jiff::Timestamp>,
}

async fn logs(
    State(handle): State<AgentHandle>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    Query(parameters): Query<LogParameters>,
) -> Response {
    let LogParameters {
        follow,
        previous,
        timestamps,
        tail_lines,
        since,
    } = parameters;
    let options = LogOptions {
        follow,
        tail_lines,
        since,
        timestamps,
    };
    let query = LogQuery {
        namespace,
        pod,
        container,
        previous,
        options,
    };
    match handle.logs(&query).await {
        Ok(stream) => (
            [(header::CONTENT_TYPE, "text/plain")],
            Body::from_stream(stream),
        )
            .into_response(),
        Err(LogError::BadRequest(message)) => (StatusCode::BAD_REQUEST, message).into_response(),
        Err(error @ LogError::CutOff(_)) => {
            (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response()
        }
        Err(LogError::Engine(error)) => {
            (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        }
    }
}

async fn summary(State(handle): State<AgentHandle>) -> Response {
    match handle.summary(None).await {
        Ok(summary) => axum::Json(summary).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
