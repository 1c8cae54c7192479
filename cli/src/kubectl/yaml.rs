//! YAML as kubectl writes it: keys in order, quotes only where a reader would take the text for
//! something else.

use std::fmt::Write;

use serde_json::Value;

/// A document, with a newline at its end.
pub(super) fn to_yaml(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => block(value, 0, &mut text),
        Value::Array(items) if !items.is_empty() => block(value, 0, &mut text),
        scalar => {
            inline(scalar, 0, &mut text);
            text.push('\n');
        }
    }
    text
}

/// A line may end behind this column.
const BEST_WIDTH: usize = 80;

fn block(value: &Value, indent: usize, text: &mut String) {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            for (at, (key, value)) in entries.into_iter().enumerate() {
                // The first key of a list's item stands behind its dash.
                let pad = if at == 0 && text.ends_with("- ") {
                    ""
                } else {
                    &pad
                };
                let _ = write!(text, "{pad}{}:", scalar(key, indent, false));
                entry(value, indent, text);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                let pad = if at == 0 && text.ends_with("- ") {
                    ""
                } else {
                    &pad
                };
                let _ = write!(text, "{pad}- ");
                if is_block(item) {
                    block(item, indent + 2, text);
                } else {
                    inline(item, indent, text);
                    text.push('\n');
                }
            }
        }
        _ => {}
    }
}

/// What stands after a key.
fn entry(value: &Value, indent: usize, text: &mut String) {
    if is_block(value) {
        text.push('\n');
        // Lists are not indented below their key.
        let deeper = if value.is_array() { indent } else { indent + 2 };
        block(value, deeper, text);
    } else {
        text.push(' ');
        inline(value, indent, text);
        text.push('\n');
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn inline(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(_) => text.push_str("{}"),
        Value::Array(_) => text.push_str("[]"),
        Value::String(string) => {
            let written = scalar(string, indent, true);
            if written.starts_with('|') {
                text.push_str(&written);
            } else {
                fold(&written, indent + 2, text);
            }
        }
        other => text.push_str(&other.to_string()),
    }
}

/// Breaks a long line at a space, as kubectl's writer does: at the first one behind column 80.
fn fold(written: &str, indent: usize, text: &mut String) {
    let quoted = written.starts_with(['"', '\'']);
    let double = written.starts_with('"');
    let start = text.rfind('\n').map_or(0, |at| at + 1);
    let mut column = text[start..].chars().count();
    let letters: Vec<char> = written.chars().collect();
    for (at, letter) in letters.iter().enumerate() {
        let next = letters.get(at + 1);
        // A space next to a quote or to another space would be lost.
        let edge = quoted && (at <= 1 || at + 2 >= letters.len());
        let single = at > 0 && letters[at - 1] != ' ' && (double || next != Some(&' '));
        if *letter == ' ' && column > BEST_WIDTH && single && !edge && next.is_some() {
            text.push('\n');
            text.push_str(&" ".repeat(indent));
            column = indent;
            if double && next == Some(&' ') {
                text.push('\\');
                column += 1;
            }
            continue;
        }
        text.push(*letter);
        column += 1;
    }
}

/// A string, plain where it can be.
fn scalar(text: &str, indent: usize, multiline: bool) -> String {
    if resolves(text) {
        return double(text);
    }
    if multiline && text.contains('\n') && printable(text) {
        return literal(text, indent);
    }
    if !printable(text) || text.contains('\n') {
        return double(text);
    }
    if plain(text) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// True where a reader of YAML 1.1 would see another type.
fn resolves(text: &str) -> bool {
    const WORDS: [&str; 15] = [
        "", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", ".nan", ".inf",
        "+.inf", "-.inf",
    ];
    if WORDS.contains(&text.to_ascii_lowercase().as_str()) {
        return true;
    }
    number(text) || sexagesimal(text) || timestamp(text)
}

/// `12:30`, which YAML 1.1 reads as 750.
fn sexagesimal(text: &str) -> bool {
    let mut parts = text.trim_start_matches(['-', '+']).split(':');
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let first = parts.next().is_some_and(digits);
    let mut rest = parts.peekable();
    first
        && rest.peek().is_some()
        && rest.all(|part| digits(part) && part.parse::<u32>().is_ok_and(|part| part < 60))
}

fn number(text: &str) -> bool {
    let plain = text.replace('_', "");
    let unsigned = plain.trim_start_matches(['-', '+']);
    if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return false;
    }
    let radix = |prefix: &str, radix| {
        unsigned
            .strip_prefix(prefix)
            .is_some_and(|digits| i64::from_str_radix(digits, radix).is_ok())
    };
    plain.parse::<f64>().is_ok() || radix("0x", 16) || radix("0b", 2) || radix("0o", 8)
}

/// `2026-01-31`, `2026-01-31T10:00:00Z`.
fn timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| {
        bytes
            .get(range)
            .is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    digits(0..4)
        && bytes.get(4) == Some(&b'-')
        && digits(5..7)
        && bytes.get(7) == Some(&b'-')
        && digits(8..10)
        && (bytes.len() == 10 || matches!(bytes.get(10), Some(b'T' | b't' | b' ')))
}

fn printable(text: &str) -> bool {
    text.chars().all(|letter| {
        letter == '\n' || (!letter.is_control() && letter != '\u{feff}' && letter <= '\u{ffff}')
    })
}

fn plain(text: &str) -> bool {
    let Some(first) = text.chars().next() else {
        return false;
    };
    let second = text.chars().nth(1);
    let blank_second = second.is_none_or(|letter| letter == ' ');
    let indicator = match first {
        '-' | '?' | ':' => blank_second,
        ',' | '[' | ']' | '{' | '}' | '#' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%'
        | '@' | '`' => true,
        _ => false,
    };
    !(indicator
        || text.starts_with("---")
        || text.starts_with("...")
        || text.starts_with(' ')
        || text.ends_with([' ', ':'])
        || text.contains(": ")
        || text.contains(" #"))
}

/// Lines as they are.
fn literal(text: &str, indent: usize) -> String {
    let chomping = match (text.ends_with('\n'), text.ends_with("\n\n")) {
        (false, _) => "-",
        (true, true) => "+",
        (true, false) => "",
    };
    let hint = if text.starts_with([' ', '\n']) {
        "2"
    } else {
        ""
    };
    let mut out = format!("|{hint}{chomping}");
    let pad = " ".repeat(indent + 2);
    let body = text.strip_suffix('\n').unwrap_or(text);
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            out.push_str(&pad);
            out.push_str(line);
        }
    }
    out
}

