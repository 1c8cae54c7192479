//! What exists: `/api`, `/apis`, `/version`.
//! <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api>
//!
//! The aggregated form answers everything in two requests. kubectl recognises it by the
//! `Content-Type`, and still reads the older lists for some commands (`drain`).

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::legacy_autoscaling;
use crate::metrics::{self, Virtual};
use crate::resources::{ResourceDef, Scope, Subresource};
use crate::respond;
use crate::server::Server;

const AGGREGATED: HeaderValue = HeaderValue::from_static(
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
);

/// Verbs of a kind, in the order of upstream's lists.
const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// `/api`
pub(crate) async fn core(State(server): State<Arc<Server>>, headers: HeaderMap) -> Response {
    if wants_aggregated(&headers) {
        return aggregated(&server, |group| group.is_empty());
    }
    let body = json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [],
    });
    respond::json(StatusCode::OK, body.to_string())
}

/// `/apis`
pub(crate) async fn groups(State(server): State<Arc<Server>>, headers: HeaderMap) -> Response {
    if wants_aggregated(&headers) {
        return aggregated(&server, |group| !group.is_empty());
    }
    let groups: Vec<Value> = group_names(&server, |group| !group.is_empty())
        .into_iter()
        .map(|group| api_group(&server, group))
        .collect();
    let body = json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups });
    respond::json(StatusCode::OK, body.to_string())
}

/// `/apis/GROUP`
pub(crate) async fn group(
    State(server): State<Arc<Server>>,
    Path(group): Path<String>,
) -> Response {
    if !group_names(&server, |name| name == group).contains(&group.as_str()) {
        return ApiError::NoSuchPath.into_response();
    }
    let mut body = api_group(&server, &group);
    body["kind"] = json!("APIGroup");
    body["apiVersion"] = json!("v1");
    respond::json(StatusCode::OK, body.to_string())
}

/// `/api/v1`
pub(crate) async fn core_resources(State(server): State<Arc<Server>>) -> Response {
    resource_list(&server, "", "v1")
}

/// `/apis/GROUP/VERSION`
pub(crate) async fn resources(
    State(server): State<Arc<Server>>,
    Path((group, version)): Path<(String, String)>,
) -> Response {
    resource_list(&server, &group, &version)
}

/// `/version`
pub(crate) async fn version(State(server): State<Arc<Server>>) -> Response {
    let version = &server.version;
    let body = json!({
        "major": version.major,
        "minor": version.minor,
        "gitVersion": version.git_version,
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, architecture()),
    });
    respond::json(StatusCode::OK, body.to_string())
}

/// The processor as Kubernetes names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn wants_aggregated(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            range.contains("as=APIGroupDiscoveryList")
                && range.contains("v=v2")
                && !range.contains("v2beta1")
        })
}

/// Groups and versions that are served without being stored, each with its kinds.
fn virtual_groups(server: &Server) -> Vec<(&'static str, &'static str, Vec<Virtual>)> {
    let mut groups = legacy_autoscaling::groups(server);
    groups.extend(metrics::groups(server));
    groups
}

/// Every group and version, stored ones first.
fn group_versions(server: &Server) -> Vec<(&str, &str)> {
    let mut all = server.catalog.group_versions();
    all.extend(
        virtual_groups(server)
            .into_iter()
            .map(|(group, version, _)| (group, version)),
    );
    all
}

/// The kinds of a group and version that are not stored; `None` where it has none such.
fn virtual_kinds(server: &Server, group: &str, version: &str) -> Option<Vec<Virtual>> {
    let mut groups = virtual_groups(server).into_iter();
    let found = groups.find(|found| found.0 == group && found.1 == version);
    found.map(|(_, _, kinds)| kinds)
}

fn group_names(server: &Server, wanted: impl Fn(&str) -> bool) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for (group, _) in group_versions(server) {
        if wanted(group) && !names.contains(&group) {
            names.push(group);
        }
    }
    names
}

fn versions<'a>(server: &'a Server, wanted: &str) -> Vec<&'a str> {
    let pairs = group_versions(server);
    let of_group = pairs.into_iter().filter(|(group, _)| *group == wanted);
    of_group.map(|(_, version)| version).collect()
}

fn aggregated(server: &Server, wanted: impl Fn(&str) -> bool) -> Response {
    let items: Vec<Value> = group_names(server, wanted)
        .into_iter()
        .map(|group| {
            let versions: Vec<Value> = versions(server, group)
                .into_iter()
                .map(|version| discovered_version(server, group, version))
                .collect();
            let metadata = if group.is_empty() {
                json!({})
            } else {
                json!({ "name": group })
            };
            json!({ "metadata": metadata, "versions": versions })
        })
        .collect();
    let body = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    });
    let mut response = respond::json(StatusCode::OK, body.to_string());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, AGGREGATED);
    response
        .headers_mut()
        .insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

fn discovered_version(server: &Server, group: &str, version: &str) -> Value {
    let definitions = server.catalog.of(group, version);
    let stored = definitions
        .into_iter()
        .map(|definition| discovered(definition));
    let others = virtual_kinds(server, group, version).unwrap_or_default();
    let resources: Vec<Value> = stored
        .chain(others.iter().map(discovered_virtual))
        .collect();
    json!({ "version": version, "freshness": "Current", "resources": resources })
}

