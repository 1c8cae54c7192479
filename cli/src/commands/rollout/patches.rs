//! What each command writes: the very patches that `kubectl argo rollouts` sends.

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::view::{TEMPLATE_HASH, is_owned, list, revision, step_count, step_index, text};

/// A JSON merge patch.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    /// What is merged.
    pub(super) body: Value,
    /// True where it goes to `/status`.
    pub(super) status: bool,
}

fn status(body: Value) -> Change {
    Change { body, status: true }
}

fn spec(body: Value) -> Change {
    Change {
        body,
        status: false,
    }
}

/// How far to promote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promotion {
    /// Past the present pause or step.
    Next,
    /// Past the present step, whatever it waits for.
    SkipStep,
    /// To the end, without steps, pauses and analysis.
    Full,
}

/// Goes on with a rollout.
pub(super) fn promote(rollout: &Value, promotion: Promotion) -> anyhow::Result<Vec<Change>> {
    match promotion {
        Promotion::Full => {
            let done = text(rollout, "/status/currentPodHash") == text(rollout, "/status/stableRS");
            let full = status(json!({"status": {"promoteFull": true}}));
            Ok(if done { Vec::new() } else { vec![full] })
        }
        Promotion::SkipStep => {
            if rollout.pointer("/spec/strategy/canary").is_none() {
                bail!(
                    "there are no steps to skip in a blueGreen rollout; without --skip-current-step it is promoted"
                );
            }
            let next = next_step(rollout).context("the rollout has no steps to skip")?;
            Ok(vec![status(
                json!({"status": {"pauseConditions": null, "currentStepIndex": next}}),
            )])
        }
        Promotion::Next => Ok(promote_next(rollout)),
    }
}

fn promote_next(rollout: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    if rollout.pointer("/spec/paused") == Some(&Value::Bool(true)) {
        changes.push(spec(json!({"spec": {"paused": false}})));
    }
    let paused = !list(rollout, "/status/pauseConditions").is_empty();
    let held = rollout.pointer("/status/controllerPause") == Some(&Value::Bool(true));
    let inconclusive = text(
        rollout,
        "/status/canary/currentStepAnalysisRunStatus/status",
    ) == "Inconclusive";
    let next = next_step(rollout);
    if paused && held && inconclusive {
        let mut body = json!({"status": {"pauseConditions": null, "controllerPause": false}});
        if let Some(next) = next {
            body["status"]["currentStepIndex"] = json!(next);
        }
        changes.push(status(body));
    } else if paused {
        changes.push(status(json!({"status": {"pauseConditions": null}})));
    } else if let Some(next) = next {
        changes.push(status(
            json!({"status": {"pauseConditions": null, "currentStepIndex": next}}),
        ));
    }
    changes
}

fn next_step(rollout: &Value) -> Option<usize> {
    let index = step_index(rollout)?;
    Some((index + 1).min(step_count(rollout)))
}

/// Takes a rollout back to the stable version.
pub(super) fn abort() -> Change {
    status(json!({"status": {"abort": true}}))
}

/// Tries an aborted rollout again.
pub(super) fn retry() -> Change {
    status(json!({"status": {"abort": false}}))
}

/// Holds a rollout where it is.
pub(super) fn pause() -> Change {
    spec(json!({"spec": {"paused": true}}))
}

/// Restarts the pods.
pub(super) fn restart(at: &str) -> Change {
    spec(json!({"spec": {"restartAt": at}}))
}

