//! Taking what is in a bundle to where it is used.
//!
//! Everything is verified while it is read. Blobs of images go into the image store at once, where
//! nothing asks for them yet; files wait beside their place. Only when the last byte is right do
//! they appear under their names, so that a damaged bundle changes nothing.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use lab_image::layout::Layout;
use lab_image::spec::Manifest;
use lab_image::{Digest, ImageRef};
use tempfile::{NamedTempFile, TempDir};

use crate::contents::{Contents, Entry, PROGRAM};
use crate::reader::{PIECE, Reader};
use crate::{BundleError, Watch, check_space, open};

/// Where what is in a bundle goes.
#[derive(Clone, Debug)]
pub struct Places {
    /// The directory of the program; none where it is not wanted.
    pub bin: Option<PathBuf>,
    /// The home of devops-lab: `labs/` and `decks/` are made in it.
    pub home: PathBuf,
    /// The image store.
    pub images: PathBuf,
    /// What this machine runs; a program for another one is left in the bundle.
    pub target: String,
}

/// What became of one thing of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It was not there.
    New,
    /// It was there already, the same.
    Same,
    /// Something else was there; a folder that was is kept in `replaced/`.
    Replaced,
    /// It is for other machines.
    NotForHere,
}

/// What a bundle brought.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What was in it.
    pub contents: Contents,
    /// The program, and what became of it; none where it was not wanted.
    pub program: Option<(PathBuf, Put)>,
    /// Labs by their folders.
    pub labs: Vec<(PathBuf, Put)>,
    /// Decks by their folders.
    pub decks: Vec<(PathBuf, Put)>,
    /// Names of the images, which are in the image store now.
    pub images: Vec<ImageRef>,
}

/// Loads a bundle. Doing it again changes nothing.
///
/// # Errors
/// Where the bundle is damaged in any way, or a disk is too small or fails.
pub fn load(file: &Path, places: &Places, watch: &dyn Watch) -> Result<Loaded, BundleError> {
    let opened = open(file)?;
    room(&opened.contents, places)?;
    let layout = Layout::open(&places.images)?;
    let from = File::open(file).map_err(BundleError::io("open", file))?;
    let reader = Reader::new(file, BufReader::with_capacity(PIECE, from))?;
    let contents = reader.opened.contents.clone();
    let mut staging = Staging::new(places, &contents)?;
    reader.read(
        watch,
        |entry, content| staging.take(&layout, entry, content),
        Err,
    )?;
    let images = images(file, &contents, &layout)?;
    // From here on everything is known to be right, and everything goes to its place.
    let mut loaded = Loaded {
        program: staging.program()?,
        labs: staging.folders("labs", &contents, places)?,
        decks: staging.folders("decks", &contents, places)?,
        images: Vec::new(),
        contents,
    };
    for (name, descriptor) in images {
        layout.set(&name, descriptor)?;
        loaded.images.push(name);
    }
    Ok(loaded)
}

/// Enough disk for what is not there yet.
fn room(contents: &Contents, places: &Places) -> Result<(), BundleError> {
    let absent = |entry: &&Entry| match entry.blob() {
        Some(hex) => !places.images.join("blobs/sha256").join(hex).is_file(),
        None => entry.path != PROGRAM,
    };
    let home = contents
        .entries
        .iter()
        .filter(absent)
        .map(|entry| entry.size)
        .sum();
    check_space(&places.home, home)?;
    match (&places.bin, contents.program_entry()) {
        (Some(bin), Some(program)) => check_space(bin, program.size),
        _ => Ok(()),
    }
}

/// The images, each with all its blobs in the store.
fn images(
    file: &Path,
    contents: &Contents,
    layout: &Layout,
) -> Result<Vec<(ImageRef, lab_image::spec::Descriptor)>, BundleError> {
    let mut found = Vec::new();
    for image in &contents.images {
        let bad = |reason: String| BundleError::NotABundle {
            path: file.to_owned(),
            reason: format!("image {}: {reason}", image.name),
        };
        let name = ImageRef::parse(&image.name).map_err(|error| bad(error.to_string()))?;
        let lacks = |digest: &Digest| bad(format!("its blob {digest} is not there"));
        if !layout.has_blob(&image.manifest.digest) {
            return Err(lacks(&image.manifest.digest));
        }
        let manifest: Manifest = serde_json::from_slice(&layout.read_blob(&image.manifest.digest)?)
            .map_err(|error| bad(format!("its manifest makes no sense ({error})")))?;
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            if !layout.has_blob(&blob.digest) {
                return Err(lacks(&blob.digest));
            }
        }
        found.push((name, image.manifest.clone()));
    }
    Ok(found)
}

/// What waits beside its place.
struct Staging {
    program: Option<(PathBuf, Put, Option<NamedTempFile>)>,
    folders: Option<TempDir>,
}

impl Staging {
    fn new(places: &Places, contents: &Contents) -> Result<Self, BundleError> {
        let program = match &places.bin {
            Some(bin) if contents.program_entry().is_some() => {
                let path = bin.join("devops-lab");
                if system(&contents.program.target) == system(&places.target) {
                    fs::create_dir_all(bin).map_err(BundleError::io("make", bin))?;
                    let waits = NamedTempFile::with_prefix_in(".devops-lab-", bin)
                        .map_err(BundleError::io("write to", bin))?;
                    Some((path, Put::New, Some(waits)))
                } else {
                    Some((path, Put::NotForHere, None))
                }
            }
            _ => None,
        };
        let any = !contents.folders("labs").is_empty() || !contents.folders("decks").is_empty();
        let folders = if any {
            let home = &places.home;
            fs::create_dir_all(home).map_err(BundleError::io("make", home))?;
            let waits = TempDir::with_prefix_in(".loading-", home);
            Some(waits.map_err(BundleError::io("write to", home))?)
        } else {
            None
        };
        Ok(Self { program, folders })
    }

