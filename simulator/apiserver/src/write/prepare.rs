//! From what a client proposes to what is stored. Reads the store where admission must, and
//! writes nothing.

use serde_json::{Value, json};

use super::{Part, Proposed, Target};
use crate::addresses::Reservation;
use crate::admission::{self, Admission, Operation};
use crate::error::ApiError;
use crate::metadata;
use crate::object;
use crate::query::{FieldValidation, WriteOptions};
use crate::resources::{PrepareContext, ResourceDef, Subresource};
use crate::server::Server;
use crate::validation::FieldError;

/// An object that may be stored.
pub(crate) struct Prepared {
    /// The object; its resourceVersion is that of the state it replaces.
    pub(crate) object: Value,
    /// For the author.
    pub(crate) warnings: Vec<String>,
}

/// Fills in what the path says: kind, version, namespace and (through `generate`) the name.
pub(crate) fn identify(
    target: &Target<'_>,
    object: &mut Value,
    generate: impl Fn(&str) -> String,
) -> Result<(), ApiError> {
    check_type(target.definition, object)?;
    check_namespace(target, object)?;
    if let Some(name) = target.name {
        match object::meta(object, "name") {
            "" => object::set(object, &["metadata", "name"], json!(name)),
            given if given == name => {}
            given => return Err(other_name(given, name)),
        }
    }
    if object::meta(object, "name").is_empty() {
        let prefix = object::meta(object, "generateName").to_owned();
        if !prefix.is_empty() {
            object::set(object, &["metadata", "name"], json!(generate(&prefix)));
        }
    }
    Ok(())
}

fn other_name(given: &str, name: &str) -> ApiError {
    ApiError::BadRequest(format!(
        "the name of the object ({given}) does not match the name on the URL ({name})"
    ))
}

fn check_type(definition: &ResourceDef, object: &mut Value) -> Result<(), ApiError> {
    let api_version = definition.api_version();
    let version = object::text(object, &["apiVersion"]);
    if !version.is_empty() && version != api_version {
        return Err(ApiError::BadRequest(format!(
            "the API version in the data ({version}) does not match the expected API version ({api_version})"
        )));
    }
    let kind = object::text(object, &["kind"]);
    if !kind.is_empty() && kind != definition.kind {
        let hint = if kind.eq_ignore_ascii_case(definition.kind.as_ref()) {
            format!(
                ": no kind \"{kind}\" is registered for version \"{api_version}\"; it is written {}",
                definition.kind
            )
        } else {
            String::new()
        };
        return Err(ApiError::BadRequest(format!(
            "{kind} in version \"{}\" cannot be handled as a {}{hint}",
            definition.version, definition.kind
        )));
    }
    object::set(object, &["apiVersion"], json!(api_version));
    object::set(object, &["kind"], json!(definition.kind));
    match object.get("metadata") {
        Some(Value::Object(_)) => {}
        None | Some(Value::Null) => object::set(object, &["metadata"], json!({})),
        Some(_) => {
            let message = "metadata must be an object with at least a name";
            return Err(ApiError::BadRequest(message.to_owned()));
        }
    }
    Ok(())
}

fn check_namespace(target: &Target<'_>, object: &mut Value) -> Result<(), ApiError> {
    let Some(namespace) = target.namespace else {
        // As upstream, a namespace on a kind without one is dropped in silence.
        object::remove(object, &["metadata", "namespace"]);
        return Ok(());
    };
    let given = object::meta(object, "namespace");
    if !given.is_empty() && given != namespace {
        let message =
            "the namespace of the provided object does not match the namespace sent on the request";
        return Err(ApiError::BadRequest(message.to_owned()));
    }
    object::set(object, &["metadata", "namespace"], json!(namespace));
    Ok(())
}

/// A new object.
pub(crate) fn create(
    server: &Server,
    target: &Target<'_>,
    proposed: Proposed,
    options: &WriteOptions,
    reservation: &Reservation<'_>,
) -> Result<Prepared, ApiError> {
    let definition = target.definition;
    let Proposed {
        mut object,
        duplicates,
    } = proposed;
    if !object::meta(&object, "resourceVersion").is_empty() {
        let message = "resourceVersion should not be set on objects to be created";
        return Err(ApiError::BadRequest(message.to_owned()));
    }
    object::strip_nulls(&mut object);
    let mut warnings = check_fields(definition, &mut object, &duplicates, options)?;
    if definition.has(Subresource::Status) && !definition.strategy.accepts_status_on_create() {
        object::remove(&mut object, &["status"]);
    }
    definition.strategy.default(&mut object);
    metadata::begin(definition, &mut object, &server.context);
    let admission = Admission {
        server,
        definition,
        namespace: target.namespace,
        operation: Operation::Create,
    };
    admission::admit(&admission, &mut object)?;
    let context = PrepareContext {
        now: server.context.now(),
        allocator: reservation,
    };
    let prepared = definition
        .strategy
        .prepare_for_create(&mut object, &context);
    prepared.map_err(|error| invalid(definition, &object, vec![error]))?;
    validate(definition, &object, None)?;
    warnings.extend(definition.strategy.warnings(&object));
    Ok(Prepared { object, warnings })
}

