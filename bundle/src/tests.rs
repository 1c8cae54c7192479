//! Bundles made, damaged in every way, and loaded.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use lab_image::ImageRef;
use lab_image::layout::Layout;
use lab_image::spec::{self, ImageConfig, Manifest};
use tempfile::TempDir;

use super::*;

const TARGET: &str = "x86_64-unknown-linux-gnu";
const IMAGE: &str = "localhost:5001/hello:1.0.0";

struct World {
    dir: TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        world.put("program", "#!/bin/sh\necho hello\n".repeat(50).as_str());
        world.put("mine/01-first/lab.yaml", "name: first\n");
        world.put("mine/01-first/solution/one.sh", "true\n");
        world.put("mine/01-first/.git/config", "secret");
        world.put("deck/en.md", "# Hello\n");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn draft(&self) -> Draft {
        let program = Program {
            version: "1.0.0".into(),
            target: TARGET.into(),
        };
        let mut draft = Draft::new(program, &self.path("program")).unwrap();
        draft.labs(&self.path("mine")).unwrap();
        draft.decks(&self.path("deck")).unwrap();
        let layout = Layout::open(&self.path("store")).unwrap();
        for name in [IMAGE, "localhost:5001/hello:same"] {
            let name = ImageRef::parse(name).unwrap();
            image(&layout, &name);
            draft
                .image(&layout, &layout.require(&name).unwrap())
                .unwrap();
        }
        draft
    }

    fn bundle(&self) -> PathBuf {
        let file = self.path("class.bundle");
        self.draft().write(&file, &()).unwrap();
        file
    }

    fn places(&self) -> Places {
        Places {
            bin: Some(self.path("home/bin")),
            home: self.path("home"),
            images: self.path("home/images"),
            target: TARGET.into(),
        }
    }
}

fn image(layout: &Layout, name: &ImageRef) {
    let layer = layout.put_blob(spec::LAYER_TAR, &[7; 5000]).unwrap();
    let config = serde_json::to_vec(&ImageConfig::scratch()).unwrap();
    let config = layout.put_blob(spec::CONFIG, &config).unwrap();
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(spec::MANIFEST.into()),
        config,
        layers: vec![layer],
        annotations: BTreeMap::new(),
    };
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let descriptor = layout.put_blob(spec::MANIFEST, &manifest).unwrap();
    layout.set(name, descriptor).unwrap();
}

/// Everything below a directory, with its content.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

fn damage(file: &Path) -> Vec<String> {
    match verify(file, &()) {
        Ok((_, damage)) => damage.iter().map(ToString::to_string).collect(),
        Err(error) => vec![error.to_string()],
    }
}

#[test]
fn what_is_packed_arrives_and_arrives_only_once() {
    let world = World::new();
    let file = world.bundle();
    assert_eq!(damage(&file), [""; 0]);
    let loaded = load(&file, &world.places(), &()).unwrap();
    assert_eq!(
        loaded.program,
        Some((world.path("home/bin/devops-lab"), Put::New))
    );
    let packed = fs::read(world.path("program")).unwrap();
    assert_eq!(fs::read(world.path("home/bin/devops-lab")).unwrap(), packed);
    assert_eq!(loaded.labs, [(world.path("home/labs/01-first"), Put::New)]);
    assert_eq!(loaded.decks, [(world.path("home/decks/deck"), Put::New)]);
    assert!(world.path("home/labs/01-first/solution/one.sh").is_file());
    assert!(!world.path("home/labs/01-first/.git").exists());
    let layout = Layout::open(&world.path("home/images")).unwrap();
    let hello = layout.require(&ImageRef::parse(IMAGE).unwrap()).unwrap();
    assert_eq!(
        layout.read_blob(&hello.manifest.layers[0].digest).unwrap(),
        [7; 5000]
    );
    let before = files(&world.path("home"));
    let again = load(&file, &world.places(), &()).unwrap();
    assert_eq!(again.program.unwrap().1, Put::Same);
    assert_eq!(again.labs[0].1, Put::Same);
    assert_eq!(files(&world.path("home")), before);
}

