//! `devops-lab traffic`

mod report;
mod screen;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use lab_cluster::record::{ClusterDir, Record};
use lab_cluster::traffic;
use lab_traffic::{Plan, Record as TrafficRecord, RecordError, Summary, Target, WeightedPath};

use crate::cli::{
    ClusterArgs, OutputArgs, TrafficCommand, TrafficReadArgs, TrafficReportArgs, TrafficStartArgs,
};
use crate::output::{line, strong};

pub(crate) async fn run(command: TrafficCommand) -> anyhow::Result<ExitCode> {
    match command {
        TrafficCommand::Start(args) => start(args).await,
        TrafficCommand::Stop(args) => stop(args).await,
        TrafficCommand::Status(args) => status(&args),
        TrafficCommand::Watch(ClusterArgs { name }) => {
            let (dir, _) = super::open(&name)?;
            watch::run(&dir, &name).await
        }
        TrafficCommand::Report(args) => report(&args),
    }
}

async fn start(args: TrafficStartArgs) -> anyhow::Result<ExitCode> {
    let (dir, record) = super::open(&args.cluster.name)?;
    let name = args.cluster.name.clone();
    let plan = plan(args, &record)?;
    let run = traffic::start(&dir, &record, plan).await?;
    line(report::sentence(&run.plan));
    line(format_args!(
        "Next: {}    see what they meet: rate, failures, latency, versions",
        strong(&command("watch", &name))
    ));
    line(format_args!(
        "      {}     end it",
        strong(&command("stop", &name))
    ));
    Ok(ExitCode::SUCCESS)
}

/// A command to type for this cluster.
fn command(verb: &str, name: &str) -> String {
    if name == lab_cluster::lifecycle::DEFAULT_NAME {
        format!("devops-lab traffic {verb}")
    } else {
        format!("devops-lab traffic {verb} --name {name}")
    }
}

fn plan(args: TrafficStartArgs, record: &Record) -> anyhow::Result<Plan> {
    let TrafficStartArgs {
        cluster: _,
        rate,
        path,
        header,
        host,
        users,
        no_keep_alive,
        method,
        timeout,
        to,
        duration,
    } = args;
    let url = to.unwrap_or_else(|| format!("http://127.0.0.1:{}", record.ports.production));
    let (target, path_of_url) = Target::parse(&url, &traffic::neighbourhood(record))?;
    let paths = match (path_of_url, path.is_empty()) {
        (Some(path), true) => vec![WeightedPath { path, weight: 1 }],
        (Some(of_url), false) => {
            bail!("--to has the path {of_url} and --path another: give paths with --path only")
        }
        (None, true) => Plan::new(target.clone()).paths,
        (None, false) => path,
    };
    Ok(Plan {
        target,
        rate,
        users,
        paths,
        method: method.to_uppercase(),
        headers: header,
        host,
        keep_alive: !no_keep_alive,
        timeout_ms: millis(timeout),
        duration_ms: duration.map(millis),
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

async fn stop(args: TrafficReadArgs) -> anyhow::Result<ExitCode> {
    let TrafficReadArgs {
        cluster: ClusterArgs { name },
        output: OutputArgs { output },
    } = args;
    let (dir, _) = super::open(&name)?;
    if !traffic::stop(&dir).await? {
        bail!(
            "no traffic is being sent to cluster {name:?}; `{}` tells of the last run",
            command("report", &name)
        );
    }
    let summary = summary(&dir, &name, None)?;
    report::print(&summary, false, output)?;
    Ok(ExitCode::SUCCESS)
}

fn status(args: &TrafficReadArgs) -> anyhow::Result<ExitCode> {
    let TrafficReadArgs {
        cluster: ClusterArgs { name },
        output: OutputArgs { output },
    } = args;
    let (dir, _) = super::open(name)?;
    let running = traffic::is_running(&dir).is_some();
    let summary = summary(&dir, name, None)?;
    report::print(&summary, running, *output)?;
    Ok(if running {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn report(args: &TrafficReportArgs) -> anyhow::Result<ExitCode> {
    let TrafficReportArgs {
        read:
            TrafficReadArgs {
                cluster: ClusterArgs { name },
                output: OutputArgs { output },
            },
        since,
    } = args;
    let (dir, _) = super::open(name)?;
    let running = traffic::is_running(&dir).is_some();
    let summary = summary(&dir, name, *since)?;
    report::print(&summary, running, *output)?;
    Ok(ExitCode::SUCCESS)
}

/// What the record says of the latest run, or since a while.
fn summary(dir: &ClusterDir, name: &str, since: Option<Duration>) -> anyhow::Result<Summary> {
    let record = open_record(dir, name)?;
    let from = since.map(|since| jiff::Timestamp::now() - since);
    let mut summary = record.summary(from, None)?;
    // The run may have begun before the time that is asked for.
    summary.run.get_or_insert_with(|| record.latest().clone());
    Ok(summary)
}

fn open_record(dir: &ClusterDir, name: &str) -> anyhow::Result<TrafficRecord> {
    match TrafficRecord::open(&traffic::record_dir(dir)) {
        Err(RecordError::Empty { .. }) => bail!(
            "no traffic was ever sent to cluster {name:?}; begin with: {}",
            command("start", name)
        ),
        record => Ok(record?),
    }
}
