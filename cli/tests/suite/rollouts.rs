//! Progressive delivery with real traffic: a bad version is taken back by itself, a good one goes
//! all the way, and neither costs a request that it need not.

use std::time::Duration;

use serde_json::Value;

use crate::app;
use crate::http::{Traffic, get};
use crate::lab::{KUBECTL, Lab};
use crate::tools::{Tool, needs};
use crate::wait::{wait_for, wait_until};

/// An update has pauses of its own, and this machine may be busy.
const LONG: Duration = Duration::from_secs(120);

/// The version whose greeting fails for four visitors of five.
const FAILING: &str = include_str!("../../../fixtures/apps/hello/versions/2.0.0/app.js");

fn service(name: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  selector: {{app: hello}}\n  ports: [{{name: http, port: 80, targetPort: http}}]\n"
    )
}

fn route(name: &str, listener: &str, services: &[&str]) -> String {
    let backends: Vec<_> = services
        .iter()
        .map(|service| format!("{{name: {service}, port: 80}}"))
        .collect();
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}}}\nspec:\n  parentRefs: [{{name: devops-lab, sectionName: {listener}}}]\n  rules: [{{backendRefs: [{}]}}]\n",
        backends.join(", ")
    )
}

/// The application as a Rollout of this strategy, in YAML below `strategy:`.
fn rollout(image: &str, strategy: &str) -> String {
    let deployment = app::deployment("hello", 3, image);
    let rollout = deployment
        .replace("apiVersion: apps/v1", "apiVersion: argoproj.io/v1alpha1")
        .replace("kind: Deployment", "kind: Rollout")
        .replace(
            "  replicas: 3\n",
            &format!("  replicas: 3\n  strategy:\n{strategy}"),
        );
    assert!(rollout.contains("strategy:"), "{rollout}");
    rollout
}

const CANARY: &str = r"    canary:
      canaryService: hello-canary
      stableService: hello-stable
      trafficRouting:
        plugins: {argoproj-labs/gatewayAPI: {httpRoute: hello}}
      steps:
      - setWeight: 10
      - pause: {duration: 10s}
      - analysis: {templates: [{templateName: answers}]}
      - setWeight: 50
      - pause: {duration: 10s}
";

const ANSWERS: &str = r#"---
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: answers}
spec:
  metrics:
  - name: answers
    count: 20
    interval: 1s
    consecutiveErrorLimit: 0
    successCondition: result != ""
    provider: {web: {url: "http://hello-canary.default.svc/", jsonPath: "{$.version}"}}
"#;

const BLUE_GREEN: &str = r"    blueGreen:
      activeService: hello-active
      previewService: hello-preview
      autoPromotionEnabled: false
      scaleDownDelaySeconds: 20
";

fn phase(lab: &Lab) -> String {
    lab.json_path(
        &["rollout", "hello"],
        "{.status.phase} {.status.message} {.metadata.generation}={.status.observedGeneration}",
    )
}

#[track_caller]
fn reaches(lab: &Lab, expected: &str) {
    wait_for(&format!("the Rollout is {expected}"), LONG, || {
        let phase = phase(lab);
        let (said, seen) = phase.rsplit_once(' ').unwrap_or_default();
        let observed = seen.split_once('=').is_some_and(|(a, b)| a == b);
        if observed && said.starts_with(expected) {
            Ok(())
        } else {
            Err(phase)
        }
    });
}

fn set_image(lab: &Lab, image: &str) {
    let patch = format!(
        r#"[{{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "{image}"}}]"#
    );
    lab.kubectl(&["patch", "rollout", "hello", "--type", "json", "-p", &patch]);
}

#[track_caller]
fn only_answers(url: &str, version: &str) {
    wait_until(&format!("{version} alone answers"), LONG, || {
        (0..10).all(|_| get(url).is_ok_and(|answer| answer.member("version") == version))
    });
}

