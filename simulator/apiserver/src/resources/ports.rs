//! Rules for port numbers, port names and protocols, shared by pods and Services.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::syntax::push_problems;
use crate::validation::FieldError;

/// Protocols of ports.
pub(super) const PROTOCOLS: &[&str] = &["TCP", "UDP", "SCTP"];
/// Longest name of a port, in bytes.
const NAME_MAX: usize = 15;
const RANGE: &str = "must be between 1 and 65535, inclusive";

/// Checks the number of a port.
pub(super) fn validate_number(port: i32, path: &str, errors: &mut Vec<FieldError>) {
    if !(1..=65535).contains(&port) {
        errors.push(FieldError::invalid(path, port, RANGE));
    }
}

/// Checks a port given by number or by name.
pub(super) fn validate_target(port: &IntOrString, path: &str, errors: &mut Vec<FieldError>) {
    match port {
        IntOrString::Int(number) => validate_number(*number, path, errors),
        IntOrString::String(name) => push_problems(errors, path, name, name_problems(name)),
    }
}

/// Checks a protocol.
pub(super) fn validate_protocol(protocol: &str, path: &str, errors: &mut Vec<FieldError>) {
    if protocol.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if !PROTOCOLS.contains(&protocol) {
        errors.push(FieldError::not_supported(path, protocol, PROTOCOLS));
    }
}

/// What is wrong with the name of a port (an IANA service name).
pub(super) fn name_problems(name: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if name.len() > NAME_MAX {
        problems.push(format!("must be no more than {NAME_MAX} characters"));
    }
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || !name.chars().all(inner) {
        problems
            .push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !name.contains(|c: char| c.is_ascii_lowercase()) {
        problems.push("must contain at least one letter (a-z)".into());
    }
    if name.contains("--") {
        problems.push("must not contain consecutive hyphens".into());
    }
    if name.starts_with('-') || name.ends_with('-') {
        problems.push("must not begin or end with a hyphen".into());
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_name_is_short_and_has_a_letter() {
        assert!(name_problems("http").is_empty());
        assert_eq!(
            name_problems("80"),
            ["must contain at least one letter (a-z)"]
        );
        assert_eq!(
            name_problems("metrics-endpoint"),
            ["must be no more than 15 characters"]
        );
        assert_eq!(name_problems("-a"), ["must not begin or end with a hyphen"]);
        assert_eq!(name_problems("a_b").len(), 1);
    }
}
