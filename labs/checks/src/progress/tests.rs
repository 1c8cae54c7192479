//! What is kept, and what it means.

use std::fs;
use std::thread;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn lab(name: &str, steps: &[&str]) -> Lab {
    let labs = Labs::embedded().unwrap();
    let step = |id: &&str| Step {
        id: (*id).to_owned(),
        ..Step::default()
    };
    Lab {
        name: name.to_owned(),
        steps: steps.iter().map(step).collect(),
        ..labs.get("deploy-three-replicas").unwrap().clone()
    }
}

#[test]
fn what_is_done_is_kept_with_its_first_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("labs/progress.json");
    let lab = lab("lab", &["look"]);
    assert_eq!(Progress::load(&path).unwrap(), Progress::default());
    let hold = |second| {
        let change =
            |progress: &mut Progress| progress.note(&lab, "look", Verdict::Holds, at(second));
        Progress::update(&path, change).unwrap().0
    };
    hold(1);
    let progress = hold(2);
    assert_eq!(progress.step("lab", "look").unwrap().done, Some(at(1)));
    assert_eq!(Progress::load(&path).unwrap(), progress);
    let mut files: Vec<_> = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    files.sort();
    assert_eq!(
        files,
        ["progress.json", "progress.lock"],
        "a temporary file is left"
    );
}

#[test]
fn everything_that_is_noted_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("progress.json");
    let lab = lab("lab", &["look", "ask"]);
    let (written, ()) = Progress::update(&path, |progress| {
        progress.begin(&lab, Path::new("/desk"), at(1));
        progress.begin(&lab, Path::new("/other desk"), at(2));
        progress.answer(&lab, "ask", "share", "80");
        progress.show_hint(&lab, "ask", 2);
        progress.show_hint(&lab, "ask", 0);
        progress.show_hint(&lab, "ask", 2);
    })
    .unwrap();
    let read = Progress::load(&path).unwrap();
    assert_eq!(read, written);
    assert_eq!(read.begun("lab"), Some(at(1)));
    assert_eq!(read.workspace("lab"), Some(Path::new("/other desk")));
    assert_eq!(read.answers("lab", "ask")["share"], "80");
    assert_eq!(read.hints("lab", "ask"), [2, 0]);
    assert!(read.hints("lab", "look").is_empty());
    assert!(read.is_under_way(&lab));
}

#[test]
fn writers_at_once_lose_nothing_of_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("progress.json");
    let ids: Vec<_> = (0..8).map(|number| format!("step-{number}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let lab = lab("lab", &ids);
    thread::scope(|scope| {
        for id in &ids {
            scope.spawn(|| {
                for round in 1..=5 {
                    Progress::update(&path, |progress| {
                        progress.note(&lab, id, Verdict::Holds, at(round));
                        progress.show_hint(&lab, id, usize::try_from(round).unwrap());
                    })
                    .unwrap();
                }
            });
        }
    });
    let progress = Progress::load(&path).unwrap();
    assert_eq!(progress.done_of(&lab), ids.len());
    assert!(ids.iter().all(|id| progress.hints("lab", id).len() == 5));
}

#[test]
fn a_file_of_the_first_version_is_read_and_upgraded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("progress.json");
    let first = r#"{"version": 1, "done": {"lab": {"look": "1970-01-01T00:00:05Z", "old": "1970-01-01T00:00:03Z"}}}"#;
    fs::write(&path, first).unwrap();
    let lab = lab("lab", &["look", "image"]);
    let (progress, changes) = Progress::update(&path, |progress| {
        progress.note(&lab, "image", Verdict::Holds, at(9));
        progress.meet_lab(&lab)
    })
    .unwrap();
    assert_eq!(progress.done_of(&lab), 2);
    assert_eq!(progress.begun("lab"), Some(at(3)));
    assert_eq!(changes, None, "to note something is to know the lab");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"version\": 2"), "{text}");
}

