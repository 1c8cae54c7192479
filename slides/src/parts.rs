//! `en.md` and `fr.md` of a deck, taken apart into slides.
//!
//! ````markdown
//! <!-- id: why; minutes: 2; layout: title -->
//! # What is seen
//! ???
//! What the speaker says.
//! ---
//! <!-- id: how; layout: two-columns -->
//! Left
//! |||
//! Right
//! ````
//!
//! `---`, `???` and `|||` count on lines of their own, outside of code.

use lab_checks::problem::{Problem, nearest};

use crate::deck::Layout;

/// Keys of a slide's first comment.
const KEYS: [&str; 3] = ["id", "minutes", "layout"];

/// A slide as it is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Part {
    /// Line of the file that it begins at, from 1.
    pub(crate) line: u64,
    /// Empty where it names none, which is a fault.
    pub(crate) id: String,
    pub(crate) layout: Layout,
    /// How long it is planned to take, in seconds.
    pub(crate) seconds: Option<u32>,
    /// What is seen; more than one where it has columns.
    pub(crate) columns: Vec<Chunk>,
    pub(crate) notes: Chunk,
}

/// Some Markdown of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) text: String,
    /// Line of the file that it begins at, from 1.
    pub(crate) line: u64,
}

impl Chunk {
    fn push(&mut self, line: &str, number: u64) {
        if self.text.is_empty() {
            self.line = number;
            if line.trim().is_empty() {
                return;
            }
        }
        self.text.push_str(line);
        self.text.push('\n');
    }
}

/// Takes a file apart, reporting every fault.
pub(crate) fn parse(file: &str, text: &str, problems: &mut Vec<Problem>) -> Vec<Part> {
    let mut parts = vec![Part::new(1)];
    let mut fence: Option<(u64, String)> = None;
    let mut in_notes = false;
    for (line, number) in text.lines().zip(1_u64..) {
        let inside = fence.is_some();
        fence = next_fence(fence, line, number);
        let Some(part) = parts.last_mut() else { break };
        let mark = if inside { "" } else { line.trim_end() };
        match mark {
            "---" => {
                parts.push(Part::new(number + 1));
                in_notes = false;
            }
            "???" if in_notes => problems.push(
                Problem::of_file(file, "the slide's notes began before")
                    .at(number, 1)
                    .hint("one ??? is enough; --- begins the next slide"),
            ),
            "???" => in_notes = true,
            "|||" if !in_notes => part.columns.push(Chunk::default()),
            _ if in_notes => part.notes.push(line, number),
            _ => {
                if let Some(column) = part.columns.last_mut() {
                    column.push(line, number);
                }
            }
        }
    }
    if let Some((line, _)) = fence {
        let problem = Problem::of_file(file, "a code block is never closed").at(line, 1);
        problems.push(problem.hint("end it with ```"));
    }
    // Between `---` at the very beginning or end and the file's edge there is no slide.
    for edge in [0, parts.len() - 1] {
        if parts.get(edge).is_some_and(Part::is_empty) && parts.len() > 1 {
            parts.remove(edge);
        }
    }
    for part in &mut parts {
        part.attributes(file, problems);
        part.arrange(file, problems);
    }
    parts
}

/// The fence of the code block that the next line is in.
fn next_fence(open: Option<(u64, String)>, line: &str, number: u64) -> Option<(u64, String)> {
    let line = line.trim();
    if let Some((begun, fence)) = open {
        let length = line.len();
        let closes = length >= fence.len() && line.chars().all(|it| fence.starts_with(it));
        return (!closes).then_some((begun, fence));
    }
    let mark = line.chars().next().filter(|it| matches!(it, '`' | '~'))?;
    let length = line.chars().take_while(|it| *it == mark).count();
    // What has another mark behind it is code in a line of prose.
    let fences = length >= 3 && !(mark == '`' && line[length..].contains('`'));
    fences.then(|| (number, mark.to_string().repeat(length)))
}

impl Part {
    fn new(line: u64) -> Self {
        Self {
            line,
            columns: vec![Chunk::default()],
            ..Self::default()
        }
    }

