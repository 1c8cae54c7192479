//! What a learner sees, as reviewed screens: on terminals of 80 and of 120 columns, with and
//! without colour, in both languages.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::lab::{Lab, SOON, run};
use crate::tools::{Tool, needs};
use crate::wait::wait_for;

/// A terminal on which the program is shown.
#[derive(Clone, Copy)]
struct Terminal {
    columns: u16,
    colour: bool,
    language: &'static str,
}

/// A command of the program on a terminal of its own, which `script` makes. What is told of
/// progress on standard error comes and goes with time, and is left out.
fn script(lab: &Lab, terminal: Terminal, words: &str) -> Command {
    let Terminal {
        columns,
        colour,
        language,
    } = terminal;
    let program = lab.program(&[]).get_program().to_owned();
    let line = format!(
        "stty cols {columns} rows 50 -echo; {} {words} 2> stderr",
        program.to_string_lossy()
    );
    let mut command = lab.command("script");
    command
        .args([
            "--quiet",
            "--return",
            "--flush",
            "--command",
            &line,
            "/dev/null",
        ])
        .env("TERM", "xterm-256color")
        .env("DEVOPS_LAB_LANG", language);
    if !colour {
        command.env("NO_COLOR", "1");
    }
    command
}

/// What a command that ends by itself shows.
fn on_a_terminal(lab: &Lab, terminal: Terminal, words: &str) -> String {
    run(script(lab, terminal, words))
        .stdout
        .replace("\r\n", "\n")
}

/// The page that a command has drawn once it shows these words, after which it is ended by Ctrl-C.
fn drawn(lab: &Lab, terminal: Terminal, words: &str, last: &str) -> String {
    let said = lab.file("drawn");
    let mut command = script(lab, terminal, words);
    command
        .stdin(Stdio::piped())
        .stdout(File::create(&said).expect("a file can be made"));
    let mut child = command.spawn().expect("script runs");
    let page = wait_for(&format!("{words} shows {last:?}"), SOON, || {
        let text = std::fs::read_to_string(&said).unwrap_or_default();
        let pages = text.replace("\r\n", "\n");
        // Each page is drawn over the one before.
        let (_, page) = pages.rsplit_once("\u{1b}[J").unwrap_or(("", &pages));
        let line = page.lines().position(|line| line.contains(last));
        let line = line.ok_or_else(|| text.clone())?;
        Ok(page
            .lines()
            .take(line + 1)
            .map(|line| format!("{line}\n"))
            .collect::<String>())
    });
    let mut keyboard = child.stdin.take().expect("it is piped");
    keyboard.write_all(b"\x03").expect("a key can be pressed");
    drop(keyboard);
    child.wait().expect("it ends");
    page
}

/// Each screen at every width, in colour and without, in every language.
fn screens(name: &str, kept: fn(&str) -> String, shown: impl Fn(Terminal) -> String) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    // What differs from run to run, and how old things are.
    settings.add_filter(r"(localhost|127\.0\.0\.1):\d{4,5}", "$1:PORT");
    settings.add_filter(r"screens-\d+-\d+", "CLUSTER");
    settings.add_filter(r"\((for|depuis) \d+\w+\)", "($1 AGE)");
    settings.add_filter(r"\b\d+ ms\b|\b\d+\.\d s\b", "TIME");
    settings.add_filter(
        r"hello-[a-z0-9]+-[a-z0-9]{5} (on|sur) node-\d +█+ \d+",
        "POD $1 NODE  SHARE",
    );
    settings.add_filter(r"hello-[a-z0-9]+-[a-z0-9]{5}\b", "POD");
    settings.add_filter(r"sha256:[0-9a-f]{12,64}", "sha256:DIGEST");
    settings.add_filter(r"\d+ (requests were answered|requêtes servies)", "SOME $1");
    settings.bind(|| {
        for language in ["en", "fr"] {
            let screen =
                [(80, true), (80, false), (120, true), (120, false)].map(|(columns, colour)| {
                    let look = if colour { "colour" } else { "plain" };
                    let screen = shown(Terminal {
                        columns,
                        colour,
                        language,
                    });
                    let plain = console::strip_ansi_codes(&screen);
                    let mut prose = plain.lines().filter(|line| !is_whole(line));
                    let wide =
                        prose.any(|line| console::measure_text_width(line) > usize::from(columns));
                    assert!(!wide, "wider than {columns}: {screen}");
                    assert_eq!(screen.contains('\u{1b}'), colour, "{screen:?}");
                    let screen = kept(&screen).replace('\u{1b}', "␛");
                    format!("=== {columns} columns, {look}\n{screen}")
                });
            insta::assert_snapshot!(format!("{name}_{language}"), screen.join("\n"));
        }
    });
}

