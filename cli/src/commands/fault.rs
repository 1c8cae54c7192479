//! `devops-lab fault`

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use jiff::Timestamp;
use lab_cluster::faults::watch::{Ended, Sight, recovery};
use lab_cluster::faults::{self, ALL, FaultDef, Injection, Ledger, Request, Stage};
use serde::Serialize;

use crate::cli::{
    ClusterArgs, FaultCommand, FaultHealArgs, FaultInjectArgs, FaultListArgs, FaultStatusArgs,
    FaultWatchArgs, Format, OutputArgs,
};
use crate::output::{blank, clock, faint, good, json, line, strong, table, warn};

/// The word that draws a fault by chance.
const RANDOM: &str = "random";

pub(crate) async fn run(command: FaultCommand) -> anyhow::Result<ExitCode> {
    match command {
        FaultCommand::List(args) => list(&args)?,
        FaultCommand::Status(args) => status(&args)?,
        FaultCommand::Inject(args) => inject(args).await?,
        FaultCommand::Heal(args) => return heal(args).await,
        FaultCommand::Watch(args) => return watch(args).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// A fault in the list, for programs.
#[derive(Serialize)]
struct Listed {
    name: &'static str,
    help: &'static str,
    expect: &'static str,
    heal: &'static str,
    target: faults::Target,
    engines: Vec<&'static str>,
    options: Vec<String>,
}

fn list(args: &FaultListArgs) -> anyhow::Result<()> {
    let FaultListArgs {
        output: OutputArgs { output },
    } = args;
    let listed = |def: &FaultDef| Listed {
        name: def.name,
        help: def.help,
        expect: def.expect,
        heal: def.healed_by,
        target: def.target,
        engines: def.engines.iter().map(|engine| engine.as_str()).collect(),
        options: def.options.iter().map(|o| format!("--{o}")).collect(),
    };
    match output {
        Format::Json => json(&ALL.iter().map(listed).collect::<Vec<_>>()),
        Format::Text => {
            for def in ALL {
                line(strong(def.name));
                line(format_args!("  {}", def.help));
                line(faint(&format!("  then: {}", def.expect)));
                line(faint(&format!("  heal: {}", def.healed_by)));
                let engines: Vec<_> = def.engines.iter().map(|e| e.as_str()).collect();
                line(faint(&format!("  on:   {}", engines.join(", "))));
            }
            blank();
            line(
                "Inject one: devops-lab fault inject NAME [TARGET]; a riddle: devops-lab fault inject random --quiet",
            );
            Ok(())
        }
    }
}

/// An injection as it is shown; a hidden one is named only when it is revealed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    id: u32,
    at: Timestamp,
    hidden: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    did: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heal: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn of(injection: &'a Injection, reveal: bool) -> Self {
        let named = |text: &'a String| (reveal || !injection.hidden).then_some(text.as_str());
        Self {
            id: injection.id,
            at: injection.at,
            hidden: injection.hidden,
            fault: named(&injection.fault),
            target: named(&injection.target),
            did: named(&injection.did),
            heal: named(&injection.heal),
        }
    }
}

fn status(args: &FaultStatusArgs) -> anyhow::Result<()> {
    let FaultStatusArgs {
        cluster: ClusterArgs { name },
        output: OutputArgs { output },
        reveal,
    } = args;
    let (dir, _) = super::open(name)?;
    let entries = Ledger::of(&dir).entries()?;
    let shown: Vec<_> = entries.iter().map(|e| Shown::of(e, *reveal)).collect();
    match output {
        Format::Json => return json(&shown),
        Format::Text if shown.is_empty() => line("No fault is injected."),
        Format::Text => {
            let row = |entry: &Shown<'_>| {
                vec![
                    entry.id.to_string(),
                    entry.fault.unwrap_or("(hidden)").to_owned(),
                    entry.target.unwrap_or("?").to_owned(),
                    clock(entry.at),
                    entry.did.unwrap_or("find out, or --reveal").to_owned(),
                ]
            };
            let rows: Vec<_> = shown.iter().map(row).collect();
            table(&["ID", "FAULT", "TARGET", "SINCE", "WHAT"], &rows);
            blank();
            line("Heal all: devops-lab fault heal --all");
        }
    }
    Ok(())
}

