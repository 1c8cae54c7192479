//! Every check, one file each.
//!
//! To add one: write its file, with a table of near misses that must not pass, and its line in
//! [`ALL`]. Each file reads first, then judges in a pure function.

use std::future::Future;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, future};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::context::{Addresses, CheckContext};
use crate::diagnosis::Diagnosis;
use crate::lab::{Cause, CheckUse, Question, Step};
use crate::language::Text;
use crate::outcome::Outcome;

mod alert;
mod answered;
mod autoscaled;
mod availability_held;
mod ci_run;
mod command_succeeds;
mod container_configured;
mod deployment_available;
mod dockerfile_written;
mod failures_seen;
mod file_matches;
mod git_committed;
mod http_responds;
mod image_configured;
mod image_in_registry;
mod image_tag_is_commit;
mod metric;
mod nodes_ready;
mod object_matches;
mod pod_replaced;
mod recovered_within;
mod revision_history;
mod rollout_is;
mod route_attached;
mod service_reaches_pods;
mod traffic_share;

/// Every check, by code.
pub const ALL: &[CheckDef] = &[
    nodes_ready::DEF,
    image_in_registry::DEF,
    deployment_available::DEF,
    service_reaches_pods::DEF,
    route_attached::DEF,
    http_responds::DEF,
    pod_replaced::DEF,
    object_matches::DEF,
    image_configured::DEF,
    image_tag_is_commit::DEF,
    dockerfile_written::DEF,
    file_matches::DEF,
    command_succeeds::DEF,
    answered::DEF,
    git_committed::DEF,
    revision_history::DEF,
    rollout_is::DEF,
    availability_held::DEF,
    recovered_within::DEF,
    failures_seen::DEF,
    metric::DEF,
    alert::DEF,
    traffic_share::DEF,
    container_configured::DEF,
    autoscaled::DEF,
    ci_run::DEF,
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
    /// The JSON Schema of its parameters, without references to elsewhere.
    pub schema: fn() -> Schema,
    /// Whether what a lab says can be read; the error names the field.
    pub accepts: fn(&CheckInput) -> Result<(), String>,
    /// Runs it. `Err` is "could not run".
    pub run: fn(CheckContext, CheckInput) -> BoxFuture<'static, Result<Outcome, Diagnosis>>,
}

/// What a lab tells a check.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckInput {
    /// The parameters, an object.
    pub with: Value,
    /// Causes of the lab's own, in the order in which they are tried.
    pub causes: Vec<Cause>,
    /// The questions of the step.
    pub questions: Vec<Question>,
}

impl CheckInput {
    /// What a step says to one of its checks, with the placeholders filled in.
    #[must_use]
    pub(crate) fn of(check: &CheckUse, step: &Step, addresses: &Addresses) -> Self {
        let fill = |cause: &Cause| Cause {
            id: cause.id.clone(),
            when: cause.when.as_deref().map(|when| addresses.fill(when)),
            text: Text {
                en: addresses.fill(&cause.text.en),
                fr: addresses.fill(&cause.text.fr),
            },
            look: cause.look.as_deref().map(|look| addresses.fill(look)),
        };
        Self {
            with: addresses.fill_value(&check.with),
            causes: check.causes.iter().map(fill).collect(),
            questions: step.questions.clone(),
        }
    }
}

/// The check of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static CheckDef> {
    ALL.iter().find(|check| check.name == name)
}

/// How long a check needs at most, where a lab may give it more time than others have.
pub(crate) fn needs(check: &CheckDef, input: &CheckInput) -> Duration {
    if check.code == command_succeeds::DEF.code {
        command_succeeds::needs(input)
    } else {
        Duration::ZERO
    }
}

/// For [`CheckDef::schema`].
fn schema<W: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<W>();
    // They would be those of a Rust struct.
    schema.remove("title");
    schema.remove("description");
    schema
}

/// For [`CheckDef::accepts`] of a check that names its causes itself.
fn accepts<W: DeserializeOwned + JsonSchema>(input: &CheckInput) -> Result<(), String> {
    accepts_causes::<W>(input)?;
    match input.causes.first() {
        None => Ok(()),
        Some(cause) => Err(format!(
            "it names its causes itself; {:?} would never be found",
            cause.id
        )),
    }
}

/// For [`CheckDef::accepts`] of a check that looks for causes of the lab's own.
fn accepts_causes<W: DeserializeOwned + JsonSchema>(input: &CheckInput) -> Result<(), String> {
    read::<W>(&input.with).map(drop)
}

