//! Label and field selectors, from a query string and from a typed `LabelSelector`.
//!
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/>

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// A conjunction of requirements on labels. The default selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

/// One clause of a [`Selector`]: a label's key, and what its value must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// One of these.
    In(String, Vec<String>),
    /// None of these, or there is no such label.
    NotIn(String, Vec<String>),
    /// Anything.
    Exists(String),
    /// There is no such label.
    DoesNotExist(String),
    /// A greater whole number.
    Greater(String, i64),
    /// A smaller whole number.
    Less(String, i64),
}

/// Why a selector cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unable to parse requirement {clause:?}: {reason}")]
pub struct ParseSelectorError {
    clause: String,
    reason: &'static str,
}

impl Selector {
    /// Reads the form of a query string: `app in (web, api),tier!=db,!legacy`.
    pub fn parse(text: &str) -> Result<Self, ParseSelectorError> {
        split_outside_parentheses(text)
            .into_iter()
            .map(str::trim)
            .filter(|clause| !clause.is_empty())
            .map(parse_clause)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The selector of a workload. An absent operator never matches, as in Kubernetes.
    #[must_use]
    pub fn from_label_selector(selector: &LabelSelector) -> Self {
        let equal = selector
            .match_labels
            .iter()
            .flatten()
            .map(|(key, value)| Requirement::In(key.clone(), vec![value.clone()]));
        let expressions = selector
            .match_expressions
            .iter()
            .flatten()
            .map(|expression| {
                let key = expression.key.clone();
                let values = expression.values.clone().unwrap_or_default();
                match expression.operator.as_str() {
                    "NotIn" => Requirement::NotIn(key, values),
                    "Exists" => Requirement::Exists(key),
                    "DoesNotExist" => Requirement::DoesNotExist(key),
                    // "In", and anything unknown: an unknown operator has no values and selects nothing.
                    _ => Requirement::In(key, values),
                }
            });
        Self(equal.chain(expressions).collect())
    }

    /// The selector of a Service: every pair must be present.
    #[must_use]
    pub fn from_map(labels: &BTreeMap<String, String>) -> Self {
        Self(
            labels
                .iter()
                .map(|(key, value)| Requirement::In(key.clone(), vec![value.clone()]))
                .collect(),
        )
    }

    /// True where `labels` satisfy every requirement.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches_with(|key| labels.get(key).map(String::as_str))
    }

    /// As [`Selector::matches`], for labels kept in another shape.
    pub fn matches_with<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| requirement.holds(&label))
    }

    /// Every clause, for those who select something other than labels of objects.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.0
    }

    /// True where there is no requirement, so that everything matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Requirement {
    fn holds<'a>(&self, label: &impl Fn(&str) -> Option<&'a str>) -> bool {
        let number = |key: &str| label(key).and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::In(key, values) => {
                label(key).is_some_and(|value| values.iter().any(|v| v == value))
            }
            Self::NotIn(key, values) => {
                label(key).is_none_or(|value| values.iter().all(|v| v != value))
            }
            Self::Exists(key) => label(key).is_some(),
            Self::DoesNotExist(key) => label(key).is_none(),
            Self::Greater(key, bound) => number(key).is_some_and(|value| value > *bound),
            Self::Less(key, bound) => number(key).is_some_and(|value| value < *bound),
        }
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut clauses = Vec::new();
    let (mut depth, mut start) = (0_i32, 0);
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                clauses.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    clauses.push(&text[start..]);
    clauses
}

fn parse_clause(clause: &str) -> Result<Requirement, ParseSelectorError> {
    let error = |reason| ParseSelectorError {
        clause: clause.to_owned(),
        reason,
    };
    if let Some(key) = clause.strip_prefix('!') {
        return key_of(key, &error).map(Requirement::DoesNotExist);
    }
    for (operator, make) in [
        (
            "!=",
            Requirement::NotIn as fn(String, Vec<String>) -> Requirement,
        ),
        ("==", Requirement::In),
        ("=", Requirement::In),
    ] {
        if let Some((key, value)) = clause.split_once(operator) {
            return Ok(make(key_of(key, &error)?, vec![value_of(value, &error)?]));
        }
    }
    for (operator, greater) in [('>', true), ('<', false)] {
        if let Some((key, value)) = clause.split_once(operator) {
            let bound = value
                .trim()
                .parse()
                .map_err(|_| error("the value must be an integer"))?;
            let key = key_of(key, &error)?;
            return Ok(if greater {
                Requirement::Greater(key, bound)
            } else {
                Requirement::Less(key, bound)
            });
        }
    }
    match clause.split_once(char::is_whitespace) {
        None => key_of(clause, &error).map(Requirement::Exists),
        Some((key, rest)) => parse_set(&key_of(key, &error)?, rest.trim(), &error),
    }
}

