//! Rules of the repository that no compiler knows, as ordinary tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::graph;

/// Longest file of code that is accepted without a look at its subject. A file beyond it has two.
const LINES_MAX: usize = 900;

/// Words that would tie the repository to one machine.
const FORBIDDEN: &[&str] = &["/work/main", "/root/.cargo", "/tmp/brief"];

/// Checks everything.
///
/// # Errors
/// Listing every violation.
pub(crate) fn run() -> anyhow::Result<()> {
    let graph = graph::read()?;
    let mut found = graph::violations(&graph);
    found.extend(dependencies_without_reason(&graph)?);
    found.extend(files(&graph.root)?);
    if found.is_empty() {
        crate::say("tidy: the crate graph, the dependencies and the files are in order");
        return Ok(());
    }
    bail!("{} violation(s):\n{}", found.len(), found.join("\n"))
}

/// Every foreign dependency has its line in ARCHITECTURE.md.
fn dependencies_without_reason(graph: &graph::Graph) -> anyhow::Result<Vec<String>> {
    let path = graph.root.join("ARCHITECTURE.md");
    let text =
        fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let mut foreign: Vec<_> = graph
        .crates
        .values()
        .flatten()
        .filter(|name| !graph.crates.contains_key(*name))
        .collect();
    foreign.sort();
    foreign.dedup();
    let missing = foreign
        .into_iter()
        .filter(|name| !text.contains(&format!("`{name}`")));
    Ok(missing
        .map(|name| format!("dependency {name} has no line in ARCHITECTURE.md that says why"))
        .collect())
}

fn files(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for path in tracked(root)? {
        let Ok(text) = fs::read_to_string(root.join(&path)) else {
            continue;
        };
        // This file names the words in order to forbid them.
        let own = path.ends_with("tidy.rs");
        for word in FORBIDDEN
            .iter()
            .filter(|word| !own && text.contains(**word))
        {
            found.push(format!("{} contains {word:?}", path.display()));
        }
        if path.extension().is_some_and(|extension| extension == "rs")
            && text.lines().count() > LINES_MAX
        {
            found.push(format!(
                "{} has more than {LINES_MAX} lines: split it by subject",
                path.display()
            ));
        }
    }
    Ok(found)
}

fn tracked(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("failed to run git ls-files")?;
    if !output.status.success() {
        bail!(
            "git ls-files failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(PathBuf::from)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        if let Err(problem) = run() {
            panic!("{problem:#}");
        }
    }
}