/// The JSON Patch that brings an earlier revision's template back; revision 0 is the one before
/// the present. `None` where the present template is that one.
pub(super) fn undo(
    rollout: &Value,
    replica_sets: &[Value],
    to: i64,
) -> anyhow::Result<Option<Value>> {
    let name = text(rollout, "/metadata/name");
    let mut owned: Vec<&Value> = replica_sets
        .iter()
        .filter(|set| is_owned(set, rollout))
        .collect();
    owned.sort_by_key(|set| -revision(set));
    let wanted = if to == 0 {
        let known = format!("rollout {name:?} has no earlier revision to go back to");
        owned.get(1).context(known)?
    } else {
        owned
            .iter()
            .find(|set| revision(set) == to)
            .with_context(|| {
                let known: Vec<String> = owned
                    .iter()
                    .rev()
                    .map(|set| revision(set).to_string())
                    .collect();
                format!(
                    "rollout {name:?} has no revision {to}; there are: {}",
                    known.join(", ")
                )
            })?
    };
    let mut template = wanted["spec"]["template"].clone();
    if let Some(labels) = template
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.shift_remove(TEMPLATE_HASH);
    }
    if template == rollout["spec"]["template"] {
        return Ok(None);
    }
    Ok(Some(
        json!([{"op": "replace", "path": "/spec/template", "value": template}]),
    ))
}

