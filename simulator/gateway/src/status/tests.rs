//! Conditions as golden values.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::{Value, json};

use super::{Desired, Facts, desired};
use crate::plan::Plan;
use crate::testing::{gateway, put, route, service, tls_secret, world};
use crate::world::World;

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn statuses(world: &World, unbound: &[(u16, &str)]) -> Vec<Desired> {
    let unbound: BTreeMap<_, _> = unbound
        .iter()
        .map(|(port, why)| (*port, (*why).to_owned()))
        .collect();
    let facts = Facts {
        addresses: &[ADDRESS],
        unbound: &unbound,
        now: jiff::Timestamp::UNIX_EPOCH,
    };
    desired(&Plan::of(world), &facts)
}

/// `Accepted=True(Accepted) Programmed=False(Invalid): why`.
fn words(conditions: &[Condition]) -> Vec<String> {
    let words = |c: &Condition| {
        let why = if c.status == "True" || c.message.is_empty() {
            String::new()
        } else {
            format!(": {}", c.message)
        };
        format!("{}={}({}){why}", c.type_, c.status, c.reason)
    };
    conditions.iter().map(words).collect()
}

fn gateway_words(world: &World, unbound: &[(u16, &str)]) -> Vec<Vec<String>> {
    let status = statuses(world, unbound)
        .into_iter()
        .find_map(|status| match status {
            Desired::Gateway(_, status) => Some(status),
            Desired::Class(..) | Desired::Route(..) | Desired::Ingress(..) => None,
        });
    let status = status.expect("there is a Gateway of ours");
    let mut all = vec![words(&status.conditions)];
    all.extend(status.listeners.iter().map(|listener| {
        let mut line = vec![format!(
            "{} routes={}",
            listener.name, listener.attached_routes
        )];
        line.extend(words(&listener.conditions));
        line
    }));
    all
}

fn route_words(world: &World) -> Vec<Vec<String>> {
    let status = statuses(world, &[])
        .into_iter()
        .find_map(|status| match status {
            Desired::Route(_, status) => Some(status),
            Desired::Class(..) | Desired::Gateway(..) | Desired::Ingress(..) => None,
        });
    status
        .map(|status| {
            status
                .parents
                .iter()
                .map(|parent| words(&parent.conditions))
                .collect()
        })
        .unwrap_or_default()
}

