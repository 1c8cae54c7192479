//! What a step says to its runner: `::command::` lines, and the files behind `GITHUB_OUTPUT`,
//! `GITHUB_ENV` and `GITHUB_PATH`.
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>

use crate::runs::{Annotation, Level};

/// What a line of output means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Nothing but itself.
    Text(String),
    /// `::group::`
    Group(String),
    /// `::endgroup::`
    EndGroup,
    /// `::error::`, `::warning::`, `::notice::`
    Annotation(Annotation),
    /// `::debug::`
    Debug(String),
    /// `::add-mask::`
    Mask(String),
    /// `::set-output::`, which still works and should not be used any more.
    Output(String, String),
    /// A command that is accepted and of no use here.
    Nothing,
    /// A command that GitHub has switched off, and what to do instead.
    Disabled(&'static str),
}

/// Reads a step's output line by line.
#[derive(Debug, Default)]
pub(crate) struct Listener {
    /// The word that ends `::stop-commands::`.
    stopped: Option<String>,
}

impl Listener {
    /// What the next line means.
    pub(crate) fn hear(&mut self, line: &str) -> Said {
        let text = || Said::Text(line.to_owned());
        let Some((name, properties, message)) = split(line) else {
            return text();
        };
        if let Some(word) = &self.stopped {
            if name.eq_ignore_ascii_case(word) {
                self.stopped = None;
                return Said::Nothing;
            }
            return text();
        }
        let property = |wanted: &str| {
            let mut found = properties
                .iter()
                .filter(|(key, _)| key.eq_ignore_ascii_case(wanted));
            found.next().map(|(_, value)| value.clone())
        };
        let annotation = |level| {
            let number = |name| property(name).and_then(|text| text.parse().ok());
            Said::Annotation(Annotation {
                level,
                message: message.clone(),
                title: property("title"),
                file: property("file"),
                line: number("line"),
                column: number("col"),
            })
        };
        match name.to_lowercase().as_str() {
            "error" => annotation(Level::Error),
            "warning" => annotation(Level::Warning),
            "notice" => annotation(Level::Notice),
            "debug" => Said::Debug(message),
            "group" => Said::Group(message),
            "endgroup" => Said::EndGroup,
            "add-mask" => Said::Mask(message),
            "set-output" => Said::Output(property("name").unwrap_or_default(), message),
            "stop-commands" => {
                self.stopped = Some(message);
                Said::Nothing
            }
            "save-state" | "echo" | "add-matcher" | "remove-matcher" => Said::Nothing,
            "set-env" => Said::Disabled(
                "::set-env:: is switched off, as on GitHub: write NAME=value to the file $GITHUB_ENV",
            ),
            "add-path" => Said::Disabled(
                "::add-path:: is switched off, as on GitHub: write the directory to the file $GITHUB_PATH",
            ),
            _ => text(),
        }
    }
}

type Properties = Vec<(String, String)>;

/// `::name key=value,key=value::message`
fn split(line: &str) -> Option<(&str, Properties, String)> {
    let inner = line.trim_start().strip_prefix("::")?;
    let (head, message) = inner.split_once("::")?;
    let (name, properties) = head.split_once(' ').unwrap_or((head, ""));
    if name.is_empty() {
        return None;
    }
    let properties = properties.split(',').filter_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let value = unescape(value, &[("%3A", ":"), ("%2C", ",")]);
        Some((key.trim().to_owned(), value)).filter(|(_, value)| !value.is_empty())
    });
    Some((name, properties.collect(), unescape(message, &[])))
}

/// The escapes of messages, and those of properties besides. `%25` comes last, so that what it
/// protects is not unescaped a second time.
fn unescape(text: &str, more: &[(&str, &str)]) -> String {
    let mut text = text.replace("%0D", "\r").replace("%0A", "\n");
    for (from, to) in more {
        text = text.replace(from, to);
    }
    text.replace("%25", "%")
}

