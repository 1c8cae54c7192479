//! The command line: what can be said, and how it is explained. No behaviour.

pub(crate) mod bundle;
pub(crate) mod ci;
pub(crate) mod class;
mod guide;
mod lab;
pub(crate) mod rollout;
pub(crate) mod slides;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(crate) use guide::GuideArgs;
pub(crate) use lab::{
    AnswerArgs, HintArgs, LabArgs, LabCommand, LabGotoArgs, LabLintArgs, LabListArgs, LabNewArgs,
    LabResetArgs, LabShowArgs, LabSolveArgs, LabTestArgs, LabsArgs, ProofEngine,
};

/// A DevOps classroom in one program: a local Kubernetes cluster, labs, checks. Offline.
#[derive(Debug, Parser)]
#[command(
    name = "devops-lab",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "Begin with:\n  devops-lab start 3      a cluster of three nodes\n  devops-lab lab next     what to learn first\n  devops-lab check        did it work?\n  devops-lab delete       remove the cluster"
)]
pub(crate) struct Cli {
    /// What to do; without it, what to do next is said.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Every subcommand. To add one, write its file in `commands` and its line here.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a cluster, bring back one that was stopped, or change its number of nodes
    #[command(
        after_help = "Examples:\n  devops-lab start                        three nodes, on Docker if a daemon answers\n  devops-lab start 5                      five nodes; on a running cluster, two more\n  devops-lab start --engine process       no Docker: pods are processes\n  devops-lab start 1000 --engine simulated --name big\n  devops-lab start --config cluster.yaml"
    )]
    Start(StartArgs),
    /// Stop a cluster; objects, images and addresses are kept for the next start
    #[command(
        after_help = "Example:\n  devops-lab stop && devops-lab start     everything is back as it was"
    )]
    Stop(ClusterArgs),
    /// Remove a cluster and everything that belongs to it
    #[command(
        after_help = "Examples:\n  devops-lab delete\n  devops-lab delete --name big\n  devops-lab delete --all --yes"
    )]
    Delete(DeleteArgs),
    /// Show a cluster: its parts, nodes, pods and addresses
    #[command(
        after_help = "Examples:\n  devops-lab status\n  devops-lab status --watch\n  devops-lab status -o json"
    )]
    Status(StatusArgs),
    /// Show the output of a part of the cluster
    #[command(
        after_help = "Examples:\n  devops-lab logs                         the control plane\n  devops-lab logs node-1 --follow\n  devops-lab logs gateway --tail 20\n\nFor the logs of your pods: kubectl logs POD"
    )]
    Logs(LogsArgs),
    /// Add, remove, start or stop nodes
    #[command(subcommand)]
    Node(NodeCommand),
    /// Print the environment variables that point tools at the cluster
    #[command(after_help = "Example:\n  eval \"$(devops-lab env)\"")]
    Env(ClusterArgs),
    /// Build, push and list images
    #[command(subcommand)]
    Image(ImageCommand),
    /// Look after the cluster's image registry
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// Be the users of your application: a steady stream of requests, and a record of what they meet
    #[command(subcommand)]
    Traffic(TrafficCommand),
    /// Ask the cluster's metrics in PromQL, and see what is scraped
    #[command(subcommand)]
    Metrics(MetricsCommand),
    /// Watch progressive rollouts and steer them
    #[command(subcommand)]
    Rollout(rollout::RolloutCommand),
    /// Run pipelines by git push, and look at their runs
    #[command(subcommand)]
    Ci(ci::CiCommand),
    /// Break something on purpose, and heal it
    #[command(subcommand)]
    Fault(FaultCommand),
    /// Follow the labs
    #[command(subcommand)]
    Lab(LabCommand),
    /// Verify the present step of a lab from the live state of your cluster
    #[command(
        after_help = "Examples:\n  devops-lab check                        the step you are at\n  devops-lab check deploy-three-replicas/route\n  devops-lab check --watch                again whenever something changes\n  devops-lab check -o json\n\nExit code: 0 everything holds, 1 something does not yet, 3 a check could not run."
    )]
    Check(CheckArgs),
    /// Open the guide in the browser: the lab's text, and the live picture of your cluster
    #[command(
        after_help = "Examples:\n  devops-lab guide                        the lab you are at\n  devops-lab guide canary --lang fr\n  devops-lab guide --present              the picture alone, for the projector\n\nIt is served on 127.0.0.1 until Ctrl-C; /api/picture has the picture as JSON."
    )]
    Guide(GuideArgs),
    /// Hold a class, or take part in one
    #[command(subcommand)]
    Class(class::ClassCommand),
    /// Pack, hand out and load everything for a class without internet, in one file
    #[command(subcommand)]
    Bundle(bundle::BundleCommand),
    /// Show slides to a class, in step on the speaker's and the projector's windows
    #[command(subcommand)]
    Slides(slides::SlidesCommand),
    /// Reveal the next hint for the present step; those that fit what is wrong come first
    #[command(
        after_help = "Examples:\n  devops-lab hint                         the step you are at\n  devops-lab hint deploy-three-replicas/route\n  devops-lab hint --all"
    )]
    Hint(HintArgs),
    /// Answer a question of the present step
    #[command(
        after_help = "Examples:\n  devops-lab answer                       asks\n  devops-lab answer share 80\n  devops-lab answer why \"by labels\"\n\nExit code: 0 it is right, 1 it is not."
    )]
    Answer(AnswerArgs),
    /// A narrated tour of the core track, every step done and checked, and back to nothing
    #[command(
        after_help = "Examples:\n  devops-lab demo\n  devops-lab demo --quick                      the main job alone\n  devops-lab demo --engine process --keep --lang fr\n\nCtrl-C ends it at any time and cleans up."
    )]
    Demo(DemoArgs),
    /// Look for what may get in the way on this machine, and say how to mend it
    Doctor(OutputArgs),
    /// A small kubectl, for machines that have none
    #[command(
        disable_help_flag = true,
        after_help = "Examples:\n  devops-lab kubectl get pods\n  devops-lab kubectl apply -f hello/kubernetes.yaml\n  ln -s \"$(command -v devops-lab)\" ~/.local/bin/kubectl     the same under its usual name"
    )]
    Kubectl {
        /// What to say to it; `devops-lab kubectl help` lists what it knows.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Print a shell's completion script
    #[command(
        after_help = "Example:\n  devops-lab completions bash > ~/.local/share/bash-completion/completions/devops-lab"
    )]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual pages into a directory
    #[command(
        after_help = "Example:\n  devops-lab man ~/.local/share/man/man1 && man devops-lab-start"
    )]
    Man {
        /// Where to write them.
        directory: PathBuf,
    },
    /// Run one part of a cluster (used by `start`)
    #[command(hide = true)]
    Component {
        /// Which part, for those who list processes; the role itself is in the environment.
        part: Option<String>,
    },
    /// Run one pod's process (used by nodes)
    #[command(hide = true)]
    Shim {
        /// What to run.
        config: PathBuf,
    },
    /// Serve an application file (the entrypoint of the base image)
    #[command(hide = true)]
    App {
        /// The application's file, and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Do nothing until told to end (holds the network of a pod)
    #[command(hide = true)]
    Pause,
}

