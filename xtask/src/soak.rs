//! `cargo xtask soak`: a cluster that gets no rest. Rolling updates every few seconds under
//! traffic, and nodes killed at random; at the end, what was lost and what leaked.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;

use crate::bench::lab::{Lab, get};

/// How to torment the cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Minutes
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// What runs the pods
    #[arg(long, default_value = "process")]
    engine: String,
    /// Torment this program instead of building one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// A node is killed after every so many updates
    #[arg(long, default_value_t = 4)]
    kill_every: u64,
}

/// What traffic met.
#[derive(Default)]
struct Tally {
    answered: AtomicU64,
    failed: AtomicU64,
}

/// What must not grow.
struct Footprint {
    containers: usize,
    processes: usize,
    files: usize,
    rss_mib: f64,
    store_kib: u64,
}

impl std::fmt::Display for Footprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            containers,
            processes,
            files,
            rss_mib,
            store_kib,
        } = self;
        write!(
            f,
            "{containers} containers, {processes} processes, {files} files, {rss_mib} MiB resident, store {store_kib} KiB"
        )
    }
}

/// Runs for the given time and prints the figures.
///
/// # Errors
/// Where the cluster cannot be started or driven.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let program = crate::bench::program(args.program.as_deref())?;
    let lab = Lab::new(&program, "soak")?;
    lab.start_with(3, &args.engine, &["--speed", "20"])?;
    let manifests = lab.push_hello()?;
    lab.kubectl(&["apply", "-f", "-"], Some(&manifests))?;
    lab.kubectl(
        &["rollout", "status", "deployment/hello", "--timeout=60s"],
        None,
    )?;
    let stop = Arc::new(AtomicBool::new(false));
    let tally = Arc::new(Tally::default());
    let traffic = traffic(lab.production()?, Arc::clone(&stop), Arc::clone(&tally));
    let mut figures = Vec::new();
    let began = Instant::now();
    let (mut updates, mut kills) = (0, 0);
    while began.elapsed() < Duration::from_secs(args.minutes * 60) {
        let failed_before = tally.failed.load(Ordering::Relaxed);
        lab.kubectl(&["rollout", "restart", "deployment/hello"], None)?;
        lab.kubectl(
            &["rollout", "status", "deployment/hello", "--timeout=120s"],
            None,
        )?;
        updates += 1;
        rest();
        let lost = tally.failed.load(Ordering::Relaxed) - failed_before;
        if lost > 0 {
            crate::say(&format!(
                "{:>5} s: update {updates} lost {lost} requests",
                began.elapsed().as_secs()
            ));
        }
        if updates % args.kill_every == 0 {
            let node = format!("node-{}", 1 + (updates / args.kill_every) % 3);
            let failed_before = tally.failed.load(Ordering::Relaxed);
            kill(&lab, &node)?;
            kills += 1;
            lab.kubectl(
                &[
                    "wait",
                    "--for=condition=Ready=Unknown",
                    &format!("node/{node}"),
                    "--timeout=60s",
                ],
                None,
            )?;
            lab.run(&["node", "start", &node])?;
            lab.kubectl(
                &[
                    "wait",
                    "--for=condition=Ready",
                    &format!("node/{node}"),
                    "--timeout=60s",
                ],
                None,
            )?;
            lab.kubectl(
                &["rollout", "status", "deployment/hello", "--timeout=120s"],
                None,
            )?;
            let lost = tally.failed.load(Ordering::Relaxed) - failed_before;
            let footprint = footprint(&lab)?;
            crate::say(&format!(
                "{:>5} s: killed {node}, lost {lost} requests; {footprint}",
                began.elapsed().as_secs()
            ));
            figures.push(footprint);
        }
    }
    stop.store(true, Ordering::Relaxed);
    let _ = traffic.join();
    let answered = tally.answered.load(Ordering::Relaxed);
    let failed = tally.failed.load(Ordering::Relaxed);
    crate::say(&format!(
        "{updates} updates, {kills} nodes killed, {answered} requests answered, {failed} failed"
    ));
    if let (Some(first), Some(last)) = (figures.first(), figures.last()) {
        crate::say(&format!(
            "first footprint: {first}\nlast footprint:  {last}"
        ));
    }
    lab.delete()?;
    crate::say(&format!(
        "after delete: {} processes, {} containers, {} networks and {} volumes of the cluster are left",
        processes(&lab).len(),
        docker(&lab, &["ps", "--all", "--quiet"]).len(),
        docker(&lab, &["network", "ls", "--quiet"]).len(),
        docker(&lab, &["volume", "ls", "--quiet"]).len(),
    ));
    Ok(())
}