#[test]
fn the_same_content_is_the_same_file_and_shared_layers_are_in_it_once() {
    let world = World::new();
    let file = world.bundle();
    let first = fs::read(&file).unwrap();
    let contents = world.draft().write(&file, &()).unwrap();
    assert_eq!(fs::read(&file).unwrap(), first);
    let blobs = contents
        .entries
        .iter()
        .filter(|entry| entry.blob().is_some());
    assert_eq!(blobs.count(), 3, "a layer, a configuration, a manifest");
    assert_eq!(open(&file).unwrap().size(), first.len() as u64);
}

#[test]
fn a_lab_that_the_student_changed_is_kept_aside() {
    let world = World::new();
    let file = world.bundle();
    load(&file, &world.places(), &()).unwrap();
    world.put("home/labs/01-first/lab.yaml", "name: mine\n");
    let loaded = load(&file, &world.places(), &()).unwrap();
    assert_eq!(loaded.labs[0].1, Put::Replaced);
    let kept = world.path("home/replaced/labs/01-first-1/lab.yaml");
    assert_eq!(fs::read_to_string(kept).unwrap(), "name: mine\n");
    let now = world.path("home/labs/01-first/lab.yaml");
    assert_eq!(fs::read_to_string(now).unwrap(), "name: first\n");
}

#[test]
fn one_wrong_bit_anywhere_is_found_named_and_changes_nothing() {
    let world = World::new();
    let file = world.bundle();
    let whole = fs::read(&file).unwrap();
    let opened = open(&file).unwrap();
    for at in (0..whole.len()).step_by(97) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&file, &bytes).unwrap();
        let found = damage(&file);
        assert_eq!(found.len(), 1, "byte {at}: {found:?}");
        let hit = opened.contents.entries.iter().find(|entry| {
            let (from, size) = opened.place(&entry.path).unwrap();
            (from..from + size).contains(&(at as u64))
        });
        if let Some(entry) = hit {
            assert!(found[0].contains(&entry.path), "byte {at}: {found:?}");
        }
        assert!(load(&file, &world.places(), &()).is_err(), "byte {at}");
        for path in files(&world.path("home")).keys() {
            let text = path.display().to_string();
            assert!(
                !text.contains("/bin/") && !text.contains("/labs/"),
                "byte {at}: {text}"
            );
        }
    }
}

