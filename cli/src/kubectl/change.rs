//! Small changes to objects: `scale`, `set image`, `set env`, `patch`.

use serde_json::{Map, Value, json};

use super::api::{JSON_PATCH, MERGE, Query, STRATEGIC};
use super::args::{Args, Flag, value};
use super::error::{Error, Result, said};
use super::print::{DRY_RUN, DryRun, Form, OUTPUT, done};
use super::select::{self, Found};
use super::{Call, Session};

/// Flags of `scale`, beside those that choose objects.
pub(super) const SCALE_FLAGS: [Flag; 6] = [
    OUTPUT,
    DRY_RUN,
    value("replicas"),
    value("current-replicas"),
    value("resource-version"),
    value("timeout"),
];

/// `kubectl scale`
pub(super) async fn scale(call: Call) -> Result<()> {
    let args = &call.args;
    let (form, dry_run) = (Form::of(args)?, DryRun::of(args)?);
    let number = |flag: &str| {
        let text = args.value(flag);
        let number = text.map(|text| text.parse::<i64>().ok().filter(|number| *number >= 0));
        match number {
            Some(None) => Err(said(format!(
                "The --{flag}={} flag must be a number of 0 or more",
                text.unwrap_or_default()
            ))),
            Some(number) => Ok(number),
            None => Ok(None),
        }
    };
    let replicas =
        number("replicas")?.ok_or_else(|| said("required flag(s) \"replicas\" not set"))?;
    let expected = number("current-replicas")?;
    let session = Session::open(args).await?;
    let (found, mut errors) = select::find(&session, args, &args.words).await?;
    if found.is_empty() && errors.is_empty() {
        return Err(said("no objects passed to scale"));
    }
    for target in found {
        let scaled = one_scale(&session, &target, replicas, expected, dry_run).await;
        match scaled {
            Ok(()) => done(
                &form,
                &target.resource,
                &target.object,
                &dry_run.say("scaled"),
            )?,
            Err(error) => errors.push(error),
        }
    }
    Error::all(errors)
}

async fn one_scale(
    session: &Session,
    target: &Found,
    replicas: i64,
    expected: Option<i64>,
    dry_run: DryRun,
) -> Result<()> {
    if !target.resource.scalable {
        return Err(Error::from_body(404, b""));
    }
    let present = target.object["spec"]["replicas"].as_i64().unwrap_or(1);
    if let Some(expected) = expected
        && expected != present
    {
        return Err(said(format!(
            "Expected replicas to be {expected}, was {present}"
        )));
    }
    if dry_run == DryRun::Client {
        return Ok(());
    }
    let path = format!("{}/scale", target.path());
    let body = json!({"spec": {"replicas": replicas}});
    session
        .api
        .patch(&path, &dry_run.query(Query::default()), MERGE, &body)
        .await?;
    Ok(())
}

/// Flags of `set image` and `set env`, beside those that choose objects.
pub(super) const SET_FLAGS: [Flag; 3] = [OUTPUT, DRY_RUN, value("containers").short('c')];

/// Words that name objects, and words `NAME=VALUE` (or `NAME-`, where `removable`).
pub(super) fn split(
    words: &[String],
    removable: bool,
) -> (Vec<String>, Vec<(String, Option<String>)>) {
    let (mut objects, mut pairs) = (Vec::new(), Vec::new());
    for word in words {
        match (word.split_once('='), word.strip_suffix('-')) {
            (Some((name, value)), _) => pairs.push((name.to_owned(), Some(value.to_owned()))),
            (None, Some(name)) if removable && !name.is_empty() => {
                pairs.push((name.to_owned(), None));
            }
            _ => objects.push(word.clone()),
        }
    }
    (objects, pairs)
}

/// Containers of a pod template, or of a pod.
fn pod_spec(object: &Value) -> (&'static str, &Value) {
    match object["kind"].as_str() {
        Some("Pod") => ("/spec", &object["spec"]),
        _ => ("/spec/template/spec", &object["spec"]["template"]["spec"]),
    }
}

