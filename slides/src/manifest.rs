//! `deck.yaml`: what a deck is called, how long it takes, which labs belong to it.

use lab_checks::language::{Language, Text};
use lab_checks::library::Labs;
use lab_checks::problem::{Problem, nearest};
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use crate::deck::Deck;
use crate::parts::lab_name;

/// The format that this program reads.
const API_VERSION: &str = "devops-lab.dev/v1";
const KIND: &str = "Deck";

/// What every version of the format has.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "apiVersion")]
    api_version: Option<Spanned<String>>,
    kind: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeckFile {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    metadata: Metadata,
    title: Spanned<Text>,
    minutes: Spanned<u16>,
    #[serde(default)]
    labs: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: Spanned<String>,
}

/// Where things stand that other files must agree with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) name: (u64, u64),
    pub(crate) minutes: (u64, u64),
}

/// Reads a deck without its slides. None where it cannot be read at all.
pub(crate) fn parse(
    file: &str,
    text: &str,
    labs: &Labs,
    problems: &mut Vec<Problem>,
) -> Option<(Deck, Places)> {
    if let Err(problem) = header(file, text) {
        problems.push(*problem);
        return None;
    }
    let read: DeckFile = match serde_saphyr::from_str(text) {
        Ok(read) => read,
        Err(error) => {
            problems.push(syntax(file, &error));
            return None;
        }
    };
    let DeckFile {
        metadata: Metadata { name },
        title,
        minutes,
        labs: named,
        ..
    } = read;
    let fault = |message: String, place: Location| at(Problem::of_file(file, message), place);
    if !lab_name(&name.value) {
        let problem = fault(format!("{:?} is no name", name.value), name.referenced);
        problems.push(problem.hint("use lower-case letters, digits and -"));
    }
    for language in Language::ALL {
        if title.value.get(language).trim().is_empty() {
            let message = format!("the title is empty in {language}");
            problems.push(fault(message, title.referenced));
        }
    }
    if minutes.value == 0 {
        let message = "a deck takes at least a minute".to_owned();
        problems.push(fault(message, minutes.referenced));
    }
    for lab in &named {
        if !labs.iter().any(|known| known.name == lab.value) {
            let near = nearest(&lab.value, labs.iter().map(|known| known.name.as_str()));
            let problem = fault(format!("there is no lab {:?}", lab.value), lab.referenced);
            problems.push(match near {
                Some(near) => problem.hint(format!("did you mean {near}?")),
                None => problem,
            });
        }
    }
    let place = |location: Location| (location.line(), location.column());
    let places = Places {
        name: place(name.referenced),
        minutes: place(minutes.referenced),
    };
    let deck = Deck {
        name: name.value,
        title: title.value,
        minutes: minutes.value,
        labs: named.into_iter().map(|lab| lab.value).collect(),
        ..Deck::default()
    };
    Some((deck, places))
}

/// Refuses what a newer program wrote with a word about that, not about an unknown field.
fn header(file: &str, text: &str) -> Result<(), Box<Problem>> {
    let header: Header =
        serde_saphyr::from_str(text).map_err(|error| Box::new(syntax(file, &error)))?;
    for (field, found, expected) in [
        ("apiVersion", header.api_version, API_VERSION),
        ("kind", header.kind, KIND),
    ] {
        let Some(found) = found else {
            let problem = Problem::of_file(file, format!("{field} is missing"));
            return Err(Box::new(
                problem.hint(format!("begin with `{field}: {expected}`")),
            ));
        };
        if found.value != expected {
            let message = format!(
                "{field} is {:?} where {expected:?} is expected",
                found.value
            );
            let problem = at(Problem::of_file(file, message), found.referenced);
            return Err(Box::new(if field == "apiVersion" {
                problem.hint("a newer deck needs a newer devops-lab")
            } else {
                problem
            }));
        }
    }
    Ok(())
}

fn syntax(file: &str, error: &serde_saphyr::Error) -> Problem {
    let place = error.location();
    let (line, column) = place.map_or((0, 0), |place| (place.line(), place.column()));
    let text = error.without_snippet().to_string();
    let message = text.lines().next().unwrap_or_default();
    // The parser repeats the place at the end, as "… at line 3, column 5".
    let message = message.split(" at line ").next().unwrap_or(message);
    Problem::of_file(file, message).at(line, column)
}

fn at(problem: Problem, place: Location) -> Problem {
    problem.at(place.line(), place.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "apiVersion: devops-lab.dev/v1\nkind: Deck\nmetadata:\n  name: sample\ntitle:\n  en: A\n  fr: B\nminutes: 5\nlabs: [canary]\n";

    #[track_caller]
    fn case(from: &str, to: &str, expected: &str) {
        let mut problems = Vec::new();
        let labs = Labs::embedded().unwrap();
        assert!(YAML.contains(from), "{from}");
        let read = parse(
            "deck.yaml",
            &YAML.replacen(from, to, 1),
            &labs,
            &mut problems,
        );
        let found: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(found.join("\n"), expected);
        assert!(read.is_some() || !expected.is_empty());
    }

    #[test]
    fn faults_of_the_manifest_are_told_where_they_are() {
        case("Deck", "Deck", "");
        case(
            "kind: Deck\n",
            "",
            "deck.yaml: kind is missing; begin with `kind: Deck`",
        );
        case(
            "kind: Deck",
            "kind: Lab",
            "deck.yaml:2:7: kind is \"Lab\" where \"Deck\" is expected",
        );
        case(
            "dev/v1",
            "dev/v2\nnew: 1",
            "deck.yaml:1:13: apiVersion is \"devops-lab.dev/v2\" where \"devops-lab.dev/v1\" is expected; a newer deck needs a newer devops-lab",
        );
        case(
            "minutes: 5",
            "minutes: 0",
            "deck.yaml:8:10: a deck takes at least a minute",
        );
        case(
            "canary",
            "canari",
            "deck.yaml:9:8: there is no lab \"canari\"; did you mean canary?",
        );
        case(
            "name: sample",
            "name: A B",
            "deck.yaml:4:9: \"A B\" is no name; use lower-case letters, digits and -",
        );
        case(
            "  fr: B",
            "  fr: ''",
            "deck.yaml:6:3: the title is empty in fr",
        );
    }
}
