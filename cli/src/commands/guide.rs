//! `devops-lab guide`: the lab's text and the live picture of the cluster, in the browser.

mod cluster;
mod tutor;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use lab_guide::picture::Watcher;
use lab_guide::server::Guide;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::cluster::HerCluster;
use self::tutor::CommandLineTutor;
use super::lab::{Learner, find};
use crate::cli::GuideArgs;
use crate::output::{faint, line, note, strong};

/// The port that is tried first; no lab and no part of a cluster asks for it.
const PORT: u16 = 8765;
/// How many ports after it are tried.
const NEXT: u16 = 20;

pub(crate) async fn run(args: GuideArgs) -> anyhow::Result<ExitCode> {
    let GuideArgs {
        lab,
        present,
        port,
        no_open,
        options,
    } = args;
    let learner = Learner::of(options)?;
    let path = match (present, lab) {
        (true, _) => "/present".to_owned(),
        (false, Some(lab)) => format!("/lab/{}", find(&learner.labs, &lab)?.0.name),
        (false, None) => "/".to_owned(),
    };
    let listener = listen(port).await?;
    let url = format!("http://{}{path}", listener.local_addr()?);
    let language = learner.language;
    let ends = learner.say("Ctrl-C ends it.", "Ctrl-C l’arrête.");
    let label = learner.say("The guide: ", "Le guide : ");
    let picture = Watcher::start(Arc::new(HerCluster::of(&learner)));
    let guide = Guide::new(Arc::new(CommandLineTutor::new(learner)), picture, language);
    let end = CancellationToken::new();
    let ended = end.clone();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        ended.cancel();
    });
    line(format_args!("{label}{}", strong(&url)));
    line(faint(ends));
    if !no_open && let Err(error) = open::that_detached(&url) {
        note(format_args!("the browser does not open: {error}"));
    }
    guide.serve(listener, end).await?;
    Ok(ExitCode::SUCCESS)
}

/// On this machine alone: the port that was asked for, or the first free one.
async fn listen(asked: Option<u16>) -> anyhow::Result<TcpListener> {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if let Some(port) = asked {
        return TcpListener::bind(at(port)).await.with_context(|| {
            format!("port {port} is taken; leave --port out, and a free one is found")
        });
    }
    for port in PORT..PORT + NEXT {
        if let Ok(listener) = TcpListener::bind(at(port)).await {
            return Ok(listener);
        }
    }
    TcpListener::bind(at(0))
        .await
        .context("no port of 127.0.0.1 can be listened on")
}
