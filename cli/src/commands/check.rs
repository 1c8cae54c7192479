//! `devops-lab check`: does it hold, and if not, why?

pub(super) mod watch;

use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;
use lab_checks::context::{CheckContext, Desk};
use lab_checks::lab::{Lab, Step};
use lab_checks::language::Language;
use lab_checks::library::Labs;
use lab_checks::outcome::{Evidence, Outcome, Verdict};
use lab_checks::progress::Progress;
use lab_checks::runner::{CheckReport, StepReport, run_step};
use lab_cluster::record::{ClusterDir, Home, Record};
use lab_cluster::{lifecycle, traffic};

use self::watch::Watch;
use super::lab::{Learner, addresses, find, pick, set};
use crate::class::{self, Shared};
use crate::cli::{CheckArgs, Format, OutputArgs};
use crate::labs::journey::{after, keep_beginning};
use crate::labs::snapshot::Subject;
use crate::labs::workspace;
use crate::markdown::{self, wrap};
use crate::output::{bad, blank, faint, good, json, line, strong, warn};

/// Exit code where a check could not run: nothing is said about the learner's work.
const COULD_NOT_RUN: u8 = 3;

pub(crate) async fn run(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let CheckArgs {
        target,
        options,
        output: OutputArgs { output },
        watch,
        until_holds,
    } = args;
    let mut learner = Learner::of(options)?;
    if watch {
        let watch = Watch {
            target,
            until_holds,
            output,
        };
        return watch.run(&mut learner).await;
    }
    let labs = learner.labs.clone();
    let Some((lab, steps)) = choose(&labs, &learner.progress, target.as_deref())? else {
        line(good(learner.all_done()));
        return Ok(ExitCode::SUCCESS);
    };
    let Some(record) = &learner.record else {
        match output {
            Format::Json => json(
                &serde_json::json!({"verdict": Verdict::CouldNotRun, "steps": [], "why": learner.no_cluster()}),
            )?,
            Format::Text => line(learner.no_cluster()),
        }
        return Ok(ExitCode::from(COULD_NOT_RUN));
    };
    let record = record.clone();
    let reports = examine(&mut learner, &record, lab, &steps, &mut Shared::default()).await?;
    let verdict = overall(&reports);
    match output {
        Format::Json => json(&serde_json::json!({"verdict": verdict, "steps": reports}))?,
        Format::Text => {
            if let Ok(home) = Home::from_env() {
                class::notices(&home, learner.language);
            }
            print(lab, &steps, &reports, learner.language);
            advise(&learner, &labs, lab, &steps, &reports);
        }
    }
    Ok(match verdict {
        Verdict::Holds => ExitCode::SUCCESS,
        Verdict::NotYet => ExitCode::FAILURE,
        Verdict::CouldNotRun => ExitCode::from(COULD_NOT_RUN),
    })
}

/// Checks, notes what holds, tells the class what it does not know yet, and keeps how the next
/// step begins.
pub(super) async fn examine(
    learner: &mut Learner,
    record: &Record,
    lab: &Lab,
    steps: &[&Step],
    shared: &mut Shared,
) -> anyhow::Result<Vec<StepReport>> {
    let reports = check(record, &learner.dir, &learner.progress, lab, steps).await?;
    let now = Timestamp::now();
    let before = learner.progress.clone();
    learner.note(|progress| {
        for report in &reports {
            progress.note(lab, &report.step, report.verdict, now);
        }
    })?;
    if let Ok(home) = Home::from_env() {
        reports
            .iter()
            .for_each(|report| shared.share(&home, report));
    }
    remember(learner, lab, &before).await;
    Ok(reports)
}

