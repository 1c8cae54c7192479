//! The actions that are built in.

use lab_ci::runs::Conclusion;

use crate::world::World;

#[tokio::test]
async fn checkout_brings_the_commit_on_its_branch() {
    let Some(world) = World::new().await else {
        return;
    };
    world.write("old", "x");
    world.commit("First");
    world.git(&["tag", "v1"]);
    world.git(&["push", "-q", "lab", "v1"]);
    let pushed = world
        .push_steps(
            r"      - {id: c, uses: actions/checkout@v4}
      - run: |
          cat old; git branch --show-current; git rev-list --count HEAD; git status --porcelain | wc -l
          test $(git rev-parse HEAD) = $GITHUB_SHA && test '${{ steps.c.outputs.commit }}' = $GITHUB_SHA && echo the same
      - uses: actions/checkout@v4
        with: {fetch-depth: 0, path: deep}
      - {working-directory: deep, run: 'git rev-list --count HEAD; git tag; git branch --show-current'}
      - uses: actions/checkout@v4
        with: {ref: v1, path: tagged}
      - {working-directory: tagged, run: 'git log -1 --format=%s; ls -a | grep -c github || true'}
",
        )
        .await;
    pushed.ended(Conclusion::Success);
    pushed.shows("    x");
    pushed.shows("main\n    1\n    0\n    the same");
    pushed.shows("    2\n    v1\n    main");
    pushed.shows("    First\n    0");
}

#[tokio::test]
async fn checkout_of_what_is_not_there_says_so() {
    let Some(world) = World::new().await else {
        return;
    };
    let pushed = world
        .push_steps("      - uses: actions/checkout@v4\n        with: {ref: nowhere}\n")
        .await;
    pushed.ended(Conclusion::Failure);
    pushed.shows("there is no branch, tag or commit \"nowhere\"");
    let other = world
        .push_steps(
            "      - uses: actions/checkout@v4\n        with: {repository: octocat/hello}\n",
        )
        .await;
    other.shows("the repository octocat/hello is on another server");
    let out = world
        .push_steps("      - uses: actions/checkout@v4\n        with: {path: ../../../elsewhere}\n")
        .await;
    out.shows("is outside the workspace");
}

#[tokio::test]
async fn artifacts_go_from_job_to_job() {
    let Some(world) = World::new().await else {
        return;
    };
    let pushed = world
        .push(
            r"on: push
jobs:
  make:
    runs-on: x
    steps:
      - run: mkdir -p out/deep && echo one > out/a.txt && echo two > out/deep/b.txt && echo no > out/.hidden && echo x > single
      - uses: actions/upload-artifact@v4
        with: {name: built, path: out}
      - uses: actions/upload-artifact@v4
        with: {name: single, path: single}
      - {uses: actions/upload-artifact@v4, with: {name: none, path: nothing/**}}
      - {uses: actions/upload-artifact@v4, with: {name: built, path: out}, continue-on-error: true}
  take:
    needs: make
    runs-on: x
    steps:
      - uses: actions/download-artifact@v4
        with: {name: built, path: got}
      - run: find got -type f | sort
      - uses: actions/download-artifact@v4
        with: {path: all}
      - run: find all -type f | sort
      - {uses: actions/download-artifact@v4, with: {name: bulit}}
",
        )
        .await;
    pushed.ended(Conclusion::Failure);
    pushed.shows("    got/a.txt\n    got/deep/b.txt\n");
    pushed.shows("    all/built/a.txt\n    all/built/deep/b.txt\n    all/single/single\n");
    pushed.shows("warning: no file matches nothing/**");
    pushed.shows("this run has an artifact built already");
    pushed.shows("this run has no artifact \"bulit\"; did you mean built?");
}

#[tokio::test]
async fn actions_without_a_purpose_here_say_so() {
    let Some(world) = World::new().await else {
        return;
    };
    let pushed = world
        .push_steps("      - uses: docker/login-action@v3\n        with: {registry: '${{ vars.REGISTRY }}', username: x, password: y}\n      - uses: actions/cache@v4\n        with: {path: ~/.npm, key: \"${{ hashFiles('**/lock') }}\"}\n")
        .await;
    pushed.ended(Conclusion::Success);
    pushed.shows(
        "docker/login-action@v3 does nothing here: the cluster's registry asks for no login",
    );
    pushed.shows("actions/cache@v4 does nothing here");
}
