//! `devops-lab answer`: the learner answers a question, and is told at once whether it is right.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::{Context, bail};
use dialoguer::theme::ColorfulTheme;
use dialoguer::{Input, Select};
use lab_checks::answers::Judgement;
use lab_checks::checks;
use lab_checks::lab::{Answer, CheckUse, Lab, Question, Step};
use lab_checks::language::{Language, Text};
use lab_checks::outcome::Verdict;
use serde_json::json;

use super::check::check;
use super::lab::{Learner, set};
use crate::cli::{AnswerArgs, Format, OutputArgs};
use crate::output::{bad, blank, good, json, line, warn};

/// The check that compares answers, and knows the record of traffic.
const ANSWERED: &str = "answered";

pub(crate) async fn run(args: AnswerArgs) -> anyhow::Result<ExitCode> {
    let AnswerArgs {
        question,
        value,
        step,
        options,
        output: OutputArgs { output },
    } = args;
    let mut learner = Learner::of(options)?;
    let labs = learner.labs.clone();
    let Some((lab, step)) = learner.step(&labs, step.as_deref())? else {
        match output {
            Format::Text => line(good(learner.all_done())),
            Format::Json => json(&json!({"lab": null, "step": null, "question": null}))?,
        }
        return Ok(ExitCode::SUCCESS);
    };
    let question = choose(&learner, lab, step, question.as_deref())?;
    let value = match value {
        Some(value) => value,
        None => ask(&learner, question)?,
    };
    let told = judge(&mut learner, lab, step, question, &value).await?;
    match output {
        Format::Json => json(&json!({
            "lab": lab.name,
            "step": step.id,
            "question": question.id,
            "answer": question.kept(&value),
            "right": told.right,
            "why": told.why.as_ref().map(|why| why.get(learner.language)),
        }))?,
        Format::Text => print(&learner, lab, step, &told),
    }
    Ok(match told.right {
        Some(false) => ExitCode::FAILURE,
        Some(true) | None => ExitCode::SUCCESS,
    })
}

/// What is said of an answer.
pub(super) struct Told {
    /// None where it cannot be said yet.
    pub(super) right: Option<bool>,
    pub(super) why: Option<Text>,
}

/// The question of this id, or the first of the step that is not answered right.
fn choose<'a>(
    learner: &Learner,
    lab: &Lab,
    step: &'a Step,
    id: Option<&str>,
) -> anyhow::Result<&'a Question> {
    let place = format!("{}/{}", lab.name, step.id);
    let Some(first) = step.questions.first() else {
        bail!("the step {place} asks nothing (devops-lab lab show {place}; --step names another)");
    };
    let Some(id) = id else {
        let answers = learner.progress.answers(&lab.name, &step.id);
        let open = |question: &&Question| {
            let answer = answers.get(&question.id);
            let judgement = answer.map(|answer| question.judge(answer, |_| None));
            !matches!(judgement, Some(Judgement::Right(_) | Judgement::NoRecord))
        };
        return Ok(step.questions.iter().find(open).unwrap_or(first));
    };
    let ids: Vec<_> = step.questions.iter().map(|it| it.id.as_str()).collect();
    let mut questions = step.questions.iter();
    questions
        .find(|question| question.id == id)
        .with_context(|| {
            format!(
                "the step {place} does not ask {id:?}; it asks: {} (--step names another)",
                ids.join(", ")
            )
        })
}

/// Asks on the terminal.
fn ask(learner: &Learner, question: &Question) -> anyhow::Result<String> {
    let language = learner.language;
    let choices: Vec<_> = match &question.answer {
        Answer::Choice(choices) => choices.iter().map(|it| it.text.get(language)).collect(),
        Answer::Number { .. } | Answer::Text(_) | Answer::Recorded { .. } => Vec::new(),
    };
    if !io::stdin().is_terminal() {
        let mut said = format!("{}\n", question.ask.get(language));
        for (choice, number) in choices.iter().zip(1..) {
            said.push_str(&format!("  {number}. {choice}\n"));
        }
        bail!(
            "nobody can be asked here; give the answer: devops-lab answer {} VALUE\n{said}",
            question.id
        );
    }
    set(learner, question.ask.get(language));
    blank();
    let theme = ColorfulTheme::default();
    let prompt = learner.say("Your answer", "Votre réponse");
    if choices.is_empty() {
        return Ok(Input::with_theme(&theme)
            .with_prompt(prompt)
            .interact_text()?);
    }
    let select = Select::with_theme(&theme)
        .with_prompt(prompt)
        .items(&choices);
    let at = select.default(0).interact()?;
    Ok(choices.get(at).copied().unwrap_or_default().to_owned())
}

