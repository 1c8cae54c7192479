//! PrometheusRule: recording and alerting rules.
//!
//! Whether `expr` is PromQL is for whoever evaluates it to say, in an event on the object.

use std::collections::BTreeSet;

use lab_api::monitoring::{GROUP, PrometheusRule, Rule};

use super::servicemonitors::{refuse, validate_duration};
use super::typed::{Kind, define, words};
use super::{ResourceDef, Scope, columns, custom};
use crate::validation::FieldError;

/// The definition of PrometheusRule.
pub(super) fn definition() -> ResourceDef {
    ResourceDef {
        short_names: words(&["promrule"]),
        categories: words(&["prometheus-operator"]),
        columns: vec![columns::name(), custom::age()],
        ..define::<PrometheusRule>(GROUP, "PrometheusRule", "prometheusrules")
    }
}

impl Kind for PrometheusRule {
    const SCOPE: Scope = Scope::Namespaced;
    const OMITS_EMPTY: bool = false;

    fn validate(&self, errors: &mut Vec<FieldError>) {
        refuse(&self.spec.unsupported, "spec", errors);
        let mut names = BTreeSet::new();
        for (index, group) in self.spec.groups.iter().enumerate() {
            let path = format!("spec.groups[{index}]");
            refuse(&group.unsupported, &path, errors);
            custom::validate_not_empty(&group.name, &format!("{path}.name"), errors);
            if !names.insert(&group.name) {
                errors.push(FieldError::duplicate(format!("{path}.name"), &group.name));
            }
            let interval = group.interval.as_deref();
            validate_duration(interval, &format!("{path}.interval"), errors);
            for (index, rule) in group.rules.iter().enumerate() {
                validate_rule(rule, &format!("{path}.rules[{index}]"), errors);
            }
        }
    }
}

fn validate_rule(rule: &Rule, path: &str, errors: &mut Vec<FieldError>) {
    refuse(&rule.unsupported, path, errors);
    let named = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
    match (named(&rule.record), named(&rule.alert)) {
        (true, false) | (false, true) => {}
        (true, true) => {
            let reason = "a rule records or alerts, not both";
            errors.push(FieldError::forbidden(format!("{path}.alert"), reason));
        }
        (false, false) => {
            let reason = "name the series to record (record) or the alert to raise (alert)";
            errors.push(FieldError::required(path, reason));
        }
    }
    if rule.query().trim().is_empty() {
        errors.push(FieldError::required(
            format!("{path}.expr"),
            "say what to evaluate, in PromQL",
        ));
    }
    validate_duration(rule.for_.as_deref(), &format!("{path}.for"), errors);
    let keep = rule.keep_firing_for.as_deref();
    validate_duration(keep, &format!("{path}.keep_firing_for"), errors);
    let alerts_only = [
        ("for", rule.for_.is_some()),
        ("keep_firing_for", rule.keep_firing_for.is_some()),
        ("annotations", rule.annotations.is_some()),
    ];
    for (field, given) in alerts_only {
        if given && named(&rule.record) {
            let reason = "only alerts have it";
            errors.push(FieldError::forbidden(format!("{path}.{field}"), reason));
        }
    }
}
