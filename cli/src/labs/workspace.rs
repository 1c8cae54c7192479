//! The files of a lab, laid out in the learner's directory.
//!
//! Her work is never overwritten: an application directory that is there stays as it is, and so
//! does every single file.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Context;
use lab_checks::context::Addresses;
use lab_checks::lab::Lab;
use lab_checks::library::{GivenFile, Labs};

/// How the sample manifests name the registry; the cluster's own may have another port.
const SAMPLE_REGISTRY: &str = "localhost:5001";

/// Gives the files of a lab to the learner, unless she has them; answers which directories and
/// files are new, by their first names.
///
/// # Errors
/// Of the file system, with the file.
pub(crate) fn hand_out(
    labs: &Labs,
    lab: &Lab,
    workspace: &Path,
    addresses: &Addresses,
) -> anyhow::Result<Vec<String>> {
    let mut given = BTreeSet::new();
    let mut give = |path: &str, content: &[u8]| {
        let place = workspace.join(path);
        if place.exists() {
            return Ok(());
        }
        write(&place, &localized(content, &addresses.registry))?;
        given.insert(path.split('/').next().unwrap_or(path).to_owned());
        anyhow::Ok(())
    };
    let app = files_of(labs, lab, workspace);
    for file in app.into_iter().chain(labs.given_files(lab)) {
        give(&file.path, &file.content)?;
    }
    Ok(given.into_iter().collect())
}

/// First names of everything that labs hand out: what of a learner's directory is theirs.
pub(crate) fn names(labs: &Labs) -> BTreeSet<String> {
    let first = |path: &str| path.split('/').next().unwrap_or(path).to_owned();
    let mut names = BTreeSet::new();
    for lab in labs.iter() {
        names.extend(lab.app.clone());
        names.extend(labs.given_files(lab).iter().map(|file| first(&file.path)));
    }
    names
}

fn write(place: &Path, content: &[u8]) -> anyhow::Result<()> {
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)
            .with_context(|| format!("failed to create {}", parent.display()))?;
    }
    fs::write(place, content).with_context(|| format!("failed to write {}", place.display()))
}

/// The files of a lab's application: without its later versions, but those that the lab gives. An
/// application that the learner has already gets no file but later versions: what is missing she
/// may have removed.
fn files_of(labs: &Labs, lab: &Lab, workspace: &Path) -> Vec<GivenFile> {
    let Some(app) = &lab.app else {
        return Vec::new();
    };
    let has_it = workspace.join(app).exists();
    let is_given = |file: &GivenFile| match file.path.strip_prefix("versions/") {
        None => !has_it,
        Some(later) => later
            .split_once('/')
            .is_some_and(|(version, _)| lab.versions.iter().any(|given| given == version)),
    };
    let files = labs.app_files(app).into_iter().filter(is_given);
    let in_place = |GivenFile { path, content }| GivenFile {
        path: format!("{app}/{path}"),
        content,
    };
    files.map(in_place).collect()
}

/// A sample file with the cluster's own registry in it.
fn localized(content: &[u8], registry: &str) -> Vec<u8> {
    match std::str::from_utf8(content) {
        Ok(text) => text.replace(SAMPLE_REGISTRY, registry).into_bytes(),
        Err(_) => content.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab(versions: &[&str]) -> Lab {
        let labs = Labs::embedded().unwrap();
        let mut lab = labs.get("deploy-three-replicas").unwrap().clone();
        lab.versions = versions
            .iter()
            .map(|version| (*version).to_owned())
            .collect();
        lab
    }

    #[test]
    fn every_lab_finds_its_application() {
        let labs = Labs::embedded().unwrap();
        for lab in labs.iter() {
            let Some(app) = &lab.app else { continue };
            let files = files_of(&labs, lab, Path::new("/nonexistent"));
            let dockerfile = format!("{app}/Dockerfile");
            assert!(files.iter().any(|file| file.path == dockerfile), "{app}");
        }
    }

    #[test]
    fn later_versions_are_given_where_the_lab_says_so_and_nothing_is_overwritten() {
        let place = tempfile::tempdir().unwrap();
        let (labs, addresses) = (Labs::embedded().unwrap(), Addresses::default());
        let given = |lab: &Lab| hand_out(&labs, lab, place.path(), &addresses).unwrap();
        assert_eq!(given(&lab(&[])), ["hello"]);
        assert!(!place.path().join("hello/versions").exists());
        let manifest = place.path().join("hello/k8s/deployment.yaml");
        fs::write(&manifest, "mine").unwrap();
        fs::remove_file(place.path().join("hello/README.md")).unwrap();
        assert_eq!(given(&lab(&["2.0.0"])), ["hello"]);
        assert!(place.path().join("hello/versions/2.0.0/app.js").exists());
        assert!(!place.path().join("hello/versions/2.0.1").exists());
        assert_eq!(fs::read_to_string(&manifest).unwrap(), "mine");
        assert!(!place.path().join("hello/README.md").exists());
        assert!(given(&lab(&["2.0.0"])).is_empty());
    }

    #[test]
    fn manifests_name_the_registry_of_the_cluster() {
        assert_eq!(
            localized(b"image: localhost:5001/hello:1", "localhost:5003"),
            b"image: localhost:5003/hello:1"
        );
        assert_eq!(localized(&[0xff], "localhost:5003"), [0xff]);
    }
}
