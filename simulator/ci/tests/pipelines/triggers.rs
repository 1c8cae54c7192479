//! What starts a run, and what is said where nothing does.

use lab_ci::runs::Conclusion;

use crate::world::World;

const ONE: &str = "jobs: {a: {runs-on: x, steps: [{run: 'true'}]}}\n";

#[tokio::test]
async fn a_filter_that_does_not_match_says_why() {
    let Some(world) = World::new().await else {
        return;
    };
    let pushed = world
        .push(&format!("on: {{push: {{branches: [release]}}}}\n{ONE}"))
        .await;
    assert!(pushed.runs.is_empty());
    pushed.shows(
        ".github/workflows/ci.yml does not run: the branch main does not match branches: release",
    );
    world.git(&["rm", "-q", "-r", ".github"]);
    world.commit("Without");
    let pushed = world.push_ref("refs/heads/main").await;
    pushed.shows("main has no pipeline: write one in .github/workflows/ci.yml");
    world.write(".github/workflows/ci.yaml", &format!("on: push\n{ONE}"));
    world.commit("Tidy up [skip ci]");
    let pushed = world.push_ref("refs/heads/main").await;
    assert!(pushed.runs.is_empty());
    pushed.shows("asks to skip");
}

#[tokio::test]
async fn paths_are_those_of_all_pushed_commits() {
    let Some(world) = World::new().await else {
        return;
    };
    let workflow = format!("on: {{push: {{paths: ['src/**']}}}}\n{ONE}");
    world.write("src/a", "1");
    let first = world.push(&workflow).await;
    first.ended(Conclusion::Success);
    world.write("README.md", "x");
    world.commit("Docs");
    let docs = world.push_ref("refs/heads/main").await;
    assert!(docs.runs.is_empty());
    docs.shows("the change of README.md does not match paths: src/**");
    world.write("src/a", "2");
    world.commit("Code");
    world.write("README.md", "y");
    world.commit("Docs again");
    assert_eq!(world.push_ref("refs/heads/main").await.runs.len(), 1);
    // A new branch is compared with where it left what was there.
    world.git(&["checkout", "-q", "-b", "topic"]);
    world.write("README.md", "z");
    world.commit("Docs on a branch");
    assert!(world.push_ref("refs/heads/topic").await.runs.is_empty());
}

#[tokio::test]
async fn tags_and_several_workflows_run() {
    let Some(world) = World::new().await else {
        return;
    };
    world.write(
        ".github/workflows/release.yml",
        &format!("name: Release\non: {{push: {{tags: ['v*']}}}}\n{ONE}"),
    );
    let pushed = world.push(&format!("name: CI\non: push\n{ONE}")).await;
    assert_eq!(pushed.run().workflow, "CI");
    pushed.shows("release.yml does not run: on.push names tags only");
    world.git(&["tag", "-a", "v1.0.0", "-m", "One"]);
    let pushed = world.push_ref("refs/tags/v1.0.0").await;
    let names: Vec<_> = pushed
        .runs
        .iter()
        .map(|run| run.workflow.as_str())
        .collect();
    assert_eq!(names, ["CI", "Release"]);
    assert_eq!(pushed.runs[1].branch, "v1.0.0");
    assert_eq!(
        pushed.runs[1].commit,
        world.git(&["rev-parse", "HEAD"]),
        "not that of the tag object"
    );
}

#[tokio::test]
async fn a_workflow_that_is_not_understood_is_a_red_run() {
    let Some(world) = World::new().await else {
        return;
    };
    let pushed = world
        .push("on: push\njobs:\n  a:\n    runs-on: x\n    container: node:20\n    steps:\n      - {run: 'true', wiht: {}}\n")
        .await;
    let run = pushed.ended(Conclusion::Failure);
    assert!(run.jobs.is_empty());
    pushed.shows("error: .github/workflows/ci.yml:5:5: container is not supported here");
    pushed.shows("ci.yml:7:23: a step has no key \"wiht\"; did you mean with?");
    pushed.shows("Nothing ran.");
    assert!(
        run.problem
            .as_deref()
            .unwrap()
            .contains("container is not supported")
    );
}

#[tokio::test]
async fn a_workflow_is_started_by_hand_with_inputs() {
    let Some(world) = World::new().await else {
        return;
    };
    let pushed = world
        .push("run-name: Deploy ${{ inputs.version }}\non: {workflow_dispatch: {inputs: {version: {required: true}}}}\njobs: {a: {runs-on: x, steps: [{run: 'echo got ${{ inputs.version }} by ${{ github.event_name }}'}]}}\n")
        .await;
    pushed.shows("it is for workflow_dispatch, not for push");
    let run = world.dispatch(None, &[("version", "1.2.0")]).await.unwrap();
    assert_eq!(run.title, "Deploy 1.2.0");
    assert_eq!(world.log(&run), "got 1.2.0 by workflow_dispatch\n");
    let missing = world.dispatch(None, &[]).await.unwrap_err().to_string();
    assert!(missing.contains("version is required"), "{missing}");
    let unknown = world
        .dispatch(Some("x.yml"), &[])
        .await
        .unwrap_err()
        .to_string();
    assert!(unknown.contains("there are ci.yml"), "{unknown}");
}

#[tokio::test]
async fn a_deleted_branch_starts_nothing() {
    let Some(world) = World::new().await else {
        return;
    };
    world.push(&format!("on: push\n{ONE}")).await;
    let update = lab_ci::Update::read(&format!(
        "{} {} refs/heads/topic\n",
        "1".repeat(40),
        "0".repeat(40)
    ));
    let mut console = lab_ci::Console::new(Box::new(std::io::sink()));
    let mut pipelines = lab_ci::Pipelines {
        site: &world.site,
        console: &mut console,
        cancel: &world.cancel,
    };
    assert!(
        pipelines
            .push(crate::world::NAME, &update)
            .await
            .unwrap()
            .is_empty()
    );
}
