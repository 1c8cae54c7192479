//! References in texts: placeholders, links, and commands that name a lab or a step.

use std::collections::BTreeSet;

use super::lint::Catalog;
use super::source::Source;
use crate::context::Addresses;
use crate::lab::Lab;
use crate::language::Language;
use crate::problem::{Problem, nearest};
use crate::prose::END;

/// Words after `devops-lab` that a lab or a step follows.
const TAKE_A_TARGET: &[&[&str]] = &[
    &["check"],
    &["hint"],
    &["lab", "show"],
    &["lab", "goto"],
    &["lab", "reset"],
    &["lab", "solve"],
    &["lab", "test"],
];

/// Reports what the texts of a lab refer to and is not there.
pub(super) fn prose(source: &Source, lab: &Lab, catalog: &Catalog, problems: &mut Vec<Problem>) {
    let mut scan = |file: String, kind: Kind| {
        if let Some(text) = source.text(&file) {
            let lint = Lint {
                source,
                lab,
                catalog,
                file: &file,
                kind,
                problems,
            };
            lint.scan(&text);
        }
    };
    scan(format!("{}/lab.yaml", lab.folder), Kind::Structure);
    for language in Language::ALL {
        scan(format!("{}/{language}.md", lab.folder), Kind::Prose);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `lab.yaml`, where the strings of hints hold Markdown.
    Structure,
    /// Markdown.
    Prose,
}

struct Lint<'a> {
    source: &'a Source,
    lab: &'a Lab,
    catalog: &'a Catalog,
    file: &'a str,
    kind: Kind,
    problems: &'a mut Vec<Problem>,
}

