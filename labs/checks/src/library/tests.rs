//! Whole folders of labs, sound and spoilt.

use std::collections::BTreeMap;
use std::fs;

use super::*;
use crate::language::Language;

const YAML: &str = "apiVersion: devops-lab.dev/v1
kind: Lab
metadata:
  name: sample
title: {en: Sample, fr: Exemple}
minutes: 5
steps:
  - id: look
    checks:
      - use: nodes-ready
        with: {atLeast: 3}
    hints:
      - {en: Wait., fr: Attendez., when: nodes-not-ready}
";
const PROSE: &str = "# T\n\nIntro.\n\n## Look {#look}\n\nLook.\n";

fn files(changes: &[(&str, &str)]) -> Source {
    let mut files = BTreeMap::from([
        ("01-sample/lab.yaml".to_owned(), YAML.to_owned()),
        ("01-sample/en.md".to_owned(), PROSE.to_owned()),
        ("01-sample/fr.md".to_owned(), PROSE.to_owned()),
        ("01-sample/solution/look.sh".to_owned(), String::new()),
    ]);
    for (file, text) in changes {
        files.insert((*file).to_owned(), (*text).to_owned());
    }
    Source::Files(files)
}

fn read(changes: &[(&str, &str)]) -> Result<Labs, Problems> {
    let source = files(changes);
    let folders = source.folders();
    Labs::read(source, &folders)
}

