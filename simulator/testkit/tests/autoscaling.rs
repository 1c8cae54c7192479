//! The autoscaling workshop on a cluster whose hours pass in moments: the rules that
//! `fixtures/autoscaling/README.md` promises.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use lab_api::selector::Selector;
use lab_apiserver::{
    ExternalValue, Measured, ObjectQuestion, ObjectValue, SeriesSource, SourceError,
};
use lab_engine::SimulatedUsage;
use lab_testkit::test_cluster::TestCluster;
use serde::de::DeserializeOwned;
use serde_json::json;

const NAME: &str = "mandelbrot";
/// Between two looks at the size; the autoscaler looks every 15 s.
const LOOK: Duration = Duration::from_secs(5);

fn fixture<T: DeserializeOwned>(file: &str) -> T {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    let text = std::fs::read_to_string(fixtures.join(file)).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

struct Workshop {
    cluster: TestCluster,
    /// CPU in thousandths that the pods share.
    load: Arc<AtomicU64>,
}

impl Workshop {
    async fn start(replicas: i32, autoscaler: &str) -> Self {
        let cluster = TestCluster::start(4, 1).await;
        let load = Arc::new(AtomicU64::new(0));
        let shared = Arc::clone(&load);
        cluster.engine.script_usage(Arc::new(move |_, _, sharers| {
            let sharers = u64::try_from(sharers).unwrap();
            Some(SimulatedUsage {
                cpu_millis: shared.load(Ordering::Relaxed) / sharers,
                memory_bytes: 1 << 20,
            })
        }));
        let mut deployment: Deployment = fixture("apps/mandelbrot/k8s/deployment.yaml");
        deployment.spec.as_mut().unwrap().replicas = Some(replicas);
        let workshop = Self { cluster, load };
        let api = workshop.deployments();
        api.create(&PostParams::default(), &deployment)
            .await
            .unwrap();
        workshop.cluster.rolled_out(NAME).await;
        let autoscaler: HorizontalPodAutoscaler = fixture(autoscaler);
        let api = workshop.autoscalers();
        api.create(&PostParams::default(), &autoscaler)
            .await
            .unwrap();
        workshop
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::default_namespaced(self.cluster.client.clone())
    }

    fn autoscalers(&self) -> Api<HorizontalPodAutoscaler> {
        Api::default_namespaced(self.cluster.client.clone())
    }

    async fn size(&self) -> i32 {
        let deployment = self.deployments().get(NAME).await.unwrap();
        deployment.spec.unwrap().replicas.unwrap()
    }

    /// Lets a load work for a while, and answers every size that there was, with the seconds
    /// since the load began.
    async fn live(&self, load_millis: u64, minutes: u64) -> Vec<(i32, u64)> {
        self.load.store(load_millis, Ordering::Relaxed);
        let began = tokio::time::Instant::now();
        let mut sizes = vec![(self.size().await, 0)];
        while began.elapsed() < Duration::from_secs(60 * minutes) {
            tokio::time::sleep(LOOK).await;
            let size = self.size().await;
            if sizes.last().unwrap().0 != size {
                sizes.push((size, began.elapsed().as_secs()));
            }
        }
        sizes
    }

    async fn condition(&self, type_: &str) -> (String, String) {
        let autoscaler = self.autoscalers().get(NAME).await.unwrap();
        let conditions = autoscaler.status.unwrap().conditions.unwrap();
        let found = conditions
            .into_iter()
            .find(|one| one.type_ == type_)
            .unwrap();
        (found.status, found.reason.unwrap())
    }

    async fn events(&self) -> Vec<String> {
        let events: Api<Event> = Api::default_namespaced(self.cluster.client.clone());
        let about = ListParams::default().fields(&format!("involvedObject.name={NAME}"));
        let events = events.list(&about).await.unwrap();
        let rescales = events.items.into_iter().filter(|event| {
            event.involved_object.kind.as_deref() == Some("HorizontalPodAutoscaler")
        });
        rescales
            .map(|event| format!("{}: {}", event.reason.unwrap(), event.message.unwrap()))
            .collect()
    }
}

fn only_sizes(sizes: &[(i32, u64)]) -> Vec<i32> {
    sizes.iter().map(|(size, _)| *size).collect()
}

#[track_caller]
fn cools_down(sizes: &[(i32, u64)]) {
    let changes = sizes.iter().skip(1).map(|(_, at)| *at).collect::<Vec<_>>();
    for pair in changes.windows(2) {
        assert!(pair[1] - pair[0] >= 300 - LOOK.as_secs(), "{sizes:?}");
    }
}

/// Four pods that request a quarter of a core each: a load of 1000 is 100 %.
#[tokio::test(start_paused = true)]
async fn above_70_percent_for_two_minutes_half_as_many_are_added_and_then_it_cools_down() {
    let workshop = Workshop::start(4, "autoscaling/workshop.yaml").await;
    // 70 % is not above 70 %, 40 % is not below 40 %.
    assert_eq!(only_sizes(&workshop.live(700, 15).await), [4]);
    assert_eq!(only_sizes(&workshop.live(400, 15).await), [4]);

    let sizes = workshop.live(3000, 18).await;
    assert_eq!(only_sizes(&sizes)[..4], [4, 6, 9, 14], "{sizes:?}");
    let first = sizes[1].1;
    assert!((120..=150).contains(&first), "two minutes first: {sizes:?}");
    cools_down(&sizes);
    let events = workshop.events().await;
    let expected = "SuccessfulRescale: New size: 6; reason: cpu resource utilization (percentage of request) above target";
    assert!(events.iter().any(|event| event == expected), "{events:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_peak_of_a_minute_changes_nothing() {
    let workshop = Workshop::start(4, "autoscaling/workshop.yaml").await;
    workshop.live(500, 10).await;
    assert_eq!(only_sizes(&workshop.live(2000, 1).await), [4]);
    assert_eq!(
        workshop.condition("AbleToScale").await.1,
        "ScaleUpStabilized"
    );
    assert_eq!(only_sizes(&workshop.live(500, 10).await), [4]);
}

#[tokio::test(start_paused = true)]
async fn below_40_percent_one_leaves_every_five_minutes_down_to_the_minimum() {
    let workshop = Workshop::start(5, "autoscaling/workshop.yaml").await;
    workshop.live(600, 10).await;
    let sizes = workshop.live(100, 25).await;
    assert_eq!(only_sizes(&sizes), [5, 4, 3, 2], "{sizes:?}");
    assert!((120..=150).contains(&sizes[1].1), "{sizes:?}");
    cools_down(&sizes);
    let events = workshop.events().await;
    let expected = "SuccessfulRescale: New size: 4; reason: All metrics below target";
    assert!(events.iter().any(|event| event == expected), "{events:#?}");
    assert_eq!(
        workshop.condition("ScalingLimited").await,
        ("True".to_owned(), "TooFewReplicas".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn without_figures_the_size_stays_and_the_autoscaler_says_why() {
    let workshop = Workshop::start(4, "autoscaling/requests.yaml").await;
    assert_eq!(only_sizes(&workshop.live(3000, 10).await), [4]);
    assert_eq!(
        workshop.condition("ScalingActive").await,
        ("False".to_owned(), "FailedGetPodsMetric".to_owned())
    );
    let none = json!({"spec": {"replicas": 0}});
    let (api, params) = (workshop.deployments(), PatchParams::default());
    api.patch(NAME, &params, &Patch::Merge(none)).await.unwrap();
    assert_eq!(only_sizes(&workshop.live(0, 2).await), [0]);
    assert_eq!(
        workshop.condition("ScalingActive").await.1,
        "ScalingDisabled"
    );
}

/// Says the same of every object and of every queue.
struct Numbers;

#[async_trait]
impl SeriesSource for Numbers {
    async fn of_objects(&self, asked: &ObjectQuestion) -> Result<Vec<ObjectValue>, SourceError> {
        let value = match (asked.resource.as_str(), asked.metric.as_str()) {
            ("pods", "http_requests") => 25.0,
            ("httproutes", "gateway_request_duration_seconds_avg") => 6.0,
            _ => return Err(SourceError::NotFound(asked.metric.clone())),
        };
        let names = asked.names.iter();
        let values = names.map(|name| ObjectValue {
            name: name.clone(),
            measured: measured(value),
        });
        Ok(values.collect())
    }

    async fn external(
        &self,
        _namespace: &str,
        metric: &str,
        selector: &Selector,
    ) -> Result<Vec<ExternalValue>, SourceError> {
        assert_eq!(metric, "jobs:waiting");
        assert!(selector.matches(&BTreeMap::from([("queue".to_owned(), "mail".to_owned())])));
        let one = ExternalValue {
            labels: BTreeMap::new(),
            measured: measured(25.0),
        };
        Ok(vec![one.clone(), one])
    }
}

fn measured(value: f64) -> Measured {
    Measured {
        value,
        time: jiff::Timestamp::UNIX_EPOCH,
        window: None,
    }
}

#[tokio::test(start_paused = true)]
async fn other_metrics_are_followed_through_their_apis() {
    let cluster = TestCluster::start(2, 1).await;
    cluster.server.serve_series(Arc::new(Numbers));
    let metrics = [
        // 25 for each of 2, where 10 are to be: 5.
        json!({"type": "Pods", "pods": {"metric": {"name": "http_requests"},
            "target": {"type": "AverageValue", "averageValue": "10"}}}),
        // Twice as slow as wanted: twice as many.
        json!({"type": "Object", "object": {
            "describedObject": {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "name": "web"},
            "metric": {"name": "gateway_request_duration_seconds_avg"},
            "target": {"type": "Value", "value": "3"}}}),
        // 50 altogether, 10 for each.
        json!({"type": "External", "external": {
            "metric": {"name": "jobs:waiting", "selector": {"matchLabels": {"queue": "mail"}}},
            "target": {"type": "AverageValue", "averageValue": "10"}}}),
    ];
    let deployments: Api<Deployment> = Api::default_namespaced(cluster.client.clone());
    let autoscalers: Api<HorizontalPodAutoscaler> = Api::default_namespaced(cluster.client.clone());
    for ((name, metric), expected) in ["pods", "object", "external"]
        .iter()
        .zip(metrics)
        .zip([5, 4, 5])
    {
        cluster.deploy(name, "web:1", 2).await;
        cluster.rolled_out(name).await;
        let autoscaler = json!({"metadata": {"name": name}, "spec": {"minReplicas": 1, "maxReplicas": 7,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}, "metrics": [metric]}});
        let autoscaler = serde_json::from_value(autoscaler).unwrap();
        autoscalers
            .create(&PostParams::default(), &autoscaler)
            .await
            .unwrap();
        let scaled = async || {
            let deployment = deployments.get(name).await.unwrap();
            let wanted = deployment.spec.unwrap().replicas;
            wanted.is_some_and(|wanted| wanted >= expected)
        };
        cluster
            .eventually(&format!("{name} has {expected} replicas"), scaled)
            .await;
    }
}
