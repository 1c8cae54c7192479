//! `devops-lab registry`

use std::process::ExitCode;

use indicatif::HumanBytes;
use lab_cluster::registry::collect_garbage;

use crate::cli::{ClusterArgs, Format, GcArgs, OutputArgs, RegistryCommand};
use crate::output::{json, line};

pub(crate) async fn run(command: RegistryCommand) -> anyhow::Result<ExitCode> {
    let RegistryCommand::Gc(GcArgs { cluster: ClusterArgs { name }, output: OutputArgs { output }, dry_run }) = command;
    let (_, record) = super::open(&name)?;
    let collected = collect_garbage(&record, dry_run).await?;
    match output {
        Format::Json => json(&collected)?,
        Format::Text => {
            let verb = if dry_run { "Would remove" } else { "Removed" };
            let bytes = HumanBytes(collected.bytes_freed);
            line(format_args!("{verb} {} blobs ({bytes}); {} stay.", collected.blobs_removed, collected.kept));
        }
    }
    Ok(ExitCode::SUCCESS)
}
