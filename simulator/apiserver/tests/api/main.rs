//! The API as clients see it: requests to the router, a real kube client, and real kubectl.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod deletion;
mod discovery;
mod kube_client;
mod kubectl;
mod lists;
mod patches;
mod subresources;
mod support;
mod tables;
mod versions;
mod watches;
mod writes;
