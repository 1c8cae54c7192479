//! K014: the questions of the step have right answers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckDef, CheckInput, accepts, read, schema, start_with};
use crate::answers::Judgement;
use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::expression::shortened;
use crate::fact::Fact;
use crate::lab::{Answer, Cause, Figure, Question};
use crate::language::{Language, Text};
use crate::outcome::{Evidence, Outcome};
use crate::readers::traffic_record::{TrafficFigures, TrafficRecord};

const NAME: &str = "answered";

pub(super) const DEF: CheckDef = CheckDef {
    code: "K014",
    name: NAME,
    help: "The question `question` of the step has a right answer; without it, every question of the step. Answers \
        are given with `devops-lab answer`. A `recorded` question is compared with the latest run of the learner's \
        own `devops-lab traffic`.",
    schema: schema::<With>,
    accepts: accept,
    run: |context, input| start_with(NAME, run, context, input),
};

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    question: Option<String>,
}

fn accept(input: &CheckInput) -> Result<(), String> {
    accepts::<With>(input)?;
    let with: With = read(&input.with)?;
    if !asked(&with, &input.questions).is_empty() {
        return Ok(());
    }
    Err(match with.question {
        Some(question) => format!("the step has no question {question:?}"),
        None => "the step has no questions".to_owned(),
    })
}

/// The questions that are looked at.
fn asked<'a>(with: &With, questions: &'a [Question]) -> Vec<&'a Question> {
    let wanted = |question: &&Question| {
        let wanted = with.question.as_ref();
        wanted.is_none_or(|wanted| *wanted == question.id)
    };
    questions.iter().filter(wanted).collect()
}

async fn run(context: CheckContext, with: With, input: CheckInput) -> Result<Outcome, Diagnosis> {
    accept(&input).map_err(|problem| Diagnosis::BadParameters {
        check: NAME.to_owned(),
        problem,
    })?;
    let questions = asked(&with, &input.questions);
    let recorded = questions
        .iter()
        .any(|question| matches!(question.answer, Answer::Recorded { .. }));
    let figures = if recorded {
        TrafficRecord::read(&context).await?.figures()
    } else {
        None
    };
    Ok(judge(&questions, &context.desk.answers, figures.as_ref()))
}

