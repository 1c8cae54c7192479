//! `devops-lab node`

use std::process::ExitCode;

use lab_cluster::lifecycle;

use crate::cli::{ClusterArgs, NodeArgs, NodeCommand};
use crate::output::line;
use crate::progress::Shown;

pub(crate) async fn run(command: NodeCommand) -> anyhow::Result<ExitCode> {
    match command {
        NodeCommand::Add(ClusterArgs { name }) => {
            let (dir, _) = super::open(&name)?;
            let progress = Shown::new();
            let node = lifecycle::add_node(&dir, &progress).await?;
            progress.finish();
            line(format_args!("{node} joined cluster {name:?}."));
        }
        NodeCommand::Remove(NodeArgs {
            node,
            cluster: ClusterArgs { name },
        }) => {
            let (dir, _) = super::open(&name)?;
            lifecycle::remove_node(&dir, &node).await?;
            line(format_args!(
                "{node} left cluster {name:?}; its pods are made anew on the others."
            ));
        }
        NodeCommand::Start(NodeArgs {
            node,
            cluster: ClusterArgs { name },
        }) => {
            let (dir, _) = super::open(&name)?;
            let progress = Shown::new();
            lifecycle::start_node(&dir, &node, &progress).await?;
            progress.finish();
            line(format_args!(
                "{node} is on. Watch it become Ready: kubectl get nodes -w"
            ));
        }
        NodeCommand::Stop(NodeArgs {
            node,
            cluster: ClusterArgs { name },
        }) => {
            let (dir, _) = super::open(&name)?;
            lifecycle::stop_node(&dir, &node).await?;
            line(format_args!(
                "{node} is off, and its pods with it. Watch the cluster notice: kubectl get nodes -w"
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}
