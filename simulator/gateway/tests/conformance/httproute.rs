//! `httproute-*`: the core.

use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::suite::{
    ACCEPTED, APP, INFRA, Suite, WEB, ask_over, ports, request, route, secret, shares, to,
};

/// A suite with a Gateway of one listener, open to all namespaces.
pub(crate) async fn lab() -> (Suite, u16) {
    let suite = Suite::start().await;
    let [port] = ports().await;
    let listener = json!([{"name": "http", "port": port, "protocol": "HTTP",
        "allowedRoutes": {"namespaces": {"from": "All"}}}]);
    suite.gateway("same-namespace", listener).await;
    (suite, port)
}

fn path(kind: &str, value: &str) -> Value {
    json!({"path": {"type": kind, "value": value}})
}

fn prefix(value: &str) -> Value {
    path("PathPrefix", value)
}

fn headers(pairs: &[(&str, &str)]) -> Value {
    let headers: Vec<_> = pairs
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    json!({"headers": headers})
}

#[tokio::test]
async fn httproute_simple_same_namespace() {
    let (suite, port) = lab().await;
    let rules = json!([{"backendRefs": [{"name": "infra-backend-v1", "port": 8080}]}]);
    suite.accepted("simple", "same-namespace", &[], rules).await;
    suite
        .expect(port, "GET example.com/", "infra-backend-v1")
        .await;
}

#[tokio::test]
async fn httproute_cross_namespace() {
    let (suite, port) = lab().await;
    let rules = json!([{"backendRefs": [{"name": "web-backend", "port": 8080}]}]);
    assert_eq!(
        suite
            .route(WEB, route("cross", "same-namespace", &[], rules))
            .await,
        [ACCEPTED]
    );
    suite.expect(port, "GET example.com/", "web-backend").await;
}

#[tokio::test]
async fn httproute_exact_path_matching() {
    let (suite, port) = lab().await;
    let rules = json!([
        to("infra-backend-v1", json!([path("Exact", "/one")])),
        to("infra-backend-v2", json!([path("Exact", "/two")])),
    ]);
    suite.accepted("exact", "same-namespace", &[], rules).await;
    suite
        .table(
            port,
            &[
                ("GET a.b/one", "infra-backend-v1"),
                ("GET a.b/two", "infra-backend-v2"),
                ("GET a.b/", "404"),
                ("GET a.b/one/example", "404"),
                ("GET a.b/two/", "404"),
                ("GET a.b/Two", "404"),
            ],
        )
        .await;
}

#[tokio::test]
async fn httproute_header_matching() {
    let (suite, port) = lab().await;
    let color = |color| headers(&[("color", color)]);
    let rules = json!([
        to("infra-backend-v1", json!([headers(&[("version", "one")])])),
        to("infra-backend-v2", json!([headers(&[("version", "two")])])),
        to(
            "infra-backend-v1",
            json!([headers(&[("version", "two"), ("color", "orange")])])
        ),
        to("infra-backend-v1", json!([color("blue"), color("green")])),
        to("infra-backend-v2", json!([color("red"), color("yellow")])),
    ]);
    suite.accepted("header", "same-namespace", &[], rules).await;
    suite
        .table(
            port,
            &[
                ("GET a.b/ version: one", "infra-backend-v1"),
                ("GET a.b/ version: two", "infra-backend-v2"),
                ("GET a.b/ VERSION: two", "infra-backend-v2"),
                ("GET a.b/ version: two, color: orange", "infra-backend-v1"),
                ("GET a.b/ color: orange", "404"),
                ("GET a.b/ some-other-header: one", "404"),
                ("GET a.b/ color: blue", "infra-backend-v1"),
                ("GET a.b/ color: green", "infra-backend-v1"),
                ("GET a.b/ color: red", "infra-backend-v2"),
                ("GET a.b/ color: yellow", "infra-backend-v2"),
                ("GET a.b/ color: purple", "404"),
            ],
        )
        .await;
}

