//! `devops-lab start`

use std::process::ExitCode;

use anyhow::bail;
use lab_cluster::config::{ClusterFile, ClusterSpec, EngineKind};
use lab_cluster::kubeconfig;
use lab_cluster::lifecycle::{self, DEFAULT_NAME, StartOptions, StartReport, Started};
use lab_cluster::record::Home;
use lab_cluster::status::Addresses;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{EngineChoice, StartArgs, StartName};
use crate::output::{blank, faint, good, line, note, strong};
use crate::progress::Shown;

pub(crate) async fn run(args: StartArgs) -> anyhow::Result<ExitCode> {
    let home = Home::from_env()?;
    let options = options(args)?;
    let name = options.name.clone();
    let existed = home.cluster(&name).exists();
    let progress = Shown::new();
    // Listening begins before anything is made: until then, Ctrl-C would end this program on the
    // spot and leave what was begun.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let outcome = tokio::select! {
        outcome = lifecycle::start(&home, options, &progress) => Some(outcome),
        _ = interrupt.recv() => None,
    };
    progress.finish();
    match outcome {
        Some(report) => {
            let report = report?;
            print(&report);
            super::bundle::push_loaded(&home, &report.record).await;
            crate::class::tell_started(&home, &report.record, existed).await;
            Ok(ExitCode::SUCCESS)
        }
        None => {
            interrupted(&home, &name, existed).await?;
            Ok(ExitCode::from(130))
        }
    }
}

/// A cluster that was being made is taken away again; one that was there stays.
async fn interrupted(home: &Home, name: &str, existed: bool) -> anyhow::Result<()> {
    if existed {
        note(format_args!(
            "Interrupted. Cluster {name:?} was there before and stays; `devops-lab start --name {name}` goes on."
        ));
        return Ok(());
    }
    note("Interrupted: removing what was begun …");
    if home.cluster(name).exists() {
        lifecycle::delete(home, name).await?;
    }
    note("Nothing is left of it.");
    Ok(())
}

/// The flags over the cluster file.
fn options(args: StartArgs) -> anyhow::Result<StartOptions> {
    let StartArgs {
        nodes,
        cluster: StartName { name },
        engine,
        speed,
        config,
        no_kubeconfig,
    } = args;
    let file = config.map(|path| ClusterFile::read(&path)).transpose()?;
    let (file_name, file_spec) = file.map_or((None, ClusterSpec::default()), |file| {
        (file.metadata.name, file.spec)
    });
    let engine = match engine {
        Some(EngineChoice::Auto) => None,
        Some(choice) => kind(choice),
        None => file_spec.engine,
    };
    if let (Some(nodes), Some(engine)) = (nodes, engine)
        && let Err(problem) = lab_cluster::config::check_nodes(nodes, Some(engine))
    {
        bail!("{problem}");
    }
    Ok(StartOptions {
        name: name
            .or(file_name)
            .unwrap_or_else(|| DEFAULT_NAME.to_owned()),
        spec: ClusterSpec {
            nodes: nodes.or(file_spec.nodes),
            engine,
            speed: speed.or(file_spec.speed),
            ..file_spec
        },
        kubeconfig: if no_kubeconfig {
            None
        } else {
            Some(kubeconfig::default_path()?)
        },
    })
}

/// The engine of a choice; none for `auto`.
pub(super) fn kind(choice: EngineChoice) -> Option<EngineKind> {
    match choice {
        EngineChoice::Auto => None,
        EngineChoice::Docker => Some(EngineKind::Docker),
        EngineChoice::Process => Some(EngineKind::Process),
        EngineChoice::Simulated => Some(EngineKind::Simulated),
    }
}

fn print(report: &StartReport) {
    let StartReport {
        record,
        started,
        engine_reason,
        moved,
    } = report;
    let name = &record.name;
    let nodes = match record.nodes.len() {
        1 => "1 node".to_owned(),
        count => format!("{count} nodes"),
    };
    let engine = record.engine.as_str();
    let headline = match started {
        Started::Created => format!("Cluster {name:?} is up: {nodes} on the {engine} engine"),
        Started::Unchanged => {
            format!("Cluster {name:?} runs already: {nodes} on the {engine} engine; nothing to do")
        }
        Started::Resumed(parts) => {
            format!("Cluster {name:?} is back: started {}", parts.join(", "))
        }
        Started::Resized { added, removed } => format!(
            "Cluster {name:?} has {nodes} now{}",
            changes(added, removed)
        ),
    };
    blank();
    line(good(&headline));
    if let Some(reason) = engine_reason {
        line(faint(&format!("({reason})")));
    }
    for moved in moved {
        line(format_args!(
            "Port {} for the {} is in use; {} was taken and is kept.",
            moved.from, moved.part, moved.to
        ));
    }
    blank();
    let Addresses {
        api,
        production,
        test,
        https: _,
        registry,
        metrics,
    } = Addresses::of(record);
    line(format_args!("  Kubernetes API        {api}"));
    line(format_args!("  Production listener   {production}"));
    line(format_args!("  Test listener         {test}"));
    line(format_args!("  Image registry        {registry}"));
    if let Some(metrics) = metrics {
        line(format_args!("  Metrics               {metrics}"));
    }
    match &record.kubeconfig {
        Some(path) => line(format_args!(
            "  kubectl context       {}  ({})",
            kubeconfig::context_name(name),
            path.display()
        )),
        None => line(format_args!(
            "  kubectl               eval \"$(devops-lab env{})\"",
            flag(name)
        )),
    }
    blank();
    line(format_args!(
        "Next: {}",
        strong(&format!("devops-lab lab next{}", flag(name)))
    ));
    line(format_args!(
        "In the browser, with a live picture of the cluster: {}",
        strong(&format!("devops-lab guide{}", flag(name)))
    ));
}

/// ` --name NAME`, where it must be said.
fn flag(name: &str) -> String {
    if name == DEFAULT_NAME {
        String::new()
    } else {
        format!(" --name {name}")
    }
}

fn changes(added: &[String], removed: &[String]) -> String {
    let part = |verb: &str, names: &[String]| {
        if names.is_empty() {
            String::new()
        } else {
            format!("; {verb} {}", names.join(", "))
        }
    };
    part("added", added) + &part("removed", removed)
}
