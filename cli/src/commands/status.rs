//! `devops-lab status`

use std::process::ExitCode;
use std::time::Duration;

use lab_cluster::provider::RunState;
use lab_cluster::status::{Addresses, Overall, Status, status};

use crate::cli::{ClusterArgs, Format, OutputArgs, StatusArgs};
use crate::output::{bad, blank, faint, good, json, line, strong, table, warn};

/// Pause between two looks with `--watch`.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

pub(crate) async fn run(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let StatusArgs {
        cluster: ClusterArgs { name },
        output: OutputArgs { output },
        watch,
    } = args;
    let (dir, _) = super::open(&name)?;
    loop {
        let status = status(&dir).await?;
        if watch && output == Format::Text {
            // Clears the terminal; in a pipe, pictures follow one another.
            let _ = console::Term::stdout().clear_screen();
        }
        match output {
            Format::Json => json(&status)?,
            Format::Text => print(&status),
        }
        if !watch {
            let well = status.state == Overall::Running;
            return Ok(if well {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        tokio::select! {
            () = tokio::time::sleep(WATCH_PAUSE) => {}
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        }
    }
}

fn print(status: &Status) {
    let Status {
        name,
        engine,
        speed,
        state,
        addresses,
        context,
        components,
        nodes,
        pods,
        problem,
    } = status;
    let word = match state {
        Overall::Running => good("running"),
        Overall::Degraded => warn("degraded"),
        Overall::Stopped => bad("stopped"),
    };
    let pace = if (*speed - 1.0).abs() < f64::EPSILON {
        String::new()
    } else {
        format!(", speed {speed}")
    };
    line(format_args!(
        "{} {word} {}",
        strong(name),
        faint(&format!("({} engine{pace})", engine.as_str()))
    ));
    if let Some(problem) = problem {
        line(bad(problem));
    }
    blank();
    let rows: Vec<_> = components
        .iter()
        .map(|component| {
            let state = match component.state {
                RunState::Running => good("running"),
                RunState::Paused => warn("paused"),
                RunState::Stopped => bad("stopped"),
            };
            vec![component.name.clone(), state, component.handle.clone()]
        })
        .collect();
    table(&["PART", "STATE", "WHERE"], &rows);
    if !nodes.is_empty() {
        blank();
        let rows: Vec<_> = nodes
            .iter()
            .map(|node| {
                let ready = node.status == "Ready";
                let status = if ready {
                    good(&node.status)
                } else {
                    bad(&node.status)
                };
                let dots = "●".repeat(node.ready_pods.min(40))
                    + &"○".repeat((node.pods - node.ready_pods).min(40));
                vec![
                    node.name.clone(),
                    status,
                    node.ip.clone(),
                    format!("{} {dots}", node.pods),
                ]
            })
            .collect();
        table(
            &["NODE", "STATUS", "ADDRESS", "PODS (● ready ○ not)"],
            &rows,
        );
        let phases: Vec<_> = pods
            .iter()
            .map(|(phase, count)| format!("{count} {phase}"))
            .collect();
        if !phases.is_empty() {
            line(faint(&format!("pods: {}", phases.join(", "))));
        }
    }
    blank();
    let Addresses {
        api,
        production,
        test,
        https: _,
        registry,
        metrics,
    } = addresses;
    let metrics = metrics.as_ref();
    let metrics = metrics.map_or_else(String::new, |address| format!(" · metrics {address}"));
    line(format_args!(
        "Kubernetes API {api} · production {production} · test {test} · registry {registry}{metrics}"
    ));
    if let Some(context) = context {
        line(format_args!("kubectl context {context}"));
    }
    if *state != Overall::Running {
        blank();
        line(format_args!(
            "Next: {}",
            strong(&format!("devops-lab start --name {name}"))
        ));
    }
}
