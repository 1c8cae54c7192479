//! Reading a bundle from its beginning to its end, without trusting it.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tar::Header;

use crate::contents::{
    BLOCK, CHECKSUM, CONTENTS, CONTENTS_MAX, Contents, END, Entry, archived, checksum_line, header,
    padding,
};
use crate::{BundleError, Watch};

/// Bytes read at once.
pub(crate) const PIECE: usize = 256 * 1024;

/// A bundle whose table of contents was read.
#[derive(Clone, Debug)]
pub struct Opened {
    /// What is in it.
    pub contents: Contents,
    /// Where the first entry after the table begins, in bytes.
    start: u64,
}

impl Opened {
    /// The whole bundle's length in bytes, as it must be.
    #[must_use]
    pub fn size(&self) -> u64 {
        let entries = self.contents.entries.iter().map(Entry::archived);
        entries.fold(self.start, u64::saturating_add) + END
    }

    /// Where the content of an entry lies in the file: offset and length in bytes.
    #[must_use]
    pub fn place(&self, path: &str) -> Option<(u64, u64)> {
        let mut at = self.start;
        for entry in &self.contents.entries {
            if entry.path == path {
                return Some((at + BLOCK, entry.size));
            }
            at += entry.archived();
        }
        None
    }
}

/// Reads the table of contents of a bundle, and nothing further.
///
/// # Errors
/// Where it is no bundle, a newer one, or damaged in its table.
pub fn open(path: &Path) -> Result<Opened, BundleError> {
    Reader::new(path, reader_of(path)?).map(|reader| reader.opened)
}

/// Reads a whole bundle and compares everything; answers with all damage.
///
/// # Errors
/// Where it cannot be read at all, is no bundle, or a newer one.
pub fn verify(path: &Path, watch: &dyn Watch) -> Result<(Opened, Vec<BundleError>), BundleError> {
    verify_from(path, reader_of(path)?, watch)
}

/// As [`verify`], and answers with the SHA-256 of the whole file too.
///
/// # Errors
/// As [`verify`].
pub fn verify_and_hash(
    path: &Path,
    file: &File,
    watch: &dyn Watch,
) -> Result<(Opened, Vec<BundleError>, String), BundleError> {
    let mut hashing = Hashing {
        inner: BufReader::with_capacity(PIECE, file),
        hasher: Sha256::new(),
    };
    let (opened, damage) = verify_from(path, &mut hashing, watch)?;
    Ok((opened, damage, format!("{:x}", hashing.hasher.finalize())))
}

fn reader_of(path: &Path) -> Result<BufReader<File>, BundleError> {
    let file = File::open(path).map_err(BundleError::io("open", path))?;
    Ok(BufReader::with_capacity(PIECE, file))
}

fn verify_from(
    path: &Path,
    from: impl Read,
    watch: &dyn Watch,
) -> Result<(Opened, Vec<BundleError>), BundleError> {
    let reader = Reader::new(path, from)?;
    let opened = reader.opened.clone();
    let mut damage = Vec::new();
    let read = reader.read(
        watch,
        |_, content| {
            io::copy(content, &mut io::sink())
                .map(drop)
                .map_err(BundleError::io("read", path))
        },
        |found| {
            damage.push(found);
            Ok(())
        },
    );
    match read {
        Ok(()) => {}
        Err(error @ (BundleError::Truncated { .. } | BundleError::Trailing { .. })) => {
            damage.push(error);
        }
        Err(error) => return Err(error),
    }
    Ok((opened, damage))
}

struct Hashing<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

/// A bundle that is read from front to back.
pub(crate) struct Reader<R> {
    path: PathBuf,
    from: R,
    at: u64,
    pub(crate) opened: Opened,
}

