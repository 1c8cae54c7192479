//! The proof of every lab by `lab test`, on both engines: every mistake gets its diagnosis and
//! never passes, every solution holds, twice.
//!
//! A program of its own, which cargo runs after the suite: labs measure what users feel, and
//! should not share the machine with a hundred other tests.

#![allow(dead_code, reason = "the suite's helpers, of which this needs a few")]

#[path = "suite/app.rs"]
mod app;
#[path = "suite/http.rs"]
mod http;
#[path = "suite/lab.rs"]
mod lab;
#[path = "suite/process.rs"]
mod process;
#[path = "suite/tools.rs"]
mod tools;
#[path = "suite/wait.rs"]
mod wait;

use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use lab_checks::library::Labs;
use serde_json::Value;

use lab::{KUBECTL, Lab, Said, path_with_kubectl};
use tools::{Tool, needs};

/// One engine after the other.
static ALONE: Mutex<()> = Mutex::new(());
/// Labs at a time: they wait more than they work.
const JOBS: &str = "3";

/// Runs `lab test`; what it answered, as JSON.
fn prove(engine: &str, args: &[&str]) -> (Said, Value) {
    let mut lab = Lab::in_private_home("proof");
    lab.set("PATH", &path_with_kubectl(&lab));
    let said = lab.devops_lab(&[&["lab", "test", "--engine", engine, "-o", "json"], args].concat());
    let answer = serde_json::from_str(&said.stdout)
        .unwrap_or_else(|error| panic!("lab test gave no JSON ({error}): {said}"));
    (said, answer)
}

fn every_lab_is_proved(engine: &str) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (said, answer) = prove(engine, &["--all", "--jobs", JOBS]);
    let proved = answer["labs"].as_array().expect("labs are listed");
    let labs = Labs::embedded().expect("the labs are sound");
    assert_eq!(proved.len(), labs.iter().count(), "{said}");
    for (lab, proved) in labs.iter().zip(proved) {
        assert_eq!(proved["lab"], lab.name);
        if proved["failures"].as_array().is_some_and(Vec::is_empty) {
            is_whole(lab, proved, &said);
            continue;
        }
        // A lab that counts seconds may run out of them beside others; alone it must hold.
        let _ = writeln!(
            std::io::stderr(),
            "{} is proved once more, alone: {proved:#}",
            lab.name
        );
        let (said, answer) = prove(engine, &[&lab.name, "--jobs", "1"]);
        assert!(said.code == Some(0) && answer["passed"] == true, "{said}");
        is_whole(lab, &answer["labs"][0], &said);
    }
}

/// All its steps and mistakes were seen, twice each.
fn is_whole(lab: &lab_checks::lab::Lab, proved: &Value, said: &Said) {
    assert_eq!(proved["steps"], 2 * lab.steps.len(), "{said}");
    assert_eq!(proved["mistakes"], 2 * lab.mistakes.len(), "{said}");
}

#[test]
fn every_mistake_of_a_lab_gets_its_diagnosis_and_every_solution_holds() {
    needs!(Tool::Kubectl(KUBECTL));
    every_lab_is_proved("process");
}

#[test]
fn labs_are_proved_on_docker_too() {
    needs!(Tool::Kubectl(KUBECTL), Tool::Docker);
    every_lab_is_proved("docker");
}
