//! Chores of the repository: benchmarks, rules, generated files. Run as `cargo xtask`.

mod bench;
mod graph;
mod soak;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Chores of the repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Measure what a user feels, each figure beside a peer where one is installed
    Bench(bench::Args),
    /// Torment a cluster for ten minutes, and say what was lost and what leaked
    Soak(soak::Args),
    /// Check the rules of the repository: the crate graph, forbidden words, documentation
    Tidy,
    /// Print the crate graph as the code has it
    Graph,
}

fn main() -> ExitCode {
    let result = match Args::parse().chore {
        Chore::Bench(args) => bench::run(&args),
        Chore::Soak(args) => soak::run(&args),
        Chore::Tidy => tidy::run(),
        Chore::Graph => graph::print(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes a line to standard output.
fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}
