//! Taints and tolerations.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/>

use k8s_openapi::api::core::v1::{Node, Taint, Toleration};

/// Keeps new pods away.
pub(crate) const NO_SCHEDULE: &str = "NoSchedule";
/// Keeps new pods away, and sends present ones away.
pub(crate) const NO_EXECUTE: &str = "NoExecute";

/// The taints of a node.
pub(crate) fn taints(node: &Node) -> &[Taint] {
    node.spec
        .as_ref()
        .and_then(|spec| spec.taints.as_deref())
        .unwrap_or_default()
}

/// True where the toleration covers the taint.
pub(crate) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let given = |text: &Option<String>| text.clone().unwrap_or_default();
    let (key, effect) = (given(&toleration.key), given(&toleration.effect));
    if !effect.is_empty() && effect != taint.effect {
        return false;
    }
    if !key.is_empty() && key != taint.key {
        return false;
    }
    match given(&toleration.operator).as_str() {
        "Exists" => true,
        "" | "Equal" => !key.is_empty() && given(&toleration.value) == given(&taint.value),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[track_caller]
    fn case(toleration: Value, expected: bool) {
        let taint: Taint =
            serde_json::from_value(json!({"key": "gpu", "value": "yes", "effect": "NoExecute"}))
                .unwrap();
        let toleration = serde_json::from_value(toleration).unwrap();
        assert_eq!(tolerates(&toleration, &taint), expected);
    }

    #[test]
    fn a_toleration_covers_a_taint_by_key_value_and_effect() {
        case(
            json!({"key": "gpu", "value": "yes", "effect": "NoExecute"}),
            true,
        );
        case(json!({"key": "gpu", "value": "yes"}), true);
        case(json!({"key": "gpu", "operator": "Exists"}), true);
        case(json!({"operator": "Exists"}), true);
        case(json!({"key": "gpu", "value": "no"}), false);
        case(json!({"key": "gpu"}), false);
        case(json!({"key": "cpu", "operator": "Exists"}), false);
        case(json!({"operator": "Exists", "effect": "NoSchedule"}), false);
        case(
            json!({"key": "gpu", "operator": "Odd", "value": "yes"}),
            false,
        );
        case(json!({}), false);
    }
}
