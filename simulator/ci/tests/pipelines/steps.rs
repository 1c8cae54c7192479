//! Steps: what they see, what they say, and how they end.

use lab_ci::runs::{Conclusion, Level};

use crate::world::World;

#[tokio::test]
async fn a_push_runs_its_workflow_and_shows_it() {
    let Some(world) = World::new().await else {
        return;
    };
    let pushed = world
        .push("name: CI\non: push\njobs:\n  test:\n    runs-on: x\n    steps:\n      - name: Greet\n        run: echo Hello, $GITHUB_ACTOR\n")
        .await;
    let run = pushed.ended(Conclusion::Success);
    assert_eq!(
        (run.number, run.workflow.as_str(), run.branch.as_str()),
        (1, "CI", "main")
    );
    assert_eq!(run.title, "Change it");
    assert_eq!(run.commit, world.git(&["rev-parse", "HEAD"]));
    assert_eq!(world.log(run), "Hello, Ada\n");
    for text in [
        "hello: CI, run 1",
        "main at ",
        "▸ Greet",
        "    Hello, Ada",
        "✓ Greet",
        "✓ test",
        "success: CI, run 1",
    ] {
        pushed.shows(text);
    }
    for line in pushed.shown.lines() {
        assert!(
            line.chars().count() <= 72,
            "too wide for 80 columns: {line}"
        );
    }
}

#[tokio::test]
async fn a_red_step_stops_the_job_and_says_its_exit_code() {
    let Some(world) = World::new().await else {
        return;
    };
    let pushed = world
        .push_steps("      - {name: Tests, run: 'echo 1 of 2 failed; exit 3'}\n      - {name: Push, run: touch pushed}\n      - {name: Tell, if: failure(), run: echo it failed}\n      - {name: Always, if: always(), run: 'true'}\n")
        .await;
    let run = pushed.ended(Conclusion::Failure);
    assert_eq!(run.failed_step().unwrap().1.name, "Tests");
    assert_eq!(pushed.step("Tests").exit_code, Some(3));
    let ended = |name: &str| pushed.step(name).conclusion.unwrap();
    assert_eq!(ended("Push"), Conclusion::Skipped);
    assert_eq!(ended("Tell"), Conclusion::Success);
    assert_eq!(ended("Always"), Conclusion::Success);
    pushed.shows("✗ Tests: exit code 3");
    pushed.shows("at:   test → Tests");
    pushed.shows("devops-lab ci logs hello 1 --failed");
}

#[tokio::test]
async fn outputs_variables_and_paths_reach_the_next_steps() {
    let Some(world) = World::new().await else {
        return;
    };
    let pushed = world
        .push_steps(
            r#"      - id: one
        env: {OWN: mine}
        run: |
          echo "plain=a b" >> "$GITHUB_OUTPUT"
          printf 'long<<END\nline 1\nline 2\nEND\n' >> "$GITHUB_OUTPUT"
          echo "FROM_ENV=$OWN" >> "$GITHUB_ENV"
          mkdir -p bin; printf '#!/bin/sh\necho tool works\n' > bin/tool; chmod +x bin/tool
          echo "$PWD/bin" >> "$GITHUB_PATH"
          echo "::set-output name=old::way"
      - env: {LONG: '${{ steps.one.outputs.long }}'}
        run: |
          tool
          echo "[${{ steps.one.outputs.plain }}] [$FROM_ENV] [${OWN-unset}] [${{ steps.one.outputs.old }}]"
          echo "[${{ env.FROM_ENV }}] [${{ steps.one.outcome }}]"
          echo "$LONG" | wc -l
"#,
        )
        .await;
    pushed.ended(Conclusion::Success);
    for text in [
        "tool works",
        "[a b] [mine] [unset] [way]",
        "[mine] [success]",
        "    2",
        "::set-output:: is deprecated",
    ] {
        pushed.shows(text);
    }
}

