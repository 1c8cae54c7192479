//! What the schema of the analysis kinds asks of metrics and arguments.
//!
//! What only the controller understands (durations, conditions, limits that come from arguments)
//! is told by an AnalysisRun's phase or a Rollout's InvalidSpec, as on a real cluster.

use lab_api::analysis::{Argument, Metric};

use crate::validation::FieldError;

/// Checks metrics.
pub(super) fn validate(metrics: &[Metric], errors: &mut Vec<FieldError>) {
    for (index, metric) in metrics.iter().enumerate() {
        if metric.name.is_empty() {
            errors.push(FieldError::required(
                format!("spec.metrics[{index}].name"),
                "",
            ));
        }
        let twice = metrics[..index]
            .iter()
            .any(|earlier| earlier.name == metric.name);
        if twice && !metric.name.is_empty() {
            errors.push(FieldError::duplicate(
                format!("spec.metrics[{index}].name"),
                metric.name.as_str(),
            ));
        }
    }
}

/// Checks arguments.
pub(super) fn validate_arguments(arguments: &[Argument], errors: &mut Vec<FieldError>) {
    for (index, argument) in arguments.iter().enumerate() {
        if argument.name.is_empty() {
            errors.push(FieldError::required(format!("spec.args[{index}].name"), ""));
        }
    }
}
