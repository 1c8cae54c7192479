//! What a program finds around it, and commands that are run beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use lab_engine::{EngineError, Mount};

use super::super::Fixture;
use super::super::pods::{
    Pod, ask, exit_of, log, pod_config, port_of, run_pod, run_pod_with, start,
};

/// Longer than any command of these cases needs.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn arguments_and_environment(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let mut config = fixture.container("main", &["print", "a word", "--flag", "", "ü"]);
    let printed = run_to_end(fixture, "arguments", &config).await?;
    ensure!(
        printed == "a word\n--flag\n\nü\n",
        "arguments arrived as {printed:?}"
    );
    config = fixture.container("main", &["env", "COLOUR", "HOSTNAME"]);
    config.env = vec![
        ("COLOUR".into(), "green".into()),
        ("COLOUR".into(), "blue".into()),
    ];
    let printed = run_to_end(fixture, "environment", &config).await?;
    ensure!(
        printed == "COLOUR=blue\nHOSTNAME=environment\n",
        "the environment arrived as {printed:?}"
    );
    Ok(())
}

async fn run_to_end(
    fixture: &dyn Fixture,
    name: &str,
    config: &lab_engine::ContainerConfig,
) -> anyhow::Result<String> {
    let pod = run_pod_with(fixture, name, config).await?;
    let exit = pod.exit().await?;
    let printed = pod.log().await?;
    ensure!(
        exit.code == 0,
        "it ended with {} after printing {printed:?}",
        exit.code
    );
    pod.engine.remove_pod_sandbox(&pod.sandbox.id).await?;
    Ok(printed)
}

pub(super) async fn mounted_files(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let mut config = fixture.container("main", &["read", "/etc/settings/sub/colour"]);
    let files = BTreeMap::from([("sub/colour".to_owned(), b"blue".to_vec())]);
    let container_path = "/etc/settings".to_owned();
    config.mounts.push(Mount {
        container_path,
        files,
        shared_name: None,
        read_only: true,
    });
    let printed = run_to_end(fixture, "settings", &config).await?;
    ensure!(printed == "blue\n", "it read {printed:?}");
    Ok(())
}

pub(super) async fn mounted_file(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let mut config = fixture.container("main", &["read", "/etc/colour"]);
    config.mounts.push(Mount {
        container_path: "/etc/colour".to_owned(),
        files: BTreeMap::from([(String::new(), b"blue".to_vec())]),
        shared_name: None,
        read_only: true,
    });
    let printed = run_to_end(fixture, "setting", &config).await?;
    ensure!(printed == "blue\n", "it read {printed:?}");
    Ok(())
}

pub(super) async fn scratch(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let mount = |path: &str| Mount {
        container_path: path.into(),
        files: BTreeMap::new(),
        shared_name: Some("scratch".into()),
        read_only: false,
    };
    let mut writer = fixture.container("writer", &["write", "/out/news", "hello"]);
    writer.mounts.push(mount("/out"));
    let mut reader = fixture.container("reader", &["read", "/in/news"]);
    reader.mounts.push(mount("/in"));
    let pod = run_shared(fixture, "scratch", &writer).await?;
    ensure!(
        pod.exit().await?.code == 0,
        "the writer failed: {}",
        pod.log().await?
    );
    let second = start(&*pod.engine, &pod.sandbox.id, &reader).await?;
    exit_of(&*pod.engine, &pod.sandbox.id, &second).await?;
    let read = log(&*pod.engine, &second, &Default::default()).await?;
    ensure!(read == "hello\n", "the reader found {read:?}");
    pod.engine.remove_pod_sandbox(&pod.sandbox.id).await?;
    Ok(())
}

/// A pod that will have more than one container.
async fn run_shared(
    fixture: &dyn Fixture,
    name: &str,
    config: &lab_engine::ContainerConfig,
) -> anyhow::Result<Pod> {
    let engine = fixture.engine();
    let shared = lab_engine::SandboxConfig {
        shared: true,
        ..pod_config(name)
    };
    let sandbox = engine.run_pod_sandbox(&shared).await?;
    let container = start(&*engine, &sandbox.id, config).await?;
    Ok(Pod {
        engine,
        sandbox,
        container,
    })
}

/// The helper's command line in the test image, with these words.
fn command(fixture: &dyn Fixture, words: &[&str]) -> Vec<String> {
    let config = fixture.container("main", words);
    config.command.into_iter().chain(config.args).collect()
}

