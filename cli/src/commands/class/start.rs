//! `devops-lab class start` and `class export`: the teacher's side.

use std::fs;
use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use dialoguer::Password;
use jiff::Timestamp;
use lab_checks::language::Language;
use lab_checks::library::Labs;
use lab_classroom::course::Course;
use lab_classroom::secrets;
use lab_classroom::server::{self, Handout, Server};
use lab_classroom::store::{Class, Store};
use lab_cluster::record::Home;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::qr;
use crate::cli::LanguageArgs;
use crate::cli::class::{ClassExportArgs, ClassStartArgs};
use crate::commands::lab::{language, pick};
use crate::output::{blank, faint, line, strong, warn};
use crate::transfer::Transfer;

/// Least characters of a teachers' password.
const PASSWORD_MIN: usize = 8;

pub(super) async fn run(home: &Home, args: ClassStartArgs) -> anyhow::Result<()> {
    let ClassStartArgs {
        class,
        title,
        listen,
        password,
        new_code,
        labs,
        serve_bundle,
        serve_images,
        language: LanguageArgs { lang },
    } = args;
    let language = language(lang.as_deref())?;
    let labs = match labs {
        Some(directory) => Labs::from_dir(&directory)?,
        None => Labs::embedded()?,
    };
    // First of all: a class that was begun must not end over a damaged file.
    let handout = serve_bundle
        .map(|file| hand_out(&file, language))
        .transpose()?;
    let registry = match serve_images {
        Some(name) => {
            let (_, record) = crate::commands::open(&name)?;
            lab_cluster::registry::verify(&record).await?;
            Some(format!("127.0.0.1:{}", record.ports.registry))
        }
        None => None,
    };
    let store = open(home, &class, true)?;
    let before = store.class()?;
    let password = match (password, &before) {
        (Some(password), _) => Some(password),
        (None, Some(_)) => None,
        (None, None) => Some(ask_password(language)?),
    };
    if let Some(password) = &password
        && password.chars().count() < PASSWORD_MIN
    {
        bail!("the teachers' password needs at least {PASSWORD_MIN} characters");
    }
    let hash = password.as_deref().map(secrets::hash).transpose()?;
    let begun = before.unwrap_or_else(|| Class {
        title: "DevOps".to_owned(),
        code: secrets::code(),
        password: String::new(),
        begun: Timestamp::now(),
    });
    let class = Class {
        title: title.unwrap_or(begun.title),
        code: if new_code {
            secrets::code()
        } else {
            begun.code
        },
        password: hash.unwrap_or(begun.password),
        begun: begun.begun,
    };
    store.begin(&class)?;
    let listener = TcpListener::bind(listen).await.with_context(|| {
        format!("cannot listen on {listen}: choose another address or port with --listen")
    })?;
    let address = listener.local_addr()?;
    let version = env!("CARGO_PKG_VERSION");
    let server = Server::new(
        store,
        class.clone(),
        Course::of(&labs),
        version,
        Timestamp::now,
    )?;
    tell(&class, address, handout.is_some(), language);
    let server = server.with_handout(handout, registry);
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
    server.serve(listener, end).await?;
    blank();
    line(pick(
        language,
        "The class is kept; the same command goes on with it.",
        "La classe est conservée ; la même commande la reprend.",
    ));
    Ok(())
}

/// Opens the bundle and compares it with its checksums.
fn hand_out(file: &Path, language: Language) -> anyhow::Result<Handout> {
    let size = lab_bundle::open(file)?.size();
    let bar = Transfer::new(
        pick(language, "verifying the bundle", "vérification du paquet"),
        size,
    );
    Ok(tokio::task::block_in_place(|| Handout::open(file, &bar))?)
}

/// The class's file.
fn open(home: &Home, class: &str, make: bool) -> anyhow::Result<Store> {
    if !lab_api::names::is_dns_label(class) {
        bail!("{class:?} is no name of a class: use lower-case letters, digits and -");
    }
    let path = home.path().join("classes").join(format!("{class}.db"));
    if !make && !path.exists() {
        bail!(
            "there is no class {class:?} on this machine (devops-lab class start --class {class})"
        );
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)
            .with_context(|| format!("failed to create {}", parent.display()))?;
    }
    Ok(Store::open(&path)?)
}

