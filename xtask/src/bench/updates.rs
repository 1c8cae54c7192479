//! Whether users notice rolling updates: every request of a steady stream has to be answered
//! while a Deployment with readiness and a preStop is replaced, again and again.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::time::Instant;

use super::lab::{Lab, get};
use super::{Args, Figure};

/// Updates in a row.
const UPDATES: usize = 10;

/// Requests of one update, as seconds of the stream; an update takes less.
const SECONDS: u64 = 30;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(180);

/// On the engine whose pods are processes, at 500 requests per second.
pub(crate) fn process(lab: &Lab, _: &Args) -> anyhow::Result<Vec<Figure>> {
    measure(lab, "process", 500)
}

/// On the engine whose pods are containers, at 200 requests per second.
pub(crate) fn docker(lab: &Lab, _: &Args) -> anyhow::Result<Vec<Figure>> {
    measure(lab, "docker", 200)
}

fn measure(lab: &Lab, engine: &str, rate: u64) -> anyhow::Result<Vec<Figure>> {
    lab.start(3, engine)?;
    let manifests = lab.push_hello()?;
    lab.kubectl(&["apply", "-f", "-"], Some(&manifests))?;
    rolled_out(lab)?;
    let production = lab.production()?;
    until("the application answers", || {
        Ok(get(&production).is_ok_and(|(status, _)| status == 200))
    })?;
    let (mut requests, mut failed, mut causes) = (0, 0, Vec::new());
    for update in 1..=UPDATES {
        let report = under_traffic(lab, rate)?;
        let number = |name: &str| report[name].as_u64().unwrap_or(0);
        requests += number("requests");
        failed += number("failed");
        if let Some(first) = report["failures"].get(0) {
            causes.push(format!("update {update}: {first}"));
        }
    }
    for cause in &causes {
        crate::say(cause);
    }
    Ok(vec![Figure::alone(
        format!("{UPDATES} rolling updates under {rate} req/s, {engine} engine"),
        format!("{failed} of {requests} requests failed"),
        "0 failed",
    )])
}

/// One update; what the users met.
fn under_traffic(lab: &Lab, rate: u64) -> anyhow::Result<Value> {
    let users = (rate / 10).to_string();
    let rate_text = rate.to_string();
    lab.run(&["traffic", "start", "--rate", &rate_text, "--users", &users])?;
    lab.kubectl(&["rollout", "restart", "deployment/hello"], None)?;
    rolled_out(lab)?;
    until("the stream is long enough", || {
        let report: Value = serde_json::from_str(&lab.run(&["traffic", "report", "-o", "json"])?)?;
        let requests = report["requests"].as_u64().unwrap_or(0);
        Ok(requests >= rate * SECONDS * 19 / 20)
    })?;
    let said = lab.run(&["traffic", "stop", "-o", "json"])?;
    serde_json::from_str(&said).context("the report is no JSON")
}

fn rolled_out(lab: &Lab) -> anyhow::Result<()> {
    lab.kubectl(
        &["rollout", "status", "deployment/hello", "--timeout=120s"],
        None,
    )
    .map(drop)
}

#[expect(
    clippy::disallowed_methods,
    reason = "looking without a pause would take processors away from what is measured"
)]
fn until(what: &str, holds: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let began = Instant::now();
    while !holds()? {
        if began.elapsed() > PATIENCE {
            bail!("not within {} s: {what}", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}
