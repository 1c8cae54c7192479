//! The load balancer beside nginx: same backends, same cores, in turn.

use std::fs;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};

use super::lab::{Lab, is_installed};
use super::{Args, Figure};

/// Seconds of one round.
const ROUND_SECONDS: u32 = 4;

/// Requests per second with keep-alive through both, as a ratio.
pub(crate) fn run(lab: &Lab, args: &Args) -> anyhow::Result<Vec<Figure>> {
    if !is_installed("wrk") {
        bail!("wrk is not installed");
    }
    lab.start(3, "process")?;
    let manifests = lab.push_hello()?;
    lab.kubectl(&["apply", "-f", "-"], Some(&manifests))?;
    lab.kubectl(
        &["rollout", "status", "deployment/hello", "--timeout=60s"],
        None,
    )?;
    let ours = format!("http://{}/", lab.production()?);
    let addresses = lab.kubectl(
        &[
            "get",
            "pods",
            "-l",
            "app=hello",
            "-o",
            "jsonpath={range .items[*]}{.status.podIP}{\"\\n\"}{end}",
        ],
        None,
    )?;
    let backends: Vec<_> = addresses
        .lines()
        .filter(|line| !line.is_empty())
        .map(|ip| format!("{ip}:8080"))
        .collect();
    let nginx = if is_installed("nginx") {
        Some(Nginx::start(lab, &backends)?)
    } else {
        None
    };
    let (mut of_ours, mut of_nginx) = (Vec::new(), Vec::new());
    for _ in 0..args.runs {
        of_ours.push(wrk(&ours)?);
        if let Some(nginx) = &nginx {
            of_nginx.push(wrk(&nginx.url)?);
        }
    }
    let mine = median(of_ours);
    let peer = if of_nginx.is_empty() {
        "nginx is not installed".to_owned()
    } else {
        let other = median(of_nginx);
        format!("nginx {other:.0} req/s: ratio {:.2}", mine / other)
    };
    Ok(vec![Figure {
        name: "load balancer, keep-alive, small body".to_owned(),
        ours: format!("{mine:.0} req/s"),
        peer,
        budget: "≥ nginx",
    }])
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

fn wrk(url: &str) -> anyhow::Result<f64> {
    let output = Command::new("wrk")
        .args(["-t1", "-c32", &format!("-d{ROUND_SECONDS}s"), url])
        .output()
        .context("failed to run wrk")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if let Some(line) = text.lines().find(|line| line.contains("Non-2xx")) {
        bail!("{url}: {}", line.trim());
    }
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    Ok(line.context("wrk printed no rate")?.trim().parse()?)
}

/// An nginx with two workers in front of the same pods.
struct Nginx {
    child: Child,
    url: String,
}

impl Nginx {
    fn start(lab: &Lab, backends: &[String]) -> anyhow::Result<Self> {
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?
            .local_addr()?
            .port();
        let directory = lab.home().join("nginx");
        fs::create_dir_all(&directory)?;
        let servers: String = backends
            .iter()
            .map(|backend| format!("server {backend};"))
            .collect();
        let configuration = format!(
            "daemon off; worker_processes 2; pid {0}/pid; error_log {0}/error.log;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log off; keepalive_requests 1000000; client_body_temp_path {0}/body; proxy_temp_path {0}/proxy;\n\
             fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;\n\
             upstream hello {{ {servers} keepalive 64; }}\n\
             server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://hello; proxy_http_version 1.1;\n\
             proxy_set_header Connection \"\"; proxy_set_header Host $host; }} }} }}\n",
            directory.display()
        );
        let file = directory.join("nginx.conf");
        fs::write(&file, configuration)?;
        let child = Command::new("nginx")
            .arg("-c")
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()?;
        let nginx = Self {
            child,
            url: format!("http://127.0.0.1:{port}/"),
        };
        let address = format!("127.0.0.1:{port}");
        for _ in 0..1000 {
            if super::lab::get(&address).is_ok() {
                return Ok(nginx);
            }
            std::thread::yield_now();
        }
        bail!("nginx does not answer")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // TERM ends the workers too, which a kill of the master would orphan.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}
