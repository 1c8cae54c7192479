//! `devops-lab lab test`: the proof that labs work.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use futures::stream::{self, StreamExt};
use lab_checks::lab::Lab;
use lab_checks::library::Labs;
use lab_cluster::config::EngineKind;
use lab_cluster::record::Home;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::find;
use crate::cli::{Format, LabTestArgs, LabsArgs, OutputArgs, ProofEngine};
use crate::labs::proof::{Failure, Proof, Proved, clear, place_of};
use crate::labs::scripts::Kubectl;
use crate::output::{bad, blank, good, json, line, note, report, strong, table};

pub(super) async fn run(args: LabTestArgs) -> anyhow::Result<ExitCode> {
    let LabTestArgs {
        lab: names,
        all,
        engine,
        labs: LabsArgs { labs: directory },
        output: OutputArgs { output },
        keep,
        jobs,
        again,
        own_kubectl,
    } = args;
    let directory = directory.as_deref().map(place_of).transpose()?;
    let labs = crate::labs::load(directory.as_deref())?;
    let chosen = choose(&labs, &names, all)?;
    let place = tempfile::Builder::new()
        .prefix("devops-lab-test-")
        .tempdir()
        .context("failed to make a home for the clusters of the test")?;
    let home = Home::at(place.path());
    let plan = Plan {
        labs: &labs,
        directory,
        home: &home,
        jobs: jobs.map_or_else(processors, usize::from),
        again,
        kubectl: if own_kubectl {
            Kubectl::Own
        } else {
            Kubectl::Machine
        },
    };
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let outcome = tokio::select! {
        outcome = plan.run(&chosen, engines(engine)) => Some(outcome),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    let Some(outcome) = outcome else {
        note("Interrupted: removing the clusters of the test …");
        clear(&home).await?;
        return Ok(ExitCode::from(130));
    };
    let passed = outcome.iter().all(Outcome::is_good);
    if keep && !passed {
        let place = place.keep();
        note(format_args!(
            "Kept: export DEVOPS_LAB_HOME={} (devops-lab status --all; devops-lab delete --all)",
            place.display()
        ));
    } else if let Err(error) = clear(&home).await {
        // What was found about the labs is told all the same.
        report(&error);
    }
    match output {
        Format::Json => json(&serde_json::json!({"passed": passed, "labs": outcome}))?,
        Format::Text => print(&outcome),
    }
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn choose<'a>(labs: &'a Labs, names: &[String], all: bool) -> anyhow::Result<Vec<&'a Lab>> {
    if all {
        return Ok(labs.iter().collect());
    }
    let lab = |name: &String| Ok(find(labs, name)?.0);
    names.iter().map(lab).collect()
}

fn engines(engine: ProofEngine) -> &'static [EngineKind] {
    match engine {
        ProofEngine::Process => &[EngineKind::Process],
        ProofEngine::Docker => &[EngineKind::Docker],
        ProofEngine::Both => &[EngineKind::Process, EngineKind::Docker],
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What came of a lab on an engine.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    /// It was gone through.
    Proved(Proved),
    /// It could not be.
    #[serde(rename_all = "camelCase")]
    Broken {
        lab: String,
        engine: EngineKind,
        problem: String,
    },
}

impl Outcome {
    fn is_good(&self) -> bool {
        matches!(self, Self::Proved(proved) if proved.failures.is_empty())
    }

    /// The same, with what had failed beside other labs.
    fn after(mut self, failed: Vec<Failure>) -> Self {
        if let Self::Proved(proved) = &mut self {
            proved.failed_beside_others = failed;
        }
        self
    }
}

struct Plan<'a> {
    labs: &'a Labs,
    directory: Option<PathBuf>,
    home: &'a Home,
    jobs: usize,
    /// Whether a lab that failed beside others is proved once more, alone.
    again: bool,
    kubectl: Kubectl,
}

