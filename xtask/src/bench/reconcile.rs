//! From a change of an EndpointSlice to the first request that follows it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Figure;
use super::lab::{Lab, get_path};

/// Changes measured per run.
const CHANGES: usize = 20;

/// Longest that anything here may take.
const LIMIT_SECONDS: u64 = 20;

/// Gives the cluster a Service without a selector whose endpoints are these, and a route to it.
pub(crate) fn apply(lab: &Lab, backends: &[String]) -> anyhow::Result<()> {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "bench"},
        "spec": {"ports": [{"port": 8080, "targetPort": 80}]}});
    let route = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "bench"},
        "spec": {"parentRefs": [{"name": "devops-lab", "namespace": "default", "sectionName": "production"}],
                 "rules": [{"backendRefs": [{"name": "bench", "port": 8080}]}]}});
    let mut objects = vec![service, route];
    for (number, backend) in backends.iter().enumerate() {
        objects.push(slice(&format!("bench-{number}"), backend)?);
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    lab.kubectl(&["apply", "-f", "-"], Some(&list.to_string()))
        .map(drop)
}

fn slice(name: &str, backend: &str) -> anyhow::Result<Value> {
    let (address, port) = backend.split_once(':').context("a backend has a port")?;
    let port: u16 = port.parse()?;
    Ok(
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": "bench"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
        "ports": [{"name": "", "port": port, "protocol": "TCP"}]}),
    )
}

/// Waits until the route answers.
pub(crate) fn until_served(production: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    while began.elapsed().as_secs() < LIMIT_SECONDS {
        if get_path(production, "/small").is_ok_and(|(status, _)| status == 200) {
            return Ok(());
        }
    }
    bail!("the route does not answer at {production}")
}

/// Points the only slice now here and now there. Time runs from the moment before the change is
/// sent to the API, so that the API's own part is inside.
pub(crate) fn measure(
    lab: &Lab,
    production: &str,
    backends: &[String],
    runs: usize,
) -> anyhow::Result<Figure> {
    for number in 1..backends.len() {
        lab.kubectl(
            &["delete", "endpointslice", &format!("bench-{number}")],
            None,
        )?;
    }
    let proxy = Proxy::start(lab)?;
    let mut times = Vec::new();
    let turns = (0..backends.len()).cycle().skip(1);
    for number in turns.take(runs * CHANGES) {
        let mut change = slice("bench-0", &backends[number])?;
        change["metadata"]["resourceVersion"] = Value::Null;
        let words = format!("number {number}");
        let began = Instant::now();
        proxy.patch(&change)?;
        loop {
            let (status, text) = get_path(production, "/number")?;
            if status != 200 {
                bail!("a request was lost while endpoints changed:\n{text}");
            }
            if text.contains(&words) {
                break;
            }
            if began.elapsed().as_secs() > LIMIT_SECONDS {
                bail!("the load balancer does not follow its EndpointSlice");
            }
        }
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let ours = format!("{:.1} ms (p99 {:.1}, n={})", at(0.5), at(0.99), times.len());
    Ok(Figure::alone(
        "EndpointSlice change → first request that follows it",
        ours,
        "≤ 50 ms",
    ))
}

/// `kubectl proxy`: the API without TLS, so that a change costs no process.
struct Proxy {
    child: Child,
    address: String,
}

impl Proxy {
    fn start(lab: &Lab) -> anyhow::Result<Self> {
        let mut child = lab
            .kubectl_command(&["proxy", "--port=0"])?
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to run kubectl proxy")?;
        let output = child.stdout.take().context("kubectl has an output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().rsplit(' ').next().unwrap_or_default();
        Ok(Self {
            child,
            address: address.to_owned(),
        })
    }

    fn patch(&self, change: &Value) -> anyhow::Result<()> {
        let body = change.to_string();
        let mut stream = TcpStream::connect(&self.address)?;
        write!(
            stream,
            "PATCH /apis/discovery.k8s.io/v1/namespaces/default/endpointslices/bench-0 HTTP/1.1\r\n\
             Host: {}\r\nContent-Type: application/merge-patch+json\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if !answer.starts_with("HTTP/1.1 200") {
            bail!("the API refused the change:\n{answer}");
        }
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