#[tokio::test]
async fn a_file_command_that_is_wrong_fails_its_step() {
    let Some(world) = World::new().await else {
        return;
    };
    let pushed = world
        .push_steps("      - {name: Wrong, run: 'echo no equals sign >> $GITHUB_OUTPUT'}\n")
        .await;
    pushed.ended(Conclusion::Failure);
    let problem = pushed.step("Wrong").problem.as_deref().unwrap();
    assert!(
        problem.contains("GITHUB_OUTPUT, line 1: this is neither NAME=value"),
        "{problem}"
    );
    let switched_off = world
        .push_steps("      - {name: Old, run: 'echo ::set-env name=A::b'}\n")
        .await;
    switched_off.ended(Conclusion::Failure);
    switched_off.shows("$GITHUB_ENV");
}

#[tokio::test]
async fn annotations_and_groups_are_heard() {
    let Some(world) = World::new().await else {
        return;
    };
    let pushed = world
        .push_steps(
            "      - name: Say\n        run: |\n          echo '::group::Inside'\n          echo within\n          echo '::endgroup::'\n          echo '::error file=app.js,line=3::no such greeting'\n          echo '::debug::hidden'\n          printf '\\033[31mred\\033[0m\\n'\n",
        )
        .await;
    let run = pushed.ended(Conclusion::Success);
    let annotation = &pushed.step("Say").annotations[0];
    assert_eq!((annotation.level, annotation.line), (Level::Error, Some(3)));
    pushed.shows("    ▾ Inside\n      within\n    error: app.js:3: no such greeting\n    red\n");
    pushed.hides("hidden");
    assert!(world.log(run).contains("debug: hidden"));
}

#[tokio::test]
async fn bash_fails_on_a_pipe_and_the_default_shell_does_not() {
    let Some(world) = World::new().await else {
        return;
    };
    let pushed = world
        .push_steps("      - {name: default, run: false | true}\n      - {name: named, shell: bash, run: false | true}\n")
        .await;
    pushed.ended(Conclusion::Failure);
    assert_eq!(pushed.step("default").conclusion, Some(Conclusion::Success));
    assert_eq!(pushed.step("named").conclusion, Some(Conclusion::Failure));
}

#[tokio::test]
async fn a_failure_that_is_allowed_is_seen_as_outcome_only() {
    let Some(world) = World::new().await else {
        return;
    };
    let pushed = world
        .push_steps("      - {id: flaky, name: Flaky, run: exit 1, continue-on-error: true}\n      - run: 'echo ${{ steps.flaky.outcome }}/${{ steps.flaky.conclusion }}'\n")
        .await;
    pushed.ended(Conclusion::Success);
    pushed.shows("failure/success");
    assert_eq!(pushed.step("Flaky").outcome, Some(Conclusion::Failure));
    assert_eq!(pushed.step("Flaky").conclusion, Some(Conclusion::Success));
}

