//! `kubectl label` and `kubectl annotate`.

use serde_json::{Map, Value, json};

use super::api::{MERGE, Query};
use super::args::{Flag, switch, value};
use super::change::split;
use super::error::{Error, Result, said};
use super::print::{DRY_RUN, DryRun, Form, OUTPUT, done};
use super::select;
use super::{Call, Session};
use crate::output::line;

/// Flags of `label` and `annotate`, beside those that choose objects.
pub(super) const FLAGS: [Flag; 5] = [
    OUTPUT,
    DRY_RUN,
    switch("overwrite"),
    switch("list"),
    value("resource-version"),
];

/// `kubectl label`
pub(super) async fn label(call: Call) -> Result<()> {
    meta(
        call,
        "labels",
        "label",
        "labeled",
        "unlabeled",
        "not labeled",
    )
    .await
}

/// `kubectl annotate`
pub(super) async fn annotate(call: Call) -> Result<()> {
    meta(
        call,
        "annotations",
        "annotation",
        "annotated",
        "annotated",
        "annotated",
    )
    .await
}

async fn meta(
    call: Call,
    field: &str,
    noun: &str,
    set: &str,
    unset: &str,
    untouched: &str,
) -> Result<()> {
    let args = &call.args;
    let (form, dry_run) = (Form::of(args)?, DryRun::of(args)?);
    let (objects, pairs) = split(&args.words, true);
    if pairs.is_empty() && !args.is_set("list") {
        return Err(said(format!("at least one {noun} update is required")));
    }
    let session = Session::open(args).await?;
    let (found, mut errors) = select::find(&session, args, &objects).await?;
    for target in found {
        let present = target.object["metadata"][field]
            .as_object()
            .cloned()
            .unwrap_or_default();
        if args.is_set("list") {
            for (name, value) in &present {
                line(format_args!(
                    "{name}={}",
                    value.as_str().unwrap_or_default()
                ));
            }
            continue;
        }
        match changes(&present, &pairs, args.is_set("overwrite")) {
            Err(text) if noun == "annotation" => errors.push(said(format!(
                "--overwrite is false but found the following declared annotation(s): {text}"
            ))),
            Err(text) => errors.push(said(format!("{text}, and --overwrite is false"))),
            Ok(Changes { patch, missing }) => {
                for name in &missing {
                    line(format_args!("{noun} {name:?} not found."));
                }
                let removed = patch.values().all(Value::is_null);
                let what = match (patch.is_empty(), removed) {
                    (true, _) => untouched,
                    (false, true) => unset,
                    (false, false) => set,
                };
                let mut body = json!({"metadata": {field: patch}});
                if let Some(version) = args.value("resource-version") {
                    body["metadata"]["resourceVersion"] = version.into();
                }
                let manager = format!(
                    "kubectl-{}",
                    if noun == "label" { "label" } else { "annotate" }
                );
                let query = dry_run.query(Query::manager(&manager));
                let nothing = body["metadata"][field] == json!({});
                let changed = match dry_run {
                    DryRun::Client => Ok(target.object.clone()),
                    _ if nothing => Ok(target.object.clone()),
                    DryRun::No | DryRun::Server => {
                        session
                            .api
                            .patch(&target.path(), &query, MERGE, &body)
                            .await
                    }
                };
                match changed {
                    Ok(object) => done(&form, &target.resource, &object, &dry_run.say(what))?,
                    Err(error) => errors.push(error),
                }
            }
        }
    }
    Error::all(errors)
}

/// What labels or annotations become.
#[derive(Debug, PartialEq)]
struct Changes {
    patch: Map<String, Value>,
    missing: Vec<String>,
}

fn changes(
    present: &Map<String, Value>,
    pairs: &[(String, Option<String>)],
    overwrite: bool,
) -> std::result::Result<Changes, String> {
    let (mut patch, mut missing) = (Map::new(), Vec::new());
    for (name, value) in pairs {
        let before = present.get(name).and_then(Value::as_str);
        match (value, before) {
            (Some(value), Some(before)) if value != before && !overwrite => {
                return Err(format!("'{name}' already has a value ({before})"));
            }
            (Some(value), Some(before)) if value == before => {}
            (Some(value), _) => {
                patch.insert(name.clone(), value.as_str().into());
            }
            (None, Some(_)) => {
                patch.insert(name.clone(), Value::Null);
            }
            (None, None) => missing.push(name.clone()),
        }
    }
    Ok(Changes { patch, missing })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_there_changes_only_on_request() {
        let present = json!({"a": "1"}).as_object().cloned().unwrap();
        let pair = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
        assert_eq!(
            changes(&present, &[pair("a", Some("2"))], false),
            Err("'a' already has a value (1)".to_owned())
        );
        let changed = changes(&present, &[pair("a", Some("2")), pair("b", None)], true).unwrap();
        assert_eq!(Value::Object(changed.patch), json!({"a": "2"}));
        assert_eq!(changed.missing, ["b"]);
        let removed = changes(&present, &[pair("a", None)], false).unwrap();
        assert_eq!(Value::Object(removed.patch), json!({"a": null}));
    }
}
