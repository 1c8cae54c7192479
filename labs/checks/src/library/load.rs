//! Reading one lab, and what its own files must agree on.

use super::source::Source;
use crate::format::{self, Place, Places};
use crate::lab::Lab;
use crate::language::Language;
use crate::problem::{Problem, nearest};
use crate::prose::{self, END, Prose};

/// Reads one lab. None where its structure cannot be read at all.
pub(super) fn load(
    source: &Source,
    folder: &str,
    problems: &mut Vec<Problem>,
) -> Option<(Lab, Places)> {
    let name = format!("{folder}/lab.yaml");
    let Some(text) = source.text(&name) else {
        problems.push(Problem::of_file(&name, "cannot be read"));
        return None;
    };
    let (mut lab, places) = format::parse(&name, &text, problems)?;
    folder.clone_into(&mut lab.folder);
    for language in Language::ALL {
        let file = format!("{folder}/{language}.md");
        match source.text(&file) {
            Some(text) => {
                let prose = prose::parse(&file, &text, problems);
                compare(&file, &lab, &prose, problems);
                fill(&mut lab, language, prose);
            }
            None => problems.push(
                Problem::of_file(&file, "is missing").hint("a lab is told in every language"),
            ),
        }
    }
    scripts(source, &lab, &places, problems);
    Some((lab, places))
}

/// Whether the sections are the steps, in order.
fn compare(file: &str, lab: &Lab, prose: &Prose, problems: &mut Vec<Problem>) {
    let sections = || {
        prose
            .sections
            .iter()
            .filter(|section| !section.id.is_empty())
    };
    for step in &lab.steps {
        if !sections().any(|section| section.id == step.id) {
            let problem = Problem::of_file(file, format!("step {:?} has no section", step.id));
            problems.push(problem.hint(format!("add `## Heading {{#{}}}`", step.id)));
        }
    }
    let mut last = 0;
    for section in sections().filter(|section| section.id != END) {
        let Some(at) = lab.steps.iter().position(|step| step.id == section.id) else {
            let near = nearest(&section.id, lab.steps.iter().map(|step| step.id.as_str()));
            let problem = Problem::of_file(file, format!("lab.yaml has no step {:?}", section.id));
            let problem = problem.at(section.line, 1);
            problems.push(match near {
                Some(near) => problem.hint(format!("did you mean {near}?")),
                None => problem,
            });
            continue;
        };
        if at < last {
            let message = format!(
                "the section of step {:?} is not in the order of lab.yaml",
                section.id
            );
            problems.push(Problem::of_file(file, message).at(section.line, 1));
        }
        last = at;
    }
}

fn fill(lab: &mut Lab, language: Language, prose: Prose) {
    let Prose { intro, sections } = prose;
    *lab.intro.get_mut(language) = intro;
    for section in sections {
        if let Some(step) = lab.steps.iter_mut().find(|step| step.id == section.id) {
            *step.heading.get_mut(language) = section.heading;
            *step.prose.get_mut(language) = section.text;
        } else if section.id == END {
            *lab.ending.get_mut(language) = format!("## {}\n\n{}", section.heading, section.text);
        }
    }
}

/// Whether every step that is checked has its solution, every mistake its script, and a lab that
/// begins somewhere the script that leads there.
fn scripts(source: &Source, lab: &Lab, places: &Places, problems: &mut Vec<Problem>) {
    let mut needs = |script: String, place: Place, why: &str| {
        if source.text(&format!("{}/{script}", lab.folder)).is_none() {
            let file = format!("{}/lab.yaml", lab.folder);
            let problem = Problem::of_file(&file, format!("{script} is missing"));
            problems.push(problem.at(place.0, place.1).hint(why));
        }
    };
    for (step, place) in lab.steps.iter().zip(&places.steps) {
        if !step.checks.is_empty() {
            let script = format!("solution/{}.sh", step.id);
            needs(script, *place, "write how the step is done");
        }
    }
    for (mistake, place) in lab.mistakes.iter().zip(&places.mistakes) {
        let script = format!("mistakes/{}.sh", mistake.id);
        needs(script, *place, "write how it goes wrong");
    }
    if !lab.start.is_empty() {
        let why = "write what brings about what start.checks ask for";
        needs("start.sh".to_owned(), places.start, why);
    }
}
