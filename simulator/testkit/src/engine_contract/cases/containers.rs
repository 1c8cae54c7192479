//! Containers: started once, ended once, removed.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures::StreamExt;
use lab_engine::{ContainerState, EngineError, EngineEvent, LogOptions};
use tokio::time::Instant;

use super::super::Fixture;
use super::super::pods::{Exit, ensure_image, exit_of, pod_config, run_pod, run_pod_with, start};

/// Far longer than any application of these cases needs.
const LONG_GRACE: Duration = Duration::from_secs(50);

pub(super) async fn exit_code(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let pod = run_pod(fixture, "ends", &["exit", "3"]).await?;
    let exit = pod.exit().await?;
    ensure!(
        exit == Exit {
            code: 3,
            oom_killed: false
        },
        "{exit:?}"
    );
    let ContainerState::Exited {
        started_at: Some(started),
        finished_at,
        ..
    } = pod.status().await?.state
    else {
        anyhow::bail!("it has ended without ever having started");
    };
    ensure!(started <= finished_at, "it ended before it started");
    pod.engine.remove_pod_sandbox(&pod.sandbox.id).await?;
    Ok(())
}

pub(super) async fn made_then_started(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let engine = fixture.engine();
    let config = fixture.container("main", &["sleep"]);
    ensure_image(&*engine, &config).await?;
    let sandbox = engine.run_pod_sandbox(&pod_config("made")).await?.id;
    let container = engine.create_container(&sandbox, &config).await?;
    let state = async || {
        super::super::pods::status_of(&*engine, &sandbox, &container)
            .await
            .map(|found| found.state)
    };
    ensure!(
        state().await? == ContainerState::Created,
        "it is {:?} before its start",
        state().await?
    );
    engine.start_container(&container).await?;
    ensure!(
        matches!(state().await?, ContainerState::Running { .. }),
        "it is {:?} after its start",
        state().await?
    );
    engine
        .start_container(&container)
        .await
        .context("a second start")?;
    engine.remove_pod_sandbox(&sandbox).await?;
    Ok(())
}

pub(super) async fn restarted(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let pod = run_pod(fixture, "restarts", &["exit", "1"]).await?;
    pod.exit().await?;
    let mut config = fixture.container("main", &["exit", "0"]);
    config.attempt = 1;
    let second = start(&*pod.engine, &pod.sandbox.id, &config).await?;
    ensure!(second != pod.container, "the second run is the first one");
    let exit = exit_of(&*pod.engine, &pod.sandbox.id, &second).await?;
    ensure!(exit.code == 0, "the second run ended with {}", exit.code);
    let status = pod
        .engine
        .sandbox_status(&pod.sandbox.id)
        .await?
        .context("the sandbox is gone")?;
    ensure!(
        status.ip == pod.sandbox.ip,
        "the address changed to {}",
        status.ip
    );
    ensure!(
        status.containers.len() == 2,
        "{} containers instead of both",
        status.containers.len()
    );
    pod.engine.remove_pod_sandbox(&pod.sandbox.id).await?;
    Ok(())
}

pub(super) async fn graceful(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let pod = run_pod(fixture, "graceful", &["on-term", "0"]).await?;
    if !pod.engine.pods_are_simulated() {
        pod.printed("ready").await?;
    }
    let asked = Instant::now();
    pod.engine
        .stop_container(&pod.container, LONG_GRACE)
        .await?;
    ensure!(
        asked.elapsed() < LONG_GRACE,
        "it was kept for its whole grace"
    );
    let exit = pod.exit().await?;
    ensure!(exit.code == 0, "it ended with {}", exit.code);
    pod.engine.remove_pod_sandbox(&pod.sandbox.id).await?;
    Ok(())
}

pub(super) async fn killed_after_grace(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let grace = Duration::from_secs(1);
    let pod = run_pod(fixture, "stubborn", &["ignore-term"]).await?;
    pod.printed("ready").await?;
    let asked = Instant::now();
    pod.engine.stop_container(&pod.container, grace).await?;
    ensure!(
        asked.elapsed() >= grace,
        "it was killed after {:?}",
        asked.elapsed()
    );
    let exit = pod.exit().await?;
    ensure!(
        exit == Exit {
            code: 137,
            oom_killed: false
        },
        "{exit:?}"
    );
    pod.engine.remove_pod_sandbox(&pod.sandbox.id).await?;
    Ok(())
}

