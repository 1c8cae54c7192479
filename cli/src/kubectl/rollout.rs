//! `kubectl rollout` for Deployments.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::api::{JSON_PATCH, Query, STRATEGIC};
use super::args::{Flag, switch, value};
use super::error::{Error, Result, said};
use super::print::name_of;
use super::select::{self, Found};
use super::three_way::LAST_APPLIED;
use super::{Call, POLL, Session, timeout};
use crate::output::{blank, line, note};

/// Flags of `rollout …`, beside those that choose objects.
pub(super) const FLAGS: [Flag; 5] = [
    value("to-revision"),
    value("revision"),
    value("timeout"),
    switch("watch").short('w'),
    value("output").short('o'),
];

const REVISION: &str = "deployment.kubernetes.io/revision";
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
/// Annotations that belong to a Deployment and not to a revision of it.
const NOT_OF_A_REVISION: [&str; 5] = [
    LAST_APPLIED,
    REVISION,
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
];

async fn deployments(
    session: &Session,
    call: &Call,
    doing: &str,
) -> Result<(Vec<Found>, Vec<Error>)> {
    if call.args.words.is_empty() && call.args.value("filename").is_none() {
        return Err(Error::Usage("required resource not specified".to_owned()));
    }
    let (found, mut errors) = select::find(session, &call.args, &call.args.words).await?;
    let (deployments, others): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|found| found.resource.kind == "Deployment" && found.resource.group == "apps");
    for other in others {
        let hint = if other.resource.kind == "Rollout" {
            format!("; for Rollouts: devops-lab rollout {doing}")
        } else {
            String::new()
        };
        errors.push(said(format!(
            "the built-in kubectl knows rollouts of Deployments only, and {} is none{hint}; install kubectl from your distribution",
            other.named()
        )));
    }
    Ok((deployments, errors))
}

/// `kubectl rollout status`
pub(super) async fn status(call: Call) -> Result<()> {
    let limit = timeout(&call.args, Duration::ZERO)?;
    let session = Session::open(&call.args).await?;
    let (found, errors) = deployments(&session, &call, "status").await?;
    let watch = !call.args.is_off("watch");
    for target in found {
        let wait = follow(&session, &target, watch);
        if limit.is_zero() {
            wait.await?;
        } else {
            tokio::time::timeout(limit, wait)
                .await
                .map_err(|_| said("timed out waiting for the condition"))??;
        }
    }
    Error::all(errors)
}

async fn follow(session: &Session, target: &Found, watch: bool) -> Result<()> {
    let mut told = String::new();
    loop {
        let object = session.api.get(&target.path()).await?;
        let (text, done) = progress(&object)?;
        if text != told {
            line(&text);
            told = text;
        }
        if done || !watch {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// What there is to say of a Deployment's rollout, and whether it is over.
fn progress(object: &Value) -> Result<(String, bool)> {
    let name = name_of(object);
    let number = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_i64)
            .unwrap_or_default()
    };
    if number("/metadata/generation") > number("/status/observedGeneration") {
        return Ok((
            "Waiting for deployment spec update to be observed...".to_owned(),
            false,
        ));
    }
    let progressing = object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Progressing");
    if progressing.is_some_and(|condition| condition["reason"] == "ProgressDeadlineExceeded") {
        return Err(said(format!(
            "deployment {name:?} exceeded its progress deadline"
        )));
    }
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
    let all = number("/status/replicas");
    let updated = number("/status/updatedReplicas");
    let available = number("/status/availableReplicas");
    let waiting = format!("Waiting for deployment {name:?} rollout to finish");
    Ok(if updated < wanted {
        (
            format!("{waiting}: {updated} out of {wanted} new replicas have been updated..."),
            false,
        )
    } else if all > updated {
        (
            format!(
                "{waiting}: {} old replicas are pending termination...",
                all - updated
            ),
            false,
        )
    } else if available < updated {
        (
            format!("{waiting}: {available} of {updated} updated replicas are available..."),
            false,
        )
    } else {
        (format!("deployment {name:?} successfully rolled out"), true)
    })
}

/// ReplicaSets that a Deployment made, by revision.
async fn revisions(session: &Session, target: &Found) -> Result<Vec<(i64, Value)>> {
    let resource = session.discovery.resolve("replicasets.apps")?;
    let labels = target.object["spec"]["selector"]["matchLabels"].as_object();
    let selector: Vec<_> = labels
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    let query = Query::default().with("labelSelector", selector.join(","));
    let list = session
        .api
        .list(&resource.collection(Some(&target.namespace)), &query)
        .await?;
    let owner = &target.object["metadata"]["uid"];
    let mut found: Vec<_> = list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|set| {
            let owners = set["metadata"]["ownerReferences"].as_array();
            owners
                .into_iter()
                .flatten()
                .any(|reference| reference["uid"] == *owner)
        })
        .filter_map(|set| {
            let revision = set["metadata"]["annotations"][REVISION]
                .as_str()?
                .parse()
                .ok()?;
            Some((revision, set.clone()))
        })
        .collect();
    found.sort_by_key(|(revision, _)| *revision);
    Ok(found)
}

