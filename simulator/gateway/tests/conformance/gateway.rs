//! `gateway-*` and `gatewayclass-*`.

use serde_json::{Value, json};

use crate::suite::{ACCEPTED, APP, INFRA, Suite, WEB, gateway, ports, route, says, secret};

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

const OPEN: [&str; 4] = [
    "Accepted True Accepted",
    "Programmed True Programmed",
    "ResolvedRefs True ResolvedRefs",
    "Conflicted False NoConflicts",
];

fn grant(from: &str, namespace: &str, to: Value) -> Value {
    json!({"kind": "ReferenceGrant", "metadata": {"name": "grant"},
           "spec": {"from": [{"group": "gateway.networking.k8s.io", "kind": from, "namespace": namespace}],
                    "to": [to]}})
}

#[tokio::test]
async fn gateway_invalid_parameters_ref() {
    let suite = Suite::start().await;
    let [port] = ports().await;
    let mut object = gateway(
        "invalid",
        json!([{"name": "http", "port": port, "protocol": "HTTP"}]),
    );
    object["spec"]["infrastructure"] =
        json!({"parametersRef": {"group": "x.y", "kind": "Z", "name": "none"}});
    suite.create(INFRA, object).await;
    suite
        .until("Gateway", INFRA, "invalid", |gateway| {
            says(&gateway["status"], gateway, "Accepted") == "False InvalidParameters"
        })
        .await;
}

