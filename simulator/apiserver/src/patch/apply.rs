//! Server-side apply, the simple part of it.
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/>
//!
//! The applied fields are merged into the object and the manager is recorded with them. What
//! is deliberately missing: conflicts with other managers are not detected (as if `force` were
//! always set), a field that a manager stops applying is not removed, and ordinary writes do
//! not record a manager.

use jiff::Timestamp;
use lab_api::merging::{ListKind, kind_of};
use serde_json::{Map, Value, json};

use crate::object;
use crate::resources::ResourceDef;
use crate::write::Part;

/// Notes in the object's `managedFields` that `manager` applied `applied`. There is one entry
/// for each manager and part of the object.
pub(crate) fn record(
    definition: &ResourceDef,
    object: &mut Value,
    applied: &Value,
    manager: &str,
    part: Part,
    now: Timestamp,
) {
    let path = ["metadata", "managedFields"];
    let subresource = match part {
        Part::Main => None,
        Part::Status => Some("status"),
        Part::Finalizers => Some("finalize"),
    };
    let mut entry = json!({
        "manager": manager,
        "operation": "Apply",
        "apiVersion": definition.api_version(),
        "time": object::time(now),
        "fieldsType": "FieldsV1",
        "fieldsV1": fields(&definition.kind, applied),
    });
    if let Some(subresource) = subresource {
        entry["subresource"] = json!(subresource);
    }
    let present = object::at(object, &path).and_then(Value::as_array);
    let mut entries = present.cloned().unwrap_or_default();
    let same = |other: &Value| {
        ["manager", "operation", "subresource"]
            .iter()
            .all(|field| other.get(field) == entry.get(field))
    };
    match entries.iter().position(same) {
        Some(at) => entries[at] = entry,
        None => entries.push(entry),
    }
    object::set(object, &path, Value::Array(entries));
}

/// The fields of an applied object as `FieldsV1`, without those that identify it.
fn fields(kind: &str, applied: &Value) -> Value {
    let mut applied = applied.clone();
    for identity in ["apiVersion", "kind"] {
        object::remove(&mut applied, &[identity]);
    }
    for identity in [
        "name",
        "namespace",
        "managedFields",
        "resourceVersion",
        "uid",
    ] {
        object::remove(&mut applied, &["metadata", identity]);
    }
    match &applied {
        Value::Object(map) => map_fields(kind, "", map),
        _ => json!({}),
    }
}

fn map_fields(kind: &str, here: &str, map: &Map<String, Value>) -> Value {
    let field = |(key, value): (&String, &Value)| {
        let below = match value {
            Value::Object(map) => map_fields(kind, key, map),
            Value::Array(items) => list_fields(kind, here, key, items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => json!({}),
        };
        (format!("f:{key}"), below)
    };
    let fields: Map<String, Value> = map.iter().map(field).collect();
    // Empty metadata is identity only, which nobody owns.
    Value::Object(
        fields
            .into_iter()
            .filter(|(key, below)| key != "f:metadata" || below != &json!({}))
            .collect(),
    )
}

fn list_fields(kind: &str, here: &str, field: &str, items: &[Value]) -> Value {
    let mut fields = Map::new();
    for item in items {
        match (kind_of(kind, here, field), item) {
            (ListKind::Keyed(key), Value::Object(map)) => {
                let id = json!({ key: map.get(key) });
                let mut below = map_fields(kind, field, map);
                below["."] = json!({});
                fields.insert(format!("k:{id}"), below);
            }
            (ListKind::Set, value) => {
                fields.insert(format!("v:{value}"), json!({}));
            }
            (ListKind::Keyed(_) | ListKind::Atomic, _) => return json!({}),
        }
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applied_fields_are_named_as_in_fields_v1() {
        let applied = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "labels": {"a": "b"}, "finalizers": ["e/f"]},
            "spec": {"containers": [{"name": "c", "args": ["x"]}]},
        });
        assert_eq!(
            fields("Pod", &applied),
            json!({
                "f:metadata": {"f:labels": {"f:a": {}}, "f:finalizers": {"v:\"e/f\"": {}}},
                "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:name": {}, "f:args": {}}}},
            })
        );
    }
}