fn double(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            letter if letter > '\u{ffff}' => {
                let _ = write!(out, "\\U{:08X}", u32::from(letter));
            }
            letter if letter.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_reads_as_kubectl_writes_it() {
        let value = json!({
            "kind": "List",
            "metadata": {"annotations": {"a": "", "last": "{\"x\":1}\n"}, "name": "x"},
            "items": [{"name": "a", "args": ["-c", "true", "x: y"], "empty": {}}, "s", [1, 2]],
            "none": [],
            "null": null
        });
        let expected = "\
items:
- args:
  - -c
  - \"true\"
  - 'x: y'
  empty: {}
  name: a
- s
- - 1
  - 2
kind: List
metadata:
  annotations:
    a: \"\"
    last: |
      {\"x\":1}
  name: x
none: []
\"null\": null
";
        assert_eq!(to_yaml(&value), expected);
    }

    #[track_caller]
    fn case(text: &str, expected: &str) {
        assert_eq!(to_yaml(&json!(text)), format!("{expected}\n"));
    }

    #[test]
    fn a_text_is_quoted_where_it_would_be_read_as_something_else() {
        case("hello", "hello");
        case("5", "\"5\"");
        case("1.5e3", "\"1.5e3\"");
        case("1.36.0", "1.36.0");
        case("2026-01-31T10:00:00Z", "\"2026-01-31T10:00:00Z\"");
        case("no", "\"no\"");
        case("*", "'*'");
        case("a:b", "a:b");
        case("a: b", "'a: b'");
        case("it's", "it's");
        case("a\tb", "\"a\\tb\"");
        case("a\nb", "|-\n  a\n  b");
        case("12:30", "\"12:30\"");
        case("<<", "<<");
        case("\u{1f600}", "\"\\U0001F600\"");
    }

    #[test]
    fn long_lines_break_at_a_space_behind_column_80() {
        let numbers: Vec<_> = (1..=40).map(|number| number.to_string()).collect();
        let text = numbers.join(" ");
        let (head, tail) = text.split_at(text.find(" 30").unwrap());
        let rest = tail.trim_start();
        assert_eq!(
            to_yaml(&json!({"a": text})).replace("  ", " "),
            format!("a: {head} 30\n {}\n", &rest[3..])
        );
        let quoted = to_yaml(&json!({"a": format!("x: {text}")}));
        assert_eq!(quoted.lines().count(), 2, "{quoted}");
        assert_eq!(to_yaml(&json!({"a": "x".repeat(100)})).lines().count(), 1);
    }
}