/// Sets images in a Rollout's template; each is `CONTAINER=IMAGE`, and the container may be `*`.
pub(super) fn set_images(rollout: &mut Value, images: &[String]) -> anyhow::Result<()> {
    let name = text(rollout, "/metadata/name").to_owned();
    let mut containers: Vec<&mut Value> = Vec::new();
    if let Some(spec) = rollout
        .pointer_mut("/spec/template/spec")
        .and_then(Value::as_object_mut)
    {
        for (field, list) in spec.iter_mut() {
            if field == "containers" || field == "initContainers" {
                containers.extend(list.as_array_mut().into_iter().flatten());
            }
        }
    }
    for pair in images {
        let (container, image) = pair
            .split_once('=')
            .filter(|(container, image)| !container.is_empty() && !image.is_empty())
            .with_context(|| format!("{pair:?} is not CONTAINER=IMAGE, such as app=hello:2.0.0"))?;
        let mut found = false;
        for candidate in &mut containers {
            if container == "*" || candidate["name"] == container {
                candidate["image"] = json!(image);
                found = true;
            }
        }
        if !found {
            let known: Vec<&str> = containers
                .iter()
                .filter_map(|candidate| candidate["name"].as_str())
                .collect();
            bail!(
                "rollout {name:?} has no container {container:?}; there are: {}",
                known.join(", ")
            );
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(
    clippy::needless_pass_by_value,
    reason = "a table whose cells are json!(…) reads best without references"
)]
mod tests {
    use super::*;

    fn rollout(spec: Value, status: Value) -> Value {
        json!({"metadata": {"name": "shop", "uid": "u"}, "spec": spec, "status": status})
    }

    fn steps() -> Value {
        json!({"strategy": {"canary": {"steps": [{"setWeight": 10}, {"pause": {}}]}}})
    }

    #[track_caller]
    fn sends(rollout: &Value, promotion: Promotion, expected: &[(bool, Value)]) {
        let found: Vec<_> = promote(rollout, promotion)
            .unwrap()
            .into_iter()
            .map(|change| (change.status, change.body))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn promotion_sends_what_the_plugin_sends() {
        let clear = json!({"status": {"pauseConditions": null}});
        let paused = json!({"pauseConditions": [{"reason": "CanaryPauseStep"}], "controllerPause": true, "currentStepIndex": 1});
        sends(
            &rollout(steps(), paused.clone()),
            Promotion::Next,
            &[(true, clear.clone())],
        );
        let step =
            |index: i64| json!({"status": {"pauseConditions": null, "currentStepIndex": index}});
        let at = |index: i64| json!({"currentStepIndex": index});
        sends(
            &rollout(steps(), at(0)),
            Promotion::Next,
            &[(true, step(1))],
        );
        sends(
            &rollout(steps(), at(2)),
            Promotion::Next,
            &[(true, step(2))],
        );
        sends(
            &rollout(steps(), paused.clone()),
            Promotion::SkipStep,
            &[(true, step(2))],
        );
        let mut by_hand = steps();
        by_hand["paused"] = json!(true);
        sends(
            &rollout(by_hand, at(0)),
            Promotion::Next,
            &[(false, json!({"spec": {"paused": false}})), (true, step(1))],
        );
        let mut inconclusive = paused;
        inconclusive["canary"] =
            json!({"currentStepAnalysisRunStatus": {"status": "Inconclusive"}});
        sends(
            &rollout(steps(), inconclusive),
            Promotion::Next,
            &[(
                true,
                json!({"status": {"pauseConditions": null, "controllerPause": false, "currentStepIndex": 2}}),
            )],
        );
        let blue_green = json!({"strategy": {"blueGreen": {}}});
        let waiting = json!({"pauseConditions": [{"reason": "BlueGreenPause"}]});
        sends(
            &rollout(blue_green.clone(), waiting.clone()),
            Promotion::Next,
            &[(true, clear)],
        );
        let hashes =
            |current: &str, stable: &str| json!({"currentPodHash": current, "stableRS": stable});
        sends(
            &rollout(steps(), hashes("b", "a")),
            Promotion::Full,
            &[(true, json!({"status": {"promoteFull": true}}))],
        );
        sends(&rollout(steps(), hashes("a", "a")), Promotion::Full, &[]);
        assert!(promote(&rollout(blue_green, waiting), Promotion::SkipStep).is_err());
    }

    fn set(revision: i64, image: &str) -> Value {
        json!({
            "metadata": {"annotations": {"rollout.argoproj.io/revision": revision.to_string()},
                "ownerReferences": [{"controller": true, "uid": "u"}]},
            "spec": {"template": {
                "metadata": {"labels": {"app": "shop", "rollouts-pod-template-hash": "x"}},
                "spec": {"containers": [{"name": "app", "image": image}]}}},
        })
    }

    #[test]
    fn undo_brings_the_earlier_template_back_without_its_hash() {
        let mut present = rollout(json!({}), json!({}));
        present["spec"]["template"] = json!({"metadata": {"labels": {"app": "shop"}},
            "spec": {"containers": [{"name": "app", "image": "hello:3"}]}});
        let sets = [set(1, "hello:1"), set(3, "hello:3"), set(2, "hello:2")];
        let patch = undo(&present, &sets, 0).unwrap().unwrap();
        assert_eq!(patch[0]["path"], "/spec/template");
        assert_eq!(
            patch[0]["value"]["spec"]["containers"][0]["image"],
            "hello:2"
        );
        assert_eq!(
            patch[0]["value"]["metadata"]["labels"],
            json!({"app": "shop"})
        );
        let to_first = undo(&present, &sets, 1).unwrap().unwrap();
        assert_eq!(
            to_first[0]["value"]["spec"]["containers"][0]["image"],
            "hello:1"
        );
        assert_eq!(undo(&present, &sets, 3).unwrap(), None);
        assert_eq!(
            undo(&present, &sets, 9).unwrap_err().to_string(),
            "rollout \"shop\" has no revision 9; there are: 1, 2, 3"
        );
        assert!(undo(&present, &sets[1..2], 0).is_err());
    }

    #[test]
    fn images_are_set_by_container() {
        let mut present = rollout(json!({}), json!({}));
        present["spec"]["template"]["spec"] =
            json!({"containers": [{"name": "app", "image": "hello:1"}]});
        set_images(&mut present, &["app=hello:2".to_owned()]).unwrap();
        assert_eq!(
            present["spec"]["template"]["spec"]["containers"][0]["image"],
            "hello:2"
        );
        set_images(&mut present, &["*=hello:3".to_owned()]).unwrap();
        assert_eq!(
            present["spec"]["template"]["spec"]["containers"][0]["image"],
            "hello:3"
        );
        let mut fails = |pair: &str| {
            set_images(&mut present, &[pair.to_owned()])
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            fails("web=hello:2"),
            "rollout \"shop\" has no container \"web\"; there are: app"
        );
        assert_eq!(
            fails("hello:2"),
            "\"hello:2\" is not CONTAINER=IMAGE, such as app=hello:2.0.0"
        );
    }
}
