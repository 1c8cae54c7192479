//! Words of PromQL, each with its place.

use std::iter::Peekable;
use std::str::CharIndices;

use lab_api::monitoring::duration_ms;

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name or keyword.
    Word(String),
    /// A number.
    Number(f64),
    /// A duration in milliseconds, as `5m`.
    Duration(i64),
    /// A text without its quotes.
    Text(String),
    /// An operator or bracket.
    Sign(&'static str),
    /// Nothing is left.
    End,
}

impl Token {
    /// As an error names it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Word(word) => format!("{word:?}"),
            Self::Number(number) => format!("number {number}"),
            Self::Duration(ms) => format!("duration of {ms} ms"),
            Self::Text(text) => format!("string {text:?}"),
            Self::Sign(sign) => format!("\"{sign}\""),
            Self::End => "the end of the query".to_owned(),
        }
    }
}

/// A word and where it begins, in bytes.
pub(super) type Placed = (Token, usize);

/// Longer signs first: `==` is not `=` twice.
const SIGNS: [&str; 25] = [
    "==", "!=", "=~", "!~", ">=", "<=", "=", ">", "<", "+", "-", "*", "/", "%", "^", "(", ")", "{",
    "}", "[", "]", ",", ":", "@", ";",
];

/// Cuts a query into words.
///
/// # Errors
/// The place and what is wrong there.
pub(super) fn lex(text: &str) -> Result<Vec<Placed>, (usize, String)> {
    let mut lexer = Lexer {
        text,
        chars: text.char_indices().peekable(),
        tokens: Vec::new(),
        brackets: 0,
    };
    while let Some((at, first)) = lexer.chars.peek().copied() {
        lexer.token(at, first)?;
    }
    lexer.tokens.push((Token::End, text.len()));
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
    tokens: Vec<Placed>,
    /// Depth of `[`, where a colon is a sign and not a part of a name.
    brackets: usize,
}

impl Lexer<'_> {
    fn token(&mut self, at: usize, first: char) -> Result<(), (usize, String)> {
        match first {
            _ if first.is_whitespace() => {
                self.chars.next();
            }
            '#' => while self.chars.next_if(|(_, c)| *c != '\n').is_some() {},
            '"' | '\'' | '`' => self.quoted(at, first)?,
            '0'..='9' => self.number(at)?,
            '.' if self.text[at + 1..].starts_with(|c: char| c.is_ascii_digit()) => {
                self.number(at)?;
            }
            'a'..='z' | 'A'..='Z' | '_' => self.word(at),
            ':' if self.brackets == 0 => self.word(at),
            _ => self.sign(at, first)?,
        }
        Ok(())
    }

    fn word(&mut self, at: usize) {
        let colons = self.brackets == 0;
        let part = move |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
        while self.chars.next_if(|(_, c)| part(*c)).is_some() {}
        let word = self.since(at);
        let token = match word.to_ascii_lowercase().as_str() {
            "inf" => Token::Number(f64::INFINITY),
            "nan" => Token::Number(f64::NAN),
            _ => Token::Word(word.to_owned()),
        };
        self.tokens.push((token, at));
    }

    fn since(&mut self, at: usize) -> &str {
        let end = self.chars.peek().map_or(self.text.len(), |(end, _)| *end);
        &self.text[at..end]
    }

    fn sign(&mut self, at: usize, first: char) -> Result<(), (usize, String)> {
        let rest = &self.text[at..];
        let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) else {
            return Err((at, format!("unexpected character {first:?}")));
        };
        for _ in sign.chars() {
            self.chars.next();
        }
        match *sign {
            "[" => self.brackets += 1,
            "]" => self.brackets = self.brackets.saturating_sub(1),
            _ => {}
        }
        self.tokens.push((Token::Sign(sign), at));
        Ok(())
    }

    /// A number (`1`, `.5`, `1e3`, `0x1f`) or a duration (`5m`, `1h30m`).
    fn number(&mut self, at: usize) -> Result<(), (usize, String)> {
        let mut before = ' ';
        while let Some((_, c)) = self.chars.next_if(|(_, c)| {
            c.is_ascii_alphanumeric()
                || *c == '.'
                || *c == '_'
                || (matches!(*c, '+' | '-') && matches!(before, 'e' | 'E'))
        }) {
            before = c;
        }
        let word = self.since(at).to_owned();
        let token = number(&word)
            .map(Token::Number)
            .or_else(|| duration_ms(&word).map(Token::Duration));
        let problem = || (at, format!("bad number or duration syntax: {word:?}"));
        self.tokens.push((token.ok_or_else(problem)?, at));
        Ok(())
    }

    fn quoted(&mut self, at: usize, quote: char) -> Result<(), (usize, String)> {
        self.chars.next();
        let mut text = String::new();
        loop {
            match self.chars.next() {
                Some((_, c)) if c == quote => break,
                Some((place, '\\')) if quote != '`' => text.push(self.escape(place)?),
                Some((_, '\n')) | None if quote != '`' => {
                    return Err((at, "unterminated quoted string".to_owned()));
                }
                None => return Err((at, "unterminated raw string".to_owned())),
                Some((_, c)) => text.push(c),
            }
        }
        self.tokens.push((Token::Text(text), at));
        Ok(())
    }

    /// As in Go.
    fn escape(&mut self, at: usize) -> Result<char, (usize, String)> {
        let unknown = || (at, "unknown escape sequence".to_owned());
        let (_, c) = self.chars.next().ok_or_else(unknown)?;
        let digits = match c {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            'n' => return Ok('\n'),
            't' => return Ok('\t'),
            'r' => return Ok('\r'),
            'a' => return Ok('\u{7}'),
            'b' => return Ok('\u{8}'),
            'f' => return Ok('\u{c}'),
            'v' => return Ok('\u{b}'),
            '\\' | '"' | '\'' => return Ok(c),
            _ => return Err(unknown()),
        };
        let mut code = 0;
        for _ in 0..digits {
            let digit = self.chars.next().and_then(|(_, c)| c.to_digit(16));
            code = code * 16 + digit.ok_or_else(unknown)?;
        }
        char::from_u32(code).ok_or_else(unknown)
    }
}

fn number(word: &str) -> Option<f64> {
    let hex = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    if let Some(hex) = hex {
        let parsed = u64::from_str_radix(hex, 16).ok()?;
        #[expect(clippy::cast_precision_loss, reason = "a query's number is a double")]
        return Some(parsed as f64);
    }
    word.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_is_part_of_a_name_but_not_of_a_range() {
        let words = |text| -> Vec<Token> {
            lex(text)
                .unwrap()
                .into_iter()
                .map(|(token, _)| token)
                .collect()
        };
        assert_eq!(
            words("job:up:sum"),
            [Token::Word("job:up:sum".into()), Token::End]
        );
        assert_eq!(
            words("[5m:1m]"),
            [
                Token::Sign("["),
                Token::Duration(300_000),
                Token::Sign(":"),
                Token::Duration(60_000),
                Token::Sign("]"),
                Token::End
            ]
        );
    }
}
