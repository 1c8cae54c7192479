//! What deleting an object does to it: gone at once, or marked until something else is done.
//! <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>,
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination>

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use lab_store::{Precondition, Revision, WriteError};
use serde_json::{Value, json};

use crate::admission::{self, Admission, Operation};
use crate::body;
use crate::call::Call;
use crate::error::ApiError;
use crate::metadata;
use crate::object;
use crate::query::{Query, WriteOptions};
use crate::resources::ResourceDef;
use crate::server::Server;
use crate::write::{self, Target};

/// Holds an owner until its dependents are orphaned.
const ORPHAN: &str = "orphan";
/// Holds an owner until its dependents are gone.
const FOREGROUND: &str = "foregroundDeletion";

/// How often a deletion starts again because the object changed in between.
const ATTEMPTS: usize = 32;

/// What happens to objects that the deleted one owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// They lose their owner and stay.
    Orphan,
    /// The garbage collector deletes them afterwards: the default.
    Background,
    /// The garbage collector deletes them first.
    Foreground,
}

/// How to delete.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Seconds that the client gives the object.
    pub(crate) grace_seconds: Option<i64>,
    /// Only this very object.
    pub(crate) uid: Option<String>,
    /// Only this state of it.
    pub(crate) resource_version: Option<String>,
    /// Fate of dependents.
    pub(crate) propagation: Option<Propagation>,
    /// Change nothing.
    pub(crate) dry_run: bool,
}

impl Options {
    /// Reads `DeleteOptions` from the body, then from the query.
    pub(crate) fn of(call: &Call) -> Result<Self, ApiError> {
        if call.body.is_empty() {
            return Self::from_json(&json!({}), &call.query);
        }
        let body = body::read(call)?;
        let kind = object::text(&body.value, &["kind"]);
        if !matches!(kind, "" | "DeleteOptions") {
            return Err(ApiError::BadRequest(format!(
                "the body of a deletion must be DeleteOptions, not {kind}"
            )));
        }
        Self::from_json(&body.value, &call.query)
    }

    /// Reads `DeleteOptions` from an object, and what it leaves open from the query.
    pub(crate) fn from_json(options: &Value, query: &Query) -> Result<Self, ApiError> {
        let text =
            |path: &[&str]| Some(object::text(options, path)).filter(|text| !text.is_empty());
        let policy = text(&["propagationPolicy"]).or_else(|| query.text("propagationPolicy"));
        let grace = options.get("gracePeriodSeconds").and_then(Value::as_i64);
        Ok(Self {
            grace_seconds: grace
                .map_or_else(|| query.number("gracePeriodSeconds"), |s| Ok(Some(s)))?,
            uid: text(&["preconditions", "uid"]).map(str::to_owned),
            resource_version: text(&["preconditions", "resourceVersion"]).map(str::to_owned),
            propagation: propagation(policy, options)?,
            dry_run: WriteOptions::from_query(query)?.dry_run
                || object::texts(options, &["dryRun"]).contains(&"All"),
        })
    }
}

fn propagation(policy: Option<&str>, options: &Value) -> Result<Option<Propagation>, ApiError> {
    let orphan_dependents = options.get("orphanDependents").and_then(Value::as_bool);
    Ok(match (policy, orphan_dependents) {
        (Some("Orphan"), _) | (None, Some(true)) => Some(Propagation::Orphan),
        (Some("Background"), _) | (None, Some(false)) => Some(Propagation::Background),
        (Some("Foreground"), _) => Some(Propagation::Foreground),
        (None, None) => None,
        (Some(other), _) => {
            return Err(ApiError::BadRequest(format!(
                "invalid propagationPolicy {other:?}: must be Orphan, Background or Foreground"
            )));
        }
    })
}

/// What was done.
pub(crate) enum Deleted {
    /// The object is gone; its last state.
    Gone(Value),
    /// The object waits for finalizers or for its grace period to end.
    Waiting(Bytes),
}

