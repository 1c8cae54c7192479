//! A workload of whatever kind, as far as its images go: pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Map, Value, json};

use super::policy::Verdict;
use super::settings::Settings;

/// Kinds whose images are followed, with the place of their pod template.
pub(super) const KINDS: [(&str, &str, &str, &str); 5] = [
    ("apps", "v1", "Deployment", "/spec/template"),
    ("argoproj.io", "v1alpha1", "Rollout", "/spec/template"),
    ("apps", "v1", "StatefulSet", "/spec/template"),
    ("apps", "v1", "DaemonSet", "/spec/template"),
    ("batch", "v1", "CronJob", "/spec/jobTemplate/spec/template"),
];

/// Written into a pod template so that the same tag is rolled out again.
const UPDATE_TIME: &str = "keel.sh/update-time";
/// The content that the same tag was rolled out for.
const DIGEST: &str = "keel.sh/digest";
/// What `kubectl rollout history` shows.
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// An image that is there to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Repository with its registry.
    pub(super) image: String,
    pub(super) tag: String,
    pub(super) digest: Option<String>,
}

/// An object with a pod template.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    pub(super) resource: ApiResource,
    pub(super) object: DynamicObject,
    pub(super) template: &'static str,
}

/// A container and its image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Use {
    init: bool,
    index: usize,
    pub(super) container: String,
    /// Repository with its registry.
    pub(super) image: String,
    pub(super) tag: String,
    always_pulled: bool,
}

/// What a candidate means for a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) taken: Vec<(Use, String)>,
    pub(super) left: Vec<String>,
}