impl<R: Read> Reader<R> {
    /// Reads the first two entries.
    pub(crate) fn new(path: &Path, mut from: R) -> Result<Self, BundleError> {
        let not = |reason: &str| BundleError::NotABundle {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let mut front = Front {
            path,
            from: &mut from,
            at: 0,
        };
        let mut block = [0; BLOCK as usize];
        if front.some(&mut block)? < block.len() {
            return Err(not("it is too short for one"));
        }
        let first = block;
        let head = Header::from_byte_slice(&first);
        let size = match head.entry_size() {
            Ok(size) if *head.path_bytes() == *CONTENTS.as_bytes() => size,
            _ => return Err(not("it does not begin with bundle.json")),
        };
        if size > CONTENTS_MAX {
            return Err(not("its bundle.json is larger than any"));
        }
        let mut json = vec![0; usize::try_from(size).unwrap_or_default()];
        front.exact(CONTENTS, &mut json)?;
        front.zeros(CONTENTS, padding(size))?;
        let line = checksum_line(&json);
        front.exact(CHECKSUM, &mut block)?;
        let mut found = vec![0; line.len()];
        front.exact(CHECKSUM, &mut found)?;
        front.zeros(CHECKSUM, padding(line.len() as u64))?;
        let is = |block: &[u8; BLOCK as usize], name: &str, size: u64| {
            header(name, size, false).is_some_and(|header| header.as_bytes() == block)
        };
        let right = is(&first, CONTENTS, size)
            && is(&block, CHECKSUM, line.len() as u64)
            && found == line.as_bytes();
        let at = front.at;
        if !right {
            return Err(BundleError::Damaged {
                path: path.to_owned(),
                entry: CONTENTS.to_owned(),
                from: 0,
                to: at,
                reason: "its table of contents does not have the checksum that follows it".into(),
            });
        }
        let contents = Contents::parse(path, &json)?;
        Ok(Self {
            path: path.to_owned(),
            from,
            at,
            opened: Opened {
                contents,
                start: archived(size) + archived(line.len() as u64),
            },
        })
    }

    /// Hands every entry to `take`, and everything that is wrong to `damaged`, which says whether
    /// to go on. What `take` was handed is known to be right only when this has ended well.
    pub(crate) fn read<E: From<BundleError>>(
        mut self,
        watch: &dyn Watch,
        mut take: impl FnMut(&Entry, &mut dyn Read) -> Result<(), E>,
        mut damaged: impl FnMut(BundleError) -> Result<(), E>,
    ) -> Result<(), E> {
        let entries = std::mem::take(&mut self.opened.contents.entries);
        let whole = entries
            .iter()
            .map(Entry::archived)
            .fold(self.at, u64::saturating_add)
            + END;
        for entry in &entries {
            let (from, to) = (self.at, self.at + entry.archived());
            let mut content = Content {
                from: &mut self.from,
                left: BLOCK,
                hasher: Sha256::new(),
                watch,
                failed: None,
            };
            let mut head = [0; BLOCK as usize];
            let head_read = content.read_exact(&mut head);
            content.hasher = Sha256::new();
            let ended = |content: &Content<'_>, passed: u64| match &content.failed {
                Some(Failed::Ended) => Some(BundleError::Truncated {
                    path: self.path.clone(),
                    entry: entry.path.clone(),
                    at: passed,
                    size: whole,
                }),
                Some(Failed::Stopped) => Some(BundleError::Interrupted),
                Some(Failed::Io(kind)) => Some(BundleError::Io {
                    verb: "read",
                    path: self.path.clone(),
                    source: io::Error::from(*kind),
                }),
                None => None,
            };
            if head_read.is_err() {
                let passed = from + BLOCK - content.left;
                let error = ended(&content, passed);
                return Err(error.unwrap_or(BundleError::Interrupted).into());
            }
            content.left = entry.size;
            let taken = take(entry, &mut content);
            // Whatever was not taken has a checksum too.
            let drained = match &taken {
                Ok(()) => io::copy(&mut content, &mut io::sink()).map(drop),
                Err(_) => Ok(()),
            };
            let passed = from + BLOCK + entry.size - content.left;
            if let Some(error) = ended(&content, passed) {
                return Err(error.into());
            }
            taken?;
            drained.map_err(|source| BundleError::io("read", &self.path)(source))?;
            let sum = format!("{:x}", std::mem::take(&mut content.hasher).finalize());
            let mut rest = Vec::new();
            content.left = padding(entry.size);
            let _ = content.read_to_end(&mut rest);
            if let Some(error) = ended(&content, to - content.left) {
                return Err(error.into());
            }
            self.at = to;
            let expected = entry.header();
            let reason = if sum != entry.sha256 {
                format!("its SHA-256 is {sum} instead of {}", entry.sha256)
            } else if expected.is_none_or(|expected| *expected.as_bytes() != head) {
                "its header is not what bundle.json says".to_owned()
            } else if rest.iter().any(|byte| *byte != 0) {
                "what follows it is not empty".to_owned()
            } else {
                continue;
            };
            damaged(BundleError::Damaged {
                path: self.path.clone(),
                entry: entry.path.clone(),
                from,
                to,
                reason,
            })?;
        }
        let mut front = Front {
            path: &self.path,
            from: &mut self.from,
            at: self.at,
        };
        let mut end = [0; END as usize];
        front.exact("its end", &mut end)?;
        let at = front.at;
        if end.iter().any(|byte| *byte != 0) {
            damaged(BundleError::Damaged {
                path: self.path.clone(),
                entry: "its end".to_owned(),
                from: self.at,
                to: at,
                reason: "it is not empty".to_owned(),
            })?;
        }
        let mut more = [0];
        if front.some(&mut more)? > 0 {
            return Err(BundleError::Trailing {
                path: self.path,
                at,
            }
            .into());
        }
        Ok(())
    }
}

