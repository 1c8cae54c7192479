//! `devops-lab`: a DevOps classroom in one program.
//!
//! This crate is the command line and nothing else: it parses, calls the cluster, the checks and
//! the image tools, and prints. It must never know the store or an engine.
//!
//! Start reading at `cli`, then one file of `commands`.

mod class;
mod cli;
mod commands;
mod kubectl;
mod labs;
mod markdown;
mod output;
mod progress;
mod screen;
mod transfer;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;

fn main() -> ExitCode {
    let outcome = match shim_config() {
        Some(config) => Err(lab_cluster::pods::shim(&config).into()),
        None => match kubectl_words() {
            Some(words) => commands::kubectl(words),
            None => commands::dispatch(Cli::parse()),
        },
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            output::report(&error);
            ExitCode::FAILURE
        }
    }
}

/// What this program is told where it stands on the `PATH` as `kubectl`.
fn kubectl_words() -> Option<Vec<String>> {
    let mut arguments = std::env::args_os();
    let program = PathBuf::from(arguments.next()?);
    (program.file_stem()? == "kubectl").then(|| {
        arguments
            .map(|word| word.to_string_lossy().into_owned())
            .collect()
    })
}

/// What `devops-lab shim FILE` is to run. Every start of a pod's container goes through here, and
/// reading the whole command line would take longer than the rest of it.
fn shim_config() -> Option<PathBuf> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next()? == "shim")
        .then(|| arguments.next().map(PathBuf::from))
        .flatten()
}
