//! Reading and writing parts of an object, which is plain JSON here.

use bytes::Bytes;
use jiff::Timestamp;
use lab_store::Revision;
use serde_json::{Map, Value, json};

/// The value at a path of field names.
pub(crate) fn at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, key| value.get(key))
}

/// The text at a path; empty where there is none.
pub(crate) fn text<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}

/// A text of the object's metadata; empty where there is none.
pub(crate) fn meta<'a>(object: &'a Value, field: &str) -> &'a str {
    text(object, &["metadata", field])
}

/// Sets the value at a path, making objects on the way.
pub(crate) fn set(object: &mut Value, path: &[&str], value: Value) {
    let mut place = object;
    for key in path {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[*key];
    }
    *place = value;
}

/// Removes the value at a path and returns it.
pub(crate) fn remove(object: &mut Value, path: &[&str]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    let parent = parents
        .iter()
        .try_fold(object, |value, key| value.get_mut(key))?;
    parent.as_object_mut()?.shift_remove(*last)
}

/// Sets the value at a path, or removes it where there is none.
pub(crate) fn put(object: &mut Value, path: &[&str], value: Option<Value>) {
    match value {
        Some(value) => set(object, path, value),
        None => {
            remove(object, path);
        }
    }
}

/// The texts of the list at a path.
pub(crate) fn texts<'a>(object: &'a Value, path: &[&str]) -> Vec<&'a str> {
    let list = at(object, path).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// A moment as `metav1.Time` writes it: to the second.
pub(crate) fn time(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Removes fields whose value is null: to a typed server they are the same as absent ones.
pub(crate) fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Removes the field at a dotted path such as `spec.containers[0].imagee`.
pub(crate) fn prune(object: &mut Value, path: &str) {
    let mut place = object;
    let mut segments = path.split('.').peekable();
    while let Some(segment) = segments.next() {
        let (key, indices) = match segment.split_once('[') {
            Some((key, rest)) => (key, Some(rest)),
            None => (segment, None),
        };
        if segments.peek().is_none() && indices.is_none() {
            if let Some(map) = place.as_object_mut() {
                map.shift_remove(key);
            }
            return;
        }
        let Some(next) = place.get_mut(key).and_then(|value| descend(value, indices)) else {
            return;
        };
        place = next;
    }
}

/// Follows `0]` or `0][1]`, what is left of `name[0]` behind the bracket.
fn descend<'a>(value: &'a mut Value, indices: Option<&str>) -> Option<&'a mut Value> {
    let Some(indices) = indices else {
        return Some(value);
    };
    indices.split('[').try_fold(value, |value, index| {
        let index: usize = index.strip_suffix(']')?.parse().ok()?;
        value.get_mut(index)
    })
}

/// The object as it is stored, once the revision is known.
///
/// `metadata.resourceVersion` stands at a known place, so that the store's writer only joins
/// two halves and nobody serialises under its lock.
pub(crate) fn encoder(object: &Value) -> impl FnOnce(Revision) -> Bytes + Send + 'static {
    let (head, tail) = halves(object);
    move |revision| {
        let revision = revision.to_string();
        let mut bytes = Vec::with_capacity(head.len() + revision.len() + tail.len());
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(revision.as_bytes());
        bytes.extend_from_slice(&tail);
        Bytes::from(bytes)
    }
}

fn halves(object: &Value) -> (Vec<u8>, Vec<u8>) {
    let empty = Map::new();
    let fields = object.as_object().unwrap_or(&empty);
    let metadata = fields.get("metadata").and_then(Value::as_object);
    let mut head = b"{".to_vec();
    for key in ["apiVersion", "kind"] {
        if let Some(value) = fields.get(key) {
            field(&mut head, key, value);
            head.push(b',');
        }
    }
    head.extend_from_slice(br#""metadata":{"resourceVersion":""#);
    let mut tail = b"\"".to_vec();
    for (key, value) in metadata.unwrap_or(&empty) {
        if key != "resourceVersion" {
            tail.push(b',');
            field(&mut tail, key, value);
        }
    }
    tail.push(b'}');
    for (key, value) in fields {
        if !matches!(key.as_str(), "apiVersion" | "kind" | "metadata") {
            tail.push(b',');
            field(&mut tail, key, value);
        }
    }
    tail.push(b'}');
    (head, tail)
}

/// Appends `"key":value`.
fn field(bytes: &mut Vec<u8>, key: &str, value: &Value) {
    let written = serde_json::to_writer(&mut *bytes, key).and_then(|()| {
        bytes.push(b':');
        serde_json::to_writer(bytes, value)
    });
    written.expect("JSON is written to memory without fail");
}

/// The object in `bytes` with another resourceVersion.
pub(crate) fn at_revision(bytes: &[u8], revision: Revision) -> Bytes {
    encoder(&decode(bytes))(revision)
}

/// Reads stored bytes, which this crate wrote.
pub(crate) fn decode(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("the store holds JSON that this crate encoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_bytes_carry_the_revision_of_their_write() {
        let object = json!({
            "kind": "ConfigMap", "data": {"a": "\"quoted\""}, "apiVersion": "v1",
            "metadata": {"name": "x", "resourceVersion": "3"},
        });
        let read = decode(&encoder(&object)(17));
        assert_eq!(meta(&read, "resourceVersion"), "17");
        assert_eq!(read["data"], object["data"]);
        assert_eq!(
            meta(
                &decode(&at_revision(&encoder(&object)(17), 18)),
                "resourceVersion"
            ),
            "18"
        );
    }

    #[track_caller]
    fn pruned(path: &str, expected: &Value) {
        let mut object = json!({"spec": {"list": [{"a": 1, "b": 2}], "c": 3}});
        prune(&mut object, path);
        assert_eq!(object, *expected, "{path}");
    }

    #[test]
    fn pruning_removes_one_field() {
        pruned("spec.c", &json!({"spec": {"list": [{"a": 1, "b": 2}]}}));
        pruned(
            "spec.list[0].a",
            &json!({"spec": {"list": [{"b": 2}], "c": 3}}),
        );
        pruned(
            "spec.list[7].a",
            &json!({"spec": {"list": [{"a": 1, "b": 2}], "c": 3}}),
        );
        pruned(
            "nothing.here",
            &json!({"spec": {"list": [{"a": 1, "b": 2}], "c": 3}}),
        );
    }

    #[test]
    fn times_have_seconds_only() {
        let moment = Timestamp::from_millisecond(1_767_225_600_999).unwrap();
        assert_eq!(time(moment), "2026-01-01T00:00:00Z");
    }
}
