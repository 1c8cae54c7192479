//! A registry that asks the class for images it does not have, and keeps them.
//!
//! `PUT` and `DELETE /devops-lab/upstream`, with the administrator's token, say which registry is
//! asked (`HOST:PORT`); it lies in the registry's own directory, so that a restart keeps it.
//!
//! Only who pulls to run is helped: requests with `Cache-Control: only-if-cached`, which this
//! program's checks and lists send, see what the cluster has itself. Else a check might take the
//! class's image for the student's.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::put;
use lab_image::client::{ClientError, RegistryClient};
use lab_image::spec;
use tokio::time::Instant;

use crate::record::write_atomically;

/// How long a class that does not answer is left alone.
const REST: Duration = Duration::from_secs(30);
/// Longest address.
const ADDRESS_MAX: usize = 300;

struct Upstream {
    path: PathBuf,
    authorization: String,
    address: Mutex<Option<String>>,
    /// The registry itself, by its own door: what is pushed there is verified and kept in order.
    own: RegistryClient,
    under_way: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    silent_since: Mutex<Option<Instant>>,
}

/// Puts the upstream behind the router of the registry that listens on `port`.
pub(super) fn guard(registry: Router, path: PathBuf, token: &str, port: u16) -> Router {
    let address = std::fs::read_to_string(&path).ok();
    let upstream = Arc::new(Upstream {
        path,
        authorization: format!("Bearer {token}"),
        address: Mutex::new(address.filter(|address| !address.is_empty())),
        own: RegistryClient::new(&format!("127.0.0.1:{port}")),
        under_way: Mutex::default(),
        silent_since: Mutex::default(),
    });
    let admin = Router::new()
        .route("/devops-lab/upstream", put(change).delete(change))
        .with_state(Arc::clone(&upstream));
    registry
        .layer(from_fn_with_state(upstream, pull_through))
        .merge(admin)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn change(State(upstream): State<Arc<Upstream>>, request: Request) -> StatusCode {
    let given = request.headers().get(header::AUTHORIZATION);
    if given.and_then(|value| value.to_str().ok()) != Some(upstream.authorization.as_str()) {
        return StatusCode::UNAUTHORIZED;
    }
    let told = request.method() == Method::PUT;
    let Ok(body) = to_bytes(request.into_body(), ADDRESS_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE;
    };
    let address = String::from_utf8_lossy(&body).into_owned();
    if told && address.parse::<axum::http::uri::Authority>().is_err() {
        return StatusCode::BAD_REQUEST;
    }
    let address = Some(address).filter(|_| told);
    let text = address.as_deref().unwrap_or_default();
    if let Err(error) = write_atomically(&upstream.path, text.as_bytes(), 0o600) {
        tracing::error!(%error, "the class's address is not written down");
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    *lock(&upstream.address) = address;
    *lock(&upstream.silent_since) = None;
    StatusCode::NO_CONTENT
}

async fn pull_through(
    State(upstream): State<Arc<Upstream>>,
    request: Request,
    next: Next,
) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let cached = request.headers().get_all(header::CACHE_CONTROL).iter();
    let cached = cached
        .into_iter()
        .any(|it| it.as_bytes() == b"only-if-cached");
    let wanted = match image_of(request.uri().path()) {
        Some((repository, reference)) if reads && !cached => {
            (repository.to_owned(), reference.to_owned())
        }
        _ => return next.run(request).await,
    };
    let address = lock(&upstream.address).clone();
    let (parts, _) = request.into_parts();
    let again = Request::from_parts(parts.clone(), Body::empty());
    let answer = next
        .clone()
        .run(Request::from_parts(parts, Body::empty()))
        .await;
    let (Some(address), StatusCode::NOT_FOUND) = (address, answer.status()) else {
        return answer;
    };
    let (repository, reference) = wanted;
    match upstream.bring(&address, &repository, &reference).await {
        Ok(true) => next.run(again).await,
        Ok(false) => answer,
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                %repository, %reference, class = %address,
                "the class's image did not come"
            );
            answer
        }
    }
}

/// Repository and reference of the manifest that a path asks for.
fn image_of(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix("/v2/")?.rsplit_once("/manifests/")
}

impl Upstream {
    /// Copies an image from the class, once however many ask for it at the same time; false where
    /// the class does not have it.
    async fn bring(
        &self,
        address: &str,
        repository: &str,
        reference: &str,
    ) -> Result<bool, ClientError> {
        let key = format!("{repository} {reference}");
        let turn = Arc::clone(lock(&self.under_way).entry(key.clone()).or_default());
        let outcome = {
            let _turn = turn.lock().await;
            // Whoever had the turn before may have brought it.
            match self.own.manifest(repository, reference).await {
                Ok(_) => Ok(true),
                Err(_) => self.copy(address, repository, reference).await,
            }
        };
        let mut under_way = lock(&self.under_way);
        // This one and the map's.
        if Arc::strong_count(&turn) <= 2 {
            under_way.remove(&key);
        }
        outcome
    }

