//! Making a bundle.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use lab_image::layout::{Layout, LocalImage};
use lab_image::spec::{self, Descriptor, Index};
use sha2::{Digest as _, Sha256};
use tempfile::Builder;

use crate::contents::{
    CHECKSUM, CONTENTS, Contents, END, Entry, PROGRAM, PackedImage, Program, check_name,
    checksum_line, header, padding,
};
use crate::reader::PIECE;
use crate::{BundleError, Watch, check_space};

/// The annotation that names an image in a layout.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// What is to be in a bundle.
#[derive(Debug)]
pub struct Draft {
    program: Program,
    images: Vec<PackedImage>,
    files: BTreeMap<String, (Entry, Source)>,
}

/// Where an entry's content comes from.
#[derive(Debug)]
enum Source {
    File(PathBuf),
    Text(Vec<u8>),
}

impl Draft {
    /// An empty one, with the program that is in `file`.
    ///
    /// # Errors
    /// Where the program cannot be read.
    pub fn new(program: Program, file: &Path) -> Result<Self, BundleError> {
        let mut draft = Self {
            program,
            images: Vec::new(),
            files: BTreeMap::new(),
        };
        draft.file(PROGRAM, file, true)?;
        Ok(draft)
    }

    /// Adds an image of a local store; what several images share is there once.
    ///
    /// # Errors
    /// Where another image has the same name.
    pub fn image(&mut self, layout: &Layout, image: &LocalImage) -> Result<(), BundleError> {
        let name = image.name.to_string();
        if let Some(other) = self.images.iter().find(|other| other.name == name) {
            return if other.manifest.digest == image.descriptor.digest {
                Ok(())
            } else {
                Err(BundleError::Twice { name })
            };
        }
        let manifest = &image.manifest;
        for blob in manifest
            .layers
            .iter()
            .chain([&manifest.config, &image.descriptor])
        {
            let entry = Entry {
                path: format!("images/blobs/sha256/{}", blob.digest.hex()),
                size: blob.size,
                sha256: blob.digest.hex().to_owned(),
                executable: false,
            };
            self.add(entry, Source::File(layout.blob_path(&blob.digest)))?;
        }
        let Descriptor {
            media_type,
            digest,
            size,
            ..
        } = &image.descriptor;
        self.images.push(PackedImage {
            name,
            manifest: Descriptor::new(media_type, digest.clone(), *size),
            size: image.size_bytes(),
        });
        Ok(())
    }

    /// Adds a lab, or every lab and what belongs to them, of a directory.
    ///
    /// # Errors
    /// Where there is none, or a file cannot be read or has no name that a bundle can hold.
    pub fn labs(&mut self, dir: &Path) -> Result<(), BundleError> {
        let hint = "a lab is a folder with a lab.yaml, or several of them in a folder";
        self.folders("labs", dir, hint, |dir| dir.join("lab.yaml").is_file())
    }

    /// Adds a deck of slides, or every deck of a directory.
    ///
    /// # Errors
    /// As [`Self::labs`].
    pub fn decks(&mut self, dir: &Path) -> Result<(), BundleError> {
        let hint = "a deck is a folder with Markdown files, or several of them in a folder";
        self.folders("decks", dir, hint, |dir| {
            let files = fs::read_dir(dir).into_iter().flatten().flatten();
            files
                .into_iter()
                .any(|file| file.path().extension().is_some_and(|end| end == "md"))
        })
    }

    fn folders(
        &mut self,
        kind: &'static str,
        dir: &Path,
        hint: &'static str,
        is_one: impl Fn(&Path) -> bool,
    ) -> Result<(), BundleError> {
        // `.` has no name of its own.
        let dir = &dir.canonicalize().map_err(BundleError::io("read", dir))?;
        let nothing = || BundleError::Nothing {
            path: dir.clone(),
            kind,
            hint,
        };
        if is_one(dir) {
            let name = dir
                .file_name()
                .ok_or_else(nothing)?
                .to_string_lossy()
                .into_owned();
            return self.tree(&format!("{kind}/{name}"), dir);
        }
        let mut found = false;
        for (name, path) in children(dir)? {
            if path.is_dir() && !name.starts_with('.') {
                found |= is_one(&path);
                self.tree(&format!("{kind}/{name}"), &path)?;
            }
        }
        if found { Ok(()) } else { Err(nothing()) }
    }

    /// Adds all files of a directory; hidden ones (`.git`) stay out.
    fn tree(&mut self, under: &str, dir: &Path) -> Result<(), BundleError> {
        for (name, path) in children(dir)? {
            if name.starts_with('.') {
                continue;
            }
            let inside = format!("{under}/{name}");
            let facts = fs::symlink_metadata(&path).map_err(BundleError::io("read", &path))?;
            if facts.is_dir() {
                self.tree(&inside, &path)?;
            } else if facts.is_file() {
                self.file(&inside, &path, facts.permissions().mode() & 0o100 != 0)?;
            } else {
                return Err(BundleError::Name {
                    path,
                    name: inside,
                    reason: "it is neither a file nor a directory; a bundle holds no links",
                });
            }
        }
        Ok(())
    }

    fn file(&mut self, inside: &str, path: &Path, executable: bool) -> Result<(), BundleError> {
        let read = BundleError::io("read", path);
        let mut file = File::open(path).map_err(BundleError::io("read", path))?;
        let mut hasher = Sha256::new();
        let size = io::copy(&mut file, &mut hasher).map_err(read)?;
        let entry = Entry {
            path: inside.to_owned(),
            size,
            sha256: format!("{:x}", hasher.finalize()),
            executable,
        };
        self.add(entry, Source::File(path.to_owned()))
    }