/// Which cluster.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClusterArgs {
    /// Name of the cluster
    #[arg(long, env = "DEVOPS_LAB_CLUSTER", value_parser = cluster_name, default_value = lab_cluster::lifecycle::DEFAULT_NAME)]
    pub(crate) name: String,
}

/// How to print.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct OutputArgs {
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,
}

/// Output formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For scripts.
    Json,
}

/// What runs the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineChoice {
    /// Docker where a daemon answers, else processes.
    Auto,
    /// Containers on the local Docker daemon.
    Docker,
    /// Child processes: no Docker, no root.
    Process,
    /// Pods exist in the API only; thousands of nodes.
    Simulated,
}

/// Arguments of `start`.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// Number of nodes [default: 3]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) nodes: Option<u16>,
    #[command(flatten)]
    pub(crate) cluster: StartName,
    /// What runs the pods [default: auto]
    #[arg(long, value_enum)]
    pub(crate) engine: Option<EngineChoice>,
    /// How many times faster than real time the cluster's own waits run: heartbeats, grace of
    /// lost nodes, back-off [default: 1]
    #[arg(long, value_name = "N", value_parser = speed)]
    pub(crate) speed: Option<f64>,
    /// A cluster file (apiVersion devops-lab.dev/v1, kind Cluster); flags win over it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Leave the kubeconfig alone; `devops-lab env` prints how to reach the cluster
    #[arg(long)]
    pub(crate) no_kubeconfig: bool,
}

