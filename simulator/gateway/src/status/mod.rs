//! What the objects are told: conditions, addresses, attached routes.
//!
//! Pure: from decisions and the state of sockets to status objects. Every condition carries the
//! generation it speaks of, also when nothing else in it changed.

mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{
    Ingress, IngressLoadBalancerIngress, IngressLoadBalancerStatus, IngressPortStatus,
    IngressStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use lab_api::conditions::condition;
use lab_api::gateway::{
    Gateway, GatewayAddress, GatewayClass, GatewayClassStatus, GatewayStatus, ListenerStatus,
    RouteParentStatus, RouteStatus, SupportedFeature,
};
use lab_api::names::GATEWAY_CONTROLLER;

pub(crate) use writer::start as start_writer;

use crate::plan::{
    ClassPlan, GatewayPlan, IngressPlan, ListenerPlan, ParentPlan, Plan, Refusal, RouteObject,
    RoutePlan, Verdict,
};

/// What we serve beyond or within the core, in the names and the order of the specification.
///
/// <https://gateway-api.sigs.k8s.io/concepts/conformance/>
const FEATURES: &[&str] = &[
    "GRPCRoute",
    "GRPCRouteNamedRouteRule",
    "Gateway",
    "GatewayHTTPListenerIsolation",
    "GatewayPort8080",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteSchemeRedirect",
    "ReferenceGrant",
];

/// The status that one object should have.
#[derive(Clone, Debug)]
pub(crate) enum Desired {
    /// Of a GatewayClass.
    Class(Arc<GatewayClass>, GatewayClassStatus),
    /// Of a Gateway.
    Gateway(Arc<Gateway>, GatewayStatus),
    /// Of a route of the Gateway API.
    Route(RouteObject, RouteStatus),
    /// Of an Ingress.
    Ingress(Arc<Ingress>, IngressStatus),
}

/// What the conditions depend on beside the plan.
#[derive(Clone, Debug)]
pub(crate) struct Facts<'a> {
    /// Where Gateways are reached.
    pub(crate) addresses: &'a [IpAddr],
    /// Ports whose socket could not be opened, and why.
    pub(crate) unbound: &'a BTreeMap<u16, String>,
    pub(crate) now: Timestamp,
}

/// The status of every object of ours.
pub(crate) fn desired(plan: &Plan, facts: &Facts<'_>) -> Vec<Desired> {
    let classes = plan
        .classes
        .iter()
        .map(|class| Desired::Class(Arc::clone(&class.class), class_status(class, facts.now)));
    let gateways = plan.gateways.iter().filter(|gateway| !gateway.is_virtual);
    let gateways = gateways.map(|gateway| {
        Desired::Gateway(Arc::clone(&gateway.gateway), gateway_status(gateway, facts))
    });
    let routes = plan
        .routes
        .iter()
        .map(|route| Desired::Route(route.route.clone(), route_status(route, facts.now)));
    let ingresses = plan.ingresses.iter().map(|ingress| {
        let status = ingress_status(ingress, facts);
        Desired::Ingress(Arc::clone(&ingress.ingress), status)
    });
    classes
        .chain(gateways)
        .chain(routes)
        .chain(ingresses)
        .collect()
}

/// Where an Ingress is reached; its ports are told, because they are not 80 and 443.
fn ingress_status(plan: &IngressPlan, facts: &Facts<'_>) -> IngressStatus {
    let open = plan
        .ports
        .iter()
        .filter(|port| !facts.unbound.contains_key(port));
    let ports: Vec<_> = open
        .map(|port| IngressPortStatus {
            port: i32::from(*port),
            protocol: "TCP".to_owned(),
            error: None,
        })
        .collect();
    let ingress = facts.addresses.iter().filter(|_| !ports.is_empty());
    let ingress: Vec<_> = ingress
        .map(|address| IngressLoadBalancerIngress {
            ip: Some(address.to_string()),
            hostname: None,
            ports: Some(ports.clone()),
        })
        .collect();
    IngressStatus {
        load_balancer: Some(IngressLoadBalancerStatus {
            ingress: (!ingress.is_empty()).then_some(ingress),
        }),
    }
}

