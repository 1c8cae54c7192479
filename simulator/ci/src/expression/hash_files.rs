//! `hashFiles`: the digest of the digests of some files, as GitHub computes it.

use std::fs::File;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::EvaluationError;
use crate::glob;

/// Hashes the files of `workspace` that match, in order of their paths; empty where none does.
///
/// # Errors
/// Where a pattern or a file cannot be read.
pub(super) fn hash(workspace: &Path, patterns: &[String]) -> Result<String, EvaluationError> {
    let lines: Vec<_> = patterns.iter().flat_map(|text| text.lines()).collect();
    let files = glob::files(workspace, &lines)
        .map_err(|problem| EvaluationError(format!("hashFiles: {problem}")))?;
    if files.is_empty() {
        return Ok(String::new());
    }
    let mut all = Sha256::new();
    for file in files {
        let path = workspace.join(&file);
        let digest = digest(&path).map_err(|error| {
            EvaluationError(format!(
                "hashFiles: failed to read {}: {error}",
                path.display()
            ))
        })?;
        all.update(digest);
    }
    Ok(hex(&all.finalize()))
}

fn digest(path: &Path) -> io::Result<Vec<u8>> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hasher.finalize().to_vec())
}

/// In hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