    fn take(
        &mut self,
        layout: &Layout,
        entry: &Entry,
        content: &mut dyn Read,
    ) -> Result<(), BundleError> {
        if let Some(hex) = entry.blob() {
            return blob(layout, hex, content);
        }
        if entry.path == PROGRAM {
            let Some((path, _, Some(waits))) = &mut self.program else {
                return Ok(());
            };
            return io::copy(content, waits)
                .map(drop)
                .map_err(BundleError::io("write", path));
        }
        let Some(folders) = &self.folders else {
            return Ok(());
        };
        if entry.path.starts_with("images/") {
            return Ok(());
        }
        let path = folders.path().join(&entry.path);
        let failed = |source| BundleError::io("write", &path)(source);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        let mut file = File::create_new(&path).map_err(failed)?;
        io::copy(content, &mut file).map_err(failed)?;
        let mode = if entry.executable { 0o755 } else { 0o644 };
        file.set_permissions(fs::Permissions::from_mode(mode))
            .map_err(failed)?;
        file.sync_all().map_err(failed)
    }

    fn program(&mut self) -> Result<Option<(PathBuf, Put)>, BundleError> {
        let Some((path, put, waits)) = self.program.take() else {
            return Ok(None);
        };
        let Some(mut waits) = waits else {
            return Ok(Some((path, put)));
        };
        let failed = |source| BundleError::io("write", &path)(source);
        let put = match same_file(waits.path(), &path) {
            Ok(true) => Put::Same,
            Ok(false) if path.exists() => Put::Replaced,
            Ok(false) | Err(_) => Put::New,
        };
        waits.flush().map_err(failed)?;
        waits
            .as_file()
            .set_permissions(fs::Permissions::from_mode(0o755))
            .map_err(failed)?;
        if put != Put::Same {
            waits.as_file().sync_all().map_err(failed)?;
            waits.persist(&path).map_err(|error| failed(error.error))?;
        }
        Ok(Some((path, put)))
    }

    fn folders(
        &self,
        kind: &str,
        contents: &Contents,
        places: &Places,
    ) -> Result<Vec<(PathBuf, Put)>, BundleError> {
        let Some(waiting) = &self.folders else {
            return Ok(Vec::new());
        };
        let below = places.home.join(kind);
        let mut put = Vec::new();
        for name in contents.folders(kind) {
            let (from, to) = (waiting.path().join(kind).join(name), below.join(name));
            let failed = |source| BundleError::io("write", &to)(source);
            fs::create_dir_all(&below).map_err(failed)?;
            let outcome = if !to.exists() {
                Put::New
            } else if same_tree(&from, &to).map_err(failed)? {
                Put::Same
            } else {
                aside(&to, &places.home.join("replaced").join(kind), name)?;
                Put::Replaced
            };
            if outcome != Put::Same {
                fs::rename(&from, &to).map_err(failed)?;
            }
            put.push((to, outcome));
        }
        Ok(put)
    }
}

/// Architecture and operating system of a target: which C library it was built with says nothing
/// about where a program without one runs.
fn system(target: &str) -> Vec<&str> {
    target.split('-').take(3).collect()
}

/// Takes a blob into the store, unless it is there; one that is not what its name says is removed.
fn blob(layout: &Layout, hex: &str, content: &mut dyn Read) -> Result<(), BundleError> {
    let expected = Digest::parse(&format!("sha256:{hex}"));
    if expected
        .as_ref()
        .is_ok_and(|digest| layout.has_blob(digest))
    {
        return Ok(());
    }
    let stored = layout.write_blob("", |writer| io::copy(content, writer).map(drop))?;
    if expected.as_ref() != Ok(&stored.digest) {
        let path = layout.blob_path(&stored.digest);
        fs::remove_file(&path).map_err(BundleError::io("remove", &path))?;
    }
    Ok(())
}

/// Keeps a folder that somebody may have worked in, under a name that is free.
fn aside(folder: &Path, kept: &Path, name: &str) -> Result<(), BundleError> {
    fs::create_dir_all(kept).map_err(BundleError::io("make", kept))?;
    let free = (1..)
        .map(|number| kept.join(format!("{name}-{number}")))
        .find(|it| !it.exists());
    let free = free.unwrap_or_else(|| kept.join(name));
    fs::rename(folder, &free).map_err(BundleError::io("move", folder))
}

/// Whether two files have the same content.
fn same_file(one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (BufReader::new(one), BufReader::new(other));
    let (mut left, mut right) = (vec![0; PIECE], vec![0; PIECE]);
    loop {
        let read = one.read(&mut left)?;
        if read == 0 {
            return Ok(true);
        }
        other.read_exact(&mut right[..read])?;
        if left[..read] != right[..read] {
            return Ok(false);
        }
    }
}

/// Whether two directories hold the same files with the same content.
fn same_tree(one: &Path, other: &Path) -> io::Result<bool> {
    let names = |dir: &Path| -> io::Result<Vec<_>> {
        let mut names: Vec<_> = fs::read_dir(dir)?
            .map(|it| it.map(|it| it.file_name()))
            .collect::<Result<_, _>>()?;
        names.sort();
        Ok(names)
    };
    if !other.is_dir() {
        return Ok(false);
    }
    let found = names(one)?;
    if found != names(other)? {
        return Ok(false);
    }
    for name in found {
        let (one, other) = (one.join(&name), other.join(&name));
        let same = if one.is_dir() {
            same_tree(&one, &other)?
        } else {
            other.is_file() && same_file(&one, &other)?
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}
