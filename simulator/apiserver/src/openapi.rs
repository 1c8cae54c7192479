//! OpenAPI documents, as little of them as kubectl needs.
//!
//! kubectl looks for a PATCH operation of the kind with a parameter `fieldValidation`; finding
//! it, it leaves validation to the server. `requestBody` is left out on purpose: with it,
//! kubectl would compute patches from schemas that are not there.
//! <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-v3>

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use lab_api::hash::fnv32a;
use serde_json::{Map, Value, json};

use crate::error::ApiError;
use crate::legacy_autoscaling;
use crate::resources::ResourceDef;
use crate::respond;
use crate::server::Server;

/// How long a document may be kept; its address changes with its content.
const KEEP: SignedDuration = SignedDuration::from_hours(365 * 24);

/// `/openapi/v2`: a valid empty protobuf document is a body of no bytes. The form of this media
/// type with `@` is not one that clients accept in an answer.
pub(crate) async fn v2() -> Response {
    let media_type =
        HeaderValue::from_static("application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    ([(header::CONTENT_TYPE, media_type)], "").into_response()
}

/// `/openapi/v3`
pub(crate) async fn index(State(server): State<Arc<Server>>) -> Response {
    let mut paths = Map::new();
    let legacy = legacy_autoscaling::groups(&server);
    let legacy = legacy.iter().map(|(group, version, _)| (*group, *version));
    for (group, version) in server.catalog.group_versions().into_iter().chain(legacy) {
        let path = if group.is_empty() {
            format!("api/{version}")
        } else {
            format!("apis/{group}/{version}")
        };
        let hash = hash(&text(&server, group, version));
        let url = format!("/openapi/v3/{path}?hash={hash}");
        paths.insert(path, json!({ "serverRelativeURL": url }));
    }
    respond::json(StatusCode::OK, json!({ "paths": paths }).to_string())
}

/// `/openapi/v3/api/v1`
pub(crate) async fn core_document(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
) -> Response {
    answer(&server, "", "v1", &headers)
}

/// `/openapi/v3/apis/GROUP/VERSION`
pub(crate) async fn document(
    State(server): State<Arc<Server>>,
    Path((group, version)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    answer(&server, &group, &version, &headers)
}

fn answer(server: &Server, group: &str, version: &str, headers: &HeaderMap) -> Response {
    if documented(server, group, version).is_empty() {
        return ApiError::NoSuchPath.into_response();
    }
    let text = text(server, group, version);
    let tag = format!("\"{}\"", hash(&text));
    let known = headers.get(header::IF_NONE_MATCH);
    let mut response = if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        respond::json(StatusCode::OK, text)
    };
    let expires = http_date(server.context.now() + KEEP);
    for (name, value) in [
        (header::ETAG, tag),
        (header::CACHE_CONTROL, "public, immutable".to_owned()),
        (header::EXPIRES, expires),
    ] {
        let value = HeaderValue::from_str(&value).expect("digits, letters and punctuation");
        response.headers_mut().insert(name, value);
    }
    response
}

fn http_date(moment: Timestamp) -> String {
    moment.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn hash(text: &str) -> String {
    format!("{:08x}", fnv32a(text.as_bytes()))
}

/// The kinds of a group and version, also where they are another version of a stored one.
fn documented(server: &Server, group: &str, version: &str) -> Vec<Arc<ResourceDef>> {
    let stored = server.catalog.of(group, version).into_iter().cloned();
    stored
        .chain(legacy_autoscaling::definition(server, group, version))
        .collect()
}

fn text(server: &Server, group: &str, version: &str) -> String {
    let mut paths = Map::new();
    for definition in documented(server, group, version) {
        paths.insert(
            path(&definition),
            json!({ "patch": patch_operation(&definition) }),
        );
    }
    let info = json!({ "title": "Kubernetes", "version": server.version.git_version });
    json!({ "openapi": "3.0.0", "info": info, "paths": paths }).to_string()
}

fn path(definition: &ResourceDef) -> String {
    let root = if definition.group.is_empty() {
        "/api"
    } else {
        "/apis"
    };
    let namespace = if definition.is_namespaced() {
        "/namespaces/{namespace}"
    } else {
        ""
    };
    format!(
        "{root}/{}{namespace}/{}/{{name}}",
        definition.api_version(),
        definition.plural
    )
}

fn patch_operation(definition: &ResourceDef) -> Value {
    json!({
        "parameters": [{ "name": "fieldValidation", "in": "query" }],
        "x-kubernetes-group-version-kind": {
            "group": definition.group,
            "version": definition.version,
            "kind": definition.kind,
        },
    })
}
