//! Ingresses on the same data plane.
//! <https://kubernetes.io/docs/concepts/services-networking/ingress/>

use serde_json::{Value, json};

use crate::httproute::tls;
use crate::suite::{INFRA, Suite, ask_over, request, secret};

fn backend(name: &str) -> Value {
    json!({"service": {"name": name, "port": {"number": 8080}}})
}

fn rule(host: &str, paths: &[(&str, &str, &str)]) -> Value {
    let paths: Vec<_> = paths
        .iter()
        .map(|(type_, path, name)| json!({"pathType": type_, "path": path, "backend": backend(name)}))
        .collect();
    let mut rule = json!({"http": {"paths": paths}});
    if !host.is_empty() {
        rule["host"] = host.into();
    }
    rule
}

async fn served(suite: &Suite, name: &str, spec: Value) -> Value {
    let object = json!({"kind": "Ingress", "metadata": {"name": name}, "spec": spec});
    suite.create(INFRA, object).await;
    let has_address = |ingress: &Value| ingress["status"]["loadBalancer"]["ingress"].is_array();
    suite.until("Ingress", INFRA, name, has_address).await
}

#[tokio::test]
async fn an_ingress_is_served_by_host_and_path() {
    let suite = Suite::start().await;
    let port = suite.ingress.http;
    let rules = json!([
        rule(
            "shop.test",
            &[
                ("Prefix", "/", "infra-backend-v1"),
                ("Prefix", "/cart", "infra-backend-v2"),
                ("Exact", "/cart", "infra-backend-v3"),
            ]
        ),
        rule(
            "*.wild.test",
            &[("ImplementationSpecific", "/x", "infra-backend-v2")]
        ),
    ]);
    let spec = json!({"rules": rules, "defaultBackend": backend("infra-backend-v3")});
    let ingress = served(&suite, "shop", spec).await;
    // The default class was filled in, and the ports say where to go.
    assert_eq!(ingress["spec"]["ingressClassName"], "lab");
    assert_eq!(
        ingress["status"]["loadBalancer"],
        json!({"ingress": [{"ip": "127.0.0.1", "ports": [{"port": port, "protocol": "TCP"}]}]})
    );
    suite
        .table(
            port,
            &[
                ("GET shop.test/", "infra-backend-v1"),
                ("GET shop.test/cartoon", "infra-backend-v1"),
                ("GET shop.test/cart/1", "infra-backend-v2"),
                ("GET shop.test/cart", "infra-backend-v3"),
                ("GET a.wild.test/x/y", "infra-backend-v2"),
                ("GET a.b.wild.test/x", "infra-backend-v3"),
                ("GET a.wild.test/z", "infra-backend-v3"),
                ("GET other.test/", "infra-backend-v3"),
            ],
        )
        .await;
}

#[tokio::test]
async fn an_ingress_of_another_class_is_left_alone() {
    let suite = Suite::start().await;
    let class = json!({"kind": "IngressClass", "metadata": {"name": "other"}, "spec": {"controller": "example.com/other"}});
    suite.create("", class).await;
    let spec = |class: &str| json!({"ingressClassName": class, "rules": [rule(&format!("{class}.test"), &[("Prefix", "/", "infra-backend-v1")])]});
    suite
        .create(
            INFRA,
            json!({"kind": "Ingress", "metadata": {"name": "other"}, "spec": spec("other")}),
        )
        .await;
    served(&suite, "ours", spec("lab")).await;
    suite
        .table(
            suite.ingress.http,
            &[
                ("GET lab.test/", "infra-backend-v1"),
                ("GET other.test/", "404"),
            ],
        )
        .await;
    let other = suite.get("Ingress", INFRA, "other").await;
    assert_eq!(other["status"], json!({"loadBalancer": {}}));
}

#[tokio::test]
async fn an_ingress_with_a_certificate_is_served_over_https_too() {
    let suite = Suite::start().await;
    let (object, trusted) = secret("shop-tls", &["shop.test"]);
    suite.create(INFRA, object).await;
    let spec = json!({"rules": [rule("shop.test", &[("Prefix", "/", "infra-backend-v1")])],
                      "tls": [{"hosts": ["shop.test"], "secretName": "shop-tls"}]});
    let ingress = served(&suite, "secure", spec).await;
    let ports = &ingress["status"]["loadBalancer"]["ingress"][0]["ports"];
    assert_eq!(
        ports[1],
        json!({"port": suite.ingress.https, "protocol": "TCP"})
    );
    suite
        .expect(suite.ingress.http, "GET shop.test/", "infra-backend-v1")
        .await;
    let stream = tls(suite.ingress.https, "shop.test", &trusted)
        .await
        .unwrap();
    let reply = ask_over(stream, request("GET shop.test/")).await;
    assert_eq!(reply.backend(), "infra-backend-v1");
}

#[tokio::test]
async fn an_ingress_shares_a_port_with_the_listener_of_a_gateway() {
    let suite = Suite::start().await;
    let port = suite.ingress.http;
    suite
        .gateway(
            "production",
            json!([{"name": "http", "port": port, "protocol": "HTTP"}]),
        )
        .await;
    let rules = json!([crate::suite::to(
        "infra-backend-v2",
        json!([{"path": {"value": "/api"}}])
    )]);
    suite
        .accepted("api", "production", &["shop.test"], rules)
        .await;
    let spec = json!({"rules": [rule("shop.test", &[("Prefix", "/", "infra-backend-v1")])]});
    served(&suite, "shop", spec).await;
    suite
        .table(
            port,
            &[
                ("GET shop.test/api", "infra-backend-v2"),
                ("GET shop.test/", "infra-backend-v1"),
            ],
        )
        .await;
}

#[tokio::test]
async fn what_an_ingress_cannot_have_is_told_in_events() {
    let suite = Suite::start().await;
    let spec = json!({"rules": [rule("", &[("Prefix", "/", "nonexistent")])], "tls": [{"secretName": "none"}]});
    let mut object = json!({"kind": "Ingress", "metadata": {"name": "odd"}, "spec": spec});
    object["metadata"]["annotations"] = json!({"nginx.ingress.kubernetes.io/rewrite-target": "/"});
    suite.create(INFRA, object).await;
    let events = suite
        .until("Event", INFRA, "", |list| {
            list["items"]
                .as_array()
                .is_some_and(|items| items.len() >= 3)
        })
        .await;
    let events = events["items"].as_array().unwrap();
    for (reason, message) in [
        (
            "UnsupportedAnnotation",
            "annotation nginx.ingress.kubernetes.io/rewrite-target has no effect",
        ),
        ("BackendNotFound", "does not exist"),
        ("InvalidCertificateRef", "none does not exist"),
    ] {
        let told = |event: &&Value| {
            event["reason"] == reason
                && event["message"]
                    .as_str()
                    .is_some_and(|text| text.contains(message))
        };
        assert!(
            events.iter().any(|event| told(&event)),
            "{reason}: {events:#?}"
        );
    }
    suite.expect(suite.ingress.http, "GET a.b/", "500").await;
}
