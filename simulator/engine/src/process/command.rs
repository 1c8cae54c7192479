//! Decides what a container's process is: program, arguments, environment, working directory.
//!
//! A container is made to believe in its image's file tree without a chroot: its program is
//! looked up in the tree, and arguments that name something in the tree are rewritten to where
//! that lies on the machine. Paths inside the application's own code are its own affair; the
//! variable `DEVOPS_LAB_ROOTFS` tells it where its `/` is.

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::executable::{self, Executable};
use super::images::ImageConfig;
use super::root_paths::Root;
use super::shim::MARKER;
use crate::{ContainerConfig, EngineError};

/// Where programs are looked for in an image that does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a container learns about its pod through its environment.
#[derive(Clone, Debug)]
pub(super) struct PodFacts {
    /// The container's id.
    pub(super) container: String,
    /// The pod's host name.
    pub(super) hostname: String,
    /// The pod's address.
    pub(super) ip: Ipv4Addr,
    /// DNS servers.
    pub(super) dns_servers: Vec<IpAddr>,
    /// Domains under which short names are looked for.
    pub(super) dns_search: Vec<String>,
}

/// Everything that is needed to start a process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ProcessSpec {
    pub(super) program: PathBuf,
    pub(super) name: String,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) working_dir: PathBuf,
}

/// The first process of a container.
///
/// # Errors
/// `InvalidContainer` where the program is missing or cannot run on this machine.
pub(super) fn for_container(
    config: &ContainerConfig,
    image: &ImageConfig,
    root: &Root,
    pod: &PodFacts,
) -> Result<ProcessSpec, EngineError> {
    specify(&command_line(config, image), config, image, root, pod)
}

/// A further process in a container, with the same surroundings.
///
/// # Errors
/// As for [`for_container`].
pub(super) fn for_exec(
    command: &[String],
    config: &ContainerConfig,
    image: &ImageConfig,
    root: &Root,
    pod: &PodFacts,
) -> Result<ProcessSpec, EngineError> {
    specify(command, config, image, root, pod)
}

/// The working directory inside the container.
pub(super) fn working_dir<'a>(config: &'a ContainerConfig, image: &'a ImageConfig) -> &'a str {
    let named = config.working_dir.as_deref().filter(|dir| !dir.is_empty());
    named
        .or(Some(&*image.working_dir).filter(|dir| !dir.is_empty()))
        .unwrap_or("/")
}

/// What is run: a container's command replaces the image's entrypoint *and* its command.
/// <https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/>
fn command_line(config: &ContainerConfig, image: &ImageConfig) -> Vec<String> {
    let (program, args) = match (config.command.is_empty(), config.args.is_empty()) {
        (false, _) => (&config.command, &config.args),
        (true, false) => (&image.entrypoint, &config.args),
        (true, true) => (&image.entrypoint, &image.cmd),
    };
    program.iter().chain(args).cloned().collect()
}

fn specify(
    command: &[String],
    config: &ContainerConfig,
    image: &ImageConfig,
    root: &Root,
    pod: &PodFacts,
) -> Result<ProcessSpec, EngineError> {
    let Some((name, args)) = command.split_first() else {
        return Err(invalid(
            "no command specified: neither the container nor its image names a program",
        ));
    };
    let working_dir = working_dir(config, image);
    let env = environment(config, image, root, pod);
    let path = search_path(config, image);
    let program = find_program(name, working_dir, &path, root)?;
    let (program, mut all_args) = make_runnable(name, program, root)?;
    all_args.extend(args.iter().map(|arg| map_argument(arg, root)));
    let working_dir = root.resolve(working_dir);
    Ok(ProcessSpec {
        program,
        name: name.clone(),
        args: all_args,
        env,
        working_dir,
    })
}

fn invalid(message: impl Into<String>) -> EngineError {
    EngineError::InvalidContainer(message.into())
}

fn map_argument(arg: &str, root: &Root) -> String {
    match root.existing(arg) {
        Some(place) => place.to_string_lossy().into_owned(),
        None => arg.to_owned(),
    }
}

/// The directories, inside the container, in which programs are looked for.
fn search_path(config: &ContainerConfig, image: &ImageConfig) -> String {
    let named = config.env.iter().rfind(|(name, _)| name == "PATH");
    let named = named.or_else(|| image.env.iter().rfind(|(name, _)| name == "PATH"));
    named.map_or_else(|| DEFAULT_PATH.to_owned(), |(_, path)| path.clone())
}

