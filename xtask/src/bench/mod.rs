//! `cargo xtask bench`: what a user feels, as medians of several runs, beside a peer in the same
//! run where one is installed. Figures are for reading, never for a test.

mod balancer;
mod cluster;
pub(crate) mod lab;
mod labs;
mod memory;
mod proxies;
mod reconcile;
mod scale;
mod updates;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only benchmarks whose name contains this
    filter: Option<String>,
    /// Runs of each figure
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Measure this program instead of building one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Pods of the scale benchmark
    #[arg(long, default_value_t = 100_000)]
    pods: usize,
    /// Nodes of the scale benchmark
    #[arg(long, default_value_t = 1_000)]
    nodes: usize,
}

/// One line of the table.
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) name: String,
    /// Ours, with unit and spread.
    pub(crate) ours: String,
    /// The peer's, or why there is none.
    pub(crate) peer: String,
    /// The budget of the design.
    pub(crate) budget: &'static str,
}

impl Figure {
    /// A figure without a peer in this run.
    pub(crate) fn alone(
        name: impl Into<String>,
        ours: impl Into<String>,
        budget: &'static str,
    ) -> Self {
        Self {
            name: name.into(),
            ours: ours.into(),
            peer: "–".to_owned(),
            budget,
        }
    }
}

type Benchmark = fn(&lab::Lab, &Args) -> anyhow::Result<Vec<Figure>>;

/// Every benchmark, in the order of the table.
const ALL: &[(&str, Benchmark)] = &[
    ("sizes", memory::sizes),
    ("process", cluster::process),
    ("docker", cluster::docker),
    ("labs", labs::run),
    ("balancer", balancer::run),
    ("updates-process", updates::process),
    ("updates-docker", updates::docker),
    ("scale", scale::run),
];

/// Measures and prints the table.
///
/// # Errors
/// Where the program cannot be built or a benchmark fails.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let program = program(args.program.as_deref())?;
    let mut figures = Vec::new();
    for (name, benchmark) in ALL {
        if args
            .filter
            .as_ref()
            .is_some_and(|filter| !name.contains(filter.as_str()))
        {
            continue;
        }
        crate::say(&format!("measuring: {name} …"));
        let lab = lab::Lab::new(&program, name)?;
        match benchmark(&lab, args) {
            Ok(measured) => figures.extend(measured),
            Err(error) => {
                figures.push(Figure::alone(*name, format!("not measured: {error:#}"), ""))
            }
        }
    }
    print(&figures);
    Ok(())
}

/// The program that was named, else the release program, built now.
///
/// # Errors
/// Where cargo fails.
pub(crate) fn program(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(program) = named {
        return program
            .canonicalize()
            .with_context(|| format!("there is no {}", program.display()));
    }
    let output = Command::new(env!("CARGO"))
        .args([
            "build",
            "--release",
            "--package",
            "lab-cli",
            "--message-format",
            "json-render-diagnostics",
        ])
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("failed to run cargo build")?;
    if !output.status.success() {
        bail!("cargo build --release failed");
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let executables =
        messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    executables
        .reduce(|_, later| later)
        .context("cargo build named no executable")
}

fn print(figures: &[Figure]) {
    let width = |column: fn(&Figure) -> usize| figures.iter().map(column).max().unwrap_or(0);
    let name = width(|figure| figure.name.chars().count());
    let ours = width(|figure| figure.ours.chars().count());
    let peer = width(|figure| figure.peer.chars().count());
    crate::say("");
    crate::say(&format!(
        "{:name$}  {:ours$}  {:peer$}  budget",
        "figure", "devops-lab", "peer"
    ));
    for figure in figures {
        let Figure {
            name: what,
            ours: value,
            peer: other,
            budget,
        } = figure;
        crate::say(&format!(
            "{what:name$}  {value:ours$}  {other:peer$}  {budget}"
        ));
    }
}

/// Median and spread of samples, in milliseconds.
pub(crate) fn milliseconds(mut samples: Vec<f64>) -> String {
    samples.sort_by(f64::total_cmp);
    match (
        samples.first(),
        samples.get(samples.len() / 2),
        samples.last(),
    ) {
        (Some(least), Some(median), Some(most)) => {
            format!("{median:.0} ms ({least:.0}–{most:.0}, n={})", samples.len())
        }
        _ => "no samples".to_owned(),
    }
}
