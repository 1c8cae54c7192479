//! Code, taken apart by small grammars: good enough to find one's way, and a table for each
//! language. What colour a piece gets is for whoever shows it: the terminal, or a slide.

mod grammars;

use grammars::{GRAMMARS, Grammar, Keys};

/// What a piece of code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing special.
    Plain,
    /// A comment.
    Comment,
    /// Text in quotes.
    Text,
    /// A number, with its unit.
    Number,
    /// A word of the language.
    Keyword,
    /// A key, or a command.
    Name,
    /// A variable, or what is assigned to.
    Variable,
    /// `--flag`.
    Flag,
}

/// The lines of a block of code, each in its pieces; nothing is lost. None where the language is
/// not known.
#[must_use]
pub fn lines<'a>(text: &'a str, language: &str) -> Option<Vec<Vec<(Class, &'a str)>>> {
    let language = language.to_lowercase();
    let named = |grammar: &&Grammar| grammar.names.contains(&language.as_str());
    let grammar = GRAMMARS.iter().find(named)?;
    let mut open = None;
    let lines = text.trim_end_matches('\n').lines();
    Some(lines.map(|line| spans(grammar, line, &mut open)).collect())
}

/// The pieces of a line. `open` is the end of a text or comment that began on an earlier line.
fn spans<'a>(
    grammar: &Grammar,
    line: &'a str,
    open: &mut Option<(&'static str, Class)>,
) -> Vec<(Class, &'a str)> {
    let mut scanner = Scanner {
        grammar,
        line,
        at: 0,
        start: 0,
        spans: Vec::new(),
        first: true,
        assigning: false,
    };
    scanner.run(open);
    scanner.spans
}

struct Scanner<'a, 'g> {
    grammar: &'g Grammar,
    line: &'a str,
    at: usize,
    /// Where what has no class yet begins.
    start: usize,
    spans: Vec<(Class, &'a str)>,
    /// The next word is a command, or an instruction.
    first: bool,
    /// Between `NAME=` and the end of its value.
    assigning: bool,
}

impl<'a> Scanner<'a, '_> {
    fn run(&mut self, open: &mut Option<(&'static str, Class)>) {
        if let Some((end, class)) = open.take() {
            self.until(end, class, 0, open);
        }
        while let Some(letter) = self.rest().chars().next() {
            if self.comment(open) || self.quoted(letter, open) {
                continue;
            }
            if self.grammar.variables && letter == '$' {
                self.variable();
            } else if letter.is_ascii_digit() && self.at_boundary() {
                self.take(Class::Number, number_length(self.rest()));
            } else if self.grammar.flags && letter == '-' && self.after_space() {
                let length = length_while(self.rest(), |it| !it.is_whitespace() && it != '=');
                self.take(Class::Flag, length);
            } else if letter.is_alphabetic() || matches!(letter, '_' | '.' | '/' | '~') {
                self.word();
            } else {
                self.punctuation(letter);
            }
        }
        self.flush();
    }

    fn rest(&self) -> &'a str {
        &self.line[self.at..]
    }

    fn before(&self) -> Option<char> {
        self.line[..self.at].chars().next_back()
    }

    fn after_space(&self) -> bool {
        self.before().is_none_or(char::is_whitespace)
    }

