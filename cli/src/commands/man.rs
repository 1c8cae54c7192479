//! `devops-lab man`

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;

use crate::cli::Cli;
use crate::output::line;

pub(crate) fn run(directory: &Path) -> anyhow::Result<ExitCode> {
    let written = std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), directory));
    written
        .with_context(|| format!("failed to write manual pages into {}", directory.display()))?;
    line(format_args!("Manual pages are in {}.", directory.display()));
    Ok(ExitCode::SUCCESS)
}
