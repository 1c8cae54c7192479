//! Status conditions: `{type, status, reason, message, lastTransitionTime}`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Sets `condition` in `conditions`; its `last_transition_time` is kept where the status did
/// not change. Answers whether anything but the time differs from before.
pub fn set_condition(conditions: &mut Vec<Condition>, mut condition: Condition) -> bool {
    let Some(present) = conditions.iter_mut().find(|c| c.type_ == condition.type_) else {
        conditions.push(condition);
        return true;
    };
    if present.status == condition.status {
        condition.last_transition_time = present.last_transition_time.clone();
    }
    let changed = *present != condition;
    *present = condition;
    changed
}

/// A condition with all its fields.
#[must_use]
pub fn condition(
    type_: &str,
    status: bool,
    reason: &str,
    message: impl Into<String>,
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: status_text(status).to_owned(),
        reason: reason.to_owned(),
        message: message.into(),
        observed_generation: generation,
        last_transition_time: Time(now),
    }
}

/// `True` or `False` as conditions spell it.
#[must_use]
pub fn status_text(holds: bool) -> &'static str {
    if holds { "True" } else { "False" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut conditions = Vec::new();
        assert!(set_condition(
            &mut conditions,
            condition("Ready", true, "Up", "", None, at(1))
        ));
        assert!(!set_condition(
            &mut conditions,
            condition("Ready", true, "Up", "", None, at(2))
        ));
        assert_eq!(conditions[0].last_transition_time.0, at(1));
        assert!(set_condition(
            &mut conditions,
            condition("Ready", false, "Down", "", None, at(3))
        ));
        assert_eq!(conditions[0].last_transition_time.0, at(3));
        assert_eq!(conditions.len(), 1);
    }
}
