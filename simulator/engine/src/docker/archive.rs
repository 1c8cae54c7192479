//! Files for a container as a tar archive, the form in which the daemon takes them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::EngineError;

/// Modes as the kubelet sets them for projected files.
/// <https://kubernetes.io/docs/concepts/configuration/secret/#secret-files-permissions>
const FILE_MODE: u32 = 0o644;
const READ_ONLY_FILE_MODE: u32 = 0o444;
const DIRECTORY_MODE: u32 = 0o755;
/// An emptyDir may be written by any user of the pod.
const SCRATCH_MODE: u32 = 0o777;

/// The files of one mount, below `directory` (relative to where the archive is unpacked).
pub(super) fn files(
    directory: &Path,
    files: &BTreeMap<String, Vec<u8>>,
    read_only: bool,
) -> Result<Vec<u8>, EngineError> {
    let mode = file_mode(read_only);
    let paths = files
        .iter()
        .map(|(name, content)| Ok((directory.join(relative(name)?), content)))
        .collect::<Result<Vec<_>, EngineError>>()?;
    build(|archive| {
        append_directory(archive, directory, DIRECTORY_MODE)?;
        for (path, content) in paths {
            append_file(archive, &path, content, mode)?;
        }
        Ok(())
    })
}

/// One file at `path` (relative to where the archive is unpacked).
pub(super) fn file(path: &Path, content: &[u8], read_only: bool) -> Result<Vec<u8>, EngineError> {
    build(|archive| append_file(archive, path, content, file_mode(read_only)))
}

fn file_mode(read_only: bool) -> u32 {
    if read_only {
        READ_ONLY_FILE_MODE
    } else {
        FILE_MODE
    }
}

/// An archive that makes one directory writable for everybody.
pub(super) fn open_to_everybody(directory: &str) -> Result<Vec<u8>, EngineError> {
    let directory = relative(directory)?;
    build(|archive| append_directory(archive, &directory, SCRATCH_MODE))
}

/// The path without its root, refused where it would leave the directory it belongs to.
pub(super) fn relative(path: &str) -> Result<PathBuf, EngineError> {
    let mut result = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(part) => result.push(part),
            Component::ParentDir | Component::Prefix(_) => {
                return Err(EngineError::InvalidContainer(format!(
                    "mount path {path:?} must not contain \"..\""
                )));
            }
        }
    }
    if result.as_os_str().is_empty() {
        return Err(EngineError::InvalidContainer(format!(
            "mount path {path:?} names no place inside the container"
        )));
    }
    Ok(result)
}

fn build(
    fill: impl FnOnce(&mut tar::Builder<Vec<u8>>) -> io::Result<()>,
) -> Result<Vec<u8>, EngineError> {
    let mut archive = tar::Builder::new(Vec::new());
    fill(&mut archive)
        .and_then(|()| archive.into_inner())
        .map_err(|error| EngineError::runtime("packing files for a container", error))
}

fn append_directory(archive: &mut tar::Builder<Vec<u8>>, path: &Path, mode: u32) -> io::Result<()> {
    let mut header = header(tar::EntryType::Directory, 0, mode);
    archive.append_data(&mut header, path, io::empty())
}

fn append_file(
    archive: &mut tar::Builder<Vec<u8>>,
    path: &Path,
    content: &[u8],
    mode: u32,
) -> io::Result<()> {
    let mut header = header(tar::EntryType::Regular, content.len() as u64, mode);
    archive.append_data(&mut header, path, content)
}

fn header(kind: tar::EntryType, size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_relative(path: &str, expected: Option<&str>) {
        assert_eq!(
            relative(path).ok().as_deref(),
            expected.map(Path::new),
            "{path}"
        );
    }

    #[test]
    fn mounts_stay_inside_the_container() {
        check_relative("/etc/config", Some("etc/config"));
        check_relative("etc//config/.", Some("etc/config"));
        check_relative("/etc/../root", None);
        check_relative("/", None);
        check_relative("", None);
    }

    #[test]
    fn files_arrive_below_their_directory_with_their_mode() {
        let content = BTreeMap::from([("app/key".to_owned(), b"value".to_vec())]);
        let packed = files(Path::new("etc/config"), &content, true).unwrap();
        let mut archive = tar::Archive::new(packed.as_slice());
        let found: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let mode = entry.header().mode().unwrap();
                (entry.path().unwrap().display().to_string(), mode)
            })
            .collect();
        let expected = [("etc/config", 0o755), ("etc/config/app/key", 0o444)];
        assert_eq!(found, expected.map(|(path, mode)| (path.to_owned(), mode)));
    }
}
