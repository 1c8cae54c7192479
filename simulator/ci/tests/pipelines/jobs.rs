//! Jobs: their order, what they hand on, and what stops them.

use lab_ci::runs::Conclusion;

use crate::world::World;

/// Name and conclusion of every job.
fn jobs(pushed: &crate::world::Pushed) -> Vec<(&str, Conclusion)> {
    let jobs = pushed.run().jobs.iter();
    jobs.map(|job| (job.name.as_str(), job.conclusion.unwrap()))
        .collect()
}

#[tokio::test]
async fn a_red_job_stops_those_that_need_it_and_no_others() {
    let Some(world) = World::new().await else {
        return;
    };
    let pushed = world
        .push(
            r"on: push
jobs:
  deploy: {runs-on: x, needs: image, steps: [{run: touch never}]}
  image: {runs-on: x, needs: [test], steps: [{run: touch never}]}
  test: {runs-on: x, steps: [{run: exit 1}]}
  lint: {runs-on: x, steps: [{run: 'true'}]}
  tell: {runs-on: x, needs: image, if: failure(), steps: [{run: 'echo image was ${{ needs.image.result }}'}]}
",
        )
        .await;
    pushed.ended(Conclusion::Failure);
    assert_eq!(
        jobs(&pushed),
        [
            ("test", Conclusion::Failure),
            ("image", Conclusion::Skipped),
            ("deploy", Conclusion::Skipped),
            ("lint", Conclusion::Success),
            ("tell", Conclusion::Success),
        ]
    );
    pushed.shows("image: skipped (test: failure)");
    pushed.shows("image was skipped");
}

#[tokio::test]
async fn outputs_reach_the_jobs_that_need_them() {
    let Some(world) = World::new().await else {
        return;
    };
    let pushed = world
        .push(
            r#"on: push
env: {LEVEL: workflow, OTHER: workflow}
jobs:
  name:
    runs-on: x
    outputs: {tag: '${{ steps.tag.outputs.tag }}'}
    steps: [{id: tag, run: 'echo tag=v7 >> "$GITHUB_OUTPUT"'}]
  use:
    needs: name
    if: needs.name.outputs.tag == 'V7'
    env: {LEVEL: job}
    runs-on: x
    steps: [{run: 'echo "${{ needs.name.outputs.tag }} $LEVEL ${{ env.OTHER }}"'}]
  not:
    needs: name
    if: needs.name.outputs.tag == 'v8'
    runs-on: x
    steps: [{run: 'true'}]
"#,
        )
        .await;
    pushed.ended(Conclusion::Success);
    pushed.shows("v7 job workflow");
    pushed.shows("not: skipped (its if is false)");
}

#[tokio::test]
async fn a_matrix_runs_in_order_and_a_failure_cancels_the_rest() {
    let Some(world) = World::new().await else {
        return;
    };
    let matrix = |fail_fast: bool| {
        format!(
            r"on: push
jobs:
  m:
    runs-on: x
    strategy:
      fail-fast: {fail_fast}
      matrix:
        a: [1, 2]
        b: [x, y]
        include: [{{a: 2, b: x, extra: more}}]
    steps: [{{run: 'echo ${{{{ matrix.a }}}}${{{{ matrix.b }}}}${{{{ matrix.extra }}}} ${{{{ strategy.job-index }}}}/${{{{ strategy.job-total }}}}; test ${{{{ matrix.a }}}}${{{{ matrix.b }}}} != 1y'}}]
  after: {{runs-on: x, needs: m, if: always(), steps: [{{run: 'echo m ${{{{ needs.m.result }}}}'}}]}}
"
        )
    };
    let pushed = world.push(&matrix(true)).await;
    pushed.ended(Conclusion::Failure);
    assert_eq!(
        jobs(&pushed),
        [
            ("m (1, x)", Conclusion::Success),
            ("m (1, y)", Conclusion::Failure),
            ("m (2, x, more)", Conclusion::Cancelled),
            ("m (2, y)", Conclusion::Cancelled),
            ("after", Conclusion::Success),
        ]
    );
    pushed.shows("m failure");
    let pushed = world.push(&matrix(false)).await;
    pushed.shows("2xmore 2/4");
    assert_eq!(jobs(&pushed)[3], ("m (2, y)", Conclusion::Success));
}

#[tokio::test]
async fn a_matrix_can_come_from_another_job() {
    let Some(world) = World::new().await else {
        return;
    };
    let pushed = world
        .push(
            r#"on: push
jobs:
  list:
    runs-on: x
    outputs: {all: '${{ steps.l.outputs.all }}'}
    steps: [{id: l, run: 'echo all=[\"one\",\"two\"] >> "$GITHUB_OUTPUT"'}]
  each:
    needs: list
    runs-on: x
    name: Do ${{ matrix.it }}
    strategy: {matrix: {it: '${{ fromJSON(needs.list.outputs.all) }}'}}
    steps: [{name: 'Say ${{ matrix.it }}', run: 'true'}]
"#,
        )
        .await;
    pushed.ended(Conclusion::Success);
    let names: Vec<_> = pushed
        .run()
        .jobs
        .iter()
        .map(|job| job.name.as_str())
        .collect();
    assert_eq!(names, ["list", "Do one", "Do two"]);
    assert_eq!(pushed.run().jobs[2].steps[0].name, "Say two");
}

#[tokio::test]
async fn a_job_that_may_fail_does_not_redden_the_run() {
    let Some(world) = World::new().await else {
        return;
    };
    let pushed = world
        .push("on: push\njobs:\n  may: {runs-on: x, continue-on-error: true, steps: [{run: exit 1}]}\n  next: {runs-on: x, needs: may, steps: [{run: 'true'}]}\n")
        .await;
    pushed.ended(Conclusion::Success);
    assert_eq!(
        jobs(&pushed),
        [("may", Conclusion::Failure), ("next", Conclusion::Success)]
    );
}

#[tokio::test]
async fn every_job_begins_in_an_empty_workspace() {
    let Some(world) = World::new().await else {
        return;
    };
    let pushed = world
        .push("on: push\ndefaults: {run: {shell: bash}}\njobs:\n  a: {runs-on: x, steps: [{run: touch left && chmod 500 .}]}\n  b: {runs-on: x, needs: a, steps: [{run: 'ls | wc -l; false | true'}]}\n")
        .await;
    pushed.shows("    0\n");
    let b = pushed.job("b");
    assert_eq!(
        b.conclusion,
        Some(Conclusion::Failure),
        "defaults.run.shell is bash"
    );
}

#[tokio::test]
async fn a_rerun_keeps_its_number_and_counts_its_attempts() {
    let Some(world) = World::new().await else {
        return;
    };
    let marker = world.path("marker");
    let steps = format!(
        "      - run: 'echo attempt $GITHUB_RUN_ATTEMPT; test -e {}'\n",
        marker.display()
    );
    let red = world.push_steps(&steps).await;
    let red = red.ended(Conclusion::Failure).clone();
    std::fs::write(marker, "").unwrap();
    world.commit("Something else");
    let again = world.rerun(&red).await;
    assert_eq!((again.number, again.attempt), (1, 2));
    assert_eq!(again.conclusion, Some(Conclusion::Success));
    assert_eq!(again.commit, red.commit);
    assert_eq!(again.earlier[0].conclusion, Some(Conclusion::Failure));
    assert_eq!(world.log(&again), "attempt 2\n");
}
