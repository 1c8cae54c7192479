use serde_json::{Value, json};

use super::*;
use crate::readers::git::samples::Sample;
use crate::readers::traffic_record::samples::moment;

const HEAD: &str = "1111111111111111111111111111111111111111";
const OTHER: &str = "2222222222222222222222222222222222222222";

fn step(number: usize, name: &str, conclusion: &str) -> Value {
    let started =
        (conclusion != "skipped").then(|| moment(200 + i64::try_from(number).unwrap()).to_string());
    json!({"number": number, "name": name, "id": name.to_lowercase(), "started": started, "ended": started,
        "outcome": conclusion, "conclusion": conclusion})
}

/// Run 7 of job `build`, with these steps.
fn sample(conclusion: &str, steps: &[(&str, &str)]) -> Value {
    let steps: Vec<_> = steps
        .iter()
        .enumerate()
        .map(|(at, (name, ended))| step(at + 1, name, ended))
        .collect();
    json!({"version": 1, "repository": "hello", "number": 7, "attempt": 1, "workflow": "CI",
        "path": ".github/workflows/ci.yml", "title": "Greet", "event": "push", "ref": "refs/heads/main",
        "branch": "main", "commit": HEAD, "before": OTHER, "actor": "Ada", "started": moment(200).to_string(),
        "ended": moment(210).to_string(), "conclusion": conclusion,
        "jobs": [{"id": "build", "name": "Build", "started": moment(200).to_string(), "ended": moment(210).to_string(),
            "conclusion": conclusion, "steps": steps}]})
}

fn green() -> Value {
    sample(
        "success",
        &[
            ("Checkout", "success"),
            ("Test", "success"),
            ("Image", "success"),
        ],
    )
}

fn red() -> Value {
    sample(
        "failure",
        &[
            ("Checkout", "success"),
            ("Test", "failure"),
            ("Image", "skipped"),
        ],
    )
}

#[track_caller]
fn case(expected: Option<&str>, with: Value, runs: &[Value]) {
    let mut with = with;
    with["repository"] = json!("hello");
    let with: With = serde_json::from_value(with).unwrap();
    assert_eq!(with.consistent(), Ok(()));
    let seen = Seen {
        runs: runs
            .iter()
            .map(|run| serde_json::from_value(run.clone()).unwrap())
            .collect(),
        repositories: vec!["shop".to_owned()],
    };
    let outcome = judge(&with, HEAD, &seen, Some(moment(100)));
    assert_eq!(outcome.diagnosis().map(Diagnosis::id), expected, "{with:?}");
}

fn success() -> Value {
    json!({"conclusion": "success", "steps": ["Test", "Image"], "order": ["Test", "Image"]})
}

fn failure() -> Value {
    json!({"conclusion": "failure", "failedStep": "Test", "skippedAfter": true})
}

#[test]
fn a_run_of_the_commit_that_ended_as_asked_holds() {
    case(None, success(), &[green()]);
    case(
        None,
        json!({"conclusion": "success", "job": "Build", "steps": ["test"]}),
        &[green()],
    );
    case(None, failure(), &[red()]);
}

#[test]
fn another_end_does_not_pass() {
    case(Some("ci-run-red"), success(), &[red()]);
    case(Some("ci-run-green"), failure(), &[green()]);
    case(
        Some("ci-run-red"),
        failure(),
        &[sample("cancelled", &[("Test", "failure")])],
    );
    let mut going = red();
    going["conclusion"] = json!(null);
    going["ended"] = json!(null);
    case(Some("ci-run-going-on"), failure(), &[going.clone()]);
    case(Some("ci-run-going-on"), success(), &[going]);
}

#[test]
fn a_run_of_another_commit_or_of_before_does_not_pass() {
    let mut other = green();
    other["commit"] = json!(OTHER);
    case(Some("ci-run-of-other-commit"), success(), &[other]);
    let mut before = green();
    before["started"] = json!(moment(50).to_string());
    case(Some("ci-no-run"), success(), &[before]);
    case(Some("ci-no-repository"), success(), &[]);
}

