//! What the types of `lab.yaml` cannot say: names, checks, questions, diagnoses.

use std::collections::HashSet;

use serde_saphyr::{Location, Spanned};

use super::at;
use super::file::{CauseFile, CheckFile, HintFile, LabFile, MistakeFile, QuestionFile, StepFile};
use crate::checks::{self, CheckInput};
use crate::diagnosis::Diagnosis;
use crate::language::Text;
use crate::problem::{Problem, nearest};
use crate::prose::END;

/// The check that looks at the answers to questions.
const ANSWERED: &str = "answered";

/// Reports every fault of the structure that can be seen without other files.
pub(super) fn structure(file: &str, lab: &LabFile, problems: &mut Vec<Problem>) {
    Lint { file, problems }.lab(lab);
}

struct Lint<'a> {
    file: &'a str,
    problems: &'a mut Vec<Problem>,
}

impl Lint<'_> {
    fn report(&mut self, place: Location, message: String, hint: Option<String>) {
        let problem = at(Problem::of_file(self.file, message), place);
        self.problems.push(Problem { hint, ..problem });
    }

    fn lab(&mut self, lab: &LabFile) {
        self.name(&lab.metadata.name, "metadata.name");
        self.text(&lab.title, "the title");
        if lab.minutes.value == 0 {
            self.report(
                lab.minutes.referenced,
                "a lab takes at least a minute".to_owned(),
                None,
            );
        }
        if lab.steps.value.is_empty() {
            self.report(
                lab.steps.referenced,
                "a lab has at least one step".to_owned(),
                None,
            );
        }
        if let (None, Some(version)) = (&lab.app, lab.versions.first()) {
            let hint = Some("name it in `app:`".to_owned());
            let message = "there are versions but no app".to_owned();
            self.report(version.referenced, message, hint);
        }
        let start = lab.start.iter().flat_map(|start| &start.value.checks);
        start.for_each(|check| self.check(check, &[]));
        let ids = lab.steps.value.iter().map(|step| &step.id);
        self.unique(ids, "step");
        lab.steps.value.iter().for_each(|step| self.step(step));
        let ids = lab.mistakes.iter().map(|mistake| &mistake.id);
        self.unique(ids, "mistake");
        for mistake in &lab.mistakes {
            self.mistake(mistake, &lab.steps.value);
        }
    }

    fn unique<'a>(&mut self, ids: impl Iterator<Item = &'a Spanned<String>>, what: &str) {
        let mut seen = HashSet::new();
        for id in ids {
            if !seen.insert(id.value.as_str()) {
                let message = format!("{what} {:?} is there twice", id.value);
                self.report(id.referenced, message, None);
            }
        }
    }

    fn name(&mut self, name: &Spanned<String>, what: &str) {
        if !lab_api::names::is_dns_label(&name.value) {
            let message = format!(
                "{what} {:?} is not made of lower-case letters, digits and -",
                name.value
            );
            self.report(name.referenced, message, None);
        }
    }

    fn text(&mut self, text: &Spanned<Text>, what: &str) {
        self.languages(text.referenced, &text.value.en, &text.value.fr, what);
    }

    fn languages(&mut self, place: Location, en: &str, fr: &str, what: &str) {
        for (language, text) in [("en", en), ("fr", fr)] {
            if text.trim().is_empty() {
                self.report(place, format!("{what} says nothing in {language}"), None);
            }
        }
    }

    fn step(&mut self, step: &StepFile) {
        self.name(&step.id, "a step's id");
        if step.id.value == END {
            let hint = Some(format!("the section {{#{END}}} of the prose needs no step"));
            self.report(
                step.id.referenced,
                format!("no step may be called {END:?}"),
                hint,
            );
        }
        self.unique(
            step.questions.iter().map(|question| &question.id),
            "question",
        );
        for question in &step.questions {
            self.question(question);
        }
        let asks = step.questions.first();
        let mut checks = step.checks.iter();
        if let Some(question) = asks.filter(|_| !checks.any(|it| it.check.value == ANSWERED)) {
            let message = format!("nothing looks at the answers of step {:?}", step.id.value);
            let hint = Some(format!("add the check `use: {ANSWERED}`"));
            self.report(question.id.referenced, message, hint);
        }
        for check in &step.checks {
            self.check(check, &step.questions);
        }
        for hint in &step.hints {
            let HintFile { en, fr, when } = &hint.value;
            self.languages(hint.referenced, en, fr, "a hint");
            if let Some(when) = when {
                self.diagnosis(when, &step.checks);
            }
        }
    }

    fn question(&mut self, question: &QuestionFile) {
        let QuestionFile {
            id,
            ask,
            choice,
            number,
            text,
            recorded,
        } = question;
        self.name(id, "a question's id");
        self.text(ask, &format!("question {:?}", id.value));
        let forms = [
            choice.is_some(),
            number.is_some(),
            text.is_some(),
            recorded.is_some(),
        ];
        if forms.iter().filter(|form| **form).count() != 1 {
            let message = format!("question {:?} has not one form of answer", id.value);
            let hint = "give it one of choice, number, text, recorded".to_owned();
            self.report(id.referenced, message, Some(hint));
        }
        let right = choice.iter().flatten().filter(|choice| choice.correct);
        if choice.is_some() && right.count() != 1 {
            let message = format!("question {:?} has not one right choice", id.value);
            let hint = "mark one with `correct: true`".to_owned();
            self.report(id.referenced, message, Some(hint));
        }
        if choice.as_ref().is_some_and(|choices| choices.len() < 2) {
            let message = format!("question {:?} leaves no choice", id.value);
            self.report(id.referenced, message, None);
        }
        if text.as_ref().is_some_and(Vec::is_empty) {
            let message = format!("question {:?} has no right answer", id.value);
            self.report(id.referenced, message, None);
        }
    }

    fn check(&mut self, check: &CheckFile, questions: &[QuestionFile]) {
        let CheckFile {
            check: name,
            with,
            causes,
        } = check;
        self.unique(causes.iter().map(|cause| &cause.id), "cause");
        for cause in causes {
            self.cause(cause);
        }
        let Some(def) = checks::find(&name.value) else {
            let near = nearest(&name.value, checks::ALL.iter().map(|check| check.name));
            let hint = near.map_or_else(
                || "devops-lab lab checks tells all of them".to_owned(),
                |near| format!("did you mean {near}?"),
            );
            let message = format!("there is no check {:?}", name.value);
            self.report(name.referenced, message, Some(hint));
            return;
        };
        let questions = questions.iter().filter_map(QuestionFile::question);
        let input = CheckInput {
            with: with.clone(),
            causes: Vec::new(),
            questions: questions.collect(),
        };
        if let Err(error) = (def.accepts)(&input) {
            let message = format!("check {:?}: {error}", name.value);
            self.report(name.referenced, message, None);
            return;
        }
        // One at a time, to say at each what is wrong with it.
        for cause in causes {
            let input = CheckInput {
                causes: vec![cause.cause()],
                ..input.clone()
            };
            if let Err(error) = (def.accepts)(&input) {
                let message = format!("check {:?}: {error}", name.value);
                self.report(cause.id.referenced, message, None);
            }
        }
    }

    fn cause(&mut self, cause: &CauseFile) {
        let CauseFile { id, en, fr, .. } = cause;
        self.name(id, "a cause's id");
        self.languages(id.referenced, en, fr, &format!("cause {:?}", id.value));
        if Diagnosis::is_built_in(&id.value) {
            let message = format!("{:?} is a diagnosis of devops-lab itself", id.value);
            let hint = Some("call it otherwise, so that a hint can tell them apart".to_owned());
            self.report(id.referenced, message, hint);
        }
    }

    fn mistake(&mut self, mistake: &MistakeFile, steps: &[StepFile]) {
        let MistakeFile {
            id,
            step,
            diagnosis,
        } = mistake;
        self.name(id, "a mistake's id");
        let Some(spoiled) = steps.iter().find(|it| it.id.value == step.value) else {
            let near = nearest(&step.value, steps.iter().map(|step| step.id.value.as_str()));
            let hint = near.map(|near| format!("did you mean {near}?"));
            let message = format!("there is no step {:?}", step.value);
            self.report(step.referenced, message, hint);
            return;
        };
        if spoiled.checks.is_empty() {
            let message = format!(
                "step {:?} has no check that a mistake could fail",
                step.value
            );
            self.report(step.referenced, message, None);
        }
        self.diagnosis(diagnosis, &spoiled.checks);
    }

    /// Whether a diagnosis is known, to the program or to one of the step's checks.
    fn diagnosis(&mut self, id: &Spanned<String>, checks: &[CheckFile]) {
        let causes = checks.iter().flat_map(|check| &check.causes);
        let own: Vec<_> = causes.map(|cause| cause.id.value.as_str()).collect();
        if own.contains(&id.value.as_str()) || Diagnosis::is_built_in(&id.value) {
            return;
        }
        let near = nearest(&id.value, Diagnosis::IDS.iter().copied().chain(own));
        let hint = near.map(|near| format!("did you mean {near}?"));
        self.report(
            id.referenced,
            format!("there is no diagnosis {:?}", id.value),
            hint,
        );
    }
}