    fn is_empty(&self) -> bool {
        let blank = |chunk: &Chunk| chunk.text.trim().is_empty();
        self.columns.iter().all(blank) && blank(&self.notes)
    }

    /// Reads the comment that the slide begins with, and takes it away.
    fn attributes(&mut self, file: &str, problems: &mut Vec<Problem>) {
        let first = &mut self.columns[0];
        let comment = first.text.strip_prefix("<!--").and_then(|text| {
            let (comment, rest) = text.split_once("-->")?;
            Some((comment.to_owned(), rest.to_owned()))
        });
        let line = if first.text.is_empty() {
            self.line
        } else {
            first.line
        };
        let Some((comment, rest)) = comment else {
            let problem = Problem::of_file(file, "the slide has no id").at(line, 1);
            problems.push(problem.hint("begin it with <!-- id: some-name -->"));
            return;
        };
        let lines = comment.matches('\n').count() as u64;
        let text = rest.trim_start_matches(['\n', ' ']).to_owned();
        let skipped = rest[..rest.len() - text.len()].matches('\n').count() as u64;
        (first.text, first.line) = (text, first.line + lines + skipped);
        let fault = |message: String| Problem::of_file(file, message).at(line, 1);
        for pair in comment.split([';', '\n']).map(str::trim) {
            if pair.is_empty() {
                continue;
            }
            let (key, value) = pair.split_once(':').unwrap_or((pair, ""));
            let (key, value) = (key.trim(), value.trim());
            match key {
                "id" if lab_name(value) => value.clone_into(&mut self.id),
                "id" => problems.push(
                    fault(format!("{value:?} is no id"))
                        .hint("use lower-case letters, digits and -"),
                ),
                "minutes" => match seconds(value) {
                    Some(seconds) => self.seconds = Some(seconds),
                    None => problems.push(
                        fault(format!("{value:?} is no number of minutes"))
                            .hint("write 2, or 0.5; at most 240"),
                    ),
                },
                "layout" => match Layout::named(value) {
                    Some(layout) => self.layout = layout,
                    None => {
                        let names = Layout::ALL.map(Layout::name);
                        problems.push(unknown(fault, "layout", value, &names));
                    }
                },
                _ => problems.push(unknown(fault, "attribute", key, &KEYS)),
            }
        }
        if self.id.is_empty() && !comment.contains("id:") {
            problems.push(fault("the slide has no id".to_owned()).hint("add `id: some-name`"));
        }
    }

    /// Whether the columns are those of the layout.
    fn arrange(&mut self, file: &str, problems: &mut Vec<Problem>) {
        let (count, name) = (self.columns.len(), self.layout.name());
        let (message, hint) = match (self.layout, count) {
            (Layout::TwoColumns, 2) => return,
            (Layout::TwoColumns, 1) => (
                "a slide of two columns has one".to_owned(),
                "part them by a line |||",
            ),
            (Layout::TwoColumns, _) => (
                format!("a slide of two columns has {count}"),
                "keep one |||",
            ),
            (_, 1) => return,
            _ => (
                format!("a slide of layout {name} has no columns"),
                "write layout: two-columns, or leave ||| out",
            ),
        };
        problems.push(Problem::of_file(file, message).at(self.line, 1).hint(hint));
    }
}

/// A DNS label, as ids are.
pub(crate) fn lab_name(text: &str) -> bool {
    let inner = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    !text.is_empty()
        && text.len() <= 63
        && text.chars().all(|letter| inner(letter) || letter == '-')
        && text.starts_with(inner)
        && text.ends_with(inner)
}

fn seconds(text: &str) -> Option<u32> {
    let minutes: f64 = text.parse().ok()?;
    // The range makes the conversion exact enough and safe.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (0.0..=240.0)
        .contains(&minutes)
        .then_some((minutes * 60.0).round() as u32)
}

