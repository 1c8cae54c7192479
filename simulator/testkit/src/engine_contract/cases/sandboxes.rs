//! Sandboxes: an address and a life for the containers of a pod.

use anyhow::{Context, ensure};

use super::super::Fixture;
use super::super::pods::{pod_config, run_pod};

pub(super) async fn different_addresses(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let engine = fixture.engine();
    let one = engine.run_pod_sandbox(&pod_config("one")).await?;
    let two = engine.run_pod_sandbox(&pod_config("two")).await?;
    ensure!(one.ip != two.ip, "both have {}", one.ip);
    ensure!(one.id != two.id, "both are {:?}", one.id);
    engine.remove_pod_sandbox(&one.id).await?;
    engine.remove_pod_sandbox(&two.id).await?;
    Ok(())
}

pub(super) async fn same_address_again(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let engine = fixture.engine();
    let mut first = engine.run_pod_sandbox(&pod_config("first")).await?;
    let other = engine.run_pod_sandbox(&pod_config("other")).await?;
    engine.remove_pod_sandbox(&first.id).await?;
    engine.remove_pod_sandbox(&other.id).await?;
    for sandbox in [first.clone(), other] {
        let config = lab_engine::SandboxConfig {
            ip: Some(sandbox.ip),
            ..sandbox.config
        };
        first = engine.run_pod_sandbox(&config).await?;
        ensure!(
            first.ip == sandbox.ip,
            "asked for {}, got {}",
            sandbox.ip,
            first.ip
        );
        engine.remove_pod_sandbox(&first.id).await?;
    }
    Ok(())
}

pub(super) async fn one_per_pod(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let engine = fixture.engine();
    let config = pod_config("once");
    let first = engine.run_pod_sandbox(&config).await?;
    let again = engine.run_pod_sandbox(&config).await?;
    ensure!(
        (&first.id, first.ip) == (&again.id, again.ip),
        "a second sandbox {:?} beside {:?}",
        again.id,
        first.id
    );
    engine.remove_pod_sandbox(&first.id).await?;
    let anew = engine.run_pod_sandbox(&config).await?;
    ensure!(
        anew.alive,
        "a pod cannot come back after its sandbox was removed"
    );
    engine.remove_pod_sandbox(&anew.id).await?;
    Ok(())
}

pub(super) async fn listed(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let pod = run_pod(fixture, "listed", &["sleep"]).await?;
    let all = pod.engine.list_sandboxes().await?;
    let found = all
        .into_iter()
        .find(|sandbox| sandbox.id == pod.sandbox.id)
        .context("it is not in the list")?;
    ensure!(found.alive, "it is listed as dead");
    ensure!(found.ip == pod.sandbox.ip, "it is listed at {}", found.ip);
    ensure!(
        found.config.uid == pod.sandbox.config.uid,
        "it is listed for pod {}",
        found.config.uid
    );
    ensure!(
        found.config.name == "listed" && found.config.namespace == "contract",
        "it is listed as another pod"
    );
    let [container] = &found.containers[..] else {
        anyhow::bail!("it is listed with {} containers", found.containers.len());
    };
    ensure!(
        container.id == pod.container,
        "it is listed with another container"
    );
    ensure!(
        (&*container.name, container.attempt) == ("main", 0),
        "the container is listed as another"
    );
    ensure!(
        container.image_id.starts_with("sha256:"),
        "its image id is {:?}",
        container.image_id
    );
    pod.engine.remove_pod_sandbox(&pod.sandbox.id).await?;
    Ok(())
}

pub(super) async fn nothing_left(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let pod = run_pod(fixture, "removed", &["sleep"]).await?;
    ensure!(
        !fixture.leftovers().await?.is_empty(),
        "the fixture does not see a running pod"
    );
    pod.engine.remove_pod_sandbox(&pod.sandbox.id).await?;
    pod.engine
        .remove_pod_sandbox(&pod.sandbox.id)
        .await
        .context("a second removal")?;
    ensure!(
        pod.engine.sandbox_status(&pod.sandbox.id).await?.is_none(),
        "it still has a status"
    );
    let left = fixture.leftovers().await?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}
