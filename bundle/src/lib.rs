//! The bundle: one file with this program, images, labs and decks, for rooms without internet.
//!
//! A bundle is a tar archive, so that `tar` and a shell can open it where this program is not
//! yet installed:
//!
//! ```text
//! bundle.json              what is in it: format version, program, images, every entry with
//!                          its length and SHA-256 (contents.rs)
//! bundle.json.sha256       the checksum of that, as `sha256sum` writes it
//! decks/NAME/…             decks of slides
//! images/…                 an OCI image layout: `skopeo copy oci:images:NAME …` reads it
//! labs/NAME/…              labs
//! program/devops-lab       the program
//! ```
//!
//! The first two entries are the same in every version of the format. The rest of the archive
//! follows from them to the byte: a reader knows where each entry lies, and what is not exactly as
//! announced is damage. Nothing is compressed here: layers of images are already. The same content
//! gives the same bytes.
//!
//! It must not know the command line, HTTP or clusters. Everything in it blocks.
//!
//! Start reading at [`Contents`], then [`Draft`] (writing), [`verify`] and [`load`] (reading).

mod contents;
mod draft;
mod error;
mod load;
mod reader;
mod space;

pub use contents::{Contents, Entry, FORMAT_VERSION, PROGRAM, PackedImage, Program};
pub use draft::Draft;
pub use error::BundleError;
pub use load::{Loaded, Places, Put, load};
pub use reader::{Opened, open, verify, verify_and_hash};
pub use space::{check_space, free_bytes};

/// Somebody who watches long work, and may end it.
pub trait Watch: Sync {
    /// So many more bytes are done.
    fn passed(&self, bytes: u64);

    /// True where the work is to end; what was begun is taken away.
    fn stopped(&self) -> bool {
        false
    }
}

/// Nobody watches.
impl Watch for () {
    fn passed(&self, _: u64) {}
}

#[cfg(test)]
mod tests;