    fn add(&mut self, entry: Entry, source: Source) -> Result<(), BundleError> {
        let refused = |reason| BundleError::Name {
            path: PathBuf::from("the bundle"),
            name: entry.path.clone(),
            reason,
        };
        check_name(&entry.path).map_err(refused)?;
        if entry.header().is_none() {
            return Err(refused("it is too long for an archive"));
        }
        match self.files.get(&entry.path) {
            Some((other, _)) if *other == entry => {}
            Some(_) => return Err(BundleError::Twice { name: entry.path }),
            None => {
                self.files.insert(entry.path.clone(), (entry, source));
            }
        }
        Ok(())
    }

    /// Bytes of the bundle, within the size of its table of contents.
    #[must_use]
    pub fn size(&self) -> u64 {
        let entries = self.files.values().map(|(entry, _)| entry.archived() + 256);
        entries.sum::<u64>() + END + 8 * 1024
    }

    /// Writes the bundle; it appears under its name when it is whole and on the disk, and replaces
    /// what was there.
    ///
    /// # Errors
    /// Where the disk is too small or fails, a file changed meanwhile, or the watch ended it; then
    /// nothing is left.
    pub fn write(mut self, file: &Path, watch: &dyn Watch) -> Result<Contents, BundleError> {
        if !self.images.is_empty() {
            self.layout_files()?;
        }
        let dir = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        check_space(dir, self.size())?;
        let (entries, sources): (Vec<_>, Vec<_>) = self.files.into_values().unzip();
        let contents = Contents::new(self.program, self.images, entries);
        let failed = |source| BundleError::io("write", file)(source);
        let temporary = Builder::new()
            .prefix(".devops-lab-bundle-")
            .permissions(fs::Permissions::from_mode(0o644))
            .tempfile_in(dir)
            .map_err(failed)?;
        let mut out = BufWriter::with_capacity(PIECE, temporary.as_file());
        let json = contents.json();
        let line = checksum_line(&json);
        for (name, text) in [(CONTENTS, json.as_slice()), (CHECKSUM, line.as_bytes())] {
            let head = header(name, text.len() as u64, false);
            let head = head.ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
            out.write_all(head.as_bytes()).map_err(failed)?;
            out.write_all(text).map_err(failed)?;
            zeros(&mut out, padding(text.len() as u64)).map_err(failed)?;
        }
        for (entry, source) in contents.entries.iter().zip(&sources) {
            let head = entry.header();
            let head = head.ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
            out.write_all(head.as_bytes()).map_err(failed)?;
            match source {
                Source::Text(text) => out.write_all(text).map_err(failed)?,
                Source::File(path) => copy(entry, path, &mut out, file, watch)?,
            }
            zeros(&mut out, padding(entry.size)).map_err(failed)?;
        }
        zeros(&mut out, END).map_err(failed)?;
        out.flush().map_err(failed)?;
        drop(out);
        temporary.as_file().sync_all().map_err(failed)?;
        temporary
            .persist(file)
            .map_err(|error| failed(error.error))?;
        // The name is on the disk when its directory is; the content is there already.
        let _ = File::open(dir).and_then(|dir| dir.sync_all());
        Ok(contents)
    }

    /// What makes `images/` a layout that other tools read.
    fn layout_files(&mut self) -> Result<(), BundleError> {
        self.images.sort_by(|one, other| one.name.cmp(&other.name));
        let named = |image: &PackedImage| {
            let mut descriptor = image.manifest.clone();
            descriptor
                .annotations
                .insert(REF_NAME.to_owned(), image.name.clone());
            descriptor
        };
        let index = Index {
            schema_version: 2,
            media_type: Some(spec::INDEX.to_owned()),
            manifests: self.images.iter().map(named).collect(),
        };
        let index = serde_json::to_vec_pretty(&index).unwrap_or_default();
        let marker = b"{\"imageLayoutVersion\":\"1.0.0\"}".to_vec();
        for (path, text) in [("images/index.json", index), ("images/oci-layout", marker)] {
            let entry = Entry {
                path: path.to_owned(),
                size: text.len() as u64,
                sha256: format!("{:x}", Sha256::digest(&text)),
                executable: false,
            };
            self.add(entry, Source::Text(text))?;
        }
        Ok(())
    }
}

/// Copies an entry's file and sees whether it is still what was announced.
fn copy(
    entry: &Entry,
    path: &Path,
    out: &mut dyn Write,
    bundle: &Path,
    watch: &dyn Watch,
) -> Result<(), BundleError> {
    let mut file = File::open(path).map_err(BundleError::io("read", path))?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE];
    let mut size = 0;
    loop {
        if watch.stopped() {
            return Err(BundleError::Interrupted);
        }
        let read = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(BundleError::io("read", path)(error)),
        };
        size += read as u64;
        if size > entry.size {
            break;
        }
        hasher.update(&piece[..read]);
        out.write_all(&piece[..read])
            .map_err(BundleError::io("write", bundle))?;
        watch.passed(read as u64);
    }
    if size == entry.size && format!("{:x}", hasher.finalize()) == entry.sha256 {
        Ok(())
    } else {
        Err(BundleError::Changed {
            path: path.to_owned(),
        })
    }
}

fn zeros(out: &mut dyn Write, count: u64) -> io::Result<()> {
    io::copy(&mut io::repeat(0).take(count), out).map(drop)
}

/// Names and paths in a directory, sorted.
fn children(dir: &Path) -> Result<Vec<(String, PathBuf)>, BundleError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(BundleError::io("read", dir))? {
        let path = entry.map_err(BundleError::io("read", dir))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        found.push((name, path));
    }
    found.sort();
    Ok(found)
}
