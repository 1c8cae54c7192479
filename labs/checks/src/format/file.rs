//! The types that read `lab.yaml`, from which its JSON Schema is made too. What they say about
//! fields is what authors read in their editors.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::{Value, json};
use serde_saphyr::Spanned;

use crate::checks;
use crate::lab::{
    Activation, Answer, Cause, CheckUse, Choice, Figure, Hint, Lab, Mistake, Question, Step,
};
use crate::language::Text;

/// A lab of devops-lab: its steps, their checks and hints, one file for all languages.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(title = "Lab")]
pub(crate) struct LabFile {
    /// The format that the file is written in.
    #[serde(rename = "apiVersion")]
    #[schemars(extend("const" = "devops-lab.dev/v1"))]
    pub(super) _api_version: String,
    /// What the file describes.
    #[serde(rename = "kind")]
    #[schemars(extend("const" = "Lab"))]
    pub(super) _kind: String,
    pub(super) metadata: Metadata,
    /// Title, in every language.
    #[schemars(with = "Text")]
    pub(super) title: Spanned<Text>,
    /// How long it takes, in minutes.
    #[schemars(with = "u16", range(min = 1))]
    pub(super) minutes: Spanned<u16>,
    /// Names of labs to do before.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) prerequisites: Vec<Spanned<String>>,
    /// The sample application that is handed out, such as hello: one of the program's own, or
    /// apps/NAME beside the folders of the labs.
    #[schemars(with = "Option<String>")]
    pub(super) app: Option<Spanned<String>>,
    /// Later versions of the application that are handed out too, below APP/versions.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) versions: Vec<Spanned<String>>,
    /// What must hold for the lab to begin.
    #[schemars(with = "StartFile")]
    #[serde(default)]
    pub(super) start: Option<Spanned<StartFile>>,
    /// The steps, in order.
    #[schemars(with = "Vec<StepFile>", length(min = 1))]
    pub(super) steps: Spanned<Vec<StepFile>>,
    /// How learners go wrong, for those who test the lab.
    #[serde(default)]
    pub(super) mistakes: Vec<MistakeFile>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Metadata {
    /// Name of the lab, by which people and progress refer to it.
    #[schemars(with = "String", regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub(super) name: Spanned<String>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StartFile {
    /// The script start.sh beside this file brings these about.
    #[serde(default)]
    pub(super) checks: Vec<CheckFile>,
}

/// A step. Its prose is the section with its id in en.md and fr.md.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StepFile {
    /// Its id, unique in the lab.
    #[schemars(with = "String", regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub(super) id: Spanned<String>,
    /// True where it may hold before the learner does anything, as where she only looks around.
    #[serde(default)]
    pub(super) given: bool,
    /// Whether it stays done.
    #[serde(default)]
    pub(super) activation: Activation,
    /// What she is asked; the check "answered" looks at the answers.
    #[serde(default)]
    pub(super) questions: Vec<QuestionFile>,
    /// What must hold for the step to be done.
    #[serde(default)]
    pub(super) checks: Vec<CheckFile>,
    /// Hints, in rising order.
    #[serde(default)]
    #[schemars(with = "Vec<HintFile>")]
    pub(super) hints: Vec<Spanned<HintFile>>,
}