fn ask_password(language: Language) -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        bail!(
            "the class has no teachers' password yet: give one with --password or DEVOPS_LAB_CLASS_PASSWORD"
        );
    }
    let prompt = pick(
        language,
        "A password for the teachers' page",
        "Un mot de passe pour la page des enseignants",
    );
    let again = pick(language, "Once more", "Encore une fois");
    let differ = pick(language, "They differ.", "Ils diffèrent.");
    Ok(Password::new()
        .with_prompt(prompt)
        .with_confirmation(again, differ)
        .interact()?)
}

fn tell(class: &Class, listening: SocketAddr, hands_out: bool, language: Language) {
    let address = address_for_others(listening);
    line(strong(&class.title));
    blank();
    if listening.ip().is_loopback() {
        line(warn(pick(
            language,
            "! Only this machine can reach it; leave --listen out for the room.",
            "! Seule cette machine peut l’atteindre ; sans --listen, toute la salle le peut.",
        )));
    }
    let url = format!("http://{address}");
    line(format_args!(
        "  {:<12}{}",
        pick(language, "students", "étudiants"),
        strong(&format!(
            "devops-lab class join {url} --code {} --name {}",
            class.code,
            pick(language, "YOUR-NAME", "VOTRE-NOM")
        ))
    ));
    line(format_args!(
        "  {:<12}{url}",
        pick(language, "to project", "à projeter")
    ));
    line(format_args!(
        "  {:<12}{url}/teacher/",
        pick(language, "teachers", "enseignants")
    ));
    if hands_out {
        line(format_args!(
            "  {:<12}{url}/get   {}",
            pick(language, "to install", "à installer"),
            faint(&format!("curl -fsSL {url}/get.sh | sh"))
        ));
    }
    blank();
    for row in qr::lines(&url).into_iter().flatten() {
        line(format_args!("  {row}"));
    }
    blank();
    line(faint(pick(
        language,
        "Ctrl-C ends it; what was done is kept.",
        "Ctrl-C l’arrête ; tout ce qui a été fait est conservé.",
    )));
}

/// Where others reach what listens here.
fn address_for_others(listening: SocketAddr) -> SocketAddr {
    if !listening.ip().is_unspecified() {
        return listening;
    }
    SocketAddr::new(own_address(), listening.port())
}

/// This machine's address on the network that leads furthest. A datagram socket that is connected
/// sends nothing, and knows.
fn own_address() -> IpAddr {
    let known = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    });
    known.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

pub(super) fn export(home: &Home, args: &ClassExportArgs) -> anyhow::Result<()> {
    let ClassExportArgs { file, class } = args;
    let store = open(home, class, false)?;
    let begun = store
        .class()?
        .with_context(|| format!("class {class:?} was never begun"))?;
    let course = Course::of(&Labs::embedded()?);
    let export = server::Export::of(&store, &begun, &course, Timestamp::now())?;
    let ending = file.extension().and_then(|ending| ending.to_str());
    let text = match ending {
        Some("csv") => export.csv(),
        Some("json") => export.json(),
        _ => bail!("{}: end the name with .csv or .json", file.display()),
    };
    write(file, &text)
}

fn write(file: &PathBuf, text: &str) -> anyhow::Result<()> {
    fs::write(file, text).with_context(|| format!("failed to write {}", file.display()))?;
    line(file.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_told_an_address_that_they_can_reach() {
        let loopback: SocketAddr = "127.0.0.1:8888".parse().unwrap();
        assert_eq!(address_for_others(loopback), loopback);
        let every: SocketAddr = "0.0.0.0:8888".parse().unwrap();
        let told = address_for_others(every);
        assert!(!told.ip().is_unspecified() && told.port() == 8888, "{told}");
    }
}
