//! What a learner sees, as reviewed screens: on terminals of 80 and of 120 columns, with and
//! without colour, in both languages.

use std::process::Command;

use crate::lab::{Lab, run};
use crate::tools::{Tool, needs};

/// A command of the program on a terminal of its own, which `script` makes.
fn on_a_terminal(lab: &Lab, columns: u16, colour: bool, language: &str, words: &str) -> String {
    let program = lab.program(&[]).get_program().to_owned();
    let line = format!(
        "stty cols {columns} rows 50; {} {words} --lang {language}",
        program.to_string_lossy()
    );
    let mut command: Command = lab.command("script");
    command
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("TERM", "xterm-256color");
    if !colour {
        command.env("NO_COLOR", "1");
    }
    run(command).stdout.replace("\r\n", "\n")
}

/// Each screen at every width, in colour and without, in every language.
fn screens(lab: &Lab, name: &str, words: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    // What differs from run to run, and how old things are.
    settings.add_filter(r"(localhost|127\.0\.0\.1):\d{4}", "$1:PORT");
    settings.add_filter(r"\((for|depuis) \d+\w+\)", "($1 AGE)");
    settings.bind(|| {
        for language in ["en", "fr"] {
            let screen =
                [(80, true), (80, false), (120, true), (120, false)].map(|(columns, colour)| {
                    let look = if colour { "colour" } else { "plain" };
                    let screen = on_a_terminal(lab, columns, colour, language, words);
                    let wide = console::strip_ansi_codes(&screen)
                        .lines()
                        .any(|line| console::measure_text_width(line) > usize::from(columns));
                    assert!(!wide, "wider than {columns}: {screen}");
                    assert_eq!(screen.contains('\u{1b}'), colour, "{screen:?}");
                    format!(
                        "=== {columns} columns, {look}\n{}",
                        screen.replace('\u{1b}', "␛")
                    )
                });
            insta::assert_snapshot!(format!("{name}_{language}"), screen.join("\n"));
        }
    });
}

#[test]
fn a_check_shows_what_holds_what_does_not_yet_and_what_could_not_be_looked_at() {
    needs!(Tool::Terminal);
    let lab = Lab::started("screens", &["3"]);
    screens(&lab, "a_step_in_its_lab", "lab show deploy/image");
    screens(&lab, "a_check_that_holds", "check deploy/look");
    screens(&lab, "a_check_that_does_not_hold_yet", "check deploy/image");
    lab.ok(&["stop"]);
    screens(&lab, "a_check_that_could_not_run", "check deploy/look");
}