impl Lint<'_> {
    fn scan(mut self, text: &str) {
        let mut fence = None;
        for (line, number) in text.lines().zip(1_u64..) {
            self.placeholders(line, number);
            let start = line.trim_start();
            let edge = ["```", "~~~"].into_iter().find(|it| start.starts_with(it));
            match (fence, edge) {
                _ if self.kind == Kind::Structure => self.inline(line, number),
                (None, Some(edge)) => fence = Some(edge),
                (Some(open), Some(edge)) if open == edge && start.trim_end() == edge => {
                    fence = None;
                }
                (Some(_), _) => self.commands(line, line, number),
                (None, None) => self.inline(line, number),
            }
        }
    }

    fn report(
        &mut self,
        line: &str,
        number: u64,
        at: usize,
        message: String,
        hint: Option<String>,
    ) {
        let column = line.get(..at).map_or(0, |lead| lead.chars().count() + 1);
        let column = u64::try_from(column).unwrap_or_default();
        let problem = Problem::of_file(self.file, message).at(number, column);
        self.problems.push(Problem { hint, ..problem });
    }

    /// A line outside code blocks: code within it, and links around that.
    fn inline(&mut self, line: &str, number: u64) {
        let mut outside = String::with_capacity(line.len());
        for (at, part) in line.split('`').enumerate() {
            if at > 0 {
                outside.push(' ');
            }
            if at % 2 == 0 {
                outside.push_str(part);
            } else {
                self.commands(line, part, number);
                // As long as it was, so that places in the line stay what they are.
                outside.push_str(&" ".repeat(part.len()));
            }
        }
        if self.kind == Kind::Prose {
            self.links(line, &outside, number);
        }
    }

    /// Everything in double braces that no address stands for. What a template of Go or of a
    /// pipeline looks like (`{{.Name}}`, `${{ … }}`) is left alone.
    fn placeholders(&mut self, line: &str, number: u64) {
        for (at, _) in line.match_indices("{{") {
            let inside = line[at + 2..].split_once("}}").map(|(inside, _)| inside);
            let Some(inside) = inside.filter(|_| !line[..at].ends_with('$')) else {
                continue;
            };
            let name = inside.trim();
            let is_word = name.starts_with(|it: char| it.is_ascii_lowercase())
                && name
                    .chars()
                    .all(|it| it.is_ascii_alphanumeric() || it == '-' || it == '_');
            if !is_word || Addresses::PLACEHOLDERS.contains(&inside) {
                continue;
            }
            let (message, hint) = if Addresses::PLACEHOLDERS.contains(&name) {
                let message = format!("{{{{{inside}}}}} is not filled in with spaces in it");
                (message, format!("write {{{{{name}}}}}"))
            } else if inside != name {
                // A template's own, such as a keyword of Go's or Jinja's.
                continue;
            } else {
                let all = Addresses::PLACEHOLDERS;
                let hint = nearest(name, all.iter().copied()).map_or_else(
                    || format!("there are: {}", all.join(", ")),
                    |near| format!("did you mean {{{{{near}}}}}?"),
                );
                (format!("there is no placeholder {{{{{name}}}}}"), hint)
            };
            self.report(line, number, at, message, Some(hint));
        }
    }

    /// `[text](target)`, `![text](target)`, `[label]: target`.
    fn links(&mut self, line: &str, outside: &str, number: u64) {
        for (at, _) in outside.match_indices("](") {
            let rest = &outside[at + 2..];
            if let Some((target, _)) = rest.split_once(')') {
                self.link(line, target, number, at + 2);
            }
        }
        let is_definition = outside.starts_with('[') && !outside.starts_with("[^");
        if let (true, Some((label, target))) = (is_definition, outside.split_once("]: ")) {
            self.link(line, target, number, label.len() + 3);
        }
    }

    fn link(&mut self, line: &str, target: &str, number: u64, at: usize) {
        // A title may follow.
        let target = target.split_whitespace().next().unwrap_or_default();
        let target = target.trim_start_matches('<').trim_end_matches('>');
        if target.contains("://") || target.starts_with("mailto:") || target.starts_with("{{") {
            return;
        }
        let (path, id) = target.split_once('#').unwrap_or((target, ""));
        let found = if path.is_empty() {
            let steps = self.lab.steps.iter().map(|step| step.id.as_str());
            section(id, &steps.collect())
        } else {
            self.file_link(path, id)
        };
        if let Err(hint) = found {
            let message = format!("the link to {target:?} is dead");
            self.report(line, number, at, message, Some(hint));
        }
    }

    fn file_link(&self, path: &str, id: &str) -> Result<(), String> {
        let Some(place) = resolve(&self.lab.folder, path) else {
            return Err("it leads out of the directory of the labs".to_owned());
        };
        let place = place.trim_end_matches('/');
        if !self.source.has(place) {
            return Err(format!("there is no file {place}"));
        }
        if id.is_empty() {
            return Ok(());
        }
        let folder = place.split_once('/').map_or(place, |(folder, _)| folder);
        self.catalog.folder(folder).map_or(Ok(()), |entry| {
            section(id, &entry.steps.iter().map(String::as_str).collect())
        })
    }

    /// Commands in `code` that name a lab or a step.
    fn commands(&mut self, line: &str, code: &str, number: u64) {
        let code = code.split(" #").next().unwrap_or(code);
        for command in code.split("devops-lab ").skip(1) {
            let words: Vec<_> = command.split_whitespace().collect();
            let target = TAKE_A_TARGET.iter().find_map(|lead| {
                let rest = words.strip_prefix(*lead)?;
                rest.first().copied()
            });
            let Some(target) = target.filter(|target| is_target(target)) else {
                continue;
            };
            if let Err((message, hint)) = self.target(target) {
                let at = line.find(target).unwrap_or_default();
                self.report(line, number, at, message, hint);
            }
        }
    }

    fn target(&self, target: &str) -> Result<(), (String, Option<String>)> {
        let (name, step) = target
            .split_once('/')
            .map_or((target, None), |(name, step)| (name, Some(step)));
        let did_you_mean = |near: Option<&str>| near.map(|near| format!("did you mean {near}?"));
        let Some(entry) = self.catalog.find(name) else {
            let near = nearest(name, self.catalog.names());
            return Err((format!("there is no lab {name:?}"), did_you_mean(near)));
        };
        let Some(step) = step.filter(|step| !entry.steps.contains(*step)) else {
            return Ok(());
        };
        let near = nearest(step, entry.steps.iter().map(String::as_str));
        let message = format!("lab {:?} has no step {step:?}", entry.name);
        Err((message, did_you_mean(near)))
    }
}

/// LAB or LAB/STEP as it stands, and not a word that stands for it (LAB), an option or a sign.
fn is_target(word: &str) -> bool {
    let part = |part: &str| lab_api::names::is_dns_label(part);
    match word.split_once('/') {
        Some((lab, step)) => part(lab) && part(step),
        None => part(word),
    }
}

fn section(id: &str, steps: &BTreeSet<&str>) -> Result<(), String> {
    if id == END || steps.contains(id) {
        return Ok(());
    }
    Err(nearest(id, steps.iter().copied()).map_or_else(
        || {
            let steps: Vec<_> = steps.iter().copied().collect();
            format!("there are the sections {}", steps.join(", "))
        },
        |near| format!("did you mean #{near}?"),
    ))
}

/// A relative path from a lab's folder as a path from the labs' root; none where it leaves that.
fn resolve(folder: &str, path: &str) -> Option<String> {
    let mut place = vec![folder];
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => {
                place.pop()?;
            }
            part => place.push(part),
        }
    }
    Some(place.join("/"))
}