/// Reads a file of `NAME=value` lines and
/// ```text
/// NAME<<WORD
/// value of several lines
/// WORD
/// ```
///
/// # Errors
/// With what is wrong in which line.
pub(crate) fn pairs(file: &str, text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let invalid = |why: &str| format!("{file}, line {}: {why}: {line}", at + 1);
        let equals = line.find('=').unwrap_or(usize::MAX);
        let heredoc = line.find("<<").unwrap_or(usize::MAX);
        if equals == usize::MAX && heredoc == usize::MAX {
            return Err(invalid("this is neither NAME=value nor NAME<<WORD"));
        }
        let (name, value) = if equals < heredoc {
            (&line[..equals], line[equals + 1..].to_owned())
        } else {
            let (name, word) = (&line[..heredoc], &line[heredoc + 2..]);
            if word.is_empty() {
                return Err(invalid("the word that ends the value is missing"));
            }
            let mut value = Vec::new();
            loop {
                match lines.next() {
                    Some((_, line)) if line == word => break,
                    Some((_, line)) => value.push(line),
                    None => return Err(invalid("the value is not ended by its word")),
                }
            }
            (name, value.join("\n"))
        };
        if name.is_empty() {
            return Err(invalid("the name is missing"));
        }
        pairs.push((name.to_owned(), value));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "cases read better")]
    #[track_caller]
    fn heard(line: &str, expected: Said) {
        assert_eq!(Listener::default().hear(line), expected, "{line}");
    }

    fn annotation(level: Level, message: &str) -> Annotation {
        Annotation {
            level,
            message: message.to_owned(),
            title: None,
            file: None,
            line: None,
            column: None,
        }
    }

    #[test]
    fn commands_are_told_from_text() {
        heard("plain", Said::Text("plain".to_owned()));
        heard("std::vec::Vec", Said::Text("std::vec::Vec".to_owned()));
        heard(
            "::nothing like it",
            Said::Text("::nothing like it".to_owned()),
        );
        heard("::unknown::x", Said::Text("::unknown::x".to_owned()));
        heard("::group::Build it", Said::Group("Build it".to_owned()));
        heard("  ::endgroup::", Said::EndGroup);
        heard("::add-mask::s3cret", Said::Mask("s3cret".to_owned()));
        heard("::debug::seen", Said::Debug("seen".to_owned()));
        heard(
            "::set-output name=a::b",
            Said::Output("a".to_owned(), "b".to_owned()),
        );
        assert!(matches!(
            Listener::default().hear("::set-env name=A::b"),
            Said::Disabled(_)
        ));
        heard(
            "::WARNING::careful",
            Said::Annotation(annotation(Level::Warning, "careful")),
        );
    }

    #[test]
    fn an_annotation_names_its_place_and_its_escapes_are_undone() {
        heard(
            "::error file=app.js,line=3,col=7,title=Oh%2C no%3A::one%0Atwo 100%25",
            Said::Annotation(Annotation {
                title: Some("Oh, no:".to_owned()),
                file: Some("app.js".to_owned()),
                line: Some(3),
                column: Some(7),
                ..annotation(Level::Error, "one\ntwo 100%")
            }),
        );
    }

    #[test]
    fn commands_can_be_stopped_until_a_word_of_ones_own() {
        let mut listener = Listener::default();
        assert_eq!(listener.hear("::stop-commands::w0rd"), Said::Nothing);
        let text = "::error::not a command";
        assert_eq!(listener.hear(text), Said::Text(text.to_owned()));
        assert_eq!(listener.hear("::w0rd::"), Said::Nothing);
        assert!(matches!(listener.hear(text), Said::Annotation(_)));
    }

    #[test]
    fn values_of_one_line_and_of_several_are_read() {
        let text = "a=1\n\nb=x=y<<z\nc<<END\nline 1\nEND of it\n\nEND\nd=\n";
        let expected = [
            ("a", "1"),
            ("b", "x=y<<z"),
            ("c", "line 1\nEND of it\n"),
            ("d", ""),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(pairs("GITHUB_OUTPUT", text).unwrap(), expected);
    }

    #[test]
    fn what_is_no_pair_is_named_with_its_line() {
        let refused = |text: &str| pairs("GITHUB_OUTPUT", text).unwrap_err();
        assert_eq!(
            refused("a=1\nb 2"),
            "GITHUB_OUTPUT, line 2: this is neither NAME=value nor NAME<<WORD: b 2"
        );
        assert!(refused("a<<END\nx").contains("line 1: the value is not ended"));
        assert!(refused("a<<\nx").contains("the word that ends the value is missing"));
        assert!(refused("=x").contains("the name is missing"));
    }
}
