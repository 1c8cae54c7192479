//! The load balancer beside nginx and HAProxy: same backends, same cores, in turn; and how soon
//! it uses a new endpoint.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, bail};

use super::lab::{Lab, is_installed};
use super::proxies::{Server, backends, haproxy, nginx};
use super::reconcile;
use super::{Args, Figure};

/// Seconds of one round.
const ROUND_SECONDS: u32 = 4;

/// What is asked for.
const BODIES: [(&str, &str); 2] = [("small body", "small"), ("64 KiB body", "large")];

/// One round's figures.
#[derive(Clone, Copy, Debug)]
struct Round {
    rate: f64,
    p50_us: f64,
    p99_us: f64,
}

/// Requests per second and latency with keep-alive through all of them, as ratios.
pub(crate) fn run(lab: &Lab, args: &Args) -> anyhow::Result<Vec<Figure>> {
    for program in ["wrk", "nginx"] {
        if !is_installed(program) {
            bail!("{program} is not installed (Debian's package has the same name)");
        }
    }
    let servers = backends(lab.home())?;
    let addresses: Vec<_> = servers
        .iter()
        .map(|server| server.address.clone())
        .collect();
    lab.start(1, "process")?;
    reconcile::apply(lab, &addresses)?;
    let production = lab.production()?;
    reconcile::until_served(&production)?;
    let mut proxies = vec![("devops-lab", production.clone())];
    let mut peers: Vec<(&str, Server)> = vec![("nginx", nginx(lab.home(), &addresses)?)];
    if is_installed("haproxy") {
        peers.push(("haproxy", haproxy(lab.home(), &addresses)?));
    }
    proxies.extend(
        peers
            .iter()
            .map(|(name, server)| (*name, server.address.clone())),
    );
    let mut figures = Vec::new();
    for (what, path) in BODIES {
        figures.extend(compare(&proxies, what, path, args.runs)?);
    }
    figures.push(reconcile::measure(lab, &production, &addresses, args.runs)?);
    Ok(figures)
}

fn compare(
    proxies: &[(&str, String)],
    what: &str,
    path: &str,
    runs: usize,
) -> anyhow::Result<Vec<Figure>> {
    let mut rounds: BTreeMap<&str, Vec<Round>> = BTreeMap::new();
    for _ in 0..runs {
        for (name, address) in proxies {
            let round = wrk(&format!("http://{address}/{path}"))?;
            rounds.entry(name).or_default().push(round);
        }
    }
    let median = |name: &str, value: fn(&Round) -> f64| {
        let mut samples: Vec<f64> = rounds[name].iter().map(value).collect();
        samples.sort_by(f64::total_cmp);
        samples[samples.len() / 2]
    };
    let figure = |name: &str, unit: &str, value: fn(&Round) -> f64, digits, budget| {
        let mine = median("devops-lab", value);
        let peers = proxies.iter().filter(|(name, _)| *name != "devops-lab");
        let peers: Vec<_> = peers
            .map(|(name, _)| {
                let other = median(name, value);
                format!("{name} {other:.digits$} {unit}: ratio {:.2}", mine / other)
            })
            .collect();
        Figure {
            name: format!("load balancer, keep-alive, {what}{name}"),
            ours: format!("{mine:.digits$} {unit}"),
            peer: peers.join("; "),
            budget,
        }
    };
    Ok(vec![
        figure("", "req/s", |round| round.rate, 0, "≥ nginx"),
        figure(", p50", "ms", |round| round.p50_us / 1000.0, 2, ""),
        figure(", p99", "ms", |round| round.p99_us / 1000.0, 2, ""),
    ])
}

fn wrk(url: &str) -> anyhow::Result<Round> {
    let output = Command::new("wrk")
        .args([
            "-t1",
            "-c32",
            "--latency",
            &format!("-d{ROUND_SECONDS}s"),
            url,
        ])
        .output()
        .context("failed to run wrk")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let wrong = |line: &&str| line.contains("Non-2xx") || line.contains("Socket errors");
    if let Some(line) = text.lines().find(wrong) {
        bail!("{url}: {}", line.trim());
    }
    let after = |label: &str| {
        let mut lines = text.lines().map(str::trim);
        lines
            .find_map(|line| line.strip_prefix(label))
            .map(str::trim)
            .with_context(|| format!("wrk printed no {label}"))
    };
    Ok(Round {
        rate: after("Requests/sec:")?.parse()?,
        p50_us: microseconds(after("50%")?)?,
        p99_us: microseconds(after("99%")?)?,
    })
}

/// wrk's `512.00us`, `1.20ms`, `1.00s`.
fn microseconds(text: &str) -> anyhow::Result<f64> {
    for (unit, factor) in [("us", 1.0), ("ms", 1e3), ("s", 1e6)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Ok(number.parse::<f64>()? * factor);
        }
    }
    bail!("{text:?} is no time of wrk's")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_wrk_are_understood() {
        for (text, expected) in [("512.00us", 512.0), ("1.20ms", 1200.0), ("1.00s", 1e6)] {
            assert!(
                (microseconds(text).unwrap() - expected).abs() < 0.1,
                "{text}"
            );
        }
    }
}
