//! AnalysisRuns from their first measurement to their end, on paused time.
//!
//! Each snapshot under `snapshots/` is the status that a run ends with, its times as seconds
//! since its start.

#![expect(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "helpers of tests, whose tables read best without references"
)]

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod, Secret};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use lab_api::analysis::AnalysisRun;
use lab_testkit::http::{ScriptedHttp, text, vector};
use lab_testkit::test_cluster::TestCluster;
use serde_json::{Value, json};

const ADDRESS: &str = "http://prometheus.monitoring.svc:9090";

async fn cluster() -> (TestCluster, ScriptedHttp) {
    let http = ScriptedHttp::new();
    let cluster = TestCluster::start_with(1, 1, http.clone()).await;
    (cluster, http)
}

fn runs(cluster: &TestCluster) -> Api<AnalysisRun> {
    Api::default_namespaced(cluster.client.clone())
}

async fn create(cluster: &TestCluster, name: &str, spec: Value) {
    let run = json!({"metadata": {"name": name}, "spec": spec});
    let run = serde_json::from_value(run).unwrap();
    let created = runs(cluster).create(&PostParams::default(), &run).await;
    created.unwrap();
}

async fn ended(cluster: &TestCluster, name: &str) -> AnalysisRun {
    cluster
        .eventually(&format!("{name} ends"), async || {
            runs(cluster)
                .get(name)
                .await
                .unwrap()
                .phase()
                .is_completed()
        })
        .await;
    runs(cluster).get(name).await.unwrap()
}

/// A prometheus metric `errors`, with further fields.
fn metric(fields: Value) -> Value {
    let mut metric = json!({"name": "errors",
        "provider": {"prometheus": {"address": ADDRESS, "query": "errors"}}});
    for (key, value) in fields.as_object().unwrap() {
        metric[key] = value.clone();
    }
    metric
}

/// The status as a text, its times as seconds since `startedAt`.
fn status(run: &AnalysisRun) -> String {
    let mut status = serde_json::to_value(run.status.as_ref().unwrap()).unwrap();
    let start: Timestamp = status["startedAt"].as_str().unwrap().parse().unwrap();
    relative(&mut status, start);
    serde_json::to_string_pretty(&status).unwrap()
}

