//! From a kind written against its type to a [`Strategy`] that works on JSON.
//!
//! A kind implements [`Kind`] on its `k8s-openapi` (or Gateway API) type, where the compiler
//! checks every field name. [`Typed`] reads the JSON, calls the kind, and writes it back.

use std::borrow::Cow;
use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::decode::{self, Failure};
use super::syntax::NameRule;
use super::{
    DecodeError, PrepareContext, ResourceDef, Scope, Strategy, UnknownField, canonical, columns,
    metadata,
};
use crate::validation::FieldError;

/// What is particular to a kind, in terms of its type.
pub(super) trait Kind: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Whether objects live in namespaces.
    const SCOPE: Scope;
    /// Which names the kind accepts.
    const NAMES: NameRule = NameRule::DnsSubdomain;
    /// See [`Strategy::counts_generations`].
    const COUNTS_GENERATIONS: bool = true;
    /// See [`Strategy::accepts_status_on_create`].
    const ACCEPTS_STATUS_ON_CREATE: bool = false;
    /// Whether empty values are left out; custom resources and pointer-rich kinds keep them.
    const OMITS_EMPTY: bool = true;
    /// See [`Strategy::scale_status`].
    const SCALE_STATUS: (&'static str, &'static str) = ("replicas", "");
    /// See [`Strategy::selectable_fields`].
    const SELECTABLE: &'static [&'static str] = &[];

    /// See [`Strategy::default`].
    fn set_defaults(&mut self) {}

    /// See [`Strategy::prepare_for_create`].
    fn prepare_for_create(&mut self, context: &PrepareContext<'_>) -> Result<(), FieldError> {
        let _ = context;
        Ok(())
    }

    /// See [`Strategy::prepare_for_update`].
    fn prepare_for_update(
        &mut self,
        old: &Self,
        context: &PrepareContext<'_>,
    ) -> Result<(), FieldError> {
        let _ = (old, context);
        Ok(())
    }

    /// See [`Strategy::validate`]; metadata is checked already.
    fn validate(&self, errors: &mut Vec<FieldError>) {
        let _ = errors;
    }

    /// See [`Strategy::validate_update`].
    fn validate_update(&self, old: &Self, errors: &mut Vec<FieldError>) {
        let _ = (old, errors);
    }

    /// See [`Strategy::grace_period_seconds`].
    fn grace_period_seconds(&self, requested: Option<i64>) -> Option<i64> {
        let _ = requested;
        None
    }

    /// See [`Strategy::delays_deletion`].
    fn delays_deletion(&self) -> bool {
        false
    }

    /// See [`Strategy::mark_terminating`].
    fn mark_terminating(&mut self) {}
}

/// The definition of kind `K`, with Name and Age for columns and nothing optional.
pub(super) fn define<K: Kind>(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
) -> ResourceDef {
    ResourceDef {
        group: group.into(),
        version: "v1".into(),
        older_versions: Vec::new(),
        kind: kind.into(),
        plural: plural.into(),
        singular: kind.to_lowercase().into(),
        short_names: Vec::new(),
        categories: Vec::new(),
        scope: K::SCOPE,
        subresources: Vec::new(),
        columns: vec![columns::name(), columns::age()],
        strategy: Arc::new(Typed::<K>(PhantomData)),
    }
}

/// Short names or categories.
pub(super) fn words(words: &[&'static str]) -> Vec<Cow<'static, str>> {
    words.iter().copied().map(Cow::Borrowed).collect()
}

struct Typed<K>(PhantomData<fn() -> K>);

impl<K: Kind> Typed<K> {
    /// The object as its type. Objects that cannot be read were refused by `decode`, or lack a
    /// field that `validate` reports.
    fn read(object: &Value) -> Option<K> {
        decode::typed(object).ok().map(|(kind, _)| kind)
    }

    fn write(kind: &K, object: &mut Value) {
        *object = serde_json::to_value(kind).expect("API types serialise");
        if K::OMITS_EMPTY {
            canonical::canonicalize(object);
        }
    }

    /// Changes the object through its type.
    fn change<E>(object: &mut Value, f: impl FnOnce(&mut K) -> Result<(), E>) -> Result<(), E> {
        if let Some(mut kind) = Self::read(object) {
            f(&mut kind)?;
            Self::write(&kind, object);
        }
        Ok(())
    }
}

impl<K: Kind> Strategy for Typed<K> {
    fn decode(&self, object: &Value) -> Result<Vec<UnknownField>, DecodeError> {
        match decode::typed::<K>(object) {
            Ok((_, unknown)) => Ok(unknown),
            // A missing field is a matter of validation: "Required value", not bad JSON.
            Err(Failure::Missing(_)) => Ok(Vec::new()),
            Err(Failure::Wrong(error)) => Err(error),
        }
    }

    fn default(&self, object: &mut Value) {
        let Ok(()) = Self::change(object, |kind| {
            kind.set_defaults();
            Ok::<(), Infallible>(())
        });
    }

    fn prepare_for_create(
        &self,
        object: &mut Value,
        context: &PrepareContext<'_>,
    ) -> Result<(), FieldError> {
        Self::change(object, |kind| kind.prepare_for_create(context))
    }

    fn prepare_for_update(
        &self,
        object: &mut Value,
        old: &Value,
        context: &PrepareContext<'_>,
    ) -> Result<(), FieldError> {
        match Self::read(old) {
            Some(old) => Self::change(object, |kind| kind.prepare_for_update(&old, context)),
            None => Ok(()),
        }
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = metadata::validate(object, K::SCOPE, K::NAMES);
        match decode::typed::<K>(object) {
            Ok((kind, _)) => kind.validate(&mut errors),
            Err(Failure::Missing(path)) => errors.push(FieldError::required(path, "")),
            Err(Failure::Wrong(error)) => {
                errors.push(FieldError::invalid(error.path, Value::Null, error.message));
            }
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if let (Some(kind), Some(old)) = (Self::read(object), Self::read(old)) {
            kind.validate_update(&old, &mut errors);
        }
        errors
    }

    fn scale_status(&self) -> (&'static str, &'static str) {
        K::SCALE_STATUS
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        K::SELECTABLE
    }

    fn counts_generations(&self) -> bool {
        K::COUNTS_GENERATIONS
    }

    fn accepts_status_on_create(&self) -> bool {
        K::ACCEPTS_STATUS_ON_CREATE
    }

    fn grace_period_seconds(&self, object: &Value, requested: Option<i64>) -> Option<i64> {
        Self::read(object)?.grace_period_seconds(requested)
    }

    fn delays_deletion(&self, object: &Value) -> bool {
        Self::read(object).is_some_and(|kind| kind.delays_deletion())
    }

    fn mark_terminating(&self, object: &mut Value) {
        let Ok(()) = Self::change(object, |kind| {
            kind.mark_terminating();
            Ok::<(), Infallible>(())
        });
    }
}
