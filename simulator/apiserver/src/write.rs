//! What every write goes through: decode, default, admit, prepare, validate, store.
//!
//! [`create`] and [`update`] read and write the store; what an object becomes on the way is
//! decided by [`prepare`](mod@prepare), which touches nothing.

mod prepare;
mod unchanged;

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use lab_store::{Entry, Precondition, WriteError};
use serde_json::{Value, json};

use crate::body::Parsed;
use crate::call::Call;
use crate::error::{ApiError, Subject};
use crate::object;
use crate::query::WriteOptions;
use crate::resources::ResourceDef;
use crate::respond;
use crate::server::Server;

/// Letters that the server appends to `generateName`.
const GENERATED_SUFFIX: usize = 5;

/// How often a write starts again because another one came in between. Each time somebody's
/// write succeeded, so this ends; the number only bounds one client's wait.
const ATTEMPTS: usize = 32;

/// The object that a write is about.
pub(crate) struct Target<'a> {
    /// Its kind.
    pub(crate) definition: &'a Arc<ResourceDef>,
    /// Its namespace.
    pub(crate) namespace: Option<&'a str>,
    /// Its name; `None` where the body says it.
    pub(crate) name: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// The object of a request's path.
    pub(crate) fn of(call: &'a Call) -> Self {
        Self {
            definition: &call.definition,
            namespace: call.namespace.as_deref(),
            name: call.name.as_deref(),
        }
    }

    /// Its name in the store.
    pub(crate) fn key(&self) -> String {
        let name = self.name.unwrap_or_default();
        self.definition.key(self.namespace, name)
    }

    /// What an error names.
    pub(crate) fn subject(&self) -> Box<Subject> {
        self.definition.subject(self.name.unwrap_or_default())
    }
}

/// Which part of an object a write may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All but status, where status is a subresource.
    Main,
    /// `status`.
    Status,
    /// `spec.finalizers`.
    Finalizers,
}

/// What a client wants an object to be.
pub(crate) struct Proposed {
    /// The whole object.
    pub(crate) object: Value,
    /// Fields given twice.
    pub(crate) duplicates: Vec<String>,
}

/// The outcome of a write.
pub(crate) struct Written {
    /// The object as it is now.
    pub(crate) bytes: Bytes,
    /// For the author.
    pub(crate) warnings: Vec<String>,
}

impl Written {
    /// As the answer to an update.
    pub(crate) fn respond(&self, server: &Server, call: &Call) -> Response {
        let response = respond::one(
            server,
            &call.definition,
            call.form,
            StatusCode::OK,
            &self.bytes,
        );
        respond::warn(response, &self.warnings)
    }
}

/// Stores a new object.
pub(crate) async fn create(
    server: &Server,
    target: &Target<'_>,
    body: Parsed,
    options: &WriteOptions,
) -> Result<Written, ApiError> {
    let definition = target.definition;
    let mut proposed = Proposed {
        object: body.value,
        duplicates: body.duplicates,
    };
    prepare::identify(target, &mut proposed.object, |prefix| {
        lab_api::names::generated(prefix, &server.context.suffix(GENERATED_SUFFIX))
    })?;
    let reservation = server.addresses.reserve();
    let prepared = prepare::create(server, target, proposed, options, &reservation)?;
    let name = object::meta(&prepared.object, "name").to_owned();
    if options.dry_run {
        return dry_create(server, target, &name, prepared);
    }
    let stored = server
        .store
        .put(
            &definition.collection(),
            &definition.key(target.namespace, &name),
            Precondition::Absent,
            object::encoder(&prepared.object),
        )
        .await
        .map_err(|error| ApiError::from_write(error, definition.subject(&name)))?;
    reservation.keep();
    Ok(Written {
        bytes: stored.value,
        warnings: prepared.warnings,
    })
}

fn dry_create(
    server: &Server,
    target: &Target<'_>,
    name: &str,
    prepared: prepare::Prepared,
) -> Result<Written, ApiError> {
    let definition = target.definition;
    let key = definition.key(target.namespace, name);
    if server.store.get(&definition.collection(), &key).is_some() {
        return Err(ApiError::AlreadyExists(definition.subject(name)));
    }
    Ok(Written {
        bytes: Bytes::from(prepared.object.to_string()),
        warnings: prepared.warnings,
    })
}

/// Changes an object: `propose` says what it should become, given what it is, and is asked
/// again where another write came in between.
pub(crate) async fn update(
    server: &Server,
    target: &Target<'_>,
    part: Part,
    options: &WriteOptions,
    propose: impl Fn(&Value) -> Result<Proposed, ApiError>,
) -> Result<Written, ApiError> {
    for _ in 0..ATTEMPTS {
        let entry = stored(server, target)?;
        let old = target.definition.decode(&entry.value);
        let proposed = propose(&old)?;
        let reservation = server.addresses.reserve();
        let prepared =
            prepare::update(server, target, part, proposed, &old, options, &reservation)?;
        let written = |bytes| Written {
            bytes,
            warnings: prepared.warnings.clone(),
        };
        if unchanged::is_same(&prepared.object, &old) && !prepare::may_go(target.definition, &old) {
            // Writing it again would wake every watcher, and a controller that writes what it
            // sees would never come to rest.
            return Ok(written(entry.value));
        }
        if options.dry_run {
            return Ok(written(Bytes::from(prepared.object.to_string())));
        }
        match commit(server, target, &entry, &prepared.object).await {
            Ok(stored) => {
                reservation.keep();
                server
                    .addresses
                    .release(target.definition, &old, Some(&prepared.object));
                return Ok(written(stored.value));
            }
            Err(WriteError::Conflict { .. }) => {}
            Err(error) => return Err(ApiError::from_write(error, target.subject())),
        }
    }
    Err(ApiError::modified(target.subject()))
}

/// Stores the changed object, or removes it where its deletion waited for this change.
async fn commit(
    server: &Server,
    target: &Target<'_>,
    entry: &Entry,
    object: &Value,
) -> Result<Entry, WriteError> {
    let collection = target.definition.collection();
    let precondition = Precondition::Revision(entry.revision);
    let encode = object::encoder(object);
    if prepare::may_go(target.definition, object) {
        let gone = server
            .store
            .delete(&collection, &entry.name, precondition, encode)
            .await?;
        server.addresses.release(target.definition, object, None);
        Ok(gone)
    } else {
        server
            .store
            .put(&collection, &entry.name, precondition, encode)
            .await
    }
}

/// The object as it is stored.
pub(crate) fn stored(server: &Server, target: &Target<'_>) -> Result<Entry, ApiError> {
    server
        .store
        .get(&target.definition.collection(), &target.key())
        .ok_or_else(|| ApiError::NotFound(target.subject()))
}

/// The details of a Status about an object that is gone; the uid tells it from a successor.
pub(crate) fn details(definition: &ResourceDef, object: &Value) -> Value {
    let mut details = json!({
        "name": object::meta(object, "name"),
        "kind": definition.plural,
        "uid": object::meta(object, "uid"),
    });
    if !definition.group.is_empty() {
        details["group"] = json!(definition.group);
    }
    details
}
