//! Every check, one file each.
//!
//! To add one: write its file, with a table of near misses that must not pass, and its line in
//! [`ALL`]. Each file reads first, then judges in a pure function.

use std::future::Future;

use futures::future::BoxFuture;
use futures::{FutureExt, future};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::outcome::Outcome;

mod deployment_available;
mod http_responds;
mod image_in_registry;
mod nodes_ready;
mod pod_replaced;
mod route_attached;
mod service_reaches_pods;

/// Every check, by code.
pub const ALL: &[CheckDef] = &[
    nodes_ready::DEF,
    image_in_registry::DEF,
    deployment_available::DEF,
    service_reaches_pods::DEF,
    route_attached::DEF,
    http_responds::DEF,
    pod_replaced::DEF,
];

/// A check that labs can use.
#[derive(Clone, Copy)]
pub struct CheckDef {
    /// Stable code, never given to another check.
    pub code: &'static str,
    /// The name in `use:`, which is the claim it verifies.
    pub name: &'static str,
    /// What it verifies and which parameters it takes, in Markdown.
    pub help: &'static str,
    /// Whether these parameters can be read; the error names the field.
    pub accepts: fn(&Value) -> Result<(), serde_json::Error>,
    /// Runs it. `Err` is "could not run".
    pub run: fn(CheckContext, &Value) -> BoxFuture<'static, Result<Outcome, Diagnosis>>,
}

/// The check of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static CheckDef> {
    ALL.iter().find(|check| check.name == name)
}

/// For [`CheckDef::accepts`].
fn accepts<W: DeserializeOwned>(with: &Value) -> Result<(), serde_json::Error> {
    W::deserialize(with).map(drop)
}

/// For [`CheckDef::run`]: reads the parameters, then runs.
fn start<W, F>(
    name: &'static str,
    check: fn(CheckContext, W) -> F,
    context: CheckContext,
    with: &Value,
) -> BoxFuture<'static, Result<Outcome, Diagnosis>>
where
    W: DeserializeOwned,
    F: Future<Output = Result<Outcome, Diagnosis>> + Send + 'static,
{
    match W::deserialize(&context.addresses.fill_value(with)) {
        Ok(with) => check(context, with).boxed(),
        Err(error) => {
            let (check, problem) = (name.to_owned(), error.to_string());
            future::ready(Err(Diagnosis::BadParameters { check, problem })).boxed()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_and_names_are_unique() {
        let codes: HashSet<_> = ALL.iter().map(|check| check.code).collect();
        let names: HashSet<_> = ALL.iter().map(|check| check.name).collect();
        assert_eq!((codes.len(), names.len()), (ALL.len(), ALL.len()));
    }

    #[test]
    fn a_misspelt_parameter_is_refused_by_every_check() {
        for check in ALL {
            let error = (check.accepts)(&serde_json::json!({"replcas": 3}))
                .unwrap_err()
                .to_string();
            assert!(error.contains("replcas"), "{}: {error}", check.name);
        }
    }
}
