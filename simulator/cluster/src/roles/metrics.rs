//! The metrics as a part of the control plane: Prometheus' HTTP API, scrapes, rules.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use http::Method;
use lab_context::Context;
use lab_metrics::scrape::{Expose, FixedTarget, Source};
use lab_metrics::{Handle, Metrics, MetricsConfig};
use lab_store::Store;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::MetricsRole;

/// Time between two scrapes of the load balancer: what a canary does is to be seen as it happens,
/// and there is but one load balancer.
const GATEWAY_INTERVAL: Duration = Duration::from_secs(2);

/// Binds, and serves and scrapes until the stop signal; answers what can be asked in this process.
pub(super) async fn start(
    role: MetricsRole,
    own: Expose,
    client: &kube::Client,
    context: &Context,
    parts: &TaskTracker,
    stop: &CancellationToken,
) -> anyhow::Result<Handle> {
    let MetricsRole {
        listen,
        endpoint: _,
        gateway,
        watch_pods,
    } = role;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("the metrics cannot listen on {listen}"))?;
    let config = MetricsConfig {
        fixed: vec![FixedTarget {
            job: "gateway".to_owned(),
            source: Source::Http {
                address: gateway,
                path: "/metrics".to_owned(),
            },
            interval: Some(GATEWAY_INTERVAL),
        }],
        own: Some(own),
        watch_pods,
    };
    let metrics = Metrics::new(config, context.clone());
    let (router, end) = (metrics.router(), stop.clone());
    parts.spawn(async move {
        let served = axum::serve(listener, router)
            .with_graceful_shutdown(end.cancelled_owned())
            .await;
        if let Err(error) = served {
            tracing::error!(%error, "the metrics ended");
        }
    });
    let handle = metrics.handle();
    parts.spawn(metrics.run(client.clone(), stop.clone()));
    Ok(handle)
}

const VERBS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "other"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Requests that the API answered over the network, by verb and class of status.
#[derive(Clone, Default)]
pub(super) struct RequestCounts(Arc<[[AtomicU64; CLASSES.len()]; VERBS.len()]>);

impl RequestCounts {
    /// Counts what goes through the router.
    pub(super) fn count(&self, router: Router) -> Router {
        let counts = self.clone();
        router.layer(middleware::from_fn(move |request: Request, next: Next| {
            let counts = counts.clone();
            async move {
                let verb = verb(request.method());
                let response = next.run(request).await;
                let class = usize::from(response.status().as_u16() / 100);
                let class = class.clamp(1, CLASSES.len()) - 1;
                counts.0[verb][class].fetch_add(1, Ordering::Relaxed);
                response
            }
        }))
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let name = "apiserver_request_total";
        writeln!(
            text,
            "# HELP {name} Requests that the API answered over the network."
        )?;
        writeln!(text, "# TYPE {name} counter")?;
        for (verb, counts) in VERBS.iter().zip(self.0.iter()) {
            for (class, count) in CLASSES.iter().zip(counts) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    writeln!(text, "{name}{{verb=\"{verb}\",code=\"{class}\"}} {count}")?;
                }
            }
        }
        Ok(())
    }
}

fn verb(method: &Method) -> usize {
    let known = VERBS.iter().position(|verb| *verb == method.as_str());
    known.unwrap_or(VERBS.len() - 1)
}

/// What the control plane tells of itself.
pub(super) fn own_metrics(store: Store, requests: RequestCounts) -> Expose {
    Arc::new(move || {
        let mut text = String::new();
        let written = requests.write(&mut text).and_then(|()| {
            let size = store.size_bytes();
            gauge(
                &mut text,
                "apiserver_storage_size_bytes",
                "Size of the objects kept.",
                size,
            )?;
            let memory = resident_bytes().unwrap_or(0);
            gauge(
                &mut text,
                "process_resident_memory_bytes",
                "Memory of the process.",
                memory,
            )
        });
        written.expect("a string takes every write");
        text
    })
}

fn gauge(text: &mut String, name: &str, help: &str, value: u64) -> std::fmt::Result {
    writeln!(
        text,
        "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}"
    )
}

/// From `/proc/self/status`, where the kernel has one; see proc(5).
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