/// Where a step has just been done for the first time, keeps how the next one begins, for
/// `lab reset`.
async fn remember(learner: &Learner, lab: &Lab, before: &Progress) {
    let is_new = |step: &&Step| {
        !before.is_done(&lab.name, step) && learner.progress.is_done(&lab.name, step)
    };
    let begins = lab
        .steps
        .iter()
        .filter(is_new)
        .filter_map(|step| after(lab, step));
    let mut open = begins.filter(|next| !learner.progress.is_done(&lab.name, next));
    let (Some(next), Ok(home)) = (open.next_back(), Home::from_env()) else {
        return;
    };
    let known = learner.progress.workspace(&lab.name).map(Path::to_owned);
    let Some(workspace) = known.or_else(|| std::env::current_dir().ok()) else {
        return;
    };
    let names = workspace::names(&learner.labs);
    let subject = Subject {
        home: &home,
        dir: &learner.dir,
        workspace: &workspace,
        names: Some(&names),
    };
    keep_beginning(&subject, lab, next).await;
}

/// Checks a lab up to a step and with it, and prints what was found; true where all of it holds.
///
/// # Errors
/// Where the lab or step does not exist.
pub(crate) async fn check_steps(
    record: &Record,
    dir: &ClusterDir,
    lab: &str,
    last: &str,
    language: Language,
) -> anyhow::Result<bool> {
    let labs = Labs::embedded()?;
    let (lab, last) = find(&labs, &format!("{lab}/{last}"))?;
    let end = lab.steps.iter().position(|step| last == Some(step));
    let steps: Vec<_> = lab
        .steps
        .iter()
        .take(end.map_or(0, |end| end + 1))
        .collect();
    let reports = check(record, dir, &Progress::default(), lab, &steps).await?;
    print(lab, &steps, &reports, language);
    Ok(overall(&reports) == Verdict::Holds)
}

/// The steps to check: those of the target, or the one that the learner is at.
fn choose<'a>(
    labs: &'a Labs,
    progress: &Progress,
    target: Option<&str>,
) -> anyhow::Result<Option<(&'a Lab, Vec<&'a Step>)>> {
    let Some(target) = target else {
        return Ok(progress
            .next_step(labs)
            .map(|(lab, step)| (lab, vec![step])));
    };
    let (lab, step) = find(labs, target)?;
    Ok(Some((
        lab,
        step.map_or_else(|| lab.steps.iter().collect(), |step| vec![step]),
    )))
}

/// Runs the checks of some steps of a lab, as its learner left her desk.
pub(crate) async fn check(
    record: &Record,
    dir: &ClusterDir,
    progress: &Progress,
    lab: &Lab,
    steps: &[&Step],
) -> anyhow::Result<Vec<StepReport>> {
    let mut context = CheckContext::new(lifecycle::client(record)?, addresses(record, dir));
    let mut reports = Vec::new();
    for step in steps {
        context.desk = desk(dir, progress, lab, step);
        reports.push(run_step(lab, step, &context).await);
    }
    Ok(reports)
}

/// What checks of a step may read beside the cluster. A learner whose files were never handed out
/// has them where she is.
fn desk(dir: &ClusterDir, progress: &Progress, lab: &Lab, step: &Step) -> Desk {
    let workspace = progress.workspace(&lab.name).map(Path::to_owned);
    Desk {
        workspace: workspace.or_else(|| std::env::current_dir().ok()),
        traffic: Some(traffic::record_dir(dir)),
        pipelines: Some(dir.pipelines()),
        answers: progress.answers(&lab.name, &step.id),
        since: progress.begun(&lab.name),
    }
}

fn overall(reports: &[StepReport]) -> Verdict {
    reports
        .iter()
        .map(|report| report.verdict)
        .max()
        .unwrap_or(Verdict::Holds)
}

fn print(lab: &Lab, steps: &[&Step], reports: &[StepReport], language: Language) {
    for (step, report) in steps.iter().zip(reports) {
        let heading = format!(
            "{} · {}",
            lab.title.get(language),
            step.heading.get(language)
        );
        for part in wrap(&heading, "", markdown::width()).lines() {
            line(strong(part));
        }
        for check in &report.checks {
            print_check(check, language);
        }
        if report.checks.is_empty() {
            let text = pick(
                language,
                "there is nothing to check",
                "il n’y a rien à vérifier",
            );
            line(format_args!("  {} {text}", good("✓")));
        }
    }
}

