//! The four patch formats.
//! <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>

pub(crate) mod apply;
mod strategic;

use lab_api::merging::is_built_in;
use serde_json::Value;

use crate::body::{self, Parsed};
use crate::call::Call;
use crate::error::ApiError;
use crate::resources::ResourceDef;

/// How a patch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// A merge patch that knows which lists are keyed.
    Strategic,
    /// Server-side apply.
    Apply,
}

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// A patch as it was sent.
pub(crate) struct Patch {
    /// How it is written.
    pub(crate) format: Format,
    /// What it says.
    pub(crate) body: Parsed,
}

impl Patch {
    /// Reads the body of a request.
    pub(crate) fn read(call: &Call) -> Result<Self, ApiError> {
        let custom = !is_built_in(&call.definition.group);
        let accepted: &[&str] = if custom {
            &[JSON, MERGE, APPLY]
        } else {
            &[JSON, MERGE, STRATEGIC, APPLY]
        };
        let media_type = body::media_type(call.content_type.as_deref());
        let format = match media_type {
            JSON => Format::Json,
            MERGE => Format::Merge,
            STRATEGIC if !custom => Format::Strategic,
            APPLY => Format::Apply,
            other => return Err(body::unsupported(other, accepted)),
        };
        let body = match format {
            Format::Json => body::json(&call.body)?,
            // kubectl and kube send JSON here, which is YAML too. Other YAML is not read yet.
            Format::Merge | Format::Strategic | Format::Apply => body::object(&call.body)?,
        };
        Ok(Self { format, body })
    }

    /// What `current` becomes.
    pub(crate) fn apply(
        &self,
        definition: &ResourceDef,
        current: &Value,
    ) -> Result<Value, ApiError> {
        let patch = &self.body.value;
        let mut object = current.clone();
        match self.format {
            Format::Json => json(&mut object, patch)?,
            Format::Merge => json_patch::merge(&mut object, patch),
            Format::Strategic => {
                strategic::merge(&definition.kind, &mut object, patch)
                    .map_err(ApiError::BadRequest)?;
            }
            Format::Apply if is_built_in(&definition.group) => {
                strategic::merge(&definition.kind, &mut object, patch)
                    .map_err(ApiError::BadRequest)?;
            }
            Format::Apply => json_patch::merge(&mut object, patch),
        }
        Ok(object)
    }
}

fn json(object: &mut Value, patch: &Value) -> Result<(), ApiError> {
    let patch: json_patch::Patch = serde_json::from_value(patch.clone())
        .map_err(|error| ApiError::BadRequest(format!("the body is not a JSON patch: {error}")))?;
    json_patch::patch(object, &patch).map_err(|error| ApiError::UnusablePatch(error.to_string()))
}
