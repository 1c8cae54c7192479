//! A learner on her way through labs: what is next, hints, answers, files; and an author who
//! writes one.

use serde_json::Value;

use crate::lab::Lab;

/// A lab of one's own with questions, hints, files and an application, beside the test's files.
fn write_lab(lab: &Lab) -> String {
    let folder = lab.file("labs/01-own");
    for directory in ["solution", "files/notes"] {
        std::fs::create_dir_all(folder.join(directory)).expect("a directory can be made");
    }
    std::fs::create_dir_all(lab.file("labs/apps/own")).expect("a directory can be made");
    let files = [
        ("lab.yaml", LAB),
        (
            "en.md",
            "# Own\n\nIntro.\n\n## Ask {#ask}\n\nThink.\n\n## Nodes {#nodes}\n\nLook.\n\n## End {#end}\n\nDone.\n",
        ),
        (
            "fr.md",
            "# Own\n\nIntro.\n\n## Demander {#ask}\n\nPensez.\n\n## Nœuds {#nodes}\n\nRegardez.\n\n## Fin {#end}\n\nFini.\n",
        ),
        (
            "solution/ask.sh",
            "devops-lab answer labels 2\ndevops-lab answer count 3\n",
        ),
        ("solution/nodes.sh", "kubectl get nodes\n"),
        ("files/notes/todo.txt", "write"),
        ("../apps/own/app.js", "mine"),
    ];
    for (file, text) in files {
        std::fs::write(folder.join(file), text).expect("a file can be written");
    }
    lab.file("labs").display().to_string()
}

const LAB: &str = "apiVersion: devops-lab.dev/v1
kind: Lab
metadata: {name: own}
title: {en: My own, fr: Le mien}
minutes: 5
app: own
steps:
  - id: ask
    questions:
      - id: labels
        ask: {en: How does a Service find its pods?, fr: Comment un Service trouve-t-il ses pods ?}
        choice:
          - {en: By name, fr: Par le nom, why: {en: Names change., fr: Les noms changent.}}
          - {en: By labels, fr: Par les labels, correct: true, why: {en: Labels stay., fr: Les labels restent.}}
      - id: count
        ask: {en: How many nodes?, fr: Combien de nœuds ?}
        number: {value: 3}
    checks: [{use: answered}]
    hints:
      - {en: Think of labels., fr: Pensez aux labels.}
      - {when: answer-wrong, en: Another one., fr: Une autre.}
      - {en: It is the second., fr: C’est la deuxième.}
  - id: nodes
    activation: hold
    checks: [{use: nodes-ready, with: {atLeast: 2}}]
";

fn json(lab: &Lab, args: &[&str]) -> Value {
    let said = lab.devops_lab(&[args, &["-o", "json"]].concat());
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {said}"))
}

#[test]
fn a_lab_of_ones_own_is_followed_from_its_files_to_its_last_answer() {
    let mut lab = Lab::started("lessons", &["1"]);
    let labs = write_lab(&lab);
    lab.set("DEVOPS_LAB_LABS", &labs);

    let next = json(&lab, &["lab", "next"]);
    assert_eq!(
        (&next["lab"], &next["step"]),
        (&"own".into(), &"ask".into())
    );
    assert_eq!(next["given"], serde_json::json!(["notes", "own"]));
    let given = |file: &str| std::fs::read_to_string(lab.file(file)).unwrap_or_default();
    assert_eq!(
        (given("own/app.js"), given("notes/todo.txt")),
        ("mine".into(), "write".into())
    );
    let shown = lab.ok(&["lab", "next"]);
    assert!(
        shown.contains("2. By labels") && shown.contains("devops-lab answer labels"),
        "{shown}"
    );

    // Hints, one after the other.
    for (text, left) in [
        ("Think of labels.", 1),
        ("It is the second.", 0),
        ("It is the second.", 0),
    ] {
        let hint = json(&lab, &["hint"]);
        assert_eq!(hint["hints"][0]["text"], text, "{hint}");
        assert_eq!(hint["left"], left, "{hint}");
    }

    // A wrong answer, and what fits it.
    let said = lab.devops_lab(&["answer", "labels", "by name"]);
    assert!(
        said.code == Some(1) && said.stdout.contains("Names change."),
        "{said}"
    );
    assert_eq!(json(&lab, &["hint"])["hints"][0]["text"], "Another one.");
    let said = lab.devops_lab(&["answer", "count", "many"]);
    assert!(
        said.code == Some(1) && said.stderr.contains("not a number"),
        "{said}"
    );
    let said = lab.devops_lab(&["answer"]);
    assert!(
        said.code == Some(1) && said.stderr.contains("devops-lab answer labels VALUE"),
        "{said}"
    );

    // The right ones.
    let answer = json(&lab, &["answer", "labels", "2"]);
    assert_eq!(
        (&answer["right"], &answer["why"]),
        (&true.into(), &"Labels stay.".into())
    );
    lab.ok(&["answer", "count", "3", "--lang", "fr"]);
    lab.ok(&["check"]);
    let all = json(&lab, &["lab", "list"]);
    assert_eq!(all["labs"][0]["done"], 1, "{all}");
    assert_eq!(all["next"]["step"], "nodes");
}

