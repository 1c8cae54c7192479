//! What the server serves, and what people call it: `po`, `deployment`, `rollouts.argoproj.io`.

use serde_json::Value;

use super::api::{Api, Query};
use super::error::{Result, said};

const AGGREGATED: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// A kind of object, and where it is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
    pub(super) singular: String,
    pub(super) kind: String,
    pub(super) short_names: Vec<String>,
    pub(super) categories: Vec<String>,
    pub(super) verbs: Vec<String>,
    pub(super) namespaced: bool,
    pub(super) scalable: bool,
}

impl Resource {
    /// `apps/v1`, `v1`.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Where objects are: of a namespace, or of all.
    pub(super) fn collection(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{root}/namespaces/{namespace}/{}", self.plural),
            None => format!("{root}/{}", self.plural),
        }
    }

    /// Where one object is.
    pub(super) fn path(&self, namespace: &str, name: &str) -> String {
        format!("{}/{name}", self.collection(Some(namespace)))
    }

    /// `deployment.apps/hello`, as kubectl names what it did something to.
    pub(super) fn named(&self, name: &str) -> String {
        format!("{}/{name}", self.typed())
    }

    /// `deployment.apps`, `pod`.
    pub(super) fn typed(&self) -> String {
        let kind = self.kind.to_lowercase();
        if self.group.is_empty() {
            kind
        } else {
            format!("{kind}.{}", self.group)
        }
    }

    /// `deployments.apps`, `pods`.
    pub(super) fn plural_typed(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }
}

/// Everything that a server serves, in its order of preference.
#[derive(Clone, Debug, Default)]
pub(super) struct Discovery(pub(super) Vec<Resource>);

impl Discovery {
    /// Asks the server.
    pub(super) async fn of(api: &Api) -> Result<Self> {
        let query = Query::default();
        let (core, groups) = futures::future::try_join(
            api.get_as("/api", &query, AGGREGATED),
            api.get_as("/apis", &query, AGGREGATED),
        )
        .await?;
        let resources: Vec<_> = [core, groups].iter().flat_map(read).collect();
        if resources.is_empty() {
            return Err(said(
                "the server does not answer aggregated discovery, so the built-in kubectl cannot work with it; install kubectl from your distribution",
            ));
        }
        Ok(Self(resources))
    }

    /// The kind that a word means.
    ///
    /// # Errors
    /// Where the server has none, as kubectl words it.
    pub(super) fn resolve(&self, word: &str) -> Result<&Resource> {
        let lower = word.to_lowercase();
        let (name, group) = match lower.split_once('.') {
            Some((name, group)) => (name, Some(group)),
            None => (lower.as_str(), None),
        };
        let in_group = |resource: &&Resource| match group {
            None => true,
            Some(group) => {
                resource.group == group
                    || group
                        .split_once('.')
                        .map_or(group == resource.version, |(version, group)| {
                            version == resource.version && group == resource.group
                        })
            }
        };
        let candidates = || self.0.iter().filter(in_group);
        candidates()
            .find(|resource| resource.plural == name || resource.singular == name)
            .or_else(|| {
                candidates().find(|resource| resource.short_names.iter().any(|short| short == name))
            })
            .or_else(|| candidates().find(|resource| resource.kind.to_lowercase() == name))
            .ok_or_else(|| {
                said(format!(
                    "the server doesn't have a resource type {:?}",
                    word.split('.').next().unwrap_or(word)
                ))
            })
    }

    /// The kinds of a list of words such as `pods,svc` or `all`.
    pub(super) fn resolve_all(&self, words: &str) -> Result<Vec<&Resource>> {
        let mut found = Vec::new();
        for word in words.split(',') {
            let of_category: Vec<_> = self
                .0
                .iter()
                .filter(|resource| resource.categories.iter().any(|category| category == word))
                .collect();
            if of_category.is_empty() {
                found.push(self.resolve(word)?);
            } else {
                found.extend(of_category);
            }
        }
        Ok(found)
    }

    /// The kind of an object that says what it is.
    pub(super) fn of_object(&self, object: &Value) -> Option<&Resource> {
        let api_version = object["apiVersion"].as_str()?;
        let kind = object["kind"].as_str()?;
        self.0
            .iter()
            .find(|resource| resource.kind == kind && resource.api_version() == api_version)
    }
}

