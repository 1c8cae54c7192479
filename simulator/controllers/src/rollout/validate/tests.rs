use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::rollout::pass::{ServiceView, World};

fn routing() -> Value {
    json!({"managedRoutes": [{"name": "beta"}], "plugins": {GATEWAY_PLUGIN: {"httpRoute": "web"}}})
}

fn canary(fields: Value) -> Value {
    let mut strategy = json!({"canaryService": "web-canary", "stableService": "web-stable", "trafficRouting": routing()});
    merge(&mut strategy, &fields);
    json!({"strategy": {"canary": strategy}})
}

fn blue_green(fields: Value) -> Value {
    let mut strategy = json!({"activeService": "web-active", "previewService": "web-preview"});
    merge(&mut strategy, &fields);
    json!({"strategy": {"blueGreen": strategy}})
}

/// Fields of `patch` replace those of `object`; null removes them.
fn merge(object: &mut Value, patch: &Value) {
    for (key, value) in patch.as_object().unwrap() {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(key);
        } else {
            object[key] = value.clone();
        }
    }
}

/// What is wrong with a Rollout of this spec, without the words around it.
fn problem_of(fields: Value) -> Option<String> {
    let mut spec = json!({"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "shop:1"}]}}});
    merge(&mut spec, &fields);
    let rollout = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec});
    let named = |name: &str, by: Option<&str>| {
        let view = ServiceView {
            managed_by: by.map(str::to_owned),
            ..ServiceView::default()
        };
        (name.to_owned(), view)
    };
    let services = BTreeMap::from([
        named("web-canary", None),
        named("web-stable", Some("web")),
        named("web-active", None),
        named("web-preview", None),
        named("taken", Some("other")),
    ]);
    let world = World {
        rollout: Arc::new(serde_json::from_value(rollout).unwrap()),
        sets: Vec::new(),
        services,
        routes: Vec::new(),
        runs: Vec::new(),
        templates: Default::default(),
        pods: Vec::new(),
        now: Timestamp::UNIX_EPOCH,
        speed: 1.0,
    };
    let problem = problem(&Pass::new(world))?;
    let start = "The Rollout \"web\" is invalid: ";
    Some(
        problem
            .strip_prefix(start)
            .expect("it names the Rollout")
            .to_owned(),
    )
}

#[track_caller]
fn refused(fields: Value, expected: &str) {
    let found = problem_of(fields).unwrap_or_default();
    assert!(found.starts_with(expected), "{found}");
}

#[test]
fn what_is_supported_is_accepted() {
    let steps = json!([{"setWeight": 10}, {"pause": {}}, {"pause": {"duration": 30}}, {"pause": {"duration": "1h30m"}},
        {"setCanaryScale": {"weight": 50}}, {"setCanaryScale": {"replicas": 2}}, {"setCanaryScale": {"matchTrafficWeight": true}},
        {"setHeaderRoute": {"name": "beta", "match": [{"headerName": "x", "headerValue": {"exact": "1"}}]}},
        {"setHeaderRoute": {"name": "beta"}}, {"setWeight": 100}]);
    assert_eq!(problem_of(canary(json!({"steps": steps}))), None);
    assert_eq!(problem_of(json!({"strategy": {"canary": {}}})), None);
    assert_eq!(
        problem_of(blue_green(json!({"autoPromotionEnabled": false}))),
        None
    );
    let grpc =
        json!({"plugins": {GATEWAY_PLUGIN: {"namespace": "mesh", "grpcRoutes": [{"name": "a"}]}}});
    assert_eq!(problem_of(canary(json!({"trafficRouting": grpc}))), None);
}

