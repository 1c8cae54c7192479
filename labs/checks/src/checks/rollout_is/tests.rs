use serde_json::{Value, json};

use super::*;
use crate::fixtures::object;
use crate::subject::samples::{NEW, OLD, World, moment};

/// Rollout `hello`, 2.0.0 as a canary of 20 %, paused at step 1; spoiled by `change`.
#[track_caller]
fn case(expected: Option<&str>, with: Value, change: impl FnOnce(&mut Value), runs: Vec<Value>) {
    let mut with = with;
    with["rollout"] = json!("hello");
    let with: With = serde_json::from_value(with).unwrap();
    assert_eq!(with.consistent(), Ok(()));
    let world = World::rollout().update(100, NEW).going_on();
    let mut rollout = world.rollout_object();
    let status = &mut rollout["status"];
    status["phase"] = json!("Paused");
    status["message"] = json!("CanaryPauseStep");
    status["currentStepIndex"] = json!(1);
    status["canary"] = json!({"weights": {
        "canary": {"weight": 20, "podTemplateHash": "hello-1", "serviceName": "hello-canary"},
        "stable": {"weight": 80, "podTemplateHash": "hello-0", "serviceName": "hello-stable"}}});
    change(&mut rollout);
    let mut seen = world.subjects();
    seen.rollouts = vec![object(rollout)];
    let runs: Vec<AnalysisRun> = runs.into_iter().map(object).collect();
    let outcome = judge(&with, &seen, "default", &runs, Some(moment(50)));
    assert_eq!(outcome.diagnosis().map(Diagnosis::id), expected, "{with:?}");
}

fn paused() -> Value {
    json!({"phase": "Paused", "weight": 20, "stepIndex": 1, "stable": OLD, "canary": NEW, "strategy": "canary",
        "aborted": false})
}

fn analysis(phase: &str, made: i64, hash: &str) -> Value {
    json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun",
        "metadata": {"name": "hello-a", "namespace": "default", "creationTimestamp": moment(made).to_string(),
            "labels": {"rollouts-pod-template-hash": hash},
            "ownerReferences": [{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "hello", "uid": "d", "controller": true}]},
        "spec": {"metrics": []}, "status": {"phase": phase}})
}

#[test]
fn a_canary_that_waits_at_its_pause_holds() {
    case(None, paused(), |_| {}, vec![]);
    // Without a router the steps say the weight.
    case(
        None,
        paused(),
        |rollout| rollout["status"]["canary"] = json!({}),
        vec![],
    );
}

#[test]
fn another_point_of_the_way_does_not_pass() {
    let status = |field: &'static str, value: Value| {
        move |rollout: &mut Value| rollout["status"][field] = value
    };
    case(
        Some("rollout-other-phase"),
        paused(),
        status("phase", json!("Progressing")),
        vec![],
    );
    case(
        Some("rollout-other-step"),
        paused(),
        status("currentStepIndex", json!(0)),
        vec![],
    );
    case(
        Some("rollout-aborted"),
        paused(),
        status("abort", json!(true)),
        vec![],
    );
    case(
        Some("not-observed"),
        paused(),
        status("observedGeneration", json!("6")),
        vec![],
    );
    case(
        Some("not-observed"),
        paused(),
        |rollout| rollout["status"] = json!(null),
        vec![],
    );
    case(
        Some("missing"),
        paused(),
        |rollout| rollout["metadata"]["namespace"] = json!(null),
        vec![],
    );
    case(
        Some("in-another-namespace"),
        paused(),
        |rollout| rollout["metadata"]["namespace"] = json!("shop"),
        vec![],
    );
    case(
        Some("rollout-spec-invalid"),
        paused(),
        |rollout| {
            rollout["status"]["conditions"] = json!([{"type": "InvalidSpec", "status": "True", "reason": "InvalidSpec",
            "message": "no such Service", "lastUpdateTime": moment(1).to_string(), "lastTransitionTime": moment(1).to_string()}]);
        },
        vec![],
    );
    case(
        Some("rollout-other-strategy"),
        json!({"strategy": "blueGreen"}),
        |_| {},
        vec![],
    );
}

