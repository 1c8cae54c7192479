//! A layer on its way from a blob to a directory: verify, decompress, verify again, unpack.

use std::io::{BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use crate::Digest;
use crate::digest::Hashing;
use crate::rootfs::{LayerError, RootDir};

/// Bytes read at once from a blob.
const READ_BUFFER: usize = 128 * 1024;

/// How a layer is packed, by its first bytes: media types are not always right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Plain,
    Gzip,
}

impl Packing {
    fn of(head: &[u8]) -> Result<Self, LayerError> {
        match head {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Err(LayerError::Compression("zstd")),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => Err(LayerError::Compression("xz")),
            [b'B', b'Z', b'h', ..] => Err(LayerError::Compression("bzip2")),
            _ => Ok(Self::Plain),
        }
    }
}

/// True for a file that `ADD` unpacks: a tar archive, as it is or packed with gzip. Its content
/// tells, not its name.
pub(crate) fn is_archive(path: &std::path::Path) -> bool {
    let magic = || -> Option<bool> {
        let file = std::fs::File::open(path).ok()?;
        let mut head = [0; 262];
        decompressed(file).ok()?.read_exact(&mut head).ok()?;
        Some(&head[257..] == b"ustar")
    };
    path.is_file() && magic().unwrap_or(false)
}

/// Decompresses a layer.
pub(crate) fn decompressed<'a>(blob: impl Read + 'a) -> Result<Box<dyn Read + 'a>, LayerError> {
    let mut blob = BufReader::with_capacity(READ_BUFFER, blob);
    let head = blob.fill_buf().map_err(LayerError::Read)?;
    Ok(match Packing::of(head)? {
        Packing::Plain => Box::new(blob),
        Packing::Gzip => Box::new(MultiGzDecoder::new(blob)),
    })
}

/// Applies the layer in `blob` to a root, and checks the digests of what was stored and of what
/// was in it. The root must be thrown away where this fails.
pub(crate) fn apply(
    blob: impl Read,
    digest: &Digest,
    diff_id: &Digest,
    root: &RootDir,
) -> Result<(), LayerError> {
    let mut blob = Hashing::new(blob);
    let mut content = Hashing::new(decompressed(&mut blob)?);
    let applied = root.apply(&mut content);
    // A damaged archive is first of all a damaged blob, so the digests have the first word.
    let content = content.drain();
    let blob = blob.drain();
    let stored = blob.map_err(LayerError::Read)?.0;
    expect(digest, &stored)?;
    applied?;
    expect(diff_id, &content.map_err(LayerError::Read)?.0)
}

fn expect(expected: &Digest, actual: &Digest) -> Result<(), LayerError> {
    if expected == actual {
        Ok(())
    } else {
        Err(LayerError::DigestMismatch {
            expected: expected.clone(),
            actual: actual.clone(),
        })
    }
}