/// A patch for a pod's containers, put where the object has its pod.
fn wrapped(place: &str, spec: Value) -> Value {
    let keys = place.trim_start_matches('/').rsplit('/');
    keys.fold(spec, |inner, key| json!({key: inner}))
}

/// `kubectl set image`
pub(super) async fn set_image(call: Call) -> Result<()> {
    let args = &call.args;
    let (objects, images) = split(&args.words, false);
    if images.is_empty() {
        return Err(said("at least one image update is required"));
    }
    change_pods(args, &objects, "image updated", |container, name| {
        let image = images
            .iter()
            .find(|(wanted, _)| wanted == name || wanted == "*")
            .and_then(|(_, image)| image.as_deref())?;
        (container["image"] != image)
            .then(|| json!({"name": name, "image": image}))
            .or_else(|| Some(json!({})))
    })
    .await
    .map_err(|error| match error {
        Error::Said(text) if text == "no container" => {
            let names: Vec<_> = images.iter().map(|(name, _)| format!("{name:?}")).collect();
            said(format!(
                "unable to find container named {}",
                names.join(", ")
            ))
        }
        other => other,
    })
}

/// `kubectl set env`
pub(super) async fn set_env(call: Call) -> Result<()> {
    let args = &call.args;
    let (objects, variables) = split(&args.words, true);
    if variables.is_empty() {
        return Err(super::unknown("set env without variables"));
    }
    let chosen = args.value("containers");
    change_pods(args, &objects, "env updated", |container, name| {
        if chosen.is_some_and(|chosen| chosen != "*" && chosen != name) {
            return None;
        }
        let present = container["env"].as_array().map_or(&[][..], Vec::as_slice);
        let changes: Vec<_> = variables
            .iter()
            .filter_map(|(variable, value)| {
                let before = present
                    .iter()
                    .find(|entry| entry["name"] == variable.as_str());
                match value {
                    Some(value) => (before.is_none_or(|entry| entry["value"] != value.as_str()))
                        .then(|| json!({"name": variable, "value": value})),
                    None => before.map(|_| json!({"name": variable, "$patch": "delete"})),
                }
            })
            .collect();
        Some(if changes.is_empty() {
            json!({})
        } else {
            json!({"name": name, "env": changes})
        })
    })
    .await
}

/// Patches containers: `change` answers nothing for one that is not meant, and an empty object for
/// one that is right already.
async fn change_pods(
    args: &Args,
    words: &[String],
    what: &str,
    change: impl Fn(&Value, &str) -> Option<Value>,
) -> Result<()> {
    let (form, dry_run) = (Form::of(args)?, DryRun::of(args)?);
    let session = Session::open(args).await?;
    let (found, mut errors) = select::find(&session, args, words).await?;
    for target in found {
        let (place, spec) = pod_spec(&target.object);
        let mut lists = Map::new();
        let mut meant = false;
        for list in ["initContainers", "containers"] {
            let mut changes = Vec::new();
            for container in spec[list].as_array().into_iter().flatten() {
                let changed = change(container, container["name"].as_str().unwrap_or_default());
                meant |= changed.is_some();
                changes.extend(changed.filter(|changed| *changed != json!({})));
            }
            if !changes.is_empty() {
                lists.insert(list.to_owned(), json!(changes));
            }
        }
        if !meant {
            errors.push(said("no container"));
            continue;
        }
        if lists.is_empty() {
            continue;
        }
        let query = dry_run.query(Query::manager("kubectl-set"));
        let (media_type, patch) = if lab_api::merging::is_built_in(&target.resource.group) {
            (STRATEGIC, wrapped(place, Value::Object(lists)))
        } else {
            (MERGE, wrapped(place, whole_lists(spec, &lists)))
        };
        let changed = match dry_run {
            DryRun::Client => Ok(target.object.clone()),
            DryRun::No | DryRun::Server => {
                session
                    .api
                    .patch(&target.path(), &query, media_type, &patch)
                    .await
            }
        };
        match changed {
            Ok(object) => done(&form, &target.resource, &object, &dry_run.say(what))?,
            Err(error) => errors.push(error),
        }
    }
    Error::all(errors)
}