/// Parameters that can be read one by one and still make no sense together.
trait Consistent {
    /// Says what is wrong with them.
    fn consistent(&self) -> Result<(), String>;
}

/// As [`accepts`], for parameters that must go together.
fn accepts_consistent<W: DeserializeOwned + JsonSchema + Consistent>(
    input: &CheckInput,
) -> Result<(), String> {
    accepts::<W>(input)?;
    read::<W>(&input.with)?.consistent()
}

/// The parameters of a check. One that is misspelt is told before one that is missing for it.
fn read<W: DeserializeOwned + JsonSchema>(with: &Value) -> Result<W, String> {
    W::deserialize(with).map_err(|error| unknown::<W>(with).unwrap_or_else(|| error.to_string()))
}

/// A parameter that the check does not know, and those that it does.
fn unknown<W: JsonSchema>(with: &Value) -> Option<String> {
    let schema = schema::<W>().to_value();
    let known = schema["properties"].as_object()?;
    let mut given = with.as_object()?.keys();
    let unknown = given.find(|name| !known.contains_key(*name))?;
    let known: Vec<_> = known.keys().map(|name| format!("`{name}`")).collect();
    Some(format!(
        "unknown field `{unknown}`, expected one of {}",
        known.join(", ")
    ))
}

/// For [`CheckDef::run`] of a check that needs no more than its parameters.
fn start<W, F>(
    name: &'static str,
    check: fn(CheckContext, W) -> F,
    context: CheckContext,
    input: CheckInput,
) -> BoxFuture<'static, Result<Outcome, Diagnosis>>
where
    W: DeserializeOwned + JsonSchema,
    F: Future<Output = Result<Outcome, Diagnosis>> + Send + 'static,
{
    let CheckInput { with, .. } = input;
    match read(&with) {
        Ok(with) => check(context, with).boxed(),
        Err(problem) => refuse(name, problem),
    }
}

/// As [`start`], for parameters that must go together.
fn start_consistent<W, F>(
    name: &'static str,
    check: fn(CheckContext, W) -> F,
    context: CheckContext,
    input: CheckInput,
) -> BoxFuture<'static, Result<Outcome, Diagnosis>>
where
    W: DeserializeOwned + JsonSchema + Consistent,
    F: Future<Output = Result<Outcome, Diagnosis>> + Send + 'static,
{
    let CheckInput { with, .. } = input;
    match read::<W>(&with).and_then(|with| with.consistent().map(|()| with)) {
        Ok(with) => check(context, with).boxed(),
        Err(problem) => refuse(name, problem),
    }
}

/// For [`CheckDef::run`] of a check that needs causes or questions too.
fn start_with<W, F>(
    name: &'static str,
    check: fn(CheckContext, W, CheckInput) -> F,
    context: CheckContext,
    input: CheckInput,
) -> BoxFuture<'static, Result<Outcome, Diagnosis>>
where
    W: DeserializeOwned + JsonSchema,
    F: Future<Output = Result<Outcome, Diagnosis>> + Send + 'static,
{
    match read(&input.with) {
        Ok(with) => check(context, with, input).boxed(),
        Err(problem) => refuse(name, problem),
    }
}

fn refuse(name: &'static str, problem: String) -> BoxFuture<'static, Result<Outcome, Diagnosis>> {
    future::ready(Err(bad_parameters(name)(problem))).boxed()
}

/// What is wrong with the parameters of a check, as why it could not run.
fn bad_parameters(name: &'static str) -> impl Fn(String) -> Diagnosis {
    let check = name.to_owned();
    move |problem| Diagnosis::BadParameters {
        check: check.clone(),
        problem,
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
    fn every_schema_stands_alone_and_allows_no_other_parameter() {
        for check in ALL {
            let schema = (check.schema)().to_value();
            assert_eq!(schema["type"], "object", "{}", check.name);
            assert_eq!(schema["additionalProperties"], false, "{}", check.name);
            assert!(!schema.to_string().contains("$ref"), "{}", check.name);
        }
    }

    #[test]
    fn a_misspelt_parameter_is_refused_by_every_check() {
        for check in ALL {
            let input = CheckInput {
                with: serde_json::json!({"replcas": 3}),
                ..CheckInput::default()
            };
            let error = (check.accepts)(&input).unwrap_err();
            let said = "unknown field `replcas`, expected one of `";
            assert!(error.starts_with(said), "{}: {error}", check.name);
        }
    }
}