#[test]
fn several_damaged_entries_are_all_named() {
    let world = World::new();
    let file = world.bundle();
    let mut bytes = fs::read(&file).unwrap();
    let opened = open(&file).unwrap();
    for name in ["program/devops-lab", "labs/01-first/lab.yaml"] {
        let (at, _) = opened.place(name).unwrap();
        bytes[usize::try_from(at).unwrap()] ^= 1;
    }
    fs::write(&file, bytes).unwrap();
    let found = damage(&file);
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn a_bundle_that_is_cut_short_says_where() {
    let world = World::new();
    let file = world.bundle();
    let whole = fs::read(&file).unwrap();
    let (at, _) = open(&file).unwrap().place(PROGRAM).unwrap();
    let at = usize::try_from(at).unwrap();
    for end in [at + 10, at - 100, whole.len() - 1, whole.len() - 700, 600] {
        fs::write(&file, &whole[..end]).unwrap();
        let found = damage(&file).join("\n");
        assert!(
            found.contains(&format!("ends after {end} bytes")),
            "{end}: {found}"
        );
    }
    fs::write(&file, &whole[..at + 10]).unwrap();
    assert!(damage(&file)[0].contains("in program/devops-lab"));
    fs::write(&file, []).unwrap();
    assert!(damage(&file)[0].contains("no bundle"));
}

#[test]
fn what_follows_the_end_is_refused() {
    let world = World::new();
    let file = world.bundle();
    let mut bytes = fs::read(&file).unwrap();
    let end = bytes.len();
    bytes.push(0);
    fs::write(&file, bytes).unwrap();
    assert!(damage(&file)[0].contains(&format!("after its end at byte {end}")));
    assert!(load(&file, &world.places(), &()).is_err());
}

/// A bundle of these contents and nothing else.
fn forged(file: &Path, json: &str) {
    let line = contents::checksum_line(json.as_bytes());
    let mut bytes = Vec::new();
    for (name, text) in [("bundle.json", json), ("bundle.json.sha256", line.as_str())] {
        let size = text.len() as u64;
        bytes.extend(contents::header(name, size, false).unwrap().as_bytes());
        bytes.extend(text.as_bytes());
        bytes.resize(
            bytes.len() + usize::try_from(contents::padding(size)).unwrap(),
            0,
        );
    }
    bytes.resize(bytes.len() + 1024, 0);
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_newer_format_says_what_to_do() {
    let world = World::new();
    let file = world.path("new.bundle");
    forged(
        &file,
        r#"{"format": "devops-lab-bundle", "version": 7, "else": []}"#,
    );
    let found = damage(&file);
    assert!(
        found[0].contains("version 7") && found[0].contains("tar -xf"),
        "{found:?}"
    );
}

#[test]
fn names_that_lead_out_of_their_place_are_refused() {
    let world = World::new();
    let file = world.path("bad.bundle");
    let sum = "0".repeat(64);
    for name in [
        "../evil",
        "/etc/passwd",
        "labs/../../evil/x",
        "labs/a/./b",
        "labs/a//b",
        "labs/a\\n/b",
        "labs/lonely",
        "program/other",
        "images/blobs/sha256/short",
        "images/blobs/sha256/1111111111111111111111111111111111111111111111111111111111111111",
        "home/x/y",
        "labs/.hidden/lab.yaml",
    ] {
        let json = format!(
            r#"{{"format": "devops-lab-bundle", "version": 1, "program": {{"version": "1", "target": "x"}},
                "images": [], "entries": [{{"path": "{name}", "size": 0, "sha256": "{sum}"}}]}}"#
        );
        forged(&file, &json);
        let found = damage(&file);
        assert!(found[0].contains("is refused"), "{name}: {found:?}");
    }
}

#[test]
fn links_are_not_packed() {
    let world = World::new();
    std::os::unix::fs::symlink("/etc/passwd", world.path("mine/01-first/link")).unwrap();
    let program = Program {
        version: "1".into(),
        target: TARGET.into(),
    };
    let mut draft = Draft::new(program, &world.path("program")).unwrap();
    let error = draft.labs(&world.path("mine")).unwrap_err().to_string();
    assert!(error.contains("link"), "{error}");
}

/// Ends the work after some bytes.
struct Impatient(AtomicU64);

impl Watch for Impatient {
    fn passed(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

#[test]
fn who_is_interrupted_leaves_nothing() {
    let world = World::new();
    let before = files(world.dir.path()).len();
    let draft = world.draft();
    let store = files(world.dir.path()).len();
    assert!(store > before);
    let file = world.path("class.bundle");
    let error = draft
        .write(&file, &Impatient(AtomicU64::new(0)))
        .unwrap_err();
    assert!(matches!(error, BundleError::Interrupted), "{error}");
    assert_eq!(files(world.dir.path()).len(), store);
    let file = world.bundle();
    let error = load(&file, &world.places(), &Impatient(AtomicU64::new(0))).unwrap_err();
    assert!(matches!(error, BundleError::Interrupted), "{error}");
    assert!(!world.path("home/bin/devops-lab").exists());
}

#[test]
fn a_program_for_other_machines_stays_in_the_bundle() {
    let world = World::new();
    let file = world.bundle();
    let places = Places {
        target: "riscv64gc-unknown-linux-gnu".into(),
        ..world.places()
    };
    let loaded = load(&file, &places, &()).unwrap();
    assert_eq!(loaded.program.unwrap().1, Put::NotForHere);
    assert!(!world.path("home/bin/devops-lab").exists());
}

#[test]
fn too_small_a_disk_is_said_with_both_numbers() {
    let error = check_space(Path::new("/"), u64::MAX)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&u64::MAX.to_string()) && error.contains("are free"),
        "{error}"
    );
}
