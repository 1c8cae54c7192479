//! The first objects of a cluster.

use bytes::Bytes;
use serde_json::json;

use crate::body::Parsed;
use crate::error::ApiError;
use crate::query::{FieldValidation, WriteOptions};
use crate::server::Server;
use crate::write::{self, Target};

/// Namespaces that exist before anybody creates one.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/#initial-namespaces>
const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// Creates what is missing, so it may run at every start.
pub(crate) async fn ensure_namespaces(server: &Server) -> Result<(), ApiError> {
    let definition = server.catalog.find("", "v1", "namespaces");
    let definition = definition.ok_or(ApiError::NoSuchPath)?;
    let options = WriteOptions {
        dry_run: false,
        field_validation: FieldValidation::Strict,
        field_manager: None,
    };
    for name in NAMESPACES {
        let target = Target {
            definition,
            namespace: None,
            name: Some(name),
        };
        let body = Parsed {
            value: json!({ "metadata": { "name": name } }),
            duplicates: Vec::new(),
        };
        match write::create(server, &target, body, &options).await {
            Ok(write::Written { bytes, .. }) => log_created(name, &bytes),
            Err(ApiError::AlreadyExists(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn log_created(name: &str, bytes: &Bytes) {
    tracing::debug!(namespace = name, size_bytes = bytes.len(), "created");
}