async fn inject(args: FaultInjectArgs) -> anyhow::Result<()> {
    let FaultInjectArgs {
        fault,
        target,
        cluster: ClusterArgs { name },
        output: OutputArgs { output },
        share,
        delay,
        status,
        mode,
        seed,
        quiet,
        watch,
    } = args;
    let (dir, record) = super::open(&name)?;
    let speed = record.speed;
    let stage = Stage::open(dir, record, seed).await?;
    let def = match fault.as_str() {
        RANDOM => faults::choose(&stage).await?,
        named => FaultDef::named(named)?,
    };
    let request = Request {
        target,
        share,
        delay,
        status,
        mode,
    };
    let before = Sight::of(&stage.client).await?;
    let injection = faults::inject(&stage, def, &request, quiet).await?;
    match output {
        Format::Json => json(&Shown::of(&injection, false))?,
        Format::Text if quiet => {
            line(format_args!(
                "Fault {} is injected; which one is yours to find out.",
                injection.id
            ));
            line(
                "Look it up: devops-lab fault status --reveal; heal it: devops-lab fault heal --all",
            );
        }
        Format::Text => tell(&injection, def, speed),
    }
    if watch {
        let _ = observe(&stage, before, limit(None, speed)).await;
    }
    Ok(())
}

fn tell(injection: &Injection, def: &FaultDef, speed: f64) {
    line(format_args!("Done: {}.", injection.did));
    line(format_args!("Expect: {}.", def.expect));
    if (speed - 1.0).abs() > f64::EPSILON {
        line(format_args!(
            "This cluster's waits are {speed} times shorter."
        ));
    }
    line(format_args!("Heal: {}.", injection.heal));
}

/// Five minutes of toleration, the lease before them and room for what comes after, at the
/// cluster's speed.
fn limit(asked: Option<u64>, speed: f64) -> Duration {
    match asked {
        Some(seconds) => Duration::from_secs(seconds),
        None => Duration::from_secs_f64(420.0 / speed + 30.0),
    }
}

async fn observe(stage: &Stage, before: Sight, limit: Duration) -> ExitCode {
    let ended = recovery(&stage.client, before, limit, |after, change| {
        line(format_args!("{:>8.1} s  {change}", after.as_secs_f64()));
    });
    match ended.await {
        Ended::Recovered(after) => {
            let text = format!("Recovered after {:.1} s.", after.as_secs_f64());
            line(good(&text));
            ExitCode::SUCCESS
        }
        Ended::Untouched => {
            line("No Deployment lost a replica in this time.");
            ExitCode::SUCCESS
        }
        Ended::Missing => {
            line(warn("Replicas are missing still."));
            ExitCode::FAILURE
        }
    }
}

async fn watch(args: FaultWatchArgs) -> anyhow::Result<ExitCode> {
    let FaultWatchArgs {
        cluster: ClusterArgs { name },
        limit: asked,
    } = args;
    let (dir, record) = super::open(&name)?;
    let speed = record.speed;
    let stage = Stage::open(dir, record, None).await?;
    let before = Sight::of(&stage.client).await?;
    Ok(observe(&stage, before, limit(asked, speed)).await)
}

async fn heal(args: FaultHealArgs) -> anyhow::Result<ExitCode> {
    let FaultHealArgs {
        fault,
        all,
        cluster: ClusterArgs { name },
        output: OutputArgs { output },
    } = args;
    let (dir, record) = super::open(&name)?;
    let entries = Ledger::of(&dir).entries()?;
    let chosen = chosen(&entries, fault.as_deref(), all)?;
    let stage = Stage::open(dir, record, None).await?;
    let mut done = Vec::new();
    let mut failed = false;
    for injection in chosen {
        match faults::heal(&stage, injection).await {
            Ok(did) => done.push(did),
            Err(error) => {
                failed = true;
                crate::output::report(&error);
            }
        }
    }
    match output {
        Format::Json => json(&done)?,
        Format::Text if done.is_empty() && !failed => line("There is nothing to heal."),
        Format::Text => done
            .iter()
            .for_each(|did| line(format_args!("Healed: {did}."))),
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The injections that are meant: all, those of a fault (or one by its number), or the only one.
fn chosen<'a>(
    entries: &'a [Injection],
    fault: Option<&str>,
    all: bool,
) -> anyhow::Result<Vec<&'a Injection>> {
    match (fault, entries) {
        (None, entries) if all || entries.len() < 2 => Ok(entries.iter().collect()),
        (None, entries) => bail!(
            "{} faults are injected: name one (devops-lab fault status), or use --all",
            entries.len()
        ),
        (Some(fault), entries) => {
            let meant = |entry: &&Injection| entry.fault == fault || entry.id.to_string() == fault;
            let found: Vec<_> = entries.iter().filter(meant).collect();
            if found.is_empty() {
                bail!("no {fault} is injected; see devops-lab fault status");
            }
            Ok(found)
        }
    }
}
