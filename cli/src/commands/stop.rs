//! `devops-lab stop`

use std::process::ExitCode;

use lab_cluster::lifecycle;

use crate::cli::ClusterArgs;
use crate::output::line;

pub(crate) async fn run(args: ClusterArgs) -> anyhow::Result<ExitCode> {
    let ClusterArgs { name } = args;
    let (dir, _) = super::open(&name)?;
    lifecycle::stop(&dir).await?;
    line(format_args!(
        "Cluster {name:?} is stopped. Objects, images and addresses are kept: `devops-lab start --name {name}` brings it back."
    ));
    Ok(ExitCode::SUCCESS)
}