/// The lists as they become, for kinds whose lists are replaced.
fn whole_lists(spec: &Value, changes: &Map<String, Value>) -> Value {
    let mut whole = Map::new();
    for (list, changes) in changes {
        let mut containers = spec[list].clone();
        for container in containers.as_array_mut().into_iter().flatten() {
            let change = changes
                .as_array()
                .into_iter()
                .flatten()
                .find(|change| change["name"] == container["name"]);
            let Some(change) = change else { continue };
            if let Some(image) = change.get("image") {
                container["image"] = image.clone();
            }
            for entry in change["env"].as_array().into_iter().flatten() {
                let mut env = container["env"].as_array().cloned().unwrap_or_default();
                env.retain(|present| present["name"] != entry["name"]);
                if entry.get("$patch").is_none() {
                    env.push(entry.clone());
                }
                container["env"] = json!(env);
            }
        }
        whole.insert(list.clone(), containers);
    }
    Value::Object(whole)
}

/// Flags of `patch`, beside those that choose objects.
pub(super) const PATCH_FLAGS: [Flag; 6] = [
    OUTPUT,
    DRY_RUN,
    value("patch").short('p'),
    value("patch-file"),
    value("type"),
    value("subresource"),
];

/// `kubectl patch`
pub(super) async fn patch(call: Call) -> Result<()> {
    let args = &call.args;
    let (form, dry_run) = (Form::of(args)?, DryRun::of(args)?);
    let media_type = match args.value("type") {
        None | Some("strategic") => STRATEGIC,
        Some("merge") => MERGE,
        Some("json") => JSON_PATCH,
        Some(other) => {
            return Err(said(format!(
                "--type must be one of [json merge strategic], not {other:?}"
            )));
        }
    };
    let text = match (args.value("patch"), args.value("patch-file")) {
        (Some(text), _) => text.to_owned(),
        (None, Some(path)) => std::fs::read_to_string(path)
            .map_err(|error| said(format!("unable to read patch file: open {path}: {error}")))?,
        (None, None) => {
            return Err(said(
                "must specify --patch or --patch-file containing the contents of the patch",
            ));
        }
    };
    let body: Value = serde_saphyr::from_str(&text).map_err(|error| {
        let problem = error.to_string();
        said(format!(
            "unable to parse {text:?}: {}",
            problem.lines().next().unwrap_or_default()
        ))
    })?;
    let session = Session::open(args).await?;
    let (found, mut errors) = select::find(&session, args, &args.words).await?;
    for target in found {
        let mut path = target.path();
        if let Some(subresource) = args.value("subresource") {
            path = format!("{path}/{subresource}");
        }
        let query = dry_run.query(Query::manager("kubectl-patch"));
        let patched = match dry_run {
            DryRun::Client => Ok(target.object.clone()),
            DryRun::No | DryRun::Server => {
                session.api.patch(&path, &query, media_type, &body).await
            }
        };
        match patched {
            Ok(object) => {
                let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
                let what = if version(&object) == version(&target.object) {
                    "patched (no change)"
                } else {
                    "patched"
                };
                done(&form, &target.resource, &object, &dry_run.say(what))?;
            }
            Err(error) => errors.push(error),
        }
    }
    Error::all(errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_a_pod_and_of_a_template_are_in_their_places() {
        assert_eq!(wrapped("/spec", json!(1)), json!({"spec": 1}));
        assert_eq!(
            wrapped("/spec/template/spec", json!(1)),
            json!({"spec": {"template": {"spec": 1}}})
        );
    }
}
