//! From text to tokens.

use super::Problem;

/// A token and the byte offset at which it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Where it begins.
    pub at: usize,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    /// A whole number.
    Int(i64),
    /// A number with a point or an exponent.
    Float(f64),
    /// A text, unescaped.
    Text(String),
    /// A name, or an operator that is a word.
    Name(String),
    /// `#`, `#index`, `#acc`: the name after the sign.
    Pointer(String),
    /// An operator or bracket.
    Sign(&'static str),
    /// The end.
    End,
}

/// Operators and brackets; the longer ones first.
const SIGNS: &[&str] = &[
    "..", "**", "==", "!=", "<=", ">=", "&&", "||", "??", "?.", "::", "+", "-", "*", "/", "%", "^",
    "<", ">", "!", "?", ":", ",", ".", "(", ")", "[", "]", "{", "}", "|", ";", "=",
];

/// Tokens of one expression, so that no tree grows too deep to be walked.
const TOKENS_AT_MOST: usize = 1000;

/// The tokens of a text, and [`TokenKind::End`].
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, Problem> {
    let mut lexer = Lexer { source, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip()?;
        let at = lexer.at;
        let kind = lexer.next()?;
        if tokens.len() >= TOKENS_AT_MOST {
            return Err(("the expression is too long".to_owned(), at));
        }
        let end = kind == TokenKind::End;
        tokens.push(Token { kind, at });
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn skip(&mut self) -> Result<(), Problem> {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            if blank > 0 {
                self.at += blank;
            } else if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                let end = rest
                    .find("*/")
                    .ok_or_else(|| ("unclosed comment".to_owned(), self.at))?;
                self.at += end + 2;
            } else {
                return Ok(());
            }
        }
    }

    fn next(&mut self) -> Result<TokenKind, Problem> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(TokenKind::End);
        };
        let digit_follows = rest[first.len_utf8()..].starts_with(|c: char| c.is_ascii_digit());
        match first {
            '"' | '\'' => self.quoted(first),
            '`' => self.raw(),
            '0'..='9' => self.number(),
            '.' if digit_follows => self.number(),
            '#' => {
                self.at += 1;
                Ok(TokenKind::Pointer(self.word()))
            }
            _ if is_word_start(first) => Ok(TokenKind::Name(self.word())),
            _ => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                Some(sign) => {
                    self.at += sign.len();
                    Ok(TokenKind::Sign(sign))
                }
                None => Err((format!("unrecognized character: {first:?}"), self.at)),
            },
        }
    }

    fn word(&mut self) -> String {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(is_word_start(c) || c.is_ascii_digit()))
            .unwrap_or(rest.len());
        self.at += end;
        rest[..end].to_owned()
    }

    fn number(&mut self) -> Result<TokenKind, Problem> {
        let start = self.at;
        let rest = self.rest();
        let bad = |text: &str| (format!("bad number syntax: {text:?}"), start);
        for (prefix, radix) in [("0x", 16), ("0X", 16), ("0b", 2), ("0o", 8)] {
            if let Some(digits) = rest.strip_prefix(prefix) {
                let end = digits
                    .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                    .unwrap_or(digits.len());
                self.at += prefix.len() + end;
                let digits = digits[..end].replace('_', "");
                return i64::from_str_radix(&digits, radix)
                    .map(TokenKind::Int)
                    .map_err(|_| bad(&rest[..prefix.len() + end]));
            }
        }
        let bytes = rest.as_bytes();
        let mut end = 0;
        let mut whole = true;
        while let Some(&byte) = bytes.get(end) {
            let next = bytes.get(end + 1).copied();
            match byte {
                b'0'..=b'9' | b'_' => {}
                // `1..3` is a range, not a number with two points.
                b'.' if whole && next != Some(b'.') => whole = false,
                b'e' | b'E' => {
                    whole = false;
                    if matches!(next, Some(b'+' | b'-')) {
                        end += 1;
                    }
                }
                _ => break,
            }
            end += 1;
        }
        self.at += end;
        let text = rest[..end].replace('_', "");
        if whole && let Ok(number) = text.parse() {
            return Ok(TokenKind::Int(number));
        }
        if self.rest().starts_with(is_word_start) {
            return Err(bad(&rest[..end]));
        }
        text.parse()
            .map(TokenKind::Float)
            .map_err(|_| bad(&rest[..end]))
    }

    fn raw(&mut self) -> Result<TokenKind, Problem> {
        let start = self.at;
        let inside = &self.rest()[1..];
        let end = inside
            .find('`')
            .ok_or_else(|| ("literal not terminated".to_owned(), start))?;
        self.at += end + 2;
        Ok(TokenKind::Text(inside[..end].to_owned()))
    }

    fn quoted(&mut self, quote: char) -> Result<TokenKind, Problem> {
        let start = self.at;
        let inside = &self.rest()[1..];
        let mut text = String::new();
        let mut chars = inside.char_indices();
        while let Some((offset, char)) = chars.next() {
            match char {
                _ if char == quote => {
                    self.at = start + 1 + offset + 1;
                    return Ok(TokenKind::Text(text));
                }
                '\\' => {
                    let place = start + 1 + offset;
                    let escaped = chars.next().map(|(_, char)| char);
                    text.push(match escaped {
                        Some('n') => '\n',
                        Some('t') => '\t',
                        Some('r') => '\r',
                        Some('0') => '\0',
                        Some(same @ ('\\' | '\'' | '"' | '`')) => same,
                        Some('u') => {
                            let digits: String =
                                chars.by_ref().take(4).map(|(_, char)| char).collect();
                            u32::from_str_radix(&digits, 16)
                                .ok()
                                .and_then(char::from_u32)
                                .ok_or_else(|| ("unable to unescape string".to_owned(), place))?
                        }
                        Some(_) | None => {
                            return Err(("unable to unescape string".to_owned(), place));
                        }
                    });
                }
                '\n' => break,
                _ => text.push(char),
            }
        }
        Err(("literal not terminated".to_owned(), start))
    }
}

fn is_word_start(c: char) -> bool {
    c.is_alphabetic() || c == '_' || c == '$'
}
