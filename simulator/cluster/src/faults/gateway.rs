//! A share of a route's requests is delayed or fails in the load balancer.

use anyhow::{Context as _, bail};
use futures::FutureExt;
use futures::future::BoxFuture;
use kube::core::ApiResource;
use lab_api::faults::{self, Share};
use serde_json::{Value, json};

use super::ledger::Injection;
use super::stage::{Place, Stage, kind};
use super::{FaultDef, Injected, REAL, Request, Target};

/// Share of requests, where nobody says.
const SHARE: &str = "20%";
/// Delay, where nobody says.
const WAIT: &str = "1s";
/// Status, where nobody says.
const STATUS: u16 = 503;

pub(super) const DELAY: FaultDef = FaultDef {
    name: "gateway-delay",
    help: "delay a share of a route's requests in the load balancer (--share 20% --delay 1s)",
    expect: "latency percentiles rise by the delay for that share, and clients with short timeouts see errors",
    healed_by: "devops-lab fault heal gateway-delay (or: kubectl annotate KIND ROUTE faults.devops-lab.dev/delay-)",
    target: Target::Route,
    engines: REAL,
    options: &["share", "delay"],
    passing: false,
    inject: |stage, request| play(stage, request, delay),
    heal: |stage, injection| stop(stage, injection, faults::DELAY, "delays"),
};

pub(super) const ABORT: FaultDef = FaultDef {
    name: "gateway-abort",
    help: "fail a share of a route's requests in the load balancer (--share 20% --status 503)",
    expect: "that share of requests is answered with the status, and never reaches a pod",
    healed_by: "devops-lab fault heal gateway-abort (or: kubectl annotate KIND ROUTE faults.devops-lab.dev/abort-)",
    target: Target::Route,
    engines: REAL,
    options: &["share", "status"],
    passing: false,
    inject: |stage, request| play(stage, request, abort),
    heal: |stage, injection| stop(stage, injection, faults::ABORT, "fails"),
};

/// What the load balancer is told, and in words.
struct Order {
    annotation: &'static str,
    value: String,
    /// What is done to the requests of a route, behind its name.
    did: Box<dyn Fn(&Route) -> String + Send>,
}

fn delay(request: &Request) -> anyhow::Result<Order> {
    let share = share(request)?;
    let wait = request.delay.as_deref().unwrap_or(WAIT).to_owned();
    let value = format!("{share} {wait}");
    let annotation = [(faults::DELAY.to_owned(), value.clone())].into();
    faults::delay(Some(&annotation))
        .with_context(|| format!("{wait:?} is no delay: write 300ms, 2s or 1m, up to 5m"))?;
    Ok(Order {
        annotation: faults::DELAY,
        value,
        did: Box::new(move |route| format!("delay {share} of the requests of {route} by {wait}")),
    })
}

fn abort(request: &Request) -> anyhow::Result<Order> {
    let share = share(request)?;
    let status = request.status.unwrap_or(STATUS);
    let value = format!("{share} {status}");
    let annotation = [(faults::ABORT.to_owned(), value.clone())].into();
    faults::abort(Some(&annotation))
        .with_context(|| format!("{status} is no status of an error: use 400 to 599"))?;
    Ok(Order {
        annotation: faults::ABORT,
        value,
        did: Box::new(move |route| {
            format!("answer {share} of the requests of {route} with {status}")
        }),
    })
}

fn share(request: &Request) -> anyhow::Result<Share> {
    let text = request.share.as_deref().unwrap_or(SHARE);
    Share::parse(text)
        .with_context(|| format!("{text:?} is no share: write a percentage such as 20%"))
}

fn play<'a>(
    stage: &'a Stage,
    request: &'a Request,
    order: fn(&Request) -> anyhow::Result<Order>,
) -> BoxFuture<'a, anyhow::Result<Injected>> {
    async move {
        let order = order(request)?;
        let routes = routes(stage).await?;
        let route = match request.target.as_deref() {
            Some(asked) => named(&routes, asked)?,
            None => stage.pick(&routes).context(NONE)?,
        };
        let annotations = json!({order.annotation: order.value});
        stage
            .annotate(&route.kind.resource(), &route.place, annotations)
            .await?;
        Ok(Injected {
            did: (order.did)(route),
            target: route.target(),
            undo: Value::Null,
        })
    }
    .boxed()
}

fn stop<'a>(
    stage: &'a Stage,
    injection: &'a Injection,
    annotation: &'static str,
    verb: &'static str,
) -> BoxFuture<'a, anyhow::Result<String>> {
    async move {
        let (kind, place) = parse(&injection.target);
        let kind = kind.unwrap_or(Kind::HttpRoute);
        let route = Route { kind, place };
        let annotations = json!({annotation: null});
        stage
            .annotate(&kind.resource(), &route.place, annotations)
            .await?;
        Ok(format!("{route} {verb} nothing any more"))
    }
    .boxed()
}