pub(crate) fn print_check(check: &CheckReport, language: Language) {
    let CheckReport {
        code,
        name,
        outcome,
    } = check;
    let mark = match outcome.verdict() {
        Verdict::Holds => good("✓"),
        Verdict::NotYet => bad("✗"),
        Verdict::CouldNotRun => warn("!"),
    };
    let aside = match outcome {
        Outcome::Holds { .. } | Outcome::NotYet { .. } => String::new(),
        Outcome::CouldNotRun { .. } => {
            warn(pick(language, " could not run", " n’a pas pu s’exécuter"))
        }
    };
    line(format_args!("  {mark} {name} {}{aside}", faint(code)));
    match outcome {
        Outcome::Holds { evidence } => {
            let age = evidence
                .age(Timestamp::now())
                .map(|age| since(language, &age))
                .unwrap_or_default();
            labelled("", &format!("{}{age}", evidence.observed.text(language)));
        }
        Outcome::NotYet {
            evidence,
            diagnosis: _,
        } => {
            let Evidence {
                expected,
                observed,
                since: _,
            } = evidence;
            labelled(
                pick(language, "expected", "attendu"),
                &expected.text(language),
            );
            labelled(
                pick(language, "observed", "observé"),
                &observed.text(language),
            );
            print_diagnosis(outcome, language);
        }
        Outcome::CouldNotRun { why: _ } => print_diagnosis(outcome, language),
    }
}

/// Why a check does not hold or could not run, and the command that shows more.
pub(super) fn print_diagnosis(outcome: &Outcome, language: Language) {
    if let Some(diagnosis) = outcome.diagnosis() {
        labelled("cause", &diagnosis.text(language));
        look(diagnosis.look(), language);
    }
}

fn since(language: Language, age: &str) -> String {
    match language {
        Language::En => format!(" (for {age})"),
        Language::Fr => format!(" (depuis {age})"),
    }
}

/// A line under a check, its label in a column of its own.
fn labelled(label: &str, text: &str) {
    let lead = if label.is_empty() {
        "    ".to_owned()
    } else {
        format!("    {label:<10}")
    };
    line(wrap(text, &lead, markdown::width()));
}

fn look(command: Option<String>, language: Language) {
    if let Some(command) = command {
        let label = pick(language, "look at", "à voir");
        // A command must stay whole, to be copied.
        line(format_args!("    {label:<10}{}", strong(&command)));
    }
}

/// A hint where something does not hold, and what to do next.
fn advise(learner: &Learner, labs: &Labs, lab: &Lab, steps: &[&Step], reports: &[StepReport]) {
    blank();
    let open = steps
        .iter()
        .zip(reports)
        .find(|(_, report)| report.verdict != Verdict::Holds);
    if let Some((step, report)) = open {
        if !report.hints(step).is_empty() {
            let label = learner.say("A hint, if you want one: ", "Un indice, si besoin : ");
            line(format_args!("{label}{}", learner.command("hint")));
        }
        let again = if report.is_passing() {
            learner.say("Wait a moment, then: ", "Attendez un instant, puis : ")
        } else {
            learner.say("Then look again: ", "Puis vérifiez à nouveau : ")
        };
        line(format_args!("{again}{}", learner.command("check")));
        return;
    }
    let Some((next_lab, next)) = learner.progress.next_step(labs) else {
        set(learner, lab.ending.get(learner.language));
        return;
    };
    if learner.progress.done_of(lab) == lab.steps.len() && next_lab.name != lab.name {
        set(learner, lab.ending.get(learner.language));
        blank();
    }
    let label = learner.say("Next: ", "Ensuite : ");
    let heading = next.heading.get(learner.language);
    line(wrap(heading, label, markdown::width()));
    line(format_args!("  {}", learner.command("lab next")));
}
