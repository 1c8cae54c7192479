//! Taints and tolerations.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/>

use k8s_openapi::api::core::v1::{Node, Taint, Toleration};

/// Keeps new pods away.
pub const NO_SCHEDULE: &str = "NoSchedule";
/// Keeps new pods away, and sends present ones away.
pub const NO_EXECUTE: &str = "NoExecute";

/// The taints of a node.
#[must_use]
pub fn taints(node: &Node) -> &[Taint] {
    node.spec
        .as_ref()
        .and_then(|spec| spec.taints.as_deref())
        .unwrap_or_default()
}

/// True where the toleration covers the taint.
#[must_use]
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    fn given(field: &Option<String>) -> &str {
        field.as_deref().unwrap_or_default()
    }
    let (key, effect) = (given(&toleration.key), given(&toleration.effect));
    let effect_fits = effect.is_empty() || effect == taint.effect;
    let key_fits = key.is_empty() || key == taint.key;
    let value_fits = match given(&toleration.operator) {
        "Exists" => true,
        // Without a key only Exists is valid.
        "" | "Equal" => !key.is_empty() && given(&toleration.value) == given(&taint.value),
        _ => false,
    };
    effect_fits && key_fits && value_fits
}

/// True where one of `tolerations` covers `taint`.
#[must_use]
pub fn tolerated(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations
        .iter()
        .any(|toleration| tolerates(toleration, taint))
}

/// As [`tolerated`], for a taint without a value that keeps new pods away.
#[must_use]
pub fn tolerates_no_schedule(tolerations: &[Toleration], key: &str) -> bool {
    let taint = Taint {
        key: key.to_owned(),
        effect: NO_SCHEDULE.to_owned(),
        ..Taint::default()
    };
    tolerated(tolerations, &taint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[track_caller]
    fn case(toleration: &Value, expected: bool) {
        let taint = json!({"key": "gpu", "value": "yes", "effect": "NoExecute"});
        let taint = serde_json::from_value(taint).unwrap();
        let tolerations = [serde_json::from_value(toleration.clone()).unwrap()];
        assert_eq!(tolerated(&tolerations, &taint), expected, "{toleration}");
    }

    #[test]
    fn a_toleration_covers_a_taint_by_key_value_and_effect() {
        case(
            &json!({"key": "gpu", "value": "yes", "effect": "NoExecute"}),
            true,
        );
        case(&json!({"key": "gpu", "value": "yes"}), true);
        case(
            &json!({"key": "gpu", "operator": "Equal", "value": "yes"}),
            true,
        );
        case(&json!({"key": "gpu", "operator": "Exists"}), true);
        case(&json!({"operator": "Exists"}), true);
        case(&json!({"key": "gpu", "value": "no"}), false);
        case(&json!({"key": "gpu"}), false);
        case(&json!({"value": "yes"}), false);
        case(&json!({"key": "cpu", "operator": "Exists"}), false);
        case(
            &json!({"operator": "Exists", "effect": "NoSchedule"}),
            false,
        );
        case(
            &json!({"key": "gpu", "operator": "Odd", "value": "yes"}),
            false,
        );
        case(&json!({}), false);
    }

    #[test]
    fn a_taint_without_a_value_is_covered_by_its_key() {
        let tolerations =
            [serde_json::from_value(json!({"key": "a", "operator": "Exists"})).unwrap()];
        assert!(tolerates_no_schedule(&tolerations, "a"));
        assert!(!tolerates_no_schedule(&tolerations, "b"));
        assert!(!tolerates_no_schedule(&[], "a"));
    }
}
