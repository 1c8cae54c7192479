//! Everything that can go wrong with a request, and the only place where that becomes HTTP.
//!
//! Clients act on `code`, `reason` and `details`, and people read `message`, so all four are
//! those of kube-apiserver:
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>.

use std::fmt;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use lab_store::{StorageError, WriteError};
use serde_json::{Value, json};

use crate::validation::FieldError;

/// What a refusal is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    /// API group; empty for core.
    pub(crate) group: String,
    /// Plural of the resource.
    pub(crate) plural: String,
    /// Kind, which `Invalid` shows instead of the plural.
    pub(crate) kind: String,
    /// Name of the object; may be empty.
    pub(crate) name: String,
}

impl Subject {
    /// An object of a kind that has no path of its own, such as the options of a request.
    pub(crate) fn of_kind(group: &str, kind: &str, name: &str) -> Box<Self> {
        Box::new(Self {
            group: group.to_owned(),
            plural: String::new(),
            kind: kind.to_owned(),
            name: name.to_owned(),
        })
    }

    fn resource(&self) -> String {
        with_group(&self.plural, &self.group)
    }

    fn qualified_kind(&self) -> String {
        with_group(&self.kind, &self.group)
    }
}

/// `deployments.apps "web"`
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\"", self.resource(), self.name)
    }
}

fn with_group(what: &str, group: &str) -> String {
    if group.is_empty() {
        what.to_owned()
    } else {
        format!("{what}.{group}")
    }
}

/// Why a request was refused or failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The object does not exist.
    #[error("{0} not found")]
    NotFound(Box<Subject>),
    /// No such path, or no such kind.
    #[error("the server could not find the requested resource")]
    NoSuchPath,
    /// The name is taken.
    #[error("{0} already exists")]
    AlreadyExists(Box<Subject>),
    /// The object is not in the state that the writer assumed.
    #[error("Operation cannot be fulfilled on {0}: {1}")]
    Conflict(Box<Subject>, String),
    /// The object breaks rules of its kind.
    #[error("{} \"{}\" is invalid: {}", .0.qualified_kind(), .0.name, join(.1))]
    Invalid(Box<Subject>, Vec<FieldError>),
    /// A patch that is well-formed but cannot be carried out.
    #[error("the server rejected our request due to an error in our request")]
    UnusablePatch(String),
    /// The request makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// A rule of the cluster forbids it. The cause names the rule, if it has a name.
    #[error("{0} is forbidden: {1}")]
    Forbidden(Box<Subject>, String, Option<Box<Cause>>),
    /// A disruption budget forbids it for now, or the server is busy.
    #[error("{0}")]
    #[expect(dead_code, reason = "PodDisruptionBudget will answer with it")]
    TooManyRequests(String),
    /// The revision asked for is no longer known.
    #[error("{0}")]
    Expired(String),
    /// The revision asked for does not exist yet.
    #[error("Too large resource version: {asked}, current: {current}")]
    FutureRevision {
        /// What the client knows.
        asked: u64,
        /// What the server knows.
        current: u64,
    },
    /// The path exists and does not take this verb.
    #[error("the server does not allow this method on the requested resource")]
    MethodNotAllowed,
    /// A body in a format that the server does not read.
    #[error("{0}")]
    UnsupportedMediaType(String),
    /// A body larger than the server accepts.
    #[error("Request entity too large: limit is {limit_bytes}")]
    TooLarge {
        /// The most that is accepted.
        limit_bytes: usize,
    },
    /// Part of Kubernetes that this server does not have.
    #[error("{0}")]
    NotImplemented(String),
    /// The disk refused the write; nothing was changed.
    #[error("Internal error occurred: {}", storage_text(.0))]
    Storage(#[source] StorageError),
    /// The server, or something behind it, failed.
    #[error("Internal error occurred: {0}")]
    Internal(String),
}

/// A machine-readable part of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    /// Code of the cause.
    pub(crate) reason: String,
    /// For people.
    pub(crate) message: String,
    /// Dotted path; empty where no field is concerned.
    pub(crate) field: String,
}