#[tokio::test]
async fn httproute_matching() {
    let (suite, port) = lab().await;
    let rules = json!([
        to(
            "infra-backend-v1",
            json!([prefix("/"), headers(&[("version", "one")])])
        ),
        to(
            "infra-backend-v2",
            json!([prefix("/v2"), headers(&[("version", "two")])])
        ),
    ]);
    suite
        .accepted("matching", "same-namespace", &[], rules)
        .await;
    suite
        .table(
            port,
            &[
                ("GET a.b/", "infra-backend-v1"),
                ("GET a.b/example", "infra-backend-v1"),
                ("GET a.b/ version: one", "infra-backend-v1"),
                ("GET a.b/v2", "infra-backend-v2"),
                ("GET a.b/v2/", "infra-backend-v2"),
                ("GET a.b/v2/example", "infra-backend-v2"),
                ("GET a.b/ version: two", "infra-backend-v2"),
                // A prefix is one of path elements.
                ("GET a.b/v2example", "infra-backend-v1"),
                ("GET a.b/foo/v2/example", "infra-backend-v1"),
            ],
        )
        .await;
}

#[tokio::test]
async fn httproute_matching_across_routes() {
    let (suite, port) = lab().await;
    let one = json!([to(
        "infra-backend-v1",
        json!([prefix("/"), headers(&[("version", "one")])])
    )]);
    let two = json!([to(
        "infra-backend-v2",
        json!([prefix("/v2"), headers(&[("version", "two")])])
    )]);
    suite
        .accepted(
            "part1",
            "same-namespace",
            &["example.com", "example.net"],
            one,
        )
        .await;
    suite
        .accepted("part2", "same-namespace", &["example.com"], two)
        .await;
    suite
        .table(
            port,
            &[
                ("GET example.com/", "infra-backend-v1"),
                ("GET example.net/example", "infra-backend-v1"),
                ("GET example.net/example version: two", "infra-backend-v1"),
                ("GET example.com/example version: one", "infra-backend-v1"),
                ("GET example.com/v2", "infra-backend-v2"),
                ("GET example.com/v2example", "infra-backend-v1"),
                ("GET example.com/foo/v2/example", "infra-backend-v1"),
                ("GET example.com/ version: two", "infra-backend-v2"),
                ("GET example.net/v2", "infra-backend-v1"),
                ("GET example.org/", "404"),
            ],
        )
        .await;
}

#[tokio::test]
async fn httproute_path_match_order() {
    let (suite, port) = lab().await;
    let rules = json!([
        to("infra-backend-v3", json!([prefix("/match/prefix")])),
        to("infra-backend-v2", json!([prefix("/match")])),
        to(
            "infra-backend-v1",
            json!([prefix("/match/prefix/one"), prefix("/match/prefix/two/any")])
        ),
        to(
            "infra-backend-v2",
            json!([path("Exact", "/match/prefix/two")])
        ),
        to("infra-backend-v1", json!([path("Exact", "/match")])),
    ]);
    suite.accepted("order", "same-namespace", &[], rules).await;
    suite
        .table(
            port,
            &[
                ("GET a.b/match/exact", "infra-backend-v2"),
                ("GET a.b/match", "infra-backend-v1"),
                ("GET a.b/match/prefix", "infra-backend-v3"),
                ("GET a.b/match/prefix/one/any", "infra-backend-v1"),
                ("GET a.b/match/prefix/two", "infra-backend-v2"),
                ("GET a.b/match/prefix/two/any", "infra-backend-v1"),
                ("GET a.b/match/any", "infra-backend-v2"),
            ],
        )
        .await;
}

