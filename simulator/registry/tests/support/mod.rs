//! What the registry's tests share: a registry in a temporary directory, and requests to it.
#![allow(
    dead_code,
    reason = "each test program uses its own part of this module"
)]

use std::path::Path;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, Response, StatusCode};
use lab_registry::Registry;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tower::ServiceExt;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A registry whose directory goes away with it.
pub(crate) struct Lab {
    pub(crate) registry: Registry,
    pub(crate) dir: tempfile::TempDir,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .unwrap_or_else(|| panic!("no header {name}: {self:?}"))
            .to_str()
            .unwrap()
    }

    /// The specification's error code, or the empty string.
    pub(crate) fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["errors"][0]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Fails unless the answer has this status and, where not empty, this error code.
    #[track_caller]
    pub(crate) fn is(self, status: u16, code: &str) -> Self {
        let found = (self.status.as_u16(), self.code());
        assert_eq!(
            found,
            (status, code.to_owned()),
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        self
    }
}

impl Lab {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(dir.path())
            .unwrap()
            .with_cluster_name("test");
        Self { registry, dir }
    }

    /// The same directory in a new process, as far as a registry can tell.
    pub(crate) fn restarted(self) -> Self {
        let Self { registry, dir } = self;
        drop(registry);
        let registry = Registry::open(dir.path())
            .unwrap()
            .with_cluster_name("test");
        Self { registry, dir }
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        read(self.registry.router().oneshot(request).await.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub(crate) async fn push_blob(&self, name: &str, content: &[u8]) -> String {
        let digest = sha256(content);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        self.send("POST", &path, &[], content.to_vec())
            .await
            .is(201, "");
        digest
    }

    /// Pushes an image of one layer and returns its manifest's digest.
    pub(crate) async fn push_image(&self, name: &str, tag: &str, layer: &[u8]) -> String {
        let config = self
            .push_blob(name, format!("{{\"of\":\"{name}:{tag}\"}}").as_bytes())
            .await;
        let layer = self.push_blob(name, layer).await;
        self.push_manifest(name, tag, &image(&config, &[&layer]))
            .await
    }

    pub(crate) async fn push_manifest(
        &self,
        name: &str,
        reference: &str,
        manifest: &Value,
    ) -> String {
        let path = format!("/v2/{name}/manifests/{reference}");
        let media_type = manifest["mediaType"].as_str().unwrap();
        let headers = [("content-type", media_type)];
        let answer = self.send("PUT", &path, &headers, manifest.to_string());
        let answer = answer.await.is(201, "");
        answer.header("docker-content-digest").to_owned()
    }

    /// Bytes of content stored, counting every blob once.
    pub(crate) fn stored_blobs(&self) -> usize {
        files(&self.dir.path().join("blobs")).len()
    }
}

pub(crate) async fn read(response: Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

pub(crate) fn sha256(content: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(content))
}

pub(crate) fn image(config: &str, layers: &[&str]) -> Value {
    let layer = |digest: &&str| {
        json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": digest,
            "size": 1,
        })
    };
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config,
            "size": 1,
        },
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
    })
}

/// Every file below a directory, as text relative to it.
pub(crate) fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}
