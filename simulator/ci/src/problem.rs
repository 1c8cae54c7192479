//! What is wrong with a workflow file, and where.

use std::fmt;

/// A place in a file, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

impl Place {
    pub(crate) fn new(line: usize, column: usize) -> Self {
        Self {
            line: line as u64,
            column: column as u64,
        }
    }

    /// So many columns further.
    pub(crate) fn shifted(mut self, columns: u64) -> Self {
        self.column += columns;
        self
    }
}

/// One fault of a workflow file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the repository names it.
    pub file: String,
    /// Where; `None` where the file as a whole is meant.
    pub at: Option<Place>,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Problem {
    pub(crate) fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            at: None,
            message: message.into(),
        }
    }

    pub(crate) fn at(file: &str, at: Place, message: impl Into<String>) -> Self {
        Self {
            at: Some(at),
            ..Self::of_file(file, message)
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, at, message } = self;
        match at {
            Some(Place { line, column }) => write!(formatter, "{file}:{line}:{column}: {message}"),
            None => write!(formatter, "{file}: {message}"),
        }
    }
}

/// Everything that is wrong with a workflow file, at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Problems(pub Vec<Problem>);

/// The nearest of some names to a misspelt one, if any is near: two letters off, or half of a
/// short word.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, near) = known
        .into_iter()
        .map(|known| (distance(&name.to_lowercase(), &known.to_lowercase()), known))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= 2.min(name.chars().count() / 2)).then_some(near)
}

/// `; did you mean NAME?`, or nothing.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(String::new, |near| format!("; did you mean {near}?"))
}

/// Letters to insert, remove, replace or swap with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<_>, Vec<_>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_another_word_is_not() {
        let known = ["steps", "needs", "strategy", "runs-on"];
        assert_eq!(nearest("step", known), Some("steps"));
        assert_eq!(nearest("nedes", known), Some("needs"));
        assert_eq!(nearest("run-on", known), Some("runs-on"));
        assert_eq!(nearest("stratgey", known), Some("strategy"));
        assert_eq!(nearest("container", known), None);
        assert_eq!(nearest("x", known), None);
    }
}
