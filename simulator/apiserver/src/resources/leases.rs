//! Lease: a heartbeat, or who leads.

use k8s_openapi::api::coordination::v1::Lease;

use super::columns::{self, str_at, text};
use super::typed::{Kind, define};
use super::{ResourceDef, Scope};
use crate::validation::FieldError;

/// The definition of Lease.
pub(super) fn definition() -> ResourceDef {
    ResourceDef {
        columns: vec![
            columns::name(),
            text("Holder", "Who holds the lease.", |o| {
                str_at(o, "/spec/holderIdentity").to_owned()
            }),
            columns::age(),
        ],
        ..define::<Lease>("coordination.k8s.io", "Lease", "leases")
    }
}

impl Kind for Lease {
    const SCOPE: Scope = Scope::Namespaced;

    fn validate(&self, errors: &mut Vec<FieldError>) {
        let Some(spec) = &self.spec else { return };
        if let Some(seconds) = spec.lease_duration_seconds.filter(|&seconds| seconds <= 0) {
            let path = "spec.leaseDurationSeconds";
            errors.push(FieldError::invalid(path, seconds, "must be greater than 0"));
        }
        if let Some(count) = spec.lease_transitions.filter(|&count| count < 0) {
            let path = "spec.leaseTransitions";
            let rule = "must be greater than or equal to 0";
            errors.push(FieldError::invalid(path, count, rule));
        }
    }
}
