//! The slides in a browser. Skipped where no Chromium is installed, unless `CI=true`.

use futures::future::BoxFuture;
use lab_browser::{Driver, Page};
use lab_checks::language::Language;
use lab_checks::library::Labs;
use lab_slides::deck::Deck;
use lab_slides::export;
use lab_slides::library::Decks;
use lab_slides::picture::{Cluster, Node, Pod, PodState};
use lab_slides::server::{Languages, Show, Surroundings};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::sync::DropGuard;

const YAML: &str = "apiVersion: devops-lab.dev/v1\nkind: Deck\nmetadata:\n  name: sample\ntitle:\n  en: A sample\n  fr: Un exemple\nminutes: 5\n";
const EN: &str = "<!-- id: title; layout: title -->\n# Sample\n---\n<!-- id: steps -->\n## Steps\n\n+ one\n+ two\n\n```yaml {1|2}\na: 1\nb: 2\n```\n\n???\nSay it.\n---\n<!-- id: live -->\n## Live\n\n```cluster\n```\n---\n<!-- id: lab -->\n## Your turn\n\n```start-lab\ncanary\n```\n";

struct MadeUp;

impl Surroundings for MadeUp {
    fn cluster(&self, _: Language) -> BoxFuture<'_, Result<Cluster, String>> {
        let pod = |version: &str, state| Pod {
            app: "hello".to_owned(),
            version: version.to_owned(),
            state,
        };
        let node = |name: &str, pods| Node {
            name: name.to_owned(),
            ready: true,
            pods,
        };
        let cluster = Cluster {
            nodes: vec![
                node("node-1", vec![pod("1.0.0", PodState::Ready)]),
                node("node-2", vec![pod("2.0.0", PodState::Failing)]),
            ],
            waiting: Vec::new(),
        };
        Box::pin(async { Ok(cluster) })
    }

    fn open_lab<'a>(&'a self, lab: &'a str, _: Language) -> BoxFuture<'a, Result<String, String>> {
        Box::pin(async move { Ok(format!("opened {lab}")) })
    }
}

fn sample() -> Decks {
    let directory = tempfile::tempdir().expect("a directory");
    let french = EN.replace("# Sample", "# Exemple");
    for (folder, name) in [("01-sample", "sample"), ("02-other", "other")] {
        let folder = directory.path().join(folder);
        std::fs::create_dir(&folder).expect("a directory");
        let yaml = YAML.replace("sample\n", &format!("{name}\n"));
        for (name, text) in [
            ("deck.yaml", yaml.as_str()),
            ("en.md", EN),
            ("fr.md", &french),
        ] {
            std::fs::write(folder.join(name), text).expect("a file");
        }
    }
    let labs = Labs::embedded().expect("labs");
    Decks::from_dir(directory.path(), &labs).expect("decks")
}

/// Shows decks until the guard is dropped; answers the address.
async fn serve(decks: Decks) -> (String, DropGuard) {
    let show = Show::new(decks, None, Languages::One(Language::En), MadeUp);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let end = CancellationToken::new();
    let guard = end.clone().drop_guard();
    tokio::spawn(async move { show.serve(listener, end).await });
    (url, guard)
}

async fn seen(page: &Page, hash: &str) {
    page.until(&format!("location.hash === {}", json!(hash)))
        .await;
}

async fn ready(page: &Page) {
    page.until("document.documentElement.dataset.ready === ''")
        .await;
}

