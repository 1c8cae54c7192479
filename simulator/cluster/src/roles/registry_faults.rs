//! A registry that hands out damaged blobs where it was told to.
//!
//! `PUT` and `DELETE /devops-lab/faults/DIGEST`, with the administrator's token, add and remove a
//! blob; the list lies in the registry's own directory, so that a restart keeps it. The data on
//! disk stays whole: one bit is turned on the way out.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::put;
use futures::StreamExt;

use crate::record::write_atomically;

struct Faults {
    path: PathBuf,
    authorization: String,
    damaged: Mutex<BTreeSet<String>>,
}

/// Puts the faults in front of a registry's router.
pub(super) fn guard(registry: Router, path: PathBuf, token: &str) -> Router {
    let text = std::fs::read(&path).unwrap_or_default();
    let faults = Arc::new(Faults {
        path,
        authorization: format!("Bearer {token}"),
        // What cannot be read is no reason to keep images from anybody.
        damaged: Mutex::new(serde_json::from_slice(&text).unwrap_or_default()),
    });
    let admin = Router::new()
        .route("/devops-lab/faults/{digest}", put(change).delete(change))
        .with_state(Arc::clone(&faults));
    registry
        .layer(from_fn_with_state(faults, damage))
        .merge(admin)
}

impl Faults {
    fn damaged(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn change(
    State(faults): State<Arc<Faults>>,
    Path(digest): Path<String>,
    request: Request,
) -> StatusCode {
    let given = request.headers().get(header::AUTHORIZATION);
    if given.and_then(|value| value.to_str().ok()) != Some(faults.authorization.as_str()) {
        return StatusCode::UNAUTHORIZED;
    }
    let text = {
        let mut damaged = faults.damaged();
        match *request.method() {
            Method::PUT => damaged.insert(digest),
            _ => damaged.remove(&digest),
        };
        serde_json::to_vec(&*damaged).unwrap_or_default()
    };
    match write_atomically(&faults.path, &text, 0o600) {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(error) => {
            tracing::error!(%error, "faults are not written down");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

async fn damage(State(faults): State<Arc<Faults>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let digest = path.rsplit_once("/blobs/").map(|(_, digest)| digest);
    let hit = digest.is_some_and(|digest| faults.damaged().contains(digest));
    let response = next.run(request).await;
    if !hit || !response.status().is_success() {
        return response;
    }
    response.map(|body| {
        let mut first = true;
        let turned = body.into_data_stream().map(move |part| {
            part.map(|bytes| {
                let mut bytes = bytes.to_vec();
                if let Some(byte) = bytes.last_mut().filter(|_| std::mem::take(&mut first)) {
                    *byte ^= 1;
                }
                Bytes::from(bytes)
            })
        });
        Body::from_stream(turned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    async fn ask(router: &Router, method: Method, path: &str, token: &str) -> (StatusCode, Bytes) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Body::empty())
            .unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        (
            status,
            response.into_body().collect().await.unwrap().to_bytes(),
        )
    }

    #[tokio::test]
    async fn a_blob_is_damaged_until_it_is_healed_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let start = || {
            let registry =
                Router::new().route("/v2/hello/blobs/{digest}", get(|| async { "data" }));
            guard(registry, dir.path().join("faults.json"), "secret")
        };
        let (router, blob) = (start(), "/v2/hello/blobs/sha256:a");
        let fault = "/devops-lab/faults/sha256:a";
        assert_eq!(ask(&router, Method::GET, blob, "").await.1, "data");
        let refused = ask(&router, Method::PUT, fault, "guess").await.0;
        assert_eq!(refused, StatusCode::UNAUTHORIZED);
        let done = ask(&router, Method::PUT, fault, "secret").await.0;
        assert_eq!(done, StatusCode::NO_CONTENT);
        let router = start();
        assert_eq!(ask(&router, Method::GET, blob, "").await.1, "dat`");
        let other = ask(&router, Method::GET, "/v2/hello/blobs/sha256:b", "");
        assert_eq!(other.await.1, "data");
        ask(&router, Method::DELETE, fault, "secret").await;
        assert_eq!(ask(&router, Method::GET, blob, "").await.1, "data");
    }
}
