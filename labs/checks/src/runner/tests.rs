//! Whole steps, against an API server in this process and small HTTP servers.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use lab_apiserver::{ApiServer, ApiServerConfig, Version};
use lab_context::Context;
use lab_store::{Precondition, Store};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::context::Addresses;
use crate::fixtures::{World, merged, node};
use crate::library::Labs;

/// An API server in this process, holding these objects as they are, status and all.
async fn api(objects: impl IntoIterator<Item = Value>) -> kube::Client {
    let store = Store::in_memory();
    for object in objects {
        put(&store, object).await;
    }
    serve_api(store).await
}

async fn put(store: &Store, mut object: Value) {
    let collection = collection(object["kind"].as_str().unwrap());
    let name = object["metadata"]["name"].as_str().unwrap();
    let key = object["metadata"]["namespace"]
        .as_str()
        .map(|space| format!("{space}/{name}"));
    let key = key.unwrap_or_else(|| name.to_owned());
    let encode = move |revision: lab_store::Revision| {
        object["metadata"]["resourceVersion"] = json!(revision.to_string());
        object.to_string().into()
    };
    store
        .put(collection, &key, Precondition::None, encode)
        .await
        .unwrap();
}

async fn serve_api(store: Store) -> kube::Client {
    let config = ApiServerConfig {
        service_cidr: ([10, 96, 0, 0].into(), 16),
        version: Version::default(),
        node_connection: None,
        context: Context::simulated(1, 1.0),
        stop: CancellationToken::new(),
    };
    let server = ApiServer::new(store, config);
    server.ensure_namespaces().await.unwrap();
    kube::Client::new(server.router(), "default")
}

fn collection(kind: &str) -> &'static str {
    match kind {
        "Node" => "nodes",
        "Deployment" => "deployments.apps",
        "ReplicaSet" => "replicasets.apps",
        "Pod" => "pods",
        "Service" => "services",
        "Event" => "events",
        "EndpointSlice" => "endpointslices.discovery.k8s.io",
        "Gateway" => "gateways.gateway.networking.k8s.io",
        "HTTPRoute" => "httproutes.gateway.networking.k8s.io",
        other => panic!("no collection for {other}"),
    }
}

fn objects(world: World) -> Vec<Value> {
    let World {
        deployment,
        replica_sets,
        pods,
        events,
        service,
        slices,
        gateway,
        route,
    } = world;
    let nodes = ["node-1", "node-2", "node-3"].map(|name| node(name, "True"));
    let one = [deployment, service, gateway, route];
    one.into_iter()
        .chain(nodes)
        .chain(replica_sets)
        .chain(pods)
        .chain(events)
        .chain(slices)
        .collect()
}

