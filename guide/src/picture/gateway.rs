//! The load balancer in the picture: what is routed where, by which weight, and which share each
//! version was measured to answer.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::model::{Objects, name, text};
use super::rates::Rates;
use super::versions::{Version, Versions};

/// A port of the load balancer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Its Gateway, `namespace/name`.
    pub gateway: String,
    /// Its name, such as `production`.
    pub name: String,
    /// Its port.
    pub port: i64,
    /// What is attached to it: one entry per rule of a route.
    pub routes: Vec<Route>,
}

/// A rule of a route.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Name of the HTTPRoute.
    pub name: String,
    /// Which requests, such as `/api` or `x-canary: yes`; empty for all.
    pub matches: String,
    /// Where they go, and by which weight.
    pub backends: Vec<Backend>,
    /// Requests per second, as measured.
    pub rate: f64,
    /// Which version answered which share, as measured; empty where nothing was asked.
    pub shares: Vec<Share>,
}

/// A Service that requests go to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Backend {
    /// Its name.
    pub service: String,
    /// Its share by the weights, in per cent.
    pub percent: f64,
    /// Pods behind it that are ready.
    pub ready: usize,
    /// Pods behind it.
    pub pods: usize,
}

/// What a version answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// The application.
    pub app: String,
    /// The version.
    pub version: String,
    /// Chooses colour and letter.
    pub slot: usize,
    /// In per cent of what was answered under this rule.
    pub percent: f64,
}

/// The listeners of all Gateways, with what is attached to them.
pub(super) fn listeners(
    objects: &Objects,
    rates: &Rates,
    versions: &mut Versions,
) -> Vec<Listener> {
    let mut found = Vec::new();
    for (key, gateway) in &objects.gateways {
        let listeners = gateway.pointer("/spec/listeners").and_then(Value::as_array);
        for listener in listeners.into_iter().flatten() {
            let listener_name = text(listener, "/name").unwrap_or_default();
            let attached = objects
                .routes
                .iter()
                .filter(|(_, route)| is_attached(route, key, listener_name));
            let mut routes = Vec::new();
            for (route_key, route) in attached {
                routes.extend(rules(route_key, route, objects, rates, versions));
            }
            found.push(Listener {
                gateway: key.clone(),
                name: listener_name.to_owned(),
                port: listener
                    .get("port")
                    .and_then(Value::as_i64)
                    .unwrap_or_default(),
                routes,
            });
        }
    }
    found
}

fn is_attached(route: &Value, gateway: &str, listener: &str) -> bool {
    let namespace = namespace(route);
    let parents = route.pointer("/spec/parentRefs").and_then(Value::as_array);
    parents.into_iter().flatten().any(|parent| {
        let of = text(parent, "/namespace").unwrap_or(namespace);
        let name = text(parent, "/name").unwrap_or_default();
        let section = text(parent, "/sectionName");
        format!("{of}/{name}") == gateway && section.is_none_or(|section| section == listener)
    })
}

fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace").unwrap_or("default")
}

fn rules(
    key: &str,
    route: &Value,
    objects: &Objects,
    rates: &Rates,
    versions: &mut Versions,
) -> Vec<Route> {
    let rules = route.pointer("/spec/rules").and_then(Value::as_array);
    let rules = rules.into_iter().flatten().enumerate();
    rules
        .map(|(at, rule)| {
            let refs = rule.get("backendRefs").and_then(Value::as_array);
            let refs: Vec<_> = refs.into_iter().flatten().collect();
            let weight = |it: &Value| it.get("weight").and_then(Value::as_f64).unwrap_or(1.0);
            let all: f64 = refs.iter().map(|it| weight(it)).sum();
            let backends: Vec<_> = refs
                .iter()
                .map(|it| {
                    let service = text(it, "/name").unwrap_or_default();
                    let of = text(it, "/namespace").unwrap_or(namespace(route));
                    let pods = pods_of(objects, &format!("{of}/{service}"));
                    Backend {
                        service: service.to_owned(),
                        percent: if all > 0.0 {
                            100.0 * weight(it) / all
                        } else {
                            0.0
                        },
                        ready: pods.iter().filter(|pod| is_ready(pod)).count(),
                        pods: pods.len(),
                    }
                })
                .collect();
            let (rate, shares) = shares(key, at, objects, rates, versions);
            Route {
                name: name(route).unwrap_or_default().to_owned(),
                matches: matches(rule),
                backends,
                rate,
                shares,
            }
        })
        .collect()
}