#[test]
fn a_bad_canary_is_taken_back_by_itself_and_a_good_one_goes_all_the_way() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("canary", &["2", "--speed", "10"]);
    let first = lab.push_app("1.0.0");
    lab.apply(&format!(
        "{}{}{}{}{ANSWERS}",
        rollout(&first, CANARY),
        service("hello-stable"),
        service("hello-canary"),
        route("hello", "production", &["hello-stable", "hello-canary"])
    ));
    reaches(&lab, "Healthy");
    let url = lab.address("production");
    lab.answers(&url, 3);

    let directory = lab.file("failing");
    let files = [("app.js", FAILING), ("Dockerfile", app::DOCKERFILE)];
    app::write_files(&directory, &files);
    let users = 20;
    let count = users.to_string();
    lab.ok(&["traffic", "start", "--rate", "60", "--users", &count]);
    set_image(&lab, &lab.push(&directory, "hello", "2.0.0"));
    reaches(
        &lab,
        "Degraded RolloutAborted: Rollout aborted update to revision 2",
    );
    only_answers(&url, "1.0.0");
    the_record_tells_of_the_bad_canary(&lab, users);
    let weights = lab.json_path(
        &["rollout", "hello"],
        "{.status.canary.weights.canary.weight}/{.status.canary.weights.stable.weight}",
    );
    assert_eq!(weights, "0/100");
    let table = lab.kubectl(&["get", "ro"]);
    let columns = "NAME DESIRED CURRENT UP-TO-DATE AVAILABLE AGE";
    let head: Vec<_> = table
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    assert_eq!(head.join(" "), columns);
    let described = lab.kubectl(&["describe", "rollout", "hello"]);
    for word in ["RolloutAborted", "SwitchService", "TrafficWeightUpdated"] {
        assert!(described.contains(word), "{described}");
    }

    let traffic = Traffic::on(&url);
    set_image(&lab, &lab.push_app("2.0.1"));
    reaches(&lab, "Healthy");
    only_answers(&url, "2.0.1");
    lab.kubectl(&["scale", "rollout/hello", "--replicas", "4"]);
    lab.answers(&url, 4);
    let seen = traffic.end();
    assert!(seen.failed.is_empty(), "{seen:?}");
    assert_eq!(seen.versions, ["1.0.0", "2.0.1"].map(str::to_owned).into());
}

/// The share of users who saw an error, how long there were errors, and of each failure when it
/// was, its status and which pod of which version answered.
#[track_caller]
fn the_record_tells_of_the_bad_canary(lab: &Lab, users: u64) {
    let report = || -> Value {
        serde_json::from_str(&lab.ok(&["traffic", "report", "-o", "json"])).expect("JSON")
    };
    wait_until("the users have recovered", LONG, || {
        report()["recovered"] == true
    });
    let said = lab.ok(&["traffic", "stop", "-o", "json"]);
    let report: Value = serde_json::from_str(&said).expect("the report is JSON");
    assert!(report["failed"].as_u64() > Some(0), "{report:#}");
    // One request in ten goes to the canary until it is taken back.
    assert!(report["availability"].as_f64() > Some(70.0), "{report:#}");
    let affected = report["usersAffected"].as_u64().expect("a number");
    assert!((1..=users).contains(&affected), "{report:#}");
    let recovery = report["recoveryMs"].as_u64().expect("a time");
    assert!(recovery < 60_000, "{report:#}");
    for failure in report["failures"].as_array().expect("a list") {
        assert_eq!(failure["status"], 500, "{failure}");
        assert_eq!(failure["version"], "2.0.0", "{failure}");
        let pod = failure["pod"].as_str().expect("a pod");
        assert!(pod.starts_with("hello-"), "{failure}");
        let at = failure["at"].as_str().expect("a moment");
        assert!(at.parse::<jiff::Timestamp>().is_ok(), "{failure}");
    }
}

#[test]
fn a_preview_is_seen_at_the_test_listener_alone_and_promoted_without_a_failed_request() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("bluegreen", &["2", "--speed", "10"]);
    let first = lab.push_app("1.0.0");
    lab.apply(&format!(
        "{}{}{}{}{}",
        rollout(&first, BLUE_GREEN),
        service("hello-active"),
        service("hello-preview"),
        route("hello", "production", &["hello-active"]),
        route("preview", "test", &["hello-preview"])
    ));
    reaches(&lab, "Healthy");
    let (url, test) = (lab.address("production"), lab.address("test"));
    lab.answers(&url, 3);

    let traffic = Traffic::on(&url);
    set_image(&lab, &lab.push_app("2.0.0"));
    reaches(&lab, "Paused BlueGreenPause");
    only_answers(&test, "2.0.0");
    only_answers(&url, "1.0.0");
    // What `kubectl argo rollouts promote` sends.
    let promote = r#"{"status":{"pauseConditions":null}}"#;
    lab.kubectl(&[
        "patch",
        "rollout",
        "hello",
        "--subresource",
        "status",
        "--type",
        "merge",
        "-p",
        promote,
    ]);
    reaches(&lab, "Healthy");
    only_answers(&url, "2.0.0");
    wait_until("the old version is gone", LONG, || {
        lab.kubectl(&["get", "pods", "-o", "name"]).lines().count() == 3
    });
    let seen = traffic.end();
    assert!(seen.failed.is_empty(), "{seen:?}");
    assert_eq!(seen.versions, ["1.0.0", "2.0.0"].map(str::to_owned).into());
}

