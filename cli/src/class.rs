//! The class that this machine is in: what is told to it, and what it has to say.
//!
//! Sharing never gets in the way of learning: where something cannot be written down or sent, the
//! command that the student typed goes on.

use std::collections::HashMap;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use lab_checks::language::Language;
use lab_checks::outcome::{Outcome, Verdict as Checked};
use lab_checks::runner::StepReport;
use lab_classroom::agent::Agent;
use lab_classroom::outbox::Outbox;
use lab_classroom::protocol::{Cause, Verdict, What, Wish};
use lab_cluster::record::{Home, Record};
use tokio_util::sync::CancellationToken;

use crate::commands::lab::pick;
use crate::output::{line, note, strong};

/// Where the student's side of a class is kept.
pub(crate) fn outbox(home: &Home) -> Outbox {
    Outbox::new(&home.path().join("class"))
}

/// `http://HOST:PORT` of what people type.
///
/// # Errors
/// Where it is no such address.
pub(crate) fn url_of(address: &str) -> anyhow::Result<String> {
    let address = address.trim();
    let host = match address.split_once("://") {
        Some(("http", host)) => host,
        Some(_) => "",
        None => address,
    };
    let host = host.strip_suffix('/').unwrap_or(host);
    if host.is_empty() || host.contains(['/', '@', ' ']) {
        anyhow::bail!(
            "{address:?} is no address of a class: write it as the teacher shows it, such as http://192.168.1.20:8888"
        );
    }
    Ok(format!("http://{host}"))
}

/// Lets a cluster's registry ask the class that this machine is in for images it does not have, or
/// nobody where it is in none. A registry that cannot be told asks nobody new, which is said and
/// no reason for anything else to fail.
async fn tell_registry(home: &Home, record: &Record) {
    let membership = outbox(home).membership().ok().flatten();
    let address = membership
        .as_ref()
        .and_then(|it| it.server.strip_prefix("http://"));
    if let Err(error) = lab_cluster::registry::set_upstream(record, address).await {
        note(format_args!(
            "cluster {:?} cannot be told where the class's images are: {error:#}",
            record.name
        ));
    }
}

/// As [`tell_registry`], for a cluster that has just started; a new one outside of classes knows.
pub(crate) async fn tell_started(home: &Home, record: &Record, existed: bool) {
    if existed || outbox(home).membership().is_ok_and(|it| it.is_some()) {
        tell_registry(home, record).await;
    }
}

/// As [`tell_registry`], for every cluster that runs; those that do not are told when they start.
pub(crate) async fn tell_registries(home: &Home) {
    for record in home.records() {
        if lab_cluster::registry::verify(&record).await.is_ok() {
            tell_registry(home, &record).await;
        }
    }
}

/// Tells the class, if there is one.
pub(crate) fn share(home: &Home, what: What) {
    let outbox = outbox(home);
    match outbox.membership() {
        Ok(Some(_)) => {}
        Ok(None) => return,
        Err(error) => return note(format_args!("the class is not told: {error}")),
    }
    if let Err(error) = outbox.push(what, Timestamp::now()) {
        note(format_args!("the class is not told: {error}"));
    }
    start_agent();
}

/// What the class was told of steps: whoever looks again and again tells what is new.
#[derive(Debug, Default)]
pub(crate) struct Shared(HashMap<(String, String), (Checked, Option<String>)>);

impl Shared {
    /// Tells what came of a step's checks, unless it is what was told last.
    pub(crate) fn share(&mut self, home: &Home, report: &StepReport) {
        let found = (report.verdict, first_cause(report).map(|cause| cause.id));
        let step = (report.lab.clone(), report.step.clone());
        if self.0.insert(step, found.clone()) != Some(found) {
            share_report(home, report);
        }
    }
}

/// Tells what came of a step's checks.
fn share_report(home: &Home, report: &StepReport) {
    share(
        home,
        What::Checked {
            lab: report.lab.clone(),
            step: report.step.clone(),
            verdict: match report.verdict {
                Checked::Holds => Verdict::Holds,
                Checked::NotYet => Verdict::NotYet,
                Checked::CouldNotRun => Verdict::CouldNotRun,
            },
            diagnosis: first_cause(report),
        },
    );
}

