//! What a learner waits for in a lab: a check, and what keeping how the next step begins adds.

use std::path::PathBuf;

use anyhow::Context;
use tokio::time::Instant;

use super::lab::Lab;
use super::{Args, Figure, milliseconds};

/// A step whose checks look at a workload, its nodes and the registry.
const STEP: &str = "deploy-three-replicas/deployment";

/// On the process engine.
pub(crate) fn run(lab: &Lab, args: &Args) -> anyhow::Result<Vec<Figure>> {
    lab.start(3, "process")?;
    lab.run(&["lab", "goto", STEP, "--yes"])?;
    let progress = progress_path(lab);
    let failed = || format!("failed to copy {}", progress.display());
    let before = std::fs::read(&progress).with_context(failed)?;
    lab.run(&["lab", "solve", "--to", "deployment"])?;
    let (mut checks, mut keeping) = (Vec::new(), Vec::new());
    for _ in 0..args.runs {
        // As if it held for the first time: how the next step begins is kept then, only once.
        std::fs::write(&progress, &before).with_context(failed)?;
        keeping.push(check(lab)?);
        checks.push(check(lab)?);
    }
    lab.delete()?;
    Ok(vec![
        Figure::alone(
            "check of a step that holds",
            milliseconds(checks),
            "≤ 100 ms",
        ),
        Figure::alone(
            "  the same, keeping how the next step begins",
            milliseconds(keeping),
            "≤ 200 ms more",
        ),
    ])
}

fn check(lab: &Lab) -> anyhow::Result<f64> {
    let began = Instant::now();
    lab.run(&["check", STEP])?;
    Ok(began.elapsed().as_secs_f64() * 1000.0)
}

/// Where what the learner has done is noted.
fn progress_path(lab: &Lab) -> PathBuf {
    lab.home()
        .join("clusters")
        .join(lab.name())
        .join("labs")
        .join("progress.json")
}