/// Name of the cluster to start; a cluster file may give it too.
#[derive(Debug, Args)]
pub(crate) struct StartName {
    /// Name of the cluster [default: lab]
    #[arg(long, env = "DEVOPS_LAB_CLUSTER", value_parser = cluster_name)]
    pub(crate) name: Option<String>,
}

/// Arguments of `delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Remove every cluster
    #[arg(long)]
    pub(crate) all: bool,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Look again every second until Ctrl-C
    #[arg(long, short)]
    pub(crate) watch: bool,
}

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// control-plane, gateway, registry, or a node such as node-1
    #[arg(default_value = "control-plane")]
    pub(crate) component: String,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Show what comes, until Ctrl-C
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only the last lines
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<u64>,
}

/// What can be done to nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Add a node
    Add(ClusterArgs),
    /// Take a node out of the cluster for good; its pods are made anew elsewhere
    Remove(NodeArgs),
    /// Switch a node on
    Start(NodeArgs),
    /// Switch a node off, as by its power switch; its pods die with it
    Stop(NodeArgs),
}

/// Which node.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// Name of the node, such as node-2
    pub(crate) node: String,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// What can be done with images.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Build an image from a Dockerfile without Docker (COPY, WORKDIR, ENV, CMD …; no RUN)
    #[command(
        after_help = "Examples:\n  devops-lab image build -t localhost:5001/hello:1.0.0 fixtures/apps/hello\n  devops-lab image build -t localhost:5001/hello:1.0.0 --push ."
    )]
    Build(BuildArgs),
    /// Push an image that `image build` made to the registry in its name
    #[command(after_help = "Example:\n  devops-lab image push localhost:5001/hello:1.0.0")]
    Push(PushArgs),
    /// List the images in the cluster's registry
    Ls(ImageLsArgs),
    /// Approve an update that waits (of a workload that follows its image with keel.sh/approvals)
    #[command(
        after_help = "Examples:\n  devops-lab image approve hello\n  devops-lab image approve rollout/hello --by ada\n  devops-lab image approve hello --reject"
    )]
    Approve(ApproveArgs),
}

/// Arguments of `image build`.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// The directory to build
    pub(crate) directory: PathBuf,
    /// Name and tag of the image
    #[arg(long, short, value_name = "IMAGE")]
    pub(crate) tag: String,
    /// The Dockerfile [default: DIRECTORY/Dockerfile]
    #[arg(long, short)]
    pub(crate) file: Option<PathBuf>,
    /// Set a build-time variable; a name alone takes its value from the environment
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) build_arg: Vec<String>,
    /// Stage to build, by name or number [default: the last]
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,
    /// Give the image a label
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) label: Vec<String>,
    /// Understood because docker build has it: nothing is cached here
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Push it afterwards
    #[arg(long)]
    pub(crate) push: bool,
}

/// Arguments of `image push`.
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// Name of the image
    pub(crate) image: String,
}

/// Arguments of `image ls`.
#[derive(Debug, Args)]
pub(crate) struct ImageLsArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Arguments of `image approve`.
#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    /// Name of a Deployment, or KIND/NAME with a kind such as rollout or statefulset
    pub(crate) workload: String,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Namespace of the workload
    #[arg(long, short, default_value = "default")]
    pub(crate) namespace: String,
    /// Who approves; where more than one approval is asked for, each needs another name
    #[arg(long, value_name = "NAME", env = "USER", default_value = "somebody")]
    pub(crate) by: String,
    /// Turn the update down instead
    #[arg(long)]
    pub(crate) reject: bool,
}

/// What can be done with the registry.
#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// Remove image data that no tag leads to
    Gc(GcArgs),
}

/// Arguments of `registry gc`.
#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Only say what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Keep what was pushed within this time: it may belong to a push that goes on [default: 3600]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) grace: Option<u64>,
}

/// What can be done with traffic.
#[derive(Debug, Subcommand)]
pub(crate) enum TrafficCommand {
    /// Begin sending requests in the background
    #[command(
        after_help = "Examples:\n  devops-lab traffic start                              50 requests per second to /\n  devops-lab traffic start --rate 500 --duration 30s\n  devops-lab traffic start --path /@3 --path /about     three times as often / as /about\n  devops-lab traffic start -H 'x-canary: always' --users 100\n  devops-lab traffic start --to http://127.0.0.1:8081   the test listener\n\nRequests go to this machine and to the cluster's own addresses only."
    )]
    Start(TrafficStartArgs),
    /// End it, and say what the users met
    Stop(TrafficReadArgs),
    /// Say whether requests are being sent, and what they met so far
    Status(TrafficReadArgs),
    /// Show live what the users meet: rate, failures, latency, the share of each version
    Watch(ClusterArgs),
    /// Tell what the users met in the latest run, or since a while
    #[command(
        after_help = "Examples:\n  devops-lab traffic report\n  devops-lab traffic report --since 5m\n  devops-lab traffic report -o json | jq .availability"
    )]
    Report(TrafficReportArgs),
}

