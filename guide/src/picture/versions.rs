//! Which pod runs which version of what, and which colour a version has.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

/// Versions remembered: more than a class rolls out in a day.
const REMEMBERED: usize = 10_000;

/// An application and its version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Version {
    pub(super) app: String,
    pub(super) version: String,
}

/// What is remembered of versions, so that a colour stays and traffic of a pod that has ended can
/// still be told.
#[derive(Clone, Debug, Default)]
pub struct Versions {
    slots: HashMap<String, BTreeMap<String, usize>>,
    pods: HashMap<String, Version>,
}

impl Versions {
    /// The place of a version among those of its application, from 0, in the order in which they
    /// were seen first.
    pub(super) fn slot(&mut self, of: &Version) -> usize {
        let slots = self.slots.entry(of.app.clone()).or_default();
        let next = slots.len();
        *slots.entry(of.version.clone()).or_insert(next)
    }

    /// Remembers what a pod runs.
    pub(super) fn remember(&mut self, pod: &str, version: &Version) {
        if self.pods.len() > REMEMBERED {
            self.pods.clear();
        }
        self.pods.insert(pod.to_owned(), version.clone());
    }

    /// What a pod runs or ran.
    pub(super) fn of_pod(&self, pod: &str) -> Option<&Version> {
        self.pods.get(pod)
    }
}

/// What a pod template, or a pod, runs.
pub(super) fn version_of(app: &str, pod_spec: &Value, labels: &Value) -> Version {
    let image = pod_spec
        .pointer("/containers/0/image")
        .and_then(Value::as_str);
    let version = image.and_then(tag).or_else(|| {
        let label = labels.get("app.kubernetes.io/version");
        label.or_else(|| labels.get("version"))?.as_str()
    });
    Version {
        app: app.to_owned(),
        version: version.unwrap_or("latest").to_owned(),
    }
}

/// The tag of an image, or the beginning of its digest.
fn tag(image: &str) -> Option<&str> {
    let (name, digest) = image
        .split_once('@')
        .map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last = name.rsplit('/').next().unwrap_or(name);
    if let Some((_, tag)) = last.split_once(':') {
        return Some(tag);
    }
    let digest = digest?.rsplit(':').next()?;
    digest.get(..7)
}

/// The application that a pod belongs to: the workload behind its ReplicaSet, else what its labels
/// say, else its own name.
pub(super) fn app_of(pod: &Value, owners: &HashMap<String, String>) -> String {
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str);
    let owner = controller(pod);
    if let Some((kind, name, uid)) = owner {
        if let Some(workload) = owners.get(uid) {
            return workload.clone();
        }
        if kind != "ReplicaSet" {
            return name.to_owned();
        }
    }
    let labels = [
        "/metadata/labels/app.kubernetes.io~1name",
        "/metadata/labels/app",
    ];
    let label = labels.into_iter().find_map(text);
    let own = owner.map(|(_, name, _)| name).or(text("/metadata/name"));
    label.or(own).unwrap_or_default().to_owned()
}

/// Kind, name and uid of what controls an object.
pub(super) fn controller(object: &Value) -> Option<(&str, &str, &str)> {
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
    let owner = owners
        .iter()
        .find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))?;
    let text = |name: &str| owner.get(name).and_then(Value::as_str);
    Some((text("kind")?, text("name")?, text("uid")?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_version_is_the_tag_of_the_image() {
        for (image, expected) in [
            ("localhost:5001/hello:1.0.0", "1.0.0"),
            ("hello", "latest"),
            ("localhost:5001/hello", "latest"),
            ("r.io/a/b:2@sha256:0123456789", "2"),
            ("r.io/a/b@sha256:0123456789", "0123456"),
        ] {
            let spec = json!({"containers": [{"image": image}]});
            assert_eq!(
                version_of("a", &spec, &json!({})).version,
                expected,
                "{image}"
            );
        }
        let spec = json!({"containers": [{"image": "hello"}]});
        let labels = json!({"version": "v7"});
        assert_eq!(version_of("a", &spec, &labels).version, "v7");
    }

    #[test]
    fn a_versions_place_stays_whatever_comes_and_goes() {
        let mut versions = Versions::default();
        let mut slot = |app: &str, version: &str| {
            versions.slot(&Version {
                app: app.to_owned(),
                version: version.to_owned(),
            })
        };
        assert_eq!(
            [
                slot("a", "2"),
                slot("a", "1"),
                slot("b", "9"),
                slot("a", "2")
            ],
            [0, 1, 0, 0]
        );
    }
}
