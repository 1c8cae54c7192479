//! One file per subcommand: its `run`, which destructures its arguments and does the work.

mod answer;
mod bundle;
pub(crate) mod check;
mod ci;
mod class;
mod completions;
mod delete;
mod demo;
mod doctor;
pub(crate) mod env;
mod fault;
mod guide;
mod hint;
mod image;
mod image_approve;
pub(crate) mod lab;
mod logs;
mod man;
mod metrics;
mod node;
mod registry;
mod rollout;
mod slides;
mod start;
mod status;
mod stop;
mod traffic;
mod welcome;

use std::process::ExitCode;

use lab_cluster::record::{ClusterDir, Home, Record};

use crate::cli::{Cli, Command};

/// Runs what was asked for.
pub(crate) fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        // The parts of a cluster bring their own runtime, logging and signal handling.
        Some(Command::Component { part: _ }) => {
            lab_cluster::roles::run_from_env().map(|()| ExitCode::SUCCESS)
        }
        Some(Command::Shim { config }) => Err(lab_cluster::pods::shim(&config).into()),
        Some(Command::App { arguments }) => lab_runtime::app_main(&arguments),
        Some(Command::Pause) => lab_cluster::pods::pause().map(|()| ExitCode::SUCCESS),
        Some(Command::Kubectl { words }) => kubectl(words),
        command => {
            init_logging();
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?;
            let result = runtime.block_on(run(command));
            // Requests that were given up on must not hold the prompt back.
            runtime.shutdown_background();
            result
        }
    }
}

/// Runs the built-in kubectl.
pub(crate) fn kubectl(words: Vec<String>) -> anyhow::Result<ExitCode> {
    init_logging();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let code = runtime.block_on(crate::kubectl::run(words));
    runtime.shutdown_background();
    Ok(code)
}

async fn run(command: Option<Command>) -> anyhow::Result<ExitCode> {
    match command {
        None => welcome::run().await,
        Some(Command::Start(args)) => start::run(args).await,
        Some(Command::Stop(args)) => stop::run(args).await,
        Some(Command::Delete(args)) => delete::run(args).await,
        Some(Command::Status(args)) => status::run(args).await,
        Some(Command::Logs(args)) => logs::run(args).await,
        Some(Command::Node(args)) => node::run(args).await,
        Some(Command::Env(args)) => env::run(&args),
        Some(Command::Image(args)) => image::run(args).await,
        Some(Command::Registry(args)) => registry::run(args).await,
        Some(Command::Traffic(args)) => traffic::run(args).await,
        Some(Command::Metrics(args)) => metrics::run(args).await,
        Some(Command::Rollout(command)) => rollout::run(command).await,
        Some(Command::Ci(command)) => ci::run(command).await,
        Some(Command::Fault(args)) => fault::run(args).await,
        Some(Command::Lab(args)) => lab::run(args).await,
        Some(Command::Guide(args)) => guide::run(args).await,
        Some(Command::Bundle(command)) => bundle::run(command).await,
        Some(Command::Class(command)) => class::run(command).await,
        Some(Command::Slides(command)) => slides::run(command).await,
        Some(Command::Check(args)) => check::run(args).await,
        Some(Command::Hint(args)) => hint::run(args).await,
        Some(Command::Answer(args)) => answer::run(args).await,
        Some(Command::Demo(args)) => demo::run(args).await,
        Some(Command::Doctor(args)) => doctor::run(args).await,
        Some(Command::Completions { shell }) => completions::run(shell),
        Some(Command::Man { directory }) => man::run(&directory),
        Some(
            Command::Component { .. }
            | Command::Shim { .. }
            | Command::App { .. }
            | Command::Pause
            | Command::Kubectl { .. },
        ) => unreachable!("dispatched before the runtime starts"),
    }
}

/// `DEVOPS_LAB_LOG=debug` shows what happens inside; otherwise commands speak for themselves.
fn init_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("DEVOPS_LAB_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    let _ = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(filter)
        .try_init();
}

/// The directory and record of a cluster.
///
/// # Errors
/// Where there is no such cluster, with what to type instead.
fn open(name: &str) -> anyhow::Result<(ClusterDir, Record)> {
    let home = Home::from_env()?;
    let dir = home.cluster(name);
    let record = dir.load();
    if matches!(
        record,
        Err(lab_cluster::record::RecordError::NotFound { .. })
    ) {
        let others = home.names();
        let hint = match others.as_slice() {
            [] => "start one: devops-lab start 3".to_owned(),
            names => format!("there are: {} (use --name)", names.join(", ")),
        };
        anyhow::bail!("there is no cluster {name:?}; {hint}");
    }
    Ok((dir, record?))
}