#[test]
fn a_gateway_in_order_says_so_in_full() {
    let mut gateway = gateway(json!([{"name": "production", "port": 8080}]));
    gateway["metadata"]["generation"] = 7.into();
    let world = world([gateway, route("r", &[], json!([]))]);
    let status = statuses(&world, &[])
        .into_iter()
        .find_map(|status| match status {
            Desired::Gateway(_, status) => Some(serde_json::to_value(status).unwrap()),
            Desired::Class(..) | Desired::Route(..) | Desired::Ingress(..) => None,
        });
    let condition = |type_: &str, status: &str, reason: &str, message: &str| {
        json!({"lastTransitionTime": "1970-01-01T00:00:00Z", "message": message,
               "observedGeneration": 7, "reason": reason, "status": status, "type": type_})
    };
    assert_eq!(
        status.unwrap(),
        json!({
            "addresses": [{"type": "IPAddress", "value": "127.0.0.1"}],
            "conditions": [
                condition("Accepted", "True", "Accepted", "accepted by the cluster's load balancer"),
                condition("Programmed", "True", "Programmed", "the listeners take requests"),
            ],
            "listeners": [{
                "name": "production",
                "supportedKinds": [
                    {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"},
                    {"group": "gateway.networking.k8s.io", "kind": "GRPCRoute"},
                ],
                "attachedRoutes": 1,
                "conditions": [
                    condition("Accepted", "True", "Accepted", ""),
                    condition("Programmed", "True", "Programmed", ""),
                    condition("ResolvedRefs", "True", "ResolvedRefs", ""),
                    condition("Conflicted", "False", "NoConflicts", ""),
                ],
            }],
        })
    );
}

#[test]
fn a_port_that_is_taken_is_told_on_its_listener_only() {
    let world = world([gateway(
        json!([{"name": "a", "port": 80}, {"name": "b", "port": 81}]),
    )]);
    let found = gateway_words(&world, &[(81, "taken")]);
    assert_eq!(
        found[0],
        ["Accepted=True(Accepted)", "Programmed=True(Programmed)"]
    );
    assert_eq!(
        found[1][1..3],
        ["Accepted=True(Accepted)", "Programmed=True(Programmed)"]
    );
    assert_eq!(
        found[2][1..3],
        [
            "Accepted=False(PortUnavailable): taken",
            "Programmed=False(Pending): taken"
        ]
    );

    let found = gateway_words(&world, &[(80, "gone"), (81, "taken")]);
    assert_eq!(found[0][1], "Programmed=False(Pending): gone; taken");
}

#[test]
fn listeners_that_cannot_be_served_say_why() {
    let world = world([gateway(json!([
        {"name": "good", "port": 80},
        {"name": "raw", "port": 443, "protocol": "TLS"},
        {"name": "twin1", "port": 81, "hostname": "a.b"},
        {"name": "twin2", "port": 81, "hostname": "A.B"},
        {"name": "mixed1", "port": 82},
        {"name": "mixed2", "port": 82, "protocol": "TCP"},
        {"name": "tcp", "port": 83, "allowedRoutes": {"kinds": [{"kind": "TCPRoute"}]}},
    ]))]);
    let found = gateway_words(&world, &[]);
    assert_eq!(
        found[0],
        [
            "Accepted=True(ListenersNotValid)",
            "Programmed=True(Programmed)"
        ]
    );
    assert_eq!(
        found[2][1],
        "Accepted=False(UnsupportedProtocol): protocol TLS is not supported; use HTTP or HTTPS"
    );
    assert_eq!(
        found[2][2],
        "Programmed=False(Invalid): protocol TLS is not supported; use HTTP or HTTPS"
    );
    for twin in &found[3..5] {
        assert_eq!(twin[4], "Conflicted=True(HostnameConflict)");
    }
    for mixed in &found[5..7] {
        assert_eq!(mixed[4], "Conflicted=True(ProtocolConflict)");
    }
    assert!(
        found[7][3].starts_with("ResolvedRefs=False(InvalidRouteKinds)"),
        "{:?}",
        found[7]
    );
}

#[test]
fn two_gateways_cannot_have_the_same_port_and_host() {
    let mut younger = gateway(json!([{"name": "production", "port": 80}]));
    younger["metadata"]["name"] = "younger".into();
    younger["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z".into();
    let mut older = gateway(json!([{"name": "production", "port": 80}]));
    older["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
    let plan = Plan::of(&world([younger, older]));
    assert_eq!(plan.gateways[0].key, "default/devops-lab");
    assert_eq!(
        plan.gateways[0].listeners[0].verdict,
        crate::plan::Verdict::Served
    );
    assert!(matches!(&plan.gateways[1].listeners[0].verdict,
        crate::plan::Verdict::Refused(refusal) if refusal.reason == "PortUnavailable"));
}

#[test]
fn a_gateway_that_wants_more_than_we_have_is_told() {
    for (spec, expected) in [
        (
            json!({"infrastructure": {"parametersRef": {"name": "x"}}}),
            "Accepted=False(InvalidParameters)",
        ),
        (
            json!({"addresses": [{"type": "Hostname", "value": "x.y"}]}),
            "Accepted=False(UnsupportedAddress)",
        ),
        (
            json!({"addresses": [{"type": "IPAddress", "value": "10.1.1.1"}]}),
            "Programmed=False(AddressNotUsable)",
        ),
        (
            json!({"listeners": [{"name": "t", "port": 9, "protocol": "UDP"}]}),
            "Accepted=False(ListenersNotValid)",
        ),
    ] {
        let mut gateway = gateway(json!([{"name": "production", "port": 80}]));
        for (field, value) in spec.as_object().unwrap() {
            gateway["spec"][field] = value.clone();
        }
        let found = gateway_words(&world([gateway]), &[]);
        assert!(
            found[0].iter().any(|words| words.starts_with(expected)),
            "{expected}: {found:?}"
        );
    }
}

#[test]
fn classes_and_gateways_of_others_are_left_alone() {
    let mut other = gateway(json!([{"name": "production", "port": 80}]));
    other["spec"]["gatewayClassName"] = "other".into();
    let class = json!({"kind": "GatewayClass", "metadata": {"name": "other"}, "spec": {"controllerName": "example.com/x"}});
    let world = world([class, other, route("r", &[], json!([]))]);
    let found = statuses(&world, &[]);
    assert!(
        matches!(found.as_slice(), [Desired::Class(class, _)] if class.metadata.name.as_deref() == Some("devops-lab"))
    );
}

/// The conditions of a route whose one backend is Service `a`, after a change to the route.
#[track_caller]
fn route_case(change: impl FnOnce(&mut Value), accepted: &str, resolved: &str) {
    let mut route = route(
        "r",
        &["a.example.com"],
        json!([{"backendRefs": [{"name": "a", "port": 80}]}]),
    );
    change(&mut route);
    let mut other = service("elsewhere");
    other["metadata"]["namespace"] = "other".into();
    let external = json!({"kind": "Service", "metadata": {"name": "out"}, "spec": {"type": "ExternalName", "externalName": "x.y"}});
    let world = world([
        gateway(json!([
            {"name": "production", "port": 80, "hostname": "*.example.com"},
            {"name": "test", "port": 81, "hostname": "test.org", "allowedRoutes": {"namespaces": {"from": "All"}}},
        ])),
        service("a"),
        other,
        external,
        route,
    ]);
    let found = route_words(&world);
    assert_eq!(found, [[accepted, resolved]]);
}

const ACCEPTED: &str = "Accepted=True(Accepted)";
const RESOLVED: &str = "ResolvedRefs=True(ResolvedRefs)";

#[test]
fn a_route_says_where_it_does_not_attach_and_why() {
    route_case(|_| {}, ACCEPTED, RESOLVED);
    route_case(
        |route| route["spec"]["parentRefs"][0]["sectionName"] = "production".into(),
        ACCEPTED,
        RESOLVED,
    );
    route_case(
        |route| route["spec"]["parentRefs"][0]["sectionName"] = "prod".into(),
        "Accepted=False(NoMatchingParent): Gateway default/devops-lab has no listener prod; it has: production, test",
        RESOLVED,
    );
    route_case(
        |route| route["spec"]["parentRefs"][0]["port"] = 82.into(),
        "Accepted=False(NoMatchingParent): Gateway default/devops-lab has no listener on port 82; it has: production, test",
        RESOLVED,
    );
    route_case(
        |route| route["spec"]["parentRefs"][0]["name"] = "devopslab".into(),
        "Accepted=False(NoMatchingParent): Gateway default/devopslab does not exist",
        RESOLVED,
    );
    route_case(
        |route| route["spec"]["hostnames"] = json!(["b.org"]),
        "Accepted=False(NoMatchingListenerHostname): no listener of Gateway default/devops-lab serves any of the route's hostnames",
        RESOLVED,
    );
}

#[test]
fn a_route_of_another_namespace_needs_a_listener_that_allows_it() {
    let from = |namespaces: Value| {
        let mut route = route("r", &[], json!([]));
        route["metadata"]["namespace"] = "shop".into();
        route["spec"]["parentRefs"][0]["namespace"] = "default".into();
        let shop =
            json!({"kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": "red"}}});
        let listener =
            json!({"name": "production", "port": 80, "allowedRoutes": {"namespaces": namespaces}});
        route_words(&world([gateway(json!([listener])), route, shop]))[0][0].clone()
    };
    let selector =
        |team: &str| json!({"from": "Selector", "selector": {"matchLabels": {"team": team}}});
    assert_eq!(from(json!({"from": "All"})), ACCEPTED);
    assert_eq!(from(selector("red")), ACCEPTED);
    let refused = "Accepted=False(NotAllowedByListeners): no listener of Gateway default/devops-lab allows HTTPRoutes of namespace shop; see allowedRoutes";
    assert_eq!(from(selector("blue")), refused);
    assert_eq!(from(json!({"from": "Same"})), refused);
    assert_eq!(from(json!({})), refused);
}

#[test]
fn a_backend_that_cannot_be_used_is_told_and_the_route_still_attaches() {
    let backend = |backend: Value| {
        move |route: &mut Value| route["spec"]["rules"][0]["backendRefs"][0] = backend
    };
    for (spec, resolved) in [
        (
            json!({"name": "b", "port": 80}),
            "BackendNotFound): Service default/b does not exist",
        ),
        (
            json!({"name": "a", "port": 81}),
            "BackendNotFound): Service default/a has no port 81; it has: 80",
        ),
        (
            json!({"name": "a"}),
            "BackendNotFound): the reference to Service default/a names no port",
        ),
        (
            json!({"name": "a", "kind": "Deployment", "port": 80}),
            "InvalidKind): backends of kind Deployment are not supported; use a Service",
        ),
        (
            json!({"name": "out", "port": 80}),
            "InvalidKind): Service default/out is an ExternalName, which has no endpoints",
        ),
        (
            json!({"name": "elsewhere", "namespace": "other", "port": 80}),
            "RefNotPermitted): Service elsewhere is in namespace other, where no ReferenceGrant lets a HTTPRoute of namespace default refer to it",
        ),
    ] {
        route_case(
            backend(spec),
            ACCEPTED,
            &format!("ResolvedRefs=False({resolved}"),
        );
    }
}

#[test]
fn what_a_route_cannot_ask_for_is_named() {
    for (rule, accepted) in [
        (
            json!({"matches": [{"path": {"type": "RegularExpression", "value": "("}}]}),
            "UnsupportedValue): rule 0: \"(\" is not a regular expression that can be used",
        ),
        (
            json!({"filters": [{"type": "ExtensionRef", "extensionRef": {}}]}),
            "UnsupportedValue): rule 0: filter ExtensionRef is not supported",
        ),
        (
            json!({"filters": [{"type": "RequestRedirect", "requestRedirect": {}}], "backendRefs": [{"name": "a", "port": 80}]}),
            "IncompatibleFilters): rule 0: a rule with RequestRedirect sends nothing to backends; remove its backendRefs",
        ),
        (
            json!({"name": "slow", "timeouts": {"request": "1s", "backendRequest": "2s"}}),
            "UnsupportedValue): rule slow: timeouts.backendRequest is longer than timeouts.request",
        ),
        (
            json!({"timeouts": {"request": "soon"}}),
            "UnsupportedValue): rule 0: timeout \"soon\" is not a duration",
        ),
        (
            json!({"matches": [{"path": {"type": "Exact", "value": "/a"}}],
                "filters": [{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"}}}]}),
            "IncompatibleFilters): rule 0: ReplacePrefixMatch needs every match of its rule to be a PathPrefix",
        ),
    ] {
        route_case(
            |route| route["spec"]["rules"][0] = rule,
            &format!("Accepted=False({accepted}"),
            RESOLVED,
        );
    }
}

#[test]
fn what_other_controllers_said_of_a_route_stays() {
    let mut route = route("r", &[], json!([]));
    let foreign = json!({"parentRef": {"name": "other"}, "controllerName": "example.com/x", "conditions": []});
    let stale = json!({"parentRef": {"name": "gone"}, "controllerName": "devops-lab.dev/gateway", "conditions": []});
    route["status"] = json!({"parents": [foreign, stale]});
    let world = world([gateway(json!([{"name": "production", "port": 80}])), route]);
    let names: Vec<_> = statuses(&world, &[])
        .into_iter()
        .filter_map(|status| match status {
            Desired::Route(_, status) => Some(status),
            Desired::Class(..) | Desired::Gateway(..) | Desired::Ingress(..) => None,
        })
        .flat_map(|status| status.parents)
        .map(|parent| (parent.parent_ref.name, parent.controller_name))
        .collect();
    let pair = |name: &str, controller: &str| (name.to_owned(), controller.to_owned());
    assert_eq!(
        names,
        [
            pair("other", "example.com/x"),
            pair("devops-lab", "devops-lab.dev/gateway")
        ]
    );
}

#[test]
fn nothing_is_left_to_say_of_a_route_that_went_elsewhere() {
    let mut route = route("r", &[], json!([]));
    route["spec"]["parentRefs"] = json!([{"kind": "Service", "group": "", "name": "mesh"}]);
    let listeners = || gateway(json!([{"name": "production", "port": 80}]));
    assert!(route_words(&world([listeners(), route.clone()])).is_empty());
    let stale = json!({"parentRef": {"name": "devops-lab"}, "controllerName": "devops-lab.dev/gateway", "conditions": []});
    route["status"] = json!({"parents": [stale]});
    let found = statuses(&world([listeners(), route]), &[]);
    let empty =
        |status: &Desired| matches!(status, Desired::Route(_, status) if status.parents.is_empty());
    assert!(found.iter().any(empty), "{found:?}");
}

#[test]
fn conditions_follow_the_generation_when_nothing_else_changes() {
    let mut world = world([
        gateway(json!([{"name": "production", "port": 80}])),
        route("r", &[], json!([])),
    ]);
    let generations = |world: &World| -> Vec<Option<i64>> {
        statuses(world, &[])
            .into_iter()
            .flat_map(|status| match status {
                Desired::Class(_, status) => status.conditions,
                Desired::Gateway(_, status) => {
                    let listeners = status
                        .listeners
                        .into_iter()
                        .flat_map(|listener| listener.conditions);
                    status.conditions.into_iter().chain(listeners).collect()
                }
                Desired::Route(_, status) => status
                    .parents
                    .into_iter()
                    .flat_map(|parent| parent.conditions)
                    .collect(),
                Desired::Ingress(..) => Vec::new(),
            })
            .map(|condition| condition.observed_generation)
            .collect()
    };
    let before = generations(&world);
    assert_eq!(before, vec![Some(1); before.len()]);
    let mut gateway = gateway(json!([{"name": "production", "port": 80}]));
    gateway["metadata"]["generation"] = 2.into();
    let mut route = route("r", &[], json!([]));
    route["metadata"]["generation"] = 2.into();
    put(&mut world, gateway);
    put(&mut world, route);
    let after = generations(&world);
    assert_eq!(after[1..], vec![Some(2); after.len() - 1]);
}

/// What a Gateway with one HTTPS listener says of itself and of the listener.
#[expect(
    clippy::needless_pass_by_value,
    reason = "callers write the settings in place"
)]
#[track_caller]
fn tls_case(tls: Value, objects: &[Value], gateway_says: &[&str], listener_says: &[&str]) {
    let listener = json!({"name": "secure", "port": 8443, "protocol": "HTTPS", "tls": tls});
    let mut all = vec![gateway(json!([listener])), route("r", &[], json!([]))];
    all.extend_from_slice(objects);
    let found = gateway_words(&world(all), &[]);
    assert_eq!(found[0], gateway_says);
    // The route attaches, whatever the certificate is.
    let expected: Vec<_> = ["secure routes=1", "Accepted=True(Accepted)"]
        .into_iter()
        .chain(listener_says.iter().copied())
        .chain(["Conflicted=False(NoConflicts)"])
        .collect();
    assert_eq!(found[1], expected);
}

const SERVED: [&str; 2] = ["Accepted=True(Accepted)", "Programmed=True(Programmed)"];
const CLOSED: [&str; 2] = [
    "Accepted=True(Accepted)",
    "Programmed=False(Invalid): no listener can be served; see their conditions",
];

#[test]
fn a_listener_for_https_names_a_certificate_that_it_may_use() {
    let refs = |refs: Value| json!({"certificateRefs": refs});
    let secret = || tls_secret("shop", &["shop.test"]);
    let programmed = [
        "Programmed=True(Programmed)",
        "ResolvedRefs=True(ResolvedRefs)",
    ];
    tls_case(
        refs(json!([{"name": "shop"}])),
        &[secret()],
        &SERVED,
        &programmed,
    );

    let mut broken = secret();
    broken["data"]["tls.key"] = "bm8=".into();
    let missing = "Secret default/shop does not exist, or is not of type kubernetes.io/tls";
    let shop = || refs(json!([{"name": "shop"}]));
    let kind =
        |kind: &str, group: &str| refs(json!([{"name": "shop", "kind": kind, "group": group}]));
    for (tls, objects, why) in [
        (
            json!({}),
            vec![],
            "an HTTPS listener needs tls.certificateRefs with a Secret of type kubernetes.io/tls",
        ),
        (shop(), vec![], missing),
        (
            shop(),
            vec![broken],
            "Secret default/shop cannot be used: tls.key holds no private key in PEM: no items found",
        ),
        (
            kind("ConfigMap", ""),
            vec![secret()],
            "certificates of kind ConfigMap are not supported; use a Secret",
        ),
        (
            kind("Secret", "example.com"),
            vec![secret()],
            "certificates of kind Secret.example.com are not supported; use a Secret",
        ),
    ] {
        let says = [
            format!("Programmed=False(Invalid): {why}"),
            format!("ResolvedRefs=False(InvalidCertificateRef): {why}"),
        ];
        tls_case(
            tls,
            &objects,
            &CLOSED,
            &[says[0].as_str(), says[1].as_str()],
        );
    }
}

#[test]
fn a_certificate_of_another_namespace_needs_a_grant_there() {
    let mut secret = tls_secret("shop", &["shop.test"]);
    secret["metadata"]["namespace"] = "vault".into();
    let tls = || json!({"certificateRefs": [{"name": "shop", "namespace": "vault"}]});
    let grant = |from: &str, to: Value| {
        json!({"kind": "ReferenceGrant", "metadata": {"name": "g", "namespace": "vault"},
               "spec": {"from": [{"group": "gateway.networking.k8s.io", "kind": from, "namespace": "default"}],
                        "to": [to]}})
    };
    let granted = [
        "Programmed=True(Programmed)",
        "ResolvedRefs=True(ResolvedRefs)",
    ];
    for to in [
        json!({"group": "", "kind": "Secret"}),
        json!({"group": "", "kind": "Secret", "name": "shop"}),
    ] {
        tls_case(
            tls(),
            &[secret.clone(), grant("Gateway", to)],
            &SERVED,
            &granted,
        );
    }
    let why = "Secret shop is in namespace vault, where no ReferenceGrant lets a Gateway of namespace default refer to it";
    let refused = [
        format!("Programmed=False(Invalid): {why}"),
        format!("ResolvedRefs=False(RefNotPermitted): {why}"),
    ];
    let refused = [refused[0].as_str(), refused[1].as_str()];
    let secrets = || json!({"group": "", "kind": "Secret"});
    let mut elsewhere = grant("Gateway", secrets());
    elsewhere["metadata"]["namespace"] = "default".into();
    for grants in [
        vec![],
        vec![grant("HTTPRoute", secrets())],
        vec![grant(
            "Gateway",
            json!({"group": "", "kind": "Secret", "name": "other"}),
        )],
        vec![grant("Gateway", json!({"group": "", "kind": "Service"}))],
        vec![elsewhere],
    ] {
        let objects: Vec<_> = grants.into_iter().chain([secret.clone()]).collect();
        tls_case(tls(), &objects, &CLOSED, &refused);
    }
}

#[test]
fn two_gateways_cannot_speak_different_protocols_on_one_port() {
    let mut younger = gateway(
        json!([{"name": "secure", "port": 80, "hostname": "a.b", "protocol": "HTTPS",
        "tls": {"certificateRefs": [{"name": "shop"}]}}]),
    );
    younger["metadata"]["name"] = "younger".into();
    younger["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z".into();
    let mut older = gateway(json!([{"name": "production", "port": 80}]));
    older["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
    let plan = Plan::of(&world([younger, older, tls_secret("shop", &["a.b"])]));
    let refused = &plan.gateways[1].listeners[0].verdict;
    assert!(
        matches!(refused, crate::plan::Verdict::Refused(refusal)
            if refusal.message == "port 80 speaks HTTP for Gateway default/devops-lab; choose another port"),
        "{refused:?}"
    );
}
