//! Label sets: what tells one series from another.

use std::fmt;
use std::sync::Arc;

/// The label that holds the metric's name.
pub const NAME: &str = "__name__";
/// The label that holds the upper bound of a histogram's bucket.
pub const BUCKET: &str = "le";

/// A name or value; shared by everything that carries it.
pub type Text = Arc<str>;

/// Labels sorted by name, without empty values: an empty label is one that is not there.
/// Clones share their memory.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Arc<[(Text, Text)]>);

impl Default for Labels {
    fn default() -> Self {
        Self(Arc::new([]))
    }
}

impl Labels {
    /// From pairs in any order; of two with the same name the later one wins.
    pub fn new<N: Into<Text>, V: Into<Text>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut builder = Builder::default();
        for (name, value) in pairs {
            builder.set(name, value);
        }
        builder.build()
    }

    /// The value of a label; empty where there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0
            .binary_search_by(|(known, _)| (**known).cmp(name))
            .map_or("", |at| &self.0[at].1)
    }

    /// Name and value of every label, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// As [`Labels::iter`], with the shared texts.
    pub(crate) fn pairs(&self) -> &[(Text, Text)] {
        &self.0
    }

    /// Number of labels.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True where there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same labels, to be changed.
    #[must_use]
    pub fn edit(&self) -> Builder {
        Builder(self.0.to_vec())
    }

    /// Without the metric's name.
    #[must_use]
    pub fn without_name(&self) -> Self {
        if self.get(NAME).is_empty() {
            return self.clone();
        }
        self.without(&[])
    }

    /// Without these and the metric's name.
    pub(crate) fn without(&self, names: &[String]) -> Self {
        let kept = self
            .0
            .iter()
            .filter(|(name, _)| **name != *NAME && !names.iter().any(|gone| **gone == **name));
        Self(kept.cloned().collect())
    }

    /// Only these.
    pub(crate) fn only(&self, names: &[String]) -> Self {
        let kept = self
            .0
            .iter()
            .filter(|(name, _)| names.iter().any(|kept| **kept == **name));
        Self(kept.cloned().collect())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Labels {
    /// As PromQL writes a series: `name{a="b"}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.get(NAME);
        f.write_str(name)?;
        let mut rest = self.iter().filter(|(label, _)| *label != NAME).peekable();
        if rest.peek().is_none() && !name.is_empty() {
            return Ok(());
        }
        f.write_str("{")?;
        for (at, (label, value)) in rest.enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{label}=\"{}\"", escape(value))?;
        }
        f.write_str("}")
    }
}

/// A label's value as the exposition format and PromQL quote it.
#[must_use]
pub(crate) fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// Labels in the making.
#[derive(Clone, Debug, Default)]
pub struct Builder(Vec<(Text, Text)>);

impl Builder {
    /// Sets a label; an empty value removes it.
    pub fn set(&mut self, name: impl Into<Text>, value: impl Into<Text>) {
        let (name, value) = (name.into(), value.into());
        let place = self.0.binary_search_by(|(known, _)| known.cmp(&name));
        match (place, value.is_empty()) {
            (Ok(at), true) => drop(self.0.remove(at)),
            (Ok(at), false) => self.0[at].1 = value,
            (Err(_), true) => {}
            (Err(at), false) => self.0.insert(at, (name, value)),
        }
    }

    /// Removes a label.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| **known != *name);
    }

    /// The value of a label so far; empty where there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0
            .binary_search_by(|(known, _)| (**known).cmp(name))
            .map_or("", |at| &self.0[at].1)
    }

    /// The finished labels.
    #[must_use]
    pub fn build(self) -> Labels {
        Labels(self.0.into())
    }
}

/// True for a label's name as Prometheus 2 takes it.
#[must_use]
pub(crate) fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// True for a metric's name as Prometheus 2 takes it.
#[must_use]
pub(crate) fn is_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || matches!(first, b'_' | b':'))
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_an_empty_one_is_not_there() {
        let labels = Labels::new([("z", "1"), ("a", "2"), ("m", ""), ("z", "3")]);
        assert_eq!(labels.to_string(), r#"{a="2", z="3"}"#);
        assert_eq!(labels.get("m"), "");
        assert_eq!(labels, Labels::new([("z", "3"), ("a", "2")]));
    }

    #[test]
    fn a_series_is_written_as_promql_writes_it() {
        let labels = Labels::new([(NAME, "up"), ("path", "a\"b\\c\nd")]);
        assert_eq!(labels.to_string(), r#"up{path="a\"b\\c\nd"}"#);
        assert_eq!(Labels::new([(NAME, "up")]).to_string(), "up");
        assert_eq!(Labels::default().to_string(), "{}");
    }
}
