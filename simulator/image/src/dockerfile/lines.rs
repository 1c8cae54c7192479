//! Physical lines to logical ones: directives, comments, continuations.

/// An instruction's text, on one line, and the number of the line it begins on (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Line number.
    pub number: usize,
    /// The text.
    pub text: String,
}

/// The lines of a Dockerfile, and the letter that continues and escapes in it.
#[must_use]
pub fn join(text: &str) -> (Vec<Line>, char) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let escape = escape_letter(text);
    let mut lines = Vec::new();
    let mut open: Option<Line> = None;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        // Comments may stand between the parts of one instruction, and so may empty lines.
        if trimmed.starts_with('#') || trimmed.is_empty() {
            continue;
        }
        let mut joined = open.take().unwrap_or(Line {
            number: index + 1,
            text: String::new(),
        });
        let line = if joined.text.is_empty() {
            trimmed
        } else {
            line.trim_end()
        };
        match line.strip_suffix(escape) {
            Some(part) => {
                joined.text.push_str(part);
                open = Some(joined);
            }
            None => {
                joined.text.push_str(line);
                lines.push(joined);
            }
        }
    }
    lines.extend(open);
    (lines, escape)
}

/// Reads the directives, which are comments of the form `# name=value` before anything else.
fn escape_letter(text: &str) -> char {
    for line in text.lines() {
        let directive = line
            .trim()
            .strip_prefix('#')
            .and_then(|it| it.split_once('='));
        let Some((name, value)) = directive else {
            break;
        };
        if name.trim().eq_ignore_ascii_case("escape") && value.trim() == "`" {
            return '`';
        }
    }
    '\\'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(text: &str, expected: &[(usize, &str)]) {
        let lines = join(text).0;
        let found: Vec<_> = lines
            .iter()
            .map(|it| (it.number, it.text.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn comments_and_empty_lines_go_and_numbers_stay() {
        case(
            "# hello\n\nFROM a\n  # more\n  CMD b  \r\n",
            &[(3, "FROM a"), (5, "CMD b")],
        );
    }

    #[test]
    fn continued_lines_are_joined_also_around_comments() {
        let text = "ENV A=1 \\\n  # why\n\n  B=2 \\  \n  C=3\nCMD x";
        case(text, &[(1, "ENV A=1   B=2   C=3"), (6, "CMD x")]);
        case("CMD a \\", &[(1, "CMD a ")]);
    }

    #[test]
    fn a_directive_changes_the_escape_letter() {
        let text = "# syntax=x\n# escape=`\nCOPY a `\n b\\";
        case(text, &[(3, "COPY a  b\\")]);
        // After the first real line it is a comment like any other.
        case(
            "FROM a\n# escape=`\nCMD b \\\n c",
            &[(1, "FROM a"), (3, "CMD b  c")],
        );
    }
}