#[test]
fn an_edge_step_stays_done_and_a_hold_step_is_done_as_long_as_it_holds() {
    let mut lab = lab("lab", &["edge", "hold"]);
    lab.steps[1].activation = Activation::Hold;
    let mut progress = Progress::default();
    let mut seen = |verdict| {
        for step in &lab.steps {
            progress.note(&lab, &step.id, verdict, at(1));
        }
        progress.next_step_of(&lab).map(|step| step.id.clone())
    };
    assert_eq!(seen(Verdict::NotYet).as_deref(), Some("edge"));
    assert_eq!(seen(Verdict::Holds), None);
    assert_eq!(seen(Verdict::CouldNotRun), None, "it says nothing");
    assert_eq!(seen(Verdict::NotYet).as_deref(), Some("hold"));
    assert_eq!(seen(Verdict::CouldNotRun).as_deref(), Some("hold"));
    assert_eq!(seen(Verdict::Holds), None);
}

#[test]
fn a_lab_that_changed_is_told_once() {
    let before = lab("lab", &["look", "old"]);
    let after = lab("lab", &["look", "new"]);
    let mut progress = Progress::default();
    assert_eq!(progress.meet_lab(&after), None, "she never touched it");
    progress.note(&before, "old", Verdict::Holds, at(1));
    let change = progress.meet_lab(&after).unwrap();
    assert_eq!(
        (change.new, change.gone),
        (vec!["new".to_owned()], vec!["old".to_owned()])
    );
    assert_eq!(progress.meet_lab(&after), None);
    assert_eq!(progress.done_of(&after), 0);
    progress.meet_lab(&before).unwrap();
    assert_eq!(
        progress.done_of(&before),
        1,
        "what was done comes back with its step"
    );
}

#[test]
fn a_lab_of_the_first_version_that_lost_a_step_says_so() {
    let mut progress = Progress::default();
    let old = lab("lab", &["look", "old"]);
    progress.note(&old, "old", Verdict::Holds, at(1));
    progress.labs.get_mut("lab").unwrap().known.clear();
    let change = progress.meet_lab(&lab("lab", &["look", "new"])).unwrap();
    assert_eq!(
        (change.new, change.gone),
        (Vec::new(), vec!["old".to_owned()])
    );
}

#[test]
fn the_lab_begun_last_goes_on_and_then_the_first_that_is_left() {
    let labs = Labs::embedded().unwrap();
    let first = labs.iter().next().unwrap();
    let lab = labs.get("deploy-three-replicas").unwrap();
    let mut progress = Progress::default();
    assert_eq!(progress.next_step(&labs), Some((first, &first.steps[0])));
    progress.begin(lab, Path::new("/desk"), at(5));
    assert_eq!(progress.next_step(&labs), Some((lab, &lab.steps[0])));
    for step in &lab.steps {
        progress.note(lab, &step.id, Verdict::Holds, at(6));
    }
    assert_eq!(progress.next_step_of(lab), None);
    assert!(!progress.is_under_way(lab));
}

#[test]
fn what_is_forgotten_can_be_done_anew() {
    let lab = lab("lab", &["look", "image"]);
    let mut progress = Progress::default();
    progress.begin(&lab, Path::new("/desk"), at(1));
    progress.note(&lab, "look", Verdict::Holds, at(2));
    progress.note(&lab, "image", Verdict::Holds, at(2));
    progress.forget_steps("lab", ["image"]);
    assert_eq!(progress.done_of(&lab), 1);
    progress.forget_lab("lab");
    assert_eq!((progress.done_of(&lab), progress.begun("lab")), (0, None));
    assert_eq!(progress.workspace("lab"), Some(Path::new("/desk")));
}

#[test]
fn a_damaged_or_newer_file_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("progress.json");
    for damaged in ["{", "{}", r#"{"version": 2}"#] {
        fs::write(&path, damaged).unwrap();
        assert!(
            matches!(Progress::load(&path), Err(ProgressError::Damaged { .. })),
            "{damaged}"
        );
    }
    fs::write(&path, r#"{"version": 9, "done": {}}"#).unwrap();
    assert!(matches!(
        Progress::load(&path),
        Err(ProgressError::Newer { found: 9, .. })
    ));
}
