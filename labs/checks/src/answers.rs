//! Whether an answer to a question is right.
//!
//! Answers are kept as learners type them, but for choices, which are kept by their English text:
//! a number would mean another choice once the lab's author puts them into another order.

use crate::lab::{Answer, Choice, Figure, Question};
use crate::language::Text;

/// What an answer is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is right; why, where the lab says so.
    Right(Option<Text>),
    /// It is wrong; why, where the lab says so.
    Wrong(Option<Text>),
    /// It is none of the choices.
    NoChoice,
    /// It is not a number where one is asked for.
    NoNumber,
    /// It is to be compared with a record that there is not.
    NoRecord,
}

impl Question {
    /// Judges an answer; `recorded` gives a figure of the learner's own record of traffic, where
    /// there is one.
    #[must_use]
    pub fn judge(&self, value: &str, recorded: impl FnOnce(Figure) -> Option<f64>) -> Judgement {
        match &self.answer {
            Answer::Choice(choices) => match choose(choices, value) {
                None => Judgement::NoChoice,
                Some(Choice { correct, why, .. }) => {
                    let why = (!why.en.is_empty()).then(|| why.clone());
                    if *correct {
                        Judgement::Right(why)
                    } else {
                        Judgement::Wrong(why)
                    }
                }
            },
            Answer::Number {
                value: right,
                within,
            } => near(value, *right, *within),
            Answer::Text(forms) => {
                let said = plain(value);
                verdict(forms.iter().any(|form| plain(form) == said))
            }
            Answer::Recorded {
                figure,
                within_percent,
            } => match recorded(*figure) {
                None => Judgement::NoRecord,
                Some(right) => near(value, right, right.abs() * within_percent / 100.0),
            },
        }
    }

    /// How an answer is kept: a choice that is named by its number or in French by its English
    /// text, everything else as it is.
    #[must_use]
    pub fn kept(&self, value: &str) -> String {
        let choice = match &self.answer {
            Answer::Choice(choices) => choose(choices, value),
            Answer::Number { .. } | Answer::Text(_) | Answer::Recorded { .. } => None,
        };
        choice.map_or_else(|| value.trim().to_owned(), |choice| choice.text.en.clone())
    }
}

fn verdict(right: bool) -> Judgement {
    if right {
        Judgement::Right(None)
    } else {
        Judgement::Wrong(None)
    }
}

fn near(value: &str, right: f64, within: f64) -> Judgement {
    // Half a thousandth is no difference: figures are shown rounded.
    number(value).map_or(Judgement::NoNumber, |value| {
        verdict((value - right).abs() <= within + 0.0005)
    })
}

/// The choice of this text in any language, or of this number from 1.
fn choose<'a>(choices: &'a [Choice], value: &str) -> Option<&'a Choice> {
    let said = plain(value);
    let named = |choice: &&Choice| plain(&choice.text.en) == said || plain(&choice.text.fr) == said;
    choices.iter().find(named).or_else(|| {
        let number: usize = said.parse().ok()?;
        choices.get(number.checked_sub(1)?)
    })
}

/// A number as people write it: `80`, `99.5 %`, `99,5`.
fn number(text: &str) -> Option<f64> {
    let text = text
        .trim()
        .trim_end_matches('%')
        .trim_end()
        .replace(',', ".");
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Without case and without space around or doubled within.
fn plain(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(en: &str, fr: &str) -> Text {
        Text {
            en: en.to_owned(),
            fr: fr.to_owned(),
        }
    }

    fn question(answer: Answer) -> Question {
        Question {
            id: "q".to_owned(),
            ask: Text::default(),
            answer,
        }
    }

    fn choices() -> Question {
        let choice = |en, fr, correct| Choice {
            text: text(en, fr),
            correct,
            why: text(if correct { "" } else { "labels decide" }, ""),
        };
        question(Answer::Choice(vec![
            choice("By name", "Par le nom", false),
            choice("By labels", "Par les labels", true),
        ]))
    }

    #[track_caller]
    fn case(question: &Question, value: &str, expected: &Judgement) {
        assert_eq!(&question.judge(value, |_| None), expected, "{value:?}");
    }

    #[test]
    fn a_choice_is_named_by_number_or_in_either_language() {
        let question = choices();
        for right in ["2", "by labels", " Par  les labels "] {
            case(&question, right, &Judgement::Right(None));
            assert_eq!(question.kept(right), "By labels");
        }
        let why = Some(text("labels decide", ""));
        case(&question, "1", &Judgement::Wrong(why));
        for none in ["0", "3", "", "by", "-1"] {
            case(&question, none, &Judgement::NoChoice);
        }
    }

    #[test]
    fn numbers_are_read_as_people_write_them_and_may_be_off_by_what_is_allowed() {
        let question = question(Answer::Number {
            value: 99.5,
            within: 0.5,
        });
        for right in ["99.5", " 99,5 % ", "100", "99"] {
            case(&question, right, &Judgement::Right(None));
        }
        for wrong in ["98.9", "100.1", "-99.5", "0"] {
            case(&question, wrong, &Judgement::Wrong(None));
        }
        for none in ["", "many", "NaN", "inf", "9 9"] {
            case(&question, none, &Judgement::NoNumber);
        }
    }

    #[test]
    fn words_are_compared_without_case_and_space() {
        let question = question(Answer::Text(vec!["readiness probe".to_owned()]));
        case(&question, " Readiness  Probe", &Judgement::Right(None));
        case(&question, "readiness", &Judgement::Wrong(None));
        case(&question, "", &Judgement::Wrong(None));
    }

    #[test]
    fn a_recorded_figure_is_compared_with_the_learners_own_record() {
        let question = question(Answer::Recorded {
            figure: Figure::Failures,
            within_percent: 10.0,
        });
        let judge = |value: &str| {
            question.judge(value, |figure| {
                (figure == Figure::Failures).then_some(200.0)
            })
        };
        assert_eq!(judge("219"), Judgement::Right(None));
        assert_eq!(judge("221"), Judgement::Wrong(None));
        assert_eq!(judge("some"), Judgement::NoNumber);
        case(&question, "200", &Judgement::NoRecord);
    }
}
