//! A lab as a page: its text with the learner's own addresses in it, and the state of its steps.
//! Every text is there in both languages, so that switching asks nobody.

use jiff::Timestamp;
use lab_checks::context::Addresses;
use lab_checks::lab::{Answer, Lab, Question, Step};
use lab_checks::language::{Language, Text};
use lab_checks::library::Labs;
use lab_checks::outcome::{Outcome, Verdict};
use lab_checks::progress::Progress;
use lab_checks::runner::{CheckReport, StepReport};
use serde::Serialize;

use crate::markdown;

/// A lab in the list of labs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its id.
    pub name: String,
    /// Its title.
    pub title: Text,
    /// How long it takes, in minutes.
    pub minutes: u16,
    /// Steps that are done.
    pub done: usize,
    /// Steps that there are.
    pub steps: usize,
}

/// The text of a lab.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lesson {
    /// Its id.
    pub name: String,
    /// Its title.
    pub title: Text,
    /// How long it takes, in minutes.
    pub minutes: u16,
    /// HTML before the first step.
    pub intro: Text,
    /// The steps, in order.
    pub steps: Vec<StepText>,
    /// HTML after the last step.
    pub ending: Text,
    /// The lab before this one.
    pub previous: Option<String>,
    /// The one after it.
    pub next: Option<String>,
}

/// The text of a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepText {
    /// Its id.
    pub id: String,
    /// HTML of its heading.
    pub heading: Text,
    /// HTML of what to do.
    pub prose: Text,
    /// What is asked.
    pub questions: Vec<QuestionText>,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QuestionText {
    /// Its id.
    pub id: String,
    /// HTML of what is asked.
    pub ask: Text,
    /// What can be chosen; none where the answer is written.
    pub choices: Vec<ChoiceText>,
    /// True where a number is asked for.
    pub number: bool,
}

/// An answer to choose.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChoiceText {
    /// What is sent where it is chosen.
    pub value: String,
    /// HTML of what it says.
    pub text: Text,
}

/// How far a lab is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The lab's id.
    pub lab: String,
    /// True where it was begun, and its files were handed out.
    pub begun: bool,
    /// Where its files are.
    pub workspace: Option<String>,
    /// The step that is next; none where all are done.
    pub here: Option<String>,
    /// Each step, in order.
    pub steps: Vec<StepState>,
}

/// How far a step is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepState {
    /// Its id.
    pub id: String,
    /// True where it is done.
    pub done: bool,
    /// What was found last; only of the step that is next.
    pub verdict: Option<Verdict>,
    /// True where waiting may be all that is needed.
    pub passing: bool,
    /// Each check, where it was looked at.
    pub checks: Vec<Finding>,
    /// HTML of the hints that were asked for.
    pub hints: Vec<Text>,
    /// How many more hints there are.
    pub hints_left: usize,
    /// Answers that were given, by question.
    pub answers: Vec<AnswerState>,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Stable code of the check.
    pub code: &'static str,
    /// Its name.
    pub name: String,
    /// What it says.
    pub verdict: Verdict,
    /// What the step asks for.
    pub expected: Option<Text>,
    /// What is.
    pub observed: Option<Text>,
    /// Since when it is so.
    pub since: Option<Timestamp>,
    /// Why it does not hold.
    pub cause: Option<Text>,
    /// The command that shows more.
    pub look: Option<String>,
}

/// An answer that was given.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnswerState {
    /// The question's id.
    pub question: String,
    /// What was answered.
    pub value: String,
    /// Whether it is right; none where only a record could tell.
    pub right: Option<bool>,
    /// Why, as HTML.
    pub why: Option<Text>,
}

/// The labs, and how far she is in each.
#[must_use]
pub fn list(labs: &Labs, progress: &Progress) -> Vec<Entry> {
    let entry = |lab: &Lab| Entry {
        name: lab.name.clone(),
        title: lab.title.clone(),
        minutes: lab.minutes,
        done: progress.done_of(lab),
        steps: lab.steps.len(),
    };
    labs.iter().map(entry).collect()
}

