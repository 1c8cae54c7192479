//! From objects to the rule that a request belongs to.

use std::net::SocketAddr;

use http::StatusCode;
use http::request::Parts;
use lab_context::Context;
use serde_json::{Value, json};

use super::{Registry, Table, host_of};
use crate::config::IngressPorts;
use crate::plan::Plan;
use crate::testing::{gateway, put, route, service, slice, world};
use crate::world::World;

fn table(world: &World) -> Table {
    let context = Context::simulated(1, 1.0);
    Registry::new(context, std::sync::Arc::default()).build(&Plan::of(world), world)
}

fn request(method: &str, target: &str, headers: &[&str]) -> Parts {
    let mut request = http::Request::builder().method(method).uri(target);
    for header in headers {
        let (name, value) = header.split_once(": ").expect("a header is name: value");
        request = request.header(name, value);
    }
    request.body(()).unwrap().into_parts().0
}

/// `GET host:port/path` or `GET host:port/path header: value`.
#[track_caller]
fn case(table: &Table, line: &str, expected: Option<&str>) {
    let (method, rest) = line.split_once(' ').expect("a method comes first");
    let (target, header) = rest.split_once(' ').unwrap_or((rest, ""));
    let slash = target.find('/').expect("a path comes after the host");
    let (authority, path) = target.split_at(slash);
    let port = authority
        .rsplit_once(':')
        .map_or(80, |(_, port)| port.parse().unwrap());
    let headers: Vec<_> = Some(header)
        .filter(|header| !header.is_empty())
        .into_iter()
        .collect();
    let hit = table.route(port, &host_of(authority), &request(method, path, &headers));
    let found = hit.map(|hit| format!("{}#{}", hit.rule.route, hit.rule.index));
    assert_eq!(found.as_deref(), expected, "{line}");
}

fn rules(matches: &[Value]) -> Value {
    matches
        .iter()
        .map(|found| json!({"matches": [found], "backendRefs": [{"name": "a", "port": 80}]}))
        .collect()
}

fn path(value: &str) -> Value {
    json!({"path": {"type": "PathPrefix", "value": value}})
}

/// As in the conformance tests HTTPRouteMatchingAcrossRoutes and HTTPRoutePathMatchOrder.
#[tokio::test]
async fn rules_of_all_routes_of_a_listener_compete() {
    let world = world([
        gateway(json!([{"name": "production", "port": 80}])),
        route(
            "one",
            &["example.com", "example.net"],
            rules(&[
                path("/"),
                json!({"headers": [{"name": "version", "value": "one"}]}),
            ]),
        ),
        route(
            "two",
            &["example.com"],
            rules(&[
                path("/v2"),
                json!({"path": {"type": "Exact", "value": "/v2/exact"}}),
                json!({"headers": [{"name": "version", "value": "two"}]}),
            ]),
        ),
    ]);
    let table = table(&world);
    case(&table, "GET example.com/", Some("default/one#0"));
    case(&table, "GET example.com/example", Some("default/one#0"));
    case(&table, "GET example.net/v2", Some("default/one#0"));
    case(&table, "GET example.com/v2", Some("default/two#0"));
    case(&table, "GET example.com/v2/exact", Some("default/two#1"));
    case(
        &table,
        "GET example.com/v2 version: one",
        Some("default/two#0"),
    );
    case(
        &table,
        "GET example.com/ version: one",
        Some("default/one#1"),
    );
    case(
        &table,
        "GET example.com/v2example version: two",
        Some("default/two#2"),
    );
    case(&table, "GET EXAMPLE.com:80/v2", Some("default/two#0"));
    case(&table, "GET example.org/", None);
    case(&table, "GET example.com:8081/", None);
}

#[tokio::test]
async fn among_equals_the_older_route_then_the_name_then_the_rule_decides() {
    let at = |mut route: Value, time: &str| {
        route["metadata"]["creationTimestamp"] = time.into();
        route
    };
    let both = || rules(&[path("/"), path("/")]);
    let mut world = world([
        gateway(json!([{"name": "production", "port": 80}])),
        at(route("b", &[], both()), "2026-01-01T00:00:00Z"),
        at(route("a", &[], both()), "2026-01-01T00:00:00Z"),
    ]);
    case(&table(&world), "GET x/", Some("default/a#0"));
    put(
        &mut world,
        at(route("c", &[], both()), "2025-01-01T00:00:00Z"),
    );
    case(&table(&world), "GET x/", Some("default/c#0"));
}

