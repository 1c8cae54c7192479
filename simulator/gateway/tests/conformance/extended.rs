//! Extended features of HTTPRoute that we claim.

use std::time::Duration;

use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::httproute::lab;
use crate::suite::{INFRA, ask_over, request, serve, to};

fn with_filter(mut rule: Value, type_: &str, field: &str, settings: Value) -> Value {
    rule["filters"] = json!([{"type": type_, field: settings}]);
    rule
}

fn prefix(path: &str) -> Value {
    json!([{"path": {"type": "PathPrefix", "value": path}}])
}

#[tokio::test]
async fn httproute_method_matching() {
    let (suite, port) = lab().await;
    let rules = json!([
        to("infra-backend-v1", json!([{"method": "POST"}])),
        to("infra-backend-v2", json!([{"method": "GET"}])),
        to(
            "infra-backend-v3",
            json!([{"path": {"value": "/path5"}, "method": "PATCH"}])
        ),
    ]);
    suite
        .accepted("methods", "same-namespace", &[], rules)
        .await;
    suite
        .table(
            port,
            &[
                ("POST a.b/", "infra-backend-v1"),
                ("GET a.b/", "infra-backend-v2"),
                ("PATCH a.b/path5", "infra-backend-v3"),
                ("PUT a.b/", "404"),
            ],
        )
        .await;
}

#[tokio::test]
async fn httproute_query_param_matching() {
    let (suite, port) = lab().await;
    let query = |pairs: &[(&str, &str)]| {
        let params: Vec<_> = pairs
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        json!({"queryParams": params})
    };
    let rules = json!([
        to("infra-backend-v1", json!([query(&[("animal", "whale")])])),
        to("infra-backend-v2", json!([query(&[("animal", "dolphin")])])),
        to(
            "infra-backend-v3",
            json!([query(&[("animal", "dolphin"), ("color", "blue")])])
        ),
    ]);
    suite.accepted("query", "same-namespace", &[], rules).await;
    suite
        .table(
            port,
            &[
                ("GET a.b/?animal=whale", "infra-backend-v1"),
                ("GET a.b/?animal=dolphin", "infra-backend-v2"),
                ("GET a.b/?animal=dolphin&color=blue", "infra-backend-v3"),
                ("GET a.b/?color=blue", "404"),
                ("GET a.b/?animal=shark", "404"),
                ("GET a.b/", "404"),
            ],
        )
        .await;
}

