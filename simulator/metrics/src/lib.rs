//! Prometheus for one cluster, in memory: scrapes, keeps two hours, answers PromQL, watches rules.
//!
//! ```text
//! scrape → exposition → store ← eval ← promql
//!                         ↑       ↑
//!                       rules    api
//! ```
//!
//! `exposition`, `store`, `promql` and `eval` are pure: no Kubernetes, no sockets. The crate sees
//! Kubernetes through a client only, and must never know the store of objects, engines or who
//! started it. Start reading at [`Metrics`] and [`Handle`], then `promql` (text to tree), `eval`
//! (tree to answer), `store` (what is kept, and its bounds), `scrape` and `rules`.

pub mod eval;
pub mod exposition;
pub mod labels;
pub mod promql;
pub mod scrape;
pub mod store;

mod api;
mod handle;
mod own;
mod rules;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use kube::Client;
use lab_context::Context;
use tokio_util::sync::CancellationToken;

pub use eval::{Answer, Element};
pub use handle::{Handle, QueryError};
pub use labels::Labels;

use api::Api;
use rules::{Board, Rules};
use scrape::{Expose, FixedTarget, INTERVAL, SHORTEST_INTERVAL, Scraper, Shown, Source};
use store::Store;

/// What is scraped besides what the API names.
#[derive(Clone, Default)]
pub struct MetricsConfig {
    /// Targets that are always there, such as the load balancer.
    pub fixed: Vec<FixedTarget>,
    /// What the process has to say of itself.
    pub own: Option<Expose>,
    /// Whether pods and monitors are looked for; not where pods only pretend to run.
    pub watch_pods: bool,
}

/// The metrics of one cluster.
pub struct Metrics {
    handle: Handle,
    store: Arc<Store>,
    context: Context,
    shown: Arc<Shown>,
    board: Arc<Board>,
    own: Expose,
    fixed: Vec<FixedTarget>,
    watch_pods: bool,
}

impl Metrics {
    /// With nothing scraped yet.
    #[must_use]
    pub fn new(config: MetricsConfig, context: Context) -> Self {
        let MetricsConfig {
            mut fixed,
            own,
            watch_pods,
        } = config;
        let step = i64::try_from(interval(&context).as_millis()).unwrap_or(15_000);
        let handle = Handle::new(step);
        let store = handle.shared_store();
        let kept = Arc::clone(&store);
        let own: Expose = Arc::new(move || {
            let mut text = own::render(&kept);
            if let Some(own) = &own {
                text.push_str(&own());
            }
            text
        });
        fixed.push(FixedTarget {
            job: "control-plane".to_owned(),
            source: Source::Own(Arc::clone(&own)),
            interval: None,
        });
        Self {
            handle,
            store,
            context,
            shown: Arc::default(),
            board: Arc::default(),
            own,
            fixed,
            watch_pods,
        }
    }

    /// Answers queries in this process.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Prometheus' HTTP API.
    pub fn router(&self) -> Router {
        Api::new(
            self.handle.clone(),
            self.context.clone(),
            Arc::clone(&self.shown),
            Arc::clone(&self.board),
            Arc::clone(&self.own),
        )
        .router()
    }

    /// Scrapes and evaluates rules until `stop`.
    pub async fn run(self, client: Client, stop: CancellationToken) {
        let Self {
            store,
            context,
            shown,
            board,
            fixed,
            watch_pods,
            ..
        } = self;
        let scraper = Scraper::new(Arc::clone(&store), context.clone(), shown, fixed);
        let pods = watch_pods.then(|| client.clone());
        let interval = interval(&context);
        let rules = Rules::new(client, store, context, board, interval, &stop);
        tokio::join!(scraper.run(pods, stop.clone()), rules.run(stop));
    }
}

/// Time between two scrapes, and two evaluations of rules, on this cluster's clock.
fn interval(context: &Context) -> Duration {
    context.scale(INTERVAL).max(SHORTEST_INTERVAL)
}
