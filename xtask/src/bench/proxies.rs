//! The programs that the load balancer is measured beside, and the backends behind all of them.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};

/// Backends, so that turns are taken.
const BACKENDS: usize = 2;

/// A server of the benchmark; ended with it.
pub(crate) struct Server {
    child: Child,
    /// `host:port` where it listens.
    pub(crate) address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // TERM ends the workers too, which a kill of the master would orphan.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}

/// Servers of a few bytes at `/small`, of 64 KiB at `/large`, and of their own number at
/// `/number`: nginx with one worker each, so that they are never what is measured.
pub(crate) fn backends(home: &Path) -> anyhow::Result<Vec<Server>> {
    (0..BACKENDS)
        .map(|number| {
            let directory = directory(home, &format!("backend-{number}"))?;
            fs::write(directory.join("large"), vec![b'x'; 64 * 1024])?;
            let server = |port| {
                format!(
                    "server {{ listen 127.0.0.1:{port}; root {root}; default_type text/plain;\n\
                     location = /small {{ return 200 \"hello from a backend\\n\"; }}\n\
                     location = /number {{ return 200 \"number {number}\\n\"; }} }}",
                    root = directory.display()
                )
            };
            run_nginx(Command::new("nginx"), &directory, 1, "", server)
        })
        .collect()
}

/// nginx in front of the backends, with a worker per core.
pub(crate) fn nginx(home: &Path, backends: &[String]) -> anyhow::Result<Server> {
    let servers: String = backends
        .iter()
        .map(|backend| format!("server {backend};"))
        .collect();
    let upstream = format!("upstream backends {{ {servers} keepalive 64; }}");
    let server = |port| {
        format!(
            "server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://backends; proxy_http_version 1.1;\n\
             proxy_set_header Connection \"\"; proxy_set_header Host $http_host;\n\
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
             proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host; }} }}"
        )
    };
    let directory = directory(home, "nginx")?;
    run_nginx(apart("nginx"), &directory, cores(), &upstream, server)
}

/// HAProxy in front of the backends, with a thread per core.
pub(crate) fn haproxy(home: &Path, backends: &[String]) -> anyhow::Result<Server> {
    let directory = directory(home, "haproxy")?;
    let servers: String = backends
        .iter()
        .enumerate()
        .map(|(number, backend)| format!(" server b{number} {backend}\n"))
        .collect();
    let port = free_port()?;
    let configuration = format!(
        "global\n nbthread {threads}\n maxconn 4096\n\
         defaults\n mode http\n timeout connect 1s\n timeout client 60s\n timeout server 60s\n http-reuse always\n\
         frontend in\n bind 127.0.0.1:{port}\n option forwardfor\n\
         \x20http-request set-header X-Forwarded-Proto http\n http-request set-header X-Forwarded-Host %[req.hdr(Host)]\n\
         \x20default_backend out\nbackend out\n balance roundrobin\n{servers}",
        threads = cores()
    );
    let file = directory.join("haproxy.cfg");
    fs::write(&file, configuration)?;
    let mut command = apart("haproxy");
    command.args(["-db", "-f"]).arg(&file);
    start("haproxy", command, port)
}

/// A program in a session of its own, as any server runs that is started as such, and as the
/// cluster does. Linux shares the processors out among sessions first (`sched_autogroup_enabled`):
/// a proxy in the session of the load generator is served before one that is not, and the figures
/// would tell of that and of nothing else.
fn apart(program: &str) -> Command {
    let mut command = Command::new("setsid");
    command.arg(program);
    command
}

fn run_nginx(
    mut command: Command,
    directory: &Path,
    workers: usize,
    upstream: &str,
    server: impl Fn(u16) -> String,
) -> anyhow::Result<Server> {
    let port = free_port()?;
    let configuration = format!(
        "daemon off; worker_processes {workers}; pid {0}/pid; error_log {0}/error.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; sendfile on; keepalive_requests 1000000000;\n\
         client_body_temp_path {0}/body; proxy_temp_path {0}/proxy;\n\
         fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;\n\
         {upstream}\n{1} }}\n",
        directory.display(),
        server(port)
    );
    let file = directory.join("nginx.conf");
    fs::write(&file, configuration)?;
    command.arg("-e").arg(directory.join("error.log"));
    command.arg("-c").arg(&file);
    start("nginx", command, port)
}

fn start(program: &str, mut command: Command, port: u16) -> anyhow::Result<Server> {
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("failed to run {program}"))?;
    let server = Server {
        child,
        address: format!("127.0.0.1:{port}"),
    };
    let began = tokio::time::Instant::now();
    while began.elapsed().as_secs() < 5 {
        if std::net::TcpStream::connect(&server.address).is_ok() {
            return Ok(server);
        }
        std::thread::yield_now();
    }
    bail!("{program} does not listen on {}", server.address)
}

fn directory(home: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let directory = home.join(name);
    fs::create_dir_all(&directory)?;
    // nginx's workers may run as another user.
    let mut permissions = fs::metadata(home)?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    fs::set_permissions(home, permissions)?;
    Ok(directory)
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
