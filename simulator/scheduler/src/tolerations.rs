//! Which taints a pod puts up with.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/>

use k8s_openapi::api::core::v1::{Taint, Toleration};

/// True where one of `tolerations` covers `taint`.
pub(crate) fn tolerated(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations
        .iter()
        .any(|toleration| covers(toleration, taint))
}

/// As [`tolerated`], for a taint without a value that keeps new pods away.
pub(crate) fn tolerates_no_schedule(tolerations: &[Toleration], key: &str) -> bool {
    let taint = Taint {
        key: key.to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    tolerated(tolerations, &taint)
}

fn covers(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (effect, key) = (text(&toleration.effect), text(&toleration.key));
    let effect_fits = effect.is_empty() || effect == taint.effect;
    let key_fits = key.is_empty() || key == taint.key;
    let value_fits = match text(&toleration.operator).as_str() {
        "Exists" => true,
        // Without a key only Exists is valid.
        "" | "Equal" => !key.is_empty() && text(&toleration.value) == text(&taint.value),
        _ => false,
    };
    effect_fits && key_fits && value_fits
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[track_caller]
    fn case(toleration: &Value, expected: bool) {
        let taint = json!({"key": "gpu", "value": "big", "effect": "NoSchedule"});
        let taint = serde_json::from_value(taint).unwrap();
        let tolerations = [serde_json::from_value(toleration.clone()).unwrap()];
        assert_eq!(tolerated(&tolerations, &taint), expected, "{toleration}");
    }

    #[test]
    fn a_toleration_covers_a_taint_by_key_value_and_effect() {
        case(&json!({"operator": "Exists"}), true);
        case(&json!({"key": "gpu", "operator": "Exists"}), true);
        case(&json!({"key": "gpu", "value": "big"}), true);
        case(
            &json!({"key": "gpu", "operator": "Equal", "value": "big", "effect": "NoSchedule"}),
            true,
        );
        case(&json!({"key": "gpu", "value": "small"}), false);
        case(&json!({"key": "gpu"}), false);
        case(&json!({"key": "disk", "operator": "Exists"}), false);
        case(
            &json!({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}),
            false,
        );
        case(&json!({"value": "big"}), false);
    }
}
