//! Stages: which a build needs, and where the files of a `COPY --from` are.
//!
//! <https://docs.docker.com/build/building/multi-stage/>

use std::collections::{BTreeMap, BTreeSet};

use tempfile::TempDir;

use super::BuildError;
use crate::context::Context;
use crate::dockerfile::{Instruction, Step};
use crate::layer;
use crate::layout::{Layout, LocalImage};
use crate::rootfs::RootDir;
use crate::spec::{Descriptor, ImageConfig};
use crate::tree::Tree;

/// A `FROM` and what follows it.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) line: usize,
    pub(super) image: String,
    pub(super) name: Option<String>,
    pub(super) steps: Vec<Step>,
}

/// What a stage made, or what an image is.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) config: ImageConfig,
    pub(super) layers: Vec<Descriptor>,
}

impl From<LocalImage> for Made {
    fn from(image: LocalImage) -> Self {
        Self {
            config: image.config,
            layers: image.manifest.layers,
        }
    }
}

impl Made {
    /// Nothing.
    pub(super) fn scratch() -> Self {
        Self {
            config: ImageConfig::scratch(),
            layers: Vec::new(),
        }
    }
}

/// The steps before the first `FROM`, and the stages.
pub(super) fn split(steps: Vec<Step>) -> (Vec<Step>, Vec<Stage>) {
    let (mut before, mut stages) = (Vec::new(), Vec::<Stage>::new());
    for step in steps {
        match (&step.instruction, stages.last_mut()) {
            (Instruction::From { image, name }, _) => stages.push(Stage {
                line: step.line,
                image: image.clone(),
                name: name.clone(),
                steps: Vec::new(),
            }),
            (_, Some(stage)) => stage.steps.push(step),
            (_, None) => before.push(step),
        }
    }
    (before, stages)
}

/// The stage before `current` that a word means: its name, or its number.
pub(super) fn earlier(stages: &[Stage], current: usize, word: &str) -> Option<usize> {
    let before = stages.get(..current)?;
    // Of two stages with one name, the later one is meant.
    let named = before.iter().rposition(|stage| {
        stage
            .name
            .as_ref()
            .is_some_and(|name| name.eq_ignore_ascii_case(word))
    });
    named.or_else(|| word.parse().ok().filter(|number| *number < current))
}

/// The stage that `--target` names; the last one where it names none.
pub(super) fn target(stages: &[Stage], wanted: Option<&str>) -> Option<usize> {
    match wanted {
        None => stages.len().checked_sub(1),
        Some(word) => earlier(stages, stages.len(), word),
    }
}

/// What a step copies from, beside the build's directory.
pub(super) fn copied_from(step: &Step) -> Option<&str> {
    match &step.instruction {
        Instruction::Copy { from, .. } => from.as_deref(),
        _ => None,
    }
}

/// The stages that have to be built for one of them. Others may say what they like.
pub(super) fn needed(stages: &[Stage], target: usize, bases: &[String]) -> BTreeSet<usize> {
    let mut needed = BTreeSet::from([target]);
    for current in (0..=target).rev() {
        if !needed.contains(&current) {
            continue;
        }
        let stage = &stages[current];
        // A number means a stage for COPY only.
        let base = earlier(stages, current, &bases[current])
            .filter(|_| bases[current].parse::<usize>().is_err());
        let copied = stage.steps.iter().filter_map(copied_from);
        needed.extend(base);
        needed.extend(copied.filter_map(|word| earlier(stages, current, word)));
    }
    needed
}

/// An unpacked stage, image or archive that files are copied from.
pub(super) struct Source {
    pub(super) files: Context,
    pub(super) tree: Tree,
    /// Gone with the last use.
    _directory: TempDir,
}

/// Sources by the word after `--from=`.
pub(super) type Sources = BTreeMap<String, Source>;

impl Source {
    /// Unpacks an image's layers beside the store, on whose file system there is room.
    pub(super) fn of_image(made: &Made, out: &Layout) -> Result<Self, BuildError> {
        let directory = temporary(out)?;
        let root = RootDir::new(directory.path().to_owned());
        let mut tree = Tree::default();
        for descriptor in &made.layers {
            let open = || {
                let path = out.blob_path(&descriptor.digest);
                let file = std::fs::File::open(&path);
                file.map_err(|source| BuildError::Read { path, source })
            };
            let unpacked = layer::decompressed(open()?).and_then(|content| root.apply(content));
            unpacked.map_err(BuildError::BaseLayer)?;
            let known = layer::decompressed(open()?).and_then(|content| tree.add_layer(content));
            known.map_err(BuildError::BaseLayer)?;
        }
        Self::of_directory(directory, tree)
    }

    /// Unpacks an archive.
    pub(super) fn of_archive(archive: &std::path::Path, out: &Layout) -> Result<Self, BuildError> {
        let directory = temporary(out)?;
        let file = std::fs::File::open(archive).map_err(|source| BuildError::Read {
            path: archive.to_owned(),
            source,
        })?;
        let root = RootDir::new(directory.path().to_owned());
        let unpacked = layer::decompressed(file).and_then(|content| root.apply(content));
        unpacked.map_err(BuildError::BaseLayer)?;
        Self::of_directory(directory, Tree::default())
    }

    fn of_directory(directory: TempDir, tree: Tree) -> Result<Self, BuildError> {
        let files = Context::of_image(directory.path());
        let files = files.map_err(|source| BuildError::Context {
            path: directory.path().to_owned(),
            source,
        })?;
        Ok(Self {
            files,
            tree,
            _directory: directory,
        })
    }
}

fn temporary(out: &Layout) -> Result<TempDir, BuildError> {
    TempDir::with_prefix_in("build-", out.dir()).map_err(|source| BuildError::Read {
        path: out.dir().to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile;

    fn stages(text: &str) -> Vec<Stage> {
        split(dockerfile::parse(text).unwrap().0).1
    }

    fn needed_of(text: &str, wanted: Option<&str>) -> Vec<usize> {
        let stages = stages(text);
        let bases: Vec<_> = stages.iter().map(|stage| stage.image.clone()).collect();
        let target = target(&stages, wanted).unwrap();
        needed(&stages, target, &bases).into_iter().collect()
    }

    #[test]
    fn only_stages_that_are_used_are_built() {
        let text =
            "FROM a AS one\nFROM b AS two\nFROM one AS three\nFROM c\nCOPY --from=Three /x /x\n";
        assert_eq!(needed_of(text, None), [0, 2, 3]);
        assert_eq!(needed_of(text, Some("two")), [1]);
        assert_eq!(
            needed_of("FROM a\nFROM b\nCOPY --from=0 /x /x\n", None),
            [0, 1]
        );
        assert_eq!(
            needed_of("FROM a\nFROM b\nCOPY --from=nginx /x /x\n", None),
            [1]
        );
    }

    #[test]
    fn a_stage_is_found_by_name_or_number_before_the_present_one() {
        let stages = stages("FROM a AS one\nFROM b\nFROM c AS one\n");
        assert_eq!(earlier(&stages, 2, "one"), Some(0));
        assert_eq!(earlier(&stages, 3, "ONE"), Some(2));
        assert_eq!(earlier(&stages, 2, "1"), Some(1));
        assert_eq!(earlier(&stages, 2, "2"), None);
        assert_eq!(target(&stages, Some("nope")), None);
        assert_eq!(target(&stages, None), Some(2));
    }
}
