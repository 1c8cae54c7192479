//! `grpcroute-*`.

use serde_json::{Value, json};

use crate::httproute::lab;
use crate::suite::{ACCEPTED, INFRA, Suite, call, ports, route};

fn grpc(name: &str, gateway: &str, hostnames: &[&str], rules: Value) -> Value {
    let mut object = route(name, gateway, hostnames, rules);
    object["kind"] = "GRPCRoute".into();
    object
}

fn to(backend: &str, matches: Value) -> Value {
    json!({"matches": matches, "backendRefs": [{"name": backend, "port": 8080}]})
}

fn method(service: &str, method: &str) -> Value {
    json!({"method": {"service": service, "method": method}})
}

const UNIMPLEMENTED: &str = "grpc-status 12";

#[tokio::test]
async fn grpcroute_exact_method_matching() {
    let (suite, port) = lab().await;
    let echo = "gateway_api_conformance.echo_basic.grpcecho.GrpcEcho";
    let rules = json!([
        to("infra-backend-v1", json!([method(echo, "Echo")])),
        to("infra-backend-v2", json!([method(echo, "EchoTwo")])),
        to(
            "infra-backend-v3",
            json!([{"method": {"service": "other.Service"}}])
        ),
    ]);
    assert_eq!(
        suite
            .route(INFRA, grpc("exact", "same-namespace", &[], rules))
            .await,
        [ACCEPTED]
    );
    for (path, expected) in [
        (format!("/{echo}/Echo"), "infra-backend-v1"),
        (format!("/{echo}/EchoTwo"), "infra-backend-v2"),
        (format!("/{echo}/EchoThree"), UNIMPLEMENTED),
        ("/other.Service/Any".to_owned(), "infra-backend-v3"),
        ("/other.Services/Any".to_owned(), UNIMPLEMENTED),
    ] {
        assert_eq!(call(port, "a.b", &path, &[]).await, expected, "{path}");
    }
}

#[tokio::test]
async fn grpcroute_header_matching() {
    let (suite, port) = lab().await;
    let headers = |pairs: &[(&str, &str)]| {
        let headers: Vec<_> = pairs
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        json!({"headers": headers})
    };
    let rules = json!([
        to("infra-backend-v1", json!([headers(&[("version", "one")])])),
        to("infra-backend-v2", json!([headers(&[("version", "two")])])),
        to(
            "infra-backend-v1",
            json!([headers(&[("version", "two"), ("color", "orange")])])
        ),
        to(
            "infra-backend-v1",
            json!([
                headers(&[("color", "blue")]),
                headers(&[("color", "green")])
            ])
        ),
    ]);
    assert_eq!(
        suite
            .route(INFRA, grpc("header", "same-namespace", &[], rules))
            .await,
        [ACCEPTED]
    );
    for (given, expected) in [
        (&[("version", "one")][..], "infra-backend-v1"),
        (&[("version", "two")], "infra-backend-v2"),
        (
            &[("version", "two"), ("color", "orange")],
            "infra-backend-v1",
        ),
        (&[("color", "blue")], "infra-backend-v1"),
        (&[("color", "green")], "infra-backend-v1"),
        (&[("color", "orange")], UNIMPLEMENTED),
        (&[], UNIMPLEMENTED),
    ] {
        assert_eq!(
            call(port, "a.b", "/s/m", given).await,
            expected,
            "{given:?}"
        );
    }
}