#[tokio::test]
async fn httproute_hostname_intersection() {
    let suite = Suite::start().await;
    let [port] = ports().await;
    let listener = |name: &str, host: &str| json!({"name": name, "port": port, "protocol": "HTTP", "hostname": host});
    let listeners = json!([
        listener("listener-1", "very.specific.com"),
        listener("listener-2", "*.wildcard.io"),
        listener("listener-3", "*.anotherwildcard.io"),
    ]);
    suite.gateway("intersection", listeners).await;
    let rule = |path: &str, backend: &str| json!([to(backend, json!([prefix(path)]))]);
    for (name, hosts, rules) in [
        (
            "specific-specific",
            &[
                "non.matching.com",
                "*.nonmatchingwildcard.io",
                "very.specific.com",
            ][..],
            rule("/s1", "infra-backend-v1"),
        ),
        (
            "specific-wildcard",
            &[
                "non.matching.com",
                "wildcard.io",
                "foo.wildcard.io",
                "bar.wildcard.io",
                "foo.bar.wildcard.io",
            ],
            rule("/s2", "infra-backend-v2"),
        ),
        (
            "wildcard-specific",
            &["non.matching.com", "*.specific.com"],
            rule("/s3", "infra-backend-v3"),
        ),
        (
            "wildcard-wildcard",
            &["*.anotherwildcard.io"],
            rule("/s4", "infra-backend-v1"),
        ),
    ] {
        suite.accepted(name, "intersection", hosts, rules).await;
    }
    let none = route(
        "none",
        "intersection",
        &["specific.but.wrong.com", "wildcard.io"],
        rule("/s5", "infra-backend-v2"),
    );
    let found = suite.route(INFRA, none).await;
    assert_eq!(found[0][0], "Accepted False NoMatchingListenerHostname");
    suite
        .table(
            port,
            &[
                ("GET very.specific.com/s1", "infra-backend-v1"),
                ("GET very.specific.com:1234/s1", "infra-backend-v1"),
                ("GET non.matching.com/s1", "404"),
                ("GET foo.nonmatchingwildcard.io/s1", "404"),
                ("GET foo.wildcard.io/s1", "404"),
                ("GET very.specific.com/non-matching-prefix", "404"),
                ("GET foo.wildcard.io/s2", "infra-backend-v2"),
                ("GET bar.wildcard.io/s2", "infra-backend-v2"),
                ("GET foo.bar.wildcard.io/s2", "infra-backend-v2"),
                ("GET wildcard.io/s2", "404"),
                ("GET very.specific.com/s2", "404"),
                ("GET very.specific.com/s3", "infra-backend-v3"),
                ("GET foo.specific.com/s3", "404"),
                ("GET foo.anotherwildcard.io/s4", "infra-backend-v1"),
                ("GET foo.bar.anotherwildcard.io/s4", "infra-backend-v1"),
                ("GET anotherwildcard.io/s4", "404"),
                ("GET specific.but.wrong.com/s5", "404"),
                ("GET wildcard.io/s5", "404"),
            ],
        )
        .await;
    let attached: Vec<_> = suite
        .listeners("intersection")
        .await
        .into_iter()
        .map(|(_, attached, _)| attached)
        .collect();
    assert_eq!(attached, [2, 1, 1]);
}

#[tokio::test]
async fn httproute_listener_hostname_matching() {
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
        ("backend-v1", &["listener-1"][..], "infra-backend-v1"),
        ("backend-v2", &["listener-2"], "infra-backend-v2"),
        (
            "backend-v3",
            &["listener-3", "listener-4"],
            "infra-backend-v3",
        ),
    ] {
        let mut object = route(name, "hosts", &[], json!([to(backend, json!([{}]))]));
        let parents = sections
            .iter()
            .map(|section| json!({"name": "hosts", "sectionName": section}));
        object["spec"]["parentRefs"] = parents.collect();
        let found = suite.route(INFRA, object).await;
        assert_eq!(found, vec![ACCEPTED; sections.len()]);
    }
    suite
        .table(
            port,
            &[
                ("GET bar.com/", "infra-backend-v1"),
                ("GET foo.bar.com/", "infra-backend-v2"),
                ("GET baz.bar.com/", "infra-backend-v3"),
                ("GET boo.bar.com/", "infra-backend-v3"),
                ("GET multiple.prefixes.bar.com/", "infra-backend-v3"),
                ("GET multiple.prefixes.foo.com/", "infra-backend-v3"),
                ("GET foo.com/", "404"),
                ("GET no.matching.host/", "404"),
            ],
        )
        .await;
}

