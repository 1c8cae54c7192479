//! The proof of labs by `lab test`, on both engines: every mistake gets its diagnosis and never
//! passes, every solution holds, twice. Here of those that wait for nothing but their cluster; of
//! all of them in `.ci/run`.
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

use std::sync::{Mutex, PoisonError};

use lab_checks::library::Labs;
use serde_json::Value;

use lab::{KUBECTL, Lab, Said, path_with_kubectl};
use tools::{Tool, needs};

/// One engine after the other.
static ALONE: Mutex<()> = Mutex::new(());
/// Labs at a time.
const JOBS: &str = "2";

/// Runs `lab test`; what it answered, as JSON.
fn prove(engine: &str, args: &[&str]) -> (Said, Value) {
    let mut lab = Lab::in_private_home("proof");
    lab.set("PATH", &path_with_kubectl(&lab));
    let said = lab.devops_lab(&[&["lab", "test", "--engine", engine, "-o", "json"], args].concat());
    let answer = serde_json::from_str(&said.stdout)
        .unwrap_or_else(|error| panic!("lab test gave no JSON ({error}): {said}"));
    (said, answer)
}

fn are_proved(engine: &str, names: &[&str]) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (said, answer) = prove(engine, &[names, &["--jobs", JOBS, "--again"]].concat());
    assert!(said.code == Some(0) && answer["passed"] == true, "{said}");
    let proved = answer["labs"].as_array().expect("labs are listed");
    assert_eq!(proved.len(), names.len(), "{said}");
    let labs = Labs::embedded().expect("the labs are sound");
    for (name, proved) in names.iter().zip(proved) {
        assert_eq!(proved["lab"], *name);
        let lab = labs.iter().find(|lab| lab.name == *name);
        is_whole(lab.expect("the lab exists"), proved, &said);
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
    are_proved("process", &["your-first-change", "deploy-three-replicas"]);
}

#[test]
fn labs_are_proved_on_docker_too() {
    needs!(Tool::Kubectl(KUBECTL), Tool::Docker);
    are_proved("docker", &["containerize"]);
}
