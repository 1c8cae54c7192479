//! From what is to what was: which objects go, come, and change. A pure decision.

use std::collections::BTreeSet;

use serde_json::Value;

use super::objects::{Key, Objects, history, wanted};

/// The kinds that others need, in the order in which they are made; all others come after them.
const FIRST: [&str; 7] = [
    "CustomResourceDefinition",
    "Namespace",
    "ServiceAccount",
    "ConfigMap",
    "Secret",
    "Service",
    "AnalysisTemplate",
];

/// What to do, in this order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// To delete, workloads before what they need.
    pub(super) delete: Vec<Key>,
    /// To make, what others need first. Where it has revisions, they come before it.
    pub(super) create: Vec<Key>,
    /// To change.
    pub(super) replace: Vec<Key>,
}

impl Plan {
    /// What makes `found` into `kept`.
    pub(super) fn new(kept: &Objects, found: &Objects) -> Self {
        let mut plan = Self::default();
        for (key, is) in &found.own {
            match kept.own.get(key) {
                None => plan.delete.push(key.clone()),
                // Revisions cannot be changed, only made: numbers, once counted, stay.
                Some(_) if has_other_history(kept, found, key) => {
                    plan.delete.push(key.clone());
                    plan.create.push(key.clone());
                }
                Some(was) if wanted(was) != wanted(is) => plan.replace.push(key.clone()),
                Some(_) => {}
            }
        }
        let missing = kept.own.keys().filter(|key| !found.own.contains_key(*key));
        plan.create.extend(missing.cloned());
        plan.drop_content_of_namespaces();
        plan.create.sort_by_key(|key| (place(key), key.clone()));
        plan.replace.sort_by_key(|key| (place(key), key.clone()));
        plan.delete
            .sort_by_key(|key| (std::cmp::Reverse(place(key)), key.clone()));
        plan
    }

    /// A namespace takes its content with it.
    fn drop_content_of_namespaces(&mut self) {
        let gone: BTreeSet<_> = self
            .delete
            .iter()
            .filter(|key| key.kind == "Namespace")
            .map(|key| key.name.clone())
            .collect();
        self.delete.retain(|key| !gone.contains(&key.namespace));
    }

    /// True where there is nothing to do.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.delete.is_empty() && self.create.is_empty() && self.replace.is_empty()
    }

    /// True where objects of this namespace are made anew or changed, so that its events tell of
    /// what is no more.
    pub(super) fn touches(&self, namespace: &str) -> bool {
        let all = [&self.delete, &self.create, &self.replace];
        all.into_iter()
            .flatten()
            .any(|key| key.namespace == namespace || key.name == namespace)
    }
}

fn has_other_history(kept: &Objects, found: &Objects, key: &Key) -> bool {
    history(kept.revisions.get(key)) != history(found.revisions.get(key))
}

fn place(key: &Key) -> usize {
    let place = FIRST.iter().position(|kind| *kind == key.kind);
    place.unwrap_or(FIRST.len())
}

/// How many replicas a workload had that were ready, and how many pods it had in all; none for
/// other objects.
pub(super) fn readiness(object: &Value) -> Option<(i64, i64)> {
    let is_workload = ["Deployment", "Rollout", "ReplicaSet"]
        .iter()
        .any(|kind| object["kind"] == *kind);
    let number = |field: &str| object["status"][field].as_i64().unwrap_or(0);
    is_workload.then(|| (number("readyReplicas"), number("replicas")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(kind: &str, namespace: &str, name: &str, spec: &Value) -> Value {
        let metadata = json!({"name": name, "namespace": namespace});
        json!({"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec})
    }

    fn revision(of: &str, name: &str, number: u32) -> Value {
        let owner = json!([{
            "apiVersion": "v1", "kind": "Deployment", "name": of, "controller": true
        }]);
        let number = json!({"deployment.kubernetes.io/revision": number.to_string()});
        let mut set = object("ReplicaSet", "default", name, &Value::Null);
        set["metadata"]["annotations"] = number;
        set["metadata"]["ownerReferences"] = owner;
        set
    }

    fn labels(keys: &[Key]) -> Vec<String> {
        keys.iter().map(Key::label).collect()
    }

    #[track_caller]
    fn check(kept: Vec<Value>, found: Vec<Value>, expected: [&[&str]; 3]) {
        let plan = Plan::new(&Objects::of(kept), &Objects::of(found));
        let [delete, create, replace] = expected;
        assert_eq!(labels(&plan.delete), delete, "delete");
        assert_eq!(labels(&plan.create), create, "create");
        assert_eq!(labels(&plan.replace), replace, "replace");
        assert_eq!(plan.is_empty(), expected == [&[""; 0][..]; 3]);
    }

    fn deployment(image: &str) -> Value {
        object("Deployment", "default", "hello", &json!({"image": image}))
    }

    #[test]
    fn what_is_as_it_was_is_left_alone() {
        let state = || vec![deployment("1"), revision("hello", "hello-a", 1)];
        check(state(), state(), [&[], &[], &[]]);
        let mut other_status = deployment("1");
        other_status["status"] = json!({"replicas": 1});
        check(vec![deployment("1")], vec![other_status], [&[], &[], &[]]);
    }

    #[test]
    fn objects_go_come_and_change() {
        let route = |weight: u8| object("HTTPRoute", "default", "r", &json!({"weight": weight}));
        check(
            vec![
                route(100),
                deployment("1"),
                object("Secret", "default", "s", &Value::Null),
            ],
            vec![
                route(50),
                object("ConfigMap", "default", "stray", &Value::Null),
            ],
            [
                &["configmap/stray"],
                &["secret/s", "deployment/hello"],
                &["httproute/r"],
            ],
        );
    }

    #[test]
    fn a_workload_that_was_rolled_on_is_made_anew_with_its_revisions() {
        check(
            vec![deployment("1"), revision("hello", "hello-a", 1)],
            vec![
                deployment("1"),
                revision("hello", "hello-a", 3),
                revision("hello", "hello-b", 2),
            ],
            [&["deployment/hello"], &["deployment/hello"], &[]],
        );
        // Only scaled: the same revisions.
        check(
            vec![deployment("1"), revision("hello", "hello-a", 1)],
            vec![deployment("2"), revision("hello", "hello-a", 1)],
            [&[], &[], &["deployment/hello"]],
        );
    }

    #[test]
    fn a_namespace_takes_its_content_with_it() {
        let shop = object("Namespace", "", "shop", &Value::Null);
        let inside = object("Secret", "shop", "s", &Value::Null);
        check(
            vec![],
            vec![shop.clone(), inside.clone()],
            [&["namespace/shop"], &[], &[]],
        );
        check(
            vec![inside.clone(), shop.clone()],
            vec![],
            [&[], &["namespace/shop", "secret/s in shop"], &[]],
        );
        let plan = Plan::new(&Objects::default(), &Objects::of(vec![shop, inside]));
        assert!(plan.touches("shop") && !plan.touches("default"));
    }
}