/// HTTPRouteRewriteHost and HTTPRouteRewritePath.
#[tokio::test]
async fn httproute_rewrite_host_and_path() {
    let (suite, port) = lab().await;
    let rewrite = |path: &str, settings: Value| {
        with_filter(
            to("infra-backend-v1", prefix(path)),
            "URLRewrite",
            "urlRewrite",
            settings,
        )
    };
    let rules = json!([
        rewrite(
            "/prefix/one",
            json!({"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/one"}})
        ),
        rewrite(
            "/strip-prefix",
            json!({"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}})
        ),
        rewrite(
            "/full/one",
            json!({"path": {"type": "ReplaceFullPath", "replaceFullPath": "/one"}})
        ),
        rewrite("/host", json!({"hostname": "one.example.org"})),
    ]);
    suite
        .accepted("rewrite", "same-namespace", &[], rules)
        .await;
    for (line, host, path) in [
        ("GET a.b/prefix/one/two", "a.b", "/one/two"),
        ("GET a.b/strip-prefix/three?x=1", "a.b", "/three?x=1"),
        ("GET a.b/strip-prefix", "a.b", "/"),
        ("GET a.b/full/one/two", "a.b", "/one"),
        ("GET a.b/host", "one.example.org", "/host"),
    ] {
        let echo = suite.expect(port, line, "infra-backend-v1").await.echo();
        assert_eq!(
            (echo["host"].as_str(), echo["path"].as_str()),
            (Some(host), Some(path)),
            "{line}"
        );
    }
}

#[tokio::test]
async fn httproute_response_header_modifier() {
    let (suite, port) = lab().await;
    let edits = json!({"set": [{"name": "x-set", "value": "1"}], "add": [{"name": "x-backend", "value": "added"}],
                       "remove": ["content-length"]});
    let rules = json!([with_filter(
        to("infra-backend-v1", prefix("/")),
        "ResponseHeaderModifier",
        "responseHeaderModifier",
        edits
    )]);
    suite
        .accepted("response", "same-namespace", &[], rules)
        .await;
    let reply = suite.expect(port, "GET a.b/", "infra-backend-v1").await;
    assert_eq!(reply.headers["x-set"], "1");
    let values: Vec<_> = reply.headers.get_all("x-backend").iter().collect();
    assert_eq!(values, ["infra-backend-v1", "added"]);
}

/// HTTPRouteRedirectScheme, -Port, -Path and the status codes 303, 307 and 308.
#[tokio::test]
async fn httproute_redirects() {
    let (suite, port) = lab().await;
    let cases = [
        (
            "/scheme",
            json!({"scheme": "https"}),
            "302",
            "https://a.b/scheme/x".to_owned(),
        ),
        (
            "/port",
            json!({"port": 8083}),
            "302",
            "http://a.b:8083/port/x".to_owned(),
        ),
        (
            "/both",
            json!({"scheme": "https", "port": 443, "hostname": "example.org"}),
            "302",
            "https://example.org/both/x".to_owned(),
        ),
        (
            "/full",
            json!({"path": {"type": "ReplaceFullPath", "replaceFullPath": "/new"}}),
            "302",
            format!("http://a.b:{port}/new"),
        ),
        (
            "/prefix",
            json!({"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}}),
            "302",
            format!("http://a.b:{port}/new/x"),
        ),
        (
            "/303",
            json!({"statusCode": 303}),
            "303",
            format!("http://a.b:{port}/303/x"),
        ),
        (
            "/307",
            json!({"statusCode": 307}),
            "307",
            format!("http://a.b:{port}/307/x"),
        ),
        (
            "/308",
            json!({"statusCode": 308}),
            "308",
            format!("http://a.b:{port}/308/x"),
        ),
    ];
    let rules = cases.iter().map(|(path, redirect, _, _)| {
        let rule = json!({"matches": prefix(path)});
        with_filter(rule, "RequestRedirect", "requestRedirect", redirect.clone())
    });
    suite
        .accepted("redirects", "same-namespace", &[], rules.collect())
        .await;
    for (path, _, status, location) in &cases {
        let reply = suite
            .expect(port, &format!("GET a.b{path}/x"), status)
            .await;
        assert_eq!(reply.headers["location"], *location);
    }
}

/// HTTPRouteRequestMirror, -MultipleMirrors and -PercentageMirror.
#[tokio::test]
async fn httproute_request_mirror() {
    let (suite, port) = lab().await;
    let mirror = |backend: &str| json!({"type": "RequestMirror", "requestMirror": {"backendRef": {"name": backend, "port": 8080}}});
    let mut both = to("infra-backend-v1", prefix("/both"));
    both["filters"] = json!([mirror("infra-backend-v2"), mirror("infra-backend-v3")]);
    let mut share = to("infra-backend-v1", prefix("/share"));
    share["filters"] = json!([mirror("infra-backend-v2")]);
    share["filters"][0]["requestMirror"]["percent"] = 20.into();
    let mut fraction = to("infra-backend-v1", prefix("/fraction"));
    fraction["filters"] = json!([mirror("infra-backend-v3")]);
    fraction["filters"][0]["requestMirror"]["fraction"] = json!({"numerator": 1, "denominator": 2});
    suite
        .accepted(
            "mirror",
            "same-namespace",
            &[],
            json!([both, share, fraction]),
        )
        .await;

    suite.expect(port, "GET a.b/both", "infra-backend-v1").await;
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let post = request("POST a.b/both").map(|_| Full::from("a body"));
    let reply = ask_over(stream, post).await;
    assert_eq!(reply.echo()["body"], "a body");
    let count = |name: &str| suite.seen().iter().filter(|seen| *seen == name).count();
    let wait = async |name: &str, number: usize| {
        while count(name) < number {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    wait("infra-backend-v2", 2).await;
    wait("infra-backend-v3", 2).await;
    for _ in 0..100 {
        suite
            .expect(port, "GET a.b/share", "infra-backend-v1")
            .await;
        suite
            .expect(port, "GET a.b/fraction", "infra-backend-v1")
            .await;
    }
    wait("infra-backend-v2", 2 + 18).await;
    wait("infra-backend-v3", 2 + 48).await;
    assert!(count("infra-backend-v2") <= 2 + 22 && count("infra-backend-v3") <= 2 + 52);
    assert_eq!(
        count("infra-backend-v1"),
        202,
        "nobody waits for a mirror, and nobody is asked twice"
    );
}

#[tokio::test]
async fn httproute_mirror_of_a_missing_backend_is_told_and_harms_nobody() {
    let (suite, port) = lab().await;
    let mut rule = to("infra-backend-v1", prefix("/"));
    rule["filters"] = json!([{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "none", "port": 80}}}]);
    let object = crate::suite::route("mirror", "same-namespace", &[], json!([rule]));
    let found = suite.route(INFRA, object).await;
    assert_eq!(
        found,
        [[
            "Accepted True Accepted",
            "ResolvedRefs False BackendNotFound"
        ]]
    );
    suite.expect(port, "GET a.b/", "infra-backend-v1").await;
}

/// HTTPRouteTimeoutRequest and HTTPRouteTimeoutBackendRequest.
#[tokio::test]
async fn httproute_timeouts() {
    let (suite, port) = lab().await;
    let slow = serve(|request| async move {
        if request.uri().path().ends_with("slow") {
            std::future::pending::<()>().await;
        }
        Response::new(Full::from(r#"{"backend": "slow"}"#))
    })
    .await;
    suite.backend(INFRA, "slow", &[slow]).await;
    let rule = |path: &str, timeouts: Value| {
        let mut rule = to("slow", prefix(path));
        rule["timeouts"] = timeouts;
        rule
    };
    let rules = json!([
        rule("/request", json!({"request": "500ms"})),
        rule("/backend", json!({"backendRequest": "500ms"})),
        rule("/none", json!({"request": "0s"})),
    ]);
    suite
        .accepted("timeouts", "same-namespace", &[], rules)
        .await;
    suite
        .table(
            port,
            &[
                ("GET a.b/request/fast", "slow"),
                ("GET a.b/request/slow", "504"),
                ("GET a.b/backend/slow", "504"),
                ("GET a.b/none/fast", "slow"),
            ],
        )
        .await;
}
