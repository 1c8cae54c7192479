//! Rules for names, labels and annotations wherever they stand in a spec, with upstream's
//! messages (`k8s.io/apimachinery/pkg/util/validation`).

use std::collections::BTreeMap;

use lab_api::names;

use crate::validation::FieldError;

/// What the names of a kind must look like.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameRule {
    /// RFC 1123 subdomain: most kinds.
    DnsSubdomain,
    /// RFC 1123 label: Namespace.
    DnsLabel,
    /// RFC 1035 label, which starts with a letter: Service.
    Dns1035Label,
}

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const RFC_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// Longest total of annotation keys and values, in bytes.
const ANNOTATIONS_MAX: usize = 256 * 1024;

fn too_long(max: usize) -> String {
    format!("must be no more than {max} characters")
}

/// What is wrong with `name` under `rule`; empty when it is right.
pub(super) fn name_problems(name: &str, rule: NameRule) -> Vec<String> {
    let (max, right, sentence) = match rule {
        NameRule::DnsSubdomain => (
            names::DNS_SUBDOMAIN_MAX,
            name.split('.').all(has_label_shape),
            SUBDOMAIN,
        ),
        NameRule::DnsLabel => (names::DNS_LABEL_MAX, has_label_shape(name), LABEL),
        NameRule::Dns1035Label => (
            names::DNS_LABEL_MAX,
            has_label_shape(name) && name.starts_with(|c: char| c.is_ascii_lowercase()),
            RFC_1035,
        ),
    };
    let mut problems = Vec::new();
    if name.len() > max {
        problems.push(too_long(max));
    }
    if !right {
        problems.push(sentence.to_owned());
    }
    problems
}

/// A DNS label of any length: length has a message of its own.
fn has_label_shape(label: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !label.is_empty()
        && label.chars().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// What is wrong with a label or annotation key.
pub(super) fn qualified_name_problems(key: &str) -> Vec<String> {
    let (prefix, name) = match key.split('/').collect::<Vec<_>>()[..] {
        [name] => (None, name),
        [prefix, name] => (Some(prefix), name),
        _ => {
            return vec![format!(
                "a qualified name {QUALIFIED} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    let mut problems = match prefix {
        None => Vec::new(),
        Some("") => vec!["prefix part must be non-empty".to_owned()],
        Some(prefix) => name_problems(prefix, NameRule::DnsSubdomain)
            .into_iter()
            .map(|problem| format!("prefix part {problem}"))
            .collect(),
    };
    if name.is_empty() {
        problems.push("name part must be non-empty".to_owned());
    } else if name.len() > names::DNS_LABEL_MAX {
        problems.push(format!("name part {}", too_long(names::DNS_LABEL_MAX)));
    }
    if !has_value_shape(name) {
        problems.push(format!("name part {QUALIFIED}"));
    }
    problems
}

fn has_value_shape(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(edge)
        && text.ends_with(edge)
        && text
            .chars()
            .all(|c| edge(c) || matches!(c, '-' | '_' | '.'))
}

/// What is wrong with a label value.
pub(super) fn label_value_problems(value: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if value.len() > names::DNS_LABEL_MAX {
        problems.push(too_long(names::DNS_LABEL_MAX));
    }
    if !value.is_empty() && !has_value_shape(value) {
        problems.push(LABEL_VALUE.to_owned());
    }
    problems
}

/// Adds one `Invalid` per problem.
pub(super) fn push_problems(
    errors: &mut Vec<FieldError>,
    path: &str,
    value: &str,
    problems: Vec<String>,
) {
    errors.extend(
        problems
            .into_iter()
            .map(|problem| FieldError::invalid(path, value, problem)),
    );
}

/// Checks the labels at `path`.
pub(super) fn validate_labels(
    labels: Option<&BTreeMap<String, String>>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    for (key, value) in labels.into_iter().flatten() {
        push_problems(errors, path, key, qualified_name_problems(key));
        push_problems(errors, path, value, label_value_problems(value));
    }
}

/// Checks the annotations at `path`.
pub(super) fn validate_annotations(
    annotations: Option<&BTreeMap<String, String>>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let mut total = 0;
    for (key, value) in annotations.into_iter().flatten() {
        // Upstream lower-cases the key, so that "example.com/MyKey" and its like pass.
        push_problems(
            errors,
            path,
            key,
            qualified_name_problems(&key.to_lowercase()),
        );
        total += key.len() + value.len();
    }
    if total > ANNOTATIONS_MAX {
        errors.push(FieldError::too_long(path, ANNOTATIONS_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(problems: &[String], expected: &[&str]) {
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for (problem, start) in problems.iter().zip(expected) {
            assert!(problem.starts_with(start), "{problem}");
        }
    }

    #[test]
    fn a_name_says_what_it_must_look_like() {
        case(&name_problems("web.example", NameRule::DnsSubdomain), &[]);
        let subdomain = "a lowercase RFC 1123 subdomain must consist";
        case(
            &name_problems("My_App", NameRule::DnsSubdomain),
            &[subdomain],
        );
        case(
            &name_problems("a.b", NameRule::DnsLabel),
            &["a lowercase RFC 1123 label must"],
        );
        case(
            &name_problems("1a", NameRule::Dns1035Label),
            &["a DNS-1035 label must consist"],
        );
        let long = "a".repeat(64);
        case(
            &name_problems(&long, NameRule::DnsLabel),
            &["must be no more than 63 characters"],
        );
    }

    #[test]
    fn a_key_has_a_domain_and_a_name() {
        case(&qualified_name_problems("app.kubernetes.io/name"), &[]);
        case(
            &qualified_name_problems("a b"),
            &["name part must consist of"],
        );
        case(
            &qualified_name_problems("/a"),
            &["prefix part must be non-empty"],
        );
        case(
            &qualified_name_problems("x/y/z"),
            &["a qualified name must consist of"],
        );
        case(
            &label_value_problems("-"),
            &["a valid label must be an empty string"],
        );
    }
}
