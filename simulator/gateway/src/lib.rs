//! The load balancer: data plane of the Gateway API and of Services.
//!
//! It watches Gateways, their routes, Services and EndpointSlices, and carries what they say:
//! HTTP and HTTPS through the listeners of every Gateway of our GatewayClass, and plain TCP
//! through the address of every Service. What it made of them it writes back as their status.
//!
//! ```text
//!  watches ──▶ World ──▶ Plan (pure: who attaches where, what is refused and why)
//!                          ├──▶ Table ──swap──▶ data plane: sockets, HTTP, TCP
//!                          └──▶ status of GatewayClass, Gateway, routes, Ingress
//! ```
//!
//! A request holds the part of the table that it was routed with, so a change of
//! configuration never touches a request in flight; an endpoint that leaves the table gets no
//! new request and finishes the ones it has.
//!
//! This crate must not know how the cluster is made: no store, no engine, no node. It speaks
//! to the API through a `kube::Client`, and to backends through the addresses in
//! EndpointSlices.
//!
//! Start reading at [`run`], then `plan` (decisions), `table` (what a request is matched
//! against) and `plane` (sockets and bytes).
//!
//! <https://gateway-api.sigs.k8s.io/reference/spec/>

mod admin;
mod certificates;
mod config;
mod control;
mod metrics;
mod plan;
mod plane;
mod status;
mod table;
mod watches;
mod world;

#[cfg(test)]
mod testing;

pub use config::{GatewayConfig, IngressPorts, ServiceBind};
pub use control::{GatewayError, run};
