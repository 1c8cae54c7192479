//! K005: an HTTPRoute is attached to a listener and carries its requests to a Service.
//!
//! <https://gateway-api.sigs.k8s.io/api-types/httproute/>

use futures::try_join;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use lab_api::gateway::{
    Gateway, HTTPRoute, HttpBackendRef, HttpRouteMatch, HttpRouteRule, ParentReference,
};
use lab_api::names::{DEFAULT_GATEWAY, DEFAULT_GATEWAY_NAMESPACE, PRODUCTION_LISTENER};
use schemars::JsonSchema;
use serde::Deserialize;

use super::service_reaches_pods::service_port_list;
use super::{CheckDef, accepts, schema, start};
use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::fact::Fact;
use crate::outcome::{Evidence, Outcome};
use crate::read;

pub(super) const DEF: CheckDef = CheckDef {
    code: "K005",
    name: "route-attached",
    help: "HTTPRoute `route` is accepted by Gateway `gateway` (`devops-lab` by default) on `listener` \
        (`production` by default), its references are resolved, and its rule for every request under \
        `path` (`/` by default) sends `share` percent of them (100 by default) to Service `service`.",
    schema: schema::<With>,
    accepts: accepts::<With>,
    run: |context, with| start(DEF.name, run, context, with),
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    route: String,
    service: String,
    #[serde(default = "gateway")]
    gateway: String,
    #[serde(default = "listener")]
    listener: String,
    #[serde(default = "path")]
    path: String,
    #[serde(default = "all")]
    share: u32,
}

fn gateway() -> String {
    DEFAULT_GATEWAY.to_owned()
}

fn listener() -> String {
    PRODUCTION_LISTENER.to_owned()
}

fn path() -> String {
    "/".to_owned()
}

fn all() -> u32 {
    100
}

/// What was read.
struct Seen {
    routes: Vec<HTTPRoute>,
    services: Vec<Service>,
    gateways: Vec<Gateway>,
}

async fn run(context: CheckContext, with: With) -> Result<Outcome, Diagnosis> {
    let (client, namespace) = (&context.client, context.namespace.as_str());
    let (routes, services, gateways) = try_join!(
        read::everywhere(client, namespace),
        read::here(client, namespace),
        read::everywhere(client, namespace),
    )?;
    Ok(judge(
        &with,
        namespace,
        &Seen {
            routes,
            services,
            gateways,
        },
    ))
}

fn judge(with: &With, namespace: &str, seen: &Seen) -> Outcome {
    let expected = Fact::RouteWanted {
        route: with.route.clone(),
        service: with.service.clone(),
        share: with.share.to_string(),
        listener: with.listener.clone(),
    };
    let route = match read::named(&seen.routes, &with.route, namespace) {
        Ok(route) => route,
        Err(diagnosis) => {
            let observed = Fact::Nothing {
                kind: "HTTPRoute".to_owned(),
                name: with.route.clone(),
            };
            return Outcome::NotYet {
                evidence: Evidence {
                    expected,
                    observed,
                    since: None,
                },
                diagnosis,
            };
        }
    };
    let parent = parent_of(with, route);
    let condition = |type_| parent.and_then(|parent| condition_of(route, parent, type_));
    let word = |type_| {
        condition(type_).map_or_else(|| "?".to_owned(), |condition| condition.status.clone())
    };
    let observed = Fact::Route {
        route: with.route.clone(),
        accepted: word("Accepted"),
        resolved: word("ResolvedRefs"),
        backends: rule_for(&with.path, route)
            .map(backend_list)
            .unwrap_or_default(),
    };
    let since = condition("Accepted").map(|condition| condition.last_transition_time.0);
    Outcome::of(
        Evidence {
            expected,
            observed,
            since,
        },
        find(with, route, seen),
    )
}

fn find(with: &With, route: &HTTPRoute, seen: &Seen) -> Result<(), Diagnosis> {
    attached(with, route, seen)?;
    if let Some(hostnames) = route
        .spec
        .hostnames
        .as_ref()
        .filter(|hostnames| !hostnames.is_empty())
    {
        return Err(Diagnosis::RouteHostnames {
            route: route.name_any(),
            hostnames: hostnames.join(", "),
        });
    }
    sends(with, route, seen)?;
    accepted(with, route)
}

