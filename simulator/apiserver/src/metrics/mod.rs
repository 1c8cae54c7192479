//! The metrics APIs: `metrics.k8s.io`, `custom.metrics.k8s.io` and `external.metrics.k8s.io`.
//!
//! On a real cluster they are servers of their own behind the aggregation layer
//! (metrics-server, prometheus-adapter). Nothing of them is stored: each answer joins what the
//! store knows of objects with what a source has measured.
//!
//! <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#support-for-metrics-apis>

mod custom;
mod external;
mod resource;
mod source;

use std::sync::Arc;

use axum::response::Response;
use http::{Method, Uri};
use serde_json::Value;

pub use source::{
    ExternalValue, Measured, NodeUsage, ObjectQuestion, ObjectValue, PodUsage, SeriesSource,
    SourceError, Usage, UsageSource,
};

use crate::error::{ApiError, Subject};
use crate::path;
use crate::query::Query;
use crate::server::Server;

/// Kinds that are not stored, as discovery shows them.
pub(crate) struct Virtual {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) singular: &'static str,
    pub(crate) short_names: &'static [&'static str],
    pub(crate) kind: &'static str,
    pub(crate) namespaced: bool,
    pub(crate) verbs: &'static [&'static str],
}

const READ: &[&str] = &["get", "list"];

/// Groups and versions that are served beside the catalog, each with its kinds.
pub(crate) fn groups(server: &Server) -> Vec<(&'static str, &'static str, Vec<Virtual>)> {
    let mut groups = Vec::new();
    if server.usage.get().is_some() {
        groups.push((resource::GROUP, resource::VERSION, resource::kinds()));
    }
    if server.series.get().is_some() {
        groups.push((custom::GROUP, custom::VERSION, Vec::new()));
        groups.push((external::GROUP, external::VERSION, Vec::new()));
    }
    groups
}

/// Answers a request to one of these groups; `None` where it is for another.
pub(crate) async fn answer(
    server: &Arc<Server>,
    method: &Method,
    uri: &Uri,
) -> Option<Result<Response, ApiError>> {
    let rest = uri.path().strip_prefix("/apis/")?;
    let (group, rest) = rest.split_once('/')?;
    let (version, rest) = rest.split_once('/')?;
    let known = groups(server);
    if !known
        .iter()
        .any(|known| known.0 == group && known.1 == version)
    {
        return None;
    }
    Some(read(server, method, group, rest, uri.query()).await)
}

async fn read(
    server: &Arc<Server>,
    method: &Method,
    group: &str,
    rest: &str,
    query: Option<&str>,
) -> Result<Response, ApiError> {
    if method != Method::GET {
        return Err(ApiError::MethodNotAllowed);
    }
    let segments = rest.trim_matches('/').split('/').map(path::decode);
    let question = Question {
        server,
        segments: segments
            .collect::<Option<_>>()
            .ok_or(ApiError::NoSuchPath)?,
        query: Query::parse(query),
    };
    match group {
        resource::GROUP => resource::answer(&question).await,
        custom::GROUP => custom::answer(&question).await,
        external::GROUP => external::answer(&question).await,
        _ => Err(ApiError::NoSuchPath),
    }
}

/// What is asked below the group and version.
struct Question<'a> {
    server: &'a Server,
    segments: Vec<String>,
    query: Query,
}

impl Question<'_> {
    fn path(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }
}

fn refusal(error: SourceError, group: &str, metric: &str) -> ApiError {
    match error {
        SourceError::NotFound(_) => ApiError::NotFound(Box::new(Subject {
            group: group.to_owned(),
            plural: metric.to_owned(),
            kind: String::new(),
            name: String::new(),
        })),
        SourceError::BadQuestion(text) => ApiError::BadRequest(text),
        SourceError::Failed(text) => ApiError::Internal(text),
    }
}

/// A number as a quantity: whole, or in thousandths.
fn quantity(value: f64) -> Value {
    // What is not finite is no quantity; no amount of pods would bring it to a target.
    let millis = if value.is_finite() {
        (value * 1000.0).round()
    } else {
        0.0
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "saturates, which is the intention"
    )]
    let millis = millis as i64;
    Value::String(if millis % 1000 == 0 {
        (millis / 1000).to_string()
    } else {
        format!("{millis}m")
    })
}

fn selector(query: &Query, name: &str) -> Result<lab_api::selector::Selector, ApiError> {
    lab_api::selector::Selector::parse(query.get(name).unwrap_or_default())
        .map_err(|error| ApiError::BadRequest(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_quantities() {
        assert_eq!(quantity(3.0), "3");
        assert_eq!(quantity(0.0125), "13m");
        assert_eq!(quantity(f64::NAN), "0");
    }
}