#[tokio::test]
async fn a_step_that_takes_too_long_fails_and_its_children_end() {
    let Some(world) = World::new().await else {
        return;
    };
    let pid = world.path("pid");
    let steps = format!(
        "      - {{name: Slow, timeout-minutes: 0.01, run: 'sleep 301 & echo $! > {}; wait'}}\n",
        pid.display()
    );
    let pushed = world.push_steps(&steps).await;
    pushed.ended(Conclusion::Failure);
    pushed.shows("the step's timeout-minutes are over");
    let pid = std::fs::read_to_string(pid).unwrap();
    assert!(
        !crate::cancelling::is_alive(pid.trim()),
        "the child {pid} goes on"
    );
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_cancelled() {
    let Some(world) = World::new().await else {
        return;
    };
    let pushed = world
        .push("on: push\njobs:\n  slow:\n    runs-on: x\n    timeout-minutes: 0.01\n    steps:\n      - {name: Sleep, run: sleep 301}\n      - {name: Next, run: 'true'}\n      - {name: Clean, if: always(), run: 'true'}\n")
        .await;
    pushed.ended(Conclusion::Cancelled);
    assert_eq!(pushed.step("Next").conclusion, Some(Conclusion::Skipped));
    assert_eq!(pushed.step("Clean").conclusion, Some(Conclusion::Success));
    pushed.shows("the job's timeout-minutes are over");
}

#[tokio::test]
async fn a_server_in_the_background_lives_for_the_job_and_no_longer() {
    let Some(world) = World::new().await else {
        return;
    };
    let pid = world.path("pid");
    let pid = pid.display();
    let pushed = world
        .push_steps(&format!("      - {{name: Start, run: 'sleep 302 & echo $! > {pid}'}}\n      - {{name: Use, run: 'kill -0 $(cat {pid}) && echo it lives'}}\n"))
        .await;
    pushed.ended(Conclusion::Success);
    pushed.shows("it lives");
    let pid = std::fs::read_to_string(world.path("pid")).unwrap();
    assert!(
        !crate::cancelling::is_alive(pid.trim()),
        "the server {pid} goes on"
    );
}

#[tokio::test]
async fn steps_find_what_a_self_hosted_runner_sets() {
    let Some(world) = World::new().await else {
        return;
    };
    let pushed = world
        .push_steps(
            r#"      - shell: sh
        run: |
          echo "$CI $GITHUB_ACTIONS $RUNNER_OS $RUNNER_ENVIRONMENT $GITHUB_EVENT_NAME"
          echo "$GITHUB_REF $GITHUB_REF_NAME $GITHUB_REF_TYPE $GITHUB_REPOSITORY $GITHUB_RUN_NUMBER"
          test "$PWD" = "$GITHUB_WORKSPACE" && test -d "$RUNNER_TEMP" && echo places
          grep -c head_commit "$GITHUB_EVENT_PATH"
          echo "git:${GIT_DIR-none} lab:$DEVOPS_LAB_CLUSTER ${{ vars.REGISTRY }} home:${HOME:+set}"
          devops-lab && echo devops-lab is there
"#,
        )
        .await;
    pushed.ended(Conclusion::Success);
    for text in [
        "true true Linux self-hosted push",
        "refs/heads/main main branch lab/hello 1",
        "places",
        "git:none lab:lab localhost:5001 home:set",
        "devops-lab is there",
    ] {
        pushed.shows(text);
    }
}

#[tokio::test]
async fn a_working_directory_must_be_there() {
    let Some(world) = World::new().await else {
        return;
    };
    let pushed = world
        .push_steps("      - run: mkdir -p a/b\n      - {working-directory: a/b, run: basename $PWD}\n      - {name: Gone, working-directory: nowhere, run: 'true'}\n")
        .await;
    pushed.ended(Conclusion::Failure);
    pushed.shows("    b\n");
    let problem = pushed.step("Gone").problem.as_deref().unwrap();
    assert_eq!(problem, "the working-directory nowhere is not there");
}

#[tokio::test]
async fn a_summary_is_shown_at_the_end_of_its_job() {
    let Some(world) = World::new().await else {
        return;
    };
    let pushed = world
        .push_steps("      - run: 'echo \"# All well\" >> $GITHUB_STEP_SUMMARY'\n")
        .await;
    pushed.shows("Summary of test:\n    # All well\n");
}

#[tokio::test]
async fn a_log_keeps_ten_megabytes() {
    let Some(world) = World::new().await else {
        return;
    };
    let pushed = world
        .push_steps("      - run: yes 0123456789abcdef0123456789abcdef0123456789abcdef | head -c 11000000\n      - run: echo the end\n")
        .await;
    let run = pushed.ended(Conclusion::Success);
    let log = world.log(run);
    assert!(log.len() <= 10 << 20, "{} bytes", log.len());
    assert!(log.ends_with("[the rest is not kept: a log holds 10 MB]\n"));
    pushed.shows("the end");
}