/// Deletes an object.
pub(crate) async fn delete(
    server: &Server,
    target: &Target<'_>,
    options: &Options,
) -> Result<Deleted, ApiError> {
    let definition = target.definition;
    for _ in 0..ATTEMPTS {
        let entry = write::stored(server, target)?;
        let mut old = definition.decode(&entry.value);
        check_preconditions(target, &old, options)?;
        let admission = Admission {
            server,
            definition,
            namespace: target.namespace,
            operation: Operation::Delete,
        };
        admission::admit(&admission, &mut old)?;
        let decision = decide(definition, &old, options, server.context.now());
        if options.dry_run {
            return Ok(match decision {
                Decision::Remove => Deleted::Gone(old),
                Decision::Keep => Deleted::Waiting(entry.value),
                Decision::Mark(marked) => Deleted::Waiting(Bytes::from(marked.to_string())),
            });
        }
        let done = match decision {
            Decision::Remove => remove(server, target, old, entry.revision).await,
            Decision::Keep => Ok(Deleted::Waiting(entry.value)),
            Decision::Mark(marked) => mark(server, target, &marked, entry.revision).await,
        };
        match done {
            Ok(deleted) => return Ok(deleted),
            Err(WriteError::Conflict { .. }) => {}
            Err(error) => return Err(ApiError::from_write(error, target.subject())),
        }
    }
    Err(ApiError::modified(target.subject()))
}

async fn remove(
    server: &Server,
    target: &Target<'_>,
    old: Value,
    revision: Revision,
) -> Result<Deleted, WriteError> {
    let collection = target.definition.collection();
    let precondition = Precondition::Revision(revision);
    let encode = object::encoder(&old);
    server
        .store
        .delete(&collection, &target.key(), precondition, encode)
        .await?;
    server.addresses.release(target.definition, &old, None);
    Ok(Deleted::Gone(old))
}

async fn mark(
    server: &Server,
    target: &Target<'_>,
    marked: &Value,
    revision: Revision,
) -> Result<Deleted, WriteError> {
    let collection = target.definition.collection();
    let precondition = Precondition::Revision(revision);
    let encode = object::encoder(marked);
    let entry = server
        .store
        .put(&collection, &target.key(), precondition, encode)
        .await?;
    Ok(Deleted::Waiting(entry.value))
}

fn check_preconditions(
    target: &Target<'_>,
    old: &Value,
    options: &Options,
) -> Result<(), ApiError> {
    let checks = [
        ("UID", &options.uid, object::meta(old, "uid")),
        (
            "ResourceVersion",
            &options.resource_version,
            object::meta(old, "resourceVersion"),
        ),
    ];
    for (what, wanted, present) in checks {
        if let Some(wanted) = wanted
            && wanted != present
        {
            let message = format!(
                "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {present}"
            );
            return Err(ApiError::Conflict(target.subject(), message));
        }
    }
    Ok(())
}

/// What a deletion comes to.
#[derive(Debug, PartialEq)]
enum Decision {
    /// Nothing holds it.
    Remove,
    /// It is being deleted already, and no sooner than asked.
    Keep,
    /// It becomes this, and goes later.
    Mark(Value),
}

fn decide(definition: &ResourceDef, old: &Value, options: &Options, now: Timestamp) -> Decision {
    let mut object = old.clone();
    set_finalizers(&mut object, options.propagation);
    let grace = definition
        .strategy
        .grace_period_seconds(&object, options.grace_seconds)
        .map_or(0, |seconds| seconds.max(0));
    let held = !object::texts(&object, &["metadata", "finalizers"]).is_empty()
        || definition.strategy.delays_deletion(&object);
    if grace == 0 && !held {
        return Decision::Remove;
    }
    if object::meta(old, "deletionTimestamp").is_empty() {
        schedule(&mut object, grace, now);
        if metadata::counts_generations(definition) {
            metadata::next_generation(&mut object);
        }
        definition.strategy.mark_terminating(&mut object);
    } else {
        let present =
            object::at(old, &["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64);
        // A second deletion can bring the end forward, and never put it off.
        if present.is_some_and(|present| grace < present) {
            schedule(&mut object, grace, now);
        }
    }
    if object == *old {
        Decision::Keep
    } else {
        Decision::Mark(object)
    }
}

/// `deletionTimestamp` is the moment at which the grace period ends.
fn schedule(object: &mut Value, grace: i64, now: Timestamp) {
    let end = now
        .checked_add(SignedDuration::from_secs(grace))
        .unwrap_or(now);
    object::set(
        object,
        &["metadata", "deletionTimestamp"],
        json!(object::time(end)),
    );
    object::set(
        object,
        &["metadata", "deletionGracePeriodSeconds"],
        json!(grace),
    );
}

fn set_finalizers(object: &mut Value, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else {
        return;
    };
    let path = ["metadata", "finalizers"];
    let mut finalizers: Vec<&str> = object::texts(object, &path);
    finalizers.retain(|finalizer| ![ORPHAN, FOREGROUND].contains(finalizer));
    match propagation {
        Propagation::Orphan => finalizers.push(ORPHAN),
        Propagation::Foreground => finalizers.push(FOREGROUND),
        Propagation::Background => {}
    }
    let value = (!finalizers.is_empty()).then(|| json!(finalizers));
    object::put(object, &path, value);
}
