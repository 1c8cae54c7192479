//! `strategy.matrix`: from lists of values to one job per combination.
//! <https://docs.github.com/en/actions/how-tos/write-workflows/choose-what-workflows-do/run-job-variations>

use serde_json::{Map, Value};

use crate::expression::value::{equal, to_text};

/// Jobs that a matrix may make, as on GitHub.
const JOBS_MAX: usize = 256;

/// The values of one job.
pub(crate) type Combination = Map<String, Value>;

/// Every combination, in order: the first key changes slowest, what `include` adds comes last.
///
/// # Errors
/// Where it is no matrix.
pub(crate) fn expand(matrix: &Value) -> Result<Vec<Combination>, String> {
    let Value::Object(entries) = matrix else {
        return Err("a matrix is a mapping of names to lists".to_owned());
    };
    let mut combinations = vec![Combination::new()];
    let mut axes = Vec::new();
    for (name, values) in entries {
        if matches!(name.as_str(), "include" | "exclude") {
            continue;
        }
        let Value::Array(values) = values else {
            return Err(format!("matrix.{name} must be a list"));
        };
        if values.is_empty() {
            return Err(format!("matrix.{name} is empty, which leaves no job"));
        }
        axes.push(name.as_str());
        let with = |combination: &Combination| {
            let combination = combination.clone();
            values.iter().map(move |value| {
                let mut combination = combination.clone();
                combination.insert(name.clone(), value.clone());
                combination
            })
        };
        combinations = combinations.iter().flat_map(with).collect();
        within_limit(&combinations)?;
    }
    if axes.is_empty() {
        combinations.clear();
    }
    for excluded in list(entries, "exclude")? {
        combinations.retain(|combination| !agrees(combination, excluded));
    }
    include(&mut combinations, &axes, list(entries, "include")?);
    within_limit(&combinations)?;
    if combinations.is_empty() {
        return Err("the matrix leaves no job".to_owned());
    }
    Ok(combinations)
}

fn within_limit(combinations: &[Combination]) -> Result<(), String> {
    if combinations.len() > JOBS_MAX {
        return Err(format!("the matrix makes more than {JOBS_MAX} jobs"));
    }
    Ok(())
}

fn list<'a>(entries: &'a Map<String, Value>, name: &str) -> Result<Vec<&'a Combination>, String> {
    let invalid = || format!("matrix.{name} must be a list of mappings");
    let items = match entries.get(name) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(invalid()),
    };
    let items = items
        .iter()
        .map(|item| item.as_object().ok_or_else(invalid));
    items.collect()
}

/// True where every value that is named is the same.
fn agrees(combination: &Combination, wanted: &Combination) -> bool {
    wanted.iter().all(|(name, value)| {
        let own = combination.get(name);
        own.is_some_and(|own| same(own, value))
    })
}

/// Equal, lists and mappings by what is in them.
fn same(a: &Value, b: &Value) -> bool {
    a == b || equal(a, b)
}

/// Each is merged into every combination whose original values it does not change; where there is
/// none, it becomes a job of its own.
fn include(combinations: &mut Vec<Combination>, axes: &[&str], includes: Vec<&Combination>) {
    let originals = combinations.len();
    for wanted in includes {
        let mut merged = false;
        for combination in &mut combinations[..originals] {
            let keeps = axes.iter().all(|axis| match wanted.get(*axis) {
                Some(value) => combination.get(*axis).is_some_and(|own| same(own, value)),
                None => true,
            });
            if keeps {
                let more = wanted
                    .iter()
                    .filter(|(name, _)| !axes.contains(&name.as_str()));
                combination.extend(more.map(|(name, value)| (name.clone(), value.clone())));
                merged = true;
            }
        }
        if !merged {
            combinations.push(wanted.clone());
        }
    }
}

/// `12, linux`: what a job of a matrix is called by.
pub(crate) fn label(combination: &Combination) -> String {
    let texts = combination.values().map(|value| match value {
        Value::Array(_) | Value::Object(_) => value.to_string(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => to_text(value),
    });
    texts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[expect(clippy::needless_pass_by_value, reason = "cases read better")]
    #[track_caller]
    fn case(matrix: Value, expected: Value) {
        let expanded = expand(&matrix).unwrap();
        let expanded: Vec<_> = expanded.into_iter().map(Value::Object).collect();
        assert_eq!(Value::Array(expanded), expected);
    }

    #[test]
    fn the_first_key_changes_slowest() {
        case(
            json!({"version": [10, 12], "os": ["a", "b"]}),
            json!([
                {"version": 10, "os": "a"}, {"version": 10, "os": "b"},
                {"version": 12, "os": "a"}, {"version": 12, "os": "b"},
            ]),
        );
    }

    /// The example of GitHub's documentation.
    #[test]
    fn includes_are_merged_or_added() {
        case(
            json!({
                "fruit": ["apple", "pear"], "animal": ["cat", "dog"],
                "include": [
                    {"color": "green"}, {"color": "pink", "animal": "cat"},
                    {"fruit": "apple", "shape": "circle"}, {"fruit": "banana"},
                    {"fruit": "banana", "animal": "cat"},
                ],
            }),
            json!([
                {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
                {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
                {"fruit": "pear", "animal": "cat", "color": "pink"},
                {"fruit": "pear", "animal": "dog", "color": "green"},
                {"fruit": "banana"},
                {"fruit": "banana", "animal": "cat"},
            ]),
        );
    }

    #[test]
    fn includes_alone_are_jobs() {
        case(
            json!({"include": [{"site": "a"}, {"site": "b"}]}),
            json!([{"site": "a"}, {"site": "b"}]),
        );
    }

    #[test]
    fn excludes_name_a_part_of_what_they_remove() {
        case(
            json!({"os": ["a", "b"], "v": [1, 2], "exclude": [{"os": "a", "v": 1}, {"v": 2}]}),
            json!([{"os": "b", "v": 1}]),
        );
    }

    #[test]
    fn what_is_no_matrix_is_refused() {
        let refused = |matrix: Value| expand(&matrix).unwrap_err();
        assert!(refused(json!([1])).contains("mapping of names"));
        assert!(refused(json!({"v": 1})).contains("matrix.v must be a list"));
        assert!(refused(json!({"v": []})).contains("matrix.v is empty"));
        assert!(refused(json!({"v": [1], "exclude": [{"v": 1}]})).contains("leaves no job"));
        let many: Vec<_> = (0..20).collect();
        assert!(refused(json!({"a": many, "b": many})).contains("more than 256"));
    }

    #[test]
    fn a_job_is_called_by_its_values() {
        let combination = expand(&json!({"v": [1.5], "o": [{"a": 1}]})).unwrap();
        assert_eq!(label(&combination[0]), "1.5, {\"a\":1}");
    }
}