#[test]
fn a_red_run_that_was_run_again_counts_by_its_last_attempt() {
    let again = |mut run: Value| {
        run["attempt"] = json!(2);
        run["earlier"] =
            json!([{"attempt": 1, "started": moment(150).to_string(), "conclusion": "failure"}]);
        run
    };
    case(Some("ci-run-red"), success(), &[again(red())]);
    case(None, failure(), &[again(red())]);
    case(Some("ci-run-green"), failure(), &[again(green())]);
}

#[test]
fn of_several_runs_of_a_workflow_the_newest_counts_and_workflows_count_each() {
    case(Some("ci-run-red"), success(), &[red(), green()]);
    let mut other = red();
    other["path"] = json!(".github/workflows/docs.yml");
    case(None, success(), &[other, green()]);
}

#[test]
fn steps_that_were_taken_out_skipped_or_muted_do_not_pass() {
    let without = sample("success", &[("Checkout", "success"), ("Image", "success")]);
    case(Some("ci-step-missing"), success(), &[without]);
    let skipped = sample("success", &[("Test", "skipped"), ("Image", "success")]);
    case(Some("ci-step-skipped"), success(), &[skipped]);
    let mut muted = green();
    muted["jobs"][0]["steps"][1]["outcome"] = json!("failure");
    case(Some("ci-run-red"), success(), &[muted]);
    case(
        Some("ci-step-missing"),
        json!({"conclusion": "success", "job": "deploy"}),
        &[green()],
    );
}

#[test]
fn another_order_and_another_failure_do_not_pass() {
    let order = json!({"conclusion": "success", "order": ["Image", "Test"]});
    case(Some("ci-order-wrong"), order, &[green()]);
    let checkout = sample("failure", &[("Checkout", "failure"), ("Test", "skipped")]);
    case(Some("ci-step-skipped"), failure(), &[checkout]);
    let image = sample("failure", &[("Test", "success"), ("Image", "failure")]);
    case(Some("ci-other-step-failed"), failure(), &[image]);
    let went_on = sample("failure", &[("Test", "failure"), ("Image", "success")]);
    case(
        Some("ci-step-not-skipped"),
        failure(),
        std::slice::from_ref(&went_on),
    );
    case(
        None,
        json!({"conclusion": "failure", "failedStep": "Test"}),
        &[went_on],
    );
}

#[tokio::test]
async fn the_commit_is_that_of_the_learners_directory() {
    let sample = Sample::new();
    let context = sample.context();
    let head = head(&context, "hello").await.unwrap().unwrap();
    assert_eq!(Some(head), sample.tree().await.head);
    let with = |with: Value| serde_json::from_value::<With>(with).unwrap();
    let outcome = run(
        context.clone(),
        with(json!({"repository": "hello", "conclusion": "success"})),
    )
    .await;
    assert_eq!(
        outcome.unwrap().diagnosis().map(Diagnosis::id),
        Some("ci-no-repository")
    );
    let outcome = run(
        context,
        with(json!({"repository": "shop", "conclusion": "success"})),
    )
    .await;
    assert_eq!(
        outcome.unwrap().diagnosis().map(Diagnosis::id),
        Some("not-a-repository")
    );
}

#[test]
fn faults_of_the_author_are_told() {
    let problem = |with: Value| {
        let mut with = with;
        with["conclusion"] = json!("success");
        let with: With = serde_json::from_value(with).unwrap();
        with.consistent().unwrap_err()
    };
    assert!(problem(json!({"repository": "../x"})).contains("repository"));
    assert!(problem(json!({"repository": "hello", "commit": "main"})).contains("commit"));
    assert!(problem(json!({"repository": "hello", "failedStep": "Test"})).contains("failure"));
    assert!(problem(json!({"repository": "hello", "order": ["Test"]})).contains("two"));
    assert!(problem(json!({"repository": "hello", "skippedAfter": true})).contains("failedStep"));
}
