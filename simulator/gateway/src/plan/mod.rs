//! Decisions: which Gateways are ours, which listeners can be served, which routes attach to
//! which of them, and why the others do not.
//!
//! Everything here is a pure function of the [`World`]; sockets and status come later.

mod backends;
mod gateways;
mod grants;
mod ingresses;
mod routes;
mod rules;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use lab_api::gateway::{
    GRPCRoute, Gateway, GatewayClass, HTTPRoute, ParentReference, RouteGroupKind, RouteStatus,
};
use rustls::sign::CertifiedKey;

pub(crate) use backends::{EndpointKey, ServiceKey, Slices, addresses, unserved};

use crate::config::IngressPorts;
use crate::table::{Filters, Hostname, Matcher};
use crate::world::{World, key};

/// Why something is not served: a reason from the Gateway API's list and words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

/// All decisions about one state of the world.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The classes that name our controller.
    pub(crate) classes: Vec<ClassPlan>,
    /// The Gateways of those classes, oldest first.
    pub(crate) gateways: Vec<GatewayPlan>,
    /// The routes that name one of those Gateways, in the order of precedence between routes:
    /// oldest first, then by namespace and name.
    pub(crate) routes: Vec<RoutePlan>,
    /// The Ingresses of our class.
    pub(crate) ingresses: Vec<IngressPlan>,
}

/// A route as the table has it: where it is attached, and its rules.
#[derive(Debug)]
pub(crate) struct Carried<'a> {
    pub(crate) name: &'a str,
    pub(crate) rules: &'a [RulePlan],
    pub(crate) attachments: Vec<&'a Attachment>,
}

/// A GatewayClass of ours.
#[derive(Debug)]
pub(crate) struct ClassPlan {
    pub(crate) class: Arc<GatewayClass>,
    pub(crate) verdict: Result<(), Refusal>,
}

/// A Gateway of ours.
#[derive(Debug)]
pub(crate) struct GatewayPlan {
    /// `namespace/name`.
    pub(crate) key: String,
    pub(crate) gateway: Arc<Gateway>,
    /// True for the one that only holds the ports of Ingresses; no object stands behind it.
    pub(crate) is_virtual: bool,
    /// Refused as a whole, whatever its listeners are.
    pub(crate) refusal: Option<Refusal>,
    /// In the order of the spec.
    pub(crate) listeners: Vec<ListenerPlan>,
}

/// One listener of a Gateway.
#[derive(Debug)]
pub(crate) struct ListenerPlan {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) hostname: Hostname,
    pub(crate) verdict: Verdict,
    /// Set for a listener that speaks HTTPS.
    pub(crate) tls: Option<TlsPlan>,
    /// Kinds of routes that may attach, of those that we serve.
    pub(crate) kinds: Vec<RouteGroupKind>,
    /// Set where the listener asks for kinds that we do not serve.
    pub(crate) kinds_refused: Option<Refusal>,
    /// Number of routes attached.
    pub(crate) attached: i32,
}

/// The certificates of a listener.
#[derive(Debug, Default)]
pub(crate) struct TlsPlan {
    /// Those that can be used.
    pub(crate) certificates: Vec<Arc<CertifiedKey>>,
    /// Those of Ingresses, each for one host.
    pub(crate) hosts: Vec<(Hostname, Vec<Arc<CertifiedKey>>)>,
    /// The first that cannot.
    pub(crate) unresolved: Option<Refusal>,
}

impl TlsPlan {
    fn is_empty(&self) -> bool {
        self.certificates.is_empty() && self.hosts.is_empty()
    }
}

impl ListenerPlan {
    /// True where it gets a socket. A listener whose certificates are missing has its routes,
    /// but nothing to begin a connection with.
    pub(crate) fn is_open(&self) -> bool {
        let served = match self.verdict {
            Verdict::Served => true,
            Verdict::Conflicted(_) | Verdict::Refused(_) => false,
        };
        served && self.tls.as_ref().is_none_or(|tls| !tls.is_empty())
    }

    /// What it refers to and does not get: kinds of routes, or certificates.
    pub(crate) fn unresolved(&self) -> Option<&Refusal> {
        let certificate = self.tls.as_ref().and_then(|tls| tls.unresolved.as_ref());
        certificate.or(self.kinds_refused.as_ref())
    }
}

/// What becomes of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It gets a socket.
    Served,
    /// It collides with another listener of its Gateway.
    Conflicted(Refusal),
    /// It cannot be served, by itself or because an older Gateway has its port and host.
    Refused(Refusal),
}

/// A route of any kind of the Gateway API.
#[derive(Clone, Debug)]
pub(crate) enum RouteObject {
    /// For HTTP.
    Http(Arc<HTTPRoute>),
    /// For gRPC.
    Grpc(Arc<GRPCRoute>),
}