#[tokio::test]
async fn httproute_https_listener() {
    let suite = Suite::start().await;
    let [port] = ports().await;
    let (object, trusted) = secret("certificate", &["example.org", "second-example.org"]);
    suite.create(INFRA, object).await;
    let listener = |name: &str, host: &str| {
        json!({"name": name, "port": port, "protocol": "HTTPS", "hostname": host,
               "tls": {"certificateRefs": [{"name": "certificate"}]}})
    };
    suite
        .gateway(
            "secure",
            json!([
                listener("https", "example.org"),
                listener("second", "second-example.org")
            ]),
        )
        .await;
    let one = json!([to("infra-backend-v1", json!([{}]))]);
    let two = json!([to("infra-backend-v2", json!([{}]))]);
    suite.accepted("one", "secure", &["example.org"], one).await;
    suite
        .accepted("two", "secure", &["second-example.org"], two)
        .await;
    for (host, backend) in [
        ("example.org", "infra-backend-v1"),
        ("second-example.org", "infra-backend-v2"),
    ] {
        let stream = tls(port, host, &trusted).await.unwrap();
        let reply = ask_over(stream, request(&format!("GET {host}/"))).await;
        assert_eq!(reply.backend(), backend);
        assert_eq!(reply.echo()["headers"]["x-forwarded-proto"], "https");
    }
    // No listener, no certificate.
    assert!(tls(port, "unknown-example.org", &trusted).await.is_err());
    // HTTP is not spoken there.
    let plain = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(plain))
            .await
            .unwrap();
    tokio::spawn(connection);
    assert!(
        sender
            .send_request(request("GET example.org/"))
            .await
            .is_err()
    );
}

/// Opens a TLS connection as a client that trusts one certificate.
pub(crate) async fn tls(
    port: u16,
    host: &str,
    trusted: &rustls::pki_types::CertificateDer<'static>,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = host.to_owned().try_into().unwrap();
    tokio_rustls::TlsConnector::from(std::sync::Arc::new(config))
        .connect(name, stream)
        .await
}

#[tokio::test]
async fn httproute_multiple_gateways() {
    let suite = Suite::start().await;
    let [one, two] = ports().await;
    for (name, port) in [("all", one), ("same", two)] {
        let listener = json!([{"name": "http", "port": port, "protocol": "HTTP"}]);
        suite.gateway(name, listener).await;
    }
    let mut object = route(
        "both",
        "all",
        &[],
        json!([to("infra-backend-v1", json!([{}]))]),
    );
    object["spec"]["parentRefs"] = json!([{"name": "all"}, {"name": "same"}]);
    assert_eq!(suite.route(INFRA, object).await, [ACCEPTED, ACCEPTED]);
    for port in [one, two] {
        suite.expect(port, "GET a.b/", "infra-backend-v1").await;
    }
}

fn weighted(weights: [u32; 3]) -> Value {
    let backend = |(number, weight): (usize, u32)| json!({"name": format!("infra-backend-v{}", number + 1), "port": 8080, "weight": weight});
    let backends: Vec<_> = weights.into_iter().enumerate().map(backend).collect();
    json!([{"backendRefs": backends}])
}

#[tokio::test]
async fn httproute_weight() {
    let (suite, port) = lab().await;
    suite
        .accepted("weighted", "same-namespace", &[], weighted([70, 30, 0]))
        .await;
    for (total, tolerance) in [(500, 0.05), (2000, 0.02)] {
        let found = shares(port, "GET a.b/", total).await;
        for (backend, weight) in [
            ("infra-backend-v1", 0.7),
            ("infra-backend-v2", 0.3),
            ("infra-backend-v3", 0.0),
        ] {
            let share = found.get(backend).copied().unwrap_or_default() as f64 / total as f64;
            assert!(
                (share - weight).abs() <= tolerance,
                "{backend}: {share} of {total}"
            );
        }
        assert!(
            !found.contains_key("infra-backend-v3"),
            "weight 0 receives nothing"
        );
    }
}