pub(super) async fn stopped_twice(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let pod = run_pod(fixture, "ended", &["exit", "0"]).await?;
    pod.exit().await?;
    pod.engine
        .stop_container(&pod.container, LONG_GRACE)
        .await
        .context("stopping what has ended")?;
    let exit = pod.exit().await?;
    ensure!(
        exit.code == 0,
        "stopping changed its exit code to {}",
        exit.code
    );
    pod.engine.remove_pod_sandbox(&pod.sandbox.id).await?;
    pod.engine
        .stop_container(&pod.container, LONG_GRACE)
        .await
        .context("stopping what has gone")?;
    Ok(())
}

pub(super) async fn removed(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let pod = run_pod(fixture, "tidy", &["sleep"]).await?;
    pod.engine
        .remove_container(&pod.container)
        .await
        .context("removing a running container")?;
    ensure!(pod.status().await.is_err(), "it is still listed");
    match pod
        .engine
        .logs(&pod.container, &LogOptions::default())
        .await
    {
        Err(EngineError::NotFound(_)) => {}
        Err(other) => anyhow::bail!("expected NotFound for its log, got {other}"),
        Ok(_) => anyhow::bail!("its log is still there"),
    }
    pod.engine
        .remove_container(&pod.container)
        .await
        .context("a second removal")?;
    pod.engine.remove_pod_sandbox(&pod.sandbox.id).await?;
    Ok(())
}

pub(super) async fn events(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let engine = fixture.engine();
    let mut events = engine.events();
    let first = events.next().await;
    ensure!(
        first == Some(EngineEvent::Resync),
        "the first event is {first:?}"
    );
    let pod = run_pod(fixture, "noticed", &["exit", "0"]).await?;
    let wanted = EngineEvent::SandboxChanged(pod.sandbox.id.clone());
    // The engine may tell of the start and the end in one, but after the end it has told.
    while !matches!(pod.status().await?.state, ContainerState::Exited { .. }) {
        while events.next().await.context("the events ended")? != wanted {}
    }
    engine.remove_container(&pod.container).await?;
    while events.next().await.context("the events ended")? != wanted {}
    engine.remove_pod_sandbox(&pod.sandbox.id).await?;
    Ok(())
}

pub(super) async fn no_program(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let engine = fixture.engine();
    let mut config = fixture.container("main", &["sleep"]);
    config.command = vec!["no-such-program".into()];
    ensure_image(&*engine, &config).await?;
    let sandbox = engine.run_pod_sandbox(&pod_config("empty")).await?.id;
    // Which of the two steps looks at the program is the engine's affair.
    let refused = match engine.create_container(&sandbox, &config).await {
        Ok(container) => engine.start_container(&container).await.err(),
        Err(error) => Some(error),
    };
    match refused {
        Some(EngineError::InvalidContainer(message)) => {
            ensure!(
                message.contains("no-such-program"),
                "the message does not name it: {message}"
            );
        }
        other => anyhow::bail!("expected InvalidContainer, got {other:?}"),
    }
    engine.remove_pod_sandbox(&sandbox).await?;
    Ok(())
}

pub(super) async fn root_refused(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let engine = fixture.engine();
    let mut config = fixture.container("main", &["sleep"]);
    config.run_as_non_root = true;
    config.run_as_user = Some(0);
    ensure_image(&*engine, &config).await?;
    let sandbox = engine.run_pod_sandbox(&pod_config("root")).await?.id;
    let refused = engine.create_container(&sandbox, &config).await;
    ensure!(
        matches!(refused, Err(EngineError::InvalidContainer(_))),
        "expected InvalidContainer, got {refused:?}"
    );
    engine.remove_pod_sandbox(&sandbox).await?;
    Ok(())
}

pub(super) async fn out_of_memory(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let mut config = fixture.container("main", &["allocate", "200"]);
    config.memory_limit_bytes = Some(64 << 20);
    let pod = run_pod_with(fixture, "hungry", &config).await?;
    let exit = pod.exit().await?;
    ensure!(
        exit == Exit {
            code: 137,
            oom_killed: true
        },
        "{exit:?}"
    );
    pod.engine.remove_pod_sandbox(&pod.sandbox.id).await?;
    Ok(())
}
