//! The guide, as a browser meets it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::http::get;
use crate::lab::{Lab, SOON};
use crate::wait::wait_for;

/// A guide that runs; ended with this.
struct Guide {
    child: Child,
    url: String,
}

impl Guide {
    fn of(lab: &Lab) -> Self {
        let mut command = lab.program(&["guide", "--no-open", "--port", "0", "--lang", "en"]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("the guide says where it is");
        let at = line.find("http://").expect("it says an address");
        let url = line[at..].trim().trim_end_matches('/').to_owned();
        Self { child, url }
    }

    fn json(&self, path: &str) -> Result<Value, String> {
        let answer = get(&format!("{}{path}", self.url)).map_err(|error| error.to_string())?;
        serde_json::from_str(&answer.body).map_err(|error| format!("{error}: {}", answer.body))
    }

    /// A page that shows a lab: what the server tells it, until it is dropped.
    fn page(&self, lab: &str) -> BufReader<TcpStream> {
        let host = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host).expect("the guide listens");
        stream
            .set_read_timeout(Some(SOON))
            .expect("a socket takes a time limit");
        write!(
            stream,
            "GET /api/live?lab={lab} HTTP/1.1\r\nHost: {host}\r\n\r\n"
        )
        .expect("it reads");
        BufReader::new(stream)
    }
}

impl Drop for Guide {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads events `state` until one is as wanted.
#[track_caller]
fn state(page: &mut impl Read, lines: &mut String, is: impl Fn(&Value) -> bool) -> Value {
    let mut last = String::new();
    let mut piece = [0; 4096];
    loop {
        let read = page
            .read(&mut piece)
            .unwrap_or_else(|error| panic!("no such state ({error}); the last was {last}"));
        assert_ne!(read, 0, "the guide ended; the last was {last}");
        lines.push_str(&String::from_utf8_lossy(&piece[..read]));
        while let Some(end) = lines.find("\n\n") {
            let event: String = lines.drain(..end + 2).collect();
            let Some(at) = event.find("event: state\ndata: ") else {
                continue;
            };
            last = event[at + "event: state\ndata: ".len()..].trim().to_owned();
            let state = last
                .lines()
                .next()
                .and_then(|line| serde_json::from_str(line).ok());
            if let Some(state) = state.filter(|state| is(state)) {
                return state;
            }
        }
    }
}

#[test]
fn a_step_ticks_itself_off_in_the_guide_once_its_solution_ran() {
    let lab = Lab::started("guide", &["3"]);
    lab.ok(&["lab", "goto", "deploy/image", "--yes"]);
    let guide = Guide::of(&lab);
    let mut page = guide.page("deploy-three-replicas");
    let mut lines = String::new();
    let here = |step: &'static str| move |state: &Value| state["here"] == step;
    let seen = state(&mut page, &mut lines, |state| {
        state["here"] == "image" && state["steps"][1]["verdict"] == "not-yet"
    });
    let cause = &seen["steps"][1]["checks"][0]["cause"]["fr"];
    assert!(
        cause.as_str().is_some_and(|cause| !cause.is_empty()),
        "{seen}"
    );
    // From another terminal, as she would do it.
    lab.ok(&[
        "image",
        "build",
        "-t",
        &format!("{}/hello:1.0.0", registry(&lab)),
        "--push",
        "hello",
    ]);
    let seen = state(&mut page, &mut lines, here("deployment"));
    assert_eq!(seen["steps"][1]["done"], true, "{seen}");
    lab.ok(&["lab", "solve", "--to", "deployment"]);
    let picture = wait_for("three ready pods in the picture", SOON, || {
        let picture = guide.json("/api/picture")?;
        let nodes = picture["nodes"].as_array().cloned().unwrap_or_default();
        let pods = nodes
            .iter()
            .flat_map(|node| node["pods"].as_array().cloned().unwrap_or_default());
        let ready = pods
            .filter(|pod| pod["state"] == "ready" && pod["version"] == "1.0.0")
            .count();
        if ready == 3 {
            Ok(picture)
        } else {
            Err(picture.to_string())
        }
    });
    assert_eq!(picture["cluster"]["state"], "live", "{picture}");
    lab.ok(&["stop"]);
    wait_for("a stopped cluster", SOON + Duration::from_secs(10), || {
        let cluster = guide.json("/api/picture")?["cluster"].clone();
        let says = cluster["command"] == "devops-lab start";
        if cluster["state"] == "stopped" && says {
            Ok(())
        } else {
            Err(cluster.to_string())
        }
    });
}

/// The cluster's registry, as images name it.
fn registry(lab: &Lab) -> String {
    let status: Value = serde_json::from_str(&lab.ok(&["status", "-o", "json"])).expect("JSON");
    let registry = status["addresses"]["registry"].as_str();
    registry.expect("a cluster has a registry").to_owned()
}
