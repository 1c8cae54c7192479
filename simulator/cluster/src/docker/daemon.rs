//! Finding the Docker daemon, and saying what is wrong where it cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use bollard::{API_DEFAULT_VERSION, ClientVersion, Docker};
use tokio::net::UnixStream;

/// How long the daemon may take over one answer: on a busy machine, 20 s were seen.
const REQUEST_TIMEOUT_SECONDS: u64 = 120;

/// The oldest API that is known to do all we ask: Docker 20.10.
const OLDEST: ClientVersion = ClientVersion {
    major_version: 1,
    minor_version: 41,
};

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// A Docker daemon that answers and is new enough.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// The client.
    pub docker: Docker,
    /// Where its socket is on this machine.
    pub socket: PathBuf,
    /// Its version, such as `20.10.24`.
    pub version: String,
}

/// Why Docker cannot be used, each with the way out.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Nothing listens.
    #[error(
        "no Docker daemon answers at {}; start it (sudo systemctl start docker, or Docker Desktop), \
         or use --engine process, which needs no Docker",
        list(.tried)
    )]
    NotRunning {
        /// Sockets that were tried.
        tried: Vec<PathBuf>,
    },
    /// It is there, but not for this user.
    #[error(
        "no permission to use Docker at {}; join its group (sudo usermod -aG docker $USER, then log \
         in again), or use --engine process, which needs no Docker",
        .socket.display()
    )]
    NotPermitted {
        /// The socket.
        socket: PathBuf,
    },
    /// It is too old.
    #[error(
        "Docker {version} (API {api}) is too old: API 1.41, that is Docker 20.10, is the oldest that \
         works; upgrade it, or use --engine process, which needs no Docker"
    )]
    TooOld {
        /// Version of the daemon.
        version: String,
        /// Version of its API.
        api: String,
    },
    /// It runs containers of another system.
    #[error(
        "Docker runs {os} containers here, and the cluster needs Linux ones; switch Docker to Linux \
         containers, or use --engine process"
    )]
    NotLinux {
        /// What it runs.
        os: String,
    },
    /// `DOCKER_HOST` leads to another machine.
    #[error(
        "DOCKER_HOST is {host:?}, but nodes need a socket on this machine (unix://PATH); unset \
         DOCKER_HOST, or use --engine process"
    )]
    NotLocal {
        /// Its value.
        host: String,
    },
    /// It answers with an error.
    #[error("the Docker daemon at {} does not answer as expected; see its own log", .socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// What it said.
        source: bollard::errors::Error,
    },
}

impl Daemon {
    /// Connects to the daemon that `DOCKER_HOST` names, else to the first of the usual places
    /// that answers.
    ///
    /// # Errors
    ///
    /// Says why there is no usable daemon, and what to do.
    pub async fn connect() -> Result<Self, DaemonError> {
        let variable = |name| std::env::var(name).ok();
        let sockets = sockets(
            variable("DOCKER_HOST").as_deref(),
            variable("XDG_RUNTIME_DIR").as_deref(),
            variable("HOME").as_deref(),
        )?;
        let mut forbidden = None;
        for socket in &sockets {
            // Asked by hand, because the client tells no reason apart.
            match UnixStream::connect(socket).await {
                Ok(_) => return Self::open(socket).await,
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    forbidden.get_or_insert_with(|| socket.clone());
                }
                Err(_) => {}
            }
        }
        Err(match forbidden {
            Some(socket) => DaemonError::NotPermitted { socket },
            None => DaemonError::NotRunning { tried: sockets },
        })
    }

    async fn open(socket: &Path) -> Result<Self, DaemonError> {
        let broken = |source| DaemonError::Broken {
            socket: socket.to_owned(),
            source,
        };
        let path = socket.display().to_string();
        let docker = Docker::connect_with_unix(&path, REQUEST_TIMEOUT_SECONDS, API_DEFAULT_VERSION)
            .map_err(broken)?
            .negotiate_version()
            .await
            .map_err(broken)?;
        let answer = docker.version().await.map_err(broken)?;
        let version = answer.version.unwrap_or_default();
        if docker.client_version() < OLDEST {
            return Err(DaemonError::TooOld {
                version,
                api: answer.api_version.unwrap_or_default(),
            });
        }
        match answer.os {
            Some(os) if os != "linux" => Err(DaemonError::NotLinux { os }),
            _ => Ok(Self {
                docker,
                socket: socket.to_owned(),
                version,
            }),
        }
    }
}

/// Where to look, in this order.
fn sockets(
    docker_host: Option<&str>,
    runtime_dir: Option<&str>,
    home: Option<&str>,
) -> Result<Vec<PathBuf>, DaemonError> {
    if let Some(host) = docker_host.filter(|host| !host.is_empty()) {
        return match host.strip_prefix("unix://") {
            Some(path) => Ok(vec![PathBuf::from(path)]),
            None => Err(DaemonError::NotLocal {
                host: host.to_owned(),
            }),
        };
    }
    // Rootless Docker, and Docker Desktop on Linux and macOS.
    let rootless = runtime_dir.map(|dir| Path::new(dir).join("docker.sock"));
    let desktop = home.map(|home| Path::new(home).join(".docker/desktop/docker.sock"));
    let mac = home.map(|home| Path::new(home).join(".docker/run/docker.sock"));
    let usual = [Some(PathBuf::from(DEFAULT_SOCKET)), rootless, desktop, mac];
    Ok(usual.into_iter().flatten().collect())
}

fn list(paths: &[PathBuf]) -> String {
    paths
        .iter()
        .map(|path| path.display().to_string())
        .collect::<Vec<_>>()
        .join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host: Option<&str>, expected: &[&str]) {
        let found = sockets(host, Some("/run/user/1000"), None).unwrap();
        assert_eq!(
            found,
            expected.iter().map(PathBuf::from).collect::<Vec<_>>()
        );
    }

    #[test]
    fn the_socket_is_looked_for_where_docker_puts_it() {
        check(Some("unix:///tmp/d.sock"), &["/tmp/d.sock"]);
        check(
            None,
            &["/var/run/docker.sock", "/run/user/1000/docker.sock"],
        );
        check(
            Some(""),
            &["/var/run/docker.sock", "/run/user/1000/docker.sock"],
        );
    }

    #[test]
    fn a_daemon_on_another_machine_is_refused_with_the_way_out() {
        let error = sockets(Some("tcp://10.0.0.1:2375"), None, None)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("tcp://10.0.0.1:2375") && error.contains("unset DOCKER_HOST"),
            "{error}"
        );
    }

    #[test]
    fn the_way_out_is_part_of_every_message() {
        let socket = PathBuf::from("/s");
        let errors = [
            DaemonError::NotRunning {
                tried: vec![socket.clone(), "/t".into()],
            },
            DaemonError::NotPermitted { socket },
            DaemonError::TooOld {
                version: "19.03".into(),
                api: "1.40".into(),
            },
            DaemonError::NotLinux {
                os: "windows".into(),
            },
        ];
        for error in errors {
            assert!(error.to_string().contains("--engine process"), "{error}");
        }
    }
}