/// Serves on a port of the system's choice and answers with its address.
async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A registry with one image, whose configuration is what the pods of the sample run.
fn registry() -> Router {
    let manifest = || async {
        let headers = [
            ("content-type", "application/json"),
            ("docker-content-digest", "sha256:m"),
        ];
        (
            headers,
            json!({"schemaVersion": 2, "config": {"digest": "sha256:c0ffee"}}).to_string(),
        )
    };
    Router::new()
        .route("/v2/hello/manifests/1.0.0", get(manifest))
        .route(
            "/v2/hello/tags/list",
            get(|| async { r#"{"name": "hello", "tags": ["1.0.0"]}"# }),
        )
        .route(
            "/v2/_catalog",
            get(|| async { r#"{"repositories": ["hello"]}"# }),
        )
}

/// The three pods in turn, as a load balancer does it.
fn load_balancer() -> Router {
    let turn = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    Router::new().route(
        "/",
        get(move || async move {
            let turn = turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 3 + 1;
            json!({"version": "1.0.0", "pod": format!("hello-5-{turn}")}).to_string()
        }),
    )
}

/// The world with the registry's real port in its images.
fn world(registry: &str) -> World {
    let mut world = World::new();
    world.event("Killing", "Pod", "hello-5-gone", "Stopping container hello");
    world.template("image", &json!(format!("{registry}/hello:1.0.0")));
    world
}

async fn reports(client: kube::Client, addresses: Addresses) -> Vec<StepReport> {
    let labs = Labs::embedded().unwrap();
    let lab = labs.get("deploy-three-replicas").unwrap();
    let context = CheckContext {
        limit: Duration::from_secs(60),
        patience: Duration::ZERO,
        ..CheckContext::new(client, addresses)
    };
    join_all(lab.steps.iter().map(|step| run_step(lab, step, &context))).await
}

/// Without the steps that ask for more than the world has: six replicas, and a node that was lost.
fn of_three_replicas(mut reports: Vec<StepReport>) -> Vec<StepReport> {
    reports.retain(|report| report.step != "scale" && report.step != "node");
    reports
}

fn verdicts(reports: &[StepReport]) -> Vec<(&str, Verdict)> {
    reports
        .iter()
        .map(|report| (report.step.as_str(), report.verdict))
        .collect()
}

#[tokio::test]
async fn every_step_holds_on_a_cluster_that_has_it_all() {
    let address = serve(registry()).await;
    let production = format!("http://{}", serve(load_balancer()).await);
    let client = api(objects(world(&address))).await;
    let addresses = Addresses {
        production,
        registry: address,
        ..Addresses::default()
    };
    let reports = of_three_replicas(reports(client, addresses).await);
    let failed: Vec<_> = reports
        .iter()
        .flat_map(|report| report.diagnoses())
        .collect();
    assert_eq!(failed, Vec::<&Diagnosis>::new());
    assert!(reports.iter().all(|report| !report.checks.is_empty()));
}

#[tokio::test]
async fn no_step_holds_on_an_empty_cluster() {
    let address = serve(
        Router::new()
            .route("/v2/_catalog", get(|| async { r#"{"repositories": []}"# }))
            .fallback(|| async {
                (
                    http::StatusCode::NOT_FOUND,
                    [("content-type", "application/json")],
                    "{}",
                )
            }),
    )
    .await;
    let production = format!("http://{}", serve(Router::new()).await);
    let addresses = Addresses {
        production,
        registry: address,
        ..Addresses::default()
    };
    let reports = reports(api([]).await, addresses).await;
    assert!(
        verdicts(&reports)
            .iter()
            .all(|(_, verdict)| *verdict == Verdict::NotYet),
        "{reports:?}"
    );
}

#[tokio::test]
async fn somebody_else_on_the_port_of_the_load_balancer_does_not_pass() {
    let address = serve(registry()).await;
    let stranger = Router::new().route(
        "/",
        get(|| async { r#"{"version": "1.0.0", "pod": "stranger"}"# }),
    );
    let production = format!("http://{}", serve(stranger).await);
    let client = api(objects(world(&address))).await;
    let addresses = Addresses {
        production,
        registry: address,
        ..Addresses::default()
    };
    let reports = of_three_replicas(reports(client, addresses).await);
    let found: Vec<_> = reports
        .iter()
        .flat_map(|report| report.diagnoses())
        .map(Diagnosis::id)
        .collect();
    assert_eq!(found, ["answered-by-stranger", "answered-by-stranger"]);
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_is_no_statement_about_the_learner() {
    let refused = tower::service_fn(|_: http::Request<kube::client::Body>| async {
        Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("connection refused"))
    });
    let nowhere = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let addresses = Addresses {
        production: format!("http://{nowhere}"),
        test: format!("http://{nowhere}"),
        registry: nowhere,
        ..Addresses::default()
    };
    let reports = reports(kube::Client::new(refused, "default"), addresses).await;
    for report in &reports {
        assert_eq!(report.verdict, Verdict::CouldNotRun, "{}", report.step);
        let labs = Labs::embedded().unwrap();
        let step = labs
            .get(&report.lab)
            .unwrap()
            .step(&report.step)
            .unwrap()
            .clone();
        assert!(
            report.hints(&step).is_empty(),
            "a hint where there is nothing to do"
        );
    }
    assert_eq!(
        reports[2].diagnoses().next().map(Diagnosis::id),
        Some("api-not-answering")
    );
}

#[tokio::test(start_paused = true)]
async fn a_check_that_takes_too_long_is_given_up() {
    let silent = tower::service_fn(|_: http::Request<kube::client::Body>| {
        std::future::pending::<Result<http::Response<kube::client::Body>, Infallible>>()
    });
    let reports = reports(kube::Client::new(silent, "default"), Addresses::default()).await;
    let why = reports[0].diagnoses().next().cloned();
    assert_eq!(
        why,
        Some(Diagnosis::TimedOut {
            seconds: "60".to_owned()
        })
    );
    assert_eq!(reports[0].verdict, Verdict::CouldNotRun);
}

#[tokio::test]
async fn the_hint_that_answers_the_diagnosis_comes_first() {
    let labs = Labs::embedded().unwrap();
    let lab = labs.get("deploy-three-replicas").unwrap();
    let mut world = World::new();
    world.service["spec"]["selector"] = json!({"app": "helo"});
    world.slices[0]["endpoints"] = json!([]);
    let context = CheckContext::new(api(objects(world)).await, Addresses::default());
    let step = lab.step("service").unwrap();
    let report = run_step(lab, step, &context).await;
    assert_eq!(
        report.hints(step)[0].when.as_deref(),
        Some("selector-matches-nothing")
    );
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["checks"][0]["outcome"], "not-yet");
    assert_eq!(
        json["checks"][0]["diagnosis"]["look"],
        "kubectl get pods --show-labels"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_is_waited_for_but_not_for_ever() {
    let labs = Labs::embedded().unwrap();
    let lab = labs.get("deploy-three-replicas").unwrap();
    let step = lab.step("service").unwrap();
    let mut world = World::new();
    let complete = world.slices[0].clone();
    world.slices[0]["endpoints"][0]["conditions"]["ready"] = json!(false);
    let store = Store::in_memory();
    for object in objects(world) {
        put(&store, object).await;
    }
    let context = CheckContext::new(serve_api(store.clone()).await, Addresses::default());

    let report = run_step(lab, step, &context).await;
    assert!(report.is_passing(), "{report:?}");
    let arrival = async {
        sleep(Duration::from_secs(1)).await;
        put(&store, complete).await;
    };
    let (report, ()) = futures::join!(run_step(lab, step, &context), arrival);
    assert_eq!(report.verdict, Verdict::Holds);
}

async fn report_of(context: &CheckContext, check: &str, with: Value) -> CheckReport {
    let check = CheckUse {
        check: check.to_owned(),
        with,
        causes: Vec::new(),
    };
    run_check(&check, &Step::default(), context).await
}

#[tokio::test]
async fn objects_of_any_kind_are_read_with_a_word_about_those_that_are_not_there() {
    let mut shop = World::new().service;
    shop["metadata"]["namespace"] = json!("shop");
    shop["metadata"]["name"] = json!("shop");
    let client = api(objects(World::new()).into_iter().chain([shop])).await;
    let context = CheckContext {
        patience: Duration::ZERO,
        ..CheckContext::new(client, Addresses::default())
    };
    let case = async |expected: Option<&str>, version: &str, kind: &str, more: Value| {
        let with = merged(json!({"apiVersion": version, "kind": kind}), more.clone());
        let report = report_of(&context, "object-matches", with).await;
        let found = report.outcome.diagnosis().map(Diagnosis::name);
        assert_eq!(found, expected, "{kind} {more}: {report:?}");
    };
    let named = |name: &str, condition: &str| json!({"name": name, "where": condition});
    let gateway = "gateway.networking.k8s.io/v1";
    case(
        None,
        "apps/v1",
        "Deployment",
        named("hello", "object.kind == 'Deployment'"),
    )
    .await;
    case(
        None,
        "v1",
        "Node",
        named("node-1", "object.apiVersion == 'v1'"),
    )
    .await;
    case(
        None,
        gateway,
        "HTTPRoute",
        named("hello", "size(object.spec.rules) == 1"),
    )
    .await;
    case(
        None,
        "v1",
        "Pod",
        json!({"selector": "app=hello", "atLeast": 3}),
    )
    .await;
    case(
        Some("too-few-objects"),
        "v1",
        "Pod",
        json!({"selector": "app=hello", "atLeast": 4}),
    )
    .await;
    case(
        Some("expression-false"),
        "apps/v1",
        "Deployment",
        named("hello", "object.spec.replicas == 2"),
    )
    .await;
    case(
        Some("named-otherwise"),
        "apps/v1",
        "Deployment",
        named("helo", "true"),
    )
    .await;
    case(
        Some("named-otherwise"),
        "v1",
        "Node",
        named("node-7", "true"),
    )
    .await;
    case(
        Some("in-another-namespace"),
        "v1",
        "Service",
        named("shop", "true"),
    )
    .await;
    case(Some("missing"), "v1", "ConfigMap", named("hello", "true")).await;
    case(
        Some("not-served"),
        "apps/v1",
        "Deploymnt",
        named("hello", "true"),
    )
    .await;
    case(
        Some("not-served"),
        "example.org/v1",
        "Thing",
        named("hello", "true"),
    )
    .await;
}

#[tokio::test]
async fn a_command_may_take_longer_than_other_checks_where_the_lab_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let context = CheckContext {
        limit: Duration::ZERO,
        desk: crate::context::Desk {
            workspace: Some(dir.path().to_owned()),
            ..crate::context::Desk::default()
        },
        ..CheckContext::new(api([]).await, Addresses::default())
    };
    let report = report_of(&context, "command-succeeds", json!({"run": ["true"]})).await;
    assert_eq!(report.outcome.verdict(), Verdict::Holds, "{report:?}");
    let slow = json!({"run": ["sleep", "100"], "seconds": 1});
    let report = report_of(&context, "command-succeeds", slow).await;
    let found = report.outcome.diagnosis().map(Diagnosis::name);
    assert_eq!(found, Some("command-too-slow"));
}