/// `kubectl rollout history`
pub(super) async fn history(call: Call) -> Result<()> {
    let session = Session::open(&call.args).await?;
    let wanted = revision(&call, "revision")?;
    let (found, errors) = deployments(&session, &call, "history").await?;
    for target in found {
        let revisions = revisions(&session, &target).await?;
        if let Some(wanted) = wanted {
            let set = revisions.iter().find(|(revision, _)| *revision == wanted);
            let (_, set) = set.ok_or_else(|| said("unable to find the specified revision"))?;
            line(format_args!("{} with revision #{wanted}", target.named()));
            for text in super::template::described(&set["spec"]["template"]) {
                line(text);
            }
            continue;
        }
        line(format_args!("{} ", target.named()));
        let mut rows = vec![("REVISION".to_owned(), "CHANGE-CAUSE".to_owned())];
        for (revision, set) in &revisions {
            let cause = set["metadata"]["annotations"][CHANGE_CAUSE].as_str();
            rows.push((revision.to_string(), cause.unwrap_or("<none>").to_owned()));
        }
        let width = rows
            .iter()
            .map(|(revision, _)| revision.len())
            .max()
            .unwrap_or_default()
            + 2;
        for (revision, cause) in rows {
            line(format_args!("{revision:width$}{cause}"));
        }
        blank();
    }
    Error::all(errors)
}

fn revision(call: &Call, flag: &str) -> Result<Option<i64>> {
    let Some(text) = call.args.value(flag) else {
        return Ok(None);
    };
    let number = text.parse::<i64>().ok().filter(|number| *number >= 0);
    let number =
        number.ok_or_else(|| said(format!("revision must be a positive integer: {text}")))?;
    Ok(Some(number).filter(|number| *number > 0))
}

/// `kubectl rollout undo`
pub(super) async fn undo(call: Call) -> Result<()> {
    let session = Session::open(&call.args).await?;
    let wanted = revision(&call, "to-revision")?;
    let (found, mut errors) = deployments(&session, &call, "undo").await?;
    for target in found {
        match undo_one(&session, &target, wanted).await {
            Ok(what) => line(format_args!("{} {what}", target.named())),
            Err(error) => errors.push(error),
        }
    }
    Error::all(errors)
}

async fn undo_one(session: &Session, target: &Found, wanted: Option<i64>) -> Result<String> {
    let name = &target.name;
    if target.object["metadata"]["annotations"][LAST_APPLIED].is_string() {
        note(format_args!(
            "Warning: resource {}/{name} was previously managed with 'kubectl apply'. Rolling back will not update the {LAST_APPLIED} annotation, which may cause unexpected behavior on future 'kubectl apply' operations. Consider using 'kubectl apply' with your previous configuration file instead.",
            target.resource.plural
        ));
    }
    if target.object["spec"]["paused"] == true {
        return Err(said(
            "you cannot rollback a paused deployment; resume it first with 'kubectl rollout resume' and try again",
        ));
    }
    let revisions = revisions(session, target).await?;
    let (revision, set) = match wanted {
        Some(wanted) => revisions
            .iter()
            .find(|(revision, _)| *revision == wanted)
            .ok_or_else(|| {
                said(format!(
                    "unable to find specified revision {wanted} in history"
                ))
            })?,
        None => match revisions.as_slice() {
            [.., before, _] => before,
            _ => {
                return Err(said(format!(
                    "no rollout history found for deployment {name:?}"
                )));
            }
        },
    };
    let mut template = set["spec"]["template"].clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove("pod-template-hash");
    }
    if template == target.object["spec"]["template"] {
        return Ok(format!(
            "skipped rollback (current template already matches revision {revision})"
        ));
    }
    let body = json!([
        {"op": "replace", "path": "/spec/template", "value": template},
        {"op": "replace", "path": "/metadata/annotations", "value": annotations(&target.object, set)},
    ]);
    session
        .api
        .patch(&target.path(), &Query::default(), JSON_PATCH, &body)
        .await?;
    Ok("rolled back".to_owned())
}

