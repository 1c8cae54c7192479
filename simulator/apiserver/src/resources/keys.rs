//! Keys of ConfigMaps and Secrets: they become file names and environment variables.

use crate::validation::FieldError;

/// Most bytes that the values of one object may have.
const TOTAL_MAX: usize = 1024 * 1024;
/// Longest key, in bytes.
const KEY_MAX: usize = 253;
const KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

/// Checks keys, and the sizes of the values beside them.
pub(super) fn validate_keys<'a>(
    entries: impl Iterator<Item = (&'a String, usize)>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let mut total = 0;
    for (key, size) in entries {
        total += size;
        let place = format!("{path}[{key}]");
        errors.extend(
            key_problems(key)
                .into_iter()
                .map(|p| FieldError::invalid(&place, key, p)),
        );
    }
    if total > TOTAL_MAX {
        errors.push(FieldError::too_long(path, TOTAL_MAX));
    }
}

/// What is wrong with one key.
pub(super) fn key_problems(key: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if key.len() > KEY_MAX {
        problems.push(format!("must be no more than {KEY_MAX} characters"));
    }
    let right = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if key.is_empty() || !key.chars().all(right) {
        problems.push(KEY.to_owned());
    }
    match key {
        "." => problems.push("must not be '.'".to_owned()),
        ".." => problems.push("must not be '..'".to_owned()),
        _ if key.starts_with("..") => problems.push("must not start with '..'".to_owned()),
        _ => {}
    }
    problems
}
