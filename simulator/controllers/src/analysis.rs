//! AnalysisRuns: measurements that say whether a release is good.
//!
//! ```text
//!  templates + arguments ──template──► spec ──controller──► measurements ──run──► phase
//!                                              │ providers: prometheus, web, job
//! ```
//!
//! What is to be measured and when, and how the run stands, is decided by pure functions in
//! `run`; `controller` carries it out. Waits between measurements shorten with the cluster's
//! speed; the limits of requests do not, because who answers lives in real time.
//!
//! <https://argo-rollouts.readthedocs.io/en/stable/features/analysis/>

mod arguments;
mod controller;
mod expr;
mod metric;
mod providers;
mod run;
mod template;

pub(crate) use controller::DEF;
pub use expr::ExpressionError;
pub use metric::MetricError;
pub use template::{MetricProblem, Request, TemplateError, instantiate};
