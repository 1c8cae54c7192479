//! What tests of more than one crate need: the contract that every engine keeps, and the
//! program that runs inside its containers.
//!
//! It must not be linked into the product. Start reading at [`engine_contract`].

pub mod engine_contract;
pub mod helper;
#[cfg(feature = "cluster")]
pub mod http;
#[cfg(feature = "cluster")]
pub mod test_cluster;
#[cfg(feature = "cluster")]
mod usage;
