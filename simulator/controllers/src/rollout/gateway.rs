//! The Gateway API plugin of Argo Rollouts: a canary's weight as the weights of two backends of
//! a route.
//!
//! Works on JSON, because it looks at a route's rules and must leave everything else in it as
//! it is, whatever kind and version it has.
//!
//! <https://rollouts-plugin-trafficrouter-gatewayapi.readthedocs.io>

use lab_api::rollouts::{
    GATEWAY_PLUGIN, GatewayPlugin, HeaderMatch, IN_PROGRESS, PluginRoute, Rollout,
};
use serde_json::{Map, Value, json};

use super::pass::RouteView;
use super::spec;

/// A route that the plugin's configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedRoute {
    /// `HTTPRoute` or `GRPCRoute`.
    pub kind: &'static str,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Whether steps may make header routes in it.
    pub takes_headers: bool,
}

/// The plugin's configuration, where there is one that can be read.
pub(super) fn config(rollout: &Rollout) -> Option<GatewayPlugin> {
    let routing = spec::canary(&rollout.spec)?.traffic_routing.as_ref()?;
    let config = routing.plugins.as_ref()?.get(GATEWAY_PLUGIN)?;
    serde_json::from_value(config.clone()).ok()
}

/// The routes that a Rollout names.
pub(super) fn named(rollout: &Rollout) -> Vec<NamedRoute> {
    let Some(config) = config(rollout) else {
        return Vec::new();
    };
    let own = rollout.metadata.namespace.clone().unwrap_or_default();
    let namespace = config
        .namespace
        .filter(|name| !name.is_empty())
        .unwrap_or(own);
    let one = |name: Option<String>| {
        name.map(|name| PluginRoute {
            name: Some(name),
            use_header_routes: Some(true),
        })
    };
    let http = one(config.http_route)
        .into_iter()
        .chain(config.http_routes.unwrap_or_default())
        .map(|route| ("HTTPRoute", route));
    let grpc = one(config.grpc_route)
        .into_iter()
        .chain(config.grpc_routes.unwrap_or_default())
        .map(|route| ("GRPCRoute", route));
    http.chain(grpc)
        .map(|(kind, route)| NamedRoute {
            kind,
            namespace: namespace.clone(),
            name: route.name.unwrap_or_default(),
            takes_headers: route.use_header_routes == Some(true),
        })
        .collect()
}

/// The routes that have to be written so that the canary gets `weight` and the requests of
/// `headers`; or what is wrong with one of them.
pub(super) fn changes(
    rollout: &Rollout,
    routes: &[RouteView],
    weight: i32,
    headers: &[(String, Vec<HeaderMatch>)],
) -> Result<Vec<RouteView>, String> {
    let mut changed = Vec::new();
    for named in named(rollout) {
        let found = routes.iter().find(|route| {
            (route.kind, &route.namespace, &route.name)
                == (named.kind, &named.namespace, &named.name)
        });
        let place = format!("{} {}/{}", named.kind, named.namespace, named.name);
        let Some((route, before)) = found.and_then(|route| Some((route, route.object.as_ref()?)))
        else {
            return Err(format!("{place} not found"));
        };
        let headers = if named.takes_headers { headers } else { &[] };
        let after = edited(rollout, before, weight, headers)
            .map_err(|problem| format!("{place}: {problem}"))?;
        if after != *before {
            changed.push(RouteView {
                object: Some(after),
                ..route.clone()
            });
        }
    }
    Ok(changed)
}

/// A route with these weights and header routes.
fn edited(
    rollout: &Rollout,
    before: &Value,
    weight: i32,
    headers: &[(String, Vec<HeaderMatch>)],
) -> Result<Value, String> {
    let Some(canary) = spec::canary(&rollout.spec) else {
        return Ok(before.clone());
    };
    let services = (
        canary.canary_service.as_deref().unwrap_or_default(),
        canary.stable_service.as_deref().unwrap_or_default(),
    );
    let weights = (weight, spec::max_weight(&rollout.spec) - weight);
    let mut route = before.clone();
    let rules = route
        .pointer("/spec/rules")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let mut own: Vec<Value> = rules
        .into_iter()
        .filter(|rule| !is_managed(rollout, rule))
        .collect();
    if own.is_empty() {
        return Err("it has no rules".to_owned());
    }
    for (index, rule) in own.iter_mut().enumerate() {
        set_weights(rule, services, weights).map_err(|service| {
            format!("spec.rules[{index}].backendRefs has no backend {service:?}")
        })?;
    }
    let mut rules = Vec::new();
    for (name, matches) in headers {
        for (index, rule) in own.iter().enumerate() {
            rules.push(header_rule(rule, name, index, matches, services.0));
        }
    }
    rules.append(&mut own);
    route["spec"]["rules"] = Value::Array(rules);
    set_label(rollout, &mut route, weight > 0);
    Ok(route)
}

