//! Secrets: used, and never seen.

use lab_ci::runs::{self, Conclusion};

use crate::world::{NAME, World};

#[tokio::test]
async fn no_secret_is_shown_or_kept() {
    let Some(world) = World::new().await else {
        return;
    };
    let pushed = world
        .push(
            r#"on: push
jobs:
  a:
    runs-on: x
    outputs: {leak: '${{ steps.s.outputs.leak }}', fine: ok}
    steps:
      - id: s
        name: Use ${{ secrets.TOKEN }}
        env: {TOKEN: '${{ secrets.TOKEN }}'}
        run: |
          echo "token is $TOKEN"
          echo "::error::it was $TOKEN"
          echo "::add-mask::second-$((40 + 2))"
          echo "and second-42 too"
          echo "leak=$TOKEN" >> "$GITHUB_OUTPUT"
          test "$TOKEN" = "s3cr3t""-value" && echo it is the right one
      - run: cd s3cr3t-value
      - if: env.TOKEN == '' && always()
        run: echo not in the next step
  b:
    needs: a
    if: always()
    runs-on: x
    steps: [{run: 'echo [${{ needs.a.outputs.leak }}] [${{ needs.a.outputs.fine }}] [${{ secrets.NONE }}]'}]
"#,
        )
        .await;
    let run = pushed.ended(Conclusion::Failure);
    pushed.shows("token is ***");
    pushed.shows("and *** too");
    pushed.shows("it is the right one");
    pushed.shows("not in the next step");
    pushed.shows("[] [ok] []");
    pushed.shows("the output leak is left out");
    let dir = runs::run_dir(&world.site.pipelines, NAME, run.number);
    let record = std::fs::read_to_string(dir.join("run.json")).unwrap();
    for text in [&pushed.shown, &world.log(run), &record] {
        assert!(!text.contains("s3cr3t-value"), "{text}");
        assert!(!text.contains("second-42"), "{text}");
    }
}
