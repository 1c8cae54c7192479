//! Content digests: `sha256:…` and `sha512:…`, parsed strictly, because they become file names.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest as _, Sha256, Sha512};

use crate::error::Refusal;

/// The hash functions that the specification registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Algorithm {
    /// What every client uses.
    Sha256,
    /// Allowed, rare.
    Sha512,
}

impl Algorithm {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// Its name in a digest, and of its directory.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn hex_length(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// The digest of some content. Its text is safe as part of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Digest {
    algorithm: Algorithm,
    hex: String,
}

impl Digest {
    /// Parses `sha256:` and 64 lower-case hexadecimal digits, or `sha512:` and 128.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let invalid = || Refusal::DigestInvalid {
            digest: text.to_owned(),
        };
        let (name, hex) = text.split_once(':').ok_or_else(invalid)?;
        let algorithm = Algorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(invalid)?;
        let lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if hex.len() != algorithm.hex_length() || !hex.bytes().all(lower_hex) {
            return Err(invalid());
        }
        Ok(Self {
            algorithm,
            hex: hex.to_owned(),
        })
    }

    /// The digest of `content` by `algorithm`.
    pub(crate) fn of(algorithm: Algorithm, content: &[u8]) -> Self {
        let hex = match algorithm {
            Algorithm::Sha256 => format!("{:x}", Sha256::digest(content)),
            Algorithm::Sha512 => format!("{:x}", Sha512::digest(content)),
        };
        Self { algorithm, hex }
    }

    /// The digest of a finished hasher.
    pub(crate) fn of_hasher(hasher: Sha256) -> Self {
        Self {
            algorithm: Algorithm::Sha256,
            hex: format!("{:x}", hasher.finalize()),
        }
    }

    /// The sha512 digest of a file, read in pieces.
    pub(crate) fn sha512_of_file(path: &Path) -> io::Result<Self> {
        let mut hasher = Sha512::new();
        feed_file(path, |piece| hasher.update(piece))?;
        Ok(Self {
            algorithm: Algorithm::Sha512,
            hex: format!("{:x}", hasher.finalize()),
        })
    }

    /// Its hash function.
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hexadecimal digits.
    pub(crate) fn hex(&self) -> &str {
        &self.hex
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.algorithm.name(), self.hex)
    }
}

/// Hands a file's content to `feed` in pieces and returns its length.
pub(crate) fn feed_file(path: &Path, mut feed: impl FnMut(&[u8])) -> io::Result<u64> {
    let mut file = std::fs::File::open(path)?;
    let mut piece = vec![0; 128 * 1024];
    let mut length = 0;
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(length);
        }
        feed(&piece[..read]);
        length += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str) {
        assert!(Digest::parse(text).is_err(), "{text:?} was accepted");
    }

    #[test]
    fn digests_of_both_algorithms_round_trip() {
        for algorithm in Algorithm::ALL {
            let digest = Digest::of(algorithm, b"hello");
            assert_eq!(Digest::parse(&digest.to_string()).unwrap(), digest);
        }
    }

    #[test]
    fn anything_but_lower_case_hex_of_the_right_length_is_refused() {
        let hex = "0".repeat(64);
        refused("");
        refused(&hex);
        refused(&format!("md5:{hex}"));
        refused(&format!("sha256:{}", "A".repeat(64)));
        refused(&format!("sha256:{}", "0".repeat(63)));
        refused(&format!("sha512:{hex}"));
        refused(&format!(
            "sha256:{}/../../{}",
            "0".repeat(29),
            "0".repeat(29)
        ));
    }
}
