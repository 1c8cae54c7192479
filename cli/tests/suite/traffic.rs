//! What users meet while the application changes: the lessons of rolling updates, told by the
//! record of `devops-lab traffic`.

use std::time::Duration;

use serde_json::Value;

use crate::app;
use crate::lab::{KUBECTL, Lab, SOON};
use crate::tools::{Tool, needs};
use crate::wait::wait_for;

/// What keeps users from noticing an update: no traffic before the app is ready, and a moment
/// between leaving the load balancer and ending.
const CAREFUL: &str = r#"
        readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 1}
        lifecycle: {preStop: {sleep: {seconds: 2}}}"#;
const CARELESS: &str = "";

/// An application that takes a while to start, needs a moment for every answer, and ends at
/// once when it is told to, in mid-answer: like many of those that students bring along.
fn push_slow_app(lab: &Lab, version: &str, start: Duration) -> String {
    let directory = lab.file("slow");
    let start = start.as_millis();
    let code = format!(
        r#"const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));
await pause({start});
export default {{
  version: "{version}",
  async fetch(request) {{
    await pause(50);
    return Response.json({{ version: "{version}" }});
  }},
}};
"#
    );
    app::write_files(
        &directory,
        &[("app.js", &code), ("Dockerfile", app::DOCKERFILE)],
    );
    lab.push(&directory, "slow", version)
}

fn deployment(image: &str, care: &str) -> String {
    format!(
        r#"apiVersion: apps/v1
kind: Deployment
metadata: {{name: slow}}
spec:
  replicas: 3
  selector: {{matchLabels: {{app: slow}}}}
  template:
    metadata: {{labels: {{app: slow}}}}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
      - name: app
        image: {image}
        env: [{{name: SHUTDOWN_TIMEOUT, value: "0"}}]
        ports: [{{name: http, containerPort: 8080}}]{care}
---
"#
    )
}

impl Lab {
    /// What the record says.
    #[track_caller]
    fn report(&self) -> Value {
        let said = self.ok(&["traffic", "report", "-o", "json"]);
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    /// Waits until the record says so.
    #[track_caller]
    fn wait_for_report(&self, what: &str, look: impl Fn(&Value) -> bool) -> Value {
        let mut found = Value::Null;
        wait_for(what, SOON, || {
            found = self.report();
            if look(&found) {
                Ok(())
            } else {
                Err(found.to_string())
            }
        });
        found
    }

    /// The share of answers that came from a version, in percent.
    #[track_caller]
    fn answered_by(&self, version: &str) -> f64 {
        let report = self.report();
        let versions = report["versions"].as_array().expect("a list of versions");
        let found = versions.iter().find(|share| share["name"] == version);
        found.map_or(0.0, |share| share["share"].as_f64().unwrap_or(0.0))
    }
}

/// Sends requests during an update from version 1.0.0 to 2.0.0, both of which take this long to
/// start; what they met.
fn update_under_traffic(lab: &Lab, care: &str, start: Duration) -> Value {
    let first = push_slow_app(lab, "1.0.0", start);
    let second = push_slow_app(lab, "2.0.0", start);
    let manifest = |image| deployment(image, care) + &app::service_and_route("slow");
    lab.apply(&manifest(&first));
    lab.rolled_out("deployment/slow");
    lab.answers(&lab.address("production"), 1);
    // POST: what was sent once cannot be sent again by the load balancer in its own name.
    let command = [
        "traffic", "start", "--rate", "60", "--users", "20", "-X", "POST",
    ];
    lab.ok(&command);
    lab.wait_for_report("the first version answers", |report| {
        report["requests"].as_u64() > Some(60)
    });
    lab.apply(&manifest(&second));
    lab.rolled_out("deployment/slow");
    // Until the last copies of the first version have ended.
    let before = lab.report()["requests"].as_u64().unwrap_or(0);
    lab.wait_for_report("requests go on", |report| {
        report["requests"].as_u64() > Some(before + 240) && report["recovered"] == true
    });
    let said = lab.ok(&["traffic", "stop", "-o", "json"]);
    serde_json::from_str(&said).expect("the report is JSON")
}

#[test]
fn an_update_with_readiness_and_a_pause_before_the_end_fails_no_request() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("careful", &["2"]);
    let report = update_under_traffic(&lab, CAREFUL, Duration::from_secs(2));
    assert_eq!(report["failed"], 0, "{report:#}");
    assert_eq!(report["availability"], 100.0);
    assert_eq!(report["longestOutageMs"], 0);
    assert!(lab.answered_by("1.0.0") > 0.0 && lab.answered_by("2.0.0") > 0.0);
}

