//! Expressions: from characters to a tree.

use serde_json::Value;

use super::value::number;
use super::{Expression, Function, Operator, SyntaxError, function};
use crate::problem::did_you_mean;

/// How deep an expression may be nested, as GitHub has it.
const DEPTH_MAX: usize = 50;

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Literal(Value),
    Name(String),
    Sign(&'static str),
    End,
}

/// The signs of the language, longer ones first.
const SIGNS: &[&str] = &[
    "<=", ">=", "==", "!=", "&&", "||", "(", ")", "[", "]", ".", ",", "!", "<", ">", "*",
];

/// Reads an expression that ends with the text, or, inside `${{`, before `}}`. Returns it with the
/// number of bytes that it took, without the `}}`.
///
/// # Errors
/// Where it is not an expression, with the offset.
pub(super) fn parse(text: &str, embedded: bool) -> Result<(Expression, usize), SyntaxError> {
    let (tokens, length) = tokens(text, embedded)?;
    let mut parser = Parser {
        tokens,
        at: 0,
        depth: 0,
    };
    let expression = parser.or()?;
    match parser.peek() {
        Token::End => Ok((expression, length)),
        token => Err(parser.error(format!("{} is not expected here", said(token)))),
    }
}

fn tokens(text: &str, embedded: bool) -> Result<(Vec<(Token, usize)>, usize), SyntaxError> {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let trimmed = rest.trim_start();
        at += rest.len() - trimmed.len();
        if trimmed.is_empty() || embedded && trimmed.starts_with("}}") {
            if embedded && trimmed.is_empty() {
                return Err(SyntaxError::new(at, "the closing }} is missing"));
            }
            found.push((Token::End, at));
            return Ok((found, at));
        }
        let (token, length) = token(trimmed).map_err(|error| error.after(at))?;
        found.push((token, at));
        at += length;
    }
}

fn token(text: &str) -> Result<(Token, usize), SyntaxError> {
    let first = text.chars().next().unwrap_or(' ');
    if first == '\'' {
        return string(text);
    }
    if first == '"' {
        return Err(SyntaxError::new(
            0,
            "strings are written in single quotes: 'so'",
        ));
    }
    let numeric = text.strip_prefix(['-', '+']).unwrap_or(text);
    let numeric = numeric.strip_prefix('.').unwrap_or(numeric);
    if first.is_ascii_digit() || first != '.' && numeric.starts_with(|c: char| c.is_ascii_digit()) {
        return numeral(text);
    }
    if first.is_alphabetic() || first == '_' {
        let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        let end = text.find(|c| !word(c)).unwrap_or(text.len());
        let token = match &text[..end] {
            "true" => Token::Literal(Value::Bool(true)),
            "false" => Token::Literal(Value::Bool(false)),
            "null" => Token::Literal(Value::Null),
            name => Token::Name(name.to_owned()),
        };
        return Ok((token, end));
    }
    let sign = SIGNS.iter().find(|sign| text.starts_with(**sign));
    sign.map(|sign| (Token::Sign(sign), sign.len()))
        .ok_or_else(|| match first {
            '=' => SyntaxError::new(0, "\"=\" is not an operator; equality is \"==\""),
            '&' | '|' => SyntaxError::new(0, format!("{first:?} is not an operator; did you mean \"{first}{first}\"?")),
            '+' | '-' | '/' | '%' => SyntaxError::new(0, format!("{first:?} is not an operator: expressions do not calculate; do it in a `run` step")),
            _ => SyntaxError::new(0, format!("{first:?} has no meaning here")),
        })
}

/// `'it''s'`
fn string(text: &str) -> Result<(Token, usize), SyntaxError> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != '\'' {
            value.push(c);
        } else if chars.next_if(|(_, next)| *next == '\'').is_some() {
            value.push('\'');
        } else {
            return Ok((Token::Literal(Value::String(value)), at + 1));
        }
    }
    Err(SyntaxError::new(0, "this string is not closed"))
}

fn numeral(text: &str) -> Result<(Token, usize), SyntaxError> {
    let mut end = 0;
    for (at, c) in text.char_indices() {
        let exponent = matches!(c, '+' | '-') && (at == 0 || text[..at].ends_with(['e', 'E']));
        if !(c.is_ascii_alphanumeric() || c == '.' || exponent) {
            break;
        }
        end = at + c.len_utf8();
    }
    let word = &text[..end];
    let value = super::value::to_number(&Value::String(word.to_owned()));
    if value.is_nan() {
        return Err(SyntaxError::new(0, format!("{word:?} is not a number")));
    }
    Ok((Token::Literal(number(value)), end))
}

