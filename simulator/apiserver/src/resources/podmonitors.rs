//! PodMonitor: scrapes pods.

use lab_api::monitoring::{GROUP, PodMonitor};

use super::servicemonitors::{refuse, validate_endpoints, validate_namespaces};
use super::typed::{Kind, define, words};
use super::{ResourceDef, Scope, columns, custom};
use crate::validation::FieldError;

/// The definition of PodMonitor.
pub(super) fn definition() -> ResourceDef {
    ResourceDef {
        short_names: words(&["pmon"]),
        categories: words(&["prometheus-operator"]),
        columns: vec![columns::name(), custom::age()],
        ..define::<PodMonitor>(GROUP, "PodMonitor", "podmonitors")
    }
}

impl Kind for PodMonitor {
    const SCOPE: Scope = Scope::Namespaced;
    const OMITS_EMPTY: bool = false;

    fn validate(&self, errors: &mut Vec<FieldError>) {
        let spec = &self.spec;
        refuse(&spec.unsupported, "spec", errors);
        validate_namespaces(spec.namespace_selector.as_ref(), errors);
        let path = "spec.podMetricsEndpoints";
        validate_endpoints(&spec.pod_metrics_endpoints, path, errors);
    }
}
