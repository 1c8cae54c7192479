//! The core conformance tests of the Gateway API's profiles GATEWAY-HTTP and GATEWAY-GRPC, as
//! near to what they assert as one process allows: the names of modules and tests are those of
//! `conformance/tests`. The extended features that we claim follow, then Ingress, then what
//! happens to requests while the configuration changes.
//!
//! <https://gateway-api.sigs.k8s.io/concepts/conformance/>

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
#![expect(
    clippy::needless_pass_by_value,
    reason = "callers write objects in place"
)]

mod changes;
mod extended;
mod gateway;
mod grpcroute;
mod httproute;
mod ingress;
mod suite;
