//! Metrics as a student meets them: a pod is scraped because its template says so, and PromQL is
//! answered on the command line, over HTTP, and at the address of the Service.

use serde_json::Value;

use crate::app;
use crate::http::get;
use crate::lab::{KUBECTL, Lab, SOON};
use crate::tools::{Tool, needs};
use crate::wait::wait_for;

/// The answer of a query, once it is not empty.
#[track_caller]
fn answered(lab: &Lab, query: &str) -> Value {
    wait_for(&format!("{query} has an answer"), SOON, || {
        let said = lab.ok(&["metrics", "query", query, "-o", "json"]);
        let answer: Value = serde_json::from_str(&said).map_err(|error| error.to_string())?;
        match answer["result"].as_array().is_some_and(Vec::is_empty) {
            true => Err(said),
            false => Ok(answer),
        }
    })
}

#[test]
fn an_annotated_pod_and_the_load_balancer_are_scraped_and_can_be_asked_about() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::new("metrics");
    let said = lab.start(&["1", "--speed", "15"]);
    let address = lab.address("metrics");
    assert!(
        said.contains(&format!("Metrics               {address}")),
        "{said}"
    );
    let image = lab.push_app("1.0.0");
    let annotations = "metadata:\n      annotations: {prometheus.io/scrape: \"true\"}\n      labels: {app: hello}";
    let manifests = app::manifests("hello", 1, &image)
        .replace("metadata:\n      labels: {app: hello}", annotations);
    lab.apply(&manifests);
    lab.rolled_out("deployment/hello");
    lab.answers(&lab.address("production"), 1);

    let up = answered(&lab, "up{job=\"kubernetes-pods\",app=\"hello\"} == 1");
    assert_eq!(up["result"][0]["metric"]["container"], "app", "{up}");
    answered(
        &lab,
        "gateway_requests_total{route=\"default/hello\",code=\"2xx\"} > 0",
    );
    answered(&lab, "sum(http_requests_total{namespace=\"default\"}) > 0");
    answered(
        &lab,
        "apiserver_request_total{job=\"control-plane\",verb=\"GET\"} > 0",
    );

    let targets = lab.ok(&["metrics", "targets"]);
    for word in [
        "kubernetes-pods",
        "gateway",
        "control-plane",
        "hello-",
        "up",
    ] {
        assert!(targets.contains(word), "{word:?} is not in {targets}");
    }
    let course = lab.ok(&["metrics", "query", "up{job=\"gateway\"}", "--range", "10m"]);
    assert!(
        course.contains("COURSE") && course.contains("▁"),
        "{course}"
    );
    let empty = lab.ok(&["metrics", "query", "nothing"]);
    assert!(empty.contains("devops-lab metrics targets"), "{empty}");
    let wrong = lab.devops_lab(&["metrics", "query", "sum(up"]);
    assert_eq!(wrong.code, Some(1), "{wrong}");
    assert!(
        wrong
            .stderr
            .contains("1:7: parse error: unclosed left parenthesis"),
        "{wrong}"
    );

    let service = lab.json_path(
        &["service/prometheus", "-n", "monitoring"],
        "{.spec.clusterIP}",
    );
    for url in [&address, &format!("http://{service}:9090")] {
        wait_for(&format!("{url} answers"), SOON, || {
            match get(&format!("{url}/-/healthy")) {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }

    lab.apply(
        "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata: {name: shop}\nspec:\n  groups:\n  - name: shop\n    rules:\n    - alert: HelloIsThere\n      expr: up{app=\"hello\"} == 1\n      labels: {deployment: hello, namespace: default}\n      annotations: {summary: \"{{ $labels.pod }} is up\"}\n",
    );
    wait_for("the alert is told", SOON, || {
        let described = lab.kubectl(&["describe", "deployment/hello"]);
        match described.contains("alert HelloIsThere fires: hello-") {
            true => Ok(()),
            false => Err(described),
        }
    });
    answered(
        &lab,
        "ALERTS{alertname=\"HelloIsThere\",alertstate=\"firing\"}",
    );

    lab.ok(&["stop"]);
    lab.start(&[]);
    assert_eq!(lab.address("metrics"), address, "the port is kept");
}
