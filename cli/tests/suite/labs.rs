//! The labs as a learner goes through them, and `lab test` with labs that are wrong. The proof of
//! those that are right is in `proofs.rs`.

use std::process::Stdio;

use serde_json::Value;

use crate::lab::{Lab, SOON};
use crate::wait::wait_for;

/// A lab of one step, whose check is that the registry has an image, with what is wrong with it.
fn write_lab(lab: &Lab, name: &str, yaml: &str, scripts: &[(&str, &str)]) {
    let root = lab.file("labs").join(format!("01-{name}"));
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a file is in a directory"))
            .expect("a directory can be made");
        std::fs::write(path, text).expect("a file can be written");
    };
    let head = format!(
        "apiVersion: devops-lab.dev/v1\nkind: Lab\nmetadata: {{name: {name}}}\ntitle: {{en: T, fr: T}}\nminutes: 5\napp: hello\n"
    );
    write("lab.yaml", &format!("{head}{yaml}"));
    for language in ["en", "fr"] {
        let prose = "# T\n\nIntro.\n\n## Step {#one}\n\nDo.\n";
        write(&format!("{language}.md"), prose);
    }
    for (path, text) in scripts {
        write(path, text);
    }
}

const ONE_STEP: &str = "steps:
  - id: one
    checks:
      - use: image-in-registry
        with: {image: \"{{registry}}/hello:1.0.0\"}
mistakes:
  - {id: other, step: one, diagnosis: tag-never-pushed}
";
const PUSH: &str =
    "set -eu\ndevops-lab image build -t \"$DEVOPS_LAB_REGISTRY/hello:1.0.0\" --push hello\n";
const PUSH_OTHER: &str =
    "set -eu\ndevops-lab image build -t \"$DEVOPS_LAB_REGISTRY/hello:2\" --push hello\n";

/// Proves a lab that is wrong; what was found, and whether anything is left of it.
#[track_caller]
fn refuted(yaml: &str, scripts: &[(&str, &str)], expected: &[(&str, &str, &str)]) {
    let lab = Lab::in_private_home("refuted");
    write_lab(&lab, "wrong", yaml, scripts);
    let labs = lab.file("labs").display().to_string();
    let said = lab.devops_lab(&["lab", "test", "--all", "--labs", &labs, "-o", "json"]);
    let answer: Value = serde_json::from_str(&said.stdout)
        .unwrap_or_else(|error| panic!("lab test gave no JSON ({error}): {said}"));
    assert_eq!(
        (said.code, &answer["passed"]),
        (Some(1), &Value::Bool(false))
    );
    let text = |failure: &Value, key: &str| failure[key].as_str().unwrap_or_default().to_owned();
    let failures = answer["labs"][0]["failures"].as_array().cloned();
    let found: Vec<_> = failures
        .iter()
        .flatten()
        .map(|failure| {
            (
                text(failure, "place"),
                text(failure, "observed"),
                text(failure, "evidence"),
            )
        })
        .collect();
    assert_eq!(found.len(), expected.len(), "{said}");
    for ((place, observed, evidence), (at, seen, told)) in found.iter().zip(expected) {
        assert_eq!(place, at, "{said}");
        assert!(observed.contains(seen) && evidence.contains(told), "{said}");
    }
}

#[test]
fn a_lab_whose_mistake_passes_or_whose_step_holds_already_is_refuted() {
    refuted(
        ONE_STEP,
        &[
            ("start.sh", PUSH),
            ("mistakes/other.sh", PUSH_OTHER),
            ("solution/one.sh", PUSH),
        ],
        &[
            ("one", "holds", "image-in-registry"),
            ("mistakes/other.sh", "holds", "image-in-registry"),
        ],
    );
}

#[test]
fn a_lab_whose_script_fails_is_refuted_with_what_the_script_said() {
    refuted(
        ONE_STEP,
        &[
            ("mistakes/other.sh", PUSH_OTHER),
            ("solution/one.sh", "echo pushed nothing >&2\nexit 7\n"),
        ],
        &[("solution/one.sh", "exit code 7", "pushed nothing")],
    );
}

#[test]
fn a_lab_hands_its_files_out_once_and_in_the_learners_words() {
    let mut lab = Lab::started("files", &["1"]);
    lab.set("LANG", "fr_FR.UTF-8");
    let said = lab.ok(&["lab", "next"]);
    assert!(
        said.contains("Trois machines") && said.contains("./hello"),
        "{said}"
    );
    assert!(
        said.contains("au départ de ce lab") && said.contains("lab goto meet-the-cluster"),
        "how the lab begins is not said: {said}"
    );
    assert!(
        !said.contains('\u{1b}'),
        "colour where there is no terminal: {said:?}"
    );
    assert!(
        said.lines().all(|line| line.chars().count() <= 80),
        "{said}"
    );
    let manifest = lab.file("hello/k8s/deployment.yaml");
    let text = std::fs::read_to_string(&manifest).expect("the manifest is handed out");
    assert!(
        text.contains(&format!("image: {}/hello:1.0.0", lab.address("registry"))),
        "{text}"
    );

    lab.write("hello/k8s/deployment.yaml", "mine");
    let said = lab.ok(&["lab", "next", "--lang", "en"]);
    assert!(
        said.contains("Three machines") && !said.contains("./hello"),
        "{said}"
    );
    assert_eq!(
        std::fs::read_to_string(&manifest).expect("it is there"),
        "mine"
    );
}

#[test]
fn the_exit_code_tells_not_yet_from_could_not_run() {
    let lab = Lab::new("codes");
    let said = lab.devops_lab(&["check"]);
    assert_eq!(said.code, Some(3), "{said}");
    assert!(said.stdout.contains("devops-lab start 3"), "{said}");

    lab.start(&["1"]);
    let said = lab.devops_lab(&["check", "deploy/look"]);
    assert_eq!(said.code, Some(1), "{said}");
    assert!(
        said.stdout.contains("✗ nodes-ready") && said.stdout.contains("1 of 3"),
        "{said}"
    );

    lab.start(&["3"]);
    let said = lab.devops_lab(&["check", "deploy/look"]);
    assert_eq!(said.code, Some(0), "{said}");
    assert!(
        said.stdout.contains("✓ nodes-ready") && said.stdout.contains("lab next"),
        "{said}"
    );

    lab.ok(&["stop"]);
    let said = lab.devops_lab(&["check", "deploy/look"]);
    assert_eq!(said.code, Some(3), "{said}");
    assert!(
        said.stdout.contains("! nodes-ready") && said.stdout.contains("is the cluster running?"),
        "{said}"
    );
    // What was done once stays done.
    assert!(lab.ok(&["lab", "list"]).contains("1/"), "{said}");
}

#[test]
fn a_lab_or_step_that_does_not_exist_is_named_with_those_that_do() {
    let lab = Lab::new("names");
    for (args, expected) in [
        (
            &["lab", "show", "nothing"][..],
            "there are: meet-the-cluster",
        ),
        (&["lab", "show", "deploy/nothing"][..], "it has: look"),
        (&["check", "nothing"][..], "there are: meet-the-cluster"),
        (&["lab", "list", "--lang", "de"][..], "in en and fr"),
    ] {
        let said = lab.devops_lab(args);
        assert!(
            said.code == Some(1) && said.stderr.contains(expected),
            "{args:?}: {said}"
        );
    }
}

#[test]
fn the_tour_goes_through_the_labs_by_their_solutions_and_leaves_nothing() {
    let lab = Lab::new("tour");
    let scripts = [("mistakes/other.sh", PUSH_OTHER), ("solution/one.sh", PUSH)];
    write_lab(&lab, "tiny", ONE_STEP, &scripts);
    let labs = lab.file("labs").display().to_string();
    let tour = [
        "demo", "--engine", "process", "--name", &lab.name, "--labs", &labs,
    ];
    // As in the next test, a port may be gone before it is used.
    let said = wait_for("the tour ends well", SOON, || {
        let said = lab.devops_lab(&[&tour[..], &["--lang", "fr"]].concat());
        let well = said.code == Some(0);
        well.then(|| said.stdout.clone()).ok_or(said.to_string())
    });
    for expected in [
        "Le parcours principal, 1 lab,",
        "1/1  Step",
        "$ devops-lab image build",
        "✓ image-in-registry",
        "La visite a duré",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(!lab.home_of_cluster().exists(), "{said}");
}

#[test]
fn a_tour_that_is_interrupted_leaves_nothing() {
    let lab = Lab::new("stopped-tour");
    let endless = "echo begun > \"$HOME/begun\"\nsleep 1000\n";
    let scripts = [
        ("mistakes/other.sh", PUSH_OTHER),
        ("solution/one.sh", endless),
    ];
    write_lab(&lab, "tiny", ONE_STEP, &scripts);
    let labs = lab.file("labs").display().to_string();
    let begin = || {
        let mut tour = lab.program(&[
            "demo", "--engine", "process", "--name", &lab.name, "--labs", &labs,
        ]);
        let tour = tour.stdout(Stdio::null()).spawn();
        tour.expect("the program runs")
    };
    let mut tour = begin();
    wait_for("the solution runs", SOON, || {
        if let Ok(Some(ended)) = tour.try_wait() {
            // `lab test` of another test has a home of its own, and may have taken a port between
            // the tour's choice of it and its use.
            tour = begin();
            return Err(format!("it ended: {ended}"));
        }
        let begun = lab.file("begun").exists();
        begun.then_some(()).ok_or_else(|| "not yet".to_owned())
    });
    crate::process::interrupt(tour.id());
    let ended = tour.wait().expect("a child can be waited for");
    assert_eq!(ended.code(), Some(130));
    assert!(!lab.home_of_cluster().exists());
    let of_it = format!("DEVOPS_LAB_CLUSTER={}", lab.name);
    let left = crate::process::all();
    let left = left.iter().filter(|process| process.contains(&of_it));
    assert_eq!(left.count(), 0, "what a script began goes on");
}