#[test]
fn a_step_that_must_hold_is_open_again_when_it_no_longer_does() {
    let mut lab = Lab::started("holds", &["2"]);
    let labs = write_lab(&lab);
    lab.set("DEVOPS_LAB_LABS", &labs);
    let done = |lab: &Lab| json(lab, &["lab", "list"])["labs"][0]["steps"][1]["done"].clone();
    lab.ok(&["check", "own/nodes"]);
    assert_eq!(done(&lab), true);
    lab.ok(&["node", "remove", "node-2"]);
    let said = lab.devops_lab(&["check", "own/nodes"]);
    assert_eq!(said.code, Some(1), "{said}");
    assert_eq!(done(&lab), false);
}

#[test]
fn a_lab_that_changed_says_so_once() {
    let mut lab = Lab::started("changed", &["1"]);
    let labs = write_lab(&lab);
    lab.set("DEVOPS_LAB_LABS", &labs);
    lab.ok(&["lab", "next"]);
    let folder = lab.file("labs/01-own");
    for (file, from, to) in [
        ("lab.yaml", "id: nodes", "id: machines"),
        ("en.md", "{#nodes}", "{#machines}"),
        ("fr.md", "{#nodes}", "{#machines}"),
    ] {
        let text = std::fs::read_to_string(folder.join(file)).expect("it is there");
        std::fs::write(folder.join(file), text.replace(from, to)).expect("it can be written");
    }
    std::fs::rename(
        folder.join("solution/nodes.sh"),
        folder.join("solution/machines.sh"),
    )
    .expect("it can be renamed");
    let said = lab.devops_lab(&["lab", "list", "--lang", "fr"]);
    assert!(
        said.stderr.contains("ajouté : machines ; supprimé : nodes"),
        "{said}"
    );
    let said = lab.devops_lab(&["lab", "list"]);
    assert!(said.code == Some(0) && said.stderr.is_empty(), "{said}");
}

#[test]
fn devops_lab_alone_says_what_is_next() {
    let mut lab = Lab::in_private_home("welcome");
    assert!(lab.ok(&[]).contains("devops-lab start 3"));
    // To look at labs before there is a cluster leaves nothing behind.
    lab.ok(&["hint"]);
    assert!(lab.ok(&[]).contains("There is no cluster yet."));
    lab.start(&["1"]);
    let said = lab.ok(&[]);
    assert!(
        said.contains("Next comes the lab") && said.contains("devops-lab lab next"),
        "{said}"
    );
    lab.ok(&["lab", "next"]);
    lab.set("LANG", "fr_FR.UTF-8");
    let said = lab.ok(&[]);
    assert!(
        said.contains("Vous en êtes à") && said.contains("devops-lab check"),
        "{said}"
    );
    lab.ok(&["stop"]);
    assert!(lab.ok(&[]).contains("est arrêté"));
}

#[test]
fn an_author_is_told_every_fault_at_once_and_begins_without_any() {
    let lab = Lab::new("author");
    let labs = lab.file("labs").display().to_string();
    lab.ok(&["lab", "new", "mine", "--dir", &labs]);
    assert!(
        lab.ok(&["lab", "lint", &labs])
            .contains("1 lab, no problem")
    );
    let said = lab.devops_lab(&["lab", "new", "mine", "--dir", &labs]);
    assert!(
        said.code == Some(1) && said.stderr.contains("01-mine is there already"),
        "{said}"
    );
    let yaml = lab.file("labs/01-mine/lab.yaml");
    let text = std::fs::read_to_string(&yaml).expect("it is there");
    std::fs::write(&yaml, text.replace("app: hello", "app: helo")).expect("it can be written");
    std::fs::write(lab.file("labs/01-mine/solution/other.sh"), "").expect("it can be written");
    let said = lab.devops_lab(&["lab", "lint", &labs, "-o", "json"]);
    assert_eq!(said.code, Some(1), "{said}");
    let found: Value = serde_json::from_str(&said.stdout).expect("it is JSON");
    let problems = found["problems"].as_array().expect("they are listed");
    assert_eq!(problems.len(), 2, "{said}");
    assert_eq!(
        (&problems[0]["line"], &problems[0]["column"]),
        (&12.into(), &6.into()),
        "{said}"
    );
    assert_eq!(problems[0]["hint"], "did you mean hello?");
    let schema: Value = serde_json::from_str(&lab.ok(&["lab", "schema"])).expect("it is JSON");
    assert_eq!(schema["title"], "Lab");
    assert!(lab.ok(&["lab", "checks"]).contains("## `nodes-ready`"));
}
