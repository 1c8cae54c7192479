//! Strategic merge patch.
//! <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md>

use lab_api::merging::{ListKind, kind_of};
use serde_json::{Map, Value, json};

/// What a map or a list item is told to do.
const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

/// Changes an object of `kind` as the patch says. The error is for the author of the patch.
pub(super) fn merge(kind: &str, object: &mut Value, patch: &Value) -> Result<(), String> {
    let patch = patch.as_object().ok_or("the patch must be a JSON object")?;
    if !object.is_object() {
        *object = json!({});
    }
    let map = object.as_object_mut().expect("made an object just above");
    merge_map(kind, "", map, patch)
}

/// Merges `patch` into `map`, which is the value of the field `here`.
fn merge_map(
    kind: &str,
    here: &str,
    map: &mut Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<(), String> {
    match patch
        .get(DIRECTIVE)
        .map(|directive| directive.as_str().unwrap_or_default())
    {
        None | Some("merge") => {}
        Some("replace") => map.clear(),
        Some("delete") => {
            map.clear();
            return Ok(());
        }
        Some(other) => return Err(unknown_directive(other)),
    }
    if let Some(Value::Array(keys)) = patch.get(RETAIN_KEYS) {
        map.retain(|key, _| keys.iter().any(|kept| kept == key.as_str()));
    }
    for (key, value) in patch {
        if let Some(field) = key.strip_prefix(DELETE_PRIMITIVES) {
            remove_values(map, field, value);
        }
    }
    for (key, value) in patch {
        if !key.starts_with('$') {
            merge_field(kind, here, map, key, value, patch)?;
        }
    }
    // An order may come without a change of the list.
    for (key, order) in patch {
        if let Some(field) = key.strip_prefix(ELEMENT_ORDER)
            && !patch.contains_key(field)
            && let Some(Value::Array(items)) = map.get_mut(field)
        {
            let before = items.clone();
            set_order(items, &before, order, kind_of(kind, here, field));
        }
    }
    Ok(())
}

fn merge_field(
    kind: &str,
    here: &str,
    map: &mut Map<String, Value>,
    key: &str,
    value: &Value,
    patch: &Map<String, Value>,
) -> Result<(), String> {
    match value {
        Value::Null => {
            map.shift_remove(key);
        }
        Value::Object(change) => {
            let place = map.entry(key).or_insert_with(|| json!({}));
            if !place.is_object() {
                *place = json!({});
            }
            let place = place.as_object_mut().expect("made an object just above");
            merge_map(kind, key, place, change)?;
        }
        Value::Array(changes) => {
            let order = patch.get(&format!("{ELEMENT_ORDER}{key}"));
            let before = match map.get(key) {
                Some(Value::Array(items)) => items.clone(),
                _ => Vec::new(),
            };
            let merged = merge_list(kind, here, key, &before, changes, order)?;
            map.insert(key.to_owned(), Value::Array(merged));
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            map.insert(key.to_owned(), value.clone());
        }
    }
    Ok(())
}

fn merge_list(
    kind: &str,
    here: &str,
    field: &str,
    before: &[Value],
    changes: &[Value],
    order: Option<&Value>,
) -> Result<Vec<Value>, String> {
    let list = kind_of(kind, here, field);
    let mut merged = match list {
        ListKind::Atomic => {
            return changes
                .iter()
                .map(|item| cleaned(kind, field, item))
                .collect();
        }
        ListKind::Set => {
            let mut merged = before.to_vec();
            for value in changes {
                if !merged.contains(value) {
                    merged.push(value.clone());
                }
            }
            merged
        }
        ListKind::Keyed(key) => merge_items(kind, field, key, before.to_vec(), changes)?,
    };
    if let Some(order) = order {
        set_order(&mut merged, before, order, list);
    }
    Ok(merged)
}

/// Merges items that have the same key, deletes those marked so, and appends new ones.
fn merge_items(
    kind: &str,
    field: &str,
    key: &str,
    before: Vec<Value>,
    changes: &[Value],
) -> Result<Vec<Value>, String> {
    let directive = |item: &Value| {
        item.get(DIRECTIVE)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    // An item that says only "replace" empties the list; the other items are its new content.
    let replaces = |item: &Value| directive(item).as_deref() == Some("replace");
    let mut merged = if changes.iter().any(replaces) {
        Vec::new()
    } else {
        before
    };
    for change in changes {
        let id = change.get(key);
        match (directive(change).as_deref(), id) {
            (Some("replace"), None) => {}
            (Some("delete"), Some(id)) => merged.retain(|item| item.get(key) != Some(id)),
            (Some("replace" | "merge") | None, Some(id)) => {
                let at = merged.iter().position(|item| item.get(key) == Some(id));
                let mut item = at.map_or_else(|| json!({}), |at| merged[at].clone());
                merge_item(kind, field, &mut item, change)?;
                match at {
                    Some(at) => merged[at] = item,
                    None => merged.push(item),
                }
            }
            (Some("delete" | "merge") | None, None) => {
                return Err(format!(
                    "an item of {field} does not contain declared merge key: {key}"
                ));
            }
            (Some(other), _) => return Err(unknown_directive(other)),
        }
    }
    Ok(merged)
}

fn merge_item(kind: &str, field: &str, item: &mut Value, change: &Value) -> Result<(), String> {
    match (item.as_object_mut(), change.as_object()) {
        (Some(item), Some(change)) => merge_map(kind, field, item, change),
        _ => Err(format!("an item of {field} must be an object")),
    }
}

/// A new value without the directives that were meant for an old one.
fn cleaned(kind: &str, field: &str, value: &Value) -> Result<Value, String> {
    match value {
        Value::Object(change) => {
            let mut map = Map::new();
            merge_map(kind, field, &mut map, change)?;
            Ok(Value::Object(map))
        }
        other => Ok(other.clone()),
    }
}

fn remove_values(map: &mut Map<String, Value>, field: &str, values: &Value) {
    let gone = values.as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(Value::Array(items)) = map.get_mut(field) {
        items.retain(|item| !gone.contains(item));
    }
}

/// Orders `items` as the author of the patch sees the list. Items that she does not know stay
/// where they were among those of `before` that she knows.
fn set_order(items: &mut Vec<Value>, before: &[Value], order: &Value, list: ListKind) {
    let order = order.as_array().map(Vec::as_slice).unwrap_or_default();
    let place = |item: &Value, list_of: &[Value]| {
        list_of
            .iter()
            .position(|other| same_item(item, other, list))
    };
    let (mut known, unknown): (Vec<Value>, Vec<Value>) = items
        .drain(..)
        .partition(|item| place(item, order).is_some());
    known.sort_by_key(|item| place(item, order));
    let (mut known, mut unknown) = (known.into_iter().peekable(), unknown.into_iter().peekable());
    loop {
        let unknown_first = match (known.peek(), unknown.peek()) {
            (None, None) => return,
            (Some(_), None) => false,
            (None, Some(_)) => true,
            (Some(known), Some(unknown)) => match (place(unknown, before), place(known, before)) {
                (Some(unknown), Some(known)) => unknown < known,
                _ => false,
            },
        };
        let next = if unknown_first {
            unknown.next()
        } else {
            known.next()
        };
        items.extend(next);
    }
}

fn same_item(one: &Value, other: &Value, list: ListKind) -> bool {
    match list {
        ListKind::Keyed(key) => one.get(key).is_some() && one.get(key) == other.get(key),
        ListKind::Set | ListKind::Atomic => one == other,
    }
}

fn unknown_directive(directive: &str) -> String {
    format!("unknown {DIRECTIVE} directive {directive:?}: must be replace, merge or delete")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(before: Value, patch: &Value, after: &Value) {
        let mut object = before;
        merge("Deployment", &mut object, patch).unwrap();
        assert_eq!(object, *after);
        // Order of keys does not count, order of items does: compare as text, too.
        assert_eq!(
            object["spec"]["template"].to_string(),
            after["spec"]["template"].to_string()
        );
    }

    #[test]
    fn the_patch_that_kubectl_apply_sends_merges_as_on_a_real_server() {
        case(
            json!({
                "metadata": {"finalizers": ["a/x", "a/y"], "labels": {"k1": "v", "k2": "v"}},
                "spec": {
                    "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
                    "template": {"spec": {
                        "containers": [
                            {"name": "c1", "image": "a", "args": ["old"],
                             "ports": [{"containerPort": 80}, {"containerPort": 81}],
                             "resources": {"limits": {"memory": "1Gi"}},
                             "volumeMounts": [{"mountPath": "/x", "name": "v1"}]},
                            {"name": "c2", "image": "b"},
                        ],
                        "tolerations": [{"key": "a", "operator": "Exists"}],
                        "volumes": [{"name": "v1", "emptyDir": {}}, {"name": "v2", "configMap": {"name": "m"}}],
                    }},
                },
            }),
            &json!({
                "metadata": {
                    "$deleteFromPrimitiveList/finalizers": ["a/x"],
                    "$setElementOrder/finalizers": ["a/y"],
                    "annotations": {"last": "…"},
                    "labels": {"k2": null},
                },
                "spec": {
                    "strategy": {"$retainKeys": ["type"], "rollingUpdate": null, "type": "Recreate"},
                    "template": {"spec": {
                        "$setElementOrder/containers": [{"name": "c3"}, {"name": "c1"}],
                        "$setElementOrder/volumes": [{"name": "v2"}],
                        "containers": [
                            {"image": "z", "name": "c3"},
                            {"$setElementOrder/ports": [{"containerPort": 80}], "args": ["x"], "name": "c1",
                             "ports": [{"containerPort": 80, "name": "http"}, {"$patch": "delete", "containerPort": 81}],
                             "resources": {"limits": {"cpu": 1}}, "volumeMounts": null},
                            {"$patch": "delete", "name": "c2"},
                        ],
                        "tolerations": [{"key": "b", "operator": "Exists"}],
                        "volumes": [
                            {"$retainKeys": ["emptyDir", "name"], "configMap": null, "emptyDir": {}, "name": "v2"},
                            {"$patch": "delete", "name": "v1"},
                        ],
                    }},
                },
            }),
            &json!({
                "metadata": {"finalizers": ["a/y"], "labels": {"k1": "v"}, "annotations": {"last": "…"}},
                "spec": {
                    "strategy": {"type": "Recreate"},
                    "template": {"spec": {
                        "containers": [
                            {"image": "z", "name": "c3"},
                            {"name": "c1", "image": "a", "args": ["x"],
                             "ports": [{"containerPort": 80, "name": "http"}],
                             "resources": {"limits": {"memory": "1Gi", "cpu": 1}}},
                        ],
                        "tolerations": [{"key": "b", "operator": "Exists"}],
                        "volumes": [{"name": "v2", "emptyDir": {}}],
                    }},
                },
            }),
        );
    }

    fn containers(names: &[&str]) -> Value {
        let items: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
        json!({"spec": {"containers": items}})
    }

    #[track_caller]
    fn order(before: &[&str], order: &[&str], after: &[&str]) {
        let mut object = containers(before);
        let order: Vec<Value> = order.iter().map(|name| json!({"name": name})).collect();
        let patch = json!({"spec": {"$setElementOrder/containers": order}});
        merge("Pod", &mut object, &patch).unwrap();
        assert_eq!(object, containers(after));
    }

    #[test]
    fn items_that_the_author_does_not_know_keep_their_place() {
        order(&["a", "b", "c"], &["c", "a"], &["b", "c", "a"]);
        order(
            &["injected", "a", "b"],
            &["b", "a"],
            &["injected", "b", "a"],
        );
        order(&["a", "b"], &["b", "a"], &["b", "a"]);
    }

    #[test]
    fn a_map_or_list_can_be_replaced_as_a_whole() {
        case(
            json!({"spec": {"selector": {"a": 1, "b": 2}}}),
            &json!({"spec": {"selector": {"$patch": "replace", "c": 3}}}),
            &json!({"spec": {"selector": {"c": 3}}}),
        );
        let mut object = containers(&["a", "b"]);
        let patch = json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}});
        merge("Pod", &mut object, &patch).unwrap();
        assert_eq!(object, containers(&["z"]));
    }

    #[test]
    fn what_cannot_be_merged_is_refused() {
        let mut object = containers(&["a"]);
        let nameless = json!({"spec": {"containers": [{"image": "x"}]}});
        let error = merge("Pod", &mut object, &nameless).unwrap_err();
        assert!(error.contains("merge key: name"), "{error}");
        let odd = json!({"spec": {"$patch": "explode"}});
        assert!(
            merge("Pod", &mut object, &odd)
                .unwrap_err()
                .contains("explode")
        );
    }

    #[test]
    fn a_new_field_comes_without_directives() {
        case(
            json!({}),
            &json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate", "rollingUpdate": null}}}),
            &json!({"spec": {"strategy": {"type": "Recreate"}}}),
        );
    }
}