#[tokio::test]
async fn httproute_all_backends_weight_zero() {
    let (suite, port) = lab().await;
    suite
        .accepted("zero", "same-namespace", &[], weighted([0, 0, 0]))
        .await;
    suite.expect(port, "GET a.b/", "500").await;
}

#[tokio::test]
async fn httproute_request_header_modifier() {
    let (suite, port) = lab().await;
    let rule = |path: &str, edits: Value| {
        let mut rule = to("infra-backend-v1", json!([prefix(path)]));
        rule["filters"] =
            json!([{"type": "RequestHeaderModifier", "requestHeaderModifier": edits}]);
        rule
    };
    let header = |value: &str| json!([{"name": "X-Header", "value": value}]);
    let rules = json!([
        rule("/set", json!({"set": header("set-overwrites")})),
        rule("/add", json!({"add": header("add-appends")})),
        rule("/remove", json!({"remove": ["X-Header"]})),
    ]);
    suite
        .accepted("modifier", "same-namespace", &[], rules)
        .await;
    for (line, expected) in [
        ("GET a.b/set", json!("set-overwrites")),
        ("GET a.b/set x-header: original", json!("set-overwrites")),
        ("GET a.b/add", json!("add-appends")),
        ("GET a.b/remove x-header: original", Value::Null),
    ] {
        let reply = suite.expect(port, line, "infra-backend-v1").await;
        assert_eq!(reply.echo()["headers"]["x-header"], expected, "{line}");
    }
}

#[tokio::test]
async fn httproute_redirect_host_and_status() {
    let (suite, port) = lab().await;
    let rule = |path: &str, redirect: Value| json!({"matches": [prefix(path)], "filters": [{"type": "RequestRedirect", "requestRedirect": redirect}]});
    let rules = json!([
        rule("/hostname-redirect", json!({"hostname": "example.org"})),
        rule(
            "/host-and-status",
            json!({"hostname": "example.org", "statusCode": 301})
        ),
    ]);
    suite
        .accepted("redirect", "same-namespace", &[], rules)
        .await;
    for (path, status) in [("/hostname-redirect", "302"), ("/host-and-status", "301")] {
        let reply = suite.expect(port, &format!("GET a.b{path}"), status).await;
        assert_eq!(
            reply.headers["location"],
            format!("http://example.org:{port}{path}")
        );
    }
}

fn grant(to: &str) -> Value {
    json!({"kind": "ReferenceGrant", "metadata": {"name": "reference-grant"},
           "spec": {"from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": INFRA}],
                    "to": [{"group": "", "kind": "Service", "name": to}]}})
}

fn abroad() -> Value {
    json!([{"backendRefs": [{"name": "web-backend", "namespace": WEB, "port": 8080}]}])
}

/// HTTPRouteReferenceGrant, HTTPRouteInvalidReferenceGrant and
/// HTTPRouteInvalidCrossNamespaceBackendRef.
#[tokio::test]
async fn httproute_reference_grant() {
    let (suite, port) = lab().await;
    suite.create(WEB, grant("other")).await;
    let found = suite
        .route(INFRA, route("grant", "same-namespace", &[], abroad()))
        .await;
    assert_eq!(
        found,
        [[
            "Accepted True Accepted",
            "ResolvedRefs False RefNotPermitted"
        ]]
    );
    suite.expect(port, "GET a.b/", "500").await;

    let allowed =
        json!({"spec": {"to": [{"group": "", "kind": "Service", "name": "web-backend"}]}});
    suite
        .patch("ReferenceGrant", WEB, "reference-grant", allowed)
        .await;
    let resolves = |reason: &'static str| {
        let suite = &suite;
        async move {
            let resolved =
                |route: &Value| route["status"]["parents"][0]["conditions"][1]["reason"] == reason;
            suite.until("HTTPRoute", INFRA, "grant", resolved).await;
        }
    };
    resolves("ResolvedRefs").await;
    suite.expect(port, "GET a.b/", "web-backend").await;
    suite.delete("ReferenceGrant", WEB, "reference-grant").await;
    resolves("RefNotPermitted").await;
    suite.expect(port, "GET a.b/", "500").await;
}