impl RouteObject {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "HTTPRoute",
            Self::Grpc(_) => "GRPCRoute",
        }
    }

    pub(crate) fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Http(route) => &route.metadata,
            Self::Grpc(route) => &route.metadata,
        }
    }

    pub(crate) fn namespace(&self) -> &str {
        self.metadata().namespace.as_deref().unwrap_or_default()
    }

    /// `namespace/name`.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Http(route) => key(&**route),
            Self::Grpc(route) => key(&**route),
        }
    }

    pub(crate) fn status(&self) -> Option<&RouteStatus> {
        match self {
            Self::Http(route) => route.status.as_ref(),
            Self::Grpc(route) => route.status.as_ref(),
        }
    }

    fn parent_refs(&self) -> &[ParentReference] {
        let refs = match self {
            Self::Http(route) => &route.spec.parent_refs,
            Self::Grpc(route) => &route.spec.parent_refs,
        };
        refs.as_deref().unwrap_or_default()
    }

    fn hostnames(&self) -> &[String] {
        let names = match self {
            Self::Http(route) => &route.spec.hostnames,
            Self::Grpc(route) => &route.spec.hostnames,
        };
        names.as_deref().unwrap_or_default()
    }
}

/// A route that names a Gateway of ours.
#[derive(Debug)]
pub(crate) struct RoutePlan {
    /// `namespace/name`; with the kind before it for all but HTTPRoutes.
    pub(crate) name: String,
    pub(crate) route: RouteObject,
    /// The rules that can be served, or why the route is not accepted.
    pub(crate) rules: Result<Vec<RulePlan>, Refusal>,
    /// The rules that cannot, where others can.
    pub(crate) dropped: Option<Refusal>,
    /// The first backend that cannot be used; it answers 500 for its share.
    pub(crate) unresolved: Option<Refusal>,
    pub(crate) parents: Vec<ParentPlan>,
}

/// An Ingress of our class.
#[derive(Debug)]
pub(crate) struct IngressPlan {
    pub(crate) ingress: Arc<Ingress>,
    /// Ports on which it is served.
    pub(crate) ports: Vec<u16>,
    /// One for each host, and one for the default backend.
    pub(crate) routes: Vec<IngressRoute>,
    /// What cannot be served: an Ingress has no conditions, so it is told in Events.
    pub(crate) troubles: Vec<Refusal>,
}

/// The rules of an Ingress for one host.
#[derive(Debug)]
pub(crate) struct IngressRoute {
    pub(crate) name: String,
    pub(crate) rules: Vec<RulePlan>,
    pub(crate) attachments: Vec<Attachment>,
}

/// A route under one of its parents.
#[derive(Debug)]
pub(crate) struct ParentPlan {
    pub(crate) parent: ParentReference,
    pub(crate) verdict: Result<Vec<Attachment>, Refusal>,
}

/// A listener that a route is attached to, and the hosts that both mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// Position in [`Plan::gateways`].
    pub(crate) gateway: usize,
    /// Position in [`GatewayPlan::listeners`].
    pub(crate) listener: usize,
    pub(crate) hostnames: Vec<Hostname>,
}

/// One rule of a route, ready to be put in the table.
#[derive(Debug)]
pub(crate) struct RulePlan {
    /// Position in the route.
    pub(crate) index: usize,
    pub(crate) matchers: Vec<Arc<Matcher>>,
    pub(crate) filters: Filters,
    pub(crate) backends: Vec<BackendPlan>,
    pub(crate) mirrors: Vec<MirrorPlan>,
    pub(crate) timeouts: Timeouts,
}

/// Who gets copies of a rule's requests.
#[derive(Debug)]
pub(crate) struct MirrorPlan {
    pub(crate) share: Share,
    pub(crate) backend: BackendPlan,
}

/// So many `parts` of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) parts: u64,
    pub(crate) of: u64,
}

impl Share {
    pub(crate) fn is_all(self) -> bool {
        self.parts >= self.of
    }
}

/// Limits on the time of a request; absent means none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// From the request to the end of the response.
    pub(crate) request: Option<Duration>,
    /// For one try at one endpoint.
    pub(crate) backend: Option<Duration>,
}

/// One backend of a rule.
#[derive(Debug)]
pub(crate) struct BackendPlan {
    pub(crate) weight: u32,
    pub(crate) filters: Filters,
    /// `namespace/name:port` as the route names it.
    pub(crate) name: String,
    pub(crate) service: Result<ServiceKey, Refusal>,
}

impl Plan {
    /// Decides about everything in `world`, Ingresses excepted.
    #[cfg(test)]
    pub(crate) fn of(world: &World) -> Self {
        Self::with(world, None)
    }

    /// Decides about everything in `world`; Ingresses are served where they have ports.
    pub(crate) fn with(world: &World, ingress: Option<IngressPorts>) -> Self {
        let mut gateways = gateways::plan(world);
        let routes = routes::plan(world, &mut gateways);
        let ingresses = match ingress {
            Some(ports) => ingresses::plan(world, ports, &mut gateways),
            None => Vec::new(),
        };
        Self {
            classes: gateways::classes(world),
            gateways,
            routes,
            ingresses,
        }
    }

    /// Every route that is served, in the order of precedence.
    pub(crate) fn carried(&self) -> impl Iterator<Item = Carried<'_>> {
        let routes = self.routes.iter().filter_map(|route| {
            let verdicts = route.parents.iter().map(|parent| parent.verdict.as_ref());
            Some(Carried {
                name: &route.name,
                rules: route.rules.as_ref().ok()?,
                attachments: verdicts.filter_map(Result::ok).flatten().collect(),
            })
        });
        let ingresses = self.ingresses.iter().flat_map(|ingress| &ingress.routes);
        routes.chain(ingresses.map(|route| Carried {
            name: &route.name,
            rules: &route.rules,
            attachments: route.attachments.iter().collect(),
        }))
    }
}