/// The resources of one aggregated answer. Of a group's versions, the first that has a resource
/// is meant by its name; the others are found by their version.
fn read(answer: &Value) -> Vec<Resource> {
    let mut found = Vec::new();
    for group in array(&answer["items"]) {
        let group_name = text(&group["metadata"]["name"]);
        for version in array(&group["versions"]) {
            for resource in array(&version["resources"]) {
                let has = |name: &str| {
                    array(&resource["subresources"])
                        .iter()
                        .any(|sub| sub["subresource"] == name)
                };
                found.push(Resource {
                    group: group_name.clone(),
                    version: text(&version["version"]),
                    plural: text(&resource["resource"]),
                    singular: text(&resource["singularResource"]),
                    kind: text(&resource["responseKind"]["kind"]),
                    short_names: texts(&resource["shortNames"]),
                    categories: texts(&resource["categories"]),
                    verbs: texts(&resource["verbs"]),
                    namespaced: resource["scope"] == "Namespaced",
                    scalable: has("scale"),
                });
            }
        }
    }
    found
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    array(value).iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn discovery() -> Discovery {
        let resource = |plural: &str, kind: &str, short: &[&str], categories: &[&str]| {
            json!({"resource": plural, "singularResource": kind.to_lowercase(), "scope": "Namespaced",
                "responseKind": {"kind": kind}, "shortNames": short, "categories": categories,
                "verbs": ["get", "list"], "subresources": [{"subresource": "scale"}]})
        };
        let group =
            |name: &str, versions: Value| json!({"metadata": {"name": name}, "versions": versions});
        let core = json!({"items": [group("", json!([{"version": "v1", "resources": [
            resource("pods", "Pod", &["po"], &["all"]), resource("events", "Event", &["ev"], &[])]}]))]});
        let groups = json!({"items": [
            group("apps", json!([{"version": "v1", "resources": [resource("deployments", "Deployment", &["deploy"], &["all"])]}])),
            group("events.k8s.io", json!([{"version": "v1", "resources": [resource("events", "Event", &["ev"], &[])]}])),
            group("autoscaling", json!([
                {"version": "v2", "resources": [resource("horizontalpodautoscalers", "HorizontalPodAutoscaler", &["hpa"], &[])]},
                {"version": "v1", "resources": [resource("horizontalpodautoscalers", "HorizontalPodAutoscaler", &["hpa"], &[])]}])),
        ]});
        Discovery([core, groups].iter().flat_map(read).collect())
    }

    #[track_caller]
    fn case(word: &str, expected: &str) {
        let discovery = discovery();
        let found = discovery
            .resolve(word)
            .map(|found| format!("{} {}", found.api_version(), found.kind));
        assert_eq!(
            found.unwrap_or_else(|error| error.text("get")),
            expected,
            "{word}"
        );
    }

    #[test]
    fn a_kind_is_found_by_every_name_that_people_use() {
        for word in ["pods", "pod", "po", "Pod", "PODS"] {
            case(word, "v1 Pod");
        }
        for word in [
            "deploy",
            "deployments.apps",
            "deployment.v1.apps",
            "deploy.apps",
        ] {
            case(word, "apps/v1 Deployment");
        }
    }

    #[test]
    fn the_first_group_and_version_are_meant_where_none_is_said() {
        case("events", "v1 Event");
        case("events.events.k8s.io", "events.k8s.io/v1 Event");
        case("hpa", "autoscaling/v2 HorizontalPodAutoscaler");
        case(
            "hpa.v1.autoscaling",
            "autoscaling/v1 HorizontalPodAutoscaler",
        );
    }

    #[test]
    fn what_is_not_served_is_named() {
        case(
            "nope",
            "error: the server doesn't have a resource type \"nope\"",
        );
        case(
            "pods.apps",
            "error: the server doesn't have a resource type \"pods\"",
        );
    }

    #[test]
    fn a_category_means_its_kinds() {
        let discovery = discovery();
        let found = discovery.resolve_all("all,ev").unwrap();
        let kinds: Vec<_> = found
            .iter()
            .map(|resource| resource.kind.as_str())
            .collect();
        assert_eq!(kinds, ["Pod", "Deployment", "Event"]);
    }
}
