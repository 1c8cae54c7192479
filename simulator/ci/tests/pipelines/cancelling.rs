//! Stopping runs, and what is left of them: nothing.

use std::fs;
use std::path::Path;
use std::time::Duration;

use lab_ci::runs::{self, Conclusion};

use crate::world::{NAME, World, steps_only};

/// True while the process has not ended; one that nobody waited for has.
pub(crate) fn is_alive(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

/// Waits until a file has a line.
async fn line_of(path: &Path) -> String {
    for _ in 0..600 {
        if let Ok(text) = fs::read_to_string(path)
            && text.ends_with('\n')
        {
            return text.trim().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} was not written", path.display());
}

#[tokio::test]
async fn a_cancelled_run_ends_its_processes_and_cleans_up() {
    let Some(world) = World::new().await else {
        return;
    };
    let pid = world.path("pid");
    let cleaned = world.path("cleaned");
    let steps = format!(
        "      - {{name: Long, run: 'trap \"\" INT TERM; (trap \"\" INT TERM; sleep 303) & echo $! > {}; wait'}}\n      - {{name: Never, run: 'true'}}\n      - {{name: Clean, if: cancelled(), run: touch {}}}\n",
        pid.display(),
        cleaned.display(),
    );
    let stop = async {
        let pid = line_of(&pid).await;
        lab_ci::cancel_all(&world.site.pipelines).await.unwrap();
        pid
    };
    let (pushed, pid) = tokio::join!(world.push_steps(&steps), stop);
    let run = pushed.ended(Conclusion::Cancelled);
    assert!(!is_alive(&pid), "the child {pid} goes on");
    assert_eq!(pushed.step("Long").conclusion, Some(Conclusion::Cancelled));
    assert_eq!(pushed.step("Never").conclusion, Some(Conclusion::Skipped));
    assert!(cleaned.exists(), "what is to run when cancelled runs");
    assert_eq!(run.problem.as_deref(), Some("its cluster is being deleted"));
    pushed.shows("warning: .github/workflows/ci.yml, run 1 was cancelled");
}

#[tokio::test]
async fn a_newer_run_of_a_group_ends_the_older_one() {
    let Some(world) = World::new().await else {
        return;
    };
    let started = world.path("started");
    let workflow = |cancel: bool, script: &str| {
        format!(
            "concurrency: {{group: 'x-${{{{ github.ref }}}}', cancel-in-progress: {cancel}}}\n{}",
            steps_only(&format!("      - run: {script}\n"))
        )
    };
    let first = workflow(
        true,
        &format!("'echo on > {}; sleep 304'", started.display()),
    );
    let second = async {
        line_of(&started).await;
        // A process of its own, in life: what cancels the first does not cancel this one.
        world.write(".github/workflows/ci.yml", &workflow(true, "echo second"));
        world.commit("Second");
        world
            .push_ref_with("refs/heads/main", &lab_ci::Cancel::default())
            .await
    };
    let (first, second) = tokio::join!(world.push(&first), second);
    first.ended(Conclusion::Cancelled);
    first.shows("run 2 of the group x-refs/heads/main came after it");
    second.ended(Conclusion::Success);
    second.shows("concurrency x-refs/heads/main: ends run 1");
}

#[tokio::test]
async fn what_a_killed_run_left_is_removed_by_the_next() {
    let Some(world) = World::new().await else {
        return;
    };
    world.push_steps("      - run: echo one\n").await;
    // As a process that was killed leaves it: an open record, a work directory, a child.
    let dir = runs::run_dir(&world.site.pipelines, NAME, 1);
    let mut run = runs::load(&world.site.pipelines, NAME, 1).unwrap().unwrap();
    (run.conclusion, run.ended) = (None, None);
    fs::write(dir.join("run.json"), serde_json::to_string(&run).unwrap()).unwrap();
    fs::create_dir_all(dir.join("work/hello")).unwrap();
    let seen = runs::load(&world.site.pipelines, NAME, 1).unwrap().unwrap();
    assert_eq!(
        seen.conclusion,
        Some(Conclusion::Cancelled),
        "readers see it at once"
    );
    world.push_steps("      - run: echo two\n").await;
    assert!(!dir.join("work").exists());
    let kept = fs::read_to_string(dir.join("run.json")).unwrap();
    assert!(
        kept.contains("\"cancelled\"") && kept.contains("was killed"),
        "{kept}"
    );
}

#[tokio::test]
async fn two_pushes_at_once_are_two_runs() {
    let Some(world) = World::new().await else {
        return;
    };
    world.write(
        ".github/workflows/ci.yml",
        &steps_only("      - run: echo $GITHUB_REF_NAME\n"),
    );
    world.commit("One");
    world.git(&["branch", "topic"]);
    let (a, b) = tokio::join!(
        world.push_ref("refs/heads/main"),
        world.push_ref("refs/heads/topic")
    );
    let mut numbers = [
        a.ended(Conclusion::Success).number,
        b.ended(Conclusion::Success).number,
    ];
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(world.log(a.run()), "main\n");
    assert_eq!(world.log(b.run()), "topic\n");
}