pub(super) fn resource(group: &str, version: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

impl Workload {
    pub(super) fn new(
        resource: ApiResource,
        template: &'static str,
        object: DynamicObject,
    ) -> Self {
        Self {
            resource,
            object,
            template,
        }
    }

    pub(super) fn annotations(&self) -> BTreeMap<String, String> {
        self.object.metadata.annotations.clone().unwrap_or_default()
    }

    pub(super) fn settings(&self) -> Result<Option<Settings>, String> {
        let labels = self.object.metadata.labels.clone().unwrap_or_default();
        Settings::read(&self.annotations(), &labels)
    }

    pub(super) fn uid(&self) -> String {
        self.object.metadata.uid.clone().unwrap_or_default()
    }

    pub(super) fn reference(&self) -> ObjectReference {
        let meta = &self.object.metadata;
        ObjectReference {
            api_version: Some(self.resource.api_version.clone()),
            kind: Some(self.resource.kind.clone()),
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            field_path: None,
        }
    }

    fn template(&self) -> Option<&Value> {
        self.object.data.pointer(self.template)
    }

    /// The containers that follow their images.
    pub(super) fn uses(&self, settings: &Settings) -> Vec<Use> {
        let lists = [("containers", false), ("initContainers", true)];
        let lists = lists
            .into_iter()
            .filter(|(_, init)| !init || settings.init_containers);
        let mut uses = Vec::new();
        for (list, init) in lists {
            let containers = self
                .template()
                .and_then(|template| template["spec"][list].as_array());
            for (index, container) in containers.into_iter().flatten().enumerate() {
                let name = container["name"].as_str().unwrap_or_default();
                let image = container["image"].as_str().unwrap_or_default();
                if let Some((image, tag)) = split(image).filter(|_| settings.monitors(name)) {
                    uses.push(Use {
                        init,
                        index,
                        container: name.to_owned(),
                        image: image.to_owned(),
                        always_pulled: match container["imagePullPolicy"].as_str() {
                            Some(policy) => policy == "Always",
                            None => tag == "latest",
                        },
                        tag: tag.to_owned(),
                    });
                }
            }
        }
        uses
    }

    /// What a candidate means for this workload; nothing where it has no such image.
    pub(super) fn decide(&self, settings: &Settings, candidate: &Candidate) -> Decision {
        let mut decision = Decision::default();
        let rolled_out = self
            .template()
            .and_then(|template| template["metadata"]["annotations"][DIGEST].as_str());
        for found in self.uses(settings) {
            if found.image != candidate.image {
                continue;
            }
            let same_content = found.tag == candidate.tag
                && candidate.digest.is_some()
                && candidate.digest.as_deref() == rolled_out;
            match settings.policy.judge(&found.tag, &candidate.tag) {
                Verdict::Take(_) if same_content => decision.left.push(format!(
                    "its content is what was rolled out: {}",
                    candidate.tag
                )),
                Verdict::Take(words) => decision.taken.push((found, words)),
                Verdict::Leave(words) => decision.left.push(words),
            }
        }
        decision
    }

    /// The merge patch that takes the candidate. It names the revision that was read, so that the
    /// server refuses it where somebody wrote meanwhile.
    pub(super) fn patch(&self, candidate: &Candidate, uses: &[Use], now: &str) -> Value {
        let mut spec = Map::new();
        for (list, init) in [("containers", false), ("initContainers", true)] {
            let mut containers = self
                .template()
                .map(|template| template["spec"][list].clone())
                .unwrap_or_default();
            let mut changed = false;
            for found in uses.iter().filter(|found| found.init == init) {
                if let Some(container) = containers.get_mut(found.index) {
                    container["image"] = json!(format!("{}:{}", candidate.image, candidate.tag));
                    changed = true;
                }
            }
            if changed {
                spec.insert(list.to_owned(), containers);
            }
        }
        let mut annotations = json!({ UPDATE_TIME: now });
        if let Some(digest) = &candidate.digest {
            annotations[DIGEST] = json!(digest);
        }
        let from = uses.first().map_or("", |found| found.tag.as_str());
        let cause = format!(
            "image update: {from} -> {} of {}",
            candidate.tag, candidate.image
        );
        let mut body = json!({"metadata": {"annotations": annotations}, "spec": spec});
        for part in self
            .template
            .split('/')
            .rev()
            .filter(|part| !part.is_empty())
        {
            body = json!({ part: body });
        }
        body["metadata"] = json!({
            "resourceVersion": self.object.metadata.resource_version,
            "annotations": {
                CHANGE_CAUSE: cause,
                super::approval::PENDING: null,
                super::approval::APPROVE: null,
            },
        });
        body
    }
}

impl Use {
    /// A warning where nodes would not look for new content of the same tag.
    pub(super) fn stale(&self, candidate: &Candidate) -> Option<String> {
        (self.tag == candidate.tag && !self.always_pulled).then(|| {
            format!(
                "container {} has no imagePullPolicy: Always, so nodes may start the copy of {}:{} that they have",
                self.container, self.image, self.tag
            )
        })
    }
}

/// `localhost:5001/hello:1.0.0` into repository and tag. An image that is named by its digest
/// does not move.
pub(super) fn split(image: &str) -> Option<(&str, &str)> {
    if image.is_empty() || image.contains('@') {
        return None;
    }
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => Some((name, tag)),
        Some(_) | None => Some((image, "latest")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(kind: usize, image: &str, annotations: Value) -> Workload {
        let (group, version, name, template) = KINDS[kind];
        let pod = json!({"metadata": {"annotations": {"keel.sh/digest": "sha256:old"}}, "spec": {
            "initContainers": [{"name": "setup", "image": image}],
            "containers": [{"name": "app", "image": image, "args": ["x"]}, {"name": "log", "image": "other:1"}]}});
        let mut body = pod;
        for part in template.split('/').rev().filter(|part| !part.is_empty()) {
            body = json!({ part: body });
        }
        body["apiVersion"] = json!(format!("{group}/{version}"));
        body["kind"] = json!(name);
        body["metadata"] =
            json!({"name": "hello", "resourceVersion": "7", "annotations": annotations});
        Workload::new(
            resource(group, version, name),
            template,
            serde_json::from_value(body).unwrap(),
        )
    }

    fn candidate(tag: &str, digest: &str) -> Candidate {
        Candidate {
            image: "localhost:5001/hello".into(),
            tag: tag.into(),
            digest: Some(digest.into()),
        }
    }

    #[test]
    fn an_update_changes_the_image_of_the_containers_that_follow_and_nothing_else() {
        for (kind, (_, _, _, place)) in KINDS.iter().enumerate() {
            let annotations = json!({"keel.sh/policy": "patch"});
            let workload = workload(kind, "localhost:5001/hello:1.0.0", annotations);
            let settings = workload.settings().unwrap().unwrap();
            let candidate = candidate("1.0.1", "sha256:new");
            let decision = workload.decide(&settings, &candidate);
            assert_eq!(decision.taken.len(), 1, "{decision:?}");
            let uses: Vec<_> = decision.taken.into_iter().map(|(found, _)| found).collect();
            let patch = workload.patch(&candidate, &uses, "now");
            assert_eq!(patch["metadata"]["resourceVersion"], "7");
            let template = patch.pointer(place).unwrap();
            assert_eq!(
                *template,
                json!({"metadata": {"annotations": {"keel.sh/update-time": "now", "keel.sh/digest": "sha256:new"}},
                    "spec": {"containers": [{"name": "app", "image": "localhost:5001/hello:1.0.1", "args": ["x"]}, {"name": "log", "image": "other:1"}]}})
            );
        }
    }

    #[test]
    fn the_same_content_is_not_rolled_out_twice() {
        let workload = workload(
            0,
            "localhost:5001/hello:main",
            json!({"keel.sh/policy": "force"}),
        );
        let settings = workload.settings().unwrap().unwrap();
        assert!(
            workload
                .decide(&settings, &candidate("main", "sha256:old"))
                .taken
                .is_empty()
        );
        let new = candidate("main", "sha256:new");
        let decision = workload.decide(&settings, &new);
        assert!(
            decision.taken[0]
                .0
                .stale(&new)
                .unwrap()
                .contains("imagePullPolicy: Always")
        );
    }

    #[test]
    fn images_are_taken_apart() {
        assert_eq!(
            split("localhost:5001/a/b:1"),
            Some(("localhost:5001/a/b", "1"))
        );
        assert_eq!(
            split("localhost:5001/a"),
            Some(("localhost:5001/a", "latest"))
        );
        assert_eq!(split("nginx"), Some(("nginx", "latest")));
        assert_eq!(split("nginx@sha256:1"), None);
    }
}
