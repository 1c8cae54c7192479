//! placeholder while the labs are written
use crate::cli::LabCommand;
use std::process::ExitCode;
pub(crate) async fn run(_: LabCommand) -> anyhow::Result<ExitCode> {
    Ok(ExitCode::SUCCESS)
}
