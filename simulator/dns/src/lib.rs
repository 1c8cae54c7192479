//! The cluster's DNS: names of Services and pods.
//!
//! It watches Services, EndpointSlices and Namespaces, keeps a [`Zone`] of them in memory, and
//! answers over UDP and TCP. It is the only authority there is: a name outside the cluster does
//! not exist (NXDOMAIN, at once), because a classroom has no network to ask and an application
//! must not hang until it finds out.
//!
//! ```text
//!  watches ──▶ World ──▶ Zone (pure) ──swap──▶ answers (pure) ──▶ UDP, TCP
//! ```
//!
//! What it answers is what the DNS specification of Kubernetes asks for, with CoreDNS' choices
//! where that leaves a choice: TTL of 5 s, SOA in negative answers, pod records made from their
//! own name (`pods insecure`).
//!
//! A fault may be injected by an annotation on the Service `kube-system/kube-dns`; see
//! [`lab_api::faults`].
//!
//! This crate must not know nodes, engines or the store, nor how an address comes to be
//! reachable.
//!
//! Start reading at [`run`], then [`Zone`] (what there is) and `answer` (what is said).
//!
//! <https://github.com/kubernetes/dns/blob/master/docs/specification.md>

mod answer;
mod build;
mod server;
mod watches;
mod zone;

pub use answer::respond;
pub use server::{DnsConfig, DnsError, Sockets, run, serve};
pub use zone::{Found, Zone};

/// The domain of every cluster.
pub const CLUSTER_DOMAIN: &str = "cluster.local";
/// Namespace of the Service that DNS is reached by.
pub const NAMESPACE: &str = "kube-system";
/// Name of that Service.
pub const SERVICE: &str = "kube-dns";