/// True for a rule that a step made: it is named after a managed route.
fn is_managed(rollout: &Rollout, rule: &Value) -> bool {
    let managed = spec::canary(&rollout.spec)
        .and_then(|canary| canary.traffic_routing.as_ref()?.managed_routes.as_ref());
    let Some(name) = rule.get("name").and_then(Value::as_str) else {
        return false;
    };
    managed
        .into_iter()
        .flatten()
        .filter_map(|route| route.name.as_deref())
        .any(|managed| {
            name == managed
                || name
                    .strip_prefix(managed)
                    .and_then(|rest| rest.strip_prefix('-'))
                    .is_some_and(|number| number.parse::<u32>().is_ok())
        })
}

fn set_weights(
    rule: &mut Value,
    (canary, stable): (&str, &str),
    (canary_weight, stable_weight): (i32, i32),
) -> Result<(), String> {
    let mut found = (false, false);
    let backends = rule.get_mut("backendRefs").and_then(Value::as_array_mut);
    for backend in backends.into_iter().flatten() {
        let name = backend
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if name == canary {
            found.0 = true;
            backend["weight"] = json!(canary_weight);
        } else if name == stable {
            found.1 = true;
            backend["weight"] = json!(stable_weight);
        }
    }
    match found {
        (false, _) => Err(canary.to_owned()),
        (_, false) => Err(stable.to_owned()),
        (true, true) => Ok(()),
    }
}

/// A copy of a rule that takes the requests with these headers to the canary alone.
fn header_rule(
    rule: &Value,
    name: &str,
    index: usize,
    headers: &[HeaderMatch],
    canary: &str,
) -> Value {
    let mut copy = rule.clone();
    // Names of rules are unique within a route.
    copy["name"] = match index {
        0 => json!(name),
        _ => json!(format!("{name}-{index}")),
    };
    let headers: Vec<Value> = headers.iter().map(header_match).collect();
    let mut matches = match copy.get("matches").and_then(Value::as_array) {
        Some(matches) if !matches.is_empty() => matches.clone(),
        _ => vec![json!({})],
    };
    for one in &mut matches {
        let mut all = one
            .get("headers")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        all.extend(headers.iter().cloned());
        one["headers"] = Value::Array(all);
    }
    copy["matches"] = Value::Array(matches);
    let backends = copy.get("backendRefs").and_then(Value::as_array);
    let to_canary: Vec<Value> = backends
        .into_iter()
        .flatten()
        .filter(|backend| backend.get("name").and_then(Value::as_str) == Some(canary))
        .map(|backend| {
            let mut backend = backend.clone();
            backend["weight"] = json!(1);
            backend
        })
        .collect();
    copy["backendRefs"] = Value::Array(to_canary);
    copy
}

fn header_match(header: &HeaderMatch) -> Value {
    let name = header.header_name.as_deref().unwrap_or_default();
    let value = header.header_value.clone().unwrap_or_default();
    let (type_, value) = match (value.exact, value.prefix, value.regex) {
        (Some(exact), _, _) => ("Exact", exact),
        (None, Some(prefix), _) => ("RegularExpression", format!("{prefix}.*")),
        (None, None, regex) => ("RegularExpression", regex.unwrap_or_default()),
    };
    json!({"type": type_, "name": name, "value": value})
}