/// Keeps the answer and says what it is worth.
pub(super) async fn judge(
    learner: &mut Learner,
    lab: &Lab,
    step: &Step,
    question: &Question,
    value: &str,
) -> anyhow::Result<Told> {
    let told = match question.judge(value, |_| None) {
        Judgement::NoChoice => bail!(
            "{value:?} is none of the choices (devops-lab lab show {}/{})",
            lab.name,
            step.id
        ),
        Judgement::NoNumber => bail!("{value:?} is not a number; {:?} asks for one", question.id),
        Judgement::Right(text) => Some((true, text)),
        Judgement::Wrong(text) => Some((false, text)),
        Judgement::NoRecord => None,
    };
    learner.note(|progress| progress.answer(lab, &step.id, &question.id, &question.kept(value)))?;
    match told {
        Some((right, text)) => Ok(Told {
            right: Some(right),
            why: text,
        }),
        None => compare(learner, lab, step, question).await,
    }
}

/// Lets the check compare the answer with what was recorded.
async fn compare(
    learner: &Learner,
    lab: &Lab,
    step: &Step,
    question: &Question,
) -> anyhow::Result<Told> {
    let unknown = Told {
        right: None,
        why: None,
    };
    let (Some(record), Some(_)) = (&learner.record, checks::find(ANSWERED)) else {
        return Ok(unknown);
    };
    let check_use = CheckUse {
        check: ANSWERED.to_owned(),
        with: json!({"question": question.id}),
        causes: Vec::new(),
    };
    let only = Step {
        checks: vec![check_use],
        ..step.clone()
    };
    let reports = check(record, &learner.dir, &learner.progress, lab, &[&only]).await?;
    let Some(report) = reports.first() else {
        return Ok(unknown);
    };
    let mut diagnoses = report
        .checks
        .iter()
        .filter_map(|check| check.outcome.diagnosis());
    Ok(Told {
        right: match report.verdict {
            Verdict::Holds => Some(true),
            Verdict::NotYet => Some(false),
            Verdict::CouldNotRun => None,
        },
        why: diagnoses.next().map(|it| Text {
            en: it.text(Language::En),
            fr: it.text(Language::Fr),
        }),
    })
}

fn print(learner: &Learner, lab: &Lab, step: &Step, told: &Told) {
    let verdict = match told.right {
        Some(true) => good(learner.say("✓ Right.", "✓ C’est juste.")),
        Some(false) => bad(learner.say("✗ Not right.", "✗ Ce n’est pas cela.")),
        None => warn(learner.say(
            "Noted; there is nothing yet to compare it with.",
            "C’est noté ; il n’y a encore rien à quoi le comparer.",
        )),
    };
    line(verdict);
    if let Some(why) = &told.why {
        set(learner, why.get(learner.language));
    }
    blank();
    let answers = learner.progress.answers(&lab.name, &step.id);
    let open = step
        .questions
        .iter()
        .find(|question| !answers.contains_key(&question.id));
    let (label, command) = match (told.right, open) {
        (Some(false), _) => (
            learner.say("Try again: ", "Essayez encore : "),
            "answer".to_owned(),
        ),
        (_, Some(question)) => (
            learner.say("Next question: ", "Question suivante : "),
            format!("answer {}", question.id),
        ),
        (_, None) => (learner.say("Then: ", "Ensuite : "), "check".to_owned()),
    };
    line(format_args!("{label}{}", learner.command(&command)));
}
