//! PATCH of an object, in the four formats of Kubernetes.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply>

use axum::response::Response;
use http::StatusCode;
use serde_json::Value;

use crate::call::Call;
use crate::error::{ApiError, Subject};
use crate::patch::{self, Format, Patch};
use crate::query::{FieldValidation, WriteOptions};
use crate::respond;
use crate::server::Server;
use crate::validation::FieldError;
use crate::write::{self, Part, Proposed, Target};

/// Patches an object; an apply creates it where it is missing.
pub(crate) async fn patch(server: &Server, call: &Call) -> Result<Response, ApiError> {
    let patch = Patch::read(call)?;
    let exists = server
        .store
        .get(&call.definition.collection(), &call.key())
        .is_some();
    if exists || patch.format != Format::Apply {
        apply_to(server, call, Part::Main, &patch).await
    } else {
        create(server, call, &patch).await
    }
}

/// Patches a part of an object.
pub(crate) async fn patch_part(
    server: &Server,
    call: &Call,
    part: Part,
) -> Result<Response, ApiError> {
    let patch = Patch::read(call)?;
    apply_to(server, call, part, &patch).await
}

async fn apply_to(
    server: &Server,
    call: &Call,
    part: Part,
    patch: &Patch,
) -> Result<Response, ApiError> {
    let options = WriteOptions::from_query(&call.query)?;
    let definition = &call.definition;
    let now = server.context.now();
    let proposed = |current: &Value| {
        let mut object = patch.apply(definition, current)?;
        if patch.format == Format::Apply {
            patch::apply::record(
                definition,
                &mut object,
                &patch.body.value,
                &manager(&options)?,
                part,
                now,
            );
        }
        Ok(Proposed {
            object,
            duplicates: patch.body.duplicates.clone(),
        })
    };
    let written = write::update(server, &Target::of(call), part, &options, proposed).await;
    let written = written.map_err(|error| as_patch_error(error, &options, patch))?;
    Ok(written.respond(server, call))
}

/// What an apply does where the object does not exist.
async fn create(server: &Server, call: &Call, patch: &Patch) -> Result<Response, ApiError> {
    let options = WriteOptions::from_query(&call.query)?;
    let mut body = patch.body.clone();
    let applied = body.value.clone();
    let now = server.context.now();
    let manager = manager(&options)?;
    patch::apply::record(
        &call.definition,
        &mut body.value,
        &applied,
        &manager,
        Part::Main,
        now,
    );
    let written = write::create(server, &Target::of(call), body, &options).await?;
    let response = respond::one(
        server,
        &call.definition,
        call.form,
        StatusCode::CREATED,
        &written.bytes,
    );
    Ok(respond::warn(response, &written.warnings))
}

fn manager(options: &WriteOptions) -> Result<String, ApiError> {
    options.field_manager.clone().ok_or_else(|| {
        ApiError::BadRequest("PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch".to_owned())
    })
}

/// Upstream reports strict errors of a patch as `Invalid` on the field `patch`.
fn as_patch_error(error: ApiError, options: &WriteOptions, patch: &Patch) -> ApiError {
    match &error {
        ApiError::BadRequest(message) if options.field_validation == FieldValidation::Strict => {
            match message.split_once("strict decoding error: ") {
                Some((_, detail)) if patch.format != Format::Apply => {
                    let detail = format!("strict decoding error: {detail}");
                    let value = patch.body.value.to_string();
                    let errors = vec![FieldError::invalid("patch", value, detail)];
                    let nobody = Subject::of_kind("", "", "");
                    ApiError::Invalid(nobody, errors)
                }
                _ => error,
            }
        }
        _ => error,
    }
}
