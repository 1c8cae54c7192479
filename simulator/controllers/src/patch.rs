//! Writing to the API, a few fields at a time.
//!
//! Caches keep less than the whole object, so a controller never puts an object back: it sends
//! a merge patch of what it decided. Where the decision hangs on what the cache showed, the
//! patch carries the resourceVersion, and the server refuses it if somebody wrote meanwhile.

use std::fmt::Debug;

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::runner::{During, Error};

/// Merges `body` into an object.
pub(crate) async fn merge<K>(api: &Api<K>, name: &str, body: &Value) -> Result<K, Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    api.patch(name, &PatchParams::default(), &Patch::Merge(body))
        .await
        .during(|| format!("patch {} {name:?}", plural(api)))
}

/// Merges `status` into an object's status.
pub(crate) async fn merge_status<K>(api: &Api<K>, name: &str, body: &Value) -> Result<K, Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(body))
        .await
        .during(|| format!("patch the status of {} {name:?}", plural(api)))
}

/// Merges `body` into an object's status, lists item by item: for conditions that others
/// write too.
pub(crate) async fn merge_status_lists<K>(
    api: &Api<K>,
    name: &str,
    body: &Value,
) -> Result<K, Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    api.patch_status(name, &PatchParams::default(), &Patch::Strategic(body))
        .await
        .during(|| format!("patch the status of {} {name:?}", plural(api)))
}

/// The merge patch that turns a status from `old` into `new`; `None` where nothing changes.
pub(crate) fn status_change<S: Serialize>(old: Option<&S>, new: &S) -> Option<Value> {
    let fields = |status: Option<&S>| match status.map(serde_json::to_value) {
        Some(Ok(Value::Object(fields))) => fields,
        _ => Map::new(),
    };
    let (old, mut new) = (fields(old), fields(Some(new)));
    if old == new {
        return None;
    }
    for field in old.into_iter().map(|(field, _)| field) {
        // A merge patch keeps what it does not name.
        new.entry(field).or_insert(Value::Null);
    }
    Some(json!({"status": new}))
}

/// The merge patch that turns `old` into `new`, field by field: what it does not name, somebody
/// else may write. `None` where nothing changes.
pub(crate) fn difference(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        return (old != new).then(|| new.clone());
    };
    let mut changed = Map::new();
    for (field, value) in after {
        let change = match before.get(field) {
            None => Some(value.clone()),
            Some(found) => difference(found, value),
        };
        if let Some(change) = change {
            changed.insert(field.clone(), change);
        }
    }
    for field in before.keys().filter(|field| !after.contains_key(*field)) {
        changed.insert(field.clone(), Value::Null);
    }
    (!changed.is_empty()).then_some(Value::Object(changed))
}

/// A moment as Kubernetes writes it: RFC 3339 in whole seconds.
pub(crate) fn rfc3339(moment: Timestamp) -> String {
    Timestamp::from_second(moment.as_second())
        .unwrap_or(moment)
        .to_string()
}

/// A count in a status: like Kubernetes, zero is written by leaving the field out.
pub(crate) fn nonzero(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}

fn plural<K: Resource>(api: &Api<K>) -> &str {
    api.resource_url().rsplit('/').next().unwrap_or("an object")
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::ReplicaSetStatus;

    #[test]
    fn a_difference_names_what_changed_and_no_more() {
        let old = json!({"a": 1, "b": {"c": 1, "d": [1]}, "e": {"f": 1}});
        let new = json!({"a": 1, "b": {"c": 2, "d": [1]}, "e": {}, "g": {}});
        assert_eq!(
            difference(&old, &new),
            Some(json!({"b": {"c": 2}, "e": {"f": null}, "g": {}}))
        );
        assert_eq!(difference(&new, &new), None);
    }

    #[test]
    fn a_status_patch_removes_what_is_no_longer_there() {
        let old = ReplicaSetStatus {
            replicas: 3,
            ready_replicas: Some(3),
            ..ReplicaSetStatus::default()
        };
        let new = ReplicaSetStatus {
            replicas: 3,
            ready_replicas: nonzero(0),
            ..ReplicaSetStatus::default()
        };
        assert_eq!(
            status_change(Some(&old), &new),
            Some(json!({"status": {"replicas": 3, "readyReplicas": null}}))
        );
        assert_eq!(status_change(Some(&new), &new), None);
    }
}
