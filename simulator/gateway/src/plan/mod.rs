//! Decisions: which Gateways are ours, which listeners can be served, which routes attach to
//! which of them, and why the others do not.
//!
//! Everything here is a pure function of the [`World`]; sockets and status come later.

mod backends;
mod gateways;
mod grants;
mod routes;
mod rules;

use std::sync::Arc;
use std::time::Duration;

use lab_api::gateway::{Gateway, GatewayClass, HTTPRoute, ParentReference, RouteGroupKind};
use rustls::sign::CertifiedKey;

pub(crate) use backends::{EndpointKey, ServiceKey, Slices, addresses};

use crate::table::{Filters, Hostname, Matcher};
use crate::world::World;

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
    /// The first that cannot.
    pub(crate) unresolved: Option<Refusal>,
}

impl ListenerPlan {
    /// True where it gets a socket. A listener whose certificates are missing has its routes,
    /// but nothing to begin a connection with.
    pub(crate) fn is_open(&self) -> bool {
        let served = match self.verdict {
            Verdict::Served => true,
            Verdict::Conflicted(_) | Verdict::Refused(_) => false,
        };
        served
            && self
                .tls
                .as_ref()
                .is_none_or(|tls| !tls.certificates.is_empty())
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

/// An HTTPRoute that names a Gateway of ours.
#[derive(Debug)]
pub(crate) struct RoutePlan {
    /// `namespace/name`.
    pub(crate) key: String,
    pub(crate) route: Arc<HTTPRoute>,
    pub(crate) rules: Result<Vec<RulePlan>, Refusal>,
    /// The first backend that cannot be used; it answers 500 for its share.
    pub(crate) unresolved: Option<Refusal>,
    pub(crate) parents: Vec<ParentPlan>,
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
    pub(crate) matchers: Vec<Arc<Matcher>>,
    pub(crate) filters: Filters,
    pub(crate) backends: Vec<BackendPlan>,
    pub(crate) timeouts: Timeouts,
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
    /// Decides about everything in `world`.
    pub(crate) fn of(world: &World) -> Self {
        let mut gateways = gateways::plan(world);
        let routes = routes::plan(world, &mut gateways);
        Self {
            classes: gateways::classes(world),
            gateways,
            routes,
        }
    }
}
