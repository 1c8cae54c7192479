//! `lab.yaml`: the structure of a lab, one for all languages.

use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use crate::lab::Lab;
use crate::problem::Problem;

mod file;
mod lint;

pub(crate) use file::LabFile;

/// The format that this program reads.
const API_VERSION: &str = "devops-lab.dev/v1";
const KIND: &str = "Lab";

/// What every version of the format has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    api_version: Option<Spanned<String>>,
    kind: Option<Spanned<String>>,
}

/// A line and a column of `lab.yaml`, from 1.
pub(crate) type Place = (u64, u64);

/// Where things stand that other files must agree with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) name: Place,
    pub(crate) prerequisites: Vec<Place>,
    pub(crate) app: Place,
    pub(crate) versions: Vec<Place>,
    pub(crate) start: Place,
    pub(crate) steps: Vec<Place>,
    pub(crate) mistakes: Vec<Place>,
}

/// Reads the structure; the prose is still empty. None where it cannot be read at all.
pub(crate) fn parse(file: &str, text: &str, problems: &mut Vec<Problem>) -> Option<(Lab, Places)> {
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
    lint::structure(file, &read, problems);
    let places = places(&read);
    Some((read.lab(), places))
}

fn place(location: Location) -> Place {
    (location.line(), location.column())
}

fn places(file: &LabFile) -> Places {
    let all = |list: &[Spanned<String>]| list.iter().map(|item| place(item.referenced)).collect();
    let app = file.app.as_ref().map(|app| place(app.referenced));
    let start = file.start.as_ref().map(|start| place(start.referenced));
    let steps = file.steps.value.iter();
    let mistakes = file.mistakes.iter();
    Places {
        name: place(file.metadata.name.referenced),
        prerequisites: all(&file.prerequisites),
        app: app.unwrap_or_default(),
        versions: all(&file.versions),
        start: start.unwrap_or_default(),
        steps: steps.map(|step| place(step.id.referenced)).collect(),
        mistakes: mistakes
            .map(|mistake| place(mistake.id.referenced))
            .collect(),
    }
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
