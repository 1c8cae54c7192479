//! AnalysisRuns: measurements that say whether a release is good.
//!
//! <https://argo-rollouts.readthedocs.io/en/stable/features/analysis/>

mod arguments;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "conditions are read here, and evaluated by the runs"
    )
)]
mod expr;
mod metric;
mod template;

pub use expr::ExpressionError;
pub use metric::MetricError;
pub use template::{MetricProblem, Request, TemplateError, instantiate};