fn relative(value: &mut Value, start: Timestamp) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields.iter_mut() {
                match field
                    .as_str()
                    .and_then(|text| text.parse::<Timestamp>().ok())
                {
                    Some(at) if key.ends_with("At") => {
                        *field = json!(format!("+{}s", at.as_second() - start.as_second()));
                    }
                    _ => relative(field, start),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| relative(item, start)),
        _ => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_succeeds_after_its_count() {
    let (cluster, http) = cluster().await;
    http.answer("/api/v1/query", [vector(&[0.01]), vector(&[0.02])]);
    let metric = metric(
        json!({"interval": "30s", "count": 3, "successCondition": "result[0] < {{args.limit}}"}),
    );
    let args = json!([{"name": "limit", "value": "0.05"}]);
    create(&cluster, "good", json!({"metrics": [metric], "args": args})).await;
    insta::assert_snapshot!(status(&ended(&cluster, "good").await));
    assert_eq!(http.requests().len(), 3);
    assert_eq!(http.requests()[0].timeout, Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_run_fails_at_its_limit_and_ends_its_other_metrics() {
    let (cluster, http) = cluster().await;
    http.answer("/api/v1/query", [vector(&[0.01]), vector(&[0.5])]);
    http.answer("shop", [text(200, "OK")]);
    let errors = metric(
        json!({"interval": "10s", "failureLimit": 1, "successCondition": "result[0] < 0.05"}),
    );
    let other =
        json!({"name": "shop", "interval": "7s", "provider": {"web": {"url": "http://shop/"}}});
    create(&cluster, "bad", json!({"metrics": [errors, other]})).await;
    insta::assert_snapshot!(status(&ended(&cluster, "bad").await));
    let events = Api::<Event>::default_namespaced(cluster.client.clone());
    let events = events.list(&ListParams::default()).await.unwrap();
    let of_run: Vec<_> = events
        .iter()
        .filter(|event| event.involved_object.kind.as_deref() == Some("AnalysisRun"))
        .map(|event| event.reason.as_deref().unwrap_or_default())
        .collect();
    assert!(of_run.contains(&"MetricFailed"), "{of_run:?}");
    assert!(of_run.contains(&"AnalysisRunFailed"), "{of_run:?}");
}

#[tokio::test(start_paused = true)]
async fn errors_are_tried_again_after_ten_seconds_and_end_the_run_at_the_fifth() {
    let (cluster, http) = cluster().await;
    http.answer("/api/v1/query", [vector(&[])]);
    create(
        &cluster,
        "empty",
        json!({"metrics": [metric(json!({"successCondition": "result[0] < 0.05"}))]}),
    )
    .await;
    insta::assert_snapshot!(status(&ended(&cluster, "empty").await));
}

#[tokio::test(start_paused = true)]
async fn an_error_does_not_use_up_the_count() {
    let (cluster, http) = cluster().await;
    http.answer("/api/v1/query", [text(503, "busy"), vector(&[0.0])]);
    create(
        &cluster,
        "late",
        json!({"metrics": [metric(json!({"successCondition": "result[0] < 0.05"}))]}),
    )
    .await;
    insta::assert_snapshot!(status(&ended(&cluster, "late").await));
}

#[tokio::test(start_paused = true)]
async fn neither_good_nor_bad_is_inconclusive() {
    let (cluster, http) = cluster().await;
    http.answer("/api/v1/query", [vector(&[0.1])]);
    let metric = metric(
        json!({"successCondition": "result[0] < 0.05", "failureCondition": "result[0] > 0.2"}),
    );
    create(&cluster, "unclear", json!({"metrics": [metric]})).await;
    insta::assert_snapshot!(status(&ended(&cluster, "unclear").await));
}

#[tokio::test(start_paused = true)]
async fn a_run_without_end_is_terminated_and_successful() {
    let (cluster, http) = cluster().await;
    http.answer("/api/v1/query", [vector(&[0.0])]);
    create(
        &cluster,
        "background",
        json!({"metrics": [metric(json!({"interval": "1m", "initialDelay": "5m", "successCondition": "result[0] < 0.05"}))]}),
    )
    .await;
    // Five minutes of delay and fifteen of measurements, of which ten are kept.
    tokio::time::sleep(Duration::from_secs(20 * 60 + 30)).await;
    let terminate = Patch::Merge(json!({"spec": {"terminate": true}}));
    runs(&cluster)
        .patch("background", &PatchParams::default(), &terminate)
        .await
        .unwrap();
    let run = ended(&cluster, "background").await;
    let result = &run.status.as_ref().unwrap().metric_results[0];
    assert_eq!((result.count, result.measurements.len()), (16, 10));
    insta::assert_snapshot!(status(&run));
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_metric_fails_without_harm() {
    let (cluster, http) = cluster().await;
    http.answer("/api/v1/query", [vector(&[0.9])]);
    http.answer("shop", [text(200, "{\"ok\": true}")]);
    let errors = metric(json!({"successCondition": "result[0] < 0.05"}));
    let other = json!({"name": "shop", "successCondition": "result", "interval": "10s", "count": 2,
        "provider": {"web": {"url": "http://shop/", "jsonPath": "{$.ok}"}}});
    create(
        &cluster,
        "dry",
        json!({"metrics": [errors, other], "dryRun": [{"metricName": "err.*"}],
            "measurementRetention": [{"metricName": "*", "limit": 1}]}),
    )
    .await;
    insta::assert_snapshot!(status(&ended(&cluster, "dry").await));
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_sent_and_never_shown() {
    let (cluster, http) = cluster().await;
    http.answer("shop", [text(200, "you said hunter2")]);
    let secret: Secret = serde_json::from_value(
        json!({"metadata": {"name": "login"}, "stringData": {"token": "hunter2"}}),
    )
    .unwrap();
    Api::<Secret>::default_namespaced(cluster.client.clone())
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
    let web = json!({"url": "http://shop/", "headers": [{"key": "Authorization", "value": "Bearer {{args.token}}"}]});
    let args = json!([{"name": "token", "valueFrom": {"secretKeyRef": {"name": "login", "key": "token"}}}]);
    create(
        &cluster,
        "secret",
        json!({"metrics": [{"name": "shop", "provider": {"web": web}}], "args": args}),
    )
    .await;
    let run = ended(&cluster, "secret").await;
    let sent = &http.requests()[0].headers;
    assert!(sent.contains(&("Authorization".to_owned(), "Bearer hunter2".to_owned())));
    let value = run.status.unwrap().metric_results[0].measurements[0]
        .value
        .clone();
    assert_eq!(value.as_deref(), Some("you said *****"));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_cannot_be_measured_says_why() {
    let (cluster, _http) = cluster().await;
    let message = async |name: &str, spec: Value| {
        create(&cluster, name, spec).await;
        let status = ended(&cluster, name).await.status.unwrap();
        format!("{}: {}", status.phase.unwrap(), status.message.unwrap())
    };
    let two = metric(json!({"count": 2}));
    assert_eq!(
        message("two", json!({"metrics": [two]})).await,
        "Error: Analysis spec invalid: metrics[0]: interval must be specified when count > 1"
    );
    let datadog = json!({"name": "m", "provider": {"datadog": {"query": "avg:x"}}});
    assert_eq!(
        message("datadog", json!({"metrics": [datadog]})).await,
        "Error: Analysis spec invalid: metrics[0]: provider \"datadog\" is not supported here: use prometheus, web or job"
    );
    let args =
        json!([{"name": "token", "valueFrom": {"secretKeyRef": {"name": "nobody", "key": "k"}}}]);
    assert_eq!(
        message(
            "nobody",
            json!({"metrics": [metric(json!({}))], "args": args})
        )
        .await,
        "Error: Unable to resolve metric arguments: secret \"nobody\" not found"
    );
}

/// A metric by a Job whose pods come from a simulated image.
fn job(image: &str) -> Value {
    json!({"name": "smoke-test", "provider": {"job": {"spec": {"backoffLimit": 1, "template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "test", "image": image}]}}}}}})
}

#[tokio::test(start_paused = true)]
async fn a_job_that_ends_well_is_a_success_and_one_that_does_not_a_failure() {
    let (cluster, _http) = cluster().await;
    create(&cluster, "smoke", json!({"metrics": [job("test:done")]})).await;
    let run = ended(&cluster, "smoke").await;
    assert_eq!(run.phase().as_str(), "Successful");
    create(
        &cluster,
        "smoke-bad",
        json!({"metrics": [job("test:crash")]}),
    )
    .await;
    let run = ended(&cluster, "smoke-bad").await;
    assert_eq!(
        run.status.unwrap().message.as_deref(),
        Some("Metric \"smoke-test\" assessed Failed due to failed (1) > failureLimit (0)")
    );
    let jobs = Api::<Job>::default_namespaced(cluster.client.clone());
    assert_eq!(
        jobs.list(&ListParams::default()).await.unwrap().items.len(),
        2
    );
    // A run takes its Jobs and their pods with it.
    for name in ["smoke", "smoke-bad"] {
        runs(&cluster)
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }
    let pods = Api::<Pod>::default_namespaced(cluster.client.clone());
    cluster
        .eventually("all is cleaned up", async || {
            jobs.list(&ListParams::default())
                .await
                .unwrap()
                .items
                .is_empty()
                && pods
                    .list(&ListParams::default())
                    .await
                    .unwrap()
                    .items
                    .is_empty()
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_terminated_run_takes_its_job_away() {
    let (cluster, _http) = cluster().await;
    create(&cluster, "smoke", json!({"metrics": [job("test:1")]})).await;
    let jobs = Api::<Job>::default_namespaced(cluster.client.clone());
    cluster
        .eventually("the job runs", async || {
            let all = jobs.list(&ListParams::default()).await.unwrap();
            all.iter().any(|job| {
                job.status
                    .as_ref()
                    .is_some_and(|status| status.ready == Some(1))
            })
        })
        .await;
    let terminate = Patch::Merge(json!({"spec": {"terminate": true}}));
    runs(&cluster)
        .patch("smoke", &PatchParams::default(), &terminate)
        .await
        .unwrap();
    let status = ended(&cluster, "smoke").await.status.unwrap();
    assert_eq!(status.phase.unwrap().as_str(), "Successful");
    let last = status.metric_results[0]
        .measurements
        .last()
        .unwrap()
        .clone();
    assert_eq!(last.message.as_deref(), Some("metric terminated"));
    cluster
        .eventually("the job is gone", async || {
            jobs.list(&ListParams::default())
                .await
                .unwrap()
                .items
                .is_empty()
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_finished_run_is_deleted_when_its_time_is_over() {
    let (cluster, http) = cluster().await;
    http.answer("/api/v1/query", [vector(&[0.0])]);
    create(
        &cluster,
        "short",
        json!({"metrics": [metric(json!({}))], "ttlStrategy": {"secondsAfterSuccess": 60}}),
    )
    .await;
    ended(&cluster, "short").await;
    let began = tokio::time::Instant::now();
    cluster
        .eventually("it is gone", async || {
            runs(&cluster).get_opt("short").await.unwrap().is_none()
        })
        .await;
    assert!(
        (58..=62).contains(&began.elapsed().as_secs()),
        "{:?}",
        began.elapsed()
    );
}

mod jobs {
    use super::*;

    fn jobs(cluster: &TestCluster) -> Api<Job> {
        Api::default_namespaced(cluster.client.clone())
    }

    async fn run(cluster: &TestCluster, name: &str, image: &str, spec: Value) {
        let mut job = json!({"metadata": {"name": name}, "spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": image}]}}}});
        for (key, value) in spec.as_object().unwrap() {
            job["spec"][key] = value.clone();
        }
        let job = serde_json::from_value(job).unwrap();
        jobs(cluster)
            .create(&PostParams::default(), &job)
            .await
            .unwrap();
    }

    async fn ends(cluster: &TestCluster, name: &str, condition: &str) -> Job {
        let found = async || jobs(cluster).get(name).await.unwrap();
        let holds = |job: &Job| {
            let status = job.status.clone().unwrap_or_default();
            let conditions = status.conditions.unwrap_or_default();
            conditions
                .iter()
                .any(|it| it.type_ == condition && it.status == "True")
        };
        cluster
            .eventually(&format!("{name} is {condition}"), async || {
                holds(&found().await)
            })
            .await;
        found().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_runs_its_completions_a_few_at_a_time() {
        let (cluster, _http) = cluster().await;
        run(
            &cluster,
            "batch",
            "work:done",
            json!({"completions": 5, "parallelism": 2}),
        )
        .await;
        let job = ends(&cluster, "batch", "Complete").await;
        let status = job.status.unwrap();
        assert_eq!((status.succeeded, status.active), (Some(5), None));
        let pods = Api::<Pod>::default_namespaced(cluster.client.clone());
        let pods = pods
            .list(&ListParams::default().labels("job-name=batch"))
            .await
            .unwrap();
        assert_eq!(pods.items.len(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_gives_up_after_its_limit() {
        let (cluster, _http) = cluster().await;
        let began = tokio::time::Instant::now();
        run(&cluster, "broken", "work:crash", json!({"backoffLimit": 2})).await;
        let job = ends(&cluster, "broken", "Failed").await;
        assert_eq!(job.status.unwrap().failed, Some(3));
        // Ten and twenty seconds between the three tries.
        assert!(
            (30..45).contains(&began.elapsed().as_secs()),
            "{:?}",
            began.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_takes_too_long_is_ended() {
        let (cluster, _http) = cluster().await;
        run(
            &cluster,
            "endless",
            "work:1",
            json!({"activeDeadlineSeconds": 60, "ttlSecondsAfterFinished": 30}),
        )
        .await;
        let job = ends(&cluster, "endless", "Failed").await;
        let conditions = job.status.unwrap().conditions.unwrap();
        assert_eq!(conditions[1].reason.as_deref(), Some("DeadlineExceeded"));
        cluster
            .eventually("the job and its pods are gone", async || {
                let pods = Api::<Pod>::default_namespaced(cluster.client.clone());
                jobs(&cluster).get_opt("endless").await.unwrap().is_none()
                    && pods
                        .list(&ListParams::default())
                        .await
                        .unwrap()
                        .items
                        .is_empty()
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspended_job_waits() {
        let (cluster, _http) = cluster().await;
        run(&cluster, "later", "work:done", json!({"suspend": true})).await;
        ends(&cluster, "later", "Suspended").await;
        let resume = Patch::Merge(json!({"spec": {"suspend": false}}));
        jobs(&cluster)
            .patch("later", &PatchParams::default(), &resume)
            .await
            .unwrap();
        ends(&cluster, "later", "Complete").await;
    }
}
