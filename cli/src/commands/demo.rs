//! `devops-lab demo`: what there is to see, told as it happens, and cleaned up.
//!
//! By default the whole core track, lab by lab, done by the labs' own solutions; with `--quick`
//! the main job alone.

mod quick;
mod track;

use std::process::ExitCode;

use anyhow::{Context, bail};
use lab_checks::language::Language;
use lab_cluster::config::{ClusterSpec, EngineKind};
use lab_cluster::lifecycle::{self, DEFAULT_NODES, StartOptions};
use lab_cluster::record::{Home, Record};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use self::quick::Tour;
use self::track::Track;
use super::lab::{language, pick};
use super::start;
use crate::cli::{DemoArgs, LabsArgs, LanguageArgs};
use crate::labs;
use crate::output::{blank, faint, good, line, strong};
use crate::progress::{Shown, milliseconds};

pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let DemoArgs {
        engine,
        name,
        keep,
        quick,
        language: LanguageArgs { lang },
        labs: LabsArgs { labs: directory },
    } = args;
    let language = language(lang.as_deref())?;
    let say = |en, fr| pick(language, en, fr);
    let labs = labs::load(directory.as_deref())?;
    let home = Home::from_env()?;
    if home.cluster(&name).exists() {
        bail!(
            "there is a cluster {name:?} already; delete it (devops-lab delete --name {name}) or tour with another --name"
        );
    }
    let began = Instant::now();
    let engine = start::kind(engine);
    let workspace = tempfile::Builder::new()
        .prefix("devops-lab-demo-")
        .tempdir()
        .context("failed to make a directory for the files of the labs")?;
    let work = async {
        if quick {
            let tour = Tour {
                home: &home,
                name: &name,
                language,
            };
            return tour.run(engine).await;
        }
        let track = Track {
            home: &home,
            name: &name,
            labs: &labs,
            workspace: workspace.path(),
            language,
        };
        track.run(engine).await.map(|()| true)
    };
    // As in `start`: before anything is made.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let outcome = tokio::select! {
        outcome = work => Some(outcome),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    if keep && matches!(outcome, Some(Ok(_))) {
        let place = workspace.keep();
        blank();
        line(format_args!(
            "{}{}",
            say(
                "The cluster stays. Look around: ",
                "Le cluster reste. Pour l’explorer : "
            ),
            strong(&format!(
                "cd {}; eval \"$(devops-lab env --name {name})\"; kubectl get all",
                place.display()
            ))
        ));
        line(format_args!(
            "{}{}",
            say("Remove it with: ", "Pour l’enlever : "),
            strong(&format!("devops-lab delete --name {name}"))
        ));
    } else if home.cluster(&name).exists() {
        lifecycle::delete(&home, &name)
            .await
            .context("failed to clean up after the tour")?;
        let gone = say(
            "The cluster is gone again; nothing is left of it.",
            "Le cluster est supprimé ; il n’en reste rien.",
        );
        line(faint(gone));
    }
    let Some(outcome) = outcome else {
        return Ok(ExitCode::from(130));
    };
    let passed = outcome?;
    if passed {
        blank();
        let time = milliseconds(began.elapsed());
        line(good(&format!(
            "{} {time}.",
            say("The tour took", "La visite a duré")
        )));
        line(format_args!(
            "{}{}",
            say("Your turn: ", "À vous : "),
            strong("devops-lab start 3 && devops-lab lab next")
        ));
    }
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Starts the cluster of a tour.
async fn cluster(
    home: &Home,
    name: &str,
    engine: Option<EngineKind>,
    language: Language,
) -> anyhow::Result<Record> {
    let began = Instant::now();
    let options = StartOptions {
        name: name.to_owned(),
        spec: ClusterSpec {
            nodes: Some(DEFAULT_NODES),
            engine,
            ..ClusterSpec::default()
        },
        kubeconfig: None,
    };
    let progress = Shown::new();
    let report = lifecycle::start(home, options, &progress).await?;
    progress.finish();
    let reason = report.engine_reason.unwrap_or_default();
    let engine = report.record.engine.as_str();
    let took = milliseconds(began.elapsed());
    told(&match language {
        Language::En => format!("three nodes are Ready on the {engine} engine after {took}"),
        Language::Fr => format!("trois nœuds sont Ready sur le moteur {engine} après {took}"),
    });
    line(faint(&format!("    ({reason})")));
    Ok(report.record)
}

fn told(text: &str) {
    line(format_args!("  {} {text}", good("✓")));
}
