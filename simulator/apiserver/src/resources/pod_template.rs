//! The pod template and selector of a workload: Deployment, Job, ReplicaSet.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use lab_api::selector::Selector;

use super::syntax::{
    label_value_problems, push_problems, qualified_name_problems, validate_annotations,
    validate_labels,
};
use super::{pod_spec_defaults, pod_spec_validation};
use crate::validation::FieldError;

const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
const OPERATORS: &[&str] = &["In", "NotIn", "Exists", "DoesNotExist"];

/// Defaults of a template's pods.
pub(super) fn set_defaults(template: &mut PodTemplateSpec) {
    pod_spec_defaults::apply(template.spec.get_or_insert_default());
}

/// Checks selector and template of a workload that keeps its pods running for ever.
pub(super) fn validate(
    selector: &LabelSelector,
    template: &PodTemplateSpec,
    errors: &mut Vec<FieldError>,
) {
    validate_selected(selector, template, errors);
    validate_runs_for_ever(template, errors);
}

/// Checks selector and template of a workload whose pods run to their end.
pub(super) fn validate_to_end(
    selector: &LabelSelector,
    template: &PodTemplateSpec,
    errors: &mut Vec<FieldError>,
) {
    validate_selected(selector, template, errors);
    let policy = template
        .spec
        .as_ref()
        .and_then(|spec| spec.restart_policy.as_deref());
    let path = "spec.template.spec.restartPolicy";
    let rule = "valid values: \"OnFailure\", \"Never\"";
    match policy {
        Some("OnFailure" | "Never") => {}
        None | Some("" | "Always") => errors.push(FieldError::required(path, rule)),
        Some(policy) => errors.push(FieldError::invalid(path, policy, rule)),
    }
}

fn validate_selected(
    selector: &LabelSelector,
    template: &PodTemplateSpec,
    errors: &mut Vec<FieldError>,
) {
    validate_selector(selector, "spec.selector", errors);
    let labels = template
        .metadata
        .as_ref()
        .and_then(|meta| meta.labels.as_ref());
    // An absent selector selects nothing, so it matches no template either.
    let matches = !is_empty(selector)
        && Selector::from_label_selector(selector).matches(labels.unwrap_or(&Default::default()));
    if !matches {
        let rule = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(
            "spec.template.metadata.labels",
            labels,
            rule,
        ));
    }
    validate_template(template, errors);
}

fn is_empty(selector: &LabelSelector) -> bool {
    selector
        .match_labels
        .as_ref()
        .is_none_or(|labels| labels.is_empty())
        && selector
            .match_expressions
            .as_ref()
            .is_none_or(Vec::is_empty)
}

fn validate_selector(selector: &LabelSelector, path: &str, errors: &mut Vec<FieldError>) {
    if is_empty(selector) {
        errors.push(FieldError::required(path, ""));
    }
    validate_labels(
        selector.match_labels.as_ref(),
        &format!("{path}.matchLabels"),
        errors,
    );
    for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
        validate_expression(
            expression,
            &format!("{path}.matchExpressions[{index}]"),
            errors,
        );
    }
}

fn validate_expression(
    expression: &LabelSelectorRequirement,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let key = &expression.key;
    push_problems(
        errors,
        &format!("{path}.key"),
        key,
        qualified_name_problems(key),
    );
    let values = expression.values.as_deref().unwrap_or_default();
    let place = format!("{path}.values");
    match expression.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => {
            let rule = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(FieldError::required(place, rule));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let rule = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(place, rule));
        }
        operator if OPERATORS.contains(&operator) => {}
        operator => {
            let rule = "not a valid selector operator";
            errors.push(FieldError::invalid(
                format!("{path}.operator"),
                operator,
                rule,
            ));
        }
    }
    for (index, value) in values.iter().enumerate() {
        let place = format!("{path}.values[{index}]");
        push_problems(errors, &place, value, label_value_problems(value));
    }
}

fn validate_template(template: &PodTemplateSpec, errors: &mut Vec<FieldError>) {
    if let Some(meta) = &template.metadata {
        // Upstream leaves `metadata` out of these two paths.
        validate_labels(meta.labels.as_ref(), "spec.template.labels", errors);
        validate_annotations(
            meta.annotations.as_ref(),
            "spec.template.annotations",
            errors,
        );
    }
    let default = Default::default();
    let spec = template.spec.as_ref().unwrap_or(&default);
    pod_spec_validation::validate(spec, "spec.template.spec", errors);
}

fn validate_runs_for_ever(template: &PodTemplateSpec, errors: &mut Vec<FieldError>) {
    let default = Default::default();
    let spec = template.spec.as_ref().unwrap_or(&default);
    match spec.restart_policy.as_deref() {
        None | Some("" | "Always") => {}
        Some(policy) => errors.push(FieldError::not_supported(
            "spec.template.spec.restartPolicy",
            policy,
            &["Always"],
        )),
    }
    if spec.active_deadline_seconds.is_some() {
        let place = "spec.template.spec.activeDeadlineSeconds";
        let rule = "activeDeadlineSeconds in ReplicaSet is not Supported";
        errors.push(FieldError::forbidden(place, rule));
    }
}

/// Refuses a new selector: the old pods would be orphaned.
pub(super) fn validate_selector_update(
    selector: &LabelSelector,
    old: &LabelSelector,
    errors: &mut Vec<FieldError>,
) {
    if selector != old {
        errors.push(FieldError::invalid(
            "spec.selector",
            selector,
            "field is immutable",
        ));
    }
}

/// Checks a number that may be 0 but not less.
pub(super) fn validate_count(count: Option<i32>, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(count) = count.filter(|&count| count < 0) {
        errors.push(FieldError::invalid(path, count, NOT_NEGATIVE));
    }
}

/// Checks a number or percentage.
pub(super) fn validate_share(share: &IntOrString, path: &str, errors: &mut Vec<FieldError>) {
    match share {
        IntOrString::Int(count) => validate_count(Some(*count), path, errors),
        IntOrString::String(_) if percent(share).is_some() => {}
        IntOrString::String(text) => {
            let rule = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
            errors.push(FieldError::invalid(path, text, rule));
        }
    }
}

/// The number before the `%`.
pub(super) fn percent(share: &IntOrString) -> Option<u32> {
    match share {
        IntOrString::Int(_) => None,
        IntOrString::String(text) => {
            let digits = text.strip_suffix('%')?;
            let numeric = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| numeric)
        }
    }
}
