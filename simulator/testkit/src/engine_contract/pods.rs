//! Small steps that the cases are made of.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use futures::{StreamExt, TryStreamExt};
use lab_engine::{
    ContainerConfig, ContainerId, ContainerState, ContainerStatus, Engine, LogOptions,
    SandboxConfig, SandboxId, SandboxStatus,
};

use super::Fixture;

/// A pod with one container that was started.
pub(super) struct Pod {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) sandbox: SandboxStatus,
    pub(super) container: ContainerId,
}

/// The end of a container.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) code: i32,
    pub(super) oom_killed: bool,
}

/// A pod that no other case and no other run has.
pub(super) fn pod_config(name: &str) -> SandboxConfig {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    SandboxConfig {
        namespace: "contract".into(),
        name: name.into(),
        uid: format!("{}-{number}", std::process::id()),
        hostname: name.into(),
        ..SandboxConfig::default()
    }
}

/// Pulls what is not there, as a node agent does.
pub(super) async fn ensure_image(
    engine: &dyn Engine,
    config: &ContainerConfig,
) -> anyhow::Result<()> {
    if engine.image_status(&config.image).await?.is_none() {
        engine.pull_image(&config.image).await.context("the pull")?;
    }
    Ok(())
}

/// Adds a container to a sandbox and starts it.
pub(super) async fn start(
    engine: &dyn Engine,
    sandbox: &SandboxId,
    config: &ContainerConfig,
) -> anyhow::Result<ContainerId> {
    ensure_image(engine, config).await?;
    let container = engine
        .create_container(sandbox, config)
        .await
        .context("making the container")?;
    engine
        .start_container(&container)
        .await
        .context("starting the container")?;
    Ok(container)
}

/// Runs the helper with these words in a pod of its own.
pub(super) async fn run_pod(
    fixture: &dyn Fixture,
    name: &str,
    words: &[&str],
) -> anyhow::Result<Pod> {
    run_pod_with(fixture, name, &fixture.container("main", words)).await
}

/// Runs this container in a pod of its own.
pub(super) async fn run_pod_with(
    fixture: &dyn Fixture,
    name: &str,
    config: &ContainerConfig,
) -> anyhow::Result<Pod> {
    let engine = fixture.engine();
    let sandbox = engine
        .run_pod_sandbox(&pod_config(name))
        .await
        .context("making the sandbox")?;
    let container = start(&*engine, &sandbox.id, config).await?;
    Ok(Pod {
        engine,
        sandbox,
        container,
    })
}

impl Pod {
    /// Waits until the helper has printed this line.
    pub(super) async fn printed(&self, line: &str) -> anyhow::Result<()> {
        wait_for_line(&*self.engine, &self.container, |found| found == line)
            .await
            .map(|_| ())
    }

    /// Waits for the end of the container.
    pub(super) async fn exit(&self) -> anyhow::Result<Exit> {
        exit_of(&*self.engine, &self.sandbox.id, &self.container).await
    }

    /// All that the container has printed.
    pub(super) async fn log(&self) -> anyhow::Result<String> {
        log(&*self.engine, &self.container, &LogOptions::default()).await
    }

    /// Its container as the engine sees it now.
    pub(super) async fn status(&self) -> anyhow::Result<ContainerStatus> {
        status_of(&*self.engine, &self.sandbox.id, &self.container).await
    }
}

/// The container as the engine sees it now.
pub(super) async fn status_of(
    engine: &dyn Engine,
    sandbox: &SandboxId,
    container: &ContainerId,
) -> anyhow::Result<ContainerStatus> {
    let status = engine
        .sandbox_status(sandbox)
        .await?
        .context("the sandbox is gone")?;
    status
        .containers
        .into_iter()
        .find(|found| found.id == *container)
        .context("the container is gone")
}

/// Waits for the container's end, looking when the engine says that something changed.
pub(super) async fn exit_of(
    engine: &dyn Engine,
    sandbox: &SandboxId,
    container: &ContainerId,
) -> anyhow::Result<Exit> {
    let mut events = engine.events();
    while events.next().await.is_some() {
        match status_of(engine, sandbox, container).await?.state {
            ContainerState::Created | ContainerState::Running { .. } => {}
            ContainerState::Exited {
                exit_code,
                oom_killed,
                ..
            } => {
                return Ok(Exit {
                    code: exit_code,
                    oom_killed,
                });
            }
        }
    }
    anyhow::bail!("the engine stopped telling what happens")
}

/// A part of the container's log.
pub(super) async fn log(
    engine: &dyn Engine,
    container: &ContainerId,
    options: &LogOptions,
) -> anyhow::Result<String> {
    let pieces: Vec<_> = engine.logs(container, options).await?.try_collect().await?;
    Ok(String::from_utf8(pieces.concat())?)
}

/// Follows the container's log until such a line comes.
pub(super) async fn wait_for_line(
    engine: &dyn Engine,
    container: &ContainerId,
    wanted: impl Fn(&str) -> bool,
) -> anyhow::Result<String> {
    let options = LogOptions {
        follow: true,
        ..LogOptions::default()
    };
    let mut pieces = engine.logs(container, &options).await?;
    let mut text = Vec::new();
    while let Some(piece) = pieces.try_next().await? {
        text.extend_from_slice(&piece);
        let so_far = String::from_utf8_lossy(&text);
        if let Some(line) = so_far.lines().find(|line| wanted(line)) {
            return Ok(line.to_owned());
        }
    }
    anyhow::bail!(
        "the container ended without printing it; it printed:\n{}",
        String::from_utf8_lossy(&text)
    )
}

/// Waits until the helper's `listen` listens, and gives the port.
pub(super) async fn port_of(engine: &dyn Engine, container: &ContainerId) -> anyhow::Result<u16> {
    let line = wait_for_line(engine, container, |line| line.starts_with("listening ")).await?;
    Ok(line.trim_start_matches("listening ").parse()?)
}

/// What the program at this address says.
pub(super) async fn ask(ip: IpAddr, port: u16) -> anyhow::Result<String> {
    let address = SocketAddr::new(ip, port).to_string();
    let answer = tokio::task::spawn_blocking(move || crate::helper::fetch(&address)).await??;
    Ok(answer.trim_end().to_owned())
}

/// Asks again until the answer is the wanted one.
pub(super) async fn eventually<T>(
    what: &str,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let patience = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), patience)
        .await
        .with_context(|| format!("never came true: {what}"))
}
