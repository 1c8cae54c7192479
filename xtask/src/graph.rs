//! The crate graph: what each crate may import of ours, and what it must never see.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};
use serde::Deserialize;

/// What each crate may import of ours. The architecture is this table; ARCHITECTURE.md explains
/// it, and a test compares it with what `cargo metadata` says.
pub(crate) const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("lab-api", &[]),
    ("lab-apiserver", &["lab-api", "lab-context", "lab-store"]),
    ("lab-bundle", &["lab-image"]),
    ("lab-browser", &[]),
    (
        "lab-checks",
        &["lab-api", "lab-ci", "lab-image", "lab-traffic"],
    ),
    ("lab-ci", &[]),
    ("lab-classroom", &["lab-bundle", "lab-checks"]),
    (
        "lab-cli",
        &[
            "lab-api",
            "lab-bundle",
            "lab-checks",
            "lab-classroom",
            "lab-ci",
            "lab-cluster",
            "lab-guide",
            "lab-image",
            "lab-runtime",
            "lab-slides",
            "lab-traffic",
        ],
    ),
    (
        "lab-cluster",
        &[
            "lab-api",
            "lab-apiserver",
            "lab-context",
            "lab-controllers",
            "lab-dns",
            "lab-engine",
            "lab-events",
            "lab-gateway",
            "lab-image",
            "lab-metrics",
            "lab-node",
            "lab-registry",
            "lab-scheduler",
            "lab-store",
            "lab-traffic",
        ],
    ),
    ("lab-context", &[]),
    ("lab-controllers", &["lab-api", "lab-context", "lab-events"]),
    ("lab-dns", &["lab-api"]),
    ("lab-engine", &["lab-context", "lab-image"]),
    ("lab-events", &["lab-context"]),
    ("lab-gateway", &["lab-api", "lab-context", "lab-events"]),
    ("lab-guide", &["lab-checks"]),
    ("lab-image", &[]),
    ("lab-metrics", &["lab-api", "lab-context", "lab-events"]),
    (
        "lab-node",
        &["lab-api", "lab-context", "lab-engine", "lab-events"],
    ),
    ("lab-registry", &[]),
    ("lab-runtime", &["lab-context"]),
    ("lab-scheduler", &["lab-api", "lab-context", "lab-events"]),
    ("lab-slides", &["lab-browser", "lab-checks"]),
    ("lab-store", &[]),
    (
        "lab-testkit",
        &[
            "lab-api",
            "lab-apiserver",
            "lab-context",
            "lab-controllers",
            "lab-engine",
            "lab-node",
            "lab-scheduler",
            "lab-store",
        ],
    ),
    ("lab-traffic", &["lab-context"]),
    ("xtask", &[]),
];

