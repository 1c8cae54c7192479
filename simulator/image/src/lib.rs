//! The client's side of container images: names, a registry client, a local store, a builder for
//! simple Dockerfiles, and unpacking into directories.
//!
//! With it a cluster needs no Docker: `devops-lab image build` makes an image ([`build`]), keeps
//! it in an OCI image layout ([`layout`]), pushes it ([`push`]) to the registry, and the process
//! engine unpacks it ([`unpack`]) and runs what is inside.
//! <https://github.com/opencontainers/image-spec/blob/main/spec.md>
//!
//! It must not know Kubernetes, engines or the registry's insides: it talks to any registry that
//! follows the OCI distribution specification, over plain HTTP on loopback. It defines its own
//! few document types, since the bytes it writes must be the same on every run (a map with random
//! order would change an image's digest).
//!
//! Images are Linux images; unpacking needs a Unix file system. Functions that take long are
//! async and do their file work on blocking threads; the short ones of [`layout::Layout`] block.
//!
//! Start reading at [`ImageRef`], then [`build::build`] and [`unpack::ImageStore`].

pub mod base;
pub mod build;
pub mod client;
pub mod contents;
mod context;
mod digest;
pub mod dockerfile;
pub mod glob;
pub mod ignore;
mod layer;
pub mod layout;
pub mod pull;
pub mod push;
mod reference;
mod rootfs;
mod saved;
pub mod spec;
mod store;
mod tarball;
mod tree;
pub mod unpack;

pub use crate::digest::{Digest, InvalidDigest};
pub use crate::reference::{ImageRef, InvalidReference};

/// Runs `work` on a thread that may block, and passes a panic on.
async fn on_blocking_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(failure) => std::panic::resume_unwind(failure.into_panic()),
    }
}
