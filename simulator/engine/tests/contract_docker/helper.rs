//! How this executable is called in its image.

/// Where the program lies.
pub(crate) const PROGRAM: &str = "/helper";
/// What makes it the helper.
pub(crate) const ARGUMENTS: &[&str] = &["helper"];