#[test]
fn every_field_outside_the_subset_is_refused_by_name() {
    let step = |name: &str| {
        refused(
            canary(json!({"steps": [{name: {}}]})),
            &format!("spec.strategy.canary.steps[0].{name}: Forbidden: {name} is not supported"),
        );
    };
    for name in [
        "experiment",
        "setMirrorRoute",
        "plugin",
        "replicaProgressThreshold",
    ] {
        step(name);
    }
    for name in [
        "canaryMetadata",
        "stableMetadata",
        "antiAffinity",
        "pingPong",
        "replicaProgressThreshold",
    ] {
        refused(
            canary(json!({name: {}})),
            &format!("spec.strategy.canary.{name}: Forbidden: {name} is not supported"),
        );
    }
    for name in ["previewMetadata", "activeMetadata", "antiAffinity"] {
        refused(
            blue_green(json!({name: {}})),
            &format!("spec.strategy.blueGreen.{name}: Forbidden: {name} is not supported"),
        );
    }
    for name in [
        "istio",
        "nginx",
        "alb",
        "smi",
        "ambassador",
        "appMesh",
        "traefik",
        "apisix",
    ] {
        let mut routing = routing();
        routing[name] = json!({});
        refused(
            canary(json!({"trafficRouting": routing})),
            &format!(
                "spec.strategy.canary.trafficRouting.{name}: Forbidden: {name} is not supported"
            ),
        );
    }
    refused(
        json!({"workloadRef": {"name": "web"}, "template": null}),
        "spec.workloadRef: Forbidden",
    );
    let plugins = |plugins: Value, expected: &str| {
        let routing = json!({"trafficRouting": {"plugins": plugins}});
        refused(
            canary(routing),
            &format!("spec.strategy.canary.trafficRouting.{expected}"),
        );
    };
    plugins(
        json!({"acme/router": {}}),
        "plugins[acme/router]: Forbidden",
    );
    plugins(json!({}), "plugins: Required value");
    plugins(
        json!({GATEWAY_PLUGIN: {}}),
        "plugins[argoproj-labs/gatewayAPI].httpRoute: Required value",
    );
    for name in ["tcpRoute", "tlsRoutes", "httpRouteSelector", "typo"] {
        plugins(
            json!({GATEWAY_PLUGIN: {"httpRoute": "web", name: []}}),
            &format!("plugins[argoproj-labs/gatewayAPI].{name}: Forbidden"),
        );
    }
}

#[test]
fn contradictions_are_refused_as_upstream_does() {
    refused(json!({}), "spec.strategy.strategy: Required value");
    refused(
        json!({"strategy": {"canary": {}, "blueGreen": {}}}),
        "spec.strategy: Invalid value: blueGreen, canary: Multiple Strategies can not be listed",
    );
    refused(json!({"selector": null}), "spec.selector: Required value");
    refused(
        json!({"selector": {}}),
        "spec.selector: Required value: This rollout is selecting all pods",
    );
    refused(
        json!({"selector": {"matchLabels": {"app": "other"}}}),
        "spec.template.metadata.labels: Invalid value",
    );
    refused(json!({"template": null}), "spec.template: Required value");
    refused(
        json!({"progressDeadlineSeconds": 10, "minReadySeconds": 10}),
        "spec.progressDeadlineSeconds: Invalid value: 10: must be greater than minReadySeconds",
    );
    refused(
        blue_green(json!({"activeService": null})),
        "spec.strategy.blueGreen.activeService: Required",
    );
    refused(
        blue_green(json!({"previewService": "web-active"})),
        "spec.strategy.blueGreen.activeService: Invalid value: \"web-active\"",
    );
    refused(
        blue_green(json!({"scaleDownDelayRevisionLimit": 11})),
        "spec.strategy.blueGreen.scaleDownDelayRevisionLimit: Invalid value: 11",
    );
    let canary_refuses = |fields: Value, expected: &str| {
        refused(canary(fields), &format!("spec.strategy.canary.{expected}"));
    };
    canary_refuses(
        json!({"stableService": "web-canary"}),
        "stableService: Invalid value",
    );
    canary_refuses(
        json!({"canaryService": null}),
        "canaryService: Required value",
    );
    canary_refuses(
        json!({"stableService": null}),
        "stableService: Required value",
    );
    canary_refuses(
        json!({"maxSurge": 0, "maxUnavailable": "0%"}),
        "maxSurge: Invalid value",
    );
    canary_refuses(
        json!({"maxSurge": "many"}),
        "maxSurge: Invalid value: \"many\"",
    );
    canary_refuses(
        json!({"dynamicStableScale": true, "scaleDownDelaySeconds": 5}),
        "dynamicStableScale: Invalid value",
    );
    for (name, value) in [
        ("scaleDownDelaySeconds", json!(5)),
        ("abortScaleDownDelaySeconds", json!(5)),
        ("dynamicStableScale", json!(true)),
        ("minPodsPerReplicaSet", json!(2)),
    ] {
        canary_refuses(
            json!({"trafficRouting": null, name: value}),
            &format!("{name}: Invalid value"),
        );
    }
}

