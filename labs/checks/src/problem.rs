//! What is wrong with a lab, and where.

use std::fmt;

use serde::Serialize;

/// One fault in a lab's files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, as its author knows it.
    pub file: String,
    /// Line, from 1; 0 where the file as a whole is meant.
    pub line: u64,
    /// Column, from 1; 0 where the line as a whole is meant.
    pub column: u64,
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Problem {
    /// A fault of a whole file.
    #[must_use]
    pub fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            message: message.into(),
            hint: None,
        }
    }

    /// The same, at a place.
    #[must_use]
    pub fn at(mut self, line: u64, column: u64) -> Self {
        (self.line, self.column) = (line, column);
        self
    }

    /// The same, with what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            message,
            hint,
        } = self;
        match (line, column) {
            (0, _) => write!(formatter, "{file}: {message}")?,
            (_, 0) => write!(formatter, "{file}:{line}: {message}")?,
            (_, _) => write!(formatter, "{file}:{line}:{column}: {message}")?,
        }
        match hint {
            Some(hint) => write!(formatter, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with some labs, at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct Problems(pub Vec<Problem>);

fn lines(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// The nearest of some names to a misspelt one, if any is near.
#[must_use]
pub fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = names.into_iter().map(|name| (distance(wrong, name), name));
    let (distance, name) = near.min()?;
    (distance <= wrong.len().div_ceil(3)).then_some(name)
}

/// Edit distance.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<_> = right.chars().collect();
    let mut row: Vec<_> = (0..=right.len()).collect();
    for (at, from) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, to) in right.iter().enumerate() {
            let above = row[column + 1];
            let changed = diagonal + usize::from(from != *to);
            row[column + 1] = changed.min(above + 1).min(row[column] + 1);
            diagonal = above;
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_its_neighbour() {
        let names = ["deployment-available", "http-responds"];
        assert_eq!(
            nearest("deploymnet-available", names),
            Some("deployment-available")
        );
        assert_eq!(nearest("volume-mounted", names), None);
    }
}
