//! `kubectl apply` and `kubectl create -f`.

use serde_json::{Value, json};

use super::api::{APPLY, MERGE, Query, STRATEGIC};
use super::args::{Args, Flag, switch, value};
use super::error::{Error, Result, said};
use super::manifest::{self, Manifest};
use super::print::{DRY_RUN, DryRun, Form, OUTPUT, compact, done};
use super::three_way::{self, LAST_APPLIED};
use super::{Call, Session};
use crate::output::note;

/// Flags of `apply`.
pub(super) const APPLY_FLAGS: [Flag; 10] = [
    value("filename").short('f'),
    switch("recursive").short('R'),
    OUTPUT,
    DRY_RUN,
    switch("server-side"),
    switch("force-conflicts"),
    value("field-manager"),
    value("validate"),
    value("selector").short('l'),
    switch("overwrite"),
];

/// Tries of a write that others come in between.
const TRIES: usize = 5;

/// `kubectl apply`
pub(super) async fn apply(call: Call) -> Result<()> {
    let args = &call.args;
    super::no_words(args)?;
    if args.value("filename").is_none() {
        return Err(said("must specify one of -f and -k"));
    }
    let (form, dry_run) = (Form::of(args)?, DryRun::of(args)?);
    let session = Session::open(args).await?;
    let (manifests, mut errors) = read(&session, args)?;
    for manifest in manifests {
        let name = &manifest.name;
        let applied = if name.is_empty() {
            Err(said("resource name may not be empty"))
        } else if args.is_set("server-side") {
            server_side(&session, args, &manifest, dry_run).await
        } else {
            one(&session, args, &manifest, dry_run).await
        };
        match applied {
            Ok((object, what)) => {
                done(&form, &manifest.resource, &object, &dry_run.say(what))?;
            }
            Err(error) => errors.push(error),
        }
    }
    Error::all(errors)
}

fn read(session: &Session, args: &Args) -> Result<(Vec<Manifest>, Vec<Error>)> {
    let api = &session.api;
    manifest::read_all(args, &session.discovery, &api.namespace, api.namespace_said)
}

/// How unknown fields are taken.
fn validation(args: &Args, query: Query) -> Query {
    let mode = match args.value("validate") {
        None | Some("strict" | "true") => "Strict",
        Some("warn") => "Warn",
        Some(_) => "Ignore",
    };
    query.with("fieldValidation", mode)
}

async fn one(
    session: &Session,
    args: &Args,
    manifest: &Manifest,
    dry_run: DryRun,
) -> Result<(Value, &'static str)> {
    let manager = args
        .value("field-manager")
        .unwrap_or("kubectl-client-side-apply");
    let query = || dry_run.query(validation(args, Query::manager(manager)));
    let source = &manifest.source;
    let modified = with_last_applied(&manifest.object);
    let path = manifest.path();
    for _ in 0..TRIES {
        let current = session.api.find(&path).await;
        let current = current.map_err(|error| {
            error.when(&format!(
                "error when retrieving current configuration of:\nResource: {:?}, from {source:?}",
                manifest.resource.plural_typed()
            ))
        })?;
        let Some(current) = current else {
            if dry_run == DryRun::Client {
                return Ok((modified, "created"));
            }
            let collection = manifest.resource.collection(Some(&manifest.namespace));
            let created = session.api.post(&collection, &query(), &modified).await;
            let created =
                created.map_err(|error| error.when(&format!("error when creating {source:?}")))?;
            return Ok((created, "created"));
        };
        let original = match current["metadata"]["annotations"][LAST_APPLIED].as_str() {
            Some(text) => serde_json::from_str(text).unwrap_or_default(),
            None => {
                let resource = &manifest.resource;
                note(format_args!(
                    "Warning: resource {}/{} is missing the {LAST_APPLIED} annotation which is required by kubectl apply. kubectl apply should only be used on resources created declaratively by either kubectl create --save-config or kubectl apply. The missing annotation will be patched automatically.",
                    resource.plural, manifest.name
                ));
                Value::Null
            }
        };
        let resource = &manifest.resource;
        let patch = three_way::patch(
            &resource.group,
            &resource.kind,
            &original,
            &modified,
            &current,
        );
        if patch == json!({}) {
            return Ok((current, "unchanged"));
        }
        if dry_run == DryRun::Client {
            return Ok((current, "configured"));
        }
        let media_type = if lab_api::merging::is_built_in(&resource.group) {
            STRATEGIC
        } else {
            MERGE
        };
        match session.api.patch(&path, &query(), media_type, &patch).await {
            Ok(patched) => return Ok((patched, "configured")),
            Err(error) if error.is(409) => {}
            Err(error) => {
                return Err(error.when(&format!(
                    "error when applying patch:\n{}\nto:\nResource: {:?}, GroupVersionKind: \"{}, Kind={}\"\nName: {:?}, Namespace: {:?}\nfor: {source:?}: error when patching {source:?}",
                    compact(&patch),
                    format!("{}/{}, Resource={}", resource.group, resource.version, resource.plural),
                    format_args!("{}/{}", resource.group, resource.version),
                    resource.kind,
                    manifest.name,
                    manifest.namespace,
                )));
            }
        }
    }
    Err(said(format!(
        "{} is being changed by others all the time; try again",
        manifest.resource.named(&manifest.name)
    )))
}