pub(super) async fn exec(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let pod = run_pod(fixture, "busy", &["sleep"]).await?;
    let run = async |words: &[&str]| {
        pod.engine
            .exec(&pod.container, &command(fixture, words), PATIENCE)
            .await
    };
    let printed = run(&["print", "hello"]).await?;
    ensure!(
        (printed.exit_code, &*printed.output) == (0, b"hello\n"),
        "it gave {printed:?}"
    );
    let complained = run(&["print-error", "oops"]).await?;
    ensure!(
        complained.output == b"oops\n",
        "standard error is missing: {complained:?}"
    );
    let failed = run(&["exit", "7"]).await?;
    ensure!(failed.exit_code == 7, "it ended with {}", failed.exit_code);
    let long = run(&["count", "5000"]).await?;
    ensure!(
        long.output.len() == 10 << 10,
        "{} bytes of output were kept",
        long.output.len()
    );
    pod.engine.remove_pod_sandbox(&pod.sandbox.id).await?;
    Ok(())
}

pub(super) async fn exec_too_long(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let pod = run_pod(fixture, "slow", &["sleep"]).await?;
    let slow = pod
        .engine
        .exec(
            &pod.container,
            &command(fixture, &["sleep"]),
            Duration::from_millis(300),
        )
        .await;
    ensure!(slow.is_err(), "a command without end ended: {slow:?}");
    let running = matches!(
        pod.status().await?.state,
        lab_engine::ContainerState::Running { .. }
    );
    ensure!(running, "the container died with the command");
    pod.engine.remove_pod_sandbox(&pod.sandbox.id).await?;
    Ok(())
}

pub(super) async fn exec_needs_a_container(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let pod = run_pod(fixture, "over", &["exit", "0"]).await?;
    pod.exit().await?;
    let words = command(fixture, &["print", "hello"]);
    let late = pod.engine.exec(&pod.container, &words, PATIENCE).await;
    ensure!(
        matches!(late, Err(EngineError::InvalidContainer(_))),
        "expected InvalidContainer, got {late:?}"
    );
    pod.engine.remove_pod_sandbox(&pod.sandbox.id).await?;
    let gone = pod.engine.exec(&pod.container, &words, PATIENCE).await;
    ensure!(
        matches!(gone, Err(EngineError::NotFound(_))),
        "expected NotFound, got {gone:?}"
    );
    Ok(())
}

pub(super) async fn stats(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let pod = run_pod(fixture, "measured", &["allocate", "32"]).await?;
    pod.printed("ready").await?;
    let used = pod.engine.stats(&pod.container).await?.memory_bytes;
    ensure!(
        (32 << 20..256 << 20).contains(&used),
        "a program that uses 32 MiB is said to use {used} bytes"
    );
    pod.engine.remove_pod_sandbox(&pod.sandbox.id).await?;
    Ok(())
}

pub(super) async fn same_port(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let first = run_pod(fixture, "replica-0", &["listen", "0"]).await?;
    let port = port_of(&*first.engine, &first.container).await?;
    let mut replicas = vec![first];
    for name in ["replica-1", "replica-2"] {
        let replica = run_pod(fixture, name, &["listen", &port.to_string()]).await?;
        port_of(&*replica.engine, &replica.container).await?;
        replicas.push(replica);
    }
    for replica in replicas {
        let answer = ask(replica.sandbox.ip, port).await?;
        let name = &replica.sandbox.config.name;
        ensure!(
            answer == format!("hello from {name}"),
            "{name} answered {answer:?}"
        );
        replica
            .engine
            .remove_pod_sandbox(&replica.sandbox.id)
            .await?;
    }
    Ok(())
}

pub(super) async fn shared_address(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let pod = run_shared(
        fixture,
        "together",
        &fixture.container("server", &["listen", "0"]),
    )
    .await?;
    let port = port_of(&*pod.engine, &pod.container).await?;
    let address = format!("{}:{port}", pod.sandbox.ip);
    let client = fixture.container("client", &["fetch", &address]);
    let client = start(&*pod.engine, &pod.sandbox.id, &client).await?;
    exit_of(&*pod.engine, &pod.sandbox.id, &client).await?;
    let answer = log(&*pod.engine, &client, &Default::default()).await?;
    ensure!(answer == "hello from together\n", "it got {answer:?}");
    pod.engine.remove_pod_sandbox(&pod.sandbox.id).await?;
    Ok(())
}