#[tokio::test]
async fn gateway_invalid_route_kind() {
    let suite = Suite::start().await;
    let [one, two] = ports().await;
    let listener = |kinds: Value, port: u16| json!([{"name": "http", "port": port, "protocol": "HTTP", "allowedRoutes": {"kinds": kinds}}]);
    let invalid = json!({"group": "invalid.example", "kind": "InvalidRoute"});
    for (name, kinds, port, supported) in [
        ("only-invalid", json!([invalid]), one, json!([])),
        (
            "both",
            json!([{"kind": "HTTPRoute"}, invalid]),
            two,
            json!([{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"}]),
        ),
    ] {
        suite
            .create(INFRA, gateway(name, listener(kinds, port)))
            .await;
        let found = suite.listeners(name).await;
        assert!(
            found[0]
                .2
                .contains(&"ResolvedRefs False InvalidRouteKinds".to_owned()),
            "{found:?}"
        );
        let object = suite.get("Gateway", INFRA, name).await;
        assert_eq!(
            object["status"]["listeners"][0]["supportedKinds"],
            supported
        );
    }
}

#[tokio::test]
async fn gateway_invalid_tls_configuration() {
    let suite = Suite::start().await;
    let all: [u16; 4] = ports().await;
    let (mut malformed, _) = secret("malformed", &["a.test"]);
    malformed["stringData"]["tls.crt"] = "Hello world".into();
    suite.create(INFRA, malformed).await;
    for ((name, reference), port) in [
        ("nonexistent-secret", json!({"name": "nonexistent"})),
        (
            "unsupported-group",
            json!({"group": "wrong.group.company.io", "kind": "Secret", "name": "malformed"}),
        ),
        (
            "unsupported-kind",
            json!({"group": "", "kind": "WrongKind", "name": "malformed"}),
        ),
        ("malformed-secret", json!({"name": "malformed"})),
    ]
    .into_iter()
    .zip(all)
    {
        let listener = json!([{"name": "https", "port": port, "protocol": "HTTPS", "tls": {"certificateRefs": [reference]}}]);
        suite.create(INFRA, gateway(name, listener)).await;
        let found = suite.listeners(name).await;
        let expected = words(&[
            "Accepted True Accepted",
            "Programmed False Invalid",
            "ResolvedRefs False InvalidCertificateRef",
            "Conflicted False NoConflicts",
        ]);
        assert_eq!(found, [("https".to_owned(), 0, expected)], "{name}");
    }
}

#[tokio::test]
async fn gateway_invalid_listeners_unsupported_protocol() {
    let suite = Suite::start().await;
    let [one, two, three] = ports().await;
    let http = json!({"name": "http", "port": one, "protocol": "HTTP"});
    let strange = json!({"name": "strange", "port": two, "protocol": "example.com/STRANGE"});
    suite
        .create(INFRA, gateway("mixed", json!([http, strange])))
        .await;
    let found = suite.listeners("mixed").await;
    assert_eq!(found[0].2, OPEN);
    assert_eq!(found[1].2[0], "Accepted False UnsupportedProtocol");
    let object = suite.get("Gateway", INFRA, "mixed").await;
    assert_eq!(
        says(&object["status"], &object, "Accepted"),
        "True ListenersNotValid"
    );
    let alone = json!([{"name": "strange", "port": three, "protocol": "example.com/STRANGE"}]);
    suite.create(INFRA, gateway("alone", alone)).await;
    suite.listeners("alone").await;
    let object = suite.get("Gateway", INFRA, "alone").await;
    assert_eq!(
        says(&object["status"], &object, "Accepted"),
        "False ListenersNotValid"
    );
}

#[tokio::test]
async fn gateway_modify_listeners() {
    let suite = Suite::start().await;
    let [one, two] = ports().await;
    let first =
        json!({"name": "http", "port": one, "protocol": "HTTP", "hostname": "data.test.com"});
    let second =
        json!({"name": "added", "port": two, "protocol": "HTTP", "hostname": "added.test.com"});
    suite.gateway("modified", json!([first])).await;
    suite
        .accepted(
            "data",
            "modified",
            &["data.test.com"],
            json!([crate::suite::to("infra-backend-v1", json!([{}]))]),
        )
        .await;

    let both = json!({"spec": {"listeners": [first, second]}});
    suite.patch("Gateway", INFRA, "modified", both).await;
    let found = suite.listeners("modified").await;
    assert_eq!(
        found,
        [
            ("http".to_owned(), 1, words(&OPEN)),
            ("added".to_owned(), 0, words(&OPEN))
        ]
    );

    suite
        .patch(
            "Gateway",
            INFRA,
            "modified",
            json!({"spec": {"listeners": [second]}}),
        )
        .await;
    let found = suite.listeners("modified").await;
    assert_eq!(found, [("added".to_owned(), 0, words(&OPEN))]);
    let object = suite
        .until("HTTPRoute", INFRA, "data", |route| {
            says(&route["status"]["parents"][0], route, "Accepted")
                == "False NoMatchingListenerHostname"
        })
        .await;
    assert_eq!(object["metadata"]["generation"], 1);
}

#[tokio::test]
async fn gateway_name_maximum_length() {
    let suite = Suite::start().await;
    let [port] = ports().await;
    let name = "a".repeat(63);
    suite
        .gateway(
            &name,
            json!([{"name": "http", "port": port, "protocol": "HTTP"}]),
        )
        .await;
}

#[tokio::test]
async fn gateway_observed_generation_bump() {
    let suite = Suite::start().await;
    let [one, two] = ports().await;
    suite
        .gateway(
            "bump",
            json!([{"name": "http", "port": one, "protocol": "HTTP"}]),
        )
        .await;
    let more = json!({"spec": {"listeners": [
        {"name": "http", "port": one, "protocol": "HTTP"},
        {"name": "alternate", "port": two, "protocol": "HTTP"}]}});
    let changed = suite.patch("Gateway", INFRA, "bump", more).await;
    assert_eq!(changed["metadata"]["generation"], 2);
    for condition in ["Accepted", "Programmed"] {
        suite
            .until("Gateway", INFRA, "bump", |gateway| {
                says(&gateway["status"], gateway, condition).starts_with("True")
            })
            .await;
    }
}

#[tokio::test]
async fn gatewayclass_observed_generation_bump() {
    let suite = Suite::start().await;
    suite
        .until("GatewayClass", "", "lab", |class| {
            says(&class["status"], class, "Accepted") == "True Accepted"
        })
        .await;
    suite
        .patch(
            "GatewayClass",
            "",
            "lab",
            json!({"spec": {"description": "new"}}),
        )
        .await;
    let class = suite
        .until("GatewayClass", "", "lab", |class| {
            says(&class["status"], class, "Accepted") == "True Accepted"
        })
        .await;
    assert_eq!(class["metadata"]["generation"], 2);
    let features = class["status"]["supportedFeatures"].as_array().unwrap();
    let names: Vec<_> = features
        .iter()
        .filter_map(|feature| feature["name"].as_str())
        .collect();
    for core in ["Gateway", "ReferenceGrant", "HTTPRoute", "GRPCRoute"] {
        assert!(names.contains(&core), "{core}");
    }
    assert!(names.is_sorted(), "{names:?}");
}

/// GatewaySecretMissingReferenceGrant, GatewaySecretInvalidReferenceGrant,
/// GatewaySecretReferenceGrantAllInNamespace and GatewaySecretReferenceGrantSpecific.
#[tokio::test]
async fn gateway_secret_reference_grants() {
    let suite = Suite::start().await;
    let [port] = ports().await;
    let (certificate, _) = secret("certificate", &["a.test"]);
    suite.create(WEB, certificate).await;
    let listener = json!([{"name": "https", "port": port, "protocol": "HTTPS",
        "tls": {"certificateRefs": [{"name": "certificate", "namespace": WEB}]}}]);
    suite.create(INFRA, gateway("secret", listener)).await;
    let resolved = |expected: &'static str| {
        let suite = &suite;
        async move {
            suite
                .until("Gateway", INFRA, "secret", |gateway| {
                    says(&gateway["status"]["listeners"][0], gateway, "ResolvedRefs") == expected
                })
                .await;
        }
    };
    resolved("False RefNotPermitted").await;
    for (to, from, namespace, allowed) in [
        (
            json!({"group": "", "kind": "Secret"}),
            "Gateway",
            INFRA,
            true,
        ),
        (
            json!({"group": "", "kind": "Secret", "name": "other"}),
            "Gateway",
            INFRA,
            false,
        ),
        (
            json!({"group": "", "kind": "Secret", "name": "certificate"}),
            "Gateway",
            INFRA,
            true,
        ),
        (
            json!({"group": "", "kind": "Secret"}),
            "HTTPRoute",
            INFRA,
            false,
        ),
        (
            json!({"group": "", "kind": "Secret"}),
            "Gateway",
            APP,
            false,
        ),
    ] {
        suite.create(WEB, grant(from, namespace, to)).await;
        if allowed {
            resolved("True ResolvedRefs").await;
        }
        // What is refused shows nothing new; what was allowed is taken back with its grant.
        suite.delete("ReferenceGrant", WEB, "grant").await;
        resolved("False RefNotPermitted").await;
    }
}

#[tokio::test]
async fn gateway_with_attached_routes() {
    let suite = Suite::start().await;
    let [one, two, three] = ports().await;
    let labelled = json!({"from": "Selector", "selector": {"matchLabels": {"kubernetes.io/metadata.name": INFRA}}});
    suite
        .gateway(
            "one",
            json!([{"name": "http", "port": one, "protocol": "HTTP", "allowedRoutes":
            {"kinds": [{"kind": "HTTPRoute"}], "namespaces": labelled}}]),
        )
        .await;
    suite.accepted("first", "one", &[], json!([])).await;
    assert_eq!(
        suite.listeners("one").await,
        [("http".to_owned(), 1, words(&OPEN))]
    );
    suite.accepted("second", "one", &[], json!([])).await;
    suite
        .until("Gateway", INFRA, "one", |gateway| {
            gateway["status"]["listeners"][0]["attachedRoutes"] == 2
        })
        .await;

    suite
        .gateway(
            "two",
            json!([
            {"name": "unattached", "port": two, "protocol": "HTTP"},
            {"name": "http", "port": three, "protocol": "HTTP"}]),
        )
        .await;
    let mut by_section = route("third", "two", &[], json!([]));
    by_section["spec"]["parentRefs"][0]["sectionName"] = "http".into();
    assert_eq!(suite.route(INFRA, by_section).await, [ACCEPTED]);
    suite
        .until("Gateway", INFRA, "two", |gateway| {
            let listeners = &gateway["status"]["listeners"];
            listeners[0]["attachedRoutes"] == 0 && listeners[1]["attachedRoutes"] == 1
        })
        .await;

    // A listener whose certificate is missing has its routes all the same.
    let [four] = ports().await;
    let unresolved = json!([{"name": "tls", "port": four, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "none"}]}}]);
    suite.create(INFRA, gateway("unresolved", unresolved)).await;
    suite.accepted("fourth", "unresolved", &[], json!([])).await;
    let gateway = suite
        .until("Gateway", INFRA, "unresolved", |gateway| {
            gateway["status"]["listeners"][0]["attachedRoutes"] == 1
        })
        .await;
    let listener = &gateway["status"]["listeners"][0];
    assert!(says(listener, &gateway, "Programmed").starts_with("False"));
    assert!(says(listener, &gateway, "ResolvedRefs").starts_with("False"));
}
