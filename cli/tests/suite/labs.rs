//! The labs as a learner goes through them, and the proof that each can be done: every mistake
//! gets its diagnosis, every solution holds.

use std::path::{Path, PathBuf};

use lab_checks::library::Labs;
use serde_json::Value;

use crate::lab::{KUBECTL, Lab, SOON, run};
use crate::tools::{Tool, needs};
use crate::wait::wait_for;

/// A lab's scripts, run as its learner would type them.
struct Classroom<'a> {
    cluster: &'a Lab,
    lab: &'a lab_checks::lab::Lab,
}

impl Classroom<'_> {
    /// The verdict on a step, and what was found.
    fn check(&self, step: &str) -> (String, Vec<String>) {
        let target = format!("{}/{step}", self.lab.name);
        let said = self.cluster.devops_lab(&["check", &target, "-o", "json"]);
        let answer: Value = serde_json::from_str(&said.stdout)
            .unwrap_or_else(|error| panic!("check is not JSON ({error}): {said}"));
        let checks = answer["steps"][0]["checks"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let id = |check: &Value| {
            check["diagnosis"]["id"]
                .as_str()
                .or(check["why"]["id"].as_str())
                .map(str::to_owned)
        };
        let verdict = answer["verdict"].as_str().unwrap_or_default().to_owned();
        (verdict, checks.iter().filter_map(id).collect())
    }

    /// Runs `solution/look.sh` and its like beside the lab's files.
    fn script(&self, script: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../labs/content")
            .join(&self.lab.folder)
            .join(script);
        let mut command = self.cluster.command("sh");
        command
            .arg(path)
            .env("PATH", self.path())
            .env("DEVOPS_LAB_REGISTRY", self.cluster.address("registry"))
            .env("DEVOPS_LAB_PRODUCTION", self.cluster.address("production"));
        run(command).succeeded(script);
    }

    /// `devops-lab` and `kubectl` by the names that scripts use.
    fn path(&self) -> String {
        let programs = self.cluster.file("bin");
        std::fs::create_dir_all(&programs).expect("a test's directory can be made");
        let own = PathBuf::from(self.cluster.program(&[]).get_program());
        let path = std::env::var("PATH").unwrap_or_default();
        let kubectl =
            std::env::split_paths(&path).map(|place| place.join(format!("kubectl-{KUBECTL}")));
        let kubectl = kubectl
            .into_iter()
            .find(|kubectl| kubectl.exists())
            .expect("kubectl is there");
        for (name, target) in [("devops-lab", own), ("kubectl", kubectl)] {
            // It may be there from an earlier script.
            let _ = std::os::unix::fs::symlink(target, programs.join(name));
        }
        format!("{}:{path}", programs.display())
    }

    fn mistakes_and_solution(&self, step: &str) {
        for mistake in self
            .lab
            .mistakes
            .iter()
            .filter(|mistake| mistake.step == step)
        {
            self.script(&format!("mistakes/{}.sh", mistake.id));
            wait_for(
                &format!("mistake {} is diagnosed", mistake.id),
                SOON,
                || {
                    let (verdict, found) = self.check(step);
                    assert_eq!(
                        verdict, "not-yet",
                        "mistake {} passes: {found:?}",
                        mistake.id
                    );
                    if found.contains(&mistake.diagnosis) {
                        Ok(())
                    } else {
                        Err(format!("{found:?}"))
                    }
                },
            );
        }
        self.script(&format!("solution/{step}.sh"));
        wait_for(
            &format!("the solution of {step} holds"),
            SOON,
            || match self.check(step) {
                (verdict, _) if verdict == "holds" => Ok(()),
                (verdict, found) => Err(format!("{verdict} {found:?}")),
            },
        );
    }
}

#[test]
fn every_mistake_of_a_lab_gets_its_diagnosis_and_every_solution_holds() {
    needs!(Tool::Kubectl(KUBECTL));
    let labs = Labs::embedded().expect("the labs are sound");
    for lab in labs.iter() {
        let cluster = Lab::started("labs", &["3"]);
        cluster.ok(&["lab", "next"]);
        // Scripts call kubectl by itself, as a learner does after `eval "$(devops-lab env)"`.
        cluster.ok(&["env"]);
        let classroom = Classroom {
            cluster: &cluster,
            lab,
        };
        for (at, step) in lab.steps.iter().enumerate() {
            // The first step of a lab may be to look at what is there already.
            let (verdict, found) = classroom.check(&step.id);
            assert!(
                at == 0 || verdict == "not-yet",
                "{} holds before it was done: {found:?}",
                step.id
            );
            classroom.mistakes_and_solution(&step.id);
        }
        let all = cluster.ok(&["lab", "list"]);
        assert!(all.contains(&format!("{0}/{0}", lab.steps.len())), "{all}");
    }
}

#[test]
fn a_lab_hands_its_files_out_once_and_in_the_learners_words() {
    let mut lab = Lab::started("files", &["1"]);
    lab.set("LANG", "fr_FR.UTF-8");
    let said = lab.ok(&["lab", "next"]);
    assert!(
        said.contains("Faire connaissance avec le cluster") && said.contains("./hello"),
        "{said}"
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
        said.contains("Meet your cluster") && !said.contains("./hello"),
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
            "there are: deploy-three-replicas",
        ),
        (&["lab", "show", "deploy/nothing"][..], "it has: look"),
        (
            &["check", "nothing"][..],
            "there are: deploy-three-replicas",
        ),
        (&["lab", "list", "--lang", "de"][..], "in en and fr"),
    ] {
        let said = lab.devops_lab(args);
        assert!(
            said.code == Some(1) && said.stderr.contains(expected),
            "{args:?}: {said}"
        );
    }
}
