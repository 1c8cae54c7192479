//! Canaries whose traffic a route of the Gateway API divides.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use lab_api::gateway::HTTPRoute;
use lab_api::rollouts::{GATEWAY_PLUGIN, IN_PROGRESS};
use serde_json::{Value, json};

use super::Stage;

fn strategy(fields: Value) -> Value {
    let mut canary = json!({"canaryService": "web-canary", "stableService": "web-stable",
        "trafficRouting": {"managedRoutes": [{"name": "beta"}], "plugins": {GATEWAY_PLUGIN: {"httpRoute": "web"}}}});
    for (key, value) in fields.as_object().unwrap() {
        canary[key] = value.clone();
    }
    json!({"canary": canary})
}

async fn start(fields: Value) -> Stage {
    let stage = Stage::unready(strategy(fields), json!({})).await;
    stage
        .cluster
        .create(json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "web"},
            "spec": {"parentRefs": [{"name": "devops-lab"}], "rules": [{"backendRefs": [
                {"name": "web-stable", "port": 80}, {"name": "web-canary", "port": 80}]}]}}))
        .await;
    stage.reaches("Healthy", "").await;
    stage
}

impl Stage {
    /// Weights of canary and stable in the route's own rule, and the number of rules.
    async fn route(&self) -> (i32, i32, usize) {
        let route: HTTPRoute = self.cluster.get("web").await.unwrap();
        let rules = route.spec.rules.unwrap();
        let weight = |name: &str| {
            let backends = rules.last().unwrap().backend_refs.as_ref().unwrap();
            let backend = backends.iter().find(|backend| backend.name == name);
            backend.unwrap().weight.unwrap()
        };
        (weight("web-canary"), weight("web-stable"), rules.len())
    }

    #[track_caller]
    fn routes(&self, expected: (i32, i32, usize)) -> impl Future<Output = ()> {
        self.cluster.until(expected, async || self.route().await)
    }
}

#[tokio::test(start_paused = true)]
async fn the_route_follows_the_weights_and_the_services_the_versions() {
    let stage = start(
        json!({"steps": [{"setWeight": 10}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}]}),
    )
    .await;
    stage.routes((0, 100, 1)).await;
    assert_eq!(stage.served("web-stable").await, "shop:1");
    stage.set_image("shop:2").await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    stage.routes((10, 90, 1)).await;
    // One pod is enough for 10 %, and stable stays whole.
    stage.has_pods(&[("shop:1", 3), ("shop:2", 1)]).await;
    assert_eq!(stage.served("web-canary").await, "shop:2");
    assert_eq!(stage.served("web-stable").await, "shop:1");
    let route: HTTPRoute = stage.cluster.get("web").await.unwrap();
    assert_eq!(route.metadata.labels.unwrap()[IN_PROGRESS], "in-progress");
    let weights = stage.status().await.canary.weights.unwrap();
    assert_eq!((weights.canary.weight, weights.stable.weight), (10, 90));
    stage.is_golden("routed-paused").await;
    stage.promote().await;
    stage.routes((50, 50, 1)).await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    stage.has_pods(&[("shop:1", 3), ("shop:2", 2)]).await;
    stage.promote().await;
    stage.reaches("Healthy", "").await;
    stage.routes((0, 100, 1)).await;
    assert_eq!(stage.served("web-stable").await, "shop:2");
    stage
        .has_event(
            "TrafficWeightUpdated",
            "Traffic weight updated from 10 to 50",
        )
        .await;
    stage
        .has_event(
            "SwitchService",
            "Switched selector for service 'web-stable'",
        )
        .await;
    // The old version is kept for 30 seconds.
    assert_eq!(
        stage.pods().await,
        [("shop:1".to_owned(), 3), ("shop:2".to_owned(), 3)]
    );
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(stage.pods().await, [("shop:2".to_owned(), 3)]);
}