/// As in the conformance tests HTTPRouteListenerHostnameMatching and
/// GatewayHTTPListenerIsolation.
#[tokio::test]
async fn a_request_belongs_to_the_most_specific_listener_only() {
    let on = |name: &str, section: &str| {
        let mut route = route(name, &[], rules(&[path("/")]));
        route["spec"]["parentRefs"][0]["sectionName"] = section.into();
        route
    };
    let mut only_path = on("exact", "exact");
    only_path["spec"]["rules"] = rules(&[path("/exact")]);
    let world = world([
        gateway(json!([
            {"name": "any", "port": 80},
            {"name": "wide", "port": 80, "hostname": "*.com"},
            {"name": "narrow", "port": 80, "hostname": "*.example.com"},
            {"name": "exact", "port": 80, "hostname": "a.example.com"},
            {"name": "test", "port": 81},
        ])),
        on("any", "any"),
        on("wide", "wide"),
        on("narrow", "narrow"),
        only_path,
        on("test", "test"),
    ]);
    let table = table(&world);
    case(&table, "GET example.org/", Some("default/any#0"));
    case(&table, "GET other.com/", Some("default/wide#0"));
    case(&table, "GET example.com/", Some("default/wide#0"));
    case(&table, "GET b.example.com/", Some("default/narrow#0"));
    case(&table, "GET a.example.com/exact", Some("default/exact#0"));
    case(&table, "GET a.example.com/", None);
    case(&table, "GET a.example.com:81/", Some("default/test#0"));
}

/// As in the conformance test HTTPRouteHostnameIntersection.
#[tokio::test]
async fn a_route_serves_the_hosts_that_it_shares_with_the_listener() {
    let world = world([
        gateway(json!([{"name": "production", "port": 80, "hostname": "*.wildcard.io"}])),
        route(
            "r",
            &["foo.wildcard.io", "*.bar.wildcard.io", "very.specific.com"],
            rules(&[path("/")]),
        ),
    ]);
    let table = table(&world);
    case(&table, "GET foo.wildcard.io/", Some("default/r#0"));
    case(&table, "GET a.b.bar.wildcard.io/", Some("default/r#0"));
    case(&table, "GET baz.wildcard.io/", None);
    case(&table, "GET bar.wildcard.io/", None);
    case(&table, "GET very.specific.com/", None);
}

#[tokio::test]
async fn an_exact_host_goes_before_a_wildcard_but_falls_back_on_it() {
    let world = world([
        gateway(json!([{"name": "production", "port": 80}])),
        route("any", &[], rules(&[path("/long/path")])),
        route("exact", &["a.example.com"], rules(&[path("/long")])),
        route("wild", &["*.example.com"], rules(&[path("/")])),
    ]);
    let table = table(&world);
    case(
        &table,
        "GET a.example.com/long/path",
        Some("default/exact#0"),
    );
    case(&table, "GET a.example.com/short", Some("default/wild#0"));
    case(&table, "GET b.example.com/long", Some("default/wild#0"));
    case(&table, "GET other/long/path", Some("default/any#0"));
}

fn weighted(weights: &[i32]) -> Value {
    let refs: Vec<_> = weights
        .iter()
        .enumerate()
        .map(|(at, weight)| json!({"name": format!("s{at}"), "port": 80, "weight": weight}))
        .collect();
    json!([{"backendRefs": refs}])
}

fn shares(table: &Table, requests: u32) -> [f64; 3] {
    let mut counts = [0_u32; 3];
    for _ in 0..requests {
        let hit = table.route(80, "x", &request("GET", "/", &[])).unwrap();
        let name = &hit.rule.backends.next().unwrap().name;
        counts[["default/s0:80", "default/s1:80", "default/s2:80"]
            .iter()
            .position(|s| s == name)
            .unwrap()] += 1;
    }
    counts.map(|count| f64::from(count) / f64::from(requests))
}

#[tokio::test]
async fn backends_get_their_share_and_weight_zero_gets_nothing() {
    for weights in [
        [70, 30, 0],
        [90, 10, 0],
        [1, 1, 1],
        [0, 0, 5],
        [1_000_000, 10_000, 0],
    ] {
        let world = world([
            gateway(json!([{"name": "production", "port": 80}])),
            route("r", &[], weighted(&weights)),
        ]);
        let shares = shares(&table(&world), 2000);
        let total: i32 = weights.iter().sum();
        for (share, weight) in shares.iter().zip(weights) {
            let wanted = f64::from(weight) / f64::from(total);
            assert!((share - wanted).abs() < 0.02, "{weights:?}: {shares:?}");
            assert!(weight > 0 || *share == 0.0, "{weights:?}: {shares:?}");
        }
    }
}

#[tokio::test]
async fn a_share_stays_true_while_the_table_changes_all_the_time() {
    let mut world = world([
        gateway(json!([{"name": "production", "port": 80}])),
        route("r", &[], weighted(&[90, 10, 0])),
        service("s0"),
    ]);
    let mut registry = Registry::new(Context::simulated(5, 1.0), std::sync::Arc::default());
    let mut second = 0;
    for round in 0..500_u16 {
        put(
            &mut world,
            slice("s0", 0, SocketAddr::from(([127, 0, 0, 1], 1 + round))),
        );
        let table = registry.build(&Plan::of(&world), &world);
        let [_, share, _] = shares(&table, 1);
        second += usize::from(share > 0.0);
    }
    assert!(
        (40..=60).contains(&second),
        "{second} of 500 for a weight of 10 %"
    );
}