/// Marks a route while the canary gets traffic.
fn set_label(rollout: &Rollout, route: &mut Value, in_progress: bool) {
    let config = config(rollout).unwrap_or_default();
    if config.disable_in_progress_label == Some(true) {
        return;
    }
    let key = config
        .in_progress_label_key
        .unwrap_or_else(|| IN_PROGRESS.to_owned());
    let value = config
        .in_progress_label_value
        .unwrap_or_else(|| "in-progress".to_owned());
    let Some(metadata) = route.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let mut labels = match metadata.remove("labels") {
        Some(Value::Object(labels)) => labels,
        _ => Map::new(),
    };
    if in_progress {
        labels.insert(key, Value::String(value));
    } else {
        labels.remove(&key);
    }
    if !labels.is_empty() {
        metadata.insert("labels".to_owned(), Value::Object(labels));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(plugin: Value) -> Rollout {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"strategy": {"canary": {
                "canaryService": "web-canary", "stableService": "web-stable",
                "trafficRouting": {"managedRoutes": [{"name": "beta"}], "plugins": {GATEWAY_PLUGIN: plugin}}}}}}))
        .unwrap()
    }

    fn route(rules: Value) -> RouteView {
        RouteView {
            kind: "HTTPRoute",
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
            object: Some(
                json!({"metadata": {"name": "web"}, "spec": {"hostnames": ["web.test"], "rules": rules}}),
            ),
        }
    }

    fn backends(canary: i32, stable: i32) -> Value {
        json!([{"name": "web-stable", "port": 80, "weight": stable}, {"name": "web-canary", "port": 80, "weight": canary}])
    }

    fn headers(name: &str, value: Value) -> Vec<(String, Vec<HeaderMatch>)> {
        let header = json!({"headerName": "x-user", "headerValue": value});
        vec![(
            name.to_owned(),
            vec![serde_json::from_value(header).unwrap()],
        )]
    }

    fn rules_after(route: RouteView, weight: i32, headers: &[(String, Vec<HeaderMatch>)]) -> Value {
        let rollout = rollout(json!({"httpRoute": "web"}));
        let changed = changes(&rollout, std::slice::from_ref(&route), weight, headers).unwrap();
        let object = changed.into_iter().next().unwrap_or(route).object.unwrap();
        object["spec"]["rules"].clone()
    }

    #[test]
    fn every_rule_gets_the_weights_and_the_route_a_label() {
        let before = route(json!([
            {"matches": [{"path": {"value": "/a"}}], "backendRefs": backends(0, 100)},
            {"backendRefs": backends(0, 100)}]));
        let rollout = rollout(json!({"httpRoutes": [{"name": "web"}]}));
        let changed = changes(&rollout, &[before], 30, &[]).unwrap();
        let after = changed[0].object.clone().unwrap();
        assert_eq!(after["spec"]["rules"][0]["backendRefs"], backends(30, 70));
        assert_eq!(after["spec"]["rules"][1]["backendRefs"], backends(30, 70));
        assert_eq!(after["spec"]["hostnames"], json!(["web.test"]));
        assert_eq!(
            after["metadata"]["labels"],
            json!({IN_PROGRESS: "in-progress"})
        );
        // Nothing is written where nothing changes, and the label goes with the traffic.
        let same = RouteView {
            object: Some(after.clone()),
            ..changed[0].clone()
        };
        assert_eq!(
            changes(&rollout, std::slice::from_ref(&same), 30, &[]).unwrap(),
            []
        );
        let back = changes(&rollout, &[same], 0, &[]).unwrap();
        assert_eq!(
            back[0].object.as_ref().unwrap()["metadata"].get("labels"),
            None
        );
    }

    #[test]
    fn a_header_route_leads_to_the_canary_alone_and_goes_again() {
        let before = route(json!([
            {"matches": [{"path": {"value": "/a"}}], "backendRefs": backends(0, 100)},
            {"backendRefs": backends(0, 100)}]));
        let with = rules_after(before, 0, &headers("beta", json!({"prefix": "b"})));
        let header = json!([{"type": "RegularExpression", "name": "x-user", "value": "b.*"}]);
        let canary = json!([{"name": "web-canary", "port": 80, "weight": 1}]);
        assert_eq!(
            with[0],
            json!({"name": "beta", "matches": [{"path": {"value": "/a"}, "headers": header}], "backendRefs": canary})
        );
        assert_eq!(
            with[1],
            json!({"name": "beta-1", "matches": [{"headers": header}], "backendRefs": canary})
        );
        assert_eq!(with.as_array().unwrap().len(), 4);
        let without = rules_after(route(with), 0, &[]);
        assert_eq!(without.as_array().unwrap().len(), 2);
    }

    #[test]
    fn an_exact_header_is_matched_exactly() {
        let with = rules_after(
            route(json!([{"backendRefs": backends(0, 100)}])),
            0,
            &headers("beta", json!({"exact": "me"})),
        );
        assert_eq!(
            with[0]["matches"][0]["headers"][0],
            json!({"type": "Exact", "name": "x-user", "value": "me"})
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let http = rollout(json!({"httpRoute": "web"}));
        let error = changes(&http, &[], 0, &[]).unwrap_err();
        assert_eq!(error, "HTTPRoute shop/web not found");
        let other = route(json!([{"backendRefs": [{"name": "web-stable"}]}]));
        let error = changes(&http, &[other], 0, &[]).unwrap_err();
        assert_eq!(
            error,
            "HTTPRoute shop/web: spec.rules[0].backendRefs has no backend \"web-canary\""
        );
        let grpc = rollout(json!({"namespace": "mesh", "grpcRoute": "web"}));
        let error = changes(&grpc, &[], 0, &[]).unwrap_err();
        assert_eq!(error, "GRPCRoute mesh/web not found");
    }
}