fn find_program(
    name: &str,
    working_dir: &str,
    path: &str,
    root: &Root,
) -> Result<PathBuf, EngineError> {
    if name.contains('/') {
        let inside = if name.starts_with('/') {
            name.to_owned()
        } else {
            format!("{working_dir}/{name}")
        };
        let place = root.resolve(&inside);
        return match place.metadata() {
            Err(_) => Err(invalid(format!(
                "exec: {name:?}: stat {inside}: no such file or directory"
            ))),
            Ok(_) if !is_program(&place) => {
                Err(invalid(format!("exec: {name:?}: permission denied")))
            }
            Ok(_) => Ok(place),
        };
    }
    let mut places = path
        .split(':')
        .map(|dir| root.resolve(&format!("{dir}/{name}")));
    places.find(|place| is_program(place)).ok_or_else(|| {
        invalid(format!(
            "exec: {name:?}: executable file not found in $PATH"
        ))
    })
}

fn is_program(place: &Path) -> bool {
    place
        .metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// The program that the kernel is asked to run, and the arguments that come before the others.
fn make_runnable(
    name: &str,
    program: PathBuf,
    root: &Root,
) -> Result<(PathBuf, Vec<String>), EngineError> {
    let Executable::Script(interpreter, argument) = inspect(name, &program)? else {
        return Ok((program, Vec::new()));
    };
    // The kernel would take the interpreter of the machine, not of the image.
    let Some(place) = root
        .existing(&interpreter)
        .filter(|place| is_program(place))
    else {
        return Err(invalid(format!(
            "exec: {name:?}: the image has no {interpreter}, which this script needs"
        )));
    };
    inspect(&interpreter, &place)?;
    let script = program.to_string_lossy().into_owned();
    Ok((place, argument.into_iter().chain([script]).collect()))
}

/// Says what the program is, and refuses one whose loader this machine does not have.
fn inspect(name: &str, program: &Path) -> Result<Executable, EngineError> {
    let kind = executable::inspect(program)
        .map_err(|error| EngineError::runtime(format!("reading the program {name:?}"), error))?;
    match &kind {
        Executable::Dynamic(loader) if !Path::new(loader).exists() => Err(invalid(format!(
            "exec: {name:?} needs {loader}, which this machine does not have: the process engine runs static \
             programs and, without isolation, what the machine itself can load. Use an image with a static program \
             (such as one FROM devops-lab/runtime:1), or start the cluster with --engine docker"
        ))),
        Executable::Dynamic(_) | Executable::Plain | Executable::Script(..) => Ok(kind),
    }
}

/// The environment: what the image says, what every pod is told, what the pod's author says;
/// the later wins. `HOST` tells an application which address is its own, since 0.0.0.0 would
/// take the port from every other pod of the machine.
fn environment(
    config: &ContainerConfig,
    image: &ImageConfig,
    root: &Root,
    pod: &PodFacts,
) -> Vec<(String, String)> {
    let place = |inside: &str| root.resolve(inside).to_string_lossy().into_owned();
    let mut env = Environment::default();
    env.set("HOME", &place("/"));
    env.set(
        "TMPDIR",
        &place(if root.resolve("/tmp").is_dir() {
            "/tmp"
        } else {
            "/"
        }),
    );
    env.set_all(&image.env);
    env.set("HOSTNAME", &pod.hostname);
    env.set("HOST", &pod.ip.to_string());
    env.set("POD_IP", &pod.ip.to_string());
    if !pod.dns_servers.is_empty() {
        let servers: Vec<_> = pod.dns_servers.iter().map(IpAddr::to_string).collect();
        env.set("DEVOPS_LAB_DNS", &servers.join(" "));
        env.set("DEVOPS_LAB_DNS_SEARCH", &pod.dns_search.join(" "));
    }
    env.set_all(&config.env);
    // What the application starts is also found in the image, never on the machine.
    let path = search_path(config, image);
    env.set(
        "PATH",
        &path.split(':').map(place).collect::<Vec<_>>().join(":"),
    );
    env.set("DEVOPS_LAB_ROOTFS", &place("/"));
    env.set(MARKER, &pod.container);
    env.settings
}

#[derive(Default)]
struct Environment {
    settings: Vec<(String, String)>,
}

impl Environment {
    fn set(&mut self, name: &str, value: &str) {
        match self.settings.iter_mut().find(|(known, _)| known == name) {
            Some((_, present)) => value.clone_into(present),
            None => self.settings.push((name.to_owned(), value.to_owned())),
        }
    }

    fn set_all(&mut self, settings: &[(String, String)]) {
        for (name, value) in settings {
            self.set(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Sample {
        _dir: tempfile::TempDir,
        root: Root,
        image: ImageConfig,
    }

    fn sample() -> Sample {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().to_owned();
        for (path, content, mode) in [
            ("usr/bin/server", "static".as_bytes(), 0o755),
            ("usr/bin/notes", b"text", 0o644),
            ("app/app.js", b"", 0o644),
            ("app/run.sh", b"#!/usr/bin/server -x\n", 0o755),
            ("app/lost.sh", b"#!/bin/nosh\n", 0o755),
        ] {
            let file = root.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, content).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        }
        let image = ImageConfig {
            entrypoint: vec!["server".into(), "app".into()],
            cmd: vec!["/app/app.js".into()],
            env: vec![
                ("PATH".into(), "/bin:/usr/bin".into()),
                ("HOST".into(), "0.0.0.0".into()),
            ],
            working_dir: "/app".into(),
            ..ImageConfig::default()
        };
        Sample {
            root: Root {
                dir: root,
                mounts: Vec::new(),
            },
            _dir: dir,
            image,
        }
    }

    fn pod() -> PodFacts {
        PodFacts {
            container: "c".into(),
            hostname: "web-1".into(),
            ip: Ipv4Addr::new(127, 9, 10, 2),
            dns_servers: vec!["127.9.128.10".parse().unwrap()],
            dns_search: vec!["default.svc.cluster.local".into(), "cluster.local".into()],
        }
    }

    /// Program and arguments with the root written as `@`, or the error.
    fn run(command: &[&str], args: &[&str]) -> String {
        let sample = sample();
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let config = ContainerConfig {
            command: owned(command),
            args: owned(args),
            ..ContainerConfig::default()
        };
        match for_container(&config, &sample.image, &sample.root, &pod()) {
            Ok(spec) => {
                let words: Vec<String> = [spec.program.display().to_string()]
                    .into_iter()
                    .chain(spec.args)
                    .collect();
                words
                    .join(" ")
                    .replace(&sample.root.dir.display().to_string(), "@")
            }
            Err(error) => error.to_string(),
        }
    }

    #[track_caller]
    fn check(command: &[&str], args: &[&str], expected: &str) {
        assert_eq!(run(command, args), expected);
    }

    #[test]
    fn the_containers_words_replace_the_images() {
        check(&[], &[], "@/usr/bin/server app @/app/app.js");
        check(&[], &["--port", "80"], "@/usr/bin/server app --port 80");
        check(&["/usr/bin/server"], &[], "@/usr/bin/server");
        check(
            &["./run.sh"],
            &["/app", "/not-there"],
            "@/usr/bin/server -x @/app/run.sh @/app /not-there",
        );
    }

    #[test]
    fn a_program_that_cannot_run_is_named() {
        check(
            &["nginx"],
            &[],
            "exec: \"nginx\": executable file not found in $PATH",
        );
        check(
            &["notes"],
            &[],
            "exec: \"notes\": executable file not found in $PATH",
        );
        check(
            &["/bin/sh"],
            &[],
            "exec: \"/bin/sh\": stat /bin/sh: no such file or directory",
        );
        check(&["/app"], &[], "exec: \"/app\": permission denied");
        check(
            &["/app/lost.sh"],
            &[],
            "exec: \"/app/lost.sh\": the image has no /bin/nosh, which this script needs",
        );
    }

    #[track_caller]
    fn check_env(config_env: &[(&str, &str)], name: &str, expected: Option<&str>) {
        let sample = sample();
        let env = config_env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let config = ContainerConfig {
            env,
            ..ContainerConfig::default()
        };
        let spec = for_container(&config, &sample.image, &sample.root, &pod()).unwrap();
        let dir = sample.root.dir.display().to_string();
        let value = spec
            .env
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.replace(&dir, "@"));
        assert_eq!(value.as_deref(), expected, "{name}");
    }

    #[test]
    fn a_pod_is_told_its_own_address_and_place() {
        check_env(&[], "HOST", Some("127.9.10.2"));
        check_env(&[], "POD_IP", Some("127.9.10.2"));
        check_env(&[], "HOSTNAME", Some("web-1"));
        check_env(&[], "DEVOPS_LAB_ROOTFS", Some("@"));
        check_env(&[("HOST", "127.0.0.1")], "HOST", Some("127.0.0.1"));
    }

    #[test]
    fn programs_are_looked_up_in_the_image_only() {
        check_env(&[], "PATH", Some("@/bin:@/usr/bin"));
        check_env(
            &[("PATH", "/usr/bin:/opt")],
            "PATH",
            Some("@/usr/bin:@/opt"),
        );
        check_env(&[], "CARGO", None);
    }
}
