//! PromQL: from text to an answer.
//!
//! `lex` and `parse` make the tree of `ast`, with the place in every error; `functions` says what
//! there is; `eval` answers. What Prometheus knows and this program does not is refused by name.
//!
//! <https://prometheus.io/docs/prometheus/latest/querying/basics/>

pub mod ast;
mod functions;
mod lex;
mod parse;
mod types;

pub(crate) use functions::MATH;
pub use parse::{ParseError, parse, parse_selector};
