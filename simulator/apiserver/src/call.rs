//! A request to a resource, taken apart.

use std::sync::Arc;

use axum::extract::Request;
use bytes::Bytes;
use http::{HeaderMap, Method, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::body::LIMIT_BYTES;
use crate::catalog::{Catalog, subresource_at};
use crate::error::{ApiError, Subject};
use crate::negotiate::{self, Form};
use crate::path;
use crate::query::Query;
use crate::resources::{ResourceDef, Subresource};

/// What is asked, of which kind and object.
pub(crate) struct Call {
    /// The kind.
    pub(crate) definition: Arc<ResourceDef>,
    /// Namespace of the path.
    pub(crate) namespace: Option<String>,
    /// Name of the path.
    pub(crate) name: Option<String>,
    /// Part of the object.
    pub(crate) subresource: Option<Subresource>,
    /// HTTP method.
    pub(crate) method: Method,
    /// Parameters.
    pub(crate) query: Query,
    /// Form of the answer.
    pub(crate) form: Form,
    /// Format of the body.
    pub(crate) content_type: Option<String>,
    /// Body.
    pub(crate) body: Bytes,
}

impl Call {
    /// Takes a request apart and reads its body.
    pub(crate) async fn read(catalog: &Catalog, request: Request) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let path = path::parse(parts.uri.path()).ok_or(ApiError::NoSuchPath)?;
        let definition = catalog
            .find(&path.group, &path.version, &path.plural)
            .ok_or(ApiError::NoSuchPath)?;
        let subresource = match &path.subresource {
            None => None,
            Some(segment) => Some(
                subresource_at(segment)
                    .filter(|part| definition.has(*part))
                    .ok_or(ApiError::NoSuchPath)?,
            ),
        };
        let through_namespace = path.namespace.is_some();
        if through_namespace != definition.is_namespaced() {
            // Namespaced kinds can be listed over all namespaces, and nothing else.
            let list_of_all = !through_namespace && path.name.is_none();
            if !list_of_all {
                return Err(ApiError::NoSuchPath);
            }
        }
        let query = Query::parse(parts.uri.query());
        Ok(Self {
            definition: Arc::clone(definition),
            namespace: path.namespace,
            name: path.name,
            subresource,
            form: negotiate::form(
                header_text(&parts.headers, header::ACCEPT).as_deref(),
                &query,
            ),
            method: parts.method,
            content_type: header_text(&parts.headers, header::CONTENT_TYPE),
            query,
            body: read_body(body).await?,
        })
    }

    /// The object's name.
    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// The object's name in the store.
    pub(crate) fn key(&self) -> String {
        self.definition.key(self.namespace.as_deref(), self.name())
    }

    /// What an error names.
    pub(crate) fn subject(&self) -> Box<Subject> {
        self.definition.subject(self.name())
    }
}

/// All values of a header, joined: `Accept` may be given more than once.
fn header_text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    let values: Vec<&str> = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}

async fn read_body(body: axum::body::Body) -> Result<Bytes, ApiError> {
    match Limited::new(body, LIMIT_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::TooLarge {
            limit_bytes: LIMIT_BYTES,
        }),
        Err(error) => Err(ApiError::BadRequest(format!(
            "the body of the request could not be read: {error}"
        ))),
    }
}
