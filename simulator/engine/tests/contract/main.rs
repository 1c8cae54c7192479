//! Holds the simulated and the process engine to the engine contract.
//!
//! This executable is also the image and the shim of its own containers (it is static, so it
//! runs anywhere): `contract helper …` is the program in them, `contract shim FILE` what the
//! process engine starts, and `contract node DIRECTORY NETWORK` a node that can be killed. That
//! is why it brings its own `main`.
#![expect(
    clippy::print_stdout,
    reason = "a test runner reports on standard output"
)]

mod process;
mod registry;
mod simulated;

use std::path::Path;
use std::process::ExitCode;

use lab_testkit::engine_contract::{self, ALL, Report};
use lab_testkit::helper::helper_main;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["helper", ..] => exit_code(helper_main(&args[1..])),
        ["shim", config] => {
            println!("{}", lab_engine::process::shim_main(Path::new(config)));
            exit_code(127)
        }
        ["node", directory, network] => process::be_a_node(Path::new(directory), network),
        _ => run_tests(&words),
    }
}

fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(255))
}

/// Understands as much of a test executable's command line as `cargo test` and people use:
/// `--list`, and words that a case's name must contain.
fn run_tests(words: &[&str]) -> ExitCode {
    let wanted: Vec<&str> = words
        .iter()
        .copied()
        .filter(|word| !word.starts_with("--"))
        .collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(word));
    if words.contains(&"--list") {
        for case in ALL {
            println!("{}: test", case.name);
        }
        return ExitCode::SUCCESS;
    }
    let good = [
        report("simulated", &run_simulated(is_wanted)),
        report("process", &run_process(is_wanted)),
        report("process, beyond the contract", &run_beyond(is_wanted)),
    ];
    if good == [true; 3] {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run_simulated(wanted: impl Fn(&str) -> bool) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(engine_contract::run(
        async || Ok(simulated::Simulated::new()),
        wanted,
    ))
}

fn run_process(wanted: impl Fn(&str) -> bool) -> Report {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(engine_contract::run(process::Process::new, wanted))
}

fn run_beyond(wanted: impl Fn(&str) -> bool) -> Report {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(process::beyond_the_contract(wanted))
}

fn report(engine: &str, report: &Report) -> bool {
    let Report {
        passed,
        skipped,
        failed,
    } = report;
    for name in passed {
        println!("{engine}: {name} ... ok");
    }
    for (name, lacks) in skipped {
        println!("{engine}: {name} ... skipped, lacks {lacks:?}");
    }
    for (name, error) in failed {
        println!("{engine}: {name} ... FAILED: {error:#}");
    }
    println!(
        "{engine}: {} passed, {} skipped, {} failed\n",
        passed.len(),
        skipped.len(),
        failed.len()
    );
    failed.is_empty()
}
