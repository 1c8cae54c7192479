//! The users of a cluster's applications: a process of the cluster that sends requests and
//! records what they meet.
//!
//! It runs on the host, like the users themselves, whichever engine the cluster has. There is one
//! per cluster; it ends with `stop` and `delete`, and does not come back by itself: a stream that
//! nobody asked for would spoil the next measurement.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use lab_traffic::{Neighbourhood, Plan, Record as TrafficRecord, Run};
use tokio::time::{Instant, sleep};

use crate::process::{self, Part, end_process, last_words, pid_path};
use crate::record::{ClusterDir, Record};
use crate::roles::{Role, TrafficRole};

/// Name of the process.
const NAME: &str = "traffic";
/// How long it may take to begin.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Pause between two looks at whether it has begun.
const LOOK: Duration = Duration::from_millis(5);

/// Where the record is kept.
#[must_use]
pub fn record_dir(dir: &ClusterDir) -> PathBuf {
    dir.join(NAME)
}

/// The addresses that traffic may be sent to: this machine's and the cluster's.
#[must_use]
pub fn neighbourhood(record: &Record) -> Neighbourhood {
    Neighbourhood {
        networks: vec![record.network.whole()],
    }
}

/// The process id of the users, where they are at work.
#[must_use]
pub fn is_running(dir: &ClusterDir) -> Option<i32> {
    process::running(dir, NAME)
}

/// Starts the stream; answers the run that it is recorded as.
///
/// # Errors
/// Where one runs already, the plan makes no sense, or the process does not come up.
pub async fn start(dir: &ClusterDir, record: &Record, plan: Plan) -> anyhow::Result<Run> {
    let name = &record.name;
    let neighbourhood = neighbourhood(record);
    plan.check(&neighbourhood)?;
    let already = format!(
        "traffic is being sent to cluster {name:?} already; see `devops-lab traffic status --name {name}`, or end it with `devops-lab traffic stop --name {name}`"
    );
    if is_running(dir).is_some() {
        bail!(already);
    }
    let place = record_dir(dir);
    let latest = || {
        TrafficRecord::open(&place)
            .ok()
            .map(|record| record.latest().clone())
    };
    let before = latest().map_or(0, |run| run.run);
    let role = Role::Traffic(TrafficRole {
        plan,
        neighbourhood,
        dir: place.clone(),
    });
    let program = std::env::current_exe().context("this program cannot find its own executable")?;
    let part = Part {
        dir,
        cluster: name,
        name: NAME,
    };
    let mut child = part.spawn(&program, &role)?;
    let deadline = Instant::now() + START_LIMIT;
    loop {
        if let Some(run) = latest().filter(|run| run.run > before) {
            return Ok(run);
        }
        if let Some(status) = child.try_wait()? {
            bail!(
                "traffic to cluster {name:?} could not begin ({status}):\n{}",
                last_words(dir, NAME)
            );
        }
        if Instant::now() >= deadline {
            end_process(&pid_path(dir, NAME)).await?;
            bail!(
                "traffic to cluster {name:?} did not begin within {} s:\n{}",
                START_LIMIT.as_secs(),
                last_words(dir, NAME)
            );
        }
        sleep(LOOK).await;
    }
}

/// Ends the stream; answers whether there was one.
///
/// # Errors
/// Where its process cannot be ended.
pub async fn stop(dir: &ClusterDir) -> anyhow::Result<bool> {
    let ran = is_running(dir).is_some();
    end_process(&pid_path(dir, NAME)).await?;
    Ok(ran)
}
