//! Answers to `kubectl auth can-i` and `kubectl auth whoami`.
//!
//! The server has no users of different rights: whoever was let in by the guard around the
//! router may do everything, and is told so. The question is therefore not even read.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access>

use axum::Router;
use axum::response::Response;
use axum::routing::post;
use http::StatusCode;
use serde_json::{Value, json};

use crate::respond;

/// Who everybody is, in Kubernetes' name for those who may do everything.
const GROUPS: [&str; 2] = ["system:masters", "system:authenticated"];

/// The paths of the reviews.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route(
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            post(async || answer(&access())),
        )
        .route(
            "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
            post(async || answer(&rules())),
        )
        .route(
            "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            post(async || answer(&identity())),
        )
}

fn answer(review: &Value) -> Response {
    respond::json(StatusCode::CREATED, review.to_string())
}

fn access() -> Value {
    json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "metadata": {},
        "spec": {},
        "status": { "allowed": true },
    })
}

fn rules() -> Value {
    json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "metadata": {},
        "spec": {},
        "status": {
            "resourceRules": [{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }],
            "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
            "incomplete": false,
        },
    })
}

fn identity() -> Value {
    json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "SelfSubjectReview",
        "metadata": {},
        "status": { "userInfo": { "username": "devops-lab", "groups": GROUPS } },
    })
}
