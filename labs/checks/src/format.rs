//! `lab.yaml`: the structure of a lab, one for all languages.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::{Location, Spanned};

use crate::checks;
use crate::diagnosis::Diagnosis;
use crate::lab::{CheckUse, Hint, Lab, Mistake, Step};
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
    steps: Spanned<Vec<StepFile>>,
    #[serde(default)]
    mistakes: Vec<MistakeFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepFile {
    id: Spanned<String>,
    #[serde(default)]
    checks: Vec<CheckFile>,
    #[serde(default)]
    hints: Vec<HintFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckFile {
    #[serde(rename = "use")]
    check: Spanned<String>,
    #[serde(default = "no_parameters")]
    with: Value,
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
        for step in &lab.steps.value {
            self.name(&step.id, "a step's id");
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
            step.checks.iter().for_each(|check| self.check(check));
            step.hints
                .iter()
                .filter_map(|hint| hint.when.as_ref())
                .for_each(|when| self.diagnosis(when));
        }
        for mistake in &lab.mistakes {
            self.diagnosis(&mistake.diagnosis);
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

    fn check(&mut self, check: &CheckFile) {
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
        if let Err(error) = (def.accepts)(&check.with) {
            self.report(
                name.referenced,
                format!("check {:?}: {error}", name.value),
                None,
            );
        }
    }

    fn diagnosis(&mut self, id: &Spanned<String>) {
        if !Diagnosis::IDS.contains(&id.value.as_str()) {
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
    let StepFile { id, checks, hints } = file;
    let checks = checks
        .into_iter()
        .map(|CheckFile { check, with }| CheckUse {
            check: check.value,
            with,
        });
    let hints = hints.into_iter().map(|HintFile { en, fr, when }| Hint {
        text: Text { en, fr },
        when: when.map(|when| when.value),
    });
    Step {
        id: id.value,
        checks: checks.collect(),
        hints: hints.collect(),
        ..Step::default()
    }
}
