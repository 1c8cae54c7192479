use super::*;
use crate::workflow::{Action, Shell, Work};

const FRAME: &str = "on: push\njobs:\n  test:\n    runs-on: self-hosted\n";

#[track_caller]
fn refused(text: &str, expected: &[&str]) {
    let problems = parse("ci.yml", text).unwrap_err();
    let said: Vec<_> = problems.0.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), expected.len(), "{text}\n{said:#?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.contains(expected), "{said}\nlacks\n{expected}");
    }
}

/// A job `test` with these lines below its `runs-on`.
#[track_caller]
fn job_refused(lines: &str, expected: &[&str]) {
    refused(&format!("{FRAME}{lines}"), expected);
}

/// A job with one step of these lines.
#[track_caller]
fn step_refused(lines: &str, expected: &[&str]) {
    job_refused(&format!("    steps:\n{lines}"), expected);
}

#[test]
fn a_workflow_is_read_as_a_whole() {
    let text = r"
name: CI
run-name: ${{ github.actor }} pushes
on:
  push: {branches: [main]}
  workflow_dispatch:
permissions: {contents: read}
env: {A: 1}
defaults: {run: {shell: bash}}
concurrency: {group: 'x-${{ github.ref }}', cancel-in-progress: true}
jobs:
  test:
    runs-on: [self-hosted, linux]
    outputs: {tag: '${{ steps.tag.outputs.tag }}'}
    strategy: {fail-fast: false, max-parallel: 2, matrix: {v: [1, 2]}}
    steps:
      - uses: actions/checkout@v4
        with: {fetch-depth: 0}
      - {id: tag, name: Tag, if: always(), run: echo hi, shell: sh, working-directory: src, timeout-minutes: 1.5, continue-on-error: true, env: {B: x}}
  image:
    needs: test
    if: ${{ success() && github.ref == 'refs/heads/main' }}
    runs-on: ubuntu-latest
    steps: [{run: 'true'}]
";
    let workflow = parse("ci.yml", text).unwrap();
    assert_eq!(workflow.name.as_deref(), Some("CI"));
    assert_eq!(workflow.remarks.len(), 1);
    assert!(workflow.remarks[0].starts_with("ci.yml:7: permissions has no effect"));
    let [test, image] = workflow.jobs.as_slice() else {
        panic!("two jobs are written");
    };
    assert_eq!(image.needs, ["test"]);
    assert!(image.condition.as_ref().unwrap().names_status());
    let Work::Action { action, with, .. } = &test.steps[0].work else {
        panic!("the first step uses an action");
    };
    assert_eq!((*action, with.len()), (Action::Checkout, 1));
    let Work::Script { shell, .. } = &test.steps[1].work else {
        panic!("the second step is a script");
    };
    assert_eq!(*shell, Some(Shell::Sh));
}

#[test]
fn unknown_keys_are_refused_by_name_with_the_nearest_one() {
    refused(
        "on: push\nenvs: {}\njobs: {a: {runs-on: x, steps: [{run: x}]}}",
        &["ci.yml:2:1: a workflow has no key \"envs\"; did you mean env?"],
    );
    job_refused(
        "    step:\n      - run: x\n    steps: [{run: x}]\n",
        &["ci.yml:5:5: a job has no key \"step\"; did you mean steps?"],
    );
    step_refused(
        "      - run: x\n        enviroment: {}\n",
        &["ci.yml:7:9: a step has no key \"enviroment\"; known are id, name"],
    );
    refused(
        "on: {push: {branch: [main]}}\njobs: {a: {runs-on: x, steps: [{run: x}]}}",
        &["ci.yml:1:13: on.push has no key \"branch\"; did you mean branches?"],
    );
    refused(
        "on: pusk\njobs: {a: {runs-on: x, steps: [{run: x}]}}",
        &["ci.yml:1:5: there is no event \"pusk\"; did you mean push?"],
    );
}

#[test]
fn what_github_has_and_this_has_not_is_refused_by_name() {
    for (key, why) in [
        (
            "container: node:20",
            "container is not supported here: jobs run on this machine",
        ),
        (
            "services: {db: {image: x}}",
            "services is not supported here",
        ),
        (
            "environment: production",
            "environment is not supported here",
        ),
        ("concurrency: x", "concurrency is not supported here"),
    ] {
        let line = format!("    {key}\n    steps: [{{run: x}}]\n");
        job_refused(&line, &[&format!("ci.yml:5:5: {why}")]);
    }
    refused(
        "on: push\njobs:\n  call:\n    uses: ./.github/workflows/x.yml\n",
        &["ci.yml:4:5: uses is not supported here: a reusable workflow"],
    );
    step_refused(
        "      - run: x\n        shell: pwsh\n",
        &["ci.yml:7:16: the shell \"pwsh\" is not supported here: bash, sh and python are"],
    );
}

