//! Query parameters of list, watch and write requests.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/>

use lab_store::Revision;

use crate::error::{ApiError, Subject};
use crate::validation::FieldError;

/// The parameters of one request; unknown ones are ignored, as upstream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a URL's query, which is form-encoded: `+` is a space.
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// The first value under a name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        pairs
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The value under a name, where it is not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// A boolean parameter; absent and empty are `None`.
    pub(crate) fn switch(&self, name: &str) -> Option<bool> {
        self.text(name)
            .map(|value| matches!(value, "true" | "1" | "t" | "T" | "TRUE" | "True"))
    }

    /// True where a boolean parameter is given and true.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.switch(name).unwrap_or(false)
    }

    /// A number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.text(name)
            .map(|value| value.parse())
            .transpose()
            .map_err(|_| ApiError::BadRequest(format!("query parameter {name} must be a number")))
    }
}

/// Which state a list or watch starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// `resourceVersion` absent: the present.
    Unset,
    /// `resourceVersion=0`: any state will do, and ours is always the present.
    Any,
    /// What came after a revision.
    Revision(Revision),
}

impl Since {
    /// Reads `resourceVersion`.
    pub(crate) fn from_query(query: &Query) -> Result<Self, ApiError> {
        match query.text("resourceVersion") {
            None => Ok(Self::Unset),
            Some("0") => Ok(Self::Any),
            Some(text) => text.parse().map(Self::Revision).map_err(|_| {
                ApiError::BadRequest(format!(
                    "Invalid value: {text:?}: resourceVersion must be a number"
                ))
            }),
        }
    }
}

/// What to do with fields that the kind does not have, or that are given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    /// Drop them without a word.
    Ignore,
    /// Drop them and warn: the default.
    Warn,
    /// Refuse the request.
    Strict,
}

/// Parameters of every write.
#[derive(Clone, Debug)]
pub(crate) struct WriteOptions {
    /// Do everything but store.
    pub(crate) dry_run: bool,
    /// Strictness about fields.
    pub(crate) field_validation: FieldValidation,
    /// Who writes, for `managedFields`.
    pub(crate) field_manager: Option<String>,
}

impl WriteOptions {
    /// Reads `dryRun`, `fieldValidation` and `fieldManager`.
    pub(crate) fn from_query(query: &Query) -> Result<Self, ApiError> {
        let options = |field, value: &str, supported: &[&str]| {
            let subject = Subject::of_kind("meta.k8s.io", "WriteOptions", "");
            ApiError::Invalid(
                subject,
                vec![FieldError::not_supported(field, value, supported)],
            )
        };
        let dry_run = match query.text("dryRun") {
            None => false,
            Some("All") => true,
            Some(other) => return Err(options("dryRun", other, &["All"])),
        };
        let field_validation = match query.text("fieldValidation") {
            Some("Strict") => FieldValidation::Strict,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Warn") | None => FieldValidation::Warn,
            Some(other) => {
                return Err(options(
                    "fieldValidation",
                    other,
                    &["Ignore", "Warn", "Strict"],
                ));
            }
        };
        Ok(Self {
            dry_run,
            field_validation,
            field_manager: query.text("fieldManager").map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_form_encoded() {
        let query = Query::parse(Some(
            "labelSelector=app+in+%28web%2Csolo%29%2Cz%21%3D1&watch=true&x=",
        ));
        assert_eq!(query.get("labelSelector"), Some("app in (web,solo),z!=1"));
        assert!(query.flag("watch"));
        assert_eq!(query.text("x"), None);
        assert_eq!(Since::from_query(&query).unwrap(), Since::Unset);
    }

    #[test]
    fn an_unknown_dry_run_mode_is_refused() {
        let query = Query::parse(Some("dryRun=Some"));
        let error = WriteOptions::from_query(&query).unwrap_err().to_string();
        assert!(error.contains("supported values: \"All\""), "{error}");
    }
}
