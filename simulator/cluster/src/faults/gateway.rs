//! A share of a route's requests is delayed or fails in the load balancer.

use anyhow::Context as _;
use futures::FutureExt;
use kube::core::ApiResource;
use lab_api::faults::{self, Share};
use serde_json::{Value, json};

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
    healed_by: "devops-lab fault heal gateway-delay (or: kubectl annotate httproute ROUTE faults.devops-lab.dev/delay-)",
    target: Target::Route,
    engines: REAL,
    options: &["share", "delay"],
    passing: false,
    inject: |stage, request| {
        async move {
            let share = share(request.share.as_deref())?;
            let wait = request.delay.as_deref().unwrap_or(WAIT);
            let value = format!("{share} {wait}");
            let annotation = [(faults::DELAY.to_owned(), value.clone())].into();
            faults::delay(Some(&annotation)).with_context(|| {
                format!("{wait:?} is no delay: write 300ms, 2s or 1m, up to 5m")
            })?;
            let route = find(stage, request).await?;
            let annotations = json!({faults::DELAY: value});
            stage.annotate(&routes(), &route, annotations).await?;
            Ok(Injected {
                did: format!("delay {share} of the requests of route {route} by {wait}"),
                target: route.to_string(),
                undo: Value::Null,
            })
        }
        .boxed()
    },
    heal: |stage, injection| {
        async move {
            let route = Place::parse(&injection.target);
            let annotations = json!({faults::DELAY: null});
            stage.annotate(&routes(), &route, annotations).await?;
            Ok(format!("route {route} delays nothing any more"))
        }
        .boxed()
    },
};

pub(super) const ABORT: FaultDef = FaultDef {
    name: "gateway-abort",
    help: "fail a share of a route's requests in the load balancer (--share 20% --status 503)",
    expect: "that share of requests is answered with the status, and never reaches a pod",
    healed_by: "devops-lab fault heal gateway-abort (or: kubectl annotate httproute ROUTE faults.devops-lab.dev/abort-)",
    target: Target::Route,
    engines: REAL,
    options: &["share", "status"],
    passing: false,
    inject: |stage, request| {
        async move {
            let share = share(request.share.as_deref())?;
            let status = request.status.unwrap_or(STATUS);
            let value = format!("{share} {status}");
            let annotation = [(faults::ABORT.to_owned(), value.clone())].into();
            faults::abort(Some(&annotation))
                .with_context(|| format!("{status} is no status of an error: use 400 to 599"))?;
            let route = find(stage, request).await?;
            let annotations = json!({faults::ABORT: value});
            stage.annotate(&routes(), &route, annotations).await?;
            Ok(Injected {
                did: format!("answer {share} of the requests of route {route} with {status}"),
                target: route.to_string(),
                undo: Value::Null,
            })
        }
        .boxed()
    },
    heal: |stage, injection| {
        async move {
            let route = Place::parse(&injection.target);
            let annotations = json!({faults::ABORT: null});
            stage.annotate(&routes(), &route, annotations).await?;
            Ok(format!("route {route} fails nothing any more"))
        }
        .boxed()
    },
};

async fn find(stage: &Stage, request: &Request) -> anyhow::Result<Place> {
    let asked = request.target.as_deref();
    stage.object(&routes(), "HTTPRoute", asked, |_| true).await
}

fn routes() -> ApiResource {
    kind("gateway.networking.k8s.io", "v1", "HTTPRoute")
}

fn share(text: Option<&str>) -> anyhow::Result<Share> {
    let text = text.unwrap_or(SHARE);
    Share::parse(text)
        .with_context(|| format!("{text:?} is no share: write a percentage such as 20%"))
}
