use super::*;
use crate::runs::{Event, Job, Step};

fn run(commit: &str) -> Run {
    Run {
        version: RUN_VERSION,
        repository: "hello".to_owned(),
        number: 0,
        attempt: 1,
        workflow: "CI".to_owned(),
        path: ".github/workflows/ci.yml".to_owned(),
        title: "Greet".to_owned(),
        event: Event::Push,
        git_ref: "refs/heads/main".to_owned(),
        branch: "main".to_owned(),
        commit: commit.repeat(40),
        before: "0".repeat(40),
        actor: "ada".to_owned(),
        inputs: serde_json::Map::new(),
        started: "2026-02-03T10:00:00Z".parse().unwrap(),
        ended: None,
        conclusion: None,
        problem: None,
        jobs: vec![Job {
            id: "test".to_owned(),
            name: "test".to_owned(),
            started: None,
            ended: None,
            conclusion: None,
            problem: None,
            steps: vec![step(1, true), step(2, false)],
        }],
        earlier: Vec::new(),
    }
}

fn step(number: u32, begun: bool) -> Step {
    Step {
        number,
        id: None,
        name: format!("step {number}"),
        started: begun.then(|| "2026-02-03T10:00:05Z".parse().unwrap()),
        ended: None,
        outcome: None,
        conclusion: None,
        exit_code: None,
        problem: None,
        annotations: Vec::new(),
        log: None,
    }
}

fn finish(folder: &Folder, run: &mut Run) {
    run.conclusion = Some(Conclusion::Success);
    folder.save(run).unwrap();
}

#[test]
fn runs_are_numbered_from_one_and_listed_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    for commit in ["a", "b"] {
        let (folder, mut run) = create(dir.path(), run(commit)).unwrap();
        finish(&folder, &mut run);
    }
    let numbers: Vec<_> = list(dir.path(), "hello").unwrap();
    let numbers: Vec<_> = numbers.iter().map(|run| run.number).collect();
    assert_eq!(numbers, [2, 1]);
    assert_eq!(latest(dir.path(), "hello").unwrap().unwrap().number, 2);
    assert_eq!(repositories(dir.path()).unwrap(), ["hello"]);
}

#[test]
fn a_run_is_found_by_its_commit_in_full_or_short() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, mut made) = create(dir.path(), run("a")).unwrap();
    finish(&folder, &mut made);
    let find = |commit: &str| latest_of_commit(dir.path(), "hello", commit).unwrap();
    assert_eq!(find(&"a".repeat(40)).unwrap().number, 1);
    assert_eq!(find("aaaaaaa").unwrap().number, 1);
    assert!(find("aaa").is_none(), "too short to mean anything");
    assert!(find("bbbbbbb").is_none());
}

#[test]
fn what_was_never_pushed_has_no_runs() {
    let dir = tempfile::tempdir().unwrap();
    assert!(list(dir.path(), "hello").unwrap().is_empty());
    assert!(latest(dir.path(), "hello").unwrap().is_none());
    assert!(load(dir.path(), "hello", 7).unwrap().is_none());
    let nowhere = dir.path().join("nowhere");
    assert!(repositories(&nowhere).unwrap().is_empty());
}

#[test]
fn a_run_whose_process_is_gone_was_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, _) = create(dir.path(), run("a")).unwrap();
    let look = || load(dir.path(), "hello", 1).unwrap().unwrap();
    assert_eq!(look().conclusion, None, "it is being run");
    drop(folder);
    let left = look();
    assert_eq!(left.conclusion, Some(Conclusion::Cancelled));
    assert_eq!(left.problem.as_deref(), Some(ABANDONED));
    let steps: Vec<_> = left.jobs[0].steps.iter().map(|s| s.conclusion).collect();
    assert_eq!(
        steps,
        [Some(Conclusion::Cancelled), Some(Conclusion::Skipped)]
    );
    assert_eq!(left.ended, left.jobs[0].steps[0].started);
}

#[test]
fn tidying_returns_what_was_abandoned_once() {
    let dir = tempfile::tempdir().unwrap();
    drop(create(dir.path(), run("a")).unwrap());
    let held = create(dir.path(), run("b")).unwrap();
    let found = tidy(dir.path(), "hello").unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].1.number, 1);
    drop(found);
    assert!(tidy(dir.path(), "hello").unwrap().is_empty());
    drop(held);
}

#[test]
fn the_oldest_runs_beyond_the_limit_are_removed_but_not_one_that_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let going_on = create(dir.path(), run("a")).unwrap();
    for _ in 0..KEPT + 2 {
        let (folder, mut run) = create(dir.path(), run("b")).unwrap();
        finish(&folder, &mut run);
    }
    tidy(dir.path(), "hello").unwrap();
    let left = list(dir.path(), "hello").unwrap();
    assert_eq!(left.last().unwrap().number, going_on.1.number);
    assert_eq!(left.len(), KEPT + 1);
    assert_eq!(left.first().unwrap().number, KEPT as u64 + 3);
}

#[test]
fn a_rerun_takes_over_only_what_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, run) = create(dir.path(), run("a")).unwrap();
    assert!(reopen(dir.path(), &run).unwrap().is_none());
    drop(folder);
    assert!(reopen(dir.path(), &run).unwrap().is_some());
}

#[test]
fn damage_and_newer_records_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let place = run_dir(dir.path(), "hello", 1);
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("run.json"), "{\"version\": 99}").unwrap();
    let newer = list(dir.path(), "hello").unwrap_err().to_string();
    assert!(newer.contains("newer devops-lab (version 99"), "{newer}");
    fs::write(place.join("run.json"), "{").unwrap();
    let damaged = list(dir.path(), "hello").unwrap_err().to_string();
    assert!(damaged.contains("is damaged"), "{damaged}");
}

#[test]
fn a_part_of_the_log_can_be_read_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, run) = create(dir.path(), run("a")).unwrap();
    folder.log().unwrap().write_all(b"one\ntwo\n").unwrap();
    let part = Some(LogRange { start: 4, end: 8 });
    assert_eq!(log(dir.path(), &run, part).unwrap(), "two\n");
    assert_eq!(log(dir.path(), &run, None).unwrap(), "one\ntwo\n");
}
