//! Garbage: what no tag leads to.
//!
//! First a picture of all repositories is taken, then a pure function decides what stays, then
//! the rest is removed: links first, content after, so that a kill in between leaves garbage and
//! never a link to nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::digest::{Algorithm, Digest};
use crate::disk::{self, Disk, Link};
use crate::error::Refusal;
use crate::manifest::Facts;
use crate::names::{Reference, RepositoryName};

/// What a collection did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GcReport {
    /// Blobs (manifests included) whose content was removed.
    pub blobs_removed: u64,
    /// Bytes of their content.
    pub bytes_freed: u64,
    /// Blobs (manifests included) that stay.
    pub kept: u64,
}

/// Why garbage could not be collected.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// The registry's directory could not be read, or holds a damaged manifest.
    #[error("cannot read the registry's directory")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Something could not be removed; what was removed before was garbage.
    #[error("cannot remove unused images from the registry's directory")]
    Remove(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What lies in one repository. Ages are times since the link was last made or asked for.
#[derive(Debug, Default)]
struct Picture {
    tagged: Vec<Digest>,
    manifests: BTreeMap<Digest, ManifestPicture>,
    blobs: BTreeMap<Digest, Duration>,
}

#[derive(Debug, Default)]
struct ManifestPicture {
    age: Duration,
    blobs: Vec<Digest>,
    manifests: Vec<Digest>,
    subject: Option<Digest>,
}

/// What stays of a repository.
#[derive(Debug, Default, PartialEq, Eq)]
struct Kept {
    manifests: HashSet<Digest>,
    blobs: HashSet<Digest>,
}

/// Removes, or with `dry_run` counts, everything unreachable and older than `grace`. Blocks.
pub(crate) fn collect(disk: &Disk, grace: Duration, dry_run: bool) -> Result<GcReport, GcError> {
    let unreadable = |error: Refusal| GcError::Read(Box::new(error));
    let _collecting = disk.collecting();
    let now = disk
        .now()
        .map_err(|error| unreadable(Refusal::disk(&disk.temporary(), error)))?;
    let mut pictures = Vec::new();
    for name in disk.repositories().map_err(unreadable)? {
        let picture = take_picture(disk, &name, now).map_err(unreadable)?;
        pictures.push((name, picture));
    }
    let mut wanted = HashSet::new();
    for (name, picture) in &pictures {
        let kept = decide(picture, grace);
        if !dry_run {
            let unlinked = unlink(disk, name, picture, &kept);
            unlinked.map_err(|error| GcError::Remove(Box::new(error)))?;
        }
        wanted.extend(kept.manifests);
        wanted.extend(kept.blobs);
    }
    sweep(disk, &wanted, now, grace, dry_run)
}

fn take_picture(disk: &Disk, name: &RepositoryName, now: SystemTime) -> Result<Picture, Refusal> {
    let mut picture = Picture::default();
    for tag in disk.tags(name)? {
        picture.tagged.extend(disk.tagged(name, &tag)?);
    }
    for digest in disk.linked(name, Link::Blob)? {
        let age = age(&disk.link(name, Link::Blob, &digest), now)?;
        picture.blobs.insert(digest, age);
    }
    for digest in disk.linked(name, Link::Manifest)? {
        let age = age(&disk.link(name, Link::Manifest, &digest), now)?;
        let manifest = disk.manifest(name, &Reference::Digest(digest.clone()))?;
        let facts = Facts::read(&manifest.content, None)?;
        let manifest = ManifestPicture {
            age,
            blobs: facts.blobs,
            manifests: facts.manifests,
            subject: facts.subject,
        };
        picture.manifests.insert(digest, manifest);
    }
    Ok(picture)
}

/// Follows manifests from tags, and from what is too young to judge, to all that they need.
/// What is *about* a kept manifest (its signature) is kept too.
fn decide(picture: &Picture, grace: Duration) -> Kept {
    let mut about: HashMap<&Digest, Vec<&Digest>> = HashMap::new();
    for (digest, manifest) in &picture.manifests {
        if let Some(subject) = &manifest.subject {
            about.entry(subject).or_default().push(digest);
        }
    }
    let young = picture.manifests.iter();
    let young = young.filter(|(_, manifest)| manifest.age <= grace);
    let mut open: Vec<&Digest> = picture.tagged.iter().collect();
    open.extend(young.map(|(digest, _)| digest));
    let mut kept = Kept::default();
    while let Some(digest) = open.pop() {
        let Some(manifest) = picture.manifests.get(digest) else {
            continue;
        };
        if kept.manifests.insert(digest.clone()) {
            kept.blobs.extend(manifest.blobs.iter().cloned());
            open.extend(&manifest.manifests);
            open.extend(about.get(digest).into_iter().flatten().copied());
        }
    }
    kept.blobs
        .retain(|digest| picture.blobs.contains_key(digest));
    let young = picture.blobs.iter().filter(|(_, age)| **age <= grace);
    kept.blobs.extend(young.map(|(digest, _)| digest.clone()));
    kept
}

fn unlink(
    disk: &Disk,
    name: &RepositoryName,
    picture: &Picture,
    kept: &Kept,
) -> Result<(), Refusal> {
    for digest in picture.manifests.keys() {
        if !kept.manifests.contains(digest) {
            disk::remove(&disk.link(name, Link::Manifest, digest))?;
        }
    }
    for digest in picture.blobs.keys() {
        if !kept.blobs.contains(digest) {
            disk::remove(&disk.link(name, Link::Blob, digest))?;
        }
    }
    Ok(())
}

/// Removes content that no repository wants. Young content stays: a push that broke off between
/// content and link is about to be repeated.
fn sweep(
    disk: &Disk,
    wanted: &HashSet<Digest>,
    now: SystemTime,
    grace: Duration,
    dry_run: bool,
) -> Result<GcReport, GcError> {
    let mut report = GcReport::default();
    for (digest, path) in stored_content(disk).map_err(|error| GcError::Read(Box::new(error)))? {
        let age = age(&path, now).map_err(|error| GcError::Read(Box::new(error)))?;
        if wanted.contains(&digest) || age <= grace {
            report.kept += 1;
            continue;
        }
        report.blobs_removed += 1;
        report.bytes_freed += path.metadata().map_or(0, |metadata| metadata.len());
        if !dry_run {
            disk::remove(&path).map_err(|error| GcError::Remove(Box::new(error)))?;
        }
    }
    Ok(report)
}

fn stored_content(disk: &Disk) -> Result<Vec<(Digest, PathBuf)>, Refusal> {
    let mut found = Vec::new();
    for algorithm in Algorithm::ALL {
        let root = disk.content_root().join(algorithm.name());
        for prefix in disk::file_names(&root)? {
            let directory = root.join(prefix);
            for hex in disk::file_names(&directory)? {
                if let Ok(digest) = Digest::parse(&format!("{}:{hex}", algorithm.name())) {
                    found.push((digest, directory.join(hex)));
                }
            }
        }
    }
    Ok(found)
}

fn age(path: &Path, now: SystemTime) -> Result<Duration, Refusal> {
    let modified: io::Result<SystemTime> = path.metadata().and_then(|it| it.modified());
    let modified = modified.map_err(|error| Refusal::disk(path, error))?;
    Ok(now.duration_since(modified).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(60);
    const OLD: Duration = Duration::from_secs(61);
    const YOUNG: Duration = Duration::from_secs(60);

    fn digest(content: &str) -> Digest {
        Digest::of(Algorithm::Sha256, content.as_bytes())
    }

    fn digests(contents: &[&str]) -> HashSet<Digest> {
        contents.iter().copied().map(digest).collect()
    }

    /// Manifests `(name, age, blobs, manifests, subject)`.
    type Row<'a> = (
        &'a str,
        Duration,
        &'a [&'a str],
        &'a [&'a str],
        Option<&'a str>,
    );

    fn picture(tagged: &[&str], manifests: &[Row<'_>], blobs: &[(&str, Duration)]) -> Picture {
        let list = |names: &[&str]| names.iter().copied().map(digest).collect();
        let manifest = |(name, age, blobs, manifests, subject): &Row<'_>| {
            let manifest = ManifestPicture {
                age: *age,
                blobs: list(blobs),
                manifests: list(manifests),
                subject: subject.map(digest),
            };
            (digest(name), manifest)
        };
        Picture {
            tagged: list(tagged),
            manifests: manifests.iter().map(manifest).collect(),
            blobs: blobs
                .iter()
                .map(|(name, age)| (digest(name), *age))
                .collect(),
        }
    }

    #[track_caller]
    fn case(picture: &Picture, manifests: &[&str], blobs: &[&str]) {
        let kept = decide(picture, GRACE);
        assert_eq!(kept.manifests, digests(manifests), "manifests");
        assert_eq!(kept.blobs, digests(blobs), "blobs");
    }

    #[test]
    fn what_a_tag_leads_to_stays_and_the_rest_goes() {
        let picture = picture(
            &["v1"],
            &[
                ("v1", OLD, &["shared", "one"], &[], None),
                ("v0", OLD, &["shared", "zero"], &[], None),
            ],
            &[("shared", OLD), ("one", OLD), ("zero", OLD)],
        );
        case(&picture, &["v1"], &["shared", "one"]);
    }

    #[test]
    fn an_index_keeps_its_images_and_an_image_its_signature() {
        let picture = picture(
            &["index"],
            &[
                ("index", OLD, &[], &["amd64", "arm64"], None),
                ("amd64", OLD, &["a"], &[], None),
                ("signature", OLD, &["s"], &[], Some("amd64")),
                ("stray", OLD, &["s"], &[], Some("nothing")),
            ],
            &[("a", OLD), ("s", OLD)],
        );
        case(&picture, &["index", "amd64", "signature"], &["a", "s"]);
    }

    #[test]
    fn a_push_in_progress_is_left_alone() {
        let picture = picture(
            &[],
            &[("untagged", YOUNG, &["old-layer"], &[], None)],
            &[
                ("old-layer", OLD),
                ("just-pushed", YOUNG),
                ("forgotten", OLD),
            ],
        );
        case(&picture, &["untagged"], &["old-layer", "just-pushed"]);
    }
}
