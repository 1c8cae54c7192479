//! Regular expressions in the parameters of checks.

use std::borrow::Cow;

use regex::{Regex, RegexBuilder};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use crate::context::Addresses;

/// A larger automaton is refused: a pattern of a lab is a line.
const SIZE_MAX: usize = 1 << 20;

/// A regular expression that was understood. `^` and `$` are the ends of lines.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(Regex);

impl Pattern {
    /// Reads one. The error says what is wrong with it.
    pub(crate) fn parse(source: &str) -> Result<Self, String> {
        // A lab is looked at before there is a cluster whose addresses could be filled in.
        let source = Addresses::default().fill(source);
        RegexBuilder::new(&source)
            .multi_line(true)
            .size_limit(SIZE_MAX)
            .build()
            .map(Self)
            .map_err(|error| {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                format!("{source:?} is no regular expression: {last}")
            })
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// Where it matches first: the number of the line (from 1) and the line.
    pub(crate) fn first_line<'a>(&self, text: &'a str) -> Option<(usize, &'a str)> {
        let at = self.0.find(text)?.start();
        let line = text[..at].matches('\n').count();
        Some((line + 1, text.lines().nth(line).unwrap_or_default()))
    }

    /// The text.
    pub(crate) fn source(&self) -> &str {
        self.0.as_str()
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for Pattern {
    fn schema_name() -> Cow<'static, str> {
        "Pattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "regex"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_that_cannot_be_read_is_refused_with_its_fault() {
        let error = Pattern::parse("(").unwrap_err();
        assert!(
            error.contains("\"(\"") && error.contains("group"),
            "{error}"
        );
        Pattern::parse("a{1000}{1000}{1000}").unwrap_err();
        Pattern::parse("^{{registry}}/hello:").unwrap();
    }

    #[test]
    fn the_line_of_the_first_match_is_found() {
        let pattern = Pattern::parse("^b$").unwrap();
        assert_eq!(pattern.first_line("a\nb\nc"), Some((2, "b")));
        assert_eq!(pattern.first_line("ab"), None);
    }
}