#[test]
fn weights_the_wrong_way_round_are_named() {
    let weight = |weight: i32| {
        move |rollout: &mut Value| {
            rollout["status"]["canary"]["weights"]["canary"]["weight"] = json!(weight)
        }
    };
    case(Some("weights-swapped"), paused(), weight(80), vec![]);
    case(Some("rollout-other-weight"), paused(), weight(40), vec![]);
    case(
        Some("weights-swapped"),
        paused(),
        |rollout| {
            rollout["status"]["canary"]["weights"]["canary"]["podTemplateHash"] = json!("hello-0");
        },
        vec![],
    );
}

#[test]
fn versions_are_those_of_the_hashes_and_not_of_the_template_alone() {
    case(
        Some("rollout-other-stable"),
        json!({"stable": NEW}),
        |_| {},
        vec![],
    );
    case(
        Some("rollout-other-canary"),
        json!({"canary": OLD}),
        |_| {},
        vec![],
    );
    // Everything is promoted: there is no canary any more.
    let promoted = |rollout: &mut Value| rollout["status"]["stableRS"] = json!("hello-1");
    case(
        Some("rollout-other-canary"),
        json!({"canary": NEW}),
        promoted,
        vec![],
    );
    case(None, json!({"stable": NEW}), promoted, vec![]);
}

#[test]
fn an_abort_counts_in_the_labs_time_only() {
    let aborted = |at: i64| {
        move |rollout: &mut Value| {
            rollout["status"]["abort"] = json!(true);
            rollout["status"]["abortedAt"] = json!(moment(at).to_string());
            rollout["status"]["phase"] = json!("Degraded");
        }
    };
    let with = json!({"aborted": true, "stable": OLD});
    case(None, with.clone(), aborted(120), vec![]);
    case(None, json!({"phase": "Degraded"}), aborted(120), vec![]);
    case(
        Some("rollout-not-aborted"),
        with.clone(),
        aborted(20),
        vec![],
    );
    case(Some("rollout-not-aborted"), with, |_| {}, vec![]);
    case(
        Some("rollout-aborted"),
        json!({"phase": "Healthy"}),
        aborted(120),
        vec![],
    );
}

#[test]
fn analysis_counts_for_the_present_revision_in_the_labs_time() {
    let with = |phase: &str| json!({"analysis": phase});
    let mine = |phase: &str| vec![analysis(phase, 110, "hello-1")];
    case(None, with("Successful"), |_| {}, mine("Successful"));
    case(None, with("Running"), |_| {}, mine("Running"));
    case(None, with("Failed"), |_| {}, mine("Failed"));
    case(None, with("Failed"), |_| {}, mine("Error"));
    case(Some("rollout-no-analysis"), with("Failed"), |_| {}, vec![]);
    case(
        Some("rollout-analysis-other"),
        with("Failed"),
        |_| {},
        mine("Running"),
    );
    case(
        Some("rollout-analysis-other"),
        with("Successful"),
        |_| {},
        mine("Inconclusive"),
    );
    case(
        Some("rollout-no-analysis"),
        with("Failed"),
        |_| {},
        vec![analysis("Failed", 110, "hello-0")],
    );
    case(
        Some("rollout-no-analysis"),
        with("Failed"),
        |_| {},
        vec![analysis("Failed", 20, "hello-1")],
    );
    let both = vec![
        analysis("Failed", 110, "hello-1"),
        analysis("Successful", 120, "hello-1"),
    ];
    case(
        Some("rollout-analysis-other"),
        with("Successful"),
        |_| {},
        both,
    );
}

#[test]
fn parameters_must_make_sense_together() {
    let problem = |with: Value| {
        let with: With = serde_json::from_value(with).unwrap();
        with.consistent().unwrap_err()
    };
    assert!(problem(json!({"rollout": "hello"})).contains("nothing"));
    assert!(problem(json!({"rollout": "hello", "weight": 120})).contains("percentage"));
    assert!(problem(json!({"rollout": "hello", "stable": NEW, "canary": NEW})).contains("same"));
    serde_json::from_value::<With>(json!({"rollout": "hello", "phase": "healthy"})).unwrap_err();
}