/// Makes conditions about one generation of one object.
struct Conditions {
    generation: Option<i64>,
    now: Timestamp,
}

impl Conditions {
    fn is(&self, type_: &str, reason: &str, message: &str) -> Condition {
        condition(type_, true, reason, message, self.generation, self.now)
    }

    fn is_not(&self, type_: &str, refusal: &Refusal) -> Condition {
        let Refusal { reason, message } = refusal;
        condition(type_, false, reason, message, self.generation, self.now)
    }

    /// True with the reason that is the condition's own name, or false with the refusal.
    fn unless(&self, type_: &str, refusal: Option<&Refusal>, message: &str) -> Condition {
        match refusal {
            None => self.is(type_, type_, message),
            Some(refusal) => self.is_not(type_, refusal),
        }
    }
}

fn class_status(plan: &ClassPlan, now: Timestamp) -> GatewayClassStatus {
    let make = Conditions {
        generation: plan.class.metadata.generation,
        now,
    };
    let refusal = plan.verdict.as_ref().err();
    let features = FEATURES.iter().map(|name| SupportedFeature {
        name: (*name).to_owned(),
    });
    GatewayClassStatus {
        conditions: vec![make.unless("Accepted", refusal, "served by the cluster's load balancer")],
        supported_features: Some(features.collect()),
    }
}

fn gateway_status(plan: &GatewayPlan, facts: &Facts<'_>) -> GatewayStatus {
    let make = Conditions {
        generation: plan.gateway.metadata.generation,
        now: facts.now,
    };
    let foreign = foreign_address(plan, facts.addresses);
    let addresses = facts.addresses.iter().map(|address| GatewayAddress {
        type_: Some("IPAddress".to_owned()),
        value: address.to_string(),
    });
    GatewayStatus {
        addresses: Some(addresses.collect()),
        conditions: vec![
            accepted(&make, plan),
            programmed(&make, plan, facts, foreign.as_ref()),
        ],
        listeners: plan
            .listeners
            .iter()
            .map(|at| listener_status(&make, at, facts))
            .collect(),
    }
}

fn foreign_address(plan: &GatewayPlan, ours: &[IpAddr]) -> Option<Refusal> {
    let asked = plan.gateway.spec.addresses.as_deref().unwrap_or_default();
    let ours: Vec<_> = ours.iter().map(IpAddr::to_string).collect();
    let foreign = asked
        .iter()
        .find(|address| !address.value.is_empty() && !ours.contains(&address.value))?;
    let text = format!(
        "address {} is not ours; there is {}",
        foreign.value,
        ours.join(", ")
    );
    Some(Refusal::new("AddressNotUsable", text))
}

fn is_served(listener: &ListenerPlan) -> bool {
    match listener.verdict {
        Verdict::Served => true,
        Verdict::Conflicted(_) | Verdict::Refused(_) => false,
    }
}

/// A Gateway is accepted with what is left of its listeners; with none left it is not.
fn accepted(make: &Conditions, plan: &GatewayPlan) -> Condition {
    if let Some(refusal) = &plan.refusal {
        return make.is_not("Accepted", refusal);
    }
    let refused: Vec<_> = plan
        .listeners
        .iter()
        .filter(|at| !is_served(at))
        .map(|at| at.name.as_str())
        .collect();
    if refused.is_empty() {
        return make.is(
            "Accepted",
            "Accepted",
            "accepted by the cluster's load balancer",
        );
    }
    let message = format!(
        "not served: listeners {}; see their conditions",
        refused.join(", ")
    );
    if refused.len() < plan.listeners.len() {
        return make.is("Accepted", "ListenersNotValid", &message);
    }
    make.is_not("Accepted", &Refusal::new("ListenersNotValid", message))
}

