//! The form in which the API server writes an object.
//!
//! Go's `omitempty` leaves out empty lists, maps and texts, and the false and zero of fields
//! that are not pointers. kubectl's diffs, and everybody who compares objects, see that form;
//! so the same author's text gives the same object here and on a real server.

use serde_json::{Map, Value};

use super::quantities;

/// Maps whose keys are the author's: left out when empty, and never looked into.
const MAPS: &[&str] = &[
    "annotations",
    "binaryData",
    "data",
    "labels",
    "matchLabels",
    "nodeSelector",
    "stringData",
];

/// Maps from a resource to a quantity.
const QUANTITY_MAPS: &[&str] = &["allocatable", "capacity", "limits", "overhead", "requests"];

/// Left as they are: fields whose every part is a pointer in Go, and what is not ours to read.
const KEPT: &[&str] = &["azureDisk", "managedFields"];

/// Fields that hold one quantity.
const QUANTITIES: &[&str] = &["divisor", "sizeLimit"];

/// Booleans that are not pointers in Go: false is the same as absent.
const FLAGS: &[&str] = &[
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "paused",
    "publishNotReadyAddresses",
    "readOnly",
    "stdin",
    "stdinOnce",
    "tty",
    "unschedulable",
];

/// Numbers that are not pointers in Go: 0 is the same as absent.
const COUNTS: &[&str] = &[
    "availableReplicas",
    "fullyLabeledReplicas",
    "healthCheckNodePort",
    "hostPort",
    "initialDelaySeconds",
    "minReadySeconds",
    "nodePort",
    "observedGeneration",
    "readyReplicas",
    "unavailableReplicas",
    "updatedReplicas",
];

/// Lists without `omitempty`: an empty one is said out loud.
const REQUIRED_LISTS: &[&str] = &["containers", "endpoints", "nodeSelectorTerms"];

/// Texts that are pointers in Go: an empty one differs from none.
const POINTER_TEXTS: &[&str] = &["storageClassName", "type"];

/// Brings `value` into the form that the server stores and sends.
pub(super) fn canonicalize(value: &mut Value) {
    match value {
        Value::Object(map) => canonicalize_fields(map),
        Value::Array(items) => items.iter_mut().for_each(canonicalize),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn canonicalize_fields(map: &mut Map<String, Value>) {
    map.retain(|key, value| !is_omitted(key, value));
    for (key, value) in map {
        let key = key.as_str();
        if QUANTITY_MAPS.contains(&key) {
            let quantities = value.as_object_mut().into_iter().flat_map(Map::values_mut);
            quantities.for_each(canonicalize_quantity);
        } else if QUANTITIES.contains(&key) {
            canonicalize_quantity(value);
        } else if !MAPS.contains(&key) && !KEPT.contains(&key) {
            canonicalize(value);
        }
    }
}

fn is_omitted(key: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag && FLAGS.contains(&key),
        Value::Number(number) => number.as_i64() == Some(0) && COUNTS.contains(&key),
        Value::String(text) => text.is_empty() && !POINTER_TEXTS.contains(&key),
        Value::Array(items) => items.is_empty() && !REQUIRED_LISTS.contains(&key),
        Value::Object(map) => {
            map.is_empty() && (MAPS.contains(&key) || QUANTITY_MAPS.contains(&key))
        }
    }
}

fn canonicalize_quantity(value: &mut Value) {
    if let Value::String(text) = value {
        *text = quantities::canonical(text);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_go_leaves_out_is_left_out() {
        let mut object = json!({
            "metadata": {"labels": {}, "annotations": {"a": ""}},
            "spec": {
                "hostNetwork": false, "minReadySeconds": 0, "replicas": 0, "selector": {},
                "containers": [{"command": [], "env": [{"name": "A", "value": ""}],
                    "resources": {"limits": {"cpu": "0.5"}, "requests": {}}}],
                "volumes": [{"hostPath": {"path": "/", "type": ""}}, {"emptyDir": {}}],
            }
        });
        canonicalize(&mut object);
        let expected = json!({
            "metadata": {"annotations": {"a": ""}},
            "spec": {
                "replicas": 0, "selector": {},
                "containers": [{"env": [{"name": "A"}], "resources": {"limits": {"cpu": "500m"}}}],
                "volumes": [{"hostPath": {"path": "/", "type": ""}}, {"emptyDir": {}}],
            }
        });
        assert_eq!(object, expected);
    }
}
