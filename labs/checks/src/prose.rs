//! `en.md` and `fr.md`: a title, an introduction, a section per step, and an end.
//!
//! ```markdown
//! # Deploy three replicas
//! Introduction.
//! ## Look around {#look}
//! What to do in step `look`.
//! ## What you learned {#end}
//! The last section, where there is one.
//! ```
//!
//! Headings of level two are steps and nothing else; finer ones belong to the prose. The id is
//! in the heading, so that it may be worded as each language likes.

use crate::problem::Problem;

/// Id of the section after the last step.
pub(crate) const END: &str = "end";

/// The prose of a lab in one language.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prose {
    /// Text between the title and the first step.
    pub(crate) intro: String,
    /// Sections in order.
    pub(crate) sections: Vec<Section>,
}

/// One section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    /// Its id.
    pub(crate) id: String,
    /// Its heading, without the id.
    pub(crate) heading: String,
    /// Line of the heading, from 1.
    pub(crate) line: u64,
    /// The text under it.
    pub(crate) text: String,
}

/// Takes a prose file apart, reporting every fault.
pub(crate) fn parse(file: &str, text: &str, problems: &mut Vec<Problem>) -> Prose {
    let mut prose = Prose::default();
    let mut fence: Option<(u64, &str)> = None;
    for (line, number) in text.lines().zip(1_u64..) {
        fence = next_fence(fence, line, number);
        let heading = if fence.is_some() {
            None
        } else {
            line.strip_prefix("## ")
        };
        if let Some(heading) = heading {
            prose
                .sections
                .push(section(file, heading, number, problems));
        } else if number == 1 && line.starts_with("# ") {
            // The title is in lab.yaml; here it serves those who read the file as it is.
        } else {
            let target = prose
                .sections
                .last_mut()
                .map_or(&mut prose.intro, |section| &mut section.text);
            target.push_str(line);
            target.push('\n');
        }
    }
    if let Some((line, _)) = fence {
        problems.push(
            Problem::of_file(file, "a code block is never closed")
                .at(line, 1)
                .hint("end it with ```"),
        );
    }
    for text in prose
        .sections
        .iter_mut()
        .map(|section| &mut section.text)
        .chain([&mut prose.intro])
    {
        *text = text.trim_matches('\n').to_owned();
    }
    for (at, section) in prose.sections.iter().enumerate() {
        if prose.sections[..at]
            .iter()
            .any(|earlier| earlier.id == section.id)
        {
            let message = format!("step {:?} has a second section", section.id);
            problems.push(Problem::of_file(file, message).at(section.line, 1));
        }
    }
    prose
}

/// The fence of the code block that the next line is in.
fn next_fence<'a>(
    open: Option<(u64, &'a str)>,
    line: &'a str,
    number: u64,
) -> Option<(u64, &'a str)> {
    let line = line.trim_start();
    match open {
        Some((_, fence)) if line.trim_end() == fence => None,
        Some(open) => Some(open),
        None => ["```", "~~~"]
            .into_iter()
            .find(|fence| line.starts_with(fence))
            .map(|fence| (number, fence)),
    }
}

fn section(file: &str, heading: &str, line: u64, problems: &mut Vec<Problem>) -> Section {
    let parts = heading
        .trim_end()
        .strip_suffix('}')
        .and_then(|rest| rest.rsplit_once("{#"));
    let (words, id) = parts.unwrap_or((heading, ""));
    if id.is_empty() {
        let problem = Problem::of_file(
            file,
            format!("the heading {:?} names no step", heading.trim()),
        );
        problems.push(
            problem
                .at(line, 1)
                .hint("write `## Heading {#step-id}`; inside a step use ###"),
        );
    }
    Section {
        id: id.to_owned(),
        heading: words.trim().to_owned(),
        line,
        text: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_found_outside_code_only() {
        let text = "# Title\n\nHello.\n\n## Look {#look}\n\n```sh\n## no heading\n```\n\n### Finer\n\n## End {#end}\nBye.\n";
        let mut problems = Vec::new();
        let prose = parse("en.md", text, &mut problems);
        assert_eq!(problems, []);
        assert_eq!(prose.intro, "Hello.");
        let found: Vec<_> = prose
            .sections
            .iter()
            .map(|s| (s.id.as_str(), s.heading.as_str(), s.line))
            .collect();
        assert_eq!(found, [("look", "Look", 5), ("end", "End", 13)]);
        assert_eq!(
            prose.sections[0].text,
            "```sh\n## no heading\n```\n\n### Finer"
        );
    }

    #[track_caller]
    fn case(text: &str, expected: &str) {
        let mut problems = Vec::new();
        parse("en.md", text, &mut problems);
        assert_eq!(
            problems
                .first()
                .map(ToString::to_string)
                .unwrap_or_default(),
            expected
        );
    }

    #[test]
    fn faults_are_reported_where_they_are() {
        case(
            "# T\n## Look\n",
            "en.md:2:1: the heading \"Look\" names no step; write `## Heading {#step-id}`; inside a step use ###",
        );
        case(
            "## A {#a}\n\n## B {#a}\n",
            "en.md:3:1: step \"a\" has a second section",
        );
        case(
            "x\n```\ny\n",
            "en.md:2:1: a code block is never closed; end it with ```",
        );
    }
}