    async fn copy(
        &self,
        address: &str,
        repository: &str,
        reference: &str,
    ) -> Result<bool, ClientError> {
        let silent = *lock(&self.silent_since);
        if silent.is_some_and(|since| since.elapsed() < REST) {
            return Ok(false);
        }
        let class = RegistryClient::new(address);
        let (fetched, manifest) = match class.image_manifest(repository, reference).await {
            Ok(found) => found,
            Err(ClientError::NotFound { .. }) => return Ok(false),
            Err(error) => {
                if matches!(
                    error,
                    ClientError::Connect { .. } | ClientError::Timeout { .. }
                ) {
                    *lock(&self.silent_since) = Some(Instant::now());
                }
                return Err(error);
            }
        };
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            if !self.own.has_blob(repository, &blob.digest).await? {
                let content = class.blob(repository, blob).await?;
                self.own.push_blob(repository, blob, content).await?;
            }
        }
        let kind = match fetched.media_type.as_str() {
            "" => spec::MANIFEST,
            kind => kind,
        };
        let content = fetched.content.clone();
        self.own
            .push_manifest(repository, reference, kind, content)
            .await?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::middleware::from_fn;
    use bytes::Bytes;
    use futures::StreamExt as _;
    use lab_image::Digest;
    use lab_image::spec::{Descriptor, ImageConfig, Manifest};
    use tokio::net::TcpListener;

    use super::*;

    /// A registry on a socket.
    async fn serve(listener: TcpListener, router: Router) {
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    async fn bound() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (listener, address)
    }

    /// A student's registry whose class is at `class`.
    async fn student(dir: &std::path::Path, class: &str) -> RegistryClient {
        let registry = lab_registry::Registry::open(dir).unwrap();
        let (listener, address) = bound().await;
        let port = listener.local_addr().unwrap().port();
        std::fs::write(dir.join("upstream"), class).unwrap();
        serve(
            listener,
            guard(registry.router(), dir.join("upstream"), "secret", port),
        )
        .await;
        RegistryClient::new(&address).pulling_through()
    }

    /// Pushes an image with this layer.
    async fn push(client: &RegistryClient, layer: &'static [u8]) {
        let config = serde_json::to_vec(&ImageConfig::scratch()).unwrap();
        let blob = |kind: &str, content: &[u8]| {
            Descriptor::new(kind, Digest::of(content), content.len() as u64)
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(spec::MANIFEST.into()),
            config: blob(spec::CONFIG, &config),
            layers: vec![blob(spec::LAYER_TAR, layer)],
            annotations: Default::default(),
        };
        for (descriptor, content) in [
            (&manifest.config, Bytes::from(config)),
            (&manifest.layers[0], Bytes::from_static(layer)),
        ] {
            let content = futures::stream::iter([Ok(content)]).boxed();
            client
                .push_blob("hello", descriptor, content)
                .await
                .unwrap();
        }
        let content = Bytes::from(serde_json::to_vec(&manifest).unwrap());
        client
            .push_manifest("hello", "1.0.0", spec::MANIFEST, content)
            .await
            .unwrap();
    }

    /// The class's registry; counts requests for blobs, and spoils layers where it is to.
    async fn class(dir: &std::path::Path, spoils: bool) -> (String, Arc<AtomicUsize>) {
        let blobs = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&blobs);
        let registry = lab_registry::Registry::open(dir).unwrap();
        let router = registry
            .router()
            .layer(from_fn(move |request: Request, next: Next| {
                let asked =
                    request.method() == Method::GET && request.uri().path().contains("/blobs/");
                let count = Arc::clone(&count);
                async move {
                    let answer = next.run(request).await;
                    if !asked {
                        return answer;
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                    if !spoils {
                        return answer;
                    }
                    let (parts, body) = answer.into_parts();
                    let mut bytes = to_bytes(body, 1 << 20).await.unwrap().to_vec();
                    bytes[0] ^= 1;
                    Response::from_parts(parts, Body::from(bytes))
                }
            }));
        let (listener, address) = bound().await;
        serve(listener, router).await;
        push(&RegistryClient::new(&address), b"a layer of the class").await;
        (address, blobs)
    }

    #[tokio::test]
    async fn a_missing_image_comes_from_the_class_once_and_stays() {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (class, blobs) = class(theirs.path(), false).await;
        let student = student(ours.path(), &class).await;
        let mut pulls = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let student = student.clone();
            pulls.spawn(async move { student.image_manifest("hello", "1.0.0").await });
        }
        let mut layer = None;
        while let Some(pulled) = pulls.join_next().await {
            layer = pulled.unwrap().unwrap().1.layers.pop();
        }
        assert_eq!(
            blobs.load(Ordering::Relaxed),
            2,
            "a layer and a configuration, once each"
        );
        let layer = student.blob_bytes("hello", &layer.unwrap()).await.unwrap();
        assert_eq!(&layer[..], b"a layer of the class");
        assert_eq!(student.tags("hello").await.unwrap(), ["1.0.0"]);
    }

    #[tokio::test]
    async fn checks_see_what_the_cluster_has_itself() {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (class, _) = class(theirs.path(), false).await;
        let student = student(ours.path(), &class).await;
        let check = RegistryClient::new(student.host());
        let found = check.image_manifest("hello", "1.0.0").await;
        assert!(
            matches!(found, Err(ClientError::NotFound { .. })),
            "{found:?}"
        );
        student.image_manifest("hello", "1.0.0").await.unwrap();
        check.image_manifest("hello", "1.0.0").await.unwrap();
    }

    #[tokio::test]
    async fn what_comes_damaged_is_not_kept() {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (class, _) = class(theirs.path(), true).await;
        let student = student(ours.path(), &class).await;
        let found = student.image_manifest("hello", "1.0.0").await;
        assert!(
            matches!(found, Err(ClientError::NotFound { .. })),
            "{found:?}"
        );
        assert!(student.catalog().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn without_a_class_or_with_one_that_is_away_an_image_is_missing() {
        let ours = tempfile::tempdir().unwrap();
        for class in ["", "127.0.0.1:1"] {
            let student = student(ours.path(), class).await;
            let found = student.image_manifest("hello", "1.0.0").await;
            assert!(
                matches!(found, Err(ClientError::NotFound { .. })),
                "{class}: {found:?}"
            );
        }
    }
}