/// Everything that is found in the sample with changes.
fn lint(changes: &[(&str, &str)]) -> Vec<String> {
    let source = files(changes);
    let found = Labs::lint_all(&source, &source.folders());
    let problems = found.map_or_else(|problems| problems.0, |_| Vec::new());
    problems.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn case(file: &str, text: &str, expected: &str) {
    let problems = read(&[(file, text)]).unwrap_err().to_string();
    assert!(problems.contains(expected), "{problems}");
}

#[track_caller]
fn yaml(from: &str, to: &str, expected: &str) {
    assert!(YAML.contains(from), "{from}");
    case("01-sample/lab.yaml", &YAML.replacen(from, to, 1), expected);
}

#[test]
fn a_lab_is_read_with_its_prose() {
    let labs = read(&[]).unwrap();
    let lab = labs.get("sam").unwrap();
    assert_eq!(
        (lab.folder.as_str(), lab.minutes, lab.title.fr.as_str()),
        ("01-sample", 5, "Exemple")
    );
    let step = lab.step("look").unwrap();
    assert_eq!(
        (step.heading.en.as_str(), step.prose.fr.as_str()),
        ("Look", "Look.")
    );
    assert_eq!(step.hints[0].when.as_deref(), Some("nodes-not-ready"));
}

#[test]
fn faults_of_the_structure_have_a_line_and_a_column() {
    yaml(
        "nodes-ready",
        "nodes-redy",
        "01-sample/lab.yaml:10:14: there is no check \"nodes-redy\"; did you mean nodes-ready?",
    );
    yaml(
        "{atLeast: 3}",
        "{atLest: 3}",
        "01-sample/lab.yaml:10:14: check \"nodes-ready\": unknown field `atLest`",
    );
    yaml(
        "nodes-not-ready",
        "nodes-not-redy",
        ":13:42: there is no diagnosis \"nodes-not-redy\"; did you mean nodes-not-ready?",
    );
    yaml(
        "id: look",
        "id: Look",
        ":8:9: a step's id \"Look\" is not made of",
    );
    yaml(
        "minutes: 5",
        "minutes: 0",
        ":6:10: a lab takes at least a minute",
    );
    yaml("minutes: 5", "minuten: 5", ":6:1: unknown field");
    yaml("minutes: 5", "minutes: soon", ":6:10: ");
    yaml(
        "kind: Lab",
        "kind: Cluster",
        ":2:7: kind is \"Cluster\" where \"Lab\" is expected",
    );
    yaml("steps:", "steps: [", "01-sample/lab.yaml:");
}

#[test]
fn a_newer_format_gets_a_kind_word() {
    yaml(
        "devops-lab.dev/v1",
        "devops-lab.dev/v2\nnovelty: 1",
        ":1:13: this lab is written in format \"devops-lab.dev/v2\"; this devops-lab reads \"devops-lab.dev/v1\"; a newer lab needs a newer devops-lab",
    );
}

#[test]
fn both_languages_must_tell_every_step() {
    case(
        "01-sample/fr.md",
        "# T\n",
        "01-sample/fr.md: step \"look\" has no section; add `## Heading {#look}`",
    );
    case(
        "01-sample/en.md",
        "# T\n\n## L {#loook}\n",
        "01-sample/en.md:3:1: lab.yaml has no step \"loook\"; did you mean look?",
    );
}

#[test]
fn a_directory_of_labs_is_read_like_the_embedded_ones() {
    let content = Path::new(env!("CARGO_MANIFEST_DIR")).join("../content");
    let (read, embedded) = (Labs::from_dir(&content).unwrap(), Labs::embedded().unwrap());
    assert!(read.iter().eq(embedded.iter()));
    for lab in embedded.iter() {
        assert_eq!(read.given_files(lab), embedded.given_files(lab));
        let step = lab.steps.iter().find(|step| !step.checks.is_empty());
        let name = format!("solution/{}.sh", step.unwrap().id);
        assert_eq!(read.script(lab, &name), embedded.script(lab, &name));
        assert!(read.script(lab, &name).is_some(), "{name}");
    }
    assert!(
        Labs::embedded()
            .unwrap()
            .get("deploy-three-replicas")
            .is_some()
    );
    let nothing = Labs::from_dir(Path::new("/nonexistent"))
        .unwrap_err()
        .to_string();
    assert!(
        nothing.starts_with("/nonexistent: cannot be read"),
        "{nothing}"
    );
}

#[test]
fn files_of_a_lab_are_given_by_their_place_in_the_learners_directory() {
    let root = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| {
        let path = root.path().join("01-sample").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put("lab.yaml", YAML);
    put("en.md", PROSE);
    put("fr.md", PROSE);
    put("solution/look.sh", "exit 0");
    put("files/hello/ci/pipeline.yml", "a");
    put("files/b.txt", "b");
    let labs = Labs::from_dir(root.path()).unwrap();
    let lab = labs.get("sample").unwrap();
    let given = labs.given_files(lab);
    let paths: Vec<_> = given.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["b.txt", "hello/ci/pipeline.yml"]);
    assert_eq!(given[1].content, b"a");
    assert_eq!(labs.script(lab, "solution/look.sh").unwrap(), "exit 0");
    assert_eq!(labs.script(lab, "start.sh"), None);
}

#[test]
fn hints_and_prose_exist_in_both_languages() {
    for lab in Labs::embedded().unwrap().iter() {
        for language in Language::ALL {
            assert!(
                !lab.intro.get(language).is_empty() && !lab.ending.get(language).is_empty(),
                "{}",
                lab.name
            );
            for step in &lab.steps {
                assert!(
                    !step.prose.get(language).is_empty(),
                    "{} {language}",
                    step.id
                );
                assert!(
                    step.hints
                        .iter()
                        .all(|hint| !hint.text.get(language).is_empty()),
                    "{}",
                    step.id
                );
            }
        }
    }
}

#[test]
fn what_this_program_brings_is_free_of_faults() {
    let content = Path::new(env!("CARGO_MANIFEST_DIR")).join("../content");
    for path in [None, Some(content.as_path())] {
        let found = Labs::lint(path).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(found.contains(&"04-deploy-three-replicas".to_owned()));
    }
}

#[test]
fn a_sound_lab_has_no_problem() {
    assert_eq!(lint(&[]), Vec::<String>::new());
}

/// A change of `lab.yaml`, and all that is said about it.
#[track_caller]
fn fault(from: &str, to: &str, expected: &[&str]) {
    assert!(YAML.contains(from), "{from}");
    let yaml = YAML.replacen(from, to, 1);
    assert_eq!(lint(&[("01-sample/lab.yaml", &yaml)]), expected);
}

#[test]
fn all_faults_are_told_at_once() {
    let yaml = YAML
        .replace("minutes: 5", "minutes: 0\napp: helo")
        .replace("nodes-not-ready", "nodes-not-redy");
    let found = lint(&[
        ("01-sample/lab.yaml", &yaml),
        (
            "01-sample/fr.md",
            "# T\n\n## Voir {#voir}\n\n{{registri}}\n",
        ),
        ("01-sample/mistakes/lost.sh", ""),
    ]);
    assert_eq!(
        found,
        [
            "01-sample/fr.md: step \"look\" has no section; add `## Heading {#look}`",
            "01-sample/fr.md:3:1: lab.yaml has no step \"voir\"",
            "01-sample/fr.md:5:1: there is no placeholder {{registri}}; did you mean {{registry}}?",
            "01-sample/lab.yaml:6:10: a lab takes at least a minute",
            "01-sample/lab.yaml:7:6: there is no application \"helo\"; did you mean hello?",
            "01-sample/lab.yaml:14:42: there is no diagnosis \"nodes-not-redy\"; did you mean nodes-not-ready?",
            "01-sample/mistakes/lost.sh: lab.yaml has no mistake \"lost\" that this could belong to; declare it there or remove the file",
        ]
    );
}

#[test]
fn scripts_and_declarations_must_belong_together() {
    let start = "start:\n  checks: [{use: nodes-ready}]\nsteps:";
    fault(
        "steps:",
        start,
        &[
            "01-sample/lab.yaml:8:3: start.sh is missing; write what brings about what start.checks ask for",
        ],
    );
    fault(
        "steps:",
        "mistakes:\n  - {id: one-node, step: look, diagnosis: too-few-nodes}\nsteps:",
        &["01-sample/lab.yaml:8:10: mistakes/one-node.sh is missing; write how it goes wrong"],
    );
    fault(
        "id: look",
        "id: glance",
        &[
            "01-sample/en.md: step \"glance\" has no section; add `## Heading {#glance}`",
            "01-sample/en.md:5:1: lab.yaml has no step \"look\"",
            "01-sample/fr.md: step \"glance\" has no section; add `## Heading {#glance}`",
            "01-sample/fr.md:5:1: lab.yaml has no step \"look\"",
            "01-sample/lab.yaml:8:9: solution/glance.sh is missing; write how the step is done",
            "01-sample/solution/look.sh: lab.yaml has no step \"look\" that this could belong to; declare it there or remove the file",
        ],
    );
}

#[test]
fn an_application_and_its_versions_must_exist() {
    fault(
        "minutes: 5",
        "minutes: 5\napp: hello\nversions: [\"2.0.0\"]",
        &[],
    );
    fault(
        "minutes: 5",
        "minutes: 5\napp: hello\nversions: [\"2.9.0\"]",
        &[
            "01-sample/lab.yaml:8:12: application \"hello\" has no version \"2.9.0\"; it has: 1.0.0, 2.0.0, 2.0.1",
        ],
    );
    fault(
        "minutes: 5",
        "minutes: 5\nversions: [\"2.9.0\"]",
        &["01-sample/lab.yaml:7:12: there are versions but no app; name it in `app:`"],
    );
    let yaml = YAML.replace("minutes: 5", "minutes: 5\napp: mine");
    let own = [
        ("01-sample/lab.yaml", yaml.as_str()),
        ("apps/mine/app.js", ""),
    ];
    assert_eq!(lint(&own), Vec::<String>::new(), "an author's own");
}

#[test]
fn prerequisites_are_labs_that_come_before() {
    fault(
        "minutes: 5",
        "minutes: 5\nprerequisites: [deploy-three-replicas]",
        &[],
    );
    fault(
        "minutes: 5",
        "minutes: 5\nprerequisites: [deploy-tree-replicas]",
        &[
            "01-sample/lab.yaml:7:17: the prerequisite \"deploy-tree-replicas\" is no lab; did you mean deploy-three-replicas?",
        ],
    );
    fault(
        "minutes: 5",
        "minutes: 5\nprerequisites: [sample]",
        &[
            "01-sample/lab.yaml:7:17: the prerequisite \"sample\" does not come before the lab; labs come in the order of their folders",
        ],
    );
}

#[test]
fn questions_are_answerable_and_looked_at() {
    let ask = |form: &str| {
        format!("id: look\n    questions:\n      - {{id: q, ask: {{en: A?, fr: A ?}}, {form}}}")
    };
    let unseen = "01-sample/lab.yaml:10:14: nothing looks at the answers of step \"look\"; add the check `use: answered`";
    fault("id: look", &ask("text: [a]"), &[unseen]);
    fault(
        "id: look",
        &ask("choice: [{en: a, fr: a}]"),
        &[
            "01-sample/lab.yaml:10:14: question \"q\" has not one right choice; mark one with `correct: true`",
            "01-sample/lab.yaml:10:14: question \"q\" leaves no choice",
            unseen,
        ],
    );
    fault(
        "id: look",
        &ask("number: {value: 1}, text: []"),
        &[
            "01-sample/lab.yaml:10:14: question \"q\" has not one form of answer; give it one of choice, number, text, recorded",
            "01-sample/lab.yaml:10:14: question \"q\" has no right answer",
            unseen,
        ],
    );
}

#[test]
fn causes_of_a_labs_own_need_a_check_that_looks_for_them_and_an_id_of_their_own() {
    fault(
        "with: {atLeast: 3}",
        "with: {atLeast: 3}\n        causes: [{id: missing, en: a, fr: \"\"}]",
        &[
            "01-sample/lab.yaml:12:23: cause \"missing\" says nothing in fr",
            "01-sample/lab.yaml:12:23: \"missing\" is a diagnosis of devops-lab itself; call it otherwise, so that a hint can tell them apart",
            "01-sample/lab.yaml:12:23: check \"nodes-ready\": it names its causes itself; \"missing\" would never be found",
        ],
    );
}

/// Prose of the only step, and all that is said about it.
#[track_caller]
fn said(text: &str, expected: &[&str]) {
    let prose = PROSE.replace("Look.", text);
    assert_eq!(lint(&[("01-sample/en.md", &prose)]), expected, "{text}");
}

#[test]
fn links_lead_somewhere() {
    for sound in [
        "[a](#look) [b](#end) [c](fr.md#look) [d](../01-sample/lab.yaml) [e](https://example.org)",
        "`[a](#nowhere)` [x]({{production}}/y)",
        "```\n[a](#nowhere)\n```",
        "![p](solution/look.sh \"title\")",
    ] {
        said(sound, &[]);
    }
    said(
        "é [a](#loook)",
        &["01-sample/en.md:7:7: the link to \"#loook\" is dead; did you mean #look?"],
    );
    said(
        "[a](gone.md)",
        &[
            "01-sample/en.md:7:5: the link to \"gone.md\" is dead; there is no file 01-sample/gone.md",
        ],
    );
    said(
        "[a](fr.md#lok)",
        &["01-sample/en.md:7:5: the link to \"fr.md#lok\" is dead; did you mean #look?"],
    );
    said(
        "[a](../../x)",
        &[
            "01-sample/en.md:7:5: the link to \"../../x\" is dead; it leads out of the directory of the labs",
        ],
    );
    said(
        "[a]: gone.md",
        &[
            "01-sample/en.md:7:6: the link to \"gone.md\" is dead; there is no file 01-sample/gone.md",
        ],
    );
}

#[test]
fn commands_in_code_name_labs_and_steps_that_are_there() {
    for sound in [
        "`devops-lab check sample/look` `devops-lab lab show deploy` `devops-lab hint LAB/STEP`",
        "```sh\ndevops-lab check   # did it work?\ndevops-lab check --watch | cat\n```",
        "type devops-lab check and wait",
    ] {
        said(sound, &[]);
    }
    said(
        "`devops-lab check sample/lok`",
        &["01-sample/en.md:7:19: lab \"sample\" has no step \"lok\"; did you mean look?"],
    );
    said(
        "```\ndevops-lab lab goto smaple\n```",
        &["01-sample/en.md:8:21: there is no lab \"smaple\"; did you mean sample?"],
    );
}

#[test]
fn only_addresses_are_filled_in() {
    for sound in [
        "{{production}} {{git}}",
        "`{{.Name}}` `${{ vars.REGISTRY }}` `{{ else }}`",
    ] {
        said(sound, &[]);
    }
    said(
        "at {{ registry }}",
        &[
            "01-sample/en.md:7:4: {{ registry }} is not filled in with spaces in it; write {{registry}}",
        ],
    );
    said(
        "{{port}}",
        &[
            "01-sample/en.md:7:1: there is no placeholder {{port}}; there are: production, test, registry, metrics, git",
        ],
    );
}

#[test]
fn the_first_version_of_an_application_is_what_learners_begin_with() {
    let files = Labs::embedded().unwrap().app_files("hello");
    let at = |path: &str| files.iter().find(|file| file.path == path);
    let first = files
        .iter()
        .filter_map(|file| Some((file, file.path.strip_prefix("versions/1.0.0/")?)));
    let first: Vec<_> = first.collect();
    assert!(!first.is_empty());
    for (file, path) in first {
        assert_eq!(
            Some(&file.content),
            at(path).map(|file| &file.content),
            "{path}"
        );
    }
}