#[tokio::test]
async fn the_windows_of_speaker_and_projector_are_in_step() {
    let Some(driver) = Driver::open().await else {
        return;
    };
    let (url, _show) = serve(sample()).await;
    let projector = driver.page(&format!("{url}/d/sample"), 1280, 720).await;
    let speaker = driver
        .page(&format!("{url}/d/sample/present"), 1280, 720)
        .await;
    ready(&projector).await;
    ready(&speaker).await;
    speaker.press("ArrowRight").await;
    seen(&projector, "#steps").await;
    speaker.press("PageDown").await;
    speaker.press(" ").await;
    seen(&projector, "#steps/2").await;
    let shown = "document.querySelectorAll('.current .fit[lang=en] .fragment.shown').length === 2";
    projector.until(shown).await;
    speaker.press("ArrowDown").await;
    projector
        .until("document.querySelector('.current .fit[lang=en] .line.lit').textContent.startsWith('b')")
        .await;
    speaker
        .until("document.getElementById('notes').textContent.includes('Say it.')")
        .await;
    speaker
        .until("document.getElementById('step-words').textContent === 'step 3 / 3'")
        .await;
    assert_eq!(projector.eval("document.querySelectorAll('.notes-panel').length && getComputedStyle(document.querySelector('.notes-panel')).display").await, json!("none"));
    speaker.press("l").await;
    projector
        .until("document.documentElement.lang === 'fr'")
        .await;
    projector.press("Home").await;
    seen(&speaker, "#title").await;
    projector
        .until("document.title.startsWith('Exemple')")
        .await;
    speaker.press("b").await;
    projector
        .until("[...document.querySelectorAll('.current .fit')].every((it) => it.clientWidth > 0)")
        .await;
    // Who opens another deck leads the others there.
    speaker.goto(&format!("{url}/d/other/present")).await;
    projector
        .until("document.documentElement.dataset.deck === 'other'")
        .await;
    speaker.goto(&format!("{url}/d/sample/present")).await;
    projector
        .until("document.documentElement.dataset.deck === 'sample'")
        .await;
    ready(&projector).await;
    // One that comes late is where the talk is.
    speaker.press("End").await;
    seen(&projector, "#lab").await;
    projector.goto("about:blank").await;
    projector.goto(&format!("{url}/d/sample")).await;
    seen(&projector, "#lab").await;
    for page in [&projector, &speaker] {
        assert_eq!(page.complaints(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_slide_shows_the_cluster_and_opens_a_lab() {
    let Some(driver) = Driver::open().await else {
        return;
    };
    let (url, _show) = serve(sample()).await;
    let speaker = driver
        .page(&format!("{url}/d/sample/present#live"), 1280, 720)
        .await;
    ready(&speaker).await;
    speaker
        .until("document.querySelector('.current .pod.failing')?.textContent.includes('2.0.0')")
        .await;
    speaker.press("ArrowRight").await;
    seen(&speaker, "#lab").await;
    speaker
        .click(".current .fit[lang=en] [data-start-lab=canary]")
        .await;
    speaker
        .until("document.querySelector('.current .fit[lang=en] .said').textContent === 'opened canary'")
        .await;
    assert_eq!(speaker.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn overview_help_and_theme_by_keyboard_alone() {
    let Some(driver) = Driver::open().await else {
        return;
    };
    let (url, _show) = serve(sample()).await;
    let page = driver.page(&format!("{url}/d/sample"), 1280, 720).await;
    ready(&page).await;
    page.press("o").await;
    page.until("[...document.querySelectorAll('.frame')].every((it) => it.clientWidth > 0)")
        .await;
    page.press("ArrowRight").await;
    page.press("Enter").await;
    page.until("!document.documentElement.classList.contains('overview')")
        .await;
    seen(&page, "#steps").await;
    page.press("?").await;
    page.until("document.getElementById('help').open").await;
    page.press("Escape").await;
    page.until("!document.getElementById('help').open").await;
    page.press("d").await;
    page.until("document.documentElement.dataset.theme === 'dark'")
        .await;
    page.press(".").await;
    page.until("getComputedStyle(document.body).backgroundColor === 'rgb(0, 0, 0)'")
        .await;
    assert_eq!(page.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn an_exported_file_works_from_a_disk_and_is_printed() {
    let Some(driver) = Driver::open().await else {
        return;
    };
    let decks = sample();
    let decks: Vec<&Deck> = decks.iter().take(1).collect();
    let html = export::html(&decks, Languages::One(Language::Fr));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("slides.html");
    std::fs::write(&file, &html).unwrap();
    let page = driver
        .page(&format!("file://{}", file.display()), 1280, 720)
        .await;
    ready(&page).await;
    page.press("ArrowRight").await;
    seen(&page, "#steps").await;
    page.press("p").await;
    page.until("document.getElementById('notes').textContent.includes('Say it.')")
        .await;
    assert_eq!(
        page.eval("document.documentElement.lang").await,
        json!("fr")
    );
    assert_eq!(page.complaints(), Vec::<String>::new());
    let pdf = export::pdf(&html).await.unwrap();
    assert!(pdf.starts_with(b"%PDF"));
    let text = String::from_utf8_lossy(&pdf);
    assert!(text.contains("/Count 4"), "a page for every slide");
}

/// What is wider or higher than its slide, in either language.
const OVERFLOWING: &str = "[...document.querySelectorAll('.slide')].flatMap((slide) => {
    const where = `${slide.closest('.frame').id} (${slide.parentElement.lang})`;
    const foot = slide.querySelector('footer').offsetTop;
    return [slide, ...slide.querySelectorAll('.body, .code, header, figure')].filter((it) => {
        const high = it.scrollHeight > it.clientHeight + 2 || it.offsetTop + it.offsetHeight > 722;
        const low = it.classList.contains('body') && it.offsetTop + it.scrollHeight > foot + 12;
        return it.scrollWidth > it.clientWidth + 2 || high || low;
    }).map((it) => `${where}: ${it.className || it.tagName}`);
})";

#[tokio::test]
async fn every_slide_of_this_program_fits_its_stage() {
    let Some(driver) = Driver::open().await else {
        return;
    };
    let decks = Decks::embedded(&Labs::embedded().unwrap()).unwrap();
    let names: Vec<_> = decks.iter().map(|deck| deck.name.clone()).collect();
    let (url, _show) = serve(decks).await;
    let page = driver.page("about:blank", 1280, 720).await;
    let mut over = Vec::new();
    for name in names {
        page.goto(&format!("{url}/d/{name}")).await;
        ready(&page).await;
        // The talk stays in both languages, once it is.
        if page.eval("document.documentElement.dataset.language").await != json!("both") {
            page.press("b").await;
        }
        page.press("o").await;
        page.until("[...document.querySelectorAll('.fit')].every((it) => it.clientWidth > 0)")
            .await;
        let found = page.eval(OVERFLOWING).await;
        let found = found.as_array().unwrap().iter();
        over.extend(found.map(|it| format!("{name}: {}", it.as_str().unwrap())));
    }
    assert_eq!(over, Vec::<String>::new());
}
