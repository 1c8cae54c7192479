//! `devops-lab delete`

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context, bail};
use dialoguer::Confirm;
use lab_cluster::lifecycle;
use lab_cluster::record::Home;

use crate::cli::{ClusterArgs, DeleteArgs};
use crate::output::{line, note};

pub(crate) async fn run(args: DeleteArgs) -> anyhow::Result<ExitCode> {
    let DeleteArgs {
        cluster: ClusterArgs { name },
        all,
        yes,
    } = args;
    let home = Home::from_env()?;
    let names = if all { home.names() } else { vec![name] };
    if names.is_empty() {
        line("There is no cluster to delete.");
        return Ok(ExitCode::SUCCESS);
    }
    if all && !yes && !confirmed(&names)? {
        line("Nothing was deleted.");
        return Ok(ExitCode::FAILURE);
    }
    for name in names {
        // Steps of a pipeline would go on writing into what is being removed.
        let pipelines = home.cluster(&name).pipelines();
        if let Err(error) = lab_ci::cancel_all(&pipelines).await {
            note(format_args!(
                "warning: pipelines could not be stopped: {error}"
            ));
        }
        lifecycle::delete(&home, &name)
            .await
            .with_context(|| format!("failed to delete cluster {name:?}"))?;
        line(format_args!("Cluster {name:?} is deleted."));
    }
    Ok(ExitCode::SUCCESS)
}

fn confirmed(names: &[String]) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!(
            "this would delete {}; say --yes where nobody can be asked",
            names.join(", ")
        );
    }
    let question = format!("Delete {}?", names.join(", "));
    Ok(Confirm::new()
        .with_prompt(question)
        .default(false)
        .interact()?)
}