/// The object that is sent, which tells next time what this file said.
fn with_last_applied(object: &Value) -> Value {
    let mut plain = object.clone();
    let metadata = &mut plain["metadata"];
    if !metadata["annotations"].is_object() {
        metadata["annotations"] = json!({});
    }
    if let Some(annotations) = metadata["annotations"].as_object_mut() {
        annotations.remove(LAST_APPLIED);
    }
    let said = format!("{}\n", compact(&plain));
    plain["metadata"]["annotations"][LAST_APPLIED] = said.into();
    plain
}

async fn server_side(
    session: &Session,
    args: &Args,
    manifest: &Manifest,
    dry_run: DryRun,
) -> Result<(Value, &'static str)> {
    if dry_run == DryRun::Client {
        return Err(said(
            "--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)",
        ));
    }
    let force = if args.is_set("force-conflicts") {
        "true"
    } else {
        "false"
    };
    let query =
        Query::manager(args.value("field-manager").unwrap_or("kubectl")).with("force", force);
    let query = dry_run.query(validation(args, query));
    let applied = session
        .api
        .patch(&manifest.path(), &query, APPLY, &manifest.object)
        .await?;
    Ok((applied, "serverside-applied"))
}

/// Flags of `create`.
pub(super) const CREATE_FLAGS: [Flag; 11] = [
    value("filename").short('f'),
    switch("recursive").short('R'),
    OUTPUT,
    DRY_RUN,
    switch("save-config"),
    value("validate"),
    value("image"),
    value("replicas").short('r'),
    value("port"),
    value("from-literal"),
    value("from-file"),
];

/// `kubectl create`
pub(super) async fn create(call: Call) -> Result<()> {
    let args = &call.args;
    let (form, dry_run) = (Form::of(args)?, DryRun::of(args)?);
    if args.value("filename").is_none() {
        return super::create::generated(args, &form, dry_run).await;
    }
    super::no_words(args)?;
    let session = Session::open(args).await?;
    let (manifests, mut errors) = read(&session, args)?;
    for manifest in manifests {
        let object = if args.is_set("save-config") {
            with_last_applied(&manifest.object)
        } else {
            manifest.object.clone()
        };
        let query = dry_run.query(validation(args, Query::manager("kubectl-create")));
        let collection = manifest.resource.collection(Some(&manifest.namespace));
        let created = match dry_run {
            DryRun::Client => Ok(object),
            DryRun::No | DryRun::Server => session.api.post(&collection, &query, &object).await,
        };
        match created {
            Ok(object) => done(&form, &manifest.resource, &object, &dry_run.say("created"))?,
            Err(error) => {
                errors.push(error.when(&format!("error when creating {:?}", manifest.source)));
            }
        }
    }
    Error::all(errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_carries_what_its_file_said() {
        let object = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "x"}, "data": {"a": "<b>"}});
        let sent = with_last_applied(&object);
        assert_eq!(
            sent["metadata"]["annotations"][LAST_APPLIED],
            "{\"apiVersion\":\"v1\",\"data\":{\"a\":\"\\u003cb\\u003e\"},\"kind\":\"ConfigMap\",\"metadata\":{\"annotations\":{},\"name\":\"x\"}}\n"
        );
        assert_eq!(
            with_last_applied(&sent),
            sent,
            "a second time says the same"
        );
    }
}