/// A question, with exactly one of choice, number, text, recorded.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct QuestionFile {
    /// Its id, unique in the step.
    #[schemars(with = "String", regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub(super) id: Spanned<String>,
    /// What is asked, in every language.
    #[schemars(with = "Text")]
    pub(super) ask: Spanned<Text>,
    /// One of these is right.
    #[schemars(length(min = 2))]
    pub(super) choice: Option<Vec<ChoiceFile>>,
    /// A number.
    pub(super) number: Option<NumberFile>,
    /// Words; each of these forms is right, case and space around them aside.
    #[schemars(length(min = 1))]
    pub(super) text: Option<Vec<String>>,
    /// A figure of the learner's own record of traffic.
    pub(super) recorded: Option<RecordedFile>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChoiceFile {
    /// What it says, in English.
    pub(super) en: String,
    /// What it says, in French.
    pub(super) fr: String,
    /// Whether it is right.
    #[serde(default)]
    pub(super) correct: bool,
    /// Why it is right or wrong, said once it was chosen.
    #[serde(default)]
    pub(super) why: Text,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NumberFile {
    /// The right one.
    pub(super) value: f64,
    /// By how much it may be off.
    #[serde(default)]
    pub(super) within: f64,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RecordedFile {
    /// Which figure.
    pub(super) figure: Figure,
    /// By how much it may be off, in per cent of it.
    pub(super) within_percent: f64,
}

/// A cause that the lab names itself.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CauseFile {
    /// Its id, to which hints and mistakes refer.
    #[schemars(with = "String", regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub(super) id: Spanned<String>,
    /// When it is the cause: an expression of CEL over what the check looked at. The first that is
    /// true is named; one without an expression, where no other is.
    pub(super) when: Option<String>,
    /// What it says, in English.
    pub(super) en: String,
    /// What it says, in French.
    pub(super) fr: String,
    /// The command that shows more.
    pub(super) look: Option<String>,
}

impl CauseFile {
    pub(super) fn cause(&self) -> Cause {
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
pub(super) struct CheckFile {
    #[serde(rename = "use")]
    pub(super) check: Spanned<String>,
    #[serde(default = "no_parameters")]
    pub(super) with: Value,
    #[serde(default)]
    pub(super) causes: Vec<CauseFile>,
}

fn no_parameters() -> Value {
    Value::Object(serde_json::Map::new())
}

/// One form per check, each with its own parameters.
impl JsonSchema for CheckFile {
    fn schema_name() -> Cow<'static, str> {
        "Check".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let causes = generator.subschema_for::<Vec<CauseFile>>();
        let form = |check: &checks::CheckDef| {
            let with = (check.schema)().to_value();
            let asks = with.get("required").is_some();
            json!({
                "description": check.help,
                "type": "object",
                "properties": {"use": {"const": check.name}, "with": with, "causes": causes},
                "required": if asks { vec!["use", "with"] } else { vec!["use"] },
                "additionalProperties": false,
            })
        };
        let forms: Vec<_> = checks::ALL.iter().map(form).collect();
        json_schema!({"description": "A check and its parameters.", "oneOf": forms})
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HintFile {
    /// What it says, in English, in Markdown.
    pub(super) en: String,
    /// What it says, in French, in Markdown.
    pub(super) fr: String,
    /// Id of the diagnosis that it answers; without one it fits always.
    #[schemars(with = "Option<String>")]
    pub(super) when: Option<Spanned<String>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MistakeFile {
    /// Name of its script, mistakes/ID.sh.
    #[schemars(with = "String", regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub(super) id: Spanned<String>,
    /// The step that it spoils.
    #[schemars(with = "String")]
    pub(super) step: Spanned<String>,
    /// Id of the diagnosis that it must get.
    #[schemars(with = "String")]
    pub(super) diagnosis: Spanned<String>,
}

fn plain<T>(list: Vec<Spanned<T>>) -> Vec<T> {
    list.into_iter().map(|item| item.value).collect()
}

impl LabFile {
    /// The lab as it is used; the prose is still empty.
    pub(super) fn lab(self) -> Lab {
        let Self {
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
        } = self;
        let start = start.map(|start| start.value).unwrap_or_default();
        Lab {
            folder: String::new(),
            name: metadata.name.value,
            title: title.value,
            minutes: minutes.value,
            prerequisites: plain(prerequisites),
            app: app.map(|app| app.value),
            versions: plain(versions),
            start: start.checks.into_iter().map(CheckFile::check_use).collect(),
            intro: Text::default(),
            steps: steps.value.into_iter().map(StepFile::step).collect(),
            ending: Text::default(),
            mistakes: mistakes.into_iter().map(MistakeFile::mistake).collect(),
        }
    }
}

impl StepFile {
    fn step(self) -> Step {
        let Self {
            id,
            given,
            activation,
            questions,
            checks,
            hints,
        } = self;
        let hints = plain(hints)
            .into_iter()
            .map(|HintFile { en, fr, when }| Hint {
                text: Text { en, fr },
                when: when.map(|when| when.value),
            });
        Step {
            id: id.value,
            checks: checks.into_iter().map(CheckFile::check_use).collect(),
            hints: hints.collect(),
            given,
            activation,
            questions: questions
                .iter()
                .filter_map(QuestionFile::question)
                .collect(),
            ..Step::default()
        }
    }
}

impl CheckFile {
    fn check_use(self) -> CheckUse {
        let Self {
            check,
            with,
            causes,
        } = self;
        CheckUse {
            check: check.value,
            with,
            causes: causes.iter().map(CauseFile::cause).collect(),
        }
    }
}

impl QuestionFile {
    /// None where no form of answer is given.
    pub(super) fn question(&self) -> Option<Question> {
        let Self {
            id,
            ask,
            choice,
            number,
            text,
            recorded,
        } = self;
        let choice = choice.as_ref().map(|choices| {
            let choices = choices.iter().map(|choice| {
                let ChoiceFile {
                    en,
                    fr,
                    correct,
                    why,
                } = choice;
                Choice {
                    text: Text {
                        en: en.clone(),
                        fr: fr.clone(),
                    },
                    correct: *correct,
                    why: why.clone(),
                }
            });
            Answer::Choice(choices.collect())
        });
        let number = number.as_ref().map(|number| Answer::Number {
            value: number.value,
            within: number.within,
        });
        let recorded = recorded.as_ref().map(|recorded| Answer::Recorded {
            figure: recorded.figure,
            within_percent: recorded.within_percent,
        });
        let text = text.clone().map(Answer::Text);
        let answer = choice.or(number).or(text).or(recorded)?;
        Some(Question {
            id: id.value.clone(),
            ask: ask.value.clone(),
            answer,
        })
    }
}

impl MistakeFile {
    fn mistake(self) -> Mistake {
        let Self {
            id,
            step,
            diagnosis,
        } = self;
        Mistake {
            id: id.value,
            step: step.value,
            diagnosis: diagnosis.value,
        }
    }
}
