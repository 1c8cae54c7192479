//! Rules in a real API server, on paused time: what a student sees of an alert.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use lab_api::monitoring::PrometheusRule;
use lab_apiserver::{ApiServer, ApiServerConfig, Version};
use lab_context::Context;
use lab_metrics::{Handle, Metrics, MetricsConfig};
use lab_store::Store;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A cluster's API with the metrics beside it, of which the test decides what they scrape.
struct Lab {
    client: kube::Client,
    context: Context,
    handle: Handle,
    errors: Arc<AtomicU32>,
    _stop: DropGuard,
}

impl Lab {
    async fn start() -> Self {
        let context = Context::simulated(1, 1.0);
        let stop = CancellationToken::new();
        let config = ApiServerConfig {
            service_cidr: (Ipv4Addr::new(10, 96, 0, 0), 16),
            version: Version::default(),
            node_connection: None,
            context: context.clone(),
            stop: stop.clone(),
        };
        let server = ApiServer::new(Store::in_memory(), config);
        server.ensure_namespaces().await.unwrap();
        let client = kube::Client::new(server.router(), "default");
        let errors = Arc::new(AtomicU32::new(0));
        let exposed = Arc::clone(&errors);
        let config = MetricsConfig {
            own: Some(Arc::new(move || {
                format!(
                    "shop_errors{{app=\"web\"}} {}\n",
                    exposed.load(Ordering::Relaxed)
                )
            })),
            ..MetricsConfig::default()
        };
        let metrics = Metrics::new(config, context.clone());
        let handle = metrics.handle();
        tokio::spawn(metrics.run(client.clone(), stop.clone()));
        Self {
            client,
            context,
            handle,
            errors,
            _stop: stop.drop_guard(),
        }
    }

    async fn apply(&self, rule: Value) -> Result<PrometheusRule, kube::Error> {
        let object = json!({"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule",
            "metadata": {"name": "shop"},
            "spec": {"groups": [{"name": "shop", "interval": "10s", "rules": [rule]}]}});
        Api::default_namespaced(self.client.clone())
            .create(
                &PostParams::default(),
                &serde_json::from_value(object).unwrap(),
            )
            .await
    }

    /// Reason, kind and message of every event.
    async fn events(&self) -> Vec<(String, String, String)> {
        let events: Api<Event> = Api::default_namespaced(self.client.clone());
        let events = events.list(&ListParams::default()).await.unwrap();
        let told = events.into_iter().map(|event| {
            (
                event.reason.unwrap_or_default(),
                event.involved_object.kind.unwrap_or_default(),
                event.message.unwrap_or_default(),
            )
        });
        told.collect()
    }

    async fn has_event(&self, reason: &str, kind: &str, message: &str) -> bool {
        self.events()
            .await
            .iter()
            .any(|(found, of, said)| found == reason && of == kind && said.contains(message))
    }

    fn number(&self, query: &str) -> Option<f64> {
        self.handle
            .instant(query, self.context.now())
            .unwrap()
            .number()
    }
}

async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