#[test]
fn a_step_must_make_sense() {
    let step = |step: Value, expected: &str| {
        refused(
            canary(json!({"steps": [{"pause": {}}, step]})),
            &format!("spec.strategy.canary.steps[1]{expected}"),
        );
    };
    step(json!({}), ": Invalid value");
    step(json!({"setWeight": 1, "pause": {}}), ": Invalid value");
    step(
        json!({"setWeight": 101}),
        ".setWeight: Invalid value: 101: SetWeight needs to be between 0 and 100",
    );
    step(json!({"setWeight": -1}), ".setWeight: Invalid value: -1");
    step(
        json!({"pause": {"duration": "soon"}}),
        ".pause.duration: Invalid value: \"soon\"",
    );
    step(
        json!({"pause": {"duration": -5}}),
        ".pause.duration: Invalid value: -5",
    );
    step(
        json!({"setCanaryScale": {}}),
        ".setCanaryScale: Invalid value",
    );
    step(
        json!({"setCanaryScale": {"weight": 101}}),
        ".setCanaryScale.weight: Invalid value",
    );
    step(
        json!({"setCanaryScale": {"weight": 1, "replicas": 1}}),
        ".setCanaryScale: Invalid value",
    );
    step(
        json!({"setHeaderRoute": {"name": "gamma"}}),
        ".setHeaderRoute.name: Invalid value: \"gamma\"",
    );
    let matched = |header: Value| json!({"setHeaderRoute": {"name": "beta", "match": [header]}});
    step(
        matched(json!({"headerValue": {"exact": "1"}})),
        ".setHeaderRoute.match[0].headerName: Required",
    );
    step(
        matched(json!({"headerName": "x"})),
        ".setHeaderRoute.match[0].headerValue: Invalid value",
    );
    step(
        json!({"analysis": {"startingStep": 1}}),
        ".analysis.startingStep: Forbidden",
    );
    step(
        json!({"analysis": {"templates": [{}]}}),
        ".analysis.templates[0].templateName: Required",
    );
    let hash = json!({"name": "a", "valueFrom": {"podTemplateHashValue": "Newest"}});
    step(
        json!({"analysis": {"args": [hash], "templates": []}}),
        ".analysis.args[0].valueFrom.podTemplateHashValue: Invalid value: \"Newest\"",
    );
    refused(
        json!({"strategy": {"canary": {"steps": [{"setCanaryScale": {"replicas": 1}}]}}}),
        "spec.strategy.canary.steps[0].setCanaryScale: Invalid value",
    );
}

#[test]
fn services_must_exist_and_be_free() {
    refused(
        canary(json!({"canaryService": "nobody"})),
        "spec.strategy.canary.canaryService: Invalid value: \"nobody\": service \"nobody\" not found",
    );
    refused(
        blue_green(json!({"activeService": "taken"})),
        "spec.strategy.blueGreen.activeService: Invalid value: \"taken\": Service \"taken\" is managed by another Rollout, \"other\"",
    );
}