/// A command of a script and a digest stay whole, to be copied.
fn is_whole(line: &str) -> bool {
    line.starts_with("  $ ") || line.starts_with("Pushed ")
}

/// A screen as it is.
fn as_it_is(screen: &str) -> String {
    screen.to_owned()
}

/// A time, or a bar.
fn is_figure(text: &str) -> bool {
    let is_time = text.ends_with(" ms") || text.ends_with(" s");
    (is_time && text.split(' ').count() == 2) || text.contains('█')
}

/// A screen with each paragraph below a check on one line: where it is broken depends on how long
/// the names of pods are.
fn with_whole_paragraphs(screen: &str) -> String {
    let mut whole = String::new();
    let mut goes_on = false;
    for line in screen.lines() {
        match line.strip_prefix("    ") {
            Some(rest) if goes_on && !is_figure(rest) => {
                whole.push(' ');
                whole.push_str(rest);
            }
            _ => {
                whole.push('\n');
                whole.push_str(line);
            }
        }
        goes_on = line.starts_with("    ");
    }
    format!("{}\n", whole.trim_start_matches('\n'))
}

#[test]
fn a_check_shows_what_holds_what_does_not_yet_and_what_could_not_be_looked_at() {
    needs!(Tool::Terminal);
    let lab = Lab::started("screens", &["3"]);
    let screens = |name, words| {
        screens(name, as_it_is, |terminal| {
            on_a_terminal(&lab, terminal, words)
        });
    };
    screens("a_step_in_its_lab", "lab show deploy/image");
    screens("a_check_that_holds", "check deploy/look");
    screens("a_check_that_does_not_hold_yet", "check deploy/image");
    screens("what_comes_next", "");
    lab.ok(&["stop"]);
    screens("a_check_that_could_not_run", "check deploy/look");
}

#[test]
fn a_watched_check_is_drawn_in_its_place() {
    needs!(Tool::Terminal);
    let lab = Lab::started("screens", &["3"]);
    screens(
        "a_watched_check_that_does_not_hold_yet",
        as_it_is,
        |terminal| drawn(&lab, terminal, "check --watch deploy/image", "Ctrl-C"),
    );
    screens("a_watched_check_that_holds", as_it_is, |terminal| {
        let words = "check --watch --until-holds deploy/look";
        let all = on_a_terminal(&lab, terminal, words);
        let (_, page) = all.rsplit_once("\u{1b}[J").expect("pages are drawn");
        page.to_owned()
    });
}

#[test]
fn a_tour_tells_what_it_does() {
    needs!(Tool::Terminal);
    let lab = Lab::new("tour");
    // The first lab of the core track stands for all of them.
    let labs = lab.file("labs");
    let content = Path::new(env!("CARGO_MANIFEST_DIR")).join("../labs/content");
    copy(&content.join(FIRST_LAB), &labs.join(FIRST_LAB));
    let name = &lab.name;
    screens("a_tour", with_whole_paragraphs, |terminal| {
        let words = format!("demo --engine process --name {name} --labs labs");
        on_a_terminal(&lab, terminal, &words)
    });
    screens("a_quick_tour", with_whole_paragraphs, |terminal| {
        let words = format!("demo --quick --engine process --name {name}");
        on_a_terminal(&lab, terminal, &words)
    });
}

const FIRST_LAB: &str = "00-meet-the-cluster";

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory can be made");
    for entry in std::fs::read_dir(from).expect("it can be read") {
        let entry = entry.expect("it can be read");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("a file can be copied");
        }
    }
}