/// Small pieces outside of entries.
struct Front<'a, R> {
    path: &'a Path,
    from: &'a mut R,
    at: u64,
}

impl<R: Read> Front<'_, R> {
    /// As much as there is, up to the buffer's length.
    fn some(&mut self, buffer: &mut [u8]) -> Result<usize, BundleError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.from.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(BundleError::io("read", self.path)(error)),
            }
        }
        self.at += filled as u64;
        Ok(filled)
    }

    fn exact(&mut self, entry: &str, buffer: &mut [u8]) -> Result<(), BundleError> {
        let begin = self.at;
        if self.some(buffer)? == buffer.len() {
            return Ok(());
        }
        Err(BundleError::Truncated {
            path: self.path.to_owned(),
            entry: entry.to_owned(),
            at: self.at,
            size: begin + buffer.len() as u64,
        })
    }

    fn zeros(&mut self, entry: &str, count: u64) -> Result<(), BundleError> {
        let from = self.at;
        let mut bytes = vec![0; usize::try_from(count).unwrap_or_default()];
        self.exact(entry, &mut bytes)?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        Err(BundleError::Damaged {
            path: self.path.to_owned(),
            entry: entry.to_owned(),
            from,
            to: self.at,
            reason: "what follows it is not empty".to_owned(),
        })
    }
}

/// Why an entry could not be read to its end.
enum Failed {
    Ended,
    Stopped,
    Io(io::ErrorKind),
}

/// An entry's content.
struct Content<'a> {
    from: &'a mut dyn Read,
    left: u64,
    hasher: Sha256,
    watch: &'a dyn Watch,
    failed: Option<Failed>,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        if self.watch.stopped() {
            self.failed = Some(Failed::Stopped);
            return Err(io::Error::other("interrupted"));
        }
        match self.from.read(&mut buffer[..most]) {
            Ok(0) => {
                self.failed = Some(Failed::Ended);
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Ok(read) => {
                self.left -= read as u64;
                self.hasher.update(&buffer[..read]);
                self.watch.passed(read as u64);
                Ok(read)
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    self.failed = Some(Failed::Io(error.kind()));
                }
                Err(error)
            }
        }
    }
}
