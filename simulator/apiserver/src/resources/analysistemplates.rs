//! AnalysisTemplate: metrics that say whether a release is good. And ClusterAnalysisTemplate,
//! the same for every namespace.

use lab_api::analysis::{
    AnalysisTemplate, AnalysisTemplateSpec, ClusterAnalysisTemplate, GROUP, VERSION,
};

use super::typed::{Kind, define, words};
use super::{ResourceDef, Scope, columns, custom, metrics};
use crate::validation::FieldError;

/// The definition of AnalysisTemplate.
pub(super) fn definition() -> ResourceDef {
    ResourceDef {
        version: VERSION.into(),
        short_names: words(&["at"]),
        columns: vec![columns::name(), custom::age()],
        ..define::<AnalysisTemplate>(GROUP, "AnalysisTemplate", "analysistemplates")
    }
}

/// The definition of ClusterAnalysisTemplate.
pub(super) fn cluster_definition() -> ResourceDef {
    ResourceDef {
        version: VERSION.into(),
        short_names: words(&["cat"]),
        columns: vec![columns::name(), custom::age()],
        ..define::<ClusterAnalysisTemplate>(
            GROUP,
            "ClusterAnalysisTemplate",
            "clusteranalysistemplates",
        )
    }
}

impl Kind for AnalysisTemplate {
    const SCOPE: Scope = Scope::Namespaced;
    const OMITS_EMPTY: bool = false;

    fn validate(&self, errors: &mut Vec<FieldError>) {
        validate(&self.spec, errors);
    }
}

impl Kind for ClusterAnalysisTemplate {
    const SCOPE: Scope = Scope::Cluster;
    const OMITS_EMPTY: bool = false;

    fn validate(&self, errors: &mut Vec<FieldError>) {
        validate(&self.spec, errors);
    }
}

fn validate(spec: &AnalysisTemplateSpec, errors: &mut Vec<FieldError>) {
    metrics::validate(spec.metrics.as_deref().unwrap_or_default(), errors);
    metrics::validate_arguments(spec.args.as_deref().unwrap_or_default(), errors);
}