/// The first cause of a report that does not hold.
pub(crate) fn first_cause(report: &StepReport) -> Option<Cause> {
    let mut outcomes = report.checks.iter().map(|check| &check.outcome);
    let diagnosis = outcomes.find_map(Outcome::diagnosis)?;
    Some(Cause {
        id: diagnosis.name().to_owned(),
        text: lab_checks::language::Text {
            en: diagnosis.text(Language::En),
            fr: diagnosis.text(Language::Fr),
        },
    })
}

/// Prints what the teacher has said since the last time, once.
pub(crate) fn notices(home: &Home, language: Language) {
    let outbox = outbox(home);
    let (Ok(Some(_)), Ok(told)) = (outbox.membership(), outbox.told()) else {
        return;
    };
    if told.unread.is_empty() {
        return;
    }
    let from = pick(language, "Your teacher:", "Votre professeur :");
    for text in &told.unread {
        // What a stranger wrote must not steer the terminal.
        let text: String = text.chars().filter(|letter| !letter.is_control()).collect();
        line(format_args!("{} {text}", strong(from)));
    }
    let seen = told.unread.len();
    // Seen again next time where it cannot be noted.
    let _ = outbox.change(|told| drop(told.unread.drain(..seen.min(told.unread.len()))));
}

/// Where she is and what the last check said, to go with a raised hand.
pub(crate) fn last_check(home: &Home) -> (String, String, Option<Cause>) {
    match outbox(home).last_check() {
        Ok(Some(What::Checked {
            lab,
            step,
            diagnosis,
            ..
        })) => (lab, step, diagnosis),
        _ => Default::default(),
    }
}

/// Delivers and obeys until it is told to end.
///
/// # Errors
/// Where the server refuses for good, or the outbox cannot be used.
pub(crate) async fn serve(
    home: &Home,
    agent: &Agent,
    outbox: &Outbox,
    end: &CancellationToken,
) -> anyhow::Result<()> {
    break_what_is_asked(home, outbox);
    agent
        .run(outbox, end, || break_what_is_asked(home, outbox))
        .await?;
    Ok(())
}

/// Injects the faults that the teacher asked for, where the student agreed to them.
fn break_what_is_asked(home: &Home, outbox: &Outbox) {
    let (Ok(Some(membership)), Ok(told)) = (outbox.membership(), outbox.told()) else {
        return;
    };
    if told.faults.is_empty() {
        return;
    }
    // Whatever comes of them: a fault that is injected twice teaches nothing.
    let asked = outbox
        .change(|told| told.faults.clear())
        .map(|_| told.faults);
    for order in asked.into_iter().flatten().filter(|_| membership.faults) {
        let Wish::Fault { fault, target } = order.wish else {
            continue;
        };
        let Ok(program) = std::env::current_exe() else {
            return;
        };
        let mut command = Command::new(program);
        command.args(["fault", "inject", &fault]);
        if !target.is_empty() {
            command.arg(target);
        }
        command
            .env("DEVOPS_LAB_HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // Where it cannot be injected there is nothing to recover from.
        let _ = command.status();
    }
}

/// Has the background process run that delivers; one that runs already goes on alone.
pub(crate) fn start_agent() {
    use std::os::unix::process::CommandExt as _;
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let started = Command::new(program)
        .args(["class", "agent"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // The student's Ctrl-C is not meant for it.
        .process_group(0)
        .spawn();
    if let Err(error) = started {
        note(format_args!("the class is told later: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_as_people_type_it() {
        assert_eq!(url_of("10.0.0.1:8888").unwrap(), "http://10.0.0.1:8888");
        assert_eq!(
            url_of("http://lab.local:8888/ ").unwrap(),
            "http://lab.local:8888"
        );
        for bad in ["", "ftp://x", "http://", "http://a/b", "http://u@h"] {
            assert!(url_of(bad).is_err(), "{bad}");
        }
    }
}