/// Foreign crates that a crate must never see.
pub(crate) const NEVER_SEES: &[(&str, &[&str])] = &[
    ("lab-api", &["tokio", "axum", "hyper", "rusqlite"]),
    (
        "lab-store",
        &["axum", "hyper", "http", "kube", "k8s-openapi", "serde_json"],
    ),
    ("lab-apiserver", &["kube", "bollard"]),
    ("lab-controllers", &["axum", "hyper", "rusqlite", "bollard"]),
    ("lab-scheduler", &["axum", "hyper", "rusqlite", "bollard"]),
    ("lab-gateway", &["axum", "rusqlite", "bollard"]),
    ("lab-dns", &["axum", "hyper", "rusqlite", "bollard"]),
    ("lab-engine", &["kube", "k8s-openapi", "axum"]),
    ("lab-metrics", &["rusqlite", "bollard"]),
    ("lab-node", &["bollard", "rusqlite"]),
    ("lab-registry", &["kube", "k8s-openapi", "bollard"]),
    ("lab-image", &["kube", "k8s-openapi", "bollard", "axum"]),
    ("lab-cluster", &["clap"]),
    ("lab-checks", &["bollard", "rusqlite", "axum"]),
    (
        "lab-bundle",
        &["tokio", "hyper", "axum", "kube", "bollard", "clap"],
    ),
    ("lab-classroom", &["bollard", "k8s-openapi"]),
    ("lab-guide", &["bollard", "rusqlite", "clap", "k8s-openapi"]),
    (
        "lab-slides",
        &["kube", "k8s-openapi", "rusqlite", "bollard", "console"],
    ),
    (
        "lab-ci",
        &["kube", "k8s-openapi", "axum", "rusqlite", "bollard"],
    ),
    ("lab-traffic", &["kube", "k8s-openapi", "axum", "rusqlite"]),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    source: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

/// The workspace's crates with their ordinary dependencies.
pub(crate) struct Graph {
    /// Root of the repository.
    pub(crate) root: PathBuf,
    /// Dependencies by crate, ours and foreign.
    pub(crate) crates: BTreeMap<String, BTreeSet<String>>,
}

/// Reads the graph from `cargo metadata`.
///
/// # Errors
/// Where cargo fails.
pub(crate) fn read() -> anyhow::Result<Graph> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .context("failed to run cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata failed:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    let ours = metadata
        .packages
        .into_iter()
        .filter(|package| package.source.is_none());
    let crates = ours.map(|package| {
        // Tests may import what they test with; the architecture is about what ships.
        let ordinary = package
            .dependencies
            .into_iter()
            .filter(|dependency| dependency.kind.is_none());
        (
            package.name,
            ordinary.map(|dependency| dependency.name).collect(),
        )
    });
    Ok(Graph {
        root: metadata.workspace_root,
        crates: crates.collect(),
    })
}

/// Everything in which the code differs from the tables.
pub(crate) fn violations(graph: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    for (name, dependencies) in &graph.crates {
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(known, _)| known == name) else {
            found.push(format!(
                "{name} is not in MAY_IMPORT (xtask/src/graph.rs): say what it may import"
            ));
            continue;
        };
        let ours = dependencies
            .iter()
            .filter(|dependency| graph.crates.contains_key(*dependency));
        for import in ours.filter(|import| !allowed.contains(&import.as_str())) {
            found.push(format!(
                "{name} imports {import}, which the architecture does not allow"
            ));
        }
        let forbidden = NEVER_SEES
            .iter()
            .filter(|(known, _)| known == name)
            .flat_map(|(_, never)| *never);
        for import in forbidden.filter(|import| dependencies.contains(**import)) {
            found.push(format!(
                "{name} depends on {import}, which it must never see"
            ));
        }
    }
    found
}

/// Prints what imports what.
///
/// # Errors
/// Where cargo fails.
pub(crate) fn print() -> anyhow::Result<()> {
    let graph = read()?;
    for (name, dependencies) in &graph.crates {
        let ours: Vec<_> = dependencies
            .iter()
            .filter(|import| graph.crates.contains_key(*import))
            .map(String::as_str)
            .collect();
        crate::say(&format!(
            "{name:<16} → {}",
            if ours.is_empty() {
                "–".to_owned()
            } else {
                ours.join(" ")
            }
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &[&str])]) -> Graph {
        let crates = edges.iter().map(|(name, imports)| {
            (
                (*name).to_owned(),
                imports.iter().map(|import| (*import).to_owned()).collect(),
            )
        });
        Graph {
            root: PathBuf::new(),
            crates: crates.collect(),
        }
    }

    #[test]
    fn the_crate_graph_is_the_architecture() {
        let found = violations(&read().unwrap());
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    #[test]
    fn a_forbidden_import_is_found() {
        let found = violations(&graph(&[
            ("lab-store", &["lab-api"]),
            ("lab-api", &["tokio"]),
        ]));
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn a_new_crate_must_be_placed() {
        let found = violations(&graph(&[("lab-surprise", &[])]));
        assert!(found[0].contains("lab-surprise"));
    }
}
