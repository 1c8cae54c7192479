//! `lab.yaml`: the structure of a lab, one for all languages.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::{Location, Spanned};

use crate::checks::{self, CheckInput};
use crate::diagnosis::Diagnosis;
use crate::lab::{
    Activation, Answer, Cause, CheckUse, Choice, Figure, Hint, Lab, Mistake, Question, Step,
};
use crate::language::Text;
use crate::problem::{Problem, nearest};
use crate::prose::END;

/// The format that this program reads.
const API_VERSION: &str = "devops-lab.dev/v1";
const KIND: &str = "Lab";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct LabFile {
    /// Looked at by [`header`] before anything else.
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    metadata: Metadata,
    title: Text,
    minutes: Spanned<u16>,
    #[serde(default)]
    prerequisites: Vec<String>,
    app: Option<String>,
    #[serde(default)]
    versions: Vec<String>,
    #[serde(default)]
    start: StartFile,
    steps: Spanned<Vec<StepFile>>,
    #[serde(default)]
    mistakes: Vec<MistakeFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: Spanned<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct StartFile {
    #[serde(default)]
    checks: Vec<CheckFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepFile {
    id: Spanned<String>,
    #[serde(default)]
    given: bool,
    #[serde(default)]
    activation: Activation,
    #[serde(default)]
    questions: Vec<QuestionFile>,
    #[serde(default)]
    checks: Vec<CheckFile>,
    #[serde(default)]
    hints: Vec<HintFile>,
}

/// Exactly one of `choice`, `number`, `text`, `recorded`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuestionFile {
    id: Spanned<String>,
    ask: Text,
    choice: Option<Vec<ChoiceFile>>,
    number: Option<NumberFile>,
    text: Option<Vec<String>>,
    recorded: Option<RecordedFile>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChoiceFile {
    en: String,
    fr: String,
    #[serde(default)]
    correct: bool,
    #[serde(default)]
    why: Text,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct NumberFile {
    value: f64,
    #[serde(default)]
    within: f64,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RecordedFile {
    figure: Figure,
    within_percent: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CauseFile {
    id: Spanned<String>,
    when: Option<String>,
    en: String,
    fr: String,
    look: Option<String>,
}

impl CauseFile {
    fn cause(&self) -> Cause {
        let Self {
            id,
            when,
            en,
            fr,
            look,
        } = self;
        Cause {
            id: id.value.clone(),
            when: when.clone(),
            text: Text {
                en: en.clone(),
                fr: fr.clone(),
            },
            look: look.clone(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckFile {
    #[serde(rename = "use")]
    check: Spanned<String>,
    #[serde(default = "no_parameters")]
    with: Value,
    #[serde(default)]
    causes: Vec<CauseFile>,
}

fn no_parameters() -> Value {
    Value::Object(serde_json::Map::new())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HintFile {
    en: String,
    fr: String,
    when: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MistakeFile {
    id: String,
    step: Spanned<String>,
    diagnosis: Spanned<String>,
}

/// What every version of the format has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    api_version: Option<Spanned<String>>,
    kind: Option<Spanned<String>>,
}

/// Reads the structure; the prose is still empty. None where it cannot be read at all.
pub(crate) fn parse(file: &str, text: &str, problems: &mut Vec<Problem>) -> Option<Lab> {
    if let Err(problem) = header(file, text) {
        problems.push(*problem);
        return None;
    }
    let read: LabFile = match serde_saphyr::from_str(text) {
        Ok(read) => read,
        Err(error) => {
            problems.push(syntax(file, &error));
            return None;
        }
    };
    let mut lint = Lint { file, problems };
    lint.structure(&read);
    Some(lab(read))
}

fn syntax(file: &str, error: &serde_saphyr::Error) -> Problem {
    let (line, column) = error
        .location()
        .map_or((0, 0), |place| (place.line(), place.column()));
    let text = error.without_snippet().to_string();
    let message = text.lines().next().unwrap_or_default();
    // The parser repeats the place at the end, as "… at line 3, column 5".
    let message = message.split(" at line ").next().unwrap_or(message);
    Problem::of_file(file, message).at(line, column)
}

/// Refuses what a newer program wrote with a word about that, not about an unknown field.
fn header(file: &str, text: &str) -> Result<(), Box<Problem>> {
    let header: Header =
        serde_saphyr::from_str(text).map_err(|error| Box::new(syntax(file, &error)))?;
    let lacks = |field: &str, value: &str| {
        Box::new(
            Problem::of_file(file, format!("{field} is missing"))
                .hint(format!("begin with `{field}: {value}`")),
        )
    };
    let version = header
        .api_version
        .ok_or_else(|| lacks("apiVersion", API_VERSION))?;
    if version.value != API_VERSION {
        let message = format!(
            "this lab is written in format {:?}; this devops-lab reads {API_VERSION:?}",
            version.value
        );
        let problem = at(Problem::of_file(file, message), version.referenced);
        return Err(Box::new(
            problem.hint("a newer lab needs a newer devops-lab"),
        ));
    }
    let kind = header.kind.ok_or_else(|| lacks("kind", KIND))?;
    if kind.value != KIND {
        let message = format!("kind is {:?} where {KIND:?} is expected", kind.value);
        return Err(Box::new(at(
            Problem::of_file(file, message),
            kind.referenced,
        )));
    }
    Ok(())
}

fn at(problem: Problem, place: Location) -> Problem {
    problem.at(place.line(), place.column())
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

    fn structure(&mut self, lab: &LabFile) {
        self.name(&lab.metadata.name, "metadata.name");
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
        let mut ids = HashSet::new();
        let start = &lab.start.checks;
        start.iter().for_each(|check| self.check(check, &[]));
        for step in &lab.steps.value {
            self.name(&step.id, "a step's id");
            self.questions(&step.questions);
            if !ids.insert(step.id.value.as_str()) {
                self.report(
                    step.id.referenced,
                    format!("step {:?} is there twice", step.id.value),
                    None,
                );
            }
            if step.id.value == END {
                let hint = Some(format!("the section {{#{END}}} of the prose needs no step"));
                self.report(
                    step.id.referenced,
                    format!("no step may be called {END:?}"),
                    hint,
                );
            }
            let asked = &step.questions;
            step.checks
                .iter()
                .for_each(|check| self.check(check, asked));
            step.hints
                .iter()
                .filter_map(|hint| hint.when.as_ref())
                .for_each(|when| self.diagnosis(when, &step.checks));
        }
        let checks = |id: &str| {
            let mut steps = lab.steps.value.iter();
            let step = steps.find(|step| step.id.value == id);
            step.map_or(&[][..], |step| &step.checks)
        };
        for mistake in &lab.mistakes {
            self.diagnosis(&mistake.diagnosis, checks(&mistake.step.value));
            if !ids.contains(mistake.step.value.as_str()) {
                let message = format!("there is no step {:?}", mistake.step.value);
                self.report(mistake.step.referenced, message, None);
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

    fn check(&mut self, check: &CheckFile, asked: &[QuestionFile]) {
        let name = &check.check;
        let Some(def) = checks::find(&name.value) else {
            let near = nearest(&name.value, checks::ALL.iter().map(|check| check.name));
            let hint = near.map(|near| format!("did you mean {near}?"));
            self.report(
                name.referenced,
                format!("there is no check {:?}", name.value),
                hint,
            );
            return;
        };
        let input = CheckInput {
            with: check.with.clone(),
            causes: check.causes.iter().map(CauseFile::cause).collect(),
            questions: asked.iter().cloned().filter_map(question).collect(),
        };
        if let Err(error) = (def.accepts)(&input) {
            self.report(
                name.referenced,
                format!("check {:?}: {error}", name.value),
                None,
            );
        }
    }

    fn questions(&mut self, questions: &[QuestionFile]) {
        let mut ids = HashSet::new();
        for question in questions {
            self.name(&question.id, "a question's id");
            if !ids.insert(question.id.value.as_str()) {
                let message = format!("question {:?} is there twice", question.id.value);
                self.report(question.id.referenced, message, None);
            }
            let QuestionFile {
                id,
                ask: _,
                choice,
                number,
                text,
                recorded,
            } = question;
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
        }
    }

    /// Whether a diagnosis is known, to the program or to one of the step's checks.
    fn diagnosis(&mut self, id: &Spanned<String>, checks: &[CheckFile]) {
        let mut causes = checks.iter().flat_map(|check| &check.causes);
        if causes.any(|cause| cause.id.value == id.value) {
            return;
        }
        if !Diagnosis::is_built_in(&id.value) {
            let near = nearest(&id.value, Diagnosis::IDS.iter().copied());
            let hint = near.map(|near| format!("did you mean {near}?"));
            self.report(
                id.referenced,
                format!("there is no diagnosis {:?}", id.value),
                hint,
            );
        }
    }
}

fn lab(file: LabFile) -> Lab {
    let LabFile {
        metadata,
        title,
        minutes,
        prerequisites,
        app,
        versions,
        start,
        steps,
        mistakes,
        _api_version,
        _kind,
    } = file;
    Lab {
        folder: String::new(),
        name: metadata.name.value,
        title,
        minutes: minutes.value,
        prerequisites,
        app,
        versions,
        start: start.checks.into_iter().map(check_use).collect(),
        intro: Text::default(),
        steps: steps.value.into_iter().map(step).collect(),
        ending: Text::default(),
        mistakes: mistakes
            .into_iter()
            .map(
                |MistakeFile {
                     id,
                     step,
                     diagnosis,
                 }| Mistake {
                    id,
                    step: step.value,
                    diagnosis: diagnosis.value,
                },
            )
            .collect(),
    }
}

fn step(file: StepFile) -> Step {
    let StepFile {
        id,
        given,
        activation,
        questions,
        checks,
        hints,
    } = file;
    let hints = hints.into_iter().map(|HintFile { en, fr, when }| Hint {
        text: Text { en, fr },
        when: when.map(|when| when.value),
    });
    Step {
        id: id.value,
        checks: checks.into_iter().map(check_use).collect(),
        hints: hints.collect(),
        given,
        activation,
        questions: questions.into_iter().filter_map(question).collect(),
        ..Step::default()
    }
}

fn check_use(file: CheckFile) -> CheckUse {
    let CheckFile {
        check,
        with,
        causes,
    } = file;
    CheckUse {
        check: check.value,
        with,
        causes: causes.iter().map(CauseFile::cause).collect(),
    }
}

/// None where no form of answer is given, which was reported.
fn question(file: QuestionFile) -> Option<Question> {
    let QuestionFile {
        id,
        ask,
        choice,
        number,
        text,
        recorded,
    } = file;
    let choice = choice.map(|choices| {
        let choices = choices.into_iter().map(|choice| {
            let ChoiceFile {
                en,
                fr,
                correct,
                why,
            } = choice;
            Choice {
                text: Text { en, fr },
                correct,
                why,
            }
        });
        Answer::Choice(choices.collect())
    });
    let number = number.map(|NumberFile { value, within }| Answer::Number { value, within });
    let recorded = recorded.map(
        |RecordedFile {
             figure,
             within_percent,
         }| Answer::Recorded {
            figure,
            within_percent,
        },
    );
    let answer = choice.or(number).or(text.map(Answer::Text)).or(recorded)?;
    Some(Question {
        id: id.value,
        ask,
        answer,
    })
}
