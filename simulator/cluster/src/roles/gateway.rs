//! The load balancer as a part of a cluster.

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{GatewayRole, context};

/// Starts the load balancer; `client` is the control plane's own where both share a process.
pub(super) async fn start(
    role: GatewayRole,
    client: Option<kube::Client>,
    parts: &TaskTracker,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let GatewayRole {
        api,
        config,
        local_route,
        dns,
        speed,
    } = role;
    if let Some((network, prefix)) = local_route {
        crate::docker::add_local_route(network, prefix).with_context(|| {
            format!("the range of Service addresses {network}/{prefix} cannot be made local")
        })?;
    }
    let client = match client {
        Some(client) => client,
        None => api.client()?,
    };
    if let Some(dns) = dns {
        start_dns(dns, client.clone(), parts, stop);
    }
    let (context, stop) = (context(speed), stop.clone());
    parts.spawn(async move {
        if let Err(error) = lab_gateway::run(client, config, context, stop.clone()).await {
            tracing::error!(%error, "the gateway ended");
            stop.cancel();
        }
    });
    Ok(())
}

/// Starts the cluster's DNS. A cluster whose names cannot be served still has its addresses.
fn start_dns(
    config: lab_dns::DnsConfig,
    client: kube::Client,
    parts: &TaskTracker,
    stop: &CancellationToken,
) {
    let stop = stop.clone();
    parts.spawn(async move {
        if let Err(error) = lab_dns::run(client, config, stop).await {
            let error = anyhow::Error::from(error);
            tracing::error!(error = format!("{error:#}"), "the cluster has no DNS");
        }
    });
}