/// HTTPRouteInvalidBackendRefUnknownKind and HTTPRouteInvalidNonExistentBackendRef.
#[tokio::test]
async fn httproute_invalid_backend_refs() {
    let (suite, port) = lab().await;
    for (name, backend, reason) in [
        (
            "unknown-kind",
            json!({"group": "unknownkind.example.com", "kind": "NonExistent", "name": "web-backend", "port": 8080}),
            "InvalidKind",
        ),
        (
            "nonexistent",
            json!({"name": "nonexistent", "port": 8080}),
            "BackendNotFound",
        ),
    ] {
        let rules = json!([{"matches": [prefix(&format!("/{name}"))], "backendRefs": [backend]}]);
        let found = suite
            .route(INFRA, route(name, "same-namespace", &[], rules))
            .await;
        assert_eq!(
            found,
            [[
                "Accepted True Accepted".to_owned(),
                format!("ResolvedRefs False {reason}")
            ]]
        );
        suite.expect(port, &format!("GET a.b/{name}"), "500").await;
    }
}

/// HTTPRouteInvalidCrossNamespaceParentRef: the Gateway allows routes of its namespace only.
#[tokio::test]
async fn httproute_invalid_cross_namespace_parent_ref() {
    let suite = Suite::start().await;
    let [port] = ports().await;
    suite
        .gateway(
            "closed",
            json!([{"name": "http", "port": port, "protocol": "HTTP"}]),
        )
        .await;
    let rules = json!([{"backendRefs": [{"name": "web-backend", "port": 8080}]}]);
    let found = suite
        .route(WEB, route("foreign", "closed", &[], rules))
        .await;
    assert_eq!(found[0][0], "Accepted False NotAllowedByListeners");
    suite.expect(port, "GET a.b/", "404").await;
    assert_eq!(suite.listeners("closed").await[0].1, 0);
}

#[tokio::test]
async fn httproute_invalid_parent_ref_not_matching_section_name() {
    let (suite, port) = lab().await;
    let mut object = route(
        "section",
        "same-namespace",
        &[],
        json!([to("infra-backend-v1", json!([{}]))]),
    );
    object["spec"]["parentRefs"][0]["sectionName"] = "http-wrong".into();
    let found = suite.route(INFRA, object).await;
    assert_eq!(found[0][0], "Accepted False NoMatchingParent");
    suite.expect(port, "GET a.b/", "404").await;
}

#[tokio::test]
async fn httproute_disallowed_kind() {
    let suite = Suite::start().await;
    let [port] = ports().await;
    let listener = json!([{"name": "http", "port": port, "protocol": "HTTP", "allowedRoutes": {"kinds": [{"kind": "GRPCRoute"}]}}]);
    suite.gateway("grpc-only", listener).await;
    let found = suite
        .route(INFRA, route("http", "grpc-only", &[], json!([])))
        .await;
    assert_eq!(found[0][0], "Accepted False NotAllowedByListeners");
}

/// HTTPRoutePartiallyInvalidViaInvalidReferenceGrant.
#[tokio::test]
async fn httproute_partially_invalid() {
    let (suite, port) = lab().await;
    suite.create(APP, grant("other")).await;
    let rules = json!([
        {"matches": [prefix("/v2")], "backendRefs": [{"name": "app-backend-v1", "namespace": APP, "port": 8080}]},
        to("infra-backend-v1", json!([prefix("/")])),
    ]);
    let found = suite
        .route(INFRA, route("partial", "same-namespace", &[], rules))
        .await;
    assert_eq!(
        found,
        [[
            "Accepted True Accepted",
            "ResolvedRefs False RefNotPermitted"
        ]]
    );
    suite
        .table(
            port,
            &[("GET a.b/v2", "500"), ("GET a.b/", "infra-backend-v1")],
        )
        .await;

    // One of two backends: half of the requests.
    let half = json!([{"backendRefs": [{"name": "infra-backend-v1", "port": 8080}, {"name": "nonexistent", "port": 8080}]}]);
    suite
        .patch(
            "HTTPRoute",
            INFRA,
            "partial",
            json!({"spec": {"rules": half}}),
        )
        .await;
    suite.settled("HTTPRoute", "partial").await;
    let found = shares(port, "GET a.b/", 100).await;
    assert!(found["500"].abs_diff(50) <= 2, "{found:?}");
}

