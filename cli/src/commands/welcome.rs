//! `devops-lab` alone: what to do next.

use std::process::ExitCode;

use lab_cluster::record::Home;
use lab_cluster::status::{Overall, status};

use crate::output::{blank, line, strong};

pub(crate) async fn run() -> anyhow::Result<ExitCode> {
    let home = Home::from_env()?;
    let names = home.names();
    let Some(name) = names.first() else {
        line("There is no cluster yet.");
        blank();
        line(format_args!(
            "  {}   start one of three nodes",
            strong("devops-lab start 3")
        ));
        line(format_args!(
            "  {}         or see a guided tour first (half a minute)",
            strong("devops-lab demo")
        ));
        line(format_args!(
            "  {}       does this machine have all it needs?",
            strong("devops-lab doctor")
        ));
        return Ok(ExitCode::SUCCESS);
    };
    let flag = if name == lab_cluster::lifecycle::DEFAULT_NAME {
        String::new()
    } else {
        format!(" --name {name}")
    };
    let running = status(&home.cluster(name))
        .await
        .is_ok_and(|status| status.state != Overall::Stopped);
    if running {
        line(format_args!("Cluster {name:?} runs."));
        blank();
        line(format_args!(
            "  {}   the next step of your lab",
            strong(&format!("devops-lab lab next{flag}"))
        ));
        line(format_args!(
            "  {}      did it work?",
            strong(&format!("devops-lab check{flag}"))
        ));
        line(format_args!(
            "  {}     how the cluster is",
            strong(&format!("devops-lab status{flag}"))
        ));
    } else {
        line(format_args!("Cluster {name:?} is stopped."));
        blank();
        line(format_args!(
            "  {}   bring it back",
            strong(&format!("devops-lab start{flag}"))
        ));
    }
    Ok(ExitCode::SUCCESS)
}
