//! From the registry's pushes to the controller that follows images: within a process through a
//! channel, between containers through the API server's webhooks.
//!
//! The webhooks are Keel's, with its paths and bodies, behind the API's bearer token:
//! `POST /v1/webhooks/native` takes `{"name", "tag", "digest"}`, `POST /v1/webhooks/registry` what
//! a Docker registry sends to its notification endpoints.
//! <https://distribution.github.io/distribution/about/notifications/>

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::routing::post;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::StatusCode;
use lab_controllers::{ImagePush, ImagePushes, ImageRegistry};
use lab_image::client::{ClientError, RegistryClient};
use lab_registry::Pushed;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::RegistryAddress;

/// How often a notification is sent before it is given up; with the pauses, for half a minute,
/// which is longer than a control plane takes to come back.
const TRIES: u32 = 6;
/// Pause before the second try; it doubles.
const PAUSE: Duration = Duration::from_secs(1);

/// Hands pushes on until `stop`.
pub(super) async fn tell(mut news: Receiver<Pushed>, pushes: ImagePushes, stop: CancellationToken) {
    while let Some(pushed) = next(&mut news, &stop).await {
        if let Some(tag) = pushed.tag {
            pushes.tell(ImagePush {
                name: pushed.repository,
                tag,
                digest: Some(pushed.digest),
            });
        }
    }
}

/// Posts pushes to the API server until `stop`.
pub(super) async fn notify(
    mut news: Receiver<Pushed>,
    client: kube::Client,
    stop: CancellationToken,
) {
    while let Some(pushed) = next(&mut news, &stop).await {
        if pushed.tag.is_none() {
            continue;
        }
        let body = json!({"events": [{"action": "push", "target": {
            "repository": pushed.repository, "tag": pushed.tag, "digest": pushed.digest}}]});
        let sent = stop.run_until_cancelled(post_event(&client, body.to_string()));
        if let Some(Err(error)) = sent.await {
            tracing::warn!(%error, repository = pushed.repository, "the control plane was not told of a push");
        }
    }
}

async fn post_event(client: &kube::Client, body: String) -> anyhow::Result<()> {
    let mut pause = PAUSE;
    for attempt in 1.. {
        let request = http::Request::post("/v1/webhooks/registry")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body.clone().into_bytes())?;
        match client.request_text(request).await {
            Ok(_) => break,
            Err(error) if attempt >= TRIES => return Err(error.into()),
            Err(_) => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        }
    }
    Ok(())
}

async fn next(news: &mut Receiver<Pushed>, stop: &CancellationToken) -> Option<Pushed> {
    loop {
        match stop.run_until_cancelled(news.recv()).await? {
            Ok(pushed) => return Some(pushed),
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "pushes came faster than they could be told");
            }
            Err(RecvError::Closed) => return None,
        }
    }
}

/// A registry's notification, as far as it is read.
#[derive(Deserialize)]
struct Notification {
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    action: String,
    target: Target,
}

#[derive(Deserialize)]
struct Target {
    repository: String,
    #[serde(default)]
    tag: Option<String>,
    #[serde(default)]
    digest: Option<String>,
}

/// The webhooks. Whoever calls them has the API's token, as for all else.
pub(super) fn webhooks(pushes: ImagePushes) -> axum::Router {
    axum::Router::new()
        .route("/v1/webhooks/native", post(native))
        .route("/v1/webhooks/registry", post(registry))
        .with_state(pushes)
}

async fn native(State(pushes): State<ImagePushes>, Json(push): Json<ImagePush>) -> StatusCode {
    pushes.tell(push);
    StatusCode::OK
}

async fn registry(
    State(pushes): State<ImagePushes>,
    // A registry says `application/vnd.docker.distribution.events.v1+json`.
    body: axum::body::Bytes,
) -> Result<StatusCode, (StatusCode, String)> {
    let notification: Notification = serde_json::from_slice(&body).map_err(|error| {
        (
            StatusCode::BAD_REQUEST,
            format!("no registry notification: {error}\n"),
        )
    })?;
    for event in notification.events {
        let Event { action, target } = event;
        if let (true, Some(tag)) = (action == "push", target.tag) {
            pushes.tell(ImagePush {
                name: target.repository,
                tag,
                digest: target.digest,
            });
        }
    }
    Ok(StatusCode::OK)
}

/// The cluster's registry as the controller looks into it.
pub(super) struct Registry {
    client: RegistryClient,
    hosts: Vec<String>,
}

impl Registry {
    /// Images name it by its port on the host.
    pub(super) fn new(place: RegistryAddress) -> Self {
        let RegistryAddress { address, port } = place;
        Self {
            client: RegistryClient::new(&address.to_string()),
            hosts: vec![format!("localhost:{port}"), format!("127.0.0.1:{port}")],
        }
    }
}

impl ImageRegistry for Registry {
    fn hosts(&self) -> &[String] {
        &self.hosts
    }

    fn tags<'a>(&'a self, repository: &'a str) -> BoxFuture<'a, Result<Vec<String>, String>> {
        async move {
            match self.client.tags(repository).await {
                Err(ClientError::NotFound { .. }) => Ok(Vec::new()),
                tags => tags.map_err(|error| error.to_string()),
            }
        }
        .boxed()
    }

    fn digest<'a>(
        &'a self,
        repository: &'a str,
        tag: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, String>> {
        async move {
            match self.client.manifest(repository, tag).await {
                Ok(manifest) => Ok(Some(manifest.digest.to_string())),
                Err(ClientError::NotFound { .. }) => Ok(None),
                Err(error) => Err(error.to_string()),
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use tower::ServiceExt;

    #[tokio::test]
    async fn a_body_that_is_no_notification_is_refused() {
        for (path, body, status) in [
            (
                "registry",
                r#"{"events":[{"action":"push","target":{"repository":"a","tag":"1"}}]}"#,
                200,
            ),
            (
                "registry",
                r#"{"events":[{"action":"pull","target":{"repository":"a"}}]}"#,
                200,
            ),
            ("registry", "{}", 400),
            ("native", r#"{"name":"localhost:5001/a","tag":"1"}"#, 200),
            ("native", r#"{"name":"a"}"#, 422),
        ] {
            let request = http::Request::post(format!("/v1/webhooks/{path}"))
                .header("content-type", "application/json")
                .body(Body::from(body))
                .unwrap();
            let answer = webhooks(ImagePushes::default())
                .oneshot(request)
                .await
                .unwrap();
            assert_eq!(answer.status().as_u16(), status, "{path} {body}");
        }
    }
}
