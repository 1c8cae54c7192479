//! Namespace: a room for names.

use k8s_openapi::api::core::v1::{Namespace, NamespaceStatus};

use super::columns::{self, str_at, text};
use super::syntax::NameRule;
use super::typed::{Kind, define, words};
use super::{PrepareContext, ResourceDef, Scope, Subresource};
use crate::validation::FieldError;

/// The finalizer that holds a namespace until its contents are gone.
const FINALIZER: &str = "kubernetes";

/// The definition of Namespace.
pub(super) fn definition() -> ResourceDef {
    ResourceDef {
        short_names: words(&["ns"]),
        subresources: vec![Subresource::Status, Subresource::Finalize],
        columns: vec![
            columns::name(),
            text(
                "Status",
                "Active, or Terminating while its contents go.",
                |o| str_at(o, "/status/phase").to_owned(),
            ),
            columns::age(),
        ],
        ..define::<Namespace>("", "Namespace", "namespaces")
    }
}

impl Kind for Namespace {
    const SCOPE: Scope = Scope::Cluster;
    const NAMES: NameRule = NameRule::DnsLabel;
    const COUNTS_GENERATIONS: bool = false;
    const SELECTABLE: &'static [&'static str] = &["status.phase"];

    fn prepare_for_create(&mut self, _context: &PrepareContext<'_>) -> Result<(), FieldError> {
        self.status = Some(NamespaceStatus {
            phase: Some("Active".to_owned()),
            ..NamespaceStatus::default()
        });
        let finalizers = self
            .spec
            .get_or_insert_default()
            .finalizers
            .get_or_insert_default();
        if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            finalizers.push(FINALIZER.to_owned());
        }
        Ok(())
    }

    /// Finalizers leave through `/finalize` alone, so that a replaced namespace keeps them.
    fn prepare_for_update(
        &mut self,
        old: &Self,
        _context: &PrepareContext<'_>,
    ) -> Result<(), FieldError> {
        self.spec.clone_from(&old.spec);
        Ok(())
    }

    fn delays_deletion(&self) -> bool {
        let finalizers = self
            .spec
            .as_ref()
            .and_then(|spec| spec.finalizers.as_deref());
        finalizers.is_some_and(|finalizers| !finalizers.is_empty())
    }

    fn mark_terminating(&mut self) {
        self.status.get_or_insert_default().phase = Some("Terminating".to_owned());
    }
}