/// Whether the route names the right Gateway and listener.
fn attached(with: &With, route: &HTTPRoute, seen: &Seen) -> Result<(), Diagnosis> {
    let name = route.name_any();
    let parents = route.spec.parent_refs.as_deref().unwrap_or_default();
    let of_gateway: Vec<_> = parents
        .iter()
        .filter(|parent| names_gateway(with, route, parent))
        .collect();
    if of_gateway.is_empty() {
        let found: Vec<_> = parents.iter().map(|parent| parent.name.clone()).collect();
        let found = if found.is_empty() {
            "–".to_owned()
        } else {
            found.join(", ")
        };
        let gateways = seen.gateways.iter().map(|gateway| {
            format!(
                "{} ({})",
                gateway.name_any(),
                gateway.namespace().unwrap_or_default()
            )
        });
        let gateways = gateways.collect::<Vec<_>>().join(", ");
        return Err(Diagnosis::RouteWrongGateway {
            route: name,
            found,
            gateways,
        });
    }
    if parent_of(with, route).is_none() {
        let found: Vec<_> = of_gateway
            .iter()
            .filter_map(|parent| parent.section_name.clone())
            .collect();
        let listener = with.listener.clone();
        return Err(Diagnosis::RouteWrongListener {
            route: name,
            found: found.join(", "),
            listener,
        });
    }
    Ok(())
}

fn names_gateway(with: &With, route: &HTTPRoute, parent: &ParentReference) -> bool {
    let namespace = parent.namespace.clone().or_else(|| route.namespace());
    parent.name == with.gateway
        && parent.kind.as_deref().unwrap_or("Gateway") == "Gateway"
        && namespace.as_deref() == Some(DEFAULT_GATEWAY_NAMESPACE)
}

/// The reference that attaches the route to the listener.
fn parent_of<'a>(with: &With, route: &'a HTTPRoute) -> Option<&'a ParentReference> {
    let parents = route.spec.parent_refs.as_deref().unwrap_or_default();
    parents
        .iter()
        .filter(|parent| names_gateway(with, route, parent))
        .find(|parent| {
            parent
                .section_name
                .as_ref()
                .is_none_or(|section| *section == with.listener)
        })
}

/// The first rule that takes every request under a path: the first of equal rules wins.
fn rule_for<'a>(path: &str, route: &'a HTTPRoute) -> Option<&'a HttpRouteRule> {
    route
        .spec
        .rules
        .as_deref()
        .unwrap_or_default()
        .iter()
        .find(|rule| {
            let matches = rule.matches.as_deref().unwrap_or_default();
            (matches.is_empty() && path == "/")
                || matches.iter().any(|one| takes_all_under(one, path))
        })
}

fn takes_all_under(candidate: &HttpRouteMatch, path: &str) -> bool {
    let HttpRouteMatch {
        path: found,
        headers,
        query_params,
        method,
    } = candidate;
    let any = headers.as_ref().is_none_or(Vec::is_empty)
        && query_params.as_ref().is_none_or(Vec::is_empty)
        && method.is_none();
    let kind = found
        .as_ref()
        .and_then(|found| found.type_.as_deref())
        .unwrap_or("PathPrefix");
    let value = found
        .as_ref()
        .and_then(|found| found.value.as_deref())
        .unwrap_or("/");
    any && kind == "PathPrefix" && value == path
}

fn weight(backend: &HttpBackendRef) -> u64 {
    u64::try_from(backend.weight.unwrap_or(1)).unwrap_or_default()
}

