//! The program inside the containers of the engine contract: does one small, observable thing.
//!
//! A test executable that calls [`helper_main`] when started with a certain first argument is
//! itself the test image, so that no compiler and no download is needed to have one.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;

/// Runs one command of the helper and gives its exit code:
///
/// | Command | Does |
/// |---|---|
/// | `print WORD…` | prints each word on a line |
/// | `print-error TEXT` | prints to standard error |
/// | `count N` | prints `line 1` to `line N` |
/// | `env NAME…` | prints `NAME=value` |
/// | `exit CODE` | ends with the code |
/// | `sleep` | prints `ready`, sleeps for ever |
/// | `on-term CODE` | prints `ready`, ends with the code on SIGTERM |
/// | `ignore-term` | prints `ready`, ignores SIGTERM |
/// | `listen PORT` | listens on `HOST` (0 for any port), prints `listening PORT`, answers with its host name |
/// | `fetch ADDRESS` | connects and prints the answer |
/// | `allocate MIB` | uses that much memory, prints `ready`, sleeps |
/// | `write PATH TEXT`, `read PATH` | writes or prints a file of the container, then ends |
/// | `write-and-sleep PATH TEXT` | writes a file, prints `ready`, sleeps |
/// | `child` | starts `sleep` as a child, prints `child PID`, sleeps |
#[must_use]
pub fn helper_main(args: &[String]) -> i32 {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(code) => code,
        Err(error) => {
            // There is nobody to tell where even this fails.
            let _ = writeln!(io::stderr(), "helper: {error}");
            1
        }
    }
}

fn run(words: &[&str]) -> io::Result<i32> {
    match words {
        ["print", words @ ..] => words.iter().try_for_each(|word| say(word))?,
        ["print-error", text] => writeln!(io::stderr(), "{text}")?,
        ["count", n] => (1..=number(n)?).try_for_each(|n| say(&format!("line {n}")))?,
        ["env", names @ ..] => names
            .iter()
            .try_for_each(|name| say(&format!("{name}={}", setting(name))))?,
        ["exit", code] => return number(code),
        ["sleep"] => sleep()?,
        ["on-term", code] => return end_on_term(number(code)?),
        ["ignore-term"] => {
            signal_hook::flag::register(SIGTERM, Arc::new(AtomicBool::new(false)))?;
            sleep()?;
        }
        ["listen", port] => listen(number(port)?)?,
        ["fetch", address] => say(fetch(address)?.trim_end())?,
        ["allocate", mib] => allocate(number(mib)?)?,
        ["write", path, text] => std::fs::write(in_container(path), text)?,
        ["write-and-sleep", path, text] => {
            std::fs::write(in_container(path), text)?;
            sleep()?;
        }
        ["read", path] => say(&std::fs::read_to_string(in_container(path))?)?,
        ["child"] => {
            let child = Command::new(std::env::current_exe()?)
                .args(["helper", "sleep"])
                .spawn()?;
            say(&format!("child {}", child.id()))?;
            sleep()?;
        }
        other => return Err(io::Error::other(format!("no command {other:?}"))),
    }
    Ok(0)
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

fn number<T: std::str::FromStr>(text: &str) -> io::Result<T> {
    text.parse()
        .map_err(|_| io::Error::other(format!("{text:?} is not a number")))
}

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// Where a path of the container lies: an engine without a file tree of its own says where the
/// tree is, and has already translated arguments that name something in it.
fn in_container(path: &str) -> PathBuf {
    let translated = PathBuf::from(path);
    if translated.exists() {
        translated
    } else {
        PathBuf::from(format!("{}{path}", setting("DEVOPS_LAB_ROOTFS")))
    }
}

fn sleep() -> io::Result<()> {
    say("ready")?;
    let never = AtomicBool::new(false);
    while !never.load(Ordering::Relaxed) {
        std::thread::park();
    }
    Ok(())
}

fn end_on_term(code: i32) -> io::Result<i32> {
    let mut signals = Signals::new([SIGTERM])?;
    say("ready")?;
    signals.forever().next();
    Ok(code)
}

fn listen(port: u16) -> io::Result<()> {
    let host = std::env::var("HOST").unwrap_or_else(|_| "0.0.0.0".into());
    let listener = TcpListener::bind((host.as_str(), port))?;
    say(&format!("listening {}", listener.local_addr()?.port()))?;
    for connection in listener.incoming() {
        // A caller that has gone already is no concern of the others.
        let _ = connection
            .and_then(|mut connection| writeln!(connection, "hello from {}", setting("HOSTNAME")));
    }
    Ok(())
}

/// Reads what the program at `address` says to whoever connects.
///
/// # Errors
/// Where nobody listens there.
pub fn fetch(address: &str) -> io::Result<String> {
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let mut answer = String::new();
    TcpStream::connect(address)?.read_to_string(&mut answer)?;
    Ok(answer)
}

fn allocate(mib: usize) -> io::Result<()> {
    // Every page is written to, or the kernel would not count it.
    let memory = vec![1_u8; mib << 20];
    sleep()?;
    say(&format!("{}", memory.len()))
}