/// Arguments of `traffic start`.
#[derive(Debug, Args)]
pub(crate) struct TrafficStartArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Requests per second, answered or not
    #[arg(long, default_value_t = 50.0)]
    pub(crate) rate: f64,
    /// What to ask for, with its share of the requests; may be given often [default: /]
    #[arg(long, value_name = "PATH[@WEIGHT]")]
    pub(crate) path: Vec<lab_traffic::WeightedPath>,
    /// A header of every request; may be given often
    #[arg(long, short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) header: Vec<(String, String)>,
    /// The Host header, for routes with a hostname
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Users among whom the requests are shared: each has one connection and one cookie
    #[arg(long, default_value_t = 10)]
    pub(crate) users: u32,
    /// Open a new connection for every request
    #[arg(long)]
    pub(crate) no_keep_alive: bool,
    /// Method of every request
    #[arg(long, short = 'X', default_value = "GET")]
    pub(crate) method: String,
    /// Longest wait for an answer
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5s")]
    pub(crate) timeout: Duration,
    /// Where to send them [default: the production listener]
    #[arg(long, value_name = "URL")]
    pub(crate) to: Option<String>,
    /// End by itself after this time, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
}

/// Arguments of `traffic status` and `traffic stop`.
#[derive(Debug, Args)]
pub(crate) struct TrafficReadArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Arguments of `traffic report`.
#[derive(Debug, Args)]
pub(crate) struct TrafficReportArgs {
    #[command(flatten)]
    pub(crate) read: TrafficReadArgs,
    /// Only the time from this long ago on, such as 90s or 5m, over all runs in it
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) since: Option<Duration>,
}

/// What can be asked of the metrics.
#[derive(Debug, Subcommand)]
pub(crate) enum MetricsCommand {
    /// Evaluate a query now, or over a time with --range
    #[command(
        after_help = "Examples:\n  devops-lab metrics query up\n  devops-lab metrics query 'sum by (code) (rate(gateway_requests_total[1m]))' --range 10m\n  devops-lab metrics query 'histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket[1m])))' -o json"
    )]
    Query(MetricsQueryArgs),
    /// List what is scraped, and what stands in the way
    Targets(MetricsTargetsArgs),
}

/// Arguments of `metrics query`.
#[derive(Debug, Args)]
pub(crate) struct MetricsQueryArgs {
    /// The query, in PromQL
    pub(crate) query: String,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Show the course over this time up to now, such as 10m or 2h
    #[arg(long, value_name = "DURATION", value_parser = promql_duration)]
    pub(crate) range: Option<i64>,
}

/// Arguments of `metrics targets`.
#[derive(Debug, Args)]
pub(crate) struct MetricsTargetsArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What can be done with faults.
#[derive(Debug, Subcommand)]
pub(crate) enum FaultCommand {
    /// List the faults, what they do and how they are healed
    List(FaultListArgs),
    /// Show which faults are injected
    Status(FaultStatusArgs),
    /// Inject a fault
    #[command(
        after_help = "Examples:\n  devops-lab fault inject node-kill node-2 --watch\n  devops-lab fault inject gateway-abort hello --share 20% --status 503\n  devops-lab fault inject gateway-delay ingress/shop --delay 2s\n  devops-lab fault inject dns-break --mode timeout\n  devops-lab fault inject random --seed 7 --quiet"
    )]
    Inject(FaultInjectArgs),
    /// Heal what was injected
    #[command(
        after_help = "Examples:\n  devops-lab fault heal                   the only one\n  devops-lab fault heal node-kill\n  devops-lab fault heal --all"
    )]
    Heal(FaultHealArgs),
    /// Tell what changes in the cluster, until every Deployment has all its replicas again
    Watch(FaultWatchArgs),
}

/// Arguments of `fault list`.
#[derive(Debug, Args)]
pub(crate) struct FaultListArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Arguments of `fault status`.
#[derive(Debug, Args)]
pub(crate) struct FaultStatusArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Name those too that were injected with --quiet
    #[arg(long)]
    pub(crate) reveal: bool,
}

