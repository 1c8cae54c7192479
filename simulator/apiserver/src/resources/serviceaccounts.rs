//! ServiceAccount: who a pod is.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::columns::{self, count, list_at};
use super::typed::{Kind, define, words};
use super::{ResourceDef, Scope, Subresource};

/// The definition of ServiceAccount.
pub(super) fn definition() -> ResourceDef {
    ResourceDef {
        short_names: words(&["sa"]),
        subresources: vec![Subresource::Token],
        columns: vec![
            columns::name(),
            count("Secrets", "Number of Secrets that its pods may use.", |o| {
                i64::try_from(list_at(o, "/secrets").len()).unwrap_or(i64::MAX)
            }),
            columns::age(),
        ],
        ..define::<ServiceAccount>("", "ServiceAccount", "serviceaccounts")
    }
}

impl Kind for ServiceAccount {
    const SCOPE: Scope = Scope::Namespaced;
}
