//! What tests of the bundle need: a bundle, a class that hands it out, and a line that is cut.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use lab_bundle::{Draft, Program};
use lab_image::ImageRef;
use lab_image::layout::Layout;
use lab_image::spec::{self, ImageConfig, Manifest};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::course::Course;
use crate::server::{Handout, Server};
use crate::store::{Class, Store};

/// Name of the image in every bundle.
pub(crate) const IMAGE: &str = "localhost:5001/team/hello:1.0.0";
/// Bytes of its layer.
pub(crate) const LAYER: usize = 3_000_000;

/// Makes a bundle whose layer is full of this byte, and whose program writes down how it is called.
pub(crate) fn bundle(dir: &Path, byte: u8) -> PathBuf {
    let layout = Layout::open(&dir.join(format!("store-{byte}"))).unwrap();
    let layer = layout
        .put_blob(spec::LAYER_TAR, &vec![byte; LAYER])
        .unwrap();
    let config = serde_json::to_vec(&ImageConfig::scratch()).unwrap();
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(spec::MANIFEST.into()),
        config: layout.put_blob(spec::CONFIG, &config).unwrap(),
        layers: vec![layer],
        annotations: Default::default(),
    };
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let descriptor = layout.put_blob(spec::MANIFEST, &manifest).unwrap();
    let name = ImageRef::parse(IMAGE).unwrap();
    layout.set(&name, descriptor).unwrap();
    let program = dir.join("program");
    fs::write(
        &program,
        "#!/bin/sh\necho \"$1 $2\" >\"$HOME/called\"\ncp \"$3\" \"$HOME/loaded\"\n",
    )
    .unwrap();
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let version = "1.0.0".to_owned();
    let mut draft = Draft::new(Program { version, target }, &program).unwrap();
    draft
        .image(&layout, &layout.require(&name).unwrap())
        .unwrap();
    let file = dir.join(format!("{byte}.bundle"));
    draft.write(&file, &()).unwrap();
    file
}

/// A class that hands out a bundle, or none.
pub(crate) struct Room {
    pub(crate) url: String,
    end: CancellationToken,
    _dir: TempDir,
}

impl Room {
    pub(crate) async fn open(bundle: Option<&Path>) -> Self {
        Self::with(bundle, None).await
    }

    pub(crate) async fn with(bundle: Option<&Path>, registry: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("class.db")).unwrap();
        let class = Class {
            title: "DevOps <1>".into(),
            code: "k7mw-pq2x".into(),
            password: String::new(),
            begun: Timestamp::UNIX_EPOCH,
        };
        store.begin(&class).unwrap();
        let handout = bundle.map(|file| Handout::open(file, &()).unwrap());
        let course = Course { labs: Vec::new() };
        let clock = || Timestamp::UNIX_EPOCH;
        let server = Server::new(store, class, course, "1.0.0", clock).unwrap();
        let server = server.with_handout(handout, registry.map(str::to_owned));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let end = CancellationToken::new();
        let ended = end.clone();
        tokio::spawn(async move { server.serve(listener, ended).await });
        Self {
            url,
            end,
            _dir: dir,
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// A line to a server that is cut after some bytes, and keeps what was asked over it.
pub(crate) struct Line {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Line {
    /// The first connection ends after `cuts[0]` bytes of the answer and so on, further ones not.
    pub(crate) async fn to(server: &str, cuts: &'static [usize]) -> Self {
        let server = server.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (heard, count) = (Arc::clone(&asked), Arc::new(AtomicUsize::new(0)));
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let cut = cuts.get(count.fetch_add(1, Ordering::Relaxed)).copied();
                let (server, heard) = (server.clone(), Arc::clone(&heard));
                tokio::spawn(async move {
                    let mut request = vec![0; 16 * 1024];
                    let read = client.read(&mut request).await.unwrap_or(0);
                    let text = String::from_utf8_lossy(&request[..read]).into_owned();
                    heard.lock().unwrap().push(text);
                    let mut upstream = TcpStream::connect(server).await.unwrap();
                    upstream.write_all(&request[..read]).await.unwrap();
                    let most = cut.map_or(u64::MAX, |cut| cut as u64);
                    let _ = copy(&mut (&mut upstream).take(most), &mut client).await;
                });
            }
        });
        Self { url, asked }
    }

    /// The requests, as they came.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}
