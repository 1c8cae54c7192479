//! Pods stay on a node that has gone away for five minutes, unless they say otherwise.
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-based-evictions>

use lab_api::names::{TAINT_NOT_READY, TAINT_UNREACHABLE};
use serde_json::{Value, json};

use super::{Admission, Operation};
use crate::error::ApiError;
use crate::object;

/// Upstream's default, in seconds of the pod's time; who evicts scales it.
const TOLERATION_SECONDS: i64 = 300;

pub(super) fn admit(admission: &Admission<'_>, pod: &mut Value) -> Result<(), ApiError> {
    if admission.operation == Operation::Create && admission.definition.is("", "pods") {
        for taint in [TAINT_NOT_READY, TAINT_UNREACHABLE] {
            tolerate(pod, taint);
        }
    }
    Ok(())
}

fn tolerate(pod: &mut Value, taint: &str) {
    let path = ["spec", "tolerations"];
    let present = object::at(pod, &path).and_then(Value::as_array);
    let mut tolerations = present.cloned().unwrap_or_default();
    if tolerations
        .iter()
        .any(|toleration| covers(toleration, taint))
    {
        return;
    }
    tolerations.push(json!({
        "key": taint,
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": TOLERATION_SECONDS,
    }));
    object::set(pod, &path, Value::Array(tolerations));
}

fn covers(toleration: &Value, taint: &str) -> bool {
    let key = object::text(toleration, &["key"]);
    let effect = object::text(toleration, &["effect"]);
    (key.is_empty() || key == taint) && matches!(effect, "" | "NoExecute")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_keeps_its_own_tolerations_of_a_taint() {
        let mut pod = json!({"spec": {"tolerations": [
            {"key": TAINT_NOT_READY, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5},
        ]}});
        tolerate(&mut pod, TAINT_NOT_READY);
        tolerate(&mut pod, TAINT_UNREACHABLE);
        let seconds: Vec<i64> = pod["spec"]["tolerations"]
            .as_array()
            .unwrap()
            .iter()
            .map(|toleration| toleration["tolerationSeconds"].as_i64().unwrap())
            .collect();
        assert_eq!(seconds, [5, TOLERATION_SECONDS]);
    }
}