/// kubectl refuses two restarts within a second.
#[expect(clippy::disallowed_methods, reason = "a soak lives in real time")]
fn rest() {
    std::thread::sleep(Duration::from_secs(2));
}

fn traffic(
    address: String,
    stop: Arc<AtomicBool>,
    tally: Arc<Tally>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            match get(&address) {
                Ok((200, _)) => tally.answered.fetch_add(1, Ordering::Relaxed),
                Ok(_) | Err(_) => tally.failed.fetch_add(1, Ordering::Relaxed),
            };
        }
    })
}

fn kill(lab: &Lab, node: &str) -> anyhow::Result<()> {
    let status = lab.status()?;
    let parts = status["components"]
        .as_array()
        .context("the status lists no parts")?;
    let part = parts
        .iter()
        .find(|part| part["name"] == node)
        .context("no such node")?;
    let handle = part["handle"].as_str().unwrap_or_default();
    let killed = match handle.split_once(' ') {
        Some(("process", pid)) => Command::new("kill").args(["-9", pid]).status()?,
        Some((_, container)) => Command::new("docker").args(["kill", container]).status()?,
        None => anyhow::bail!("{node} does not run"),
    };
    anyhow::ensure!(killed.success(), "{node} could not be killed");
    Ok(())
}

/// What a listing of the Docker daemon finds of the cluster; nothing where there is no Docker.
fn docker(lab: &Lab, listing: &[&str]) -> Vec<String> {
    let label = format!("label=devops-lab.cluster={}", lab.name());
    let output = Command::new("docker")
        .args(listing)
        .args(["--filter", &label])
        .output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.split_whitespace().map(str::to_owned).collect()
}

/// Processes that belong to the cluster, by their environment, or by their container.
fn processes(lab: &Lab) -> BTreeMap<u32, PathBuf> {
    let marker = lab.home().display().to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ours = entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let environment = fs::read(entry.path().join("environ")).ok()?;
        String::from_utf8_lossy(&environment)
            .contains(&marker)
            .then_some(pid)
    });
    let contained = docker(lab, &["ps", "--quiet"])
        .into_iter()
        .filter_map(|id| {
            let output = Command::new("docker")
                .args(["inspect", "--format", "{{.State.Pid}}", &id])
                .output()
                .ok()?;
            String::from_utf8_lossy(&output.stdout).trim().parse().ok()
        });
    ours.chain(contained)
        .filter(|pid| *pid != std::process::id())
        .map(|pid| (pid, PathBuf::from(format!("/proc/{pid}"))))
        .collect()
}

fn footprint(lab: &Lab) -> anyhow::Result<Footprint> {
    let ours = processes(lab);
    let files = |path: &PathBuf| fs::read_dir(path.join("fd")).map_or(0, Iterator::count);
    let rss = |path: &PathBuf| {
        let text = fs::read_to_string(path.join("status")).unwrap_or_default();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap_or_default()
            .to_owned();
        line.trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<f64>()
            .unwrap_or(0.0)
            / 1024.0
    };
    Ok(Footprint {
        containers: docker(lab, &["ps", "--all", "--quiet"]).len(),
        processes: ours.len(),
        files: ours.values().map(files).sum(),
        rss_mib: ours.values().map(rss).sum::<f64>().round(),
        store_kib: stored(lab.home()),
    })
}

/// Size of the stores below a home, in KiB.
fn stored(home: &Path) -> u64 {
    let clusters = fs::read_dir(home.join("clusters"))
        .into_iter()
        .flatten()
        .flatten();
    let files =
        clusters.flat_map(|cluster| fs::read_dir(cluster.path()).into_iter().flatten().flatten());
    let stores = files.filter(|file| {
        file.file_name()
            .to_string_lossy()
            .starts_with("store.sqlite")
    });
    stores
        .filter_map(|file| file.metadata().ok())
        .map(|metadata| metadata.len() / 1024)
        .sum()
}
