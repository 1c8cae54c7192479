//! A thousand simulated nodes and a hundred thousand pods through the scheduler.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::Instant;

use super::lab::Lab;
use super::{Args, Figure, memory};

/// Pods of one Deployment; many Deployments make the load, as in a real cluster.
const PODS_PER_DEPLOYMENT: usize = 1_000;
/// How long the pods may take.
const LIMIT: Duration = Duration::from_secs(600);

/// Pods per second from the first manifest until the last one runs, and the memory then.
pub(crate) fn run(lab: &Lab, args: &Args) -> anyhow::Result<Vec<Figure>> {
    let start = lab.start(args.nodes, "simulated")?;
    let deployments = args.pods.div_ceil(PODS_PER_DEPLOYMENT);
    let replicas = args.pods / deployments;
    let manifests: String = (0..deployments)
        .map(|number| deployment(number, replicas))
        .collect();
    let began = Instant::now();
    lab.kubectl(&["apply", "--validate=false", "-f", "-"], Some(&manifests))?;
    let wanted = deployments * replicas;
    loop {
        let ready = ready_replicas(lab)?;
        if ready >= wanted {
            break;
        }
        if began.elapsed() > LIMIT {
            bail!("{ready} of {wanted} pods run after {} s", LIMIT.as_secs());
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let memory: f64 = memory::components(lab)?.iter().map(|(_, mib)| mib).sum();
    let nodes = args.nodes;
    Ok(vec![
        Figure::alone(
            format!("simulated: {nodes} nodes Ready"),
            format!("{start:.0} ms"),
            "",
        ),
        Figure::alone(
            format!("simulated: {wanted} pods running"),
            format!("{seconds:.1} s, {:.0} pods/s", wanted as f64 / seconds),
            "> 2,000 pods/s",
        ),
        Figure::alone(
            "simulated: memory with them",
            format!("{memory:.0} MiB"),
            "≤ 2 GB",
        ),
    ])
}

fn deployment(number: usize, replicas: usize) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: load-{number}}}\nspec:\n  replicas: {replicas}\n  \
         selector: {{matchLabels: {{app: load-{number}}}}}\n  template:\n    metadata: {{labels: {{app: load-{number}}}}}\n    \
         spec: {{containers: [{{name: app, image: 'sim:1', resources: {{requests: {{cpu: 10m, memory: 16Mi}}}}}}]}}\n---\n"
    )
}

fn ready_replicas(lab: &Lab) -> anyhow::Result<usize> {
    let output = lab.kubectl(
        &[
            "get",
            "deployments",
            "-o",
            "jsonpath={.items[*].status.readyReplicas}",
        ],
        None,
    )?;
    output
        .split_whitespace()
        .map(|count| count.parse::<usize>().context("readyReplicas is no number"))
        .sum()
}