/// The Deployment keeps what is its own; the rest is the revision's.
fn annotations(deployment: &Value, set: &Value) -> Value {
    let of = |object: &Value, own: bool| -> Map<String, Value> {
        let annotations = object["metadata"]["annotations"].as_object();
        annotations
            .into_iter()
            .flatten()
            .filter(|(name, _)| NOT_OF_A_REVISION.contains(&name.as_str()) == own)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    let mut all = of(deployment, true);
    all.extend(of(set, false));
    Value::Object(all)
}

/// `kubectl rollout restart`
pub(super) async fn restart(call: Call) -> Result<()> {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let body = json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": now}}}}});
    steer(&call, "restart", "restarted", &body, |object| {
        (object["spec"]["paused"] == true)
            .then_some("can't restart paused deployment (run rollout resume first)")
    })
    .await
}

/// `kubectl rollout pause`
pub(super) async fn pause(call: Call) -> Result<()> {
    steer(
        &call,
        "pause",
        "paused",
        &json!({"spec": {"paused": true}}),
        |object| (object["spec"]["paused"] == true).then_some("is already paused"),
    )
    .await
}

/// `kubectl rollout resume`
pub(super) async fn resume(call: Call) -> Result<()> {
    steer(
        &call,
        "resume",
        "resumed",
        &json!({"spec": {"paused": null}}),
        |object| (object["spec"]["paused"] != true).then_some("is not paused"),
    )
    .await
}

async fn steer(
    call: &Call,
    doing: &str,
    done: &str,
    body: &Value,
    refused: impl Fn(&Value) -> Option<&'static str>,
) -> Result<()> {
    let session = Session::open(&call.args).await?;
    let (found, mut errors) = deployments(&session, call, doing).await?;
    for target in found {
        if let Some(why) = refused(&target.object) {
            let subject = format!("{} {:?}", target.resource.plural_typed(), target.name);
            errors.push(said(format!("{subject} {why}")));
            continue;
        }
        let query = Query::manager("kubectl-rollout");
        match session
            .api
            .patch(&target.path(), &query, STRATEGIC, body)
            .await
        {
            Ok(_) => line(format_args!("{} {done}", target.named())),
            Err(error) => errors.push(error),
        }
    }
    Error::all(errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(status: &Value, expected: &str, done: bool) {
        let object = json!({"metadata": {"name": "x", "generation": 2}, "spec": {"replicas": 3}, "status": status});
        assert_eq!(progress(&object).unwrap(), (expected.to_owned(), done));
    }

    #[test]
    fn a_rollout_is_told_step_by_step() {
        case(
            &json!({"observedGeneration": 1}),
            "Waiting for deployment spec update to be observed...",
            false,
        );
        case(
            &json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1}),
            "Waiting for deployment \"x\" rollout to finish: 1 out of 3 new replicas have been updated...",
            false,
        );
        case(
            &json!({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 3}),
            "Waiting for deployment \"x\" rollout to finish: 1 old replicas are pending termination...",
            false,
        );
        case(
            &json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 2}),
            "Waiting for deployment \"x\" rollout to finish: 2 of 3 updated replicas are available...",
            false,
        );
        case(
            &json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}),
            "deployment \"x\" successfully rolled out",
            true,
        );
    }

    #[test]
    fn a_rollout_that_got_stuck_is_an_error() {
        let object = json!({"metadata": {"name": "x"}, "status": {"conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}});
        assert_eq!(
            progress(&object).unwrap_err().text("rollout status"),
            "error: deployment \"x\" exceeded its progress deadline"
        );
    }

    #[test]
    fn a_rollback_brings_the_annotations_of_its_revision() {
        let of = |annotations: Value| json!({"metadata": {"annotations": annotations}});
        let deployment = of(json!({REVISION: "2", CHANGE_CAUSE: "now", LAST_APPLIED: "{}"}));
        let set = of(json!({REVISION: "1", CHANGE_CAUSE: "then"}));
        assert_eq!(
            annotations(&deployment, &set),
            json!({REVISION: "2", LAST_APPLIED: "{}", CHANGE_CAUSE: "then"})
        );
    }
}