    fn at_boundary(&self) -> bool {
        self.before().is_none_or(|letter| {
            !(letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.' | ':' | '/'))
        })
    }

    /// What was passed over has no class.
    fn flush(&mut self) {
        if self.start < self.at {
            self.spans
                .push((Class::Plain, &self.line[self.start..self.at]));
        }
        self.start = self.at;
    }

    fn take(&mut self, class: Class, length: usize) {
        self.flush();
        let end = (self.at + length).min(self.line.len());
        if self.at < end {
            self.spans.push((class, &self.line[self.at..end]));
        }
        self.at = end;
        self.start = end;
        self.first &= self.assigning;
    }

    fn comment(&mut self, open: &mut Option<(&'static str, Class)>) -> bool {
        let rest = self.rest();
        if let Some((start, end)) = self.grammar.block_comment
            && rest.starts_with(start)
        {
            self.until(end, Class::Comment, start.len(), open);
            return true;
        }
        let begins = self
            .grammar
            .comments
            .iter()
            .any(|mark| rest.starts_with(mark));
        let begins = begins && (self.after_space() || !self.grammar.comment_after_space);
        if begins {
            self.take(Class::Comment, rest.len());
        }
        begins
    }

    fn quoted(&mut self, letter: char, open: &mut Option<(&'static str, Class)>) -> bool {
        let quotes = self.grammar.quotes.iter();
        let quote = quotes.copied().find(|quote| quote.starts_with(letter));
        // An apostrophe inside of a word is none of code's business.
        let word = letter == '\'' && self.before().is_some_and(char::is_alphanumeric);
        let Some(quote) = quote.filter(|_| !word) else {
            return false;
        };
        let mut unclosed = None;
        let (at, start, spans) = (self.at, self.start, self.spans.len());
        self.until(quote, Class::Text, 1, &mut unclosed);
        if unclosed.is_some() {
            if self.grammar.open_quotes.contains(&quote) {
                *open = unclosed;
            } else {
                // It is a mark like any other.
                (self.at, self.start) = (at + 1, start);
                self.spans.truncate(spans);
                return true;
            }
        }
        if self.grammar.keys == Keys::BeforeColon
            && self.rest().trim_start().starts_with(':')
            && let Some((class, _)) = self.spans.last_mut()
        {
            *class = Class::Name;
        }
        true
    }

    /// Takes everything up to `end`, or to the end of the line, which leaves it open.
    fn until(
        &mut self,
        end: &'static str,
        class: Class,
        skip: usize,
        open: &mut Option<(&'static str, Class)>,
    ) {
        let rest = self.rest();
        let mut from = skip;
        loop {
            let Some(found) = rest.get(from..).and_then(|rest| rest.find(end)) else {
                *open = Some((end, class));
                self.take(class, rest.len());
                return;
            };
            let place = from + found;
            let escapes = rest[..place]
                .chars()
                .rev()
                .take_while(|it| *it == '\\')
                .count();
            from = place + end.len();
            if escapes % 2 == 0 || class == Class::Comment || end == "'" && !self.grammar.escapes {
                self.take(class, from);
                return;
            }
        }
    }

    fn variable(&mut self) {
        let rest = self.rest();
        let length = match rest[1..].chars().next() {
            Some('{') => rest.find('}').map_or(rest.len(), |end| end + 1),
            // What stands in it is code again.
            Some('(') => {
                self.at += 2;
                self.first = true;
                return;
            }
            Some(letter) if letter.is_alphabetic() || letter == '_' => {
                1 + length_while(&rest[1..], |it| it.is_alphanumeric() || it == '_')
            }
            Some('@' | '*' | '#' | '?' | '!' | '$' | '0'..='9') => 2,
            _ => {
                self.at += 1;
                return;
            }
        };
        let first = self.first;
        self.take(Class::Variable, length);
        self.first = first;
    }

    fn word(&mut self) {
        let rest = self.rest();
        let part =
            |it: char| it.is_alphanumeric() || it == '_' || self.grammar.letters.contains(it);
        let length = length_while(rest, part).max(rest.chars().next().map_or(1, char::len_utf8));
        let word = &rest[..length];
        let after = &rest[length..];
        let upper = word.to_uppercase();
        let keyword = self.grammar.keywords.contains(&word)
            || self.grammar.instructions
                && self.first
                && self.grammar.keywords.contains(&upper.as_str());
        let key = self.grammar.keys == Keys::BeforeColon
            && after.starts_with(':')
            && after[1..].chars().next().is_none_or(char::is_whitespace);
        let assignment = self.grammar.commands && after.starts_with('=');
        let command = self.grammar.commands && self.first && !assignment && !self.assigning;
        let called = self.grammar.calls && after.starts_with('(');
        if keyword {
            self.take(Class::Keyword, length);
            // `then kubectl`, `&& kubectl`: a command comes next.
            self.first = self.grammar.commands;
        } else if assignment && self.first {
            self.assigning = true;
            self.take(Class::Variable, length);
        } else if key || command || called {
            self.take(Class::Name, length);
        } else {
            self.at += length;
            self.first &= self.assigning;
        }
    }

    fn punctuation(&mut self, letter: char) {
        self.at += letter.len_utf8();
        if matches!(letter, '|' | ';' | '&' | '(') && self.grammar.commands {
            self.first = true;
        } else if !letter.is_whitespace() {
            self.first &= self.assigning;
        }
        self.assigning &= !letter.is_whitespace();
    }
}

fn length_while(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|letter| !belongs(letter)).unwrap_or(text.len())
}

/// A number with its unit: `500m`, `1.5`, `5m`, `128Mi`.
fn number_length(text: &str) -> usize {
    length_while(text, |it| {
        it.is_ascii_alphanumeric() || matches!(it, '.' | '%')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Marks classes by letters, in the order of the line.
    #[track_caller]
    fn case(language: &str, text: &str, expected: &[(Class, &str)]) {
        let grammar = GRAMMARS
            .iter()
            .find(|it| it.names.contains(&language))
            .unwrap();
        let mut open = None;
        let found: Vec<_> = text
            .lines()
            .flat_map(|line| spans(grammar, line, &mut open))
            .filter(|(class, _)| *class != Class::Plain)
            .collect();
        assert_eq!(found, expected, "{text}");
        let mut open = None;
        let whole: Vec<String> = text
            .lines()
            .map(|line| {
                spans(grammar, line, &mut open)
                    .iter()
                    .map(|(_, part)| *part)
                    .collect()
            })
            .collect();
        assert_eq!(whole.join("\n"), text, "nothing is lost");
    }

    #[test]
    fn shell() {
        use Class::{Comment, Flag, Keyword, Name, Text, Variable};
        case(
            "sh",
            "A=1 B=c kubectl get -o json \"$X y\" | grep -v 'it' # done",
            &[
                (Variable, "A"),
                (Class::Number, "1"),
                (Variable, "B"),
                (Name, "kubectl"),
                (Flag, "-o"),
                (Text, "\"$X y\""),
                (Name, "grep"),
                (Flag, "-v"),
                (Text, "'it'"),
                (Comment, "# done"),
            ],
        );
        case(
            "sh",
            "if true; then echo $HOME",
            &[
                (Keyword, "if"),
                (Name, "true"),
                (Keyword, "then"),
                (Name, "echo"),
                (Variable, "$HOME"),
            ],
        );
        case(
            "sh",
            "echo 'a\nb'\nls",
            &[(Name, "echo"), (Text, "'a"), (Text, "b'"), (Name, "ls")],
        );
    }

    #[test]
    fn yaml_and_json() {
        use Class::{Comment, Keyword, Name, Number, Text};
        case(
            "yaml",
            "replicas: 3 # three",
            &[(Name, "replicas"), (Number, "3"), (Comment, "# three")],
        );
        case(
            "yaml",
            "- name: \"a: b\"",
            &[(Name, "name"), (Text, "\"a: b\"")],
        );
        case(
            "yaml",
            "image: localhost:5001/hello:1.0.0",
            &[(Name, "image")],
        );
        case(
            "yaml",
            "paused: true",
            &[(Name, "paused"), (Keyword, "true")],
        );
        case(
            "json",
            "{\"a\": \"b\", \"n\": [1, null]}",
            &[
                (Name, "\"a\""),
                (Text, "\"b\""),
                (Name, "\"n\""),
                (Number, "1"),
                (Keyword, "null"),
            ],
        );
    }

    #[test]
    fn javascript_dockerfile_promql() {
        use Class::{Comment, Keyword, Name, Number, Text};
        case(
            "js",
            "const x = f(`a\nb`) // c",
            &[
                (Keyword, "const"),
                (Name, "f"),
                (Text, "`a"),
                (Text, "b`"),
                (Comment, "// c"),
            ],
        );
        case(
            "js",
            "/* a\nb */ return 1",
            &[
                (Comment, "/* a"),
                (Comment, "b */"),
                (Keyword, "return"),
                (Number, "1"),
            ],
        );
        case(
            "dockerfile",
            "FROM scratch AS x\ncopy --from=x /a /b",
            &[
                (Keyword, "FROM"),
                (Keyword, "AS"),
                (Keyword, "copy"),
                (Class::Flag, "--from"),
            ],
        );
        case(
            "promql",
            "sum by (code) (rate(http_requests_total{code=~\"5..\"}[5m])) > 0.1",
            &[
                (Keyword, "sum"),
                (Keyword, "by"),
                (Name, "rate"),
                (Text, "\"5..\""),
                (Number, "5m"),
                (Number, "0.1"),
            ],
        );
    }
}