fn judge(
    questions: &[&Question],
    answers: &BTreeMap<String, String>,
    figures: Option<&TrafficFigures>,
) -> Outcome {
    let faults: Vec<_> = questions
        .iter()
        .filter_map(|question| fault(question, answers.get(&question.id), figures))
        .collect();
    let evidence = Evidence {
        expected: Fact::AnswersOfLearnerWanted {
            questions: questions
                .iter()
                .map(|question| question.id.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        },
        observed: Fact::AnswersOfLearner {
            right: (questions.len() - faults.len()).to_string(),
            asked: questions.len().to_string(),
        },
        since: None,
    };
    // What was tried and is wrong teaches more than what is still open.
    let open = |fault: &Diagnosis| matches!(fault, Diagnosis::NotAnswered { .. });
    let first = faults.iter().find(|fault| !open(fault));
    let first = first.or(faults.first());
    Outcome::of(evidence, first.cloned().map_or(Ok(()), Err))
}

fn fault(
    question: &Question,
    answer: Option<&String>,
    figures: Option<&TrafficFigures>,
) -> Option<Diagnosis> {
    let Some(answer) = answer.filter(|answer| !answer.trim().is_empty()) else {
        return Some(Diagnosis::NotAnswered {
            question: question.id.clone(),
        });
    };
    let figure = |figure| figures.map(|figures| figure_of(figures, figure));
    match question.judge(answer, figure) {
        Judgement::Right(_) => None,
        Judgement::NoRecord => Some(Diagnosis::NoTrafficRecord {}),
        Judgement::Wrong(why) => Some(wrong(question, answer, why.as_ref())),
        Judgement::NoChoice | Judgement::NoNumber => Some(wrong(question, answer, None)),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a class sends fewer than 2^52 requests"
)]
fn figure_of(figures: &TrafficFigures, figure: Figure) -> f64 {
    match figure {
        Figure::Failures => figures.failures as f64,
        Figure::Availability => figures.availability,
        Figure::OutageSeconds => figures.outage_seconds,
    }
}

/// That the answer is wrong and, where the lab says so, why.
fn wrong(question: &Question, answer: &str, why: Option<&Text>) -> Diagnosis {
    let plain = Diagnosis::AnswerWrong {
        question: question.id.clone(),
        answer: shortened(answer),
    };
    let Some(why) = why else {
        return plain;
    };
    let with_reason = |language| format!("{} ({})", plain.text(language), why.get(language).trim());
    Diagnosis::authored(&Cause {
        id: plain.id().to_owned(),
        when: None,
        text: Text {
            en: with_reason(Language::En),
            fr: with_reason(Language::Fr),
        },
        look: plain.look(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Choice;
    use serde_json::json;

    fn question(id: &str, answer: Answer) -> Question {
        Question {
            id: id.to_owned(),
            ask: Text::default(),
            answer,
        }
    }

    fn text(en: &str, fr: &str) -> Text {
        Text {
            en: en.to_owned(),
            fr: fr.to_owned(),
        }
    }

    fn questions() -> Vec<Question> {
        let choice = |en: &str, fr: &str, correct| Choice {
            text: text(en, fr),
            correct,
            why: text("labels decide", "les labels décident"),
        };
        vec![
            question(
                "by",
                Answer::Choice(vec![
                    choice("by name", "par le nom", false),
                    choice("by labels", "par les labels", true),
                ]),
            ),
            question(
                "share",
                Answer::Number {
                    value: 80.0,
                    within: 10.0,
                },
            ),
            question("field", Answer::Text(vec!["readinessProbe".to_owned()])),
        ]
    }

    const FIGURES: TrafficFigures = TrafficFigures {
        requests: 1_000,
        failures: 200,
        availability: 80.0,
        outage_seconds: 12.5,
    };

    fn judged(
        questions: &[Question],
        answers: &[(&str, &str)],
        figures: Option<&TrafficFigures>,
    ) -> Outcome {
        let answers = answers
            .iter()
            .map(|(question, answer)| ((*question).to_owned(), (*answer).to_owned()))
            .collect();
        let questions: Vec<_> = questions.iter().collect();
        judge(&questions, &answers, figures)
    }

    #[track_caller]
    fn case(expected: Option<&str>, answers: &[(&str, &str)]) {
        let outcome = judged(&questions(), answers, None);
        let found = outcome.diagnosis().map(Diagnosis::name);
        assert_eq!(found, expected, "{answers:?}");
    }

    #[test]
    fn every_question_needs_a_right_answer() {
        let with = |share, field| [("by", "by labels"), ("share", share), ("field", field)];
        case(None, &with("75", "readinessProbe"));
        case(None, &with(" 90 % ", "  ReadinessProbe "));
        case(Some("answer-wrong"), &with("91", "readinessProbe"));
        case(Some("answer-wrong"), &with("75", "readiness"));
        case(Some("answer-wrong"), &with("a lot", "readinessProbe"));
        case(Some("not-answered"), &with("75", "  "));
        case(Some("not-answered"), &with("75", "readinessProbe")[..2]);
        case(Some("not-answered"), &[]);
        // The wrong one is told before the open one.
        case(Some("answer-wrong"), &[("share", "1")]);
        case(Some("answer-wrong"), &[("by", "by name")]);
        case(Some("answer-wrong"), &[("by", "by magic")]);
        // An answer to a question of another step.
        case(Some("not-answered"), &[("other", "75")]);
    }

    #[test]
    fn why_an_answer_is_wrong_is_said_in_both_languages_but_never_the_right_one() {
        let outcome = judged(&questions(), &[("by", "par le nom")], None);
        let diagnosis = outcome.diagnosis().unwrap();
        assert!(Diagnosis::is_built_in(diagnosis.name()));
        assert!(diagnosis.text(Language::En).ends_with("(labels decide)"));
        assert!(
            diagnosis
                .text(Language::Fr)
                .ends_with("(les labels décident)")
        );
        assert_eq!(diagnosis.look().as_deref(), Some("devops-lab answer by"));
        let outcome = judged(&questions(), &[("share", "20")], None);
        let said = outcome.diagnosis().unwrap().text(Language::En);
        assert!(said.contains("20") && !said.contains("80"), "{said}");
    }

    #[test]
    fn figures_are_those_of_the_learners_own_record() {
        let recorded = |figure| {
            vec![question(
                "q",
                Answer::Recorded {
                    figure,
                    within_percent: 10.0,
                },
            )]
        };
        let found = |figure, answer: &str, figures| {
            let outcome = judged(&recorded(figure), &[("q", answer)], figures);
            outcome.diagnosis().map(Diagnosis::id)
        };
        assert_eq!(found(Figure::Failures, "210", Some(&FIGURES)), None);
        assert_eq!(found(Figure::Availability, "79,5 %", Some(&FIGURES)), None);
        assert_eq!(found(Figure::OutageSeconds, "12", Some(&FIGURES)), None);
        assert_eq!(
            found(Figure::OutageSeconds, "20", Some(&FIGURES)),
            Some("answer-wrong")
        );
        assert_eq!(
            found(Figure::Failures, "200", None),
            Some("no-traffic-record")
        );
    }

    #[test]
    fn a_question_that_the_step_does_not_ask_is_refused() {
        let accepts = |with, questions| {
            accept(&CheckInput {
                with,
                questions,
                ..CheckInput::default()
            })
        };
        accepts(json!({}), questions()).unwrap();
        accepts(json!({"question": "share"}), questions()).unwrap();
        let misspelt = accepts(json!({"question": "shar"}), questions()).unwrap_err();
        assert!(misspelt.contains("\"shar\""), "{misspelt}");
        accepts(json!({}), Vec::new()).unwrap_err();
    }
}