impl Plan<'_> {
    async fn run(&self, labs: &[&Lab], engines: &[EngineKind]) -> Vec<Outcome> {
        let pairs: Vec<_> = engines
            .iter()
            .flat_map(|engine| labs.iter().map(move |lab| (*lab, *engine)))
            .collect();
        // The long ones first, so that none of them is left to run alone in the end.
        let mut order: Vec<_> = pairs.iter().enumerate().collect();
        order.sort_by_key(|(_, (lab, _))| std::cmp::Reverse(lab.minutes));
        let proofs = order
            .into_iter()
            .map(async |(at, (lab, engine))| (at, self.prove(lab, *engine, false).await));
        let mut outcomes: Vec<_> = stream::iter(proofs)
            .buffer_unordered(self.jobs)
            .collect()
            .await;
        // As they were asked for, whichever ended first.
        outcomes.sort_by_key(|(at, _)| *at);
        let mut outcomes: Vec<_> = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
        if self.again && self.jobs > 1 {
            for ((lab, engine), outcome) in pairs.into_iter().zip(&mut outcomes) {
                if outcome.is_good() {
                    continue;
                }
                note(format_args!(
                    "  {} failed beside other labs: once more, alone",
                    lab.name
                ));
                let alone = self.prove(lab, engine, true).await;
                let failed = match outcome {
                    Outcome::Proved(proved) => std::mem::take(&mut proved.failures),
                    Outcome::Broken { .. } => Vec::new(),
                };
                *outcome = alone.after(failed);
            }
        }
        outcomes
    }

    async fn prove(&self, lab: &Lab, engine: EngineKind, once_more: bool) -> Outcome {
        let tell = |text: &str| note(format_args!("  {} {text}", good("✓")));
        let proof = Proof {
            labs: self.labs,
            directory: self.directory.clone(),
            lab,
            engine,
            kubectl: self.kubectl,
            home: self.home,
            tell: &tell,
        };
        let proved = async {
            if once_more {
                proof.forget().await?;
            }
            proof.run().await
        };
        match proved.await {
            Ok(proved) => {
                for failure in &proved.failures {
                    let place = &failure.place;
                    note(format_args!("  {} {}  {place}", bad("✗"), lab.name));
                }
                Outcome::Proved(proved)
            }
            Err(error) => {
                report(&error);
                Outcome::Broken {
                    lab: lab.name.clone(),
                    engine,
                    problem: format!("{error:#}"),
                }
            }
        }
    }
}

fn print(outcomes: &[Outcome]) {
    for outcome in outcomes {
        if let Outcome::Proved(proved) = outcome {
            proved
                .failed_beside_others
                .iter()
                .chain(&proved.failures)
                .for_each(|failure| explain(proved, failure));
        }
    }
    let rows: Vec<_> = outcomes.iter().map(row).collect();
    blank();
    table(
        &["LAB", "ENGINE", "STEPS", "MISTAKES", "TIME", "RESULT"],
        &rows,
    );
}

fn row(outcome: &Outcome) -> Vec<String> {
    match outcome {
        Outcome::Proved(proved) => vec![
            proved.lab.clone(),
            proved.engine.as_str().to_owned(),
            proved.steps.to_string(),
            proved.mistakes.to_string(),
            format!("{:.1} s", proved.seconds),
            match proved.failures.len() {
                0 if proved.failed_beside_others.is_empty() => good("proved"),
                0 => good("proved alone, failed beside others"),
                1 => bad("1 failure"),
                some => bad(&format!("{some} failures")),
            },
        ],
        Outcome::Broken {
            lab,
            engine,
            problem: _,
        } => {
            let nothing = || "-".to_owned();
            let engine = engine.as_str().to_owned();
            vec![
                lab.clone(),
                engine,
                nothing(),
                nothing(),
                nothing(),
                bad("could not run"),
            ]
        }
    }
}

fn explain(proved: &Proved, failure: &Failure) {
    let Failure {
        pass,
        place,
        expected,
        observed,
        evidence,
    } = failure;
    let Proved { lab, engine, .. } = proved;
    blank();
    let place = strong(&format!("{lab}: {place}"));
    line(format_args!(
        "{} {place} ({}, pass {pass})",
        bad("✗"),
        engine.as_str()
    ));
    line(format_args!("    expected  {expected}"));
    line(format_args!("    observed  {observed}"));
    for said in evidence.trim_end().lines() {
        line(format_args!("    | {said}"));
    }
}