fn parse_set(
    key: &str,
    rest: &str,
    error: &impl Fn(&'static str) -> ParseSelectorError,
) -> Result<Requirement, ParseSelectorError> {
    let (negated, list) = match (rest.strip_prefix("notin"), rest.strip_prefix("in")) {
        (Some(list), _) => (true, list),
        (None, Some(list)) => (false, list),
        (None, None) => return Err(error("expected one of =, ==, !=, in, notin, <, >")),
    };
    let inner = list
        .trim()
        .strip_prefix('(')
        .and_then(|l| l.strip_suffix(')'));
    let values = inner.ok_or_else(|| error("expected a list in parentheses"))?;
    let values = values
        .split(',')
        .map(|value| value_of(value, error))
        .collect::<Result<_, _>>()?;
    Ok(if negated {
        Requirement::NotIn(key.to_owned(), values)
    } else {
        Requirement::In(key.to_owned(), values)
    })
}

fn key_of(
    key: &str,
    error: &impl Fn(&'static str) -> ParseSelectorError,
) -> Result<String, ParseSelectorError> {
    let key = key.trim();
    if crate::names::is_qualified_name(key) {
        Ok(key.to_owned())
    } else {
        Err(error("invalid label key"))
    }
}

fn value_of(
    value: &str,
    error: &impl Fn(&'static str) -> ParseSelectorError,
) -> Result<String, ParseSelectorError> {
    let value = value.trim();
    if crate::names::is_label_value(value) {
        Ok(value.to_owned())
    } else {
        Err(error("invalid label value"))
    }
}

/// A conjunction of equalities on fields, as in `spec.nodeName=node-1,status.phase!=Failed`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<FieldRequirement>);

/// One clause of a [`FieldSelector`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    /// Dotted path, such as `metadata.name`.
    pub path: String,
    /// The value it is compared with; may be empty.
    pub value: String,
    /// True for `=` and `==`, false for `!=`.
    pub equal: bool,
}

impl FieldSelector {
    /// Reads the form of a query string.
    pub fn parse(text: &str) -> Result<Self, ParseSelectorError> {
        text.split(',')
            .map(str::trim)
            .filter(|clause| !clause.is_empty())
            .map(parse_field)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The clauses, in the order given.
    #[must_use]
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.0
    }

    /// True where every clause holds; `field` gives a path's value, empty when absent.
    pub fn matches(&self, field: impl Fn(&str) -> String) -> bool {
        self.0
            .iter()
            .all(|clause| (field(&clause.path) == clause.value) == clause.equal)
    }

    /// True where there is no clause.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn parse_field(clause: &str) -> Result<FieldRequirement, ParseSelectorError> {
    let (path, value, equal) = if let Some((path, value)) = clause.split_once("!=") {
        (path, value, false)
    } else if let Some((path, value)) = clause.split_once("==").or_else(|| clause.split_once('=')) {
        (path, value, true)
    } else {
        return Err(ParseSelectorError {
            clause: clause.to_owned(),
            reason: "expected one of =, ==, !=",
        });
    };
    Ok(FieldRequirement {
        path: path.trim().to_owned(),
        value: value.trim().to_owned(),
        equal,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[track_caller]
    fn case(selector: &str, pairs: &[(&str, &str)], expected: bool) {
        assert_eq!(
            Selector::parse(selector).unwrap().matches(&labels(pairs)),
            expected,
            "{selector} on {pairs:?}"
        );
    }

    #[test]
    fn selectors_match_as_kubectl_documents() {
        case("", &[], true);
        case("app=web", &[("app", "web")], true);
        case("app==web", &[("app", "api")], false);
        case("app!=web", &[], true);
        case(
            "app in (web, solo),z!=1,!q",
            &[("app", "solo"), ("z", "2")],
            true,
        );
        case("app in (web,solo),!q", &[("app", "solo"), ("q", "")], false);
        case("app notin (web)", &[("app", "api")], true);
        case("app", &[("app", "")], true);
        case("n>3", &[("n", "4")], true);
        case("n<3", &[("n", "4")], false);
        case("app=", &[("app", "")], true);
    }

    #[test]
    fn a_malformed_selector_names_its_clause() {
        for bad in ["app in web", "a b c", "=x", "n>x", "app=a b"] {
            assert!(Selector::parse(bad).is_err(), "{bad}");
        }
        assert!(
            Selector::parse("ok,a b")
                .unwrap_err()
                .to_string()
                .contains("a b")
        );
    }

    #[test]
    fn a_field_selector_compares_empty_values_too() {
        let selector =
            FieldSelector::parse("involvedObject.namespace=,status.phase!=Failed").unwrap();
        assert!(selector.matches(|_| String::new()));
        assert!(!selector.matches(|path| if path == "status.phase" {
            "Failed".into()
        } else {
            String::new()
        }));
    }
}
