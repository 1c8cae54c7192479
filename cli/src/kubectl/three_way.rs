//! The patch of a client-side apply: what was applied last, what is wanted now, what is there.
//!
//! Only what the file says, or said last time, is touched; what the server or somebody else added
//! stays. Built-in kinds get a strategic merge patch, custom ones a merge patch.
//! <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config/#merge-patch-calculation>

use lab_api::merging::{ListKind, is_built_in, kind_of};
use serde_json::{Map, Value, json};

/// Where the last applied configuration is kept.
pub(super) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What has to change; empty where nothing has.
pub(super) fn patch(
    group: &str,
    kind: &str,
    original: &Value,
    modified: &Value,
    current: &Value,
) -> Value {
    let differ = Differ {
        strategic: is_built_in(group),
        kind,
    };
    let empty = Map::new();
    let of = |value: &Value| value.as_object().cloned();
    Value::Object(differ.maps(
        "",
        &of(original).unwrap_or_default(),
        modified.as_object().unwrap_or(&empty),
        current.as_object().unwrap_or(&empty),
    ))
}

struct Differ<'a> {
    strategic: bool,
    kind: &'a str,
}

impl Differ<'_> {
    fn maps(
        &self,
        parent: &str,
        original: &Map<String, Value>,
        modified: &Map<String, Value>,
        current: &Map<String, Value>,
    ) -> Map<String, Value> {
        let mut patch = Map::new();
        for (key, wanted) in modified {
            let was = original.get(key).unwrap_or(&Value::Null);
            match (wanted, current.get(key)) {
                (Value::Null, None) => {}
                (wanted, None) => {
                    patch.insert(key.clone(), wanted.clone());
                }
                (Value::Object(wanted), Some(Value::Object(present))) => {
                    let empty = Map::new();
                    let was = was.as_object().unwrap_or(&empty);
                    let mut inner = self.maps(key, was, wanted, present);
                    if !inner.is_empty() {
                        self.retain_keys(parent, key, wanted, &mut inner);
                        patch.insert(key.clone(), Value::Object(inner));
                    }
                }
                (Value::Array(wanted), Some(Value::Array(present))) => {
                    let was = was.as_array().map_or(&[][..], Vec::as_slice);
                    self.lists(parent, key, was, wanted, present, &mut patch);
                }
                (wanted, Some(present)) if wanted != present => {
                    patch.insert(key.clone(), wanted.clone());
                }
                _ => {}
            }
        }
        for key in original.keys() {
            if !modified.contains_key(key) && current.contains_key(key) {
                patch.insert(key.clone(), Value::Null);
            }
        }
        patch
    }

    /// Where keys exclude each other, those that are not wanted have to go.
    fn retain_keys(
        &self,
        parent: &str,
        key: &str,
        wanted: &Map<String, Value>,
        patch: &mut Map<String, Value>,
    ) {
        if self.strategic && self.kind == "Deployment" && parent == "spec" && key == "strategy" {
            patch.insert("$retainKeys".to_owned(), sorted_keys(wanted));
        }
    }

    fn lists(
        &self,
        parent: &str,
        key: &str,
        original: &[Value],
        modified: &[Value],
        current: &[Value],
        patch: &mut Map<String, Value>,
    ) {
        let how = if self.strategic {
            kind_of(self.kind, parent, key)
        } else {
            ListKind::Atomic
        };
        match how {
            ListKind::Atomic => {
                if modified != current {
                    patch.insert(key.to_owned(), json!(modified));
                }
            }
            ListKind::Set => sets(key, original, modified, current, patch),
            ListKind::Keyed(merge_key) => {
                self.keyed(key, merge_key, [original, modified, current], patch);
            }
        }
    }

    fn keyed(
        &self,
        key: &str,
        merge_key: &str,
        [original, modified, current]: [&[Value]; 3],
        patch: &mut Map<String, Value>,
    ) {
        let find =
            |list: &[Value], id: &Value| list.iter().find(|item| item[merge_key] == *id).cloned();
        let mut items = Vec::new();
        for wanted in modified {
            let id = &wanted[merge_key];
            let Some(present) = find(current, id) else {
                items.push(wanted.clone());
                continue;
            };
            let was = find(original, id).unwrap_or_default();
            let empty = Map::new();
            let (Some(wanted), Some(present)) = (wanted.as_object(), present.as_object()) else {
                continue;
            };
            let mut inner = self.maps(key, was.as_object().unwrap_or(&empty), wanted, present);
            if !inner.is_empty() {
                inner.insert(merge_key.to_owned(), id.clone());
                if key == "volumes" {
                    inner.insert("$retainKeys".to_owned(), sorted_keys(wanted));
                }
                items.push(Value::Object(inner));
            }
        }
        for was in original {
            let id = &was[merge_key];
            if find(modified, id).is_none() && find(current, id).is_some() {
                items.push(json!({"$patch": "delete", merge_key: id}));
            }
        }
        let order = |list: &[Value]| -> Vec<Value> {
            list.iter().map(|item| item[merge_key].clone()).collect()
        };
        let wanted = order(modified);
        let present: Vec<_> = order(current)
            .into_iter()
            .filter(|id| wanted.contains(id))
            .collect();
        let moved = present
            != wanted
                .iter()
                .filter(|id| present.contains(id))
                .cloned()
                .collect::<Vec<_>>();
        if items.is_empty() && !moved {
            return;
        }
        if !items.is_empty() {
            patch.insert(key.to_owned(), Value::Array(items));
        }
        let wanted: Vec<_> = wanted.iter().map(|id| json!({merge_key: id})).collect();
        patch.insert(format!("$setElementOrder/{key}"), Value::Array(wanted));
    }
}

