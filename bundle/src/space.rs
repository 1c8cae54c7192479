//! Is there room?

use std::path::Path;

use rustix::fs::statvfs;

use crate::BundleError;

/// Bytes that a user may still write where `path` is, or will be.
///
/// # Errors
/// Where neither it nor a directory above it can be asked.
pub fn free_bytes(path: &Path) -> Result<u64, BundleError> {
    let above = |path: &'_ Path| path.as_os_str().is_empty();
    let there = path
        .ancestors()
        .find(|path| path.exists() || above(path))
        .filter(|path| !above(path))
        .unwrap_or(Path::new("."));
    let stat = statvfs(there)
        .map_err(|source| BundleError::io("ask for the free space of", there)(source.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Refuses where fewer bytes are free than needed.
///
/// # Errors
/// [`BundleError::NoSpace`], or where the file system cannot be asked.
pub fn check_space(dir: &Path, needed: u64) -> Result<(), BundleError> {
    let free = free_bytes(dir)?;
    if free < needed {
        return Err(BundleError::NoSpace {
            dir: dir.to_owned(),
            needed,
            free,
        });
    }
    Ok(())
}