/// The requests per second under a rule, and the versions that answered them.
fn shares(
    route: &str,
    rule: usize,
    objects: &Objects,
    rates: &Rates,
    versions: &mut Versions,
) -> (f64, Vec<Share>) {
    let mut answered: BTreeMap<Version, f64> = BTreeMap::new();
    let mut all = 0.0;
    for measured in &rates.backends {
        if measured.route != route || measured.rule != rule.to_string() {
            continue;
        }
        all += measured.rate;
        for (version, part) in split(&measured.backend, objects, rates, versions) {
            *answered.entry(version).or_default() += measured.rate * part;
        }
    }
    let total: f64 = answered.values().sum();
    if total <= 0.0 {
        return (all, Vec::new());
    }
    let mut shares: Vec<_> = answered
        .into_iter()
        .filter(|(_, rate)| *rate > 0.0)
        .map(|(version, rate)| Share {
            slot: versions.slot(&version),
            app: version.app,
            version: version.version,
            percent: 100.0 * rate / total,
        })
        .collect();
    shares.sort_by(|one, other| (&one.app, one.slot).cmp(&(&other.app, other.slot)));
    (all, shares)
}

/// How the requests to a backend (`namespace/service:port`) were shared among versions: by what
/// its pods answered. Parts of 1.
fn split(
    backend: &str,
    objects: &Objects,
    rates: &Rates,
    versions: &Versions,
) -> Vec<(Version, f64)> {
    let service = backend.rsplit_once(':').map_or(backend, |(name, _)| name);
    let pods = pods_of(objects, service);
    let mut apps: Vec<&Version> = pods
        .iter()
        .filter_map(|pod| versions.of_pod(name(pod)?))
        .collect();
    apps.sort();
    apps.dedup();
    if let [only] = apps.as_slice() {
        return vec![((*only).clone(), 1.0)];
    }
    // Pods that have ended meanwhile answered too: they are known by their application.
    let mut by_version: BTreeMap<Version, f64> = BTreeMap::new();
    for (pod, rate) in &rates.pods {
        let Some(version) = versions.of_pod(pod) else {
            continue;
        };
        let behind = pods.iter().any(|other| name(other) == Some(pod));
        let ended = !objects.pods.values().any(|other| name(other) == Some(pod));
        let akin = apps.iter().any(|known| known.app == version.app);
        if behind || (ended && akin) {
            *by_version.entry(version.clone()).or_default() += rate;
        }
    }
    let total: f64 = by_version.values().sum();
    if total <= 0.0 {
        return Vec::new();
    }
    by_version
        .into_iter()
        .map(|(version, rate)| (version, rate / total))
        .collect()
}

/// The pods that a Service selects.
fn pods_of<'a>(objects: &'a Objects, service: &str) -> Vec<&'a Value> {
    let Some(found) = objects.services.get(service) else {
        return Vec::new();
    };
    let Some(selector) = found.pointer("/spec/selector").and_then(Value::as_object) else {
        return Vec::new();
    };
    let is_selected = |pod: &&Value| {
        namespace(pod) == namespace(found)
            && selector.iter().all(|(key, value)| {
                pod.pointer("/metadata/labels")
                    .and_then(|labels| labels.get(key))
                    == Some(value)
            })
    };
    let is_there = |pod: &&Value| pod.pointer("/metadata/deletionTimestamp").is_none();
    let pods = objects.pods.values();
    pods.filter(is_selected).filter(is_there).collect()
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        text(condition, "/type") == Some("Ready") && text(condition, "/status") == Some("True")
    })
}

/// Which requests a rule takes, in short.
fn matches(rule: &Value) -> String {
    let matches = rule.get("matches").and_then(Value::as_array);
    let one = |it: &Value| {
        let path = text(it, "/path/value").filter(|path| *path != "/");
        let headers = it.get("headers").and_then(Value::as_array);
        let headers = headers.into_iter().flatten().map(|header| {
            let (name, value) = (text(header, "/name"), text(header, "/value"));
            format!(
                "{}: {}",
                name.unwrap_or_default(),
                value.unwrap_or_default()
            )
        });
        let method = text(it, "/method").map(str::to_owned);
        let parts = method.into_iter().chain(path.map(str::to_owned));
        parts.chain(headers).collect::<Vec<_>>().join(" ")
    };
    let all: Vec<_> = matches.into_iter().flatten().map(one).collect();
    if all.iter().any(String::is_empty) {
        return String::new();
    }
    all.join(", ")
}