/// Arguments of `fault inject`.
#[derive(Debug, Args)]
pub(crate) struct FaultInjectArgs {
    /// Name of the fault (devops-lab fault list), or `random`
    pub(crate) fault: String,
    /// A node, pod, route, name, Secret or image, as the fault takes it [default: by chance]
    pub(crate) target: Option<String>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Share of requests, or of time that is left, such as 20%
    #[arg(long, value_name = "PERCENT")]
    pub(crate) share: Option<String>,
    /// How long requests wait, such as 500ms or 2s
    #[arg(long, value_name = "TIME")]
    pub(crate) delay: Option<String>,
    /// HTTP status of failed requests, 400 to 599
    #[arg(long)]
    pub(crate) status: Option<u16>,
    /// How DNS fails: servfail, nxdomain or timeout
    #[arg(long)]
    pub(crate) mode: Option<String>,
    /// Make the same choices by chance again
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Do not say which fault it is
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Tell what changes, until the cluster has recovered
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) watch: bool,
}

/// Arguments of `fault heal`.
#[derive(Debug, Args)]
pub(crate) struct FaultHealArgs {
    /// Name of the fault, or its number in `fault status`
    #[arg(conflicts_with = "all")]
    pub(crate) fault: Option<String>,
    /// Heal everything
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Arguments of `fault watch`.
#[derive(Debug, Args)]
pub(crate) struct FaultWatchArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Longest time to watch [default: 420 s at the cluster's speed, and 30 s]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) limit: Option<u64>,
}

/// Which language.
#[derive(Clone, Debug, Args)]
pub(crate) struct LanguageArgs {
    /// Language of the text: en or fr [default: from LANG]
    #[arg(long, env = "DEVOPS_LAB_LANG")]
    pub(crate) lang: Option<String>,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// LAB or LAB/STEP [default: the step you are at]
    pub(crate) target: Option<String>,
    #[command(flatten)]
    pub(crate) options: LabArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Look again whenever something changes, and go on to the next step, until Ctrl-C
    #[arg(long, short)]
    pub(crate) watch: bool,
    /// With --watch: end once it holds
    #[arg(long, requires = "watch")]
    pub(crate) until_holds: bool,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// What runs the pods
    #[arg(long, value_enum, default_value_t = EngineChoice::Auto)]
    pub(crate) engine: EngineChoice,
    /// Name of the cluster that the tour makes
    #[arg(long, value_parser = cluster_name, default_value = "demo")]
    pub(crate) name: String,
    /// Leave the cluster running at the end
    #[arg(long)]
    pub(crate) keep: bool,
    /// Only the main job: a cluster, an application, three replicas, a check
    #[arg(long)]
    pub(crate) quick: bool,
    #[command(flatten)]
    pub(crate) language: LanguageArgs,
    #[command(flatten)]
    pub(crate) labs: LabsArgs,
}

/// A cluster's name, refused before anything is looked for or made under it.
fn cluster_name(text: &str) -> Result<String, String> {
    lab_cluster::config::check_name(text)?;
    Ok(text.to_owned())
}

/// `Name: value`.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| "it must read \"Name: value\"".to_owned())?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// `30s`, `5m`, `1h30m`, or seconds without a unit.
fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok();
    let time = match seconds {
        Some(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?,
        None => {
            let time: jiff::SignedDuration = text
                .parse()
                .map_err(|_| "it must read like 30s, 5m or 1h30m".to_owned())?;
            Duration::try_from(time).map_err(|_| "it must not be negative".to_owned())?
        }
    };
    if time.is_zero() {
        return Err("it must be above 0".to_owned());
    }
    Ok(time)
}

/// A duration in milliseconds, as Prometheus writes it.
fn promql_duration(text: &str) -> Result<i64, String> {
    lab_cluster::metrics::duration_ms(text)
        .filter(|ms| (1000..=7_200_000).contains(ms))
        .ok_or_else(|| "it is not a duration from 1s to 2h, such as 10m or 1h30m".to_owned())
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().map_err(|_| "it is not a number".to_owned())?;
    lab_cluster::config::check_speed(speed)?;
    Ok(speed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, expected) in [("30s", 30), ("5m", 300), ("1h30m", 5400), ("2", 2)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(expected)), "{text}");
        }
        for text in ["0", "0s", "-5s", "soon", "NaN"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
