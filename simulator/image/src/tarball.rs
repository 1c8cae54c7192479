//! Tar archives that come out the same on every run: no times, one owner for a layer, two modes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

/// One thing in a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A directory with this mode.
    Directory(u32),
    /// A copy of a file of this machine, with this mode.
    File(PathBuf, u32),
    /// These bytes, with mode 0644.
    Content(Vec<u8>),
    /// A symbolic link to this target.
    Symlink(PathBuf),
}

/// A layer's entries by their path without a leading slash. The order of the map is the order of
/// the archive, and puts directories before what is in them.
pub(crate) type Entries = BTreeMap<String, Entry>;

/// Whose files are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Writes a layer of root's files.
pub(crate) fn write(entries: &Entries, out: impl Write) -> io::Result<()> {
    write_owned(entries, Owner::default(), out)
}

/// Writes a layer of somebody's files.
pub(crate) fn write_owned(entries: &Entries, owner: Owner, out: impl Write) -> io::Result<()> {
    let mut writer = Writer {
        owner,
        ..Writer::new(out)
    };
    for (path, entry) in entries {
        match entry {
            Entry::Directory(mode) => writer.directory(path, *mode)?,
            Entry::File(source, mode) => writer.file(path, source, *mode)?,
            Entry::Content(content) => writer.content(path, content)?,
            Entry::Symlink(target) => writer.symlink(path, target)?,
        }
    }
    writer.finish().map(drop)
}

/// A tar archive in the making.
pub(crate) struct Writer<W: Write> {
    builder: Builder<W>,
    owner: Owner,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(out: W) -> Self {
        Self {
            builder: Builder::new(out),
            owner: Owner::default(),
        }
    }

    pub(crate) fn directory(&mut self, path: &str, mode: u32) -> io::Result<()> {
        let mut header = header(EntryType::Directory, mode, 0, self.owner);
        self.builder
            .append_data(&mut header, format!("{path}/"), io::empty())
    }

    pub(crate) fn file(&mut self, path: &str, source: &Path, mode: u32) -> io::Result<()> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", source.display()))
        };
        let file = File::open(source).map_err(named)?;
        let length = file.metadata().map_err(named)?.len();
        let mut header = header(EntryType::Regular, mode, length, self.owner);
        // A file that shrinks or grows meanwhile must not break the archive's structure.
        let mut content = Exactly {
            file: file.take(length),
            missing: length,
        };
        self.builder
            .append_data(&mut header, path, &mut content)
            .map_err(named)
    }

    pub(crate) fn content(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        let mut header = header(EntryType::Regular, 0o644, content.len() as u64, self.owner);
        self.builder.append_data(&mut header, path, content)
    }

    pub(crate) fn symlink(&mut self, path: &str, target: &Path) -> io::Result<()> {
        let mut header = header(EntryType::Symlink, 0o777, 0, self.owner);
        self.builder.append_link(&mut header, path, target)
    }

    /// Writes the archive's end and gives the writer back.
    pub(crate) fn finish(self) -> io::Result<W> {
        self.builder.into_inner()
    }
}

/// Reads so many bytes, or fails.
struct Exactly {
    file: io::Take<File>,
    missing: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        if read == 0 && self.missing > 0 && !buffer.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file became shorter while it was read",
            ));
        }
        self.missing -= read as u64;
        Ok(read)
    }
}

fn header(kind: EntryType, mode: u32, size: u64, owner: Owner) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(owner.uid.into());
    header.set_gid(owner.gid.into());
    header
}