fn unknown(
    fault: impl Fn(String) -> Problem,
    what: &str,
    name: &str,
    there_are: &[&str],
) -> Problem {
    let hint = nearest(name, there_are.iter().copied()).map_or_else(
        || format!("there are: {}", there_are.join(", ")),
        |near| format!("did you mean {near}?"),
    );
    fault(format!("there is no {what} {name:?}")).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<Part>, Vec<String>) {
        let mut problems = Vec::new();
        let parts = parse("en.md", text, &mut problems);
        (parts, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_file_is_its_slides() {
        let text = "<!-- id: a; minutes: 1.5; layout: title -->\n\n# A\n\n???\n\nSay *this*.\n---\n<!-- id: b\nlayout: two-columns -->\n# B\nleft\n|||\nright\n---\n";
        let (parts, problems) = read(text);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(parts.len(), 2);
        let (first, second) = (&parts[0], &parts[1]);
        assert_eq!((first.id.as_str(), first.seconds), ("a", Some(90)));
        assert_eq!(first.layout, Layout::Title);
        assert_eq!(first.columns[0].text.trim(), "# A");
        assert_eq!(
            (first.notes.text.as_str(), first.notes.line),
            ("Say *this*.\n", 7)
        );
        assert_eq!((second.id.as_str(), second.line), ("b", 9));
        assert_eq!(second.columns[0].text, "# B\nleft\n");
        assert_eq!(second.columns[0].line, 11);
        assert_eq!(
            (second.columns[1].text.as_str(), second.columns[1].line),
            ("right\n", 14)
        );
    }

    #[test]
    fn marks_inside_of_code_are_code() {
        let text = "<!-- id: a -->\n```yaml\na: 1\n---\nb: 2\n???\n|||\n```\n";
        let (parts, problems) = read(text);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(parts.len(), 1);
        assert!(parts[0].columns[0].text.contains("---\nb: 2\n???\n|||\n"));
        let nested = "<!-- id: a -->\n````md\n```\n---\n```\n````\n---\n<!-- id: b -->\nx\n";
        assert_eq!(read(nested).0.len(), 2);
    }

    #[track_caller]
    fn fault(text: &str, expected: &[&str]) {
        assert_eq!(read(text).1, expected);
    }

    #[test]
    fn faults_are_told_where_they_are() {
        fault(
            "# A\n",
            &["en.md:1:1: the slide has no id; begin it with <!-- id: some-name -->"],
        );
        fault(
            "<!-- id: a -->\nx\n---\n\ny\n",
            &["en.md:5:1: the slide has no id; begin it with <!-- id: some-name -->"],
        );
        fault(
            "<!-- minutes: 2 -->\nx\n",
            &["en.md:1:1: the slide has no id; add `id: some-name`"],
        );
        fault(
            "<!-- id: A b -->\nx\n",
            &["en.md:1:1: \"A b\" is no id; use lower-case letters, digits and -"],
        );
        fault(
            "<!-- id: a; minuts: 2; layout: titel -->\nx\n",
            &[
                "en.md:1:1: there is no attribute \"minuts\"; did you mean minutes?",
                "en.md:1:1: there is no layout \"titel\"; did you mean title?",
            ],
        );
        fault(
            "<!-- id: a; minutes: soon -->\nx\n",
            &["en.md:1:1: \"soon\" is no number of minutes; write 2, or 0.5; at most 240"],
        );
        fault(
            "<!-- id: a; layout: two-columns -->\nx\n",
            &["en.md:1:1: a slide of two columns has one; part them by a line |||"],
        );
        fault(
            "<!-- id: a -->\nx\n|||\ny\n",
            &[
                "en.md:1:1: a slide of layout default has no columns; write layout: two-columns, or leave ||| out",
            ],
        );
        fault(
            "<!-- id: a -->\nx\n???\ny\n???\nz\n",
            &[
                "en.md:5:1: the slide's notes began before; one ??? is enough; --- begins the next slide",
            ],
        );
        fault(
            "<!-- id: a -->\n```sh\nls\n",
            &["en.md:2:1: a code block is never closed; end it with ```"],
        );
    }
}