#[tokio::test]
async fn grpcroute_listener_hostname_matching() {
    let suite = Suite::start().await;
    let [port] = ports().await;
    let listener = |number: u8, host: &str| json!({"name": format!("listener-{number}"), "port": port, "protocol": "HTTP", "hostname": host});
    suite
        .gateway(
            "hosts",
            json!([
                listener(1, "bar.com"),
                listener(2, "foo.bar.com"),
                listener(3, "*.bar.com"),
                listener(4, "*.foo.com")
            ]),
        )
        .await;
    for (name, sections, backend) in [
        ("one", &["listener-1"][..], "infra-backend-v1"),
        ("two", &["listener-2"], "infra-backend-v2"),
        ("three", &["listener-3", "listener-4"], "infra-backend-v3"),
    ] {
        let mut object = grpc(
            name,
            "hosts",
            &[],
            json!([{"backendRefs": [{"name": backend, "port": 8080}]}]),
        );
        let parents = sections
            .iter()
            .map(|section| json!({"name": "hosts", "sectionName": section}));
        object["spec"]["parentRefs"] = parents.collect();
        assert_eq!(
            suite.route(INFRA, object).await,
            vec![ACCEPTED; sections.len()]
        );
    }
    for (host, expected) in [
        ("bar.com", "infra-backend-v1"),
        ("foo.bar.com", "infra-backend-v2"),
        ("baz.bar.com", "infra-backend-v3"),
        ("multiple.prefixes.foo.com", "infra-backend-v3"),
        ("foo.com", UNIMPLEMENTED),
        ("no.matching.host", UNIMPLEMENTED),
    ] {
        assert_eq!(call(port, host, "/s/m", &[]).await, expected, "{host}");
    }
}

#[tokio::test]
async fn grpcroute_weight() {
    let (suite, port) = lab().await;
    let backends = json!([
        {"name": "infra-backend-v1", "port": 8080, "weight": 70},
        {"name": "infra-backend-v2", "port": 8080, "weight": 30},
        {"name": "infra-backend-v3", "port": 8080, "weight": 0},
    ]);
    let rules = json!([{"backendRefs": backends}]);
    assert_eq!(
        suite
            .route(INFRA, grpc("weight", "same-namespace", &[], rules))
            .await,
        [ACCEPTED]
    );
    let mut counts = std::collections::BTreeMap::<String, u32>::new();
    for _ in 0..500 {
        *counts
            .entry(call(port, "a.b", "/s/m", &[]).await)
            .or_default() += 1;
    }
    assert!(counts["infra-backend-v1"].abs_diff(350) <= 25, "{counts:?}");
    assert!(counts["infra-backend-v2"].abs_diff(150) <= 25, "{counts:?}");
    assert!(!counts.contains_key("infra-backend-v3"), "{counts:?}");
}

/// A GRPCRoute and an HTTPRoute cannot have the same host of a listener; the older one keeps it.
#[tokio::test]
async fn grpcroute_and_httproute_do_not_share_a_hostname() {
    let (suite, port) = lab().await;
    let rules = json!([{"backendRefs": [{"name": "infra-backend-v1", "port": 8080}]}]);
    // Created within one second, the names decide.
    assert_eq!(
        suite
            .route(
                INFRA,
                grpc("a-first", "same-namespace", &["a.test"], rules.clone())
            )
            .await,
        [ACCEPTED]
    );
    let found = suite
        .route(
            INFRA,
            route("b-second", "same-namespace", &["a.test"], rules.clone()),
        )
        .await;
    assert_eq!(found[0][0], "Accepted False HostnameConflict");
    suite
        .accepted("c-third", "same-namespace", &["b.test"], rules)
        .await;
    suite.expect(port, "GET b.test/", "infra-backend-v1").await;
}

/// No endpoint, no backend: a gRPC client hears it in gRPC's own terms.
#[tokio::test]
async fn grpcroute_without_backends_answers_a_grpc_status() {
    let (suite, port) = lab().await;
    suite.backend(INFRA, "empty", &[]).await;
    let rules = json!([
        to("empty", json!([method("empty.Service", "M")])),
        to("nonexistent", json!([method("missing.Service", "M")])),
    ]);
    let found = suite
        .route(INFRA, grpc("none", "same-namespace", &[], rules))
        .await;
    assert_eq!(
        found,
        [[
            "Accepted True Accepted",
            "ResolvedRefs False BackendNotFound"
        ]]
    );
    assert_eq!(
        call(port, "a.b", "/empty.Service/M", &[]).await,
        "grpc-status 14"
    );
    assert_eq!(
        call(port, "a.b", "/missing.Service/M", &[]).await,
        "grpc-status 2"
    );
}
