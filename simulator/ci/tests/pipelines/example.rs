//! The workflow that is handed out as an example.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use lab_ci::runs::Conclusion;

use crate::world::World;

#[tokio::test]
async fn the_example_tests_before_it_builds() {
    let Some(mut world) = World::new().await else {
        return;
    };
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/workflows/ci.yml"
    );
    let example = fs::read_to_string(path).unwrap();
    // In the program's place stands one that says what it is asked for.
    let program = world.path("devops-lab");
    fs::write(
        &program,
        "#!/bin/sh\necho \"asked: $*\"\ntest ! -e red || [ \"$1\" != app ]\n",
    )
    .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    world.site.program = program;
    let green = world.push(&example).await;
    let run = green.ended(Conclusion::Success).clone();
    green.shows("asked: app test app.test.js");
    green.shows(&format!(
        "asked: image build -t localhost:5001/hello:{} --label org.opencontainers.image.revision={} --push .",
        run.short_commit(),
        run.commit
    ));
    green.shows(&format!(
        "Pushed `localhost:5001/hello:{}`",
        run.short_commit()
    ));
    world.write("red", "");
    let red = world.push(&example).await;
    red.ended(Conclusion::Failure);
    red.hides("image build");
}