fn discovered(definition: &ResourceDef) -> Value {
    let subresources: Vec<Value> = parts(definition)
        .into_iter()
        .map(|part| {
            json!({
                "subresource": part.path,
                "responseKind": { "group": part.group, "version": part.version, "kind": part.kind },
                "verbs": part.verbs,
            })
        })
        .collect();
    let mut resource = json!({
        "resource": definition.plural,
        "responseKind": {
            "group": definition.group,
            "version": definition.version,
            "kind": definition.kind,
        },
        "scope": match definition.scope {
            Scope::Namespaced => "Namespaced",
            Scope::Cluster => "Cluster",
        },
        "singularResource": definition.singular,
        "verbs": VERBS,
    });
    for (key, list) in [
        ("shortNames", &definition.short_names),
        ("categories", &definition.categories),
    ] {
        if !list.is_empty() {
            resource[key] = json!(list);
        }
    }
    if !subresources.is_empty() {
        resource["subresources"] = json!(subresources);
    }
    resource
}

fn discovered_virtual(kind: &Virtual) -> Value {
    json!({
        "resource": kind.plural,
        "responseKind": { "group": kind.group, "version": kind.version, "kind": kind.kind },
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "shortNames": kind.short_names,
        "verbs": kind.verbs,
    })
}

fn listed_virtual(kind: &Virtual) -> Value {
    json!({
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "shortNames": kind.short_names,
        "verbs": kind.verbs,
    })
}

fn api_group(server: &Server, group: &str) -> Value {
    let versions: Vec<Value> = versions(server, group)
        .into_iter()
        .map(|version| json!({ "groupVersion": format!("{group}/{version}"), "version": version }))
        .collect();
    json!({ "name": group, "preferredVersion": versions.first(), "versions": versions })
}

fn resource_list(server: &Server, group: &str, version: &str) -> Response {
    let definitions = server.catalog.of(group, version);
    let others = virtual_kinds(server, group, version);
    if definitions.is_empty() && others.is_none() {
        return ApiError::NoSuchPath.into_response();
    }
    let group_version = match group {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    };
    let stored = definitions
        .into_iter()
        .flat_map(|definition| listed(definition));
    let resources: Vec<Value> = stored
        .chain(others.iter().flatten().map(listed_virtual))
        .collect();
    let body = json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": resources,
    });
    respond::json(StatusCode::OK, body.to_string())
}

/// A kind and its parts in the older form.
fn listed(definition: &ResourceDef) -> Vec<Value> {
    let mut resource = json!({
        "name": definition.plural,
        "singularName": definition.singular,
        "namespaced": definition.is_namespaced(),
        "kind": definition.kind,
        "verbs": VERBS,
    });
    for (key, list) in [
        ("shortNames", &definition.short_names),
        ("categories", &definition.categories),
    ] {
        if !list.is_empty() {
            resource[key] = json!(list);
        }
    }
    let part = |part: Part| {
        let mut entry = json!({
            "name": format!("{}/{}", definition.plural, part.path),
            "singularName": "",
            "namespaced": definition.is_namespaced(),
            "kind": part.kind,
            "verbs": part.verbs,
        });
        // kubectl drain evicts only if it finds group and version of Eviction here.
        if part.group != definition.group || part.version != definition.version {
            entry["group"] = json!(part.group);
            entry["version"] = json!(part.version);
        }
        entry
    };
    let parts = parts(definition).into_iter().map(part);
    std::iter::once(resource).chain(parts).collect()
}

/// A subresource as discovery shows it.
struct Part {
    path: &'static str,
    group: String,
    version: String,
    kind: String,
    verbs: &'static [&'static str],
}

fn parts(definition: &ResourceDef) -> Vec<Part> {
    let subresources = definition.subresources.iter();
    subresources
        .flat_map(|part| parts_of(definition, *part))
        .collect()
}

fn parts_of(definition: &ResourceDef, part: Subresource) -> Vec<Part> {
    let own = |path, verbs| Part {
        path,
        group: definition.group.to_string(),
        version: definition.version.to_string(),
        kind: definition.kind.to_string(),
        verbs,
    };
    let other = |path, group: &str, kind: &str, verbs| Part {
        path,
        group: group.to_owned(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
        verbs,
    };
    match part {
        Subresource::Status => vec![own("status", &["get", "patch", "update"])],
        Subresource::Scale => vec![other(
            "scale",
            "autoscaling",
            "Scale",
            &["get", "patch", "update"],
        )],
        Subresource::Binding => vec![other("binding", "", "Binding", &["create"])],
        Subresource::Eviction => vec![other("eviction", "policy", "Eviction", &["create"])],
        Subresource::Log => vec![own("log", &["get"])],
        Subresource::Exec => vec![
            other("attach", "", "PodAttachOptions", &["create", "get"]),
            other("exec", "", "PodExecOptions", &["create", "get"]),
        ],
        Subresource::PortForward => {
            vec![other(
                "portforward",
                "",
                "PodPortForwardOptions",
                &["create", "get"],
            )]
        }
        Subresource::Finalize => vec![own("finalize", &["update"])],
        Subresource::Token => {
            vec![other(
                "token",
                "authentication.k8s.io",
                "TokenRequest",
                &["create"],
            )]
        }
    }
}