/// A changed object.
pub(crate) fn update(
    server: &Server,
    target: &Target<'_>,
    part: Part,
    proposed: Proposed,
    old: &Value,
    options: &WriteOptions,
    reservation: &Reservation<'_>,
) -> Result<Prepared, ApiError> {
    let definition = target.definition;
    let Proposed {
        mut object,
        duplicates,
    } = proposed;
    identify(target, &mut object, |_| String::new())?;
    metadata::check_preconditions(target, &object, old)?;
    object::strip_nulls(&mut object);
    let mut warnings = check_fields(definition, &mut object, &duplicates, options)?;
    let object = match part {
        Part::Main => update_main(server, target, object, old, reservation)?,
        Part::Status => with_part_of(&object, old, &["status"]),
        Part::Finalizers => with_part_of(&object, old, &["spec", "finalizers"]),
    };
    if part == Part::Main {
        warnings.extend(definition.strategy.warnings(&object));
    }
    Ok(Prepared { object, warnings })
}

fn update_main(
    server: &Server,
    target: &Target<'_>,
    mut object: Value,
    old: &Value,
    reservation: &Reservation<'_>,
) -> Result<Value, ApiError> {
    let definition = target.definition;
    keep_status(definition, &mut object, old);
    definition.strategy.default(&mut object);
    metadata::carry_over(&mut object, old);
    let admission = Admission {
        server,
        definition,
        namespace: target.namespace,
        operation: Operation::Update,
    };
    admission::admit(&admission, &mut object)?;
    let context = PrepareContext {
        now: server.context.now(),
        allocator: reservation,
    };
    let prepared = definition
        .strategy
        .prepare_for_update(&mut object, old, &context);
    prepared.map_err(|error| invalid(definition, &object, vec![error]))?;
    // Again, to the letter: where a strategy only writes the status differently, nothing has
    // changed, and two writers must not undo each other's spelling for ever.
    keep_status(definition, &mut object, old);
    if metadata::counts_generations(definition) && spec_differs(&object, old) {
        metadata::next_generation(&mut object);
    }
    validate(definition, &object, Some(old))?;
    Ok(object)
}

/// Restores the status where it is written by a path of its own.
fn keep_status(definition: &ResourceDef, object: &mut Value, old: &Value) {
    if definition.has(Subresource::Status) {
        object::put(object, &["status"], old.get("status").cloned());
    }
}

/// The old object with one part of the new one. Labels and annotations stay as they are; who
/// manages fields is noted.
fn with_part_of(object: &Value, old: &Value, path: &[&str]) -> Value {
    let mut merged = old.clone();
    object::put(&mut merged, path, object::at(object, path).cloned());
    let managers = ["metadata", "managedFields"];
    if let Some(value) = object::at(object, &managers) {
        object::set(&mut merged, &managers, value.clone());
    }
    merged
}

/// Whether anything but metadata and status differs.
fn spec_differs(object: &Value, old: &Value) -> bool {
    let parts = |state: &Value| {
        let mut state = state.as_object().cloned().unwrap_or_default();
        state.retain(|key, _| key != "metadata" && key != "status");
        state
    };
    parts(object) != parts(old)
}

/// Decodes the object, deals with fields that the kind does not have, and returns warnings.
fn check_fields(
    definition: &ResourceDef,
    object: &mut Value,
    duplicates: &[String],
    options: &WriteOptions,
) -> Result<Vec<String>, ApiError> {
    let refuse = |why: &str| {
        ApiError::BadRequest(format!(
            "{kind} in version \"{}\" cannot be handled as a {kind}: {why}",
            definition.version,
            kind = definition.kind
        ))
    };
    let unknown = definition
        .strategy
        .decode(object)
        .map_err(|error| refuse(&error.to_string()))?;
    let duplicates = duplicates
        .iter()
        .map(|path| format!("duplicate field \"{path}\""));
    let complaints: Vec<String> = duplicates
        .chain(
            unknown
                .iter()
                .map(|field| format!("unknown field \"{}\"", field.0)),
        )
        .collect();
    if options.field_validation == FieldValidation::Strict && !complaints.is_empty() {
        let all = complaints.join(", ");
        return Err(refuse(&format!("strict decoding error: {all}")));
    }
    for field in &unknown {
        object::prune(object, &field.0);
    }
    Ok(match options.field_validation {
        FieldValidation::Warn => complaints,
        FieldValidation::Ignore | FieldValidation::Strict => Vec::new(),
    })
}

fn validate(definition: &ResourceDef, object: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    let mut errors = definition.strategy.validate(object);
    if let Some(old) = old {
        errors.extend(metadata::validate_update(object, old));
        errors.extend(definition.strategy.validate_update(object, old));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(invalid(definition, object, errors))
    }
}

fn invalid(definition: &ResourceDef, object: &Value, errors: Vec<FieldError>) -> ApiError {
    ApiError::Invalid(definition.subject(object::meta(object, "name")), errors)
}

/// True where deletion has begun and nothing holds the object any more.
pub(crate) fn may_go(definition: &ResourceDef, object: &Value) -> bool {
    let metadata = &object["metadata"];
    let grace = metadata
        .get("deletionGracePeriodSeconds")
        .and_then(Value::as_i64);
    metadata.get("deletionTimestamp").is_some()
        && grace.unwrap_or(0) == 0
        && object::texts(object, &["metadata", "finalizers"]).is_empty()
        && !definition.strategy.delays_deletion(object)
}
