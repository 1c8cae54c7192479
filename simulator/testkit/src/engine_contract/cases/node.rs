//! The end of the node agent, and of the whole node.

use anyhow::{Context, ensure};
use lab_engine::SandboxConfig;

use super::super::Fixture;
use super::super::pods::{eventually, run_pod, start};

pub(super) async fn agent_restart(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let before = run_pod(fixture, "remembered", &["sleep"]).await?;
    let (id, ip, config) = (
        before.sandbox.id.clone(),
        before.sandbox.ip,
        before.sandbox.config.clone(),
    );
    drop(before);
    fixture.restart_agent().await?;
    let engine = fixture.engine();
    let all = engine.list_sandboxes().await?;
    let found = all
        .into_iter()
        .find(|sandbox| sandbox.id == id)
        .context("it is not listed any more")?;
    ensure!(
        found.ip == ip,
        "it is listed at {} instead of {ip}",
        found.ip
    );
    ensure!(
        found.config.uid == config.uid,
        "it is listed for another pod"
    );
    ensure!(
        found.containers.len() == 1,
        "it is listed with {} containers",
        found.containers.len()
    );
    engine.remove_pod_sandbox(&id).await?;
    let anew = engine
        .run_pod_sandbox(&SandboxConfig {
            ip: Some(ip),
            ..config
        })
        .await?;
    ensure!(
        anew.ip == ip,
        "the pod came back at {} instead of {ip}",
        anew.ip
    );
    start(&*engine, &anew.id, &fixture.container("main", &["sleep"])).await?;
    engine.remove_pod_sandbox(&anew.id).await?;
    Ok(())
}

pub(super) async fn death(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let mut node = fixture.doomed_node().await?;
    ensure!(
        node.pod_lives().await,
        "the pod does not run on the living node"
    );
    node.kill().await?;
    eventually("the pod is dead", async || {
        (!node.pod_lives().await).then_some(())
    })
    .await
}