#[test]
fn an_update_without_them_fails_requests_and_the_record_says_which_and_how_long() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("careless", &["2"]);
    // Longer than it takes to replace all copies, on a busy machine too.
    let report = update_under_traffic(&lab, CARELESS, Duration::from_secs(6));
    assert!(report["failed"].as_u64() > Some(20), "{report:#}");
    assert!(report["availability"].as_f64() < Some(99.0), "{report:#}");
    // Nobody answered while all three copies of the new version were starting.
    assert!(report["longestOutageMs"].as_u64() > Some(500), "{report:#}");
    assert_eq!(report["recovered"], true);
    assert!(report["usersAffected"].as_u64() > Some(1));
    let failures = report["failures"].as_array().expect("a list of failures");
    assert_eq!(failures.len(), 10);
    for failure in failures {
        assert_eq!(failure["status"], 502, "{failure}");
        let words = failure["words"].as_str().expect("words");
        assert!(words.contains("service default/slow:80"), "{words}");
        // The pod that it was meant for.
        assert!(words.contains("slow-"), "{words}");
    }
    let text = lab.ok(&["traffic", "report"]);
    for words in ["Longest outage", "saw a failure", "502", "2.0.0"] {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
}

#[test]
fn the_death_of_a_node_with_a_ready_copy_elsewhere_fails_no_request() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("nodedeath", &["3"]);
    let url = lab.deploy_hello();
    lab.answers(&url, 3);
    lab.ok(&["traffic", "start", "--rate", "60"]);
    lab.wait_for_report("requests are answered", |report| {
        report["requests"].as_u64() > Some(60)
    });
    let nodes = lab.json_path(&["pods"], "{.items[*].spec.nodeName}");
    let node = nodes.split(' ').next().expect("a pod runs somewhere");
    let before = lab.report()["requests"].as_u64().unwrap_or(0);
    lab.ok(&["node", "stop", node]);
    let report = lab.wait_for_report("requests go on", |report| {
        report["requests"].as_u64() > Some(before + 240)
    });
    assert_eq!(report["failed"], 0, "{report:#}");
}

#[test]
fn traffic_is_one_process_of_its_cluster_and_its_record_outlives_it() {
    let lab = Lab::started("traffic", &["1"]);
    let none = lab.devops_lab(&["traffic", "report"]);
    assert_eq!(none.code, Some(1), "{none}");
    assert!(none.stderr.contains("devops-lab traffic start"), "{none}");
    for (to, reason) in [
        ("http://example.com", "example.com is neither this machine"),
        ("http://192.0.2.7:80/", "192.0.2.7 is neither this machine"),
        ("https://127.0.0.1:8443", "without TLS"),
    ] {
        let refused = lab.devops_lab(&["traffic", "start", "--to", to]);
        assert_eq!(refused.code, Some(1), "{refused}");
        assert!(refused.stderr.contains(reason), "{refused}");
    }

    lab.ok(&[
        "traffic", "start", "--rate", "100", "--path", "/@3", "--path", "/no",
    ]);
    let again = lab.devops_lab(&["traffic", "start"]);
    assert_eq!(again.code, Some(1), "{again}");
    assert!(again.stderr.contains("devops-lab traffic stop"), "{again}");
    // Nothing is deployed: every request is told so, and every failure is recorded.
    let report = lab.wait_for_report("failures are recorded", |report| {
        report["failed"].as_u64() > Some(100)
    });
    assert_eq!(report["availability"], 0.0);
    let words = report["failures"][0]["words"].as_str().expect("words");
    assert!(words.starts_with("no-"), "{words}");

    let pid = std::fs::read_to_string(lab.home_of_cluster().join("run/traffic.json"))
        .expect("it is written down which process it is");
    let pid: Value = serde_json::from_str(&pid).expect("the file is JSON");
    let pid = pid["pid"].as_u64().expect("a process has a number");
    crate::process::kill(&[u32::try_from(pid).expect("a small number")]);
    let status = wait_for_code(&lab, Some(1));
    assert!(status.contains("cut off"), "{status}");
    assert!(lab.report()["failed"].as_u64() >= report["failed"].as_u64());

    lab.ok(&["traffic", "start", "--rate", "20"]);
    assert_eq!(lab.report()["run"], 2);
    lab.ok(&["stop"]);
    let status = lab.devops_lab(&["traffic", "status"]);
    assert!(status.stdout.contains("stopped"), "{status}");
    lab.start(&[]);
    assert_eq!(lab.devops_lab(&["traffic", "status"]).code, Some(1));
    lab.ok(&["traffic", "start", "--duration", "1s"]);
    let said = lab.ok(&["traffic", "watch"]);
    assert!(
        said.contains("requests") && said.contains("No more requests"),
        "{said}"
    );
}

/// `traffic status` once it ends like this.
fn wait_for_code(lab: &Lab, code: Option<i32>) -> String {
    let mut text = String::new();
    wait_for("the status changes", SOON, || {
        let said = lab.devops_lab(&["traffic", "status"]);
        text.clone_from(&said.stdout);
        if said.code == code {
            Ok(())
        } else {
            Err(said.to_string())
        }
    });
    text
}

#[test]
fn on_docker_an_update_with_readiness_and_a_pause_fails_no_request() {
    needs!(Tool::Kubectl(KUBECTL), Tool::Docker);
    let lab = Lab::new("dtraffic");
    lab.ok(&["start", "2", "--no-kubeconfig", "--engine", "docker"]);
    let report = update_under_traffic(&lab, CAREFUL, Duration::from_secs(2));
    assert_eq!(report["failed"], 0, "{report:#}");
}
