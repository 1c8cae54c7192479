//! Asking a cluster's registry for what the OCI specification has no words for.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;

use crate::record::Record;

/// What a garbage collection did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
pub struct Collected {
    /// Blobs removed.
    pub blobs_removed: u64,
    /// Bytes freed.
    pub bytes_freed: u64,
    /// Blobs that stay.
    pub kept: u64,
}

/// Makes sure that the registry on the cluster's port is the cluster's: an image must not be
/// pushed to a stranger that took the port while the cluster was away.
///
/// # Errors
/// Where nobody answers, or somebody else.
pub async fn verify(record: &Record) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Identity {
        cluster: String,
    }
    let port = record.ports.registry;
    let name = &record.name;
    let body = request(record, http::Method::GET, "/devops-lab/identity")
        .await
        .with_context(|| format!("the registry of cluster {name:?} does not answer on 127.0.0.1:{port}; start it: devops-lab start --name {name}"))?;
    match serde_json::from_slice::<Identity>(&body) {
        Ok(identity) if identity.cluster == *name => Ok(()),
        Ok(identity) => bail!(
            "the registry on 127.0.0.1:{port} belongs to cluster {:?}, not {name:?}",
            identity.cluster
        ),
        Err(_) => bail!(
            "127.0.0.1:{port} is answered by another program than the registry of cluster {name:?}; `ss -ltnp 'sport = :{port}'` shows which"
        ),
    }
}

/// Removes image data that no tag leads to. What is younger than the grace period stays, because
/// it may belong to a push that goes on; the registry has one of its own where none is given.
///
/// # Errors
/// Where the registry does not answer or its disk fails.
pub async fn collect_garbage(
    record: &Record,
    dry_run: bool,
    grace_seconds: Option<u64>,
) -> anyhow::Result<Collected> {
    verify(record).await?;
    let grace = grace_seconds
        .map(|seconds| format!("&grace_seconds={seconds}"))
        .unwrap_or_default();
    let path = format!("/devops-lab/gc?dry_run={dry_run}{grace}");
    let body = request(record, http::Method::POST, &path).await?;
    serde_json::from_slice(&body)
        .with_context(|| format!("the registry answered {:?}", String::from_utf8_lossy(&body)))
}

/// Lets the registry hand out a blob damaged, or whole again.
///
/// # Errors
/// Where the registry does not answer or refuses.
pub async fn corrupt(record: &Record, digest: &str, damaged: bool) -> anyhow::Result<()> {
    let path = format!("/devops-lab/faults/{digest}");
    administer(record, damaged, &path, Bytes::new()).await
}

/// Lets the registry ask another one, at `HOST:PORT`, for images that it does not have, or none.
///
/// # Errors
/// Where the registry does not answer or refuses.
pub async fn set_upstream(record: &Record, address: Option<&str>) -> anyhow::Result<()> {
    let body = Bytes::from(address.unwrap_or_default().to_owned());
    administer(record, address.is_some(), "/devops-lab/upstream", body).await
}

/// `PUT`s something with the administrator's token, or `DELETE`s it.
async fn administer(record: &Record, put: bool, path: &str, body: Bytes) -> anyhow::Result<()> {
    verify(record).await?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let port = record.ports.registry;
    let method = if put {
        http::Method::PUT
    } else {
        http::Method::DELETE
    };
    let request = http::Request::builder()
        .method(method)
        .uri(format!("http://127.0.0.1:{port}{path}"))
        .header(
            http::header::AUTHORIZATION,
            format!("Bearer {}", record.token),
        )
        .body(Full::new(body))?;
    let status = client.request(request).await?.status();
    if !status.is_success() {
        bail!("the registry refused: {status}");
    }
    Ok(())
}

async fn request(record: &Record, method: http::Method, path: &str) -> anyhow::Result<Bytes> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let uri = format!("http://127.0.0.1:{}{path}", record.ports.registry);
    let request = http::Request::builder()
        .method(method)
        .uri(uri)
        .body(Empty::new())?;
    let response = client.request(request).await?;
    Ok(response.into_body().collect().await?.to_bytes())
}
