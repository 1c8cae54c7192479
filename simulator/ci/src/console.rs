//! What the student reads while a pipeline runs. Git puts `remote: ` before each line, so ours
//! are at most 72 columns wide; the lines of steps are left as they are, to be copied.

use std::io::Write;
use std::time::Duration;

use crate::runs::{Annotation, Conclusion, Level};

/// Columns of our own lines.
const WIDTH: usize = 72;

/// Where lines go.
pub struct Console {
    out: Box<dyn Write + Send>,
    broken: bool,
}

impl std::fmt::Debug for Console {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = formatter.debug_struct("Console");
        debug.field("broken", &self.broken).finish_non_exhaustive()
    }
}

impl Console {
    /// Writes to `out`.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out, broken: false }
    }

    /// True once nobody reads any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// A line as it is.
    pub(crate) fn line(&mut self, text: &str) {
        let text = printable(text);
        let written = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
        self.broken |= written.is_err();
    }

    /// An empty line.
    pub(crate) fn blank(&mut self) {
        self.line("");
    }

    /// A heading with a rule.
    pub(crate) fn heading(&mut self, text: &str) {
        let text = shortened(text, WIDTH - 6);
        let rule = WIDTH - 4 - text.chars().count();
        self.line(&format!("── {text} {}", "─".repeat(rule)));
    }

    /// How something ended, with its time at the right edge.
    pub(crate) fn ended(
        &mut self,
        indent: usize,
        how: Conclusion,
        name: &str,
        time: Option<Duration>,
    ) {
        let time = time.map(duration).unwrap_or_default();
        let room = WIDTH - indent - 2 - 12;
        let name = shortened(name, room);
        let gap = room - name.chars().count();
        let text = format!(
            "{}{} {name}{}{time:>12}",
            " ".repeat(indent),
            mark(how),
            " ".repeat(gap)
        );
        self.line(text.trim_end());
    }
}

/// ✓ or ✗ or what else became of it.
fn mark(how: Conclusion) -> &'static str {
    match how {
        Conclusion::Success => "✓",
        Conclusion::Failure => "✗",
        Conclusion::Cancelled => "!",
        Conclusion::Skipped => "-",
    }
}

/// `0.4 s`, `2 min 03 s`
pub(crate) fn duration(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

/// An annotation as compilers write them, which editors and eyes know.
pub(crate) fn annotation(annotation: &Annotation) -> String {
    let Annotation {
        level,
        message,
        title,
        file,
        line,
        column,
    } = annotation;
    let mut text = match level {
        Level::Notice => "notice: ",
        Level::Warning => "warning: ",
        Level::Error => "error: ",
    }
    .to_owned();
    if let Some(file) = file {
        text.push_str(file);
        for number in [line, column].into_iter().flatten() {
            text.push_str(&format!(":{number}"));
        }
        text.push_str(": ");
    }
    if let Some(title) = title {
        text.push_str(&format!("{title}: "));
    }
    text + message
}

/// At most so many characters, with an ellipsis where some are left out.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    kept + "…"
}

/// What a terminal would show of a line: no colours or other escape sequences, and of what was
/// written over with carriage returns the last.
pub(crate) fn printable(line: &str) -> String {
    let line = line.trim_end_matches('\r');
    let line = line.rsplit('\r').next().unwrap_or(line);
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                // A control sequence ends with a letter or one of few signs.
                Some('[') => while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
                // A title or a link ends with a bell, or with ESC \.
                Some(']') => {
                    while let Some(c) = chars.next() {
                        if c == '\u{7}' || c == '\u{1b}' && chars.next_if_eq(&'\\').is_some() {
                            break;
                        }
                    }
                }
                _ => {}
            },
            '\t' => out.push('\t'),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn our_lines_fit_beside_gits_own_words() {
        let shared = Shared::default();
        let mut console = Console::new(Box::new(shared.clone()));
        let long = "a name that goes on and on ".repeat(5);
        console.heading(&long);
        console.heading("hello");
        for how in [Conclusion::Success, Conclusion::Failure] {
            console.ended(2, how, &long, Some(Duration::from_secs(3723)));
            console.ended(0, how, "test", Some(Duration::from_millis(420)));
        }
        let bytes = shared.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        assert!(
            text.contains("62 min 03 s") && text.contains("0.4 s"),
            "{text}"
        );
    }

    #[test]
    fn a_line_is_what_a_terminal_would_show() {
        assert_eq!(printable("\u{1b}[1;32mok\u{1b}[0m"), "ok");
        assert_eq!(printable("10%\r50%\r100%\r"), "100%");
        assert_eq!(printable("a\tb\u{7}"), "a\tb");
        assert_eq!(
            printable("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{7}"),
            "link"
        );
    }

    #[test]
    fn an_annotation_reads_like_a_compilers() {
        let said = annotation(&Annotation {
            level: Level::Error,
            message: "no such greeting".to_owned(),
            title: None,
            file: Some("app.js".to_owned()),
            line: Some(3),
            column: None,
        });
        assert_eq!(said, "error: app.js:3: no such greeting");
    }
}
