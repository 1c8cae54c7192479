//! The image registry as a part of a cluster.

use anyhow::Context as _;
use lab_controllers::ImagePushes;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{RegistryRole, pushes, registry_faults, registry_upstream};

/// Binds and serves until the stop signal.
pub(super) async fn start(
    role: RegistryRole,
    pushes: Option<&ImagePushes>,
    parts: &TaskTracker,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let RegistryRole {
        cluster,
        listen,
        dir,
        token,
        notify,
    } = role;
    let registry = lab_registry::Registry::open(&dir)
        .with_context(|| format!("failed to open the registry in {}", dir.display()))?
        .with_cluster_name(&cluster);
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("the registry cannot listen on {listen}"))?;
    let faults = dir.join("faults.json");
    let port = listener
        .local_addr()
        .map_or(listen.port(), |address| address.port());
    let upstream = dir.join("upstream");
    let router = registry_upstream::guard(registry.router(), upstream, &token, port);
    let router = registry_faults::guard(router, faults, &token);
    let stop = stop.clone();
    let news = registry.on_push();
    if let Some(pushes) = pushes {
        parts.spawn(pushes::tell(news, pushes.clone(), stop.clone()));
    } else if let Some(api) = notify {
        parts.spawn(pushes::notify(news, api.client()?, stop.clone()));
    }
    parts.spawn(async move {
        let served = axum::serve(listener, router)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await;
        if let Err(error) = served {
            tracing::error!(%error, "the registry ended");
        }
    });
    Ok(())
}