impl Lesson {
    /// The text of a lab, with these addresses in it.
    #[must_use]
    pub fn of(labs: &Labs, lab: &Lab, addresses: &Addresses) -> Self {
        let names: Vec<_> = labs.iter().map(|lab| lab.name.as_str()).collect();
        let at = names.iter().position(|name| *name == lab.name);
        let beside = |at: Option<usize>| Some((*names.get(at?)?).to_owned());
        let set = |text: &Text| block(text, addresses);
        Self {
            name: lab.name.clone(),
            title: lab.title.clone(),
            minutes: lab.minutes,
            intro: set(&lab.intro),
            steps: lab
                .steps
                .iter()
                .map(|step| StepText {
                    id: step.id.clone(),
                    heading: words(&step.heading, addresses),
                    prose: set(&step.prose),
                    questions: step
                        .questions
                        .iter()
                        .map(|question| question_text(question, addresses))
                        .collect(),
                })
                .collect(),
            ending: set(&lab.ending),
            previous: beside(at.and_then(|at| at.checked_sub(1))),
            next: beside(at.map(|at| at + 1)),
        }
    }
}

impl State {
    /// How far a lab is. `report` is what was found last of the step that is next.
    #[must_use]
    pub fn of(
        lab: &Lab,
        progress: &Progress,
        report: Option<&StepReport>,
        addresses: &Addresses,
    ) -> Self {
        let here = progress.next_step_of(lab).map(|step| step.id.clone());
        let steps = lab.steps.iter().map(|step| {
            let report = report.filter(|report| report.lab == lab.name && report.step == step.id);
            step_state(lab, step, progress, report, addresses)
        });
        Self {
            lab: lab.name.clone(),
            begun: progress.begun(&lab.name).is_some(),
            workspace: progress
                .workspace(&lab.name)
                .map(|place| place.display().to_string()),
            steps: steps.collect(),
            here,
        }
    }
}

fn step_state(
    lab: &Lab,
    step: &Step,
    progress: &Progress,
    report: Option<&StepReport>,
    addresses: &Addresses,
) -> StepState {
    let shown = progress.hints(&lab.name, &step.id);
    let hints = shown.iter().filter_map(|place| step.hints.get(*place));
    let hints: Vec<_> = hints.map(|hint| block(&hint.text, addresses)).collect();
    let answers = progress.answers(&lab.name, &step.id);
    let questions = step.questions.iter();
    let answers = questions.filter_map(|question| {
        let value = answers.get(&question.id)?;
        Some(answer_state(question, value, addresses))
    });
    StepState {
        id: step.id.clone(),
        done: progress.is_done(&lab.name, step),
        verdict: report.map(|report| report.verdict),
        passing: report.is_some_and(StepReport::is_passing),
        checks: report
            .map(|report| report.checks.iter().map(finding).collect())
            .unwrap_or_default(),
        hints_left: match report {
            // Of those that fit what is wrong, as `hint` counts them.
            Some(report) => {
                let fitting = report.hints(step).into_iter();
                let place = |hint| step.hints.iter().position(|other| other == hint);
                let fitting = fitting.filter_map(place);
                fitting.filter(|place| !shown.contains(place)).count()
            }
            None => {
                let always = step.hints.iter().enumerate();
                let always = always.filter(|(_, hint)| hint.when.is_none());
                always.filter(|(place, _)| !shown.contains(place)).count()
            }
        },
        hints,
        answers: answers.collect(),
    }
}

fn answer_state(question: &Question, value: &str, addresses: &Addresses) -> AnswerState {
    use lab_checks::answers::Judgement;
    let (right, why) = match question.judge(value, |_| None) {
        Judgement::Right(why) => (Some(true), why),
        Judgement::Wrong(why) => (Some(false), why),
        Judgement::NoChoice | Judgement::NoNumber => (Some(false), None),
        Judgement::NoRecord => (None, None),
    };
    AnswerState {
        question: question.id.clone(),
        value: value.to_owned(),
        right,
        why: why.map(|why| words(&why, addresses)),
    }
}

