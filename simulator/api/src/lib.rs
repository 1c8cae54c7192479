//! Kubernetes as data: names, selectors, quantities, conditions, and the Gateway API types.
//!
//! Pure functions on `k8s-openapi` types, shared by everything that speaks to the API. This
//! crate must never know about tokio, axum, files or clocks: a moment in time is an argument.
//!
//! Start reading at [`names`] for the vocabulary, then [`gateway`] for the types that
//! `k8s-openapi` does not have.

pub mod age;
pub mod analysis;
pub mod conditions;
pub mod duration;
pub mod faults;
pub mod gateway;
pub mod hash;
pub mod merging;
pub mod monitoring;
pub mod names;
pub mod objects;
pub mod pods;
pub mod quantity;
pub mod rollouts;
pub mod selector;
pub mod services;
pub mod taints;

pub use k8s_openapi;