#[tokio::test(start_paused = true)]
async fn an_abort_takes_the_traffic_away_at_once_and_the_pods_later() {
    let stage = start(json!({"steps": [{"setWeight": 50}, {"pause": {}}]})).await;
    stage.set_image("shop:2").await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    stage.routes((50, 50, 1)).await;
    stage.abort().await;
    stage.routes((0, 100, 1)).await;
    stage.has_pods(&[("shop:1", 3), ("shop:2", 2)]).await;
    assert_eq!(stage.served("web-canary").await, "shop:1");
    tokio::time::sleep(Duration::from_secs(40)).await;
    stage.has_pods(&[("shop:1", 3)]).await;
    stage
        .reaches(
            "Degraded",
            "RolloutAborted: Rollout aborted update to revision 2",
        )
        .await;
    stage.retry().await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    stage.routes((50, 50, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn after_an_abort_with_delay_0_the_canary_is_kept() {
    let fields = json!({"steps": [{"setWeight": 50}, {"pause": {}}, {"setCanaryScale": {"replicas": 2}}], "abortScaleDownDelaySeconds": 0});
    let stage = start(fields).await;
    stage.set_image("shop:2").await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    stage.abort().await;
    stage.routes((0, 100, 1)).await;
    stage
        .reaches(
            "Degraded",
            "RolloutAborted: Rollout aborted update to revision 2",
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_header_route_leads_the_bold_to_a_canary_without_traffic() {
    let header = json!({"name": "beta", "match": [{"headerName": "x-beta", "headerValue": {"exact": "yes"}}]});
    let stage = start(json!({"steps": [{"setCanaryScale": {"replicas": 1}}, {"setHeaderRoute": header}, {"pause": {}},
        {"setHeaderRoute": {"name": "beta"}}, {"setWeight": 50}, {"pause": {}}]}))
    .await;
    stage.set_image("shop:2").await;
    stage.reaches_step(2).await;
    stage.routes((0, 100, 2)).await;
    let route: HTTPRoute = stage.cluster.get("web").await.unwrap();
    let rule = route.spec.rules.unwrap().remove(0);
    assert_eq!(rule.name.as_deref(), Some("beta"));
    let headers = rule.matches.unwrap().remove(0).headers.unwrap();
    assert_eq!(
        (headers[0].name.as_str(), headers[0].value.as_str()),
        ("x-beta", "yes")
    );
    assert_eq!(rule.backend_refs.unwrap().len(), 1);
    stage.has_pods(&[("shop:1", 3), ("shop:2", 1)]).await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    stage.promote().await;
    stage.reaches_step(5).await;
    stage.routes((50, 50, 1)).await;
    stage.promote_full().await;
    stage.reaches("Healthy", "").await;
}

#[tokio::test(start_paused = true)]
async fn a_canary_may_have_all_its_pods_before_any_traffic() {
    let stage = start(json!({"steps": [{"setCanaryScale": {"weight": 100}}, {"pause": {}}, {"setCanaryScale": {"matchTrafficWeight": true}}, {"setWeight": 34}, {"pause": {}}]})).await;
    stage.set_image("shop:2").await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    stage.has_pods(&[("shop:1", 3), ("shop:2", 3)]).await;
    stage.routes((0, 100, 1)).await;
    stage.promote().await;
    stage.reaches_step(4).await;
    stage.routes((34, 66, 1)).await;
    stage.has_pods(&[("shop:1", 3), ("shop:2", 2)]).await;
}

#[tokio::test(start_paused = true)]
async fn a_dynamic_stable_version_shrinks_and_grows_back_before_it_gets_traffic() {
    let stage =
        start(json!({"dynamicStableScale": true, "steps": [{"setWeight": 67}, {"pause": {}}]}))
            .await;
    stage.set_image("shop:2").await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    stage.routes((67, 33, 1)).await;
    stage.has_pods(&[("shop:1", 1), ("shop:2", 3)]).await;
    stage.abort().await;
    stage.routes((0, 100, 1)).await;
    stage.has_pods(&[("shop:1", 3)]).await;
}

/// What the router was told, by revision: weights of routes, and pods that answer for Services.
#[derive(Clone, Debug)]
enum Told {
    Weights(BTreeMap<String, i32>),
    Ready(String, usize),
}

type Log = Arc<Mutex<BTreeMap<u64, Told>>>;

/// Writes down what the router is told from now on; and the ready pods of each Service at this
/// moment.
async fn listen(stage: &Stage) -> (Log, BTreeMap<String, usize>) {
    let log = Log::default();
    let client = stage.cluster.client.clone();
    let note = |log: &Log| {
        let log = Arc::clone(log);
        move |revision: Option<String>, told| {
            let revision = revision.unwrap().parse().unwrap();
            log.lock().unwrap().insert(revision, told);
        }
    };
    let (routes, slices) = (note(&log), note(&log));
    let api: Api<HTTPRoute> = Api::default_namespaced(client.clone());
    let watch = watcher(api, watcher::Config::default()).applied_objects();
    tokio::spawn(watch.for_each(move |route| {
        let route = route.unwrap();
        let backends = route.spec.rules.unwrap().pop().unwrap().backend_refs;
        let weights = backends.unwrap().into_iter();
        let weights = weights.map(|backend| (backend.name, backend.weight.unwrap_or(1)));
        routes(
            route.metadata.resource_version,
            Told::Weights(weights.collect()),
        );
        std::future::ready(())
    }));
    let api: Api<EndpointSlice> = Api::default_namespaced(client);
    let watch = watcher(api, watcher::Config::default()).applied_objects();
    tokio::spawn(watch.for_each(move |slice| {
        let slice = slice.unwrap();
        let service = slice.metadata.labels.unwrap()["kubernetes.io/service-name"].clone();
        let ready = slice.endpoints.iter().flatten();
        let ready = ready.filter(|it| it.conditions.as_ref().unwrap().ready == Some(true));
        let told = Told::Ready(service, ready.count());
        slices(slice.metadata.resource_version, told);
        std::future::ready(())
    }));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = std::mem::take(&mut *log.lock().unwrap());
    let ready = before.into_values().filter_map(|told| match told {
        Told::Ready(service, count) => Some((service, count)),
        Told::Weights(_) => None,
    });
    let ready = ready.collect();
    (log, ready)
}

#[tokio::test(start_paused = true)]
async fn traffic_is_never_led_to_a_service_whose_pods_the_router_does_not_know_yet() {
    let steps = json!([{"setWeight": 50}, {"pause": {}}, {"setWeight": 100}, {"pause": {}}]);
    for dynamic in [false, true] {
        let stage = start(json!({"dynamicStableScale": dynamic, "steps": steps})).await;
        let (log, mut ready) = listen(&stage).await;
        for image in ["shop:2", "shop:3"] {
            stage.set_image(image).await;
            stage.reaches_step(1).await;
            stage.reaches("Paused", "CanaryPauseStep").await;
            stage.promote().await;
            stage.reaches_step(3).await;
            stage.reaches("Paused", "CanaryPauseStep").await;
            if dynamic {
                stage.has_pods(&[(image, 3)]).await;
            }
            stage.promote().await;
            stage.reaches("Healthy", "").await;
            stage.routes((0, 100, 1)).await;
        }
        let mut changes = 0;
        for (revision, told) in log.lock().unwrap().clone() {
            match told {
                Told::Ready(service, count) => {
                    ready.insert(service, count);
                }
                Told::Weights(weights) => {
                    changes += 1;
                    for (service, weight) in weights {
                        let pods = ready.get(&service).copied().unwrap_or(0);
                        let answered = weight == 0 || pods > 0;
                        assert!(
                            answered,
                            "at {revision}, {service} gets {weight} without pods"
                        );
                    }
                }
            }
        }
        assert!(changes >= 6, "the weights have changed: {changes}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_that_is_not_as_it_must_be_is_named_and_awaited() {
    let stage = Stage::unready(strategy(json!({"steps": [{"setWeight": 10}]})), json!({})).await;
    stage
        .has_event("TrafficRoutingError", "HTTPRoute default/web not found")
        .await;
    stage
        .cluster
        .create(json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "web"},
            "spec": {"rules": [{"backendRefs": [{"name": "web-stable", "port": 80}]}]}}))
        .await;
    stage
        .has_event("TrafficRoutingError", "has no backend \"web-canary\"")
        .await;
}