/// A rule that cannot be served is dropped by name; the others are served.
#[tokio::test]
async fn httproute_partially_invalid_rule() {
    let (suite, port) = lab().await;
    let mut strange = to("infra-backend-v2", json!([prefix("/strange")]));
    strange["filters"] = json!([{"type": "ExtensionRef", "extensionRef": {"group": "a.b", "kind": "C", "name": "d"}}]);
    let rules = json!([strange, to("infra-backend-v1", json!([prefix("/")]))]);
    let found = suite
        .route(INFRA, route("dropped", "same-namespace", &[], rules))
        .await;
    assert_eq!(found[0][0], "Accepted True Accepted");
    assert_eq!(found[0][2], "PartiallyInvalid True UnsupportedValue");
    let object = suite.get("HTTPRoute", INFRA, "dropped").await;
    let message = object["status"]["parents"][0]["conditions"][2]["message"]
        .as_str()
        .unwrap();
    assert_eq!(
        message,
        "Dropped Rule: rule 0: filter ExtensionRef is not supported"
    );
    suite
        .expect(port, "GET a.b/strange", "infra-backend-v1")
        .await;
}

#[tokio::test]
async fn httproute_omitted_backend_refs() {
    let (suite, port) = lab().await;
    suite
        .accepted(
            "omitted",
            "same-namespace",
            &[],
            json!([{"matches": [prefix("/")]}]),
        )
        .await;
    suite.expect(port, "GET a.b/", "500").await;
}

/// HTTPRouteServiceTypes: endpoints that somebody else manages, of Services without selector
/// and of headless ones; and a Service without any.
#[tokio::test]
async fn httproute_service_types() {
    let (suite, port) = lab().await;
    let seen = std::sync::Arc::default();
    let address = crate::suite::echo("manual", seen).await;
    suite
        .backend(INFRA, "manual-endpoint-slices", &[address])
        .await;
    let headless = json!({"kind": "Service", "metadata": {"name": "headless"},
        "spec": {"clusterIP": "None", "ports": [{"name": "http", "port": 8080}]}});
    suite.create(INFRA, headless).await;
    suite
        .create(INFRA, crate::suite::slice("headless", 0, address))
        .await;
    suite.backend(INFRA, "empty", &[]).await;
    let rules = json!([
        to("manual-endpoint-slices", json!([prefix("/manual")])),
        to("headless", json!([prefix("/headless")])),
        to("empty", json!([prefix("/empty")])),
    ]);
    suite.accepted("types", "same-namespace", &[], rules).await;
    suite
        .table(
            port,
            &[
                ("GET a.b/manual", "manual"),
                ("GET a.b/headless", "manual"),
                ("GET a.b/empty", "503"),
            ],
        )
        .await;
}

#[tokio::test]
async fn httproute_observed_generation_bump() {
    let (suite, port) = lab().await;
    suite
        .accepted(
            "bump",
            "same-namespace",
            &[],
            json!([to("infra-backend-v1", json!([{}]))]),
        )
        .await;
    let changed = json!({"spec": {"rules": [to("infra-backend-v2", json!([{}]))]}});
    suite.patch("HTTPRoute", INFRA, "bump", changed).await;
    suite.settled("HTTPRoute", "bump").await;
    suite.expect(port, "GET a.b/", "infra-backend-v2").await;
}
