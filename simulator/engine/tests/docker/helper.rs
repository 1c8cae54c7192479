//! What the test program does when it runs inside a pod.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Where the program lies in its image.
pub(crate) const PROGRAM: &str = "/helper";
/// The arguments that make the test harness run only [`helper_process`].
pub(crate) const ARGUMENTS: &[&str] = &["--exact", "helper::helper_process", "--nocapture"];

/// Does nothing in an ordinary test run; in a pod, `HELPER_DO` lists what to do.
#[test]
fn helper_process() {
    let Ok(list) = std::env::var("HELPER_DO") else {
        return;
    };
    for step in list.split(';') {
        let (verb, argument) = step.split_once(':').unwrap_or((step, ""));
        act(verb, argument);
    }
}

fn act(verb: &str, argument: &str) {
    match verb {
        "print" => println!("{argument}"),
        "cat" => match std::fs::read_to_string(argument) {
            Ok(text) => println!("{text}"),
            Err(error) => println!("cannot read {argument}: {error}"),
        },
        "write" => match std::fs::write(argument, format!("written to {argument}")) {
            Ok(()) => {}
            Err(error) => println!("cannot write {argument}: {error}"),
        },
        "exit" => exit(argument.parse().unwrap()),
        "sleep" => sleep(),
        "ignore-term" => {
            let noticed = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(signal_hook::consts::SIGTERM, noticed).unwrap();
            println!("ignoring SIGTERM");
            sleep();
        }
        "listen" => listen(argument.parse().unwrap()),
        "connect" => match TcpStream::connect(argument) {
            Ok(_) => println!("connected"),
            Err(error) => println!("cannot connect to {argument}: {error}"),
        },
        "allocate" => {
            let mebibytes: usize = argument.parse().unwrap();
            println!(
                "{}",
                vec![1_u8; mebibytes << 20]
                    .iter()
                    .map(|byte| u64::from(*byte))
                    .sum::<u64>()
            );
        }
        other => panic!("the helper cannot {other:?}"),
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

fn sleep() -> ! {
    loop {
        std::thread::park();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "ends the pod's process with the code under test"
)]
fn exit(code: i32) {
    std::process::exit(code);
}