fn join(errors: &[FieldError]) -> String {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    match texts.as_slice() {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}

fn storage_text(error: &StorageError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl ApiError {
    /// A failed write to the store, about `subject`.
    pub(crate) fn from_write(error: WriteError, subject: Box<Subject>) -> Self {
        match error {
            WriteError::NotFound => Self::NotFound(subject),
            WriteError::AlreadyExists => Self::AlreadyExists(subject),
            WriteError::Conflict { current: None } => Self::NotFound(subject),
            WriteError::Conflict { current: Some(_) } => Self::modified(subject),
            WriteError::Storage(error) => Self::Storage(error),
            WriteError::Closed => Self::Internal("the cluster is shutting down".to_owned()),
        }
    }

    /// The conflict that every client knows how to handle: read again and retry.
    pub(crate) fn modified(subject: Box<Subject>) -> Self {
        let advice = "the object has been modified; please apply your changes to the latest version and try again";
        Self::Conflict(subject, advice.to_owned())
    }

    fn code_and_reason(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound(_) | Self::NoSuchPath => (StatusCode::NOT_FOUND, "NotFound"),
            Self::AlreadyExists(_) => (StatusCode::CONFLICT, "AlreadyExists"),
            Self::Conflict(..) => (StatusCode::CONFLICT, "Conflict"),
            Self::Invalid(..) | Self::UnusablePatch(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "Invalid")
            }
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "BadRequest"),
            Self::Forbidden(..) => (StatusCode::FORBIDDEN, "Forbidden"),
            Self::TooManyRequests(_) => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
            Self::Expired(_) => (StatusCode::GONE, "Expired"),
            Self::FutureRevision { .. } => (StatusCode::GATEWAY_TIMEOUT, "Timeout"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
            Self::UnsupportedMediaType(_) => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType")
            }
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge"),
            Self::NotImplemented(_) => (StatusCode::NOT_IMPLEMENTED, "NotImplemented"),
            Self::Storage(_) | Self::Internal(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
            }
        }
    }

    fn details(&self) -> Option<Value> {
        match self {
            Self::NotFound(subject) | Self::AlreadyExists(subject) | Self::Conflict(subject, _) => {
                Some(details(subject, &subject.plural, &[]))
            }
            Self::Forbidden(subject, _, cause) => Some(details(
                subject,
                &subject.plural,
                cause.as_deref().map_or(&[], std::slice::from_ref),
            )),
            Self::Invalid(subject, errors) => {
                let causes: Vec<Cause> = errors.iter().map(field_cause).collect();
                Some(details(subject, &subject.kind, &causes))
            }
            Self::UnusablePatch(message) => Some(causes_only("UnexpectedServerResponse", message)),
            Self::FutureRevision { .. } => {
                let mut details =
                    causes_only("ResourceVersionTooLarge", "Too large resource version");
                details["retryAfterSeconds"] = json!(1);
                Some(details)
            }
            Self::NoSuchPath
            | Self::MethodNotAllowed
            | Self::BadRequest(_)
            | Self::TooManyRequests(_)
            | Self::Expired(_)
            | Self::UnsupportedMediaType(_)
            | Self::TooLarge { .. }
            | Self::NotImplemented(_)
            | Self::Storage(_)
            | Self::Internal(_) => None,
        }
    }

    /// The error as a Status object.
    pub(crate) fn status(&self) -> Value {
        let (code, reason) = self.code_and_reason();
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.to_string(),
            "reason": reason,
            "code": code.as_u16(),
        });
        if let Some(details) = self.details() {
            status["details"] = details;
        }
        status
    }
}

fn field_cause(error: &FieldError) -> Cause {
    Cause {
        reason: error.cause_reason().to_owned(),
        message: error.message(),
        field: error.field.clone(),
    }
}

/// `kind` is the plural, except for `Invalid`, where it is the kind.
fn details(subject: &Subject, kind: &str, causes: &[Cause]) -> Value {
    let mut details = json!({});
    for (key, value) in [
        ("name", subject.name.as_str()),
        ("group", subject.group.as_str()),
        ("kind", kind),
    ] {
        if !value.is_empty() {
            details[key] = json!(value);
        }
    }
    if !causes.is_empty() {
        details["causes"] = causes.iter().map(cause_json).collect();
    }
    details
}

fn cause_json(cause: &Cause) -> Value {
    let mut json = json!({ "reason": cause.reason, "message": cause.message });
    if !cause.field.is_empty() {
        json["field"] = json!(cause.field);
    }
    json
}

fn causes_only(reason: &str, message: &str) -> Value {
    json!({ "causes": [{ "reason": reason, "message": message }] })
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (code, _) = self.code_and_reason();
        if code.is_server_error() {
            tracing::warn!(%code, error = %self, "request failed");
        }
        let mut response = (code, self.status().to_string()).into_response();
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment() -> Box<Subject> {
        Box::new(Subject {
            group: "apps".into(),
            plural: "deployments".into(),
            kind: "Deployment".into(),
            name: "web".into(),
        })
    }

    #[track_caller]
    fn case(error: &ApiError, code: u16, reason: &str, message: &str, details: &Value) {
        let status = error.status();
        assert_eq!(status["code"], code);
        assert_eq!(status["reason"], reason);
        assert_eq!(status["message"], message);
        assert_eq!(status.get("details").unwrap_or(&Value::Null), details);
    }

    #[test]
    fn errors_read_as_kube_apiserver_writes_them() {
        let plain = json!({"name": "web", "group": "apps", "kind": "deployments"});
        case(
            &ApiError::NotFound(deployment()),
            404,
            "NotFound",
            "deployments.apps \"web\" not found",
            &plain,
        );
        case(
            &ApiError::AlreadyExists(deployment()),
            409,
            "AlreadyExists",
            "deployments.apps \"web\" already exists",
            &plain,
        );
        case(
            &ApiError::modified(deployment()),
            409,
            "Conflict",
            "Operation cannot be fulfilled on deployments.apps \"web\": the object has been modified; please apply your changes to the latest version and try again",
            &plain,
        );
        case(
            &ApiError::NoSuchPath,
            404,
            "NotFound",
            "the server could not find the requested resource",
            &Value::Null,
        );
    }

    #[test]
    fn an_invalid_object_lists_its_causes_under_the_kind() {
        let rule = "must be greater than or equal to 0";
        let errors = vec![FieldError::invalid("spec.replicas", -1, rule)];
        case(
            &ApiError::Invalid(deployment(), errors.clone()),
            422,
            "Invalid",
            "Deployment.apps \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            &json!({"name": "web", "group": "apps", "kind": "Deployment", "causes": [{
                "reason": "FieldValueInvalid",
                "message": "Invalid value: -1: must be greater than or equal to 0",
                "field": "spec.replicas",
            }]}),
        );
        let two = ApiError::Invalid(deployment(), [errors.clone(), errors].concat());
        assert!(
            two.to_string()
                .contains("is invalid: [spec.replicas: Invalid value")
        );
    }
}