#[test]
fn the_next_version_is_tested_at_a_path_of_its_own_and_promoted_without_a_failed_request() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("path", &["2", "--speed", "10"]);
    let first = lab.push_app("1.0.0");
    let route = r#"---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: hello}
spec:
  parentRefs: [{name: devops-lab, sectionName: production}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /next}}]
    filters:
    - type: URLRewrite
      urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}
    backendRefs: [{name: hello-preview, port: 80}]
  - backendRefs: [{name: hello-active, port: 80}]
"#;
    lab.apply(&format!(
        "{}{}{}{route}",
        rollout(&first, BLUE_GREEN),
        service("hello-active"),
        service("hello-preview"),
    ));
    reaches(&lab, "Healthy");
    let url = lab.address("production");
    let next = format!("{url}/next");
    lab.answers(&url, 3);

    let traffic = Traffic::on(&url);
    let directory = lab.file("failing");
    let files = [("app.js", FAILING), ("Dockerfile", app::DOCKERFILE)];
    app::write_files(&directory, &files);
    set_image(&lab, &lab.push(&directory, "hello", "2.0.0"));
    reaches(&lab, "Paused BlueGreenPause");
    wait_until("the tests at /next find the fault", LONG, || {
        (0..20).any(|_| get(&next).is_ok_and(|answer| answer.status == 500))
    });
    only_answers(&url, "1.0.0");

    set_image(&lab, &lab.push_app("2.0.1"));
    reaches(&lab, "Paused BlueGreenPause");
    only_answers(&next, "2.0.1");
    only_answers(&url, "1.0.0");
    lab.ok(&["rollout", "promote", "hello"]);
    reaches(&lab, "Healthy");
    only_answers(&url, "2.0.1");
    let seen = traffic.end();
    assert!(seen.failed.is_empty(), "{seen:?}");
    assert_eq!(seen.versions, ["1.0.0", "2.0.1"].map(str::to_owned).into());
}

#[test]
fn a_rollout_grows_with_the_requests_that_its_pods_count() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("grow", &["2", "--speed", "10"]);
    let first = lab.push_app("1.0.0");
    let scraped = "      annotations: {prometheus.io/scrape: \"true\", prometheus.io/port: \"8080\"}\n    spec:\n      terminationGracePeriodSeconds";
    let canary = "    canary: {steps: [{setWeight: 50}, {pause: {}}]}\n";
    let rollout = rollout(&first, canary)
        .replace("    spec:\n      terminationGracePeriodSeconds", scraped)
        .replace("replicas: 3", "replicas: 1");
    let autoscaler = r#"---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: hello}
spec:
  scaleTargetRef: {apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: hello}
  minReplicas: 1
  maxReplicas: 3
  metrics:
  - type: Pods
    pods: {metric: {name: http_requests}, target: {type: AverageValue, averageValue: "2"}}
"#;
    lab.apply(&format!(
        "{rollout}{}{}{autoscaler}",
        service("hello"),
        route("hello", "production", &["hello"])
    ));
    reaches(&lab, "Healthy");
    let url = lab.address("production");
    lab.answers(&url, 1);
    let traffic = Traffic::on(&url);
    lab.answers(&url, 3);
    let seen = traffic.end();
    assert!(seen.failed.is_empty(), "{seen:?}");
    let told = lab.kubectl(&["describe", "hpa", "hello"]);
    assert!(
        told.contains("Rollout/hello") && told.contains("pods metric http_requests above target"),
        "{told}"
    );
}
