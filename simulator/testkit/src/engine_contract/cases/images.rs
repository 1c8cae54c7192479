//! Images come to the node before containers do.

use anyhow::ensure;
use lab_engine::EngineError;

use super::super::Fixture;
use super::super::pods::pod_config;

pub(super) async fn absent_until_pulled(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let engine = fixture.engine();
    let image = fixture.container("main", &["sleep"]).image;
    ensure!(
        engine.image_status(&image).await?.is_none(),
        "it is there before the pull"
    );
    let pulled = engine.pull_image(&image).await?;
    ensure!(
        pulled.id.starts_with("sha256:"),
        "its id {:?} is no digest",
        pulled.id
    );
    ensure!(
        engine.image_status(&image).await? == Some(pulled.clone()),
        "the pull and the status differ"
    );
    ensure!(
        engine.pull_image(&image).await? == pulled,
        "a second pull gives another image"
    );
    Ok(())
}

pub(super) async fn refused_by_name(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let image = fixture.absent_image();
    match fixture.engine().pull_image(&image).await {
        Err(EngineError::ImageNotFound { message }) => {
            ensure!(
                message.contains(&image),
                "the message does not name the image: {message}"
            );
            Ok(())
        }
        other => anyhow::bail!("expected ImageNotFound, got {other:?}"),
    }
}

pub(super) async fn needed_by_containers(fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let engine = fixture.engine();
    let sandbox = engine.run_pod_sandbox(&pod_config("imageless")).await?;
    let mut config = fixture.container("main", &["sleep"]);
    config.image = fixture.absent_image();
    let refused = engine.create_container(&sandbox.id, &config).await;
    ensure!(refused.is_err(), "a container was made of nothing");
    engine.remove_pod_sandbox(&sandbox.id).await?;
    Ok(())
}
