//! `devops-lab`: a DevOps classroom in one program.
//!
//! This crate is the command line and nothing else: it parses, calls the cluster, the checks and
//! the image tools, and prints. It must never know the store or an engine.
//!
//! Start reading at `cli`, then one file of `commands`.

mod apply;
mod cli;
mod commands;
mod output;
mod progress;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;

fn main() -> ExitCode {
    match commands::dispatch(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            output::report(&error);
            ExitCode::FAILURE
        }
    }
}
