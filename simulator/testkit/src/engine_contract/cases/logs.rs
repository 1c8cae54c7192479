//! Logs.

use anyhow::{Context, ensure};
use lab_engine::LogOptions;

use super::super::Fixture;
use super::super::pods::{log, run_pod};

pub(super) async fn readable(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let pod = run_pod(fixture, "talks", &["count", "500"]).await?;
    pod.exit().await?;
    let everything: String = (1..=500).map(|n| format!("line {n}\n")).collect();
    ensure!(
        pod.log().await? == everything,
        "lines are missing or altered"
    );
    let tail = LogOptions {
        tail_lines: Some(2),
        ..LogOptions::default()
    };
    let last = log(&*pod.engine, &pod.container, &tail).await?;
    ensure!(
        last == "line 499\nline 500\n",
        "the last two lines are {last:?}"
    );
    pod.engine.remove_pod_sandbox(&pod.sandbox.id).await?;
    Ok(())
}

pub(super) async fn followed(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let pod = run_pod(fixture, "followed", &["on-term", "0"]).await?;
    pod.printed("ready").await?;
    let follow = LogOptions {
        follow: true,
        ..LogOptions::default()
    };
    let stop = pod
        .engine
        .stop_container(&pod.container, std::time::Duration::from_secs(20));
    let (text, stopped) = tokio::join!(log(&*pod.engine, &pod.container, &follow), stop);
    stopped?;
    ensure!(text? == "ready\n", "the follower got something else");
    pod.engine.remove_pod_sandbox(&pod.sandbox.id).await?;
    Ok(())
}

pub(super) async fn timestamps(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let pod = run_pod(fixture, "punctual", &["print", "hello"]).await?;
    pod.exit().await?;
    let stamped = LogOptions {
        timestamps: true,
        ..LogOptions::default()
    };
    let text = log(&*pod.engine, &pod.container, &stamped).await?;
    let (stamp, line) = text
        .trim_end()
        .split_once(' ')
        .context("there is no time")?;
    ensure!(line == "hello", "the line is {line:?}");
    ensure!(
        stamp.contains('T') && stamp.ends_with('Z'),
        "the time is {stamp:?}"
    );
    pod.engine.remove_pod_sandbox(&pod.sandbox.id).await?;
    Ok(())
}