fn backend_list(rule: &HttpRouteRule) -> String {
    let backends = rule.backend_refs.as_deref().unwrap_or_default().iter();
    let texts = backends.map(|backend| {
        let port = backend
            .port
            .map_or_else(|| "?".to_owned(), |port| port.to_string());
        format!("{}:{port} (weight {})", backend.name, weight(backend))
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// Whether the rule sends the share to the Service, on a port that it has.
fn sends(with: &With, route: &HTTPRoute, seen: &Seen) -> Result<(), Diagnosis> {
    let (name, service) = (route.name_any(), with.service.clone());
    let Some(rule) = rule_for(&with.path, route) else {
        return Err(Diagnosis::RouteNoRule {
            route: name,
            path: with.path.clone(),
        });
    };
    let backends = rule.backend_refs.as_deref().unwrap_or_default();
    let own: Vec<_> = backends
        .iter()
        .filter(|backend| is_service(backend, &service, route))
        .collect();
    if own.is_empty() {
        let found = backend_list(rule);
        return Err(Diagnosis::RouteOtherBackend {
            route: name,
            service,
            found,
        });
    }
    if let Ok(target) = read::named(
        &seen.services,
        &service,
        &route.namespace().unwrap_or_default(),
    ) {
        let ports = target
            .spec
            .as_ref()
            .and_then(|spec| spec.ports.clone())
            .unwrap_or_default();
        let unknown = own
            .iter()
            .find(|backend| !ports.iter().any(|port| Some(port.port) == backend.port));
        if let Some(backend) = unknown {
            let port = backend
                .port
                .map_or_else(|| "?".to_owned(), |port| port.to_string());
            return Err(Diagnosis::RouteBackendPort {
                route: name,
                service,
                port,
                ports: service_port_list(&ports),
            });
        }
    }
    let total: u64 = backends.iter().map(weight).sum();
    let share = own
        .iter()
        .map(|backend| weight(backend) * 100)
        .sum::<u64>()
        .checked_div(total)
        .unwrap_or(0);
    if share != u64::from(with.share) {
        let (expected, found) = (with.share.to_string(), share.to_string());
        return Err(Diagnosis::RouteShare {
            route: name,
            service,
            expected,
            found,
        });
    }
    Ok(())
}

fn is_service(backend: &HttpBackendRef, service: &str, route: &HTTPRoute) -> bool {
    backend.name == service
        && backend.kind.as_deref().unwrap_or("Service") == "Service"
        && backend
            .namespace
            .as_ref()
            .is_none_or(|namespace| Some(namespace) == route.namespace().as_ref())
}

/// Whether the load balancer says that it carries the route as it is now.
fn accepted(with: &With, route: &HTTPRoute) -> Result<(), Diagnosis> {
    let name = route.name_any();
    let not_seen = || Diagnosis::RouteNotSeen {
        route: name.clone(),
    };
    let parent = parent_of(with, route).ok_or_else(not_seen)?;
    let condition = |type_| {
        condition_of(route, parent, type_)
            .filter(|condition| condition.observed_generation >= route.metadata.generation)
            .ok_or_else(not_seen)
    };
    let detail = |condition: &Condition| {
        (
            name.clone(),
            condition.reason.clone(),
            condition.message.clone(),
        )
    };
    let accepted = condition("Accepted")?;
    if accepted.status != "True" {
        let (route, reason, message) = detail(accepted);
        return Err(Diagnosis::RouteNotAccepted {
            route,
            reason,
            message,
        });
    }
    let resolved = condition("ResolvedRefs")?;
    if resolved.status != "True" {
        let (route, reason, message) = detail(resolved);
        return Err(Diagnosis::RouteNotResolved {
            route,
            reason,
            message,
        });
    }
    Ok(())
}

fn condition_of<'a>(
    route: &'a HTTPRoute,
    parent: &ParentReference,
    type_: &str,
) -> Option<&'a Condition> {
    let status = route.status.as_ref()?;
    let own = status.parents.iter().find(|status| {
        let ParentReference {
            name, section_name, ..
        } = &status.parent_ref;
        *name == parent.name && *section_name == parent.section_name
    })?;
    own.conditions
        .iter()
        .find(|condition| condition.type_ == type_)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{World, check, object};
    use serde_json::json;

    fn outcome(world: &World) -> Outcome {
        let with = With {
            route: "hello".into(),
            service: "hello".into(),
            gateway: gateway(),
            listener: listener(),
            path: path(),
            share: 100,
        };
        let seen = Seen {
            routes: vec![object(world.route.clone())],
            services: vec![object(world.service.clone())],
            gateways: vec![object(world.gateway.clone())],
        };
        judge(&with, "default", &seen)
    }

    #[track_caller]
    fn case(expected: Option<&str>, change: impl FnOnce(&mut World)) {
        check(outcome, expected, change);
    }

    fn condition(world: &mut World, index: usize) -> &mut serde_json::Value {
        &mut world.route["status"]["parents"][0]["conditions"][index]
    }

    #[test]
    fn an_accepted_route_to_the_service_holds() {
        case(None, |_| {});
        case(None, |world| {
            world.route["spec"]["rules"][0]["matches"] =
                json!([{"path": {"type": "PathPrefix", "value": "/"}}]);
        });
        case(None, |world| {
            world.route["spec"]["rules"][0]["backendRefs"] = json!([{"name": "hello", "port": 80, "weight": 7}, {"name": "next", "port": 80, "weight": 0}]);
        });
    }

    #[test]
    fn a_route_to_somewhere_else_does_not_pass() {
        let backends = |backends: serde_json::Value| {
            move |world: &mut World| world.route["spec"]["rules"][0]["backendRefs"] = backends
        };
        case(
            Some("route-other-backend"),
            backends(json!([{"name": "other", "port": 80}])),
        );
        case(Some("route-other-backend"), backends(json!([])));
        case(
            Some("route-other-backend"),
            backends(json!([{"name": "hello", "namespace": "shop", "port": 80}])),
        );
        case(
            Some("route-share"),
            backends(json!([{"name": "hello", "port": 80, "weight": 0}])),
        );
        case(
            Some("route-share"),
            backends(json!([{"name": "hello", "port": 80}, {"name": "other", "port": 80}])),
        );
        case(
            Some("route-backend-port"),
            backends(json!([{"name": "hello", "port": 8080}])),
        );
    }

    #[test]
    fn a_route_that_takes_only_some_requests_does_not_pass() {
        case(Some("route-hostnames"), |world| {
            world.route["spec"]["hostnames"] = json!(["hello.example"])
        });
        case(Some("route-no-rule"), |world| {
            world.route["spec"]["rules"] = json!([])
        });
        case(Some("route-no-rule"), |world| {
            world.route["spec"]["rules"][0]["matches"] =
                json!([{"path": {"type": "PathPrefix", "value": "/hello"}}]);
        });
        case(Some("route-no-rule"), |world| {
            world.route["spec"]["rules"][0]["matches"] =
                json!([{"headers": [{"name": "x", "value": "y"}]}]);
        });
        case(Some("route-other-backend"), |world| {
            // The first of two equal rules wins.
            let own = world.route["spec"]["rules"][0].clone();
            world.route["spec"]["rules"] =
                json!([{"backendRefs": [{"name": "other", "port": 80}]}, own]);
        });
    }

    #[test]
    fn a_route_on_another_gateway_or_listener_does_not_pass() {
        case(Some("route-wrong-gateway"), |world| {
            world.route["spec"]["parentRefs"][0]["name"] = json!("devopslab")
        });
        case(Some("route-wrong-gateway"), |world| {
            world.route["spec"]["parentRefs"] = json!(null)
        });
        case(Some("route-wrong-listener"), |world| {
            world.route["spec"]["parentRefs"][0]["sectionName"] = json!("test");
        });
        case(Some("in-another-namespace"), |world| {
            world.route["metadata"]["namespace"] = json!("shop")
        });
    }

    #[test]
    fn what_the_load_balancer_says_must_be_about_this_version() {
        case(Some("route-not-seen"), |world| {
            world.route["status"] = json!(null)
        });
        case(Some("route-not-seen"), |world| {
            world.route["metadata"]["generation"] = json!(3)
        });
        case(Some("route-not-accepted"), |world| {
            condition(world, 0)["status"] = json!("False")
        });
        case(Some("route-not-resolved"), |world| {
            condition(world, 1)["status"] = json!("False")
        });
    }
}