fn said(token: &Token) -> String {
    match token {
        Token::Literal(value) => value.to_string(),
        Token::Name(name) => format!("{name:?}"),
        Token::Sign(sign) => format!("{sign:?}"),
        Token::End => "the end of the expression".to_owned(),
    }
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn error(&self, message: impl Into<String>) -> SyntaxError {
        SyntaxError::new(self.tokens[self.at].1, message)
    }

    fn next(&mut self) -> Token {
        let token = self.tokens[self.at].0.clone();
        // The last token is the end, which is never passed.
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn takes(&mut self, sign: &str) -> bool {
        let there = matches!(self.peek(), Token::Sign(found) if *found == sign);
        if there {
            self.next();
        }
        there
    }

    fn expect(&mut self, sign: &str) -> Result<(), SyntaxError> {
        if self.takes(sign) {
            return Ok(());
        }
        Err(self.error(format!("{sign:?} is expected, not {}", said(self.peek()))))
    }

    fn or(&mut self) -> Result<Expression, SyntaxError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error("this is nested too deeply"));
        }
        let mut left = self.and()?;
        while self.takes("||") {
            left = binary(Operator::Or, left, self.and()?);
        }
        self.depth -= 1;
        Ok(left)
    }

    fn and(&mut self) -> Result<Expression, SyntaxError> {
        let mut left = self.equality()?;
        while self.takes("&&") {
            left = binary(Operator::And, left, self.equality()?);
        }
        Ok(left)
    }

    fn equality(&mut self) -> Result<Expression, SyntaxError> {
        let mut left = self.relation()?;
        loop {
            let operator = if self.takes("==") {
                Operator::Equal
            } else if self.takes("!=") {
                Operator::NotEqual
            } else {
                return Ok(left);
            };
            left = binary(operator, left, self.relation()?);
        }
    }

    fn relation(&mut self) -> Result<Expression, SyntaxError> {
        let mut left = self.not()?;
        loop {
            let operator = if self.takes("<=") {
                Operator::LessOrEqual
            } else if self.takes(">=") {
                Operator::GreaterOrEqual
            } else if self.takes("<") {
                Operator::Less
            } else if self.takes(">") {
                Operator::Greater
            } else {
                return Ok(left);
            };
            left = binary(operator, left, self.not()?);
        }
    }

    fn not(&mut self) -> Result<Expression, SyntaxError> {
        let mut count = 0_usize;
        while self.takes("!") {
            count += 1;
        }
        let mut value = self.postfix()?;
        for _ in 0..count.min(2 + count % 2) {
            value = Expression::Not(Box::new(value));
        }
        Ok(value)
    }

    fn postfix(&mut self) -> Result<Expression, SyntaxError> {
        let mut value = self.primary()?;
        loop {
            if self.takes(".") {
                value = if self.takes("*") {
                    Expression::Each(Box::new(value))
                } else if let Token::Name(name) = self.peek().clone() {
                    self.next();
                    index(value, Expression::Literal(Value::String(name)))
                } else {
                    let message =
                        format!("a name is expected after \".\", not {}", said(self.peek()));
                    return Err(self.error(message));
                };
            } else if self.takes("[") {
                if self.takes("*") {
                    value = Expression::Each(Box::new(value));
                } else {
                    let key = self.or()?;
                    value = index(value, key);
                }
                self.expect("]")?;
            } else {
                return Ok(value);
            }
        }
    }

    fn primary(&mut self) -> Result<Expression, SyntaxError> {
        let offset = self.tokens[self.at].1;
        if self.takes("(") {
            let inner = self.or()?;
            self.expect(")")?;
            return Ok(inner);
        }
        match self.peek().clone() {
            Token::Literal(value) => {
                self.next();
                Ok(Expression::Literal(value))
            }
            Token::Name(name) => {
                self.next();
                if self.takes("(") {
                    let arguments = self.arguments()?;
                    return call(&name, arguments, offset);
                }
                Ok(Expression::Context { name, offset })
            }
            Token::End => Err(self.error("an expression is expected here")),
            token @ Token::Sign(_) => {
                Err(self.error(format!("a value is expected here, not {}", said(&token))))
            }
        }
    }

    fn arguments(&mut self) -> Result<Vec<Expression>, SyntaxError> {
        let mut arguments = Vec::new();
        if self.takes(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.or()?);
            if !self.takes(",") {
                self.expect(")")?;
                return Ok(arguments);
            }
        }
    }
}

fn binary(operator: Operator, left: Expression, right: Expression) -> Expression {
    Expression::Binary(operator, Box::new(left), Box::new(right))
}

fn index(value: Expression, key: Expression) -> Expression {
    Expression::Index(Box::new(value), Box::new(key))
}

fn call(name: &str, arguments: Vec<Expression>, offset: usize) -> Result<Expression, SyntaxError> {
    let def = function::ALL
        .iter()
        .find(|def| def.name.eq_ignore_ascii_case(name));
    let Some(def) = def else {
        let hint = did_you_mean(name, function::ALL.iter().map(|def| def.name));
        return Err(SyntaxError::new(
            offset,
            format!("there is no function {name}{hint}"),
        ));
    };
    let count = arguments.len();
    if count < def.least || def.most.is_some_and(|most| count > most) {
        let wanted = match def.most {
            Some(most) if most == def.least => most.to_string(),
            Some(most) => format!("{} to {most}", def.least),
            None => format!("{} or more", def.least),
        };
        let message = format!("{} takes {wanted} argument(s), not {count}", def.name);
        return Err(SyntaxError::new(offset, message));
    }
    let function: Function = def.function;
    Ok(Expression::Call {
        function,
        arguments,
        offset,
    })
}
