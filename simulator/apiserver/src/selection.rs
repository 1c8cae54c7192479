//! Which objects a list, watch or deletion of a collection is about.

use lab_api::selector::{FieldSelector, Selector};
use lab_store::Entry;

use crate::error::ApiError;
use crate::facts::Facts;
use crate::query::Query;
use crate::resources::ResourceDef;

/// A namespace, a label selector and a field selector.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    namespace: Option<String>,
    labels: Selector,
    fields: FieldSelector,
}

impl Selection {
    /// Reads `labelSelector` and `fieldSelector`. `name` is that of a path to a single object,
    /// which may be watched too.
    pub(crate) fn from_query(
        definition: &ResourceDef,
        namespace: Option<&str>,
        name: Option<&str>,
        query: &Query,
    ) -> Result<Self, ApiError> {
        let labels = query.get("labelSelector").unwrap_or_default();
        let labels =
            Selector::parse(labels).map_err(|error| ApiError::BadRequest(error.to_string()))?;
        let mut fields = query.get("fieldSelector").unwrap_or_default().to_owned();
        if let Some(name) = name {
            let clauses = [fields.as_str(), &format!("metadata.name={name}")];
            fields = clauses.join(",");
        }
        let parsed = FieldSelector::parse(&fields)
            .map_err(|error| ApiError::BadRequest(error.to_string()))?;
        check_supported(definition, &parsed, &fields)?;
        Ok(Self {
            namespace: namespace.map(str::to_owned),
            labels,
            fields: parsed,
        })
    }

    /// What the names of all selected objects begin with.
    pub(crate) fn prefix(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/"),
            None => String::new(),
        }
    }

    /// The one name in the store that can be selected, where the selectors leave only one.
    pub(crate) fn only(&self, definition: &ResourceDef) -> Option<String> {
        let mut clauses = self.fields.requirements().iter();
        let name = clauses.find(|clause| clause.equal && clause.path == "metadata.name")?;
        match (&self.namespace, definition.is_namespaced()) {
            (None, true) => None,
            (namespace, _) => Some(definition.key(namespace.as_deref(), &name.value)),
        }
    }

    /// True where every object of the namespace is selected.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether the name in the store can be selected; cheaper than [`Selection::matches`].
    pub(crate) fn may_match(&self, key: &str) -> bool {
        let (namespace, name) = split(key);
        let in_namespace = self
            .namespace
            .as_deref()
            .is_none_or(|wanted| namespace == wanted);
        in_namespace
            && self
                .fields
                .requirements()
                .iter()
                .all(|clause| match clause.path.as_str() {
                    "metadata.name" => (name == clause.value) == clause.equal,
                    "metadata.namespace" => (namespace == clause.value) == clause.equal,
                    _ => true,
                })
    }

    /// True where an object with these facts is selected, provided that its name is.
    pub(crate) fn matches(&self, facts: &Facts) -> bool {
        let labels = self.labels.matches_with(|key| facts.label(key));
        labels
            && self
                .fields
                .requirements()
                .iter()
                .all(|clause| match clause.path.as_str() {
                    "metadata.name" | "metadata.namespace" => true,
                    path => holds(facts.field(path), &clause.value) == clause.equal,
                })
    }

    /// True where the entry is selected.
    pub(crate) fn selects(&self, definition: &ResourceDef, entry: &Entry) -> bool {
        self.may_match(&entry.name)
            && (self.is_everything()
                || self.matches(&Facts::read(
                    &entry.value,
                    definition.strategy.selectable_fields(),
                )))
    }
}

/// Upstream's fields have Go's zero values where JSON has nothing: an absent text is empty, an
/// absent boolean false.
fn holds(value: Option<&str>, wanted: &str) -> bool {
    match value {
        Some(value) => value == wanted,
        None => matches!(wanted, "" | "false"),
    }
}

/// Namespace and name of a name in the store.
pub(crate) fn split(key: &str) -> (&str, &str) {
    key.split_once('/').unwrap_or(("", key))
}

fn check_supported(
    definition: &ResourceDef,
    fields: &FieldSelector,
    text: &str,
) -> Result<(), ApiError> {
    let selectable = definition.strategy.selectable_fields();
    let known = |path: &str| {
        matches!(path, "metadata.name" | "metadata.namespace") || selectable.contains(&path)
    };
    let unknown = fields
        .requirements()
        .iter()
        .find(|clause| !known(&clause.path));
    match unknown {
        None => Ok(()),
        Some(clause) => Err(ApiError::BadRequest(format!(
            "Unable to find \"{}, Resource={}\" that match label selector \"\", field selector \"{}\": field label not supported: {}",
            definition.api_version(),
            definition.plural,
            text.trim_matches(','),
            clause.path
        ))),
    }
}