fn question_text(question: &Question, addresses: &Addresses) -> QuestionText {
    let choices = match &question.answer {
        Answer::Choice(choices) => choices.as_slice(),
        Answer::Number { .. } | Answer::Text(_) | Answer::Recorded { .. } => &[],
    };
    let choices = choices.iter().zip(1..).map(|(choice, number)| ChoiceText {
        value: number.to_string(),
        text: words(&choice.text, addresses),
    });
    QuestionText {
        id: question.id.clone(),
        ask: words(&question.ask, addresses),
        choices: choices.collect(),
        number: matches!(
            question.answer,
            Answer::Number { .. } | Answer::Recorded { .. }
        ),
    }
}

fn finding(report: &CheckReport) -> Finding {
    let CheckReport {
        code,
        name,
        outcome,
    } = report;
    let evidence = match outcome {
        Outcome::Holds { evidence } | Outcome::NotYet { evidence, .. } => Some(evidence),
        Outcome::CouldNotRun { .. } => None,
    };
    let diagnosis = outcome.diagnosis();
    Finding {
        code,
        name: name.clone(),
        verdict: outcome.verdict(),
        expected: evidence.map(|evidence| both(|language| evidence.expected.text(language))),
        observed: evidence.map(|evidence| both(|language| evidence.observed.text(language))),
        since: evidence.and_then(|evidence| evidence.since),
        cause: diagnosis.map(|diagnosis| both(|language| diagnosis.text(language))),
        look: diagnosis.and_then(lab_checks::diagnosis::Diagnosis::look),
    }
}

/// Why an answer is worth what it is, as HTML.
pub(crate) fn why(text: &Text) -> Text {
    both(|language| markdown::inline(text.get(language)))
}

/// A text in every language.
fn both(text: impl Fn(Language) -> String) -> Text {
    Text {
        en: text(Language::En),
        fr: text(Language::Fr),
    }
}

fn block(text: &Text, addresses: &Addresses) -> Text {
    both(|language| markdown::html(&addresses.fill(text.get(language))))
}

fn words(text: &Text, addresses: &Addresses) -> Text {
    both(|language| markdown::inline(&addresses.fill(text.get(language))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lab_becomes_a_page_with_the_learners_own_addresses() {
        let labs = Labs::embedded().unwrap();
        let addresses = Addresses {
            production: "http://127.0.0.1:4711".to_owned(),
            registry: "localhost:4712".to_owned(),
            ..Addresses::default()
        };
        for lab in labs.iter() {
            let lesson = Lesson::of(&labs, lab, &addresses);
            let page = serde_json::to_string(&lesson).unwrap();
            for hole in [
                "{{production}}",
                "{{registry}}",
                "{{test}}",
                "127.0.0.1:8080",
            ] {
                assert!(!page.contains(hole), "{}: {hole}", lab.name);
            }
            assert_eq!(lesson.steps.len(), lab.steps.len());
        }
        let names: Vec<_> = labs.iter().map(|lab| lab.name.clone()).collect();
        let first = Lesson::of(&labs, labs.iter().next().unwrap(), &addresses);
        assert_eq!((first.previous, first.next.as_ref()), (None, names.get(1)));
        let last = Lesson::of(&labs, labs.iter().last().unwrap(), &addresses);
        assert_eq!(last.next, None);
    }

    #[test]
    fn hints_and_answers_are_shown_as_far_as_she_went() {
        let labs = Labs::embedded().unwrap();
        let lab = labs.get("meet-the-cluster").unwrap();
        let mut progress = Progress::default();
        progress.answer(lab, "app", "what-changes", "2");
        let last = lab.step("app").unwrap().hints.len() - 1;
        progress.show_hint(lab, "app", last);
        let state = State::of(lab, &progress, None, &Addresses::default());
        assert_eq!(state.here.as_deref(), Some("nodes"));
        let step = state.steps.iter().find(|step| step.id == "app").unwrap();
        assert_eq!((step.hints.len(), step.hints_left), (1, 0));
        assert_eq!(step.answers[0].right, Some(false));
        let why = step.answers[0].why.as_ref().unwrap();
        assert!(
            why.en.contains("1.0.0") && why.fr.contains("1.0.0"),
            "{why:?}"
        );
    }
}
