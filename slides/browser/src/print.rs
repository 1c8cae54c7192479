//! Finds the browser that is installed, and prints a page as PDF.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// Names under which Chromium and its relatives are installed, in the order of preference.
pub const NAMES: [&str; 7] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "brave-browser",
];
/// Where macOS puts them.
const APPLICATIONS: [&str; 2] = [
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
];
/// A large deck takes a few seconds.
const LIMIT: Duration = Duration::from_secs(120);

/// Why there is no PDF.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// No browser is installed that could print.
    #[error(
        "no Chromium or Chrome is on the PATH, which prints the slides; install one (on Debian: apt install chromium), or export --html and print that from any browser"
    )]
    Missing,
    /// It cannot be started.
    #[error("{browser} cannot be started")]
    Start {
        /// The program.
        browser: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It did not print.
    #[error("{browser} printed nothing: {said}")]
    Silent {
        /// The program.
        browser: String,
        /// Its last words.
        said: String,
    },
}

/// The browser on the PATH, if there is one.
#[must_use]
pub fn find() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    find_in(&path).or_else(|| {
        let known = APPLICATIONS.into_iter().map(PathBuf::from);
        known.into_iter().find(|program| program.is_file())
    })
}

fn find_in(path: &OsString) -> Option<PathBuf> {
    NAMES.into_iter().find_map(|name| {
        let places = env::split_paths(path).map(|directory| directory.join(name));
        places.into_iter().find(|program| program.is_file())
    })
}

/// What a browser is told that nobody looks at, with a profile of its own.
#[must_use]
pub(crate) fn arguments(profile: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = [
        "--headless",
        "--disable-gpu",
        "--no-first-run",
        "--no-default-browser-check",
        "--disable-extensions",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
    ]
    .map(OsString::from)
    .into();
    let mut own = OsString::from("--user-data-dir=");
    own.push(profile);
    arguments.push(own);
    // A browser refuses to be root unless it may do without its sandbox, as in a container.
    if rustix::process::geteuid().is_root() {
        arguments.push("--no-sandbox".into());
    }
    arguments
}

/// Prints a page of a file into another.
///
/// # Errors
/// Where the browser does not, with its last words.
pub async fn print(
    browser: &Path,
    page: &Path,
    pdf: &Path,
    profile: &Path,
) -> Result<(), BrowserError> {
    let name = browser.display().to_string();
    let mut target = OsString::from("--print-to-pdf=");
    target.push(pdf);
    let mut url = OsString::from("file://");
    url.push(page);
    let run = Command::new(browser)
        .args(arguments(profile))
        .args([
            "--no-pdf-header-footer",
            "--run-all-compositor-stages-before-draw",
        ])
        .arg(target)
        .arg(url)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let silent = |said: String| BrowserError::Silent {
        browser: name.clone(),
        said,
    };
    let output = match timeout(LIMIT, run).await {
        Ok(Ok(output)) => output,
        Ok(Err(source)) => {
            return Err(BrowserError::Start {
                browser: name,
                source,
            });
        }
        Err(_) => return Err(silent(format!("it took longer than {} s", LIMIT.as_secs()))),
    };
    if pdf.metadata().is_ok_and(|about| about.len() > 0) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    Err(silent(last.unwrap_or("it says nothing").to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_found_under_any_of_its_names() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().as_os_str().to_owned();
        assert_eq!(find_in(&path), None);
        std::fs::write(directory.path().join("google-chrome"), "").unwrap();
        assert_eq!(find_in(&path), Some(directory.path().join("google-chrome")));
    }
}
