//! What the test program does inside a container, as its configuration says.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use lab_cluster::docker::{SignalWatch, add_local_route, protect_agent};
use tokio_util::sync::CancellationToken;

/// Does nothing in an ordinary test run.
#[tokio::test]
async fn component() {
    let Ok(list) = std::env::var("DEVOPS_LAB_CONFIG") else {
        return;
    };
    for step in list.split(';') {
        let (verb, argument) = step.split_once(':').unwrap_or((step, ""));
        act(verb, argument).await;
    }
}

async fn act(verb: &str, argument: &str) {
    match verb {
        "print" => say(argument),
        "wait" | "watch" => {
            let stop = CancellationToken::new();
            let _watch = SignalWatch::start(stop.clone()).unwrap();
            say("watching");
            stop.cancelled().await;
        }
        "protect" => protect_agent().unwrap(),
        "route" => {
            let (network, length) = argument.split_once('/').unwrap();
            let network: Ipv4Addr = network.parse().unwrap();
            add_local_route(network, length.parse().unwrap()).unwrap();
            add_local_route(network, length.parse().unwrap()).unwrap();
        }
        "listen" => {
            let port: u16 = argument.parse().unwrap();
            std::thread::spawn(move || listen(port));
            Box::pin(act("wait", "")).await;
        }
        "reach-socket" => match UnixStream::connect("/proc/1/root/var/run/docker.sock") {
            Ok(_) => say("socket: reached"),
            Err(error) => say(&format!("socket: {error}")),
        },
        "term-init" => {
            let init = rustix::process::Pid::from_raw(1).unwrap();
            let sent = rustix::process::kill_process(init, rustix::process::Signal::TERM);
            say(&format!("TERM to process 1: {sent:?}"));
        }
        // The child leaves a child of its own behind, which process 1 then has to collect.
        "orphan" => {
            let mut child = spawn("leave", Stdio::piped());
            let mut heard = String::new();
            // Ends when the last of both has closed its end.
            child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut heard)
                .unwrap();
            child.wait().unwrap();
            say(&heard);
        }
        "leave" => drop(spawn("print:I am an orphan", Stdio::inherit())),
        "zombies" => {
            let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(5);
            while zombies() > 0 && tokio::time::Instant::now() < deadline {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            say(&format!("zombies: {}", zombies()));
        }
        other => panic!("cannot {other:?}"),
    }
}

fn listen(port: u16) {
    let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello\n");
    }
}

fn spawn(config: &str, output: Stdio) -> Child {
    let program = std::env::current_exe().unwrap();
    Command::new(program)
        .arg("component")
        .env("DEVOPS_LAB_CONFIG", config)
        .stderr(output)
        .spawn()
        .unwrap()
}

/// Processes of this namespace that have ended and that nobody has collected.
fn zombies() -> usize {
    let stats = std::fs::read_dir("/proc").unwrap().flatten();
    let stats = stats.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    stats
        .filter(|stat| {
            stat.rsplit_once(") ")
                .is_some_and(|(_, rest)| rest.starts_with('Z'))
        })
        .count()
}

/// Past the harness, which keeps the output of tests that pass.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
