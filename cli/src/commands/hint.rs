//! `devops-lab hint`: one hint after the other, those that fit what is wrong first.

use std::process::ExitCode;

use lab_checks::lab::{Hint, Lab, Step};
use lab_checks::outcome::Verdict;
use lab_checks::runner::StepReport;
use lab_classroom::protocol::What;
use lab_cluster::record::Home;
use serde_json::{Value, json};

use super::check::{check, print_diagnosis};
use super::lab::{Learner, set};
use crate::class;
use crate::cli::{Format, HintArgs, OutputArgs};
use crate::output::{blank, faint, good, json, line};

pub(crate) async fn run(args: HintArgs) -> anyhow::Result<ExitCode> {
    let HintArgs {
        target,
        all,
        options,
        output: OutputArgs { output },
    } = args;
    let mut learner = Learner::of(options)?;
    let labs = learner.labs.clone();
    let Some((lab, step)) = learner.step(&labs, target.as_deref())? else {
        match output {
            Format::Text => line(good(learner.all_done())),
            Format::Json => json(&json!({"lab": null, "step": null, "hints": [], "left": 0}))?,
        }
        return Ok(ExitCode::SUCCESS);
    };
    let (report, choice) = reveal(&mut learner, lab, step, all).await?;
    match output {
        Format::Json => json(&value(&learner, lab, step, report.as_ref(), &choice))?,
        Format::Text => print(&learner, lab, step, report.as_ref(), &choice),
    }
    Ok(ExitCode::SUCCESS)
}

/// Chooses the next hint, or all, and notes that they were shown; with what is the matter.
pub(super) async fn reveal(
    learner: &mut Learner,
    lab: &Lab,
    step: &Step,
    all: bool,
) -> anyhow::Result<(Option<StepReport>, Choice)> {
    let report = look(learner, lab, step).await?;
    let shown = learner.progress.hints(&lab.name, &step.id).to_vec();
    let choice = if all {
        Choice::all(step)
    } else {
        Choice::next(&fitting(step, report.as_ref()), &shown)
    };
    learner.note(|progress| {
        for hint in &choice.hints {
            progress.show_hint(lab, &step.id, *hint);
        }
    })?;
    if let (Ok(home), false) = (Home::from_env(), choice.hints.is_empty()) {
        let seen = learner.progress.hints(&lab.name, &step.id).len();
        let what = What::Hinted {
            lab: lab.name.clone(),
            step: step.id.clone(),
            seen: u32::try_from(seen).unwrap_or(u32::MAX),
        };
        class::share(&home, what);
    }
    Ok((report, choice))
}

/// What is the matter with the step; none where there is no cluster that could tell.
async fn look(learner: &Learner, lab: &Lab, step: &Step) -> anyhow::Result<Option<StepReport>> {
    let Some(record) = &learner.record else {
        return Ok(None);
    };
    let reports = check(record, &learner.dir, &learner.progress, lab, &[step]).await?;
    Ok(reports.into_iter().next())
}

/// The hints that fit, by their places in the step. Where nobody can tell what is wrong, those
/// that fit always.
fn fitting(step: &Step, report: Option<&StepReport>) -> Vec<usize> {
    let place = |hint: &Hint| step.hints.iter().position(|other| other == hint);
    match report {
        Some(report) if report.verdict != Verdict::CouldNotRun => {
            let hints = report.hints(step).into_iter();
            hints.filter_map(place).collect()
        }
        _ => {
            let always = step.hints.iter().filter(|hint| hint.when.is_none());
            always.filter_map(place).collect()
        }
    }
}

/// Which hints to show now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// By their places in the step.
    hints: Vec<usize>,
    /// Which of those that fit the last one is, from 1, and how many fit.
    at: (usize, usize),
}

impl Choice {
    fn all(step: &Step) -> Self {
        let all = step.hints.len();
        Self {
            hints: (0..all).collect(),
            at: (all, all),
        }
    }