#[tokio::test]
async fn without_backends_or_with_weights_of_zero_there_is_nobody_to_ask() {
    for rules in [json!([{}]), weighted(&[0, 0])] {
        let world = world([
            gateway(json!([{"name": "production", "port": 80}])),
            route("r", &[], rules),
        ]);
        let hit = table(&world)
            .route(80, "x", &request("GET", "/", &[]))
            .unwrap();
        assert!(hit.rule.backends.next().is_none());
    }
}

fn endpoints(table: &Table) -> Vec<String> {
    let hit = table.route(80, "x", &request("GET", "/", &[])).unwrap();
    let backend = std::sync::Arc::clone(hit.rule.backends.next().unwrap());
    let members = backend.target.as_ref().unwrap().endpoints.describe();
    let members = members.as_array().unwrap().iter();
    members
        .map(|m| m["address"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn pods_of_one_node_are_not_in_turn_one_after_the_other() {
    let pods = (1..=3).flat_map(|node| (2..12).map(move |pod| [127, 1, node, pod]));
    let slices = pods
        .enumerate()
        .map(|(number, ip)| slice("s0", number, (ip, 8080).into()));
    let world = world(
        [
            gateway(json!([{"name": "production", "port": 80}])),
            route("r", &[], weighted(&[1])),
            service("s0"),
        ]
        .into_iter()
        .chain(slices),
    );
    let order = endpoints(&table(&world));
    assert_eq!(order.len(), 30);
    let nodes: Vec<_> = order
        .iter()
        .map(|address| address.split('.').nth(2).unwrap())
        .collect();
    let longest = nodes
        .chunk_by(|one, other| one == other)
        .map(<[_]>::len)
        .max()
        .unwrap();
    assert!(longest == 1, "{nodes:?}");
}

#[tokio::test]
async fn only_ready_endpoints_get_requests_unless_none_is_left() {
    let conditions = |ready: bool, serving: bool, terminating: bool| json!({"ready": ready, "serving": serving, "terminating": terminating});
    let endpoint = |ip: &str, conditions| json!({"addresses": [ip], "conditions": conditions});
    let with = |endpoints: Value| {
        let mut slice = slice("s0", 0, ([10, 0, 0, 1], 8080).into());
        slice["endpoints"] = endpoints;
        world([
            gateway(json!([{"name": "production", "port": 80}])),
            route("r", &[], weighted(&[1])),
            service("s0"),
            slice,
        ])
    };
    let leaving = || endpoint("10.0.0.1", conditions(false, true, true));
    let starting = || endpoint("10.0.0.2", conditions(false, false, false));
    let ready = || endpoint("10.0.0.3", conditions(true, true, false));
    let silent = || json!({"addresses": ["10.0.0.4"]});
    for (given, expected) in [
        (
            json!([leaving(), starting(), ready(), silent()]),
            vec!["10.0.0.3:8080", "10.0.0.4:8080"],
        ),
        (json!([leaving(), starting()]), vec!["10.0.0.1:8080"]),
        (json!([starting()]), vec![]),
    ] {
        let mut found = endpoints(&table(&with(given.clone())));
        found.sort();
        assert_eq!(found, expected, "{given}");
    }
}

#[tokio::test]
async fn faults_are_played_on_routes_of_every_kind() {
    let fails = json!({"faults.devops-lab.dev/abort": "100% 503"});
    let backends = json!([{"name": "a", "port": 80}]);
    let mut http = route("http", &["http.test"], json!([{"backendRefs": backends}]));
    let mut grpc = route("grpc", &["grpc.test"], json!([{"backendRefs": backends}]));
    grpc["kind"] = "GRPCRoute".into();
    let mut ingress = json!({
        "kind": "Ingress",
        "metadata": {"name": "ingress", "namespace": "default"},
        "spec": {"rules": [{"host": "ingress.test", "http": {"paths": [{
            "path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": "a", "port": {"number": 80}}},
        }]}}]},
    });
    for object in [&mut http, &mut grpc, &mut ingress] {
        object["metadata"]["annotations"] = fails.clone();
    }
    let class = json!({
        "kind": "IngressClass",
        "metadata": {"name": "devops-lab", "annotations": {
            "ingressclass.kubernetes.io/is-default-class": "true"
        }},
        "spec": {"controller": lab_api::names::INGRESS_CONTROLLER},
    });
    let listeners = json!([{"name": "production", "port": 80}]);
    let world = world([gateway(listeners), service("a"), class, http, grpc, ingress]);
    let ports = IngressPorts {
        http: 80,
        https: 443,
    };
    let plan = Plan::with(&world, Some(ports));
    let context = Context::simulated(1, 1.0);
    let table = Registry::new(context, std::sync::Arc::default()).build(&plan, &world);
    for (host, path) in [
        ("http.test", "/"),
        ("grpc.test", "/shop.Cart/Add"),
        ("ingress.test", "/"),
    ] {
        let hit = table.route(80, host, &request("POST", path, &[]));
        let rule = hit.unwrap_or_else(|| panic!("{host} is routed")).rule;
        let faults = rule.faults.as_ref().unwrap_or_else(|| panic!("{host}"));
        assert_eq!(faults.play().await, Some(StatusCode::SERVICE_UNAVAILABLE));
    }
}
