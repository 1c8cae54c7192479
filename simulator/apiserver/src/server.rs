//! The server as its owner sees it, and the state that all handlers share.

use std::net::Ipv4Addr;
use std::sync::{Arc, OnceLock};

use axum::Router;
use lab_context::Context;
use lab_store::Store;
use tokio_util::sync::CancellationToken;

use crate::addresses::ServiceAddresses;
use crate::bootstrap;
use crate::catalog::Catalog;
use crate::error::ApiError;
use crate::facts::RecentFacts;
use crate::metrics::{SeriesSource, UsageSource};
use crate::node_connection::NodeConnection;
use crate::resources::{self, ResourceDef};
use crate::router;

/// What the server must be told.
pub struct ApiServerConfig {
    /// Network and prefix length of cluster addresses, such as 10.96.0.0/16.
    pub service_cidr: (Ipv4Addr, u8),
    /// What `GET /version` answers.
    pub version: Version,
    /// How to reach nodes for logs; without it such requests are refused.
    pub node_connection: Option<Arc<dyn NodeConnection>>,
    /// Clock and chance.
    pub context: Context,
    /// Ends open watches, so that the listener around the router can finish.
    pub stop: CancellationToken,
}

/// The version that clients see and compare with their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// `1`
    pub major: String,
    /// Minor version of the Kubernetes API that is imitated.
    pub minor: String,
    /// Complete version, such as `v1.36.0+devops-lab.0.1.0`.
    pub git_version: String,
}

impl Default for Version {
    fn default() -> Self {
        Self {
            major: "1".to_owned(),
            minor: "36".to_owned(),
            git_version: concat!("v1.36.0+devops-lab.", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// The Kubernetes API over a store. Clones share everything.
#[derive(Clone)]
pub struct ApiServer {
    server: Arc<Server>,
}

impl ApiServer {
    /// A server of all built-in kinds.
    #[must_use]
    pub fn new(store: Store, config: ApiServerConfig) -> Self {
        Self::with_resources(store, config, resources::all())
    }

    /// A server of these kinds only.
    #[must_use]
    pub fn with_resources(store: Store, config: ApiServerConfig, kinds: Vec<ResourceDef>) -> Self {
        let ApiServerConfig {
            service_cidr,
            version,
            node_connection,
            context,
            stop,
        } = config;
        let server = Server {
            addresses: ServiceAddresses::new(store.clone(), service_cidr),
            store,
            catalog: Catalog::new(kinds),
            context,
            nodes: node_connection,
            version,
            facts: RecentFacts::default(),
            stop,
            usage: OnceLock::new(),
            series: OnceLock::new(),
        };
        Self {
            server: Arc::new(server),
        }
    }

    /// Serves `metrics.k8s.io` from now on. Its source usually needs a client of this server, so
    /// it comes after the server.
    pub fn serve_usage(&self, source: Arc<dyn UsageSource>) {
        let _ = self.server.usage.set(source);
    }

    /// Serves `custom.metrics.k8s.io` and `external.metrics.k8s.io` from now on.
    pub fn serve_series(&self, source: Arc<dyn SeriesSource>) {
        let _ = self.server.series.set(source);
    }

    /// Creates the namespaces that every cluster has, where they are missing.
    ///
    /// # Errors
    ///
    /// The store's, as text: nothing else can go wrong.
    pub async fn ensure_namespaces(&self) -> Result<(), BootstrapError> {
        bootstrap::ensure_namespaces(&self.server)
            .await
            .map_err(BootstrapError)
    }

    /// The API as a service: for a listener, or directly for `kube::Client::new`.
    pub fn router(&self) -> Router {
        router::router(Arc::clone(&self.server))
    }
}

/// The cluster's first objects could not be created.
#[derive(Debug, thiserror::Error)]
#[error("failed to create the system namespaces")]
pub struct BootstrapError(#[source] ApiError);

/// What handlers share.
pub(crate) struct Server {
    pub(crate) store: Store,
    pub(crate) catalog: Catalog,
    pub(crate) context: Context,
    pub(crate) addresses: ServiceAddresses,
    pub(crate) nodes: Option<Arc<dyn NodeConnection>>,
    pub(crate) version: Version,
    pub(crate) facts: RecentFacts,
    pub(crate) stop: CancellationToken,
    pub(crate) usage: OnceLock<Arc<dyn UsageSource>>,
    pub(crate) series: OnceLock<Arc<dyn SeriesSource>>,
}
