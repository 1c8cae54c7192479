//! Answers: objects and lists in the form that the client asked for.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::stream;
use http::{HeaderValue, StatusCode, header};
use lab_store::{Entry, Revision};
use serde_json::{Value, json};

use crate::negotiate::Form;
use crate::object;
use crate::resources::ResourceDef;
use crate::server::Server;
use crate::table;

/// Size from which a list is sent in pieces, in bytes, so that a list of all pods does not
/// exist a second time in memory.
const PIECE_BYTES: usize = 256 * 1024;

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

/// Adds `Warning` headers, which kubectl prints.
/// <https://kubernetes.io/blog/2020/09/03/warnings/>
pub(crate) fn warn(mut response: Response, warnings: &[String]) -> Response {
    for warning in warnings {
        let quoted: String = warning
            .chars()
            .filter(|c| !c.is_control())
            .flat_map(|c| {
                matches!(c, '"' | '\\')
                    .then_some('\\')
                    .into_iter()
                    .chain([c])
            })
            .collect();
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}

/// One object.
pub(crate) fn one(
    server: &Server,
    definition: &ResourceDef,
    form: Form,
    status: StatusCode,
    bytes: &Bytes,
) -> Response {
    json(status, in_form(server, definition, form, bytes))
}

/// An object's bytes in another form. The plain form shares the stored bytes.
pub(crate) fn in_form(
    server: &Server,
    definition: &ResourceDef,
    form: Form,
    bytes: &Bytes,
) -> Bytes {
    match form {
        Form::Object => definition.in_version(bytes),
        Form::Metadata => text(&partial(&object::decode(bytes))),
        Form::Table(options) => {
            let object = definition.decode(bytes);
            let revision = object::meta(&object, "resourceVersion").to_owned();
            let metadata = json!({ "resourceVersion": revision });
            let objects = std::iter::once(object);
            text(&table::table(
                definition,
                options,
                &metadata,
                objects,
                server.context.now(),
            ))
        }
    }
}

fn text(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

/// The object reduced to its metadata.
pub(crate) fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object.get("metadata").cloned().unwrap_or_default(),
    })
}

/// What a list says about itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListMeta {
    /// Where a watch can go on.
    pub(crate) revision: Revision,
    /// Token of the next page.
    pub(crate) next: Option<String>,
    /// Objects after this page, where that is known.
    pub(crate) remaining: Option<usize>,
}

impl ListMeta {
    fn json(&self) -> Value {
        let mut metadata = json!({ "resourceVersion": self.revision.to_string() });
        if let Some(next) = &self.next {
            metadata["continue"] = json!(next);
        }
        if let Some(remaining) = self.remaining {
            metadata["remainingItemCount"] = json!(remaining);
        }
        metadata
    }
}

/// A list of stored objects.
pub(crate) fn list(
    server: &Server,
    definition: &Arc<ResourceDef>,
    form: Form,
    entries: Vec<Entry>,
    meta: &ListMeta,
) -> Response {
    let objects = |entries: Vec<Entry>| {
        entries
            .into_iter()
            .map(|entry| definition.decode(&entry.value))
    };
    let body = match form {
        Form::Object => return json(StatusCode::OK, spliced(definition, entries, meta)),
        Form::Metadata => {
            let items: Vec<Value> = objects(entries).map(|object| partial(&object)).collect();
            json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": meta.json(),
                "items": items,
            })
        }
        Form::Table(options) => {
            let now = server.context.now();
            table::table(definition, options, &meta.json(), objects(entries), now)
        }
    };
    json(StatusCode::OK, text(&body))
}

/// A list made by joining stored bytes, in pieces where it is long.
fn spliced(definition: &ResourceDef, mut entries: Vec<Entry>, meta: &ListMeta) -> Body {
    for entry in &mut entries {
        entry.value = definition.in_version(&entry.value);
    }
    let head = format!(
        r#"{{"kind":"{}List","apiVersion":"{}","metadata":{},"items":["#,
        definition.kind,
        definition.api_version(),
        meta.json()
    );
    let size: usize = entries.iter().map(|entry| entry.value.len() + 1).sum();
    let first = BytesMut::from(head.as_bytes());
    if size <= PIECE_BYTES {
        let mut entries = entries.into_iter().peekable();
        return Body::from(piece(first, &mut entries, usize::MAX));
    }
    let pieces = stream::unfold(
        Some((first, entries.into_iter().peekable())),
        async |state| {
            let (buffer, mut entries) = state?;
            let bytes = piece(buffer, &mut entries, PIECE_BYTES);
            let rest = entries.peek().is_some();
            let next = rest.then(|| (BytesMut::with_capacity(PIECE_BYTES), entries));
            Some((Ok::<_, std::convert::Infallible>(bytes), next))
        },
    );
    Body::from_stream(pieces)
}

fn piece(
    mut buffer: BytesMut,
    entries: &mut std::iter::Peekable<std::vec::IntoIter<Entry>>,
    limit: usize,
) -> Bytes {
    while buffer.len() < limit {
        let Some(entry) = entries.next() else { break };
        buffer.extend_from_slice(&entry.value);
        if entries.peek().is_some() {
            buffer.extend_from_slice(b",");
        }
    }
    if entries.peek().is_none() {
        buffer.extend_from_slice(b"]}");
    }
    buffer.freeze()
}

/// The Status of a request that succeeded and has no object to show.
pub(crate) fn success(status: StatusCode, details: Option<Value>) -> Response {
    let mut body = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
    });
    match details {
        Some(details) => body["details"] = details,
        // Only create-like requests have no details; upstream shows their code.
        None => body["code"] = json!(status.as_u16()),
    }
    json(status, body.to_string())
}

/// Plain text.
pub(crate) fn plain(text: &'static str) -> Response {
    text.into_response()
}
