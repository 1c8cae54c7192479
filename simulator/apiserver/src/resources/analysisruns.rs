//! AnalysisRun: one run of the metrics of one or more templates.

use lab_api::analysis::{AnalysisRun, GROUP, VERSION};

use super::columns::{self, str_at, text};
use super::typed::{Kind, define, words};
use super::{ResourceDef, Scope, Subresource, custom, metrics};
use crate::validation::FieldError;

/// The definition of AnalysisRun.
pub(super) fn definition() -> ResourceDef {
    ResourceDef {
        version: VERSION.into(),
        short_names: words(&["ar"]),
        subresources: vec![Subresource::Status],
        columns: vec![
            columns::name(),
            text("Status", "AnalysisRun status", |object| {
                str_at(object, "/status/phase").to_owned()
            }),
            custom::age(),
        ],
        ..define::<AnalysisRun>(GROUP, "AnalysisRun", "analysisruns")
    }
}

impl Kind for AnalysisRun {
    const SCOPE: Scope = Scope::Namespaced;
    const OMITS_EMPTY: bool = false;

    fn validate(&self, errors: &mut Vec<FieldError>) {
        if self.spec.metrics.is_empty() {
            errors.push(FieldError::required("spec.metrics", ""));
        }
        metrics::validate(&self.spec.metrics, errors);
        metrics::validate_arguments(self.spec.args.as_deref().unwrap_or_default(), errors);
    }
}