fn programmed(
    make: &Conditions,
    plan: &GatewayPlan,
    facts: &Facts<'_>,
    foreign: Option<&Refusal>,
) -> Condition {
    let not = |reason, message: &str| make.is_not("Programmed", &Refusal::new(reason, message));
    if let Some(refusal) = foreign {
        return make.is_not("Programmed", refusal);
    }
    if let Some(refusal) = &plan.refusal {
        return not("Invalid", &refusal.message);
    }
    let open = || plan.listeners.iter().filter(|at| at.is_open());
    if open().next().is_none() {
        return not("Invalid", "no listener can be served; see their conditions");
    }
    let down: Vec<_> = open()
        .filter_map(|at| facts.unbound.get(&at.port))
        .map(String::as_str)
        .collect();
    if down.len() == open().count() {
        return not("Pending", &down.join("; "));
    }
    make.is("Programmed", "Programmed", "the listeners take requests")
}

fn listener_status(make: &Conditions, plan: &ListenerPlan, facts: &Facts<'_>) -> ListenerStatus {
    let unbound = facts.unbound.get(&plan.port).filter(|_| plan.is_open());
    let unbound = unbound.map(|message| Refusal::new("PortUnavailable", message));
    let (refusal, conflict) = match &plan.verdict {
        Verdict::Served => (unbound, None),
        Verdict::Refused(refusal) => (Some(refusal.clone()), None),
        Verdict::Conflicted(conflict) => (Some(conflict.clone()), Some(conflict)),
    };
    // What is unresolved keeps a listener from taking requests only where nothing is left.
    let closed = plan.unresolved().filter(|_| !plan.is_open());
    let programmed = match refusal.as_ref().or(closed) {
        None => make.is("Programmed", "Programmed", ""),
        Some(refusal) => {
            let reason = if plan.is_open() { "Pending" } else { "Invalid" };
            make.is_not(
                "Programmed",
                &Refusal::new(reason, refusal.message.as_str()),
            )
        }
    };
    let conflicted = match conflict {
        None => condition(
            "Conflicted",
            false,
            "NoConflicts",
            "",
            make.generation,
            make.now,
        ),
        Some(conflict) => make.is("Conflicted", conflict.reason, &conflict.message),
    };
    ListenerStatus {
        name: plan.name.clone(),
        supported_kinds: plan.kinds.clone(),
        attached_routes: plan.attached,
        conditions: vec![
            make.unless("Accepted", refusal.as_ref(), ""),
            programmed,
            make.unless("ResolvedRefs", plan.unresolved(), ""),
            conflicted,
        ],
    }
}

/// Parents that other controllers wrote about stay as they are.
fn route_status(plan: &RoutePlan, now: Timestamp) -> RouteStatus {
    let make = Conditions {
        generation: plan.route.metadata().generation,
        now,
    };
    let written = plan
        .route
        .status()
        .into_iter()
        .flat_map(|status| &status.parents);
    let foreign = written
        .filter(|parent| parent.controller_name != GATEWAY_CONTROLLER)
        .cloned();
    let ours = plan
        .parents
        .iter()
        .map(|parent| parent_status(&make, plan, parent));
    RouteStatus {
        parents: foreign.chain(ours).collect(),
    }
}

fn parent_status(make: &Conditions, route: &RoutePlan, parent: &ParentPlan) -> RouteParentStatus {
    let refusal = parent.verdict.as_ref().err();
    // A rule that cannot be served takes nothing from the others.
    let dropped = route.dropped.as_ref().filter(|_| refusal.is_none());
    let dropped =
        dropped.map(|dropped| make.is("PartiallyInvalid", dropped.reason, &dropped.message));
    RouteParentStatus {
        parent_ref: parent.parent.clone(),
        controller_name: GATEWAY_CONTROLLER.to_owned(),
        conditions: vec![
            make.unless("Accepted", refusal, "attached to the Gateway"),
            make.unless(
                "ResolvedRefs",
                route.unresolved.as_ref(),
                "every backend was found",
            ),
        ]
        .into_iter()
        .chain(dropped)
        .collect(),
    }
}