fn sets(
    key: &str,
    original: &[Value],
    modified: &[Value],
    current: &[Value],
    patch: &mut Map<String, Value>,
) {
    let without = |list: &[Value], other: &[Value]| -> Vec<Value> {
        list.iter()
            .filter(|item| !other.contains(item))
            .cloned()
            .collect()
    };
    let added = without(modified, current);
    let mut removed = without(original, modified);
    removed.retain(|item| current.contains(item));
    if added.is_empty() && removed.is_empty() {
        return;
    }
    if !added.is_empty() {
        patch.insert(key.to_owned(), Value::Array(added));
    }
    if !removed.is_empty() {
        patch.insert(
            format!("$deleteFromPrimitiveList/{key}"),
            Value::Array(removed),
        );
    }
    patch.insert(format!("$setElementOrder/{key}"), json!(modified));
}

fn sorted_keys(map: &Map<String, Value>) -> Value {
    let mut keys: Vec<_> = map.keys().cloned().collect();
    keys.sort();
    json!(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(original: Value, modified: Value, current: Value, expected: Value) {
        let of = |spec: Value| json!({"kind": "Deployment", "spec": spec});
        let got = patch(
            "apps",
            "Deployment",
            &of(original),
            &of(modified),
            &of(current),
        );
        let expected = if expected == json!({}) {
            expected
        } else {
            json!({"spec": expected})
        };
        assert_eq!(got, expected);
    }

    fn pod(containers: &Value) -> Value {
        json!({"template": {"spec": {"containers": containers}}})
    }

    #[test]
    fn what_is_as_it_is_wanted_needs_no_patch_whatever_the_server_added() {
        let wanted = json!({"replicas": 3, "template": {"spec": {"containers": [{"name": "a", "image": "x", "ports": [{"containerPort": 80}]}], "volumes": [{"name": "v", "emptyDir": {}}]}}});
        let current = json!({"replicas": 3, "paused": false, "template": {"spec": {"dnsPolicy": "ClusterFirst",
            "containers": [{"name": "a", "image": "x", "imagePullPolicy": "Always", "ports": [{"containerPort": 80, "protocol": "TCP"}]}, {"name": "injected"}],
            "volumes": [{"name": "v", "emptyDir": {}}]}}});
        case(wanted.clone(), wanted, current, json!({}));
    }

    #[test]
    fn only_what_the_file_said_before_and_says_no_more_is_removed() {
        case(
            json!({"replicas": 3, "minReadySeconds": 5}),
            json!({}),
            json!({"replicas": 7, "paused": true}),
            json!({"replicas": null}),
        );
    }

    #[test]
    fn containers_are_told_apart_by_their_names() {
        case(
            pod(&json!([{"name": "a", "image": "1", "args": ["x"]}, {"name": "gone"}])),
            pod(&json!([{"name": "new", "image": "n"}, {"name": "a", "image": "2"}])),
            pod(
                &json!([{"name": "a", "image": "1", "args": ["x"], "tty": true}, {"name": "gone"}, {"name": "injected"}]),
            ),
            json!({"template": {"spec": {
                "containers": [{"name": "new", "image": "n"}, {"image": "2", "args": null, "name": "a"}, {"$patch": "delete", "name": "gone"}],
                "$setElementOrder/containers": [{"name": "new"}, {"name": "a"}]}}}),
        );
    }

    #[test]
    fn another_order_alone_is_sent() {
        case(
            pod(&json!([])),
            pod(&json!([{"name": "b"}, {"name": "a"}])),
            pod(&json!([{"name": "a"}, {"name": "x"}, {"name": "b"}])),
            json!({"template": {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}}),
        );
    }

    #[test]
    fn a_strategy_loses_what_belongs_to_the_other_one() {
        case(
            json!({}),
            json!({"strategy": {"type": "Recreate"}}),
            json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}),
            json!({"strategy": {"type": "Recreate", "$retainKeys": ["type"]}}),
        );
    }

    #[test]
    fn lists_of_custom_kinds_are_replaced() {
        let of = |steps: Value| json!({"spec": {"containers": steps}});
        let got = patch(
            "argoproj.io",
            "Rollout",
            &of(json!([])),
            &of(json!([{"name": "b"}])),
            &of(json!([{"name": "a"}, {"name": "b"}])),
        );
        assert_eq!(got, json!({"spec": {"containers": [{"name": "b"}]}}));
    }

    #[test]
    fn finalizers_are_a_set() {
        let of = |list: Value| json!({"metadata": {"finalizers": list}});
        let got = patch(
            "",
            "Pod",
            &of(json!(["x"])),
            &of(json!(["y"])),
            &of(json!(["x", "z"])),
        );
        assert_eq!(
            got,
            json!({"metadata": {"finalizers": ["y"], "$deleteFromPrimitiveList/finalizers": ["x"], "$setElementOrder/finalizers": ["y"]}})
        );
    }
}