#[test]
fn actions_that_are_not_built_in_are_refused_by_name() {
    step_refused(
        "      - uses: actions/setup-node@v4\n      - uses: ./action\n      - uses: docker://alpine\n      - uses: actions/chekout@v4\n",
        &[
            "ci.yml:6:15: the action actions/setup-node is not there",
            "ci.yml:7:15: ./action is an action of the repository's own",
            "ci.yml:8:15: docker://alpine runs a container",
            "did you mean actions/checkout?",
        ],
    );
    step_refused(
        "      - uses: actions/checkout\n",
        &["ci.yml:6:15: actions/checkout needs a version: actions/checkout@v4"],
    );
    step_refused(
        "      - uses: actions/checkout@v4\n        with: {fetchdepth: 1}\n",
        &[
            "ci.yml:7:16: with of actions/checkout has no key \"fetchdepth\"; did you mean fetch-depth?",
        ],
    );
    step_refused(
        "      - uses: actions/checkout@v4\n        with: {submodules: recursive}\n",
        &["submodules of actions/checkout is not supported here"],
    );
}

#[test]
fn what_is_missing_or_contradicts_itself_is_said() {
    refused(
        "name: x\n",
        &[
            "ci.yml:1:1: the key on is missing",
            "the key jobs is missing",
        ],
    );
    refused("on: push\njobs: {}\n", &["ci.yml:2:7: jobs is empty"]);
    refused(
        "on: push\njobs: {a: {}}\n",
        &[
            "ci.yml:2:8: the job a has no runs-on: write runs-on: self-hosted",
            "the job a has no steps",
        ],
    );
    step_refused(
        "      - name: x\n      - {run: x, uses: actions/checkout@v4}\n      - {run: x, with: {a: 1}}\n",
        &[
            "a step needs run or uses",
            "a step has run or uses, not both",
            "with belongs to uses",
        ],
    );
    step_refused(
        "      - {id: a, run: x}\n      - {id: A, run: x}\n      - {id: 1a, run: x}\n",
        &[
            "two steps of this job have the id \"A\"",
            "\"1a\" is not an id",
        ],
    );
    job_refused("    steps: []\n", &["ci.yml:5:12: steps is empty"]);
    job_refused(
        "    steps: {run: x}\n",
        &["ci.yml:5:12: steps must be a list, not a mapping"],
    );
    job_refused(
        "    needs: tset\n    steps: [{run: x}]\n",
        &["ci.yml:5:12: the job test needs \"tset\", which is not there"],
    );
    refused(
        "on: push\njobs:\n  a: {runs-on: x, needs: b, steps: [{run: x}]}\n  b: {runs-on: x, needs: [a], steps: [{run: x}]}\n  c: {runs-on: x, steps: [{run: x}]}\n",
        &["ci.yml:3:3: these jobs wait for each other, or for jobs that do: a, b"],
    );
    refused(
        "on:\n  push:\n    branches: [main]\n    branches-ignore: [x]\njobs: {a: {runs-on: x, steps: [{run: x}]}}",
        &["ci.yml:4:5: branches and branches-ignore cannot be combined"],
    );
    refused(
        "on: {push: {paths: ['!docs/**']}}\njobs: {a: {runs-on: x, steps: [{run: x}]}}",
        &["paths needs a pattern without \"!\" first; to leave some out, use paths-ignore"],
    );
}

#[test]
fn expressions_are_refused_where_they_are() {
    step_refused(
        "      - run: |\n          echo one\n          echo ${{ github.sha }} ${{ githb.ref }}\n",
        &["ci.yml:8:38: there is no context githb; did you mean github?"],
    );
    step_refused(
        "      - if: secrets.TOKEN != ''\n        run: x\n",
        &["ci.yml:6:13: secrets cannot be used in a step's if"],
    );
    step_refused(
        "      - if: ${{ success() }} && true\n        run: x\n",
        &["there is text around the ${{ }} of this if, which makes it always true"],
    );
    step_refused(
        "      - if: github.ref = 'x'\n        run: x\n",
        &["ci.yml:6:24: \"=\" is not an operator; equality is \"==\""],
    );
    step_refused(
        "      - run: echo ${{ always() }}\n",
        &["ci.yml:6:23: always() can be used in if only"],
    );
    job_refused(
        "    if: matrix.v == 1\n    steps: [{run: x}]\n",
        &["ci.yml:5:9: matrix cannot be used in a job's if"],
    );
    job_refused(
        "    name: ${{ hashFiles('x') }}\n    steps: [{run: x}]\n",
        &["hashFiles() can be used in steps only"],
    );
}

#[test]
fn values_of_the_wrong_kind_are_refused() {
    job_refused(
        "    timeout-minutes: soon\n    continue-on-error: perhaps\n    strategy: {matrix: {v: 1}}\n    env: [a]\n    steps: [{run: [a]}]\n",
        &[
            "ci.yml:5:22: timeout-minutes must be a number above 0",
            "ci.yml:6:24: continue-on-error must be true, false",
            "ci.yml:7:16: matrix.v must be a list",
            "ci.yml:8:10: env must be a mapping, not a list",
            "run must be text, not a list",
        ],
    );
    refused(
        "- a\n",
        &["ci.yml:1:1: a workflow must be a mapping, not a list"],
    );
}
