//! `devops-lab logs`

use std::process::ExitCode;

use futures::StreamExt;
use lab_cluster::config::EngineKind;
use lab_cluster::lifecycle;

use crate::cli::{ClusterArgs, LogsArgs};
use crate::output::{note, raw};

pub(crate) async fn run(args: LogsArgs) -> anyhow::Result<ExitCode> {
    let LogsArgs {
        component,
        cluster: ClusterArgs { name },
        follow,
        tail,
    } = args;
    let (dir, record) = super::open(&name)?;
    let provider = lifecycle::provider(&record, &dir).await?;
    if record.engine != EngineKind::Docker && matches!(component.as_str(), "gateway" | "registry") {
        note("On this engine, control plane, gateway and registry are one process with one log:");
    }
    let mut parts = provider.logs(&component, tail, follow).await?;
    loop {
        tokio::select! {
            part = parts.next() => match part {
                // A reader that has seen enough (`| head`) closes the pipe.
                Some(part) => if raw(&part?).is_err() { break },
                None => break,
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    Ok(ExitCode::SUCCESS)
}