#[tokio::test(start_paused = true)]
async fn an_alert_fires_and_is_resolved_in_events_on_its_rule_and_its_workload() {
    let lab = Lab::start().await;
    let deployment = json!({"metadata": {"name": "web"}, "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "app", "image": "x"}]}}}});
    Api::<Deployment>::default_namespaced(lab.client.clone())
        .create(
            &PostParams::default(),
            &serde_json::from_value(deployment).unwrap(),
        )
        .await
        .unwrap();
    lab.apply(
        json!({"alert": "ShopErrors", "expr": "shop_errors > 1", "for": "30s",
        "labels": {"deployment": "{{ $labels.app }}", "namespace": "default"},
        "annotations": {"summary": "{{ $labels.app }} has {{ $value }} errors"}}),
    )
    .await
    .unwrap();
    seconds(60).await;
    assert_eq!(lab.number("ALERTS"), None);

    lab.errors.store(7, Ordering::Relaxed);
    seconds(30).await;
    assert_eq!(lab.number("ALERTS{alertstate=\"pending\"}"), Some(1.0));
    assert!(lab.events().await.is_empty());
    seconds(40).await;
    assert_eq!(
        lab.number("ALERTS{alertstate=\"firing\",deployment=\"web\"}"),
        Some(1.0)
    );
    assert_eq!(lab.number("ALERTS{alertstate=\"pending\"}"), None);
    for kind in ["PrometheusRule", "Deployment"] {
        let said = "alert ShopErrors fires: web has 7 errors";
        assert!(
            lab.has_event("AlertFiring", kind, said).await,
            "{:?}",
            lab.events().await
        );
    }

    lab.errors.store(0, Ordering::Relaxed);
    seconds(40).await;
    assert_eq!(lab.number("ALERTS"), None);
    for kind in ["PrometheusRule", "Deployment"] {
        let said = "alert ShopErrors is resolved";
        assert!(
            lab.has_event("AlertResolved", kind, said).await,
            "{:?}",
            lab.events().await
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_is_no_promql_is_told_in_an_event() {
    let lab = Lab::start().await;
    lab.apply(json!({"alert": "Broken", "expr": "sum(shop_errors"}))
        .await
        .unwrap();
    seconds(20).await;
    let said = "rule \"Broken\": 1:16: parse error: unclosed left parenthesis";
    assert!(
        lab.has_event("InvalidRule", "PrometheusRule", said).await,
        "{:?}",
        lab.events().await
    );
}

#[tokio::test(start_paused = true)]
async fn a_recorded_series_is_there_until_its_rule_is_deleted() {
    let lab = Lab::start().await;
    lab.apply(
        json!({"record": "shop:errors:double", "expr": "shop_errors * 2",
        "labels": {"team": "red"}}),
    )
    .await
    .unwrap();
    lab.errors.store(3, Ordering::Relaxed);
    seconds(60).await;
    assert_eq!(
        lab.number("shop:errors:double{team=\"red\",app=\"web\"}"),
        Some(6.0)
    );
    Api::<PrometheusRule>::default_namespaced(lab.client.clone())
        .delete("shop", &DeleteParams::default())
        .await
        .unwrap();
    seconds(5).await;
    assert_eq!(lab.number("shop:errors:double"), None);
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_names_no_rollout_says_so() {
    let lab = Lab::start().await;
    lab.errors.store(3, Ordering::Relaxed);
    lab.apply(json!({"alert": "ShopErrors", "expr": "shop_errors > 1",
        "annotations": {"devops-lab.dev/abort-rollout": "true"}}))
        .await
        .unwrap();
    seconds(40).await;
    assert!(
        lab.has_event(
            "RolloutNotAborted",
            "PrometheusRule",
            "no label \"rollout\""
        )
        .await,
        "{:?}",
        lab.events().await
    );
}

#[tokio::test(start_paused = true)]
async fn an_alert_aborts_the_rollout_that_it_names_while_one_is_under_way() {
    let lab = Lab::start().await;
    let gvk = kube::api::GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout");
    let resource = kube::api::ApiResource::from_gvk(&gvk);
    let rollouts: Api<DynamicObject> = Api::default_namespaced_with(lab.client.clone(), &resource);
    let rollout = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "web"}, "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"canary": {"steps": [{"setWeight": 10}, {"pause": {}}]}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "app", "image": "x"}]}}}});
    let rollout = serde_json::from_value(rollout).unwrap();
    rollouts
        .create(&PostParams::default(), &rollout)
        .await
        .unwrap();
    let set = async |status: Value| {
        let patch = Patch::Merge(json!({"status": status}));
        rollouts
            .patch_status("web", &PatchParams::default(), &patch)
            .await
            .unwrap();
    };
    let aborted = async || rollouts.get("web").await.unwrap().data["status"]["abort"] == true;
    set(json!({"stableRS": "a", "currentPodHash": "a"})).await;
    lab.apply(json!({"alert": "ShopErrors", "expr": "shop_errors > 1",
        "labels": {"rollout": "web", "namespace": "default"},
        "annotations": {"devops-lab.dev/abort-rollout": "true", "summary": "too many errors"}}))
        .await
        .unwrap();
    lab.errors.store(3, Ordering::Relaxed);
    seconds(40).await;
    assert!(!aborted().await, "nothing is under way");

    set(json!({"currentPodHash": "b"})).await;
    seconds(15).await;
    assert!(aborted().await);
    for kind in ["Rollout", "PrometheusRule"] {
        let said = "alert ShopErrors: too many errors";
        assert!(
            lab.has_event("RolloutAbortedByAlert", kind, said).await,
            "{:?}",
            lab.events().await
        );
    }
}
