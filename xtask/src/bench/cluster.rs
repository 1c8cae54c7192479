//! Start, apply → answering, idle memory.

use std::time::Duration;

use anyhow::bail;
use tokio::time::Instant;

use super::lab::{Lab, get};
use super::{Args, Figure, memory, milliseconds};

/// How long three replicas may take to answer.
const LIMIT: Duration = Duration::from_secs(60);
/// Requests that must all be answered before the replicas count as answering.
const IN_A_ROW: usize = 9;

/// The process engine.
pub(crate) fn process(lab: &Lab, args: &Args) -> anyhow::Result<Vec<Figure>> {
    measure(lab, args, "process", ["≤ 300 ms", "≤ 300 ms", "≤ 30 MB"])
}

/// The docker engine.
pub(crate) fn docker(lab: &Lab, args: &Args) -> anyhow::Result<Vec<Figure>> {
    measure(lab, args, "docker", ["≤ 2000 ms", "≤ 1500 ms", "≤ 60 MB"])
}

fn measure(
    lab: &Lab,
    args: &Args,
    engine: &str,
    budgets: [&'static str; 3],
) -> anyhow::Result<Vec<Figure>> {
    // The first start may make the system image; the budget is for one that is there.
    lab.start(3, engine)?;
    lab.delete()?;
    let (mut starts, mut answers, mut idle) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..args.runs {
        starts.push(lab.start(3, engine)?);
        if run == 0 {
            idle = memory::components(lab)?;
        }
        answers.push(apply_to_answer(lab)?);
        lab.delete()?;
    }
    let [start, answer, memory] = budgets;
    let mut figures = vec![
        Figure::alone(format!("start 3, {engine}"), milliseconds(starts), start),
        Figure::alone(
            format!("apply → 3 replicas answer, {engine}"),
            milliseconds(answers),
            answer,
        ),
    ];
    let total: f64 = idle.iter().map(|(_, mib)| mib).sum();
    figures.push(Figure::alone(
        format!("idle memory (PSS), {engine}"),
        format!("{total:.1} MiB"),
        memory,
    ));
    figures.extend(
        idle.into_iter().map(|(name, mib)| {
            Figure::alone(format!("  of it {name}"), format!("{mib:.1} MiB"), "")
        }),
    );
    Ok(figures)
}

/// From `kubectl apply` of three replicas with Service and route until all of them answer through
/// the load balancer; the image is in the registry already. kubectl's own time is inside.
fn apply_to_answer(lab: &Lab) -> anyhow::Result<f64> {
    let manifests = lab.push_hello()?;
    let address = lab.production()?;
    // kubectl asks for the API's description once and keeps it; that is not what is measured.
    lab.kubectl(&["get", "nodes"], None)?;
    let began = Instant::now();
    lab.kubectl(&["apply", "-f", "-"], Some(&manifests))?;
    let mut pods = std::collections::BTreeSet::new();
    let mut in_a_row = 0;
    while pods.len() < 3 || in_a_row < IN_A_ROW {
        if began.elapsed() > LIMIT {
            bail!(
                "{} of 3 replicas answered within {} s",
                pods.len(),
                LIMIT.as_secs()
            );
        }
        match get(&address) {
            Ok((200, text)) => {
                in_a_row += 1;
                pods.extend(
                    text.split("\"pod\":\"")
                        .nth(1)
                        .and_then(|rest| rest.split('"').next())
                        .map(str::to_owned),
                );
            }
            _ => in_a_row = 0,
        }
    }
    Ok(began.elapsed().as_secs_f64() * 1000.0)
}
