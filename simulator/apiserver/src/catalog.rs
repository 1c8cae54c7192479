//! The kinds that this server serves, and how to find one.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::error::Subject;
use crate::object;
use crate::resources::{ResourceDef, Scope, Subresource};

/// Every served kind, in the order of discovery: core first, because a short name that two
/// groups share belongs to the earlier one.
pub(crate) struct Catalog {
    definitions: Vec<Arc<ResourceDef>>,
}

impl Catalog {
    /// A catalog of these kinds, in every version that they have.
    pub(crate) fn new(definitions: Vec<ResourceDef>) -> Self {
        let in_versions = |definition: ResourceDef| {
            let older = definition.older_versions.clone();
            let older = older.into_iter().map({
                let definition = definition.clone();
                move |version| ResourceDef {
                    version,
                    ..definition.clone()
                }
            });
            std::iter::once(definition).chain(older)
        };
        let (core, others): (Vec<_>, Vec<_>) = definitions
            .into_iter()
            .flat_map(in_versions)
            .map(Arc::new)
            .partition(|definition| definition.group.is_empty());
        Self {
            definitions: core.into_iter().chain(others).collect(),
        }
    }

    /// The kind at a path. A linear search: there are a few dozen.
    pub(crate) fn find(
        &self,
        group: &str,
        version: &str,
        plural: &str,
    ) -> Option<&Arc<ResourceDef>> {
        self.definitions.iter().find(|definition| {
            definition.plural == plural
                && definition.group == group
                && definition.version == version
        })
    }

    /// Groups and versions, in order, each once.
    pub(crate) fn group_versions(&self) -> Vec<(&str, &str)> {
        let mut seen: Vec<(&str, &str)> = Vec::new();
        for definition in &self.definitions {
            let pair = (definition.group.as_ref(), definition.version.as_ref());
            if !seen.contains(&pair) {
                seen.push(pair);
            }
        }
        seen
    }

    /// The kinds of a group and version.
    pub(crate) fn of(&self, group: &str, version: &str) -> Vec<&Arc<ResourceDef>> {
        let belongs = |definition: &&Arc<ResourceDef>| {
            definition.group == group && definition.version == version
        };
        self.definitions.iter().filter(belongs).collect()
    }
}

/// What the server derives from a definition.
impl ResourceDef {
    /// `v1`, `apps/v1`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// A stored object in this version. It is stored in the one in which it was written last, and
    /// all have the same fields.
    pub(crate) fn in_version(&self, stored: &Bytes) -> Bytes {
        if self.older_versions.is_empty() {
            return stored.clone();
        }
        Bytes::from(self.decode(stored).to_string())
    }

    /// Reads a stored object in this version.
    pub(crate) fn decode(&self, stored: &[u8]) -> Value {
        let mut object = object::decode(stored);
        if !self.older_versions.is_empty() {
            object["apiVersion"] = self.api_version().into();
        }
        object
    }

    /// Where the store keeps the kind; all versions of a kind share one place.
    pub(crate) fn collection(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_string()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// Name of an object within its collection.
    pub(crate) fn key(&self, namespace: Option<&str>, name: &str) -> String {
        match namespace {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.to_owned(),
        }
    }

    /// True where objects live in namespaces.
    pub(crate) fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// True where the kind has this part.
    pub(crate) fn has(&self, part: Subresource) -> bool {
        self.subresources.contains(&part)
    }

    /// True for one kind by group and plural: for admission steps, which concern one kind.
    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }

    /// What an error about an object of this kind names.
    pub(crate) fn subject(&self, name: &str) -> Box<Subject> {
        Box::new(Subject {
            group: self.group.to_string(),
            plural: self.plural.to_string(),
            kind: self.kind.to_string(),
            name: name.to_owned(),
        })
    }
}

/// The last segment of a subresource's path; `exec` has a second one, `attach`.
pub(crate) fn subresource_at(segment: &str) -> Option<Subresource> {
    let part = match segment {
        "status" => Subresource::Status,
        "scale" => Subresource::Scale,
        "binding" => Subresource::Binding,
        "eviction" => Subresource::Eviction,
        "log" => Subresource::Log,
        "exec" | "attach" => Subresource::Exec,
        "portforward" => Subresource::PortForward,
        "finalize" => Subresource::Finalize,
        "token" => Subresource::Token,
        _ => return None,
    };
    Some(part)
}
