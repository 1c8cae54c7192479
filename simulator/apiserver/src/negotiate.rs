//! Which form of an object the client wants to read.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables>

use crate::query::Query;

/// The form of the objects in an answer. Always JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As they are.
    Object,
    /// Rows for `kubectl get`.
    Table(TableOptions),
    /// Metadata only.
    Metadata,
}

/// How a Table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableOptions {
    /// `v1` or `v1beta1`.
    pub(crate) version: &'static str,
    /// What stands beside the cells.
    pub(crate) include: IncludeObject,
}

/// What each row of a Table carries besides its cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IncludeObject {
    /// Nothing.
    None,
    /// Metadata: the default.
    Metadata,
    /// The whole object.
    Object,
}

/// Reads `Accept`. What we cannot produce falls back to plain JSON, which every client reads:
/// typed clients ask for protobuf first and take JSON.
pub(crate) fn form(accept: Option<&str>, query: &Query) -> Form {
    accept
        .unwrap_or_default()
        .split(',')
        .find_map(|range| offered(range, query))
        .unwrap_or(Form::Object)
}

fn offered(range: &str, query: &Query) -> Option<Form> {
    let mut parts = range.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    if !matches!(media_type, "application/json" | "application/*" | "*/*") {
        return None;
    }
    let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
    let parameter = |name: &str| {
        let mut pairs = parameters.iter();
        pairs.find(|(key, _)| *key == name).map(|(_, value)| *value)
    };
    let version = match parameter("v") {
        None | Some("v1") => Some("v1"),
        Some("v1beta1") => Some("v1beta1"),
        Some(_) => None,
    };
    match parameter("as") {
        None => Some(Form::Object),
        Some("Table") => version.map(|version| {
            let include = include_object(query);
            Form::Table(TableOptions { version, include })
        }),
        Some("PartialObjectMetadata" | "PartialObjectMetadataList") => {
            version.map(|_| Form::Metadata)
        }
        Some(_) => None,
    }
}

fn include_object(query: &Query) -> IncludeObject {
    match query.text("includeObject") {
        Some("None") => IncludeObject::None,
        Some("Object") => IncludeObject::Object,
        _ => IncludeObject::Metadata,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(accept: &str, query: &str, expected: Form) {
        assert_eq!(
            form(Some(accept), &Query::parse(Some(query))),
            expected,
            "{accept}"
        );
    }

    #[test]
    fn the_first_form_that_we_can_produce_is_chosen() {
        let table = |version, include| Form::Table(TableOptions { version, include });
        case(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
            "",
            table("v1", IncludeObject::Metadata),
        );
        case(
            "application/json;as=Table;v=v2;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io",
            "includeObject=Object",
            table("v1beta1", IncludeObject::Object),
        );
        case(
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            "",
            Form::Metadata,
        );
        case(
            "application/vnd.kubernetes.protobuf,application/json",
            "",
            Form::Object,
        );
        case("application/json, */*", "", Form::Object);
        case("text/plain", "", Form::Object);
        case("", "", Form::Object);
    }
}
