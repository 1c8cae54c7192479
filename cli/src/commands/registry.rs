//! `devops-lab registry`

use std::process::ExitCode;

use indicatif::HumanBytes;
use lab_cluster::registry::collect_garbage;

use crate::cli::{ClusterArgs, Format, GcArgs, OutputArgs, RegistryCommand};
use crate::output::{json, line};

pub(crate) async fn run(command: RegistryCommand) -> anyhow::Result<ExitCode> {
    let RegistryCommand::Gc(GcArgs {
        cluster: ClusterArgs { name },
        output: OutputArgs { output },
        dry_run,
        grace,
    }) = command;
    let (_, record) = super::open(&name)?;
    let collected = collect_garbage(&record, dry_run, grace).await?;
    match output {
        Format::Json => json(&collected)?,
        Format::Text => {
            let verb = if dry_run { "Would remove" } else { "Removed" };
            let bytes = HumanBytes(collected.bytes_freed);
            line(format_args!(
                "{verb} {} blobs ({bytes}); {} stay.",
                collected.blobs_removed, collected.kept
            ));
            if collected.blobs_removed == 0 && grace.is_none() {
                line(
                    "What was pushed within the last hour stays whatever leads to it; --grace 0 takes that too, where no push is going on.",
                );
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
