//! What the tests of several kinds share.

use std::sync::atomic::{AtomicU16, Ordering};

use jiff::Timestamp;
use serde_json::Value;

use super::{PrepareContext, ResourceDef, ServiceAllocator, all};

/// The moment at which cells are computed: an hour after the year's beginning.
pub(super) fn now() -> Timestamp {
    Timestamp::constant(1_767_229_200, 0)
}

/// The definition of a kind.
pub(super) fn definition(kind: &str) -> ResourceDef {
    let mut found = all()
        .into_iter()
        .filter(|definition| definition.kind == kind);
    found.next().expect("the kind is served")
}

/// The row of `object` as `kubectl get -o wide` would print it.
pub(super) fn row(definition: &ResourceDef, object: &Value) -> Vec<String> {
    let print = |value: Value| match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let cells = definition.columns.iter();
    cells
        .map(|column| print((column.cell)(object, now())))
        .collect()
}

/// Hands out node ports in order, and whatever address is wanted.
#[derive(Default)]
pub(super) struct Addresses(AtomicU16);

impl ServiceAllocator for Addresses {
    fn cluster_ip(&self, wanted: Option<&str>) -> Result<String, String> {
        Ok(wanted.unwrap_or("10.96.0.9").to_owned())
    }

    fn node_port(&self, wanted: Option<u16>) -> Result<u16, String> {
        match wanted {
            Some(port) if (30_000..=32_767).contains(&port) => Ok(port),
            Some(_) => Err(
                "provided port is not in the valid range. The range of valid ports is 30000-32767"
                    .to_owned(),
            ),
            None => Ok(30_000 + self.0.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

/// `object` after the steps of a create, or everything wrong with it.
pub(super) fn created(kind: &str, mut object: Value) -> Result<Value, Vec<String>> {
    let strategy = definition(kind).strategy;
    strategy
        .decode(&object)
        .map_err(|error| vec![error.message])?;
    strategy.default(&mut object);
    let context = PrepareContext {
        now: now(),
        allocator: &Addresses::default(),
    };
    let prepared = strategy.prepare_for_create(&mut object, &context);
    prepared.map_err(|error| vec![error.to_string()])?;
    match strategy.validate(&object).as_slice() {
        [] => Ok(object),
        errors => Err(errors.iter().map(ToString::to_string).collect()),
    }
}

/// `object` after the steps of an update of `old`, or everything wrong with it.
pub(super) fn updated(kind: &str, old: &Value, mut object: Value) -> Result<Value, Vec<String>> {
    let strategy = definition(kind).strategy;
    strategy
        .decode(&object)
        .map_err(|error| vec![error.message])?;
    strategy.default(&mut object);
    let context = PrepareContext {
        now: now(),
        allocator: &Addresses::default(),
    };
    let prepared = strategy.prepare_for_update(&mut object, old, &context);
    prepared.map_err(|error| vec![error.to_string()])?;
    let mut errors = strategy.validate(&object);
    errors.extend(strategy.validate_update(&object, old));
    match errors.as_slice() {
        [] => Ok(object),
        errors => Err(errors.iter().map(ToString::to_string).collect()),
    }
}