const NONE: &str = "there is no HTTPRoute, GRPCRoute or Ingress";

/// What carries requests from the load balancer to Services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    HttpRoute,
    GrpcRoute,
    Ingress,
}

impl Kind {
    const ALL: [Self; 3] = [Self::HttpRoute, Self::GrpcRoute, Self::Ingress];

    fn name(self) -> &'static str {
        match self {
            Self::HttpRoute => "HTTPRoute",
            Self::GrpcRoute => "GRPCRoute",
            Self::Ingress => "Ingress",
        }
    }

    /// As it is typed before a name: `grpcroute/`.
    fn word(self) -> &'static str {
        match self {
            Self::HttpRoute => "httproute",
            Self::GrpcRoute => "grpcroute",
            Self::Ingress => "ingress",
        }
    }

    fn resource(self) -> ApiResource {
        match self {
            Self::HttpRoute | Self::GrpcRoute => {
                kind("gateway.networking.k8s.io", "v1", self.name())
            }
            Self::Ingress => kind("networking.k8s.io", "v1", self.name()),
        }
    }
}

/// A route that can be hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    kind: Kind,
    place: Place,
}

impl Route {
    /// As it is asked for and written down: HTTPRoutes by their names alone.
    fn target(&self) -> String {
        match self.kind {
            Kind::HttpRoute => self.place.to_string(),
            kind => format!("{}/{}", kind.word(), self.place),
        }
    }
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.place)
    }
}

/// All routes of all kinds.
pub(super) async fn routes(stage: &Stage) -> anyhow::Result<Vec<Route>> {
    let mut routes = Vec::new();
    for kind in Kind::ALL {
        let places = stage.places(&kind.resource(), |_| true).await?;
        routes.extend(places.into_iter().map(|place| Route { kind, place }));
    }
    Ok(routes)
}

/// `NAME`, `NAMESPACE/NAME`, or either behind a kind.
fn parse(text: &str) -> (Option<Kind>, Place) {
    let of_kind = |kind: Kind| {
        let (word, rest) = text.split_once('/')?;
        let same = word.eq_ignore_ascii_case(kind.word());
        same.then(|| (Some(kind), Place::parse(rest)))
    };
    let found = Kind::ALL.into_iter().find_map(of_kind);
    found.unwrap_or_else(|| (None, Place::parse(text)))
}

fn named<'a>(routes: &'a [Route], asked: &str) -> anyhow::Result<&'a Route> {
    let (kind, place) = parse(asked);
    let meant = |route: &&Route| route.place == place && kind.is_none_or(|kind| kind == route.kind);
    let list = |routes: &[&Route]| {
        let names: Vec<_> = routes
            .iter()
            .map(|route| format!("{}/{}", route.kind.word(), route.place))
            .collect();
        names.join(", ")
    };
    let found: Vec<_> = routes.iter().filter(meant).collect();
    match found.as_slice() {
        [route] => Ok(route),
        [] if routes.is_empty() => bail!("there is no route {asked:?}: {NONE}"),
        [] => bail!(
            "there is no route {asked:?}; there are {}",
            list(&routes.iter().collect::<Vec<_>>())
        ),
        several => bail!(
            "{asked:?} may be any of {}: write one of them",
            list(several)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(kind: Kind, place: &str) -> Route {
        let place = Place::parse(place);
        Route { kind, place }
    }

    #[track_caller]
    fn case(asked: &str, expected: Result<&str, &str>) {
        let routes = [
            route(Kind::HttpRoute, "hello"),
            route(Kind::HttpRoute, "shop/cart"),
            route(Kind::GrpcRoute, "cart"),
            route(Kind::Ingress, "hello"),
        ];
        let found = named(&routes, asked).map(Route::target);
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(error), Err(words)) => {
                assert!(error.to_string().contains(words), "{error}");
            }
            (found, _) => panic!("{asked}: {found:?}"),
        }
    }

    #[test]
    fn a_route_is_found_by_its_name_and_where_that_is_not_enough_by_its_kind() {
        case("cart", Ok("grpcroute/cart"));
        case("shop/cart", Ok("shop/cart"));
        case("hello", Err("any of httproute/hello, ingress/hello"));
        case("ingress/hello", Ok("ingress/hello"));
        case("HTTPRoute/hello", Ok("hello"));
        case("httproute/shop/cart", Ok("shop/cart"));
        case("grpcroute/hello", Err("there are httproute/hello"));
    }

    #[test]
    fn what_is_written_down_names_the_same_route_again() {
        for kind in Kind::ALL {
            for place in ["hello", "shop/cart"] {
                let route = route(kind, place);
                let (read, place) = parse(&route.target());
                assert_eq!(read.unwrap_or(Kind::HttpRoute), kind);
                assert_eq!(place, route.place);
            }
        }
    }
}