    /// The first that fits and was not shown; when all were, the last of them again.
    fn next(fitting: &[usize], shown: &[usize]) -> Self {
        let next = fitting.iter().position(|hint| !shown.contains(hint));
        let at = next.or(fitting.len().checked_sub(1));
        // Those before it were shown; those after it may have been too, for another cause.
        let left = |at: usize| {
            fitting[at + 1..]
                .iter()
                .filter(|hint| !shown.contains(hint))
        };
        Self {
            hints: at.iter().map(|at| fitting[*at]).collect(),
            at: at.map_or((0, 0), |at| {
                let left = left(at).count();
                (fitting.len() - left, fitting.len())
            }),
        }
    }

    /// How many that fit are left.
    pub(super) fn left(&self) -> usize {
        self.at.1 - self.at.0
    }
}

fn value(
    learner: &Learner,
    lab: &Lab,
    step: &Step,
    report: Option<&StepReport>,
    choice: &Choice,
) -> Value {
    let hints = choice.hints.iter().map(|place| {
        let hint = &step.hints[*place];
        json!({
            "text": learner.fill(hint.text.get(learner.language)),
            "when": hint.when,
        })
    });
    json!({
        "lab": lab.name,
        "step": step.id,
        "verdict": report.map(|report| report.verdict),
        "hints": hints.collect::<Vec<_>>(),
        "left": choice.left(),
    })
}

fn print(learner: &Learner, lab: &Lab, step: &Step, report: Option<&StepReport>, choice: &Choice) {
    let heading = step.heading.get(learner.language);
    line(faint(&format!(
        "{} · {heading}",
        lab.title.get(learner.language)
    )));
    blank();
    let verdict = report.map(|report| report.verdict);
    if verdict == Some(Verdict::Holds) {
        line(good(learner.say(
            "This step holds: there is nothing to hint at.",
            "Cette étape est réussie : aucun indice n’est nécessaire.",
        )));
        if choice.hints.is_empty() {
            return;
        }
        blank();
    }
    for hint in &choice.hints {
        set(learner, step.hints[*hint].text.get(learner.language));
        blank();
    }
    let (at, all) = choice.at;
    if all > 0 {
        let text = match (learner.say("en", "fr"), choice.left()) {
            ("fr", 0) => format!("Indice {at} sur {all} : c’était le dernier."),
            ("fr", 1) => format!("Indice {at} sur {all} ; il en reste 1 : "),
            ("fr", left) => format!("Indice {at} sur {all} ; il en reste {left} : "),
            (_, 0) => format!("Hint {at} of {all}: that was the last."),
            (_, left) => format!("Hint {at} of {all}; {left} left: "),
        };
        let more = if choice.left() > 0 {
            learner.command("hint")
        } else {
            String::new()
        };
        line(format_args!("{text}{more}"));
        return;
    }
    match report {
        None => line(learner.no_cluster()),
        Some(report) => {
            line(learner.say(
                "The lab has no hint for this. What the check found:",
                "Le lab n’a pas d’indice pour cela. Ce que la vérification a trouvé :",
            ));
            for check in &report.checks {
                print_diagnosis(&check.outcome, learner.language);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(hints: usize) -> Step {
        Step {
            hints: vec![
                Hint {
                    text: lab_checks::language::Text::default(),
                    when: None
                };
                hints
            ],
            ..Step::default()
        }
    }

    #[test]
    fn hints_come_one_after_the_other_and_the_last_one_stays() {
        let next = |fitting: &[usize], shown: &[usize]| {
            let choice = Choice::next(fitting, shown);
            (choice.hints.first().copied(), choice.at, choice.left())
        };
        assert_eq!(next(&[2, 0, 1], &[]), (Some(2), (1, 3), 2));
        assert_eq!(next(&[2, 0, 1], &[2]), (Some(0), (2, 3), 1));
        assert_eq!(next(&[2, 0, 1], &[2, 0]), (Some(1), (3, 3), 0));
        assert_eq!(next(&[2, 0, 1], &[2, 0, 1]), (Some(1), (3, 3), 0));
        // What is wrong has changed since: the new cause's hint comes first, and what was shown
        // for the old one does not come again.
        assert_eq!(next(&[3, 0, 1], &[2, 0]), (Some(3), (2, 3), 1));
        assert_eq!(next(&[], &[]), (None, (0, 0), 0));
    }

    #[test]
    fn all_of_them_can_be_seen() {
        let choice = Choice::all(&step(3));
        assert_eq!((choice.hints.len(), choice.left()), (3, 0));
    }
}
