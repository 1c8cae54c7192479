//! Memory of a cluster's processes, and sizes of what is handed out.

use std::fs;
use std::process::Command;

use anyhow::Context;

use super::lab::Lab;
use super::{Args, Figure};

/// The program's size, and the base image's.
pub(crate) fn sizes(lab: &Lab, _: &Args) -> anyhow::Result<Vec<Figure>> {
    let bytes = fs::metadata(lab.program())?.len();
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    Ok(vec![
        Figure::alone("the program, stripped", mib(bytes), "≤ 30 MB"),
        Figure::alone(
            "system and base image",
            format!("{} (the program)", mib(bytes)),
            "",
        ),
    ])
}

/// Proportional set size of each part of the running cluster, in MiB.
pub(crate) fn components(lab: &Lab) -> anyhow::Result<Vec<(String, f64)>> {
    let status = lab.status()?;
    let parts = status["components"]
        .as_array()
        .context("the status lists no parts")?;
    let mut measured = Vec::new();
    for part in parts {
        let name = part["name"].as_str().unwrap_or_default().to_owned();
        let pid = pid(part["handle"].as_str().unwrap_or_default())?;
        measured.push((name, proportional_mib(pid)?));
    }
    Ok(measured)
}

/// `process 12` or `container NAME`.
fn pid(handle: &str) -> anyhow::Result<u32> {
    if let Some(pid) = handle.strip_prefix("process ") {
        return Ok(pid.parse()?);
    }
    let container = handle
        .strip_prefix("container ")
        .with_context(|| format!("{handle:?} names no process"))?;
    let output = Command::new("docker")
        .args(["inspect", "--format", "{{.State.Pid}}", container])
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
}

fn proportional_mib(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .context("no Pss")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
