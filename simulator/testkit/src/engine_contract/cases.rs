//! The cases, in the order of a pod's life.

mod containers;
mod images;
mod inside;
mod logs;
mod node;
mod sandboxes;

use futures::FutureExt;

use super::Ability::{AgentRestart, MemoryLimits, Network, Programs};
use super::{Ability, Case};

/// Every promise of an engine.
pub const ALL: &[Case] = &[
    case("an image is absent until it is pulled", &[], |f| {
        images::absent_until_pulled(f).boxed_local()
    }),
    case(
        "an image that is nowhere to be had is refused by name",
        &[],
        |f| images::refused_by_name(f).boxed_local(),
    ),
    case("a container needs its image on the node", &[], |f| {
        images::needed_by_containers(f).boxed_local()
    }),
    case("sandboxes have different addresses", &[], |f| {
        sandboxes::different_addresses(f).boxed_local()
    }),
    case("a sandbox gets the address it had before", &[], |f| {
        sandboxes::same_address_again(f).boxed_local()
    }),
    case(
        "a pod has one live sandbox however often it is asked for",
        &[],
        |f| sandboxes::one_per_pod(f).boxed_local(),
    ),
    case("a sandbox is listed with what it was made from", &[], |f| {
        sandboxes::listed(f).boxed_local()
    }),
    case("a removed sandbox leaves nothing behind", &[], |f| {
        sandboxes::nothing_left(f).boxed_local()
    }),
    case("a container ends with its exit code", &[], |f| {
        containers::exit_code(f).boxed_local()
    }),
    case("a container is made before it is started", &[], |f| {
        containers::made_then_started(f).boxed_local()
    }),
    case(
        "a restart is a new container at the same address",
        &[],
        |f| containers::restarted(f).boxed_local(),
    ),
    case(
        "a container that ends when asked is not kept for its grace",
        &[],
        |f| containers::graceful(f).boxed_local(),
    ),
    case("stopping what has ended or gone is fine", &[], |f| {
        containers::stopped_twice(f).boxed_local()
    }),
    case("a removed container is gone with its log", &[], |f| {
        containers::removed(f).boxed_local()
    }),
    case(
        "events begin with a request to list and tell of changes",
        &[],
        |f| containers::events(f).boxed_local(),
    ),
    case(
        "a container that ignores the request is killed after its grace",
        &[Programs],
        |f| containers::killed_after_grace(f).boxed_local(),
    ),
    case(
        "a program that is not in the image is named",
        &[Programs],
        |f| containers::no_program(f).boxed_local(),
    ),
    case(
        "an image that would run as root is refused where the author says so",
        &[Programs],
        |f| containers::root_refused(f).boxed_local(),
    ),
    case(
        "a container that uses too much memory is killed and says so",
        &[Programs, MemoryLimits],
        |f| containers::out_of_memory(f).boxed_local(),
    ),
    case("arguments and environment arrive", &[Programs], |f| {
        inside::arguments_and_environment(f).boxed_local()
    }),
    case("mounted files can be read", &[Programs], |f| {
        inside::mounted_files(f).boxed_local()
    }),
    case("a single file can be mounted", &[Programs], |f| {
        inside::mounted_file(f).boxed_local()
    }),
    case(
        "containers of a pod share a scratch directory",
        &[Programs],
        |f| inside::scratch(f).boxed_local(),
    ),
    case(
        "a command in a container gives its exit code and output",
        &[Programs],
        |f| inside::exec(f).boxed_local(),
    ),
    case(
        "a command that takes too long is an error",
        &[Programs],
        |f| inside::exec_too_long(f).boxed_local(),
    ),
    case("a command needs a running container", &[], |f| {
        inside::exec_needs_a_container(f).boxed_local()
    }),
    case(
        "a running container has its use measured",
        &[Programs],
        |f| inside::stats(f).boxed_local(),
    ),
    case(
        "pods listen on the same port at their own addresses",
        &[Programs, Network],
        |f| inside::same_port(f).boxed_local(),
    ),
    case(
        "containers of a pod share its address",
        &[Programs, Network],
        |f| inside::shared_address(f).boxed_local(),
    ),
    case(
        "what a container prints can be read until it is removed",
        &[Programs],
        |f| logs::readable(f).boxed_local(),
    ),
    case(
        "a log can be followed to the container's end",
        &[Programs],
        |f| logs::followed(f).boxed_local(),
    ),
    case("lines carry their time where asked", &[Programs], |f| {
        logs::timestamps(f).boxed_local()
    }),
    case(
        "an agent that starts anew finds what it left",
        &[AgentRestart],
        |f| node::agent_restart(f).boxed_local(),
    ),
    case("the death of a node is the death of its pods", &[], |f| {
        node::death(f).boxed_local()
    }),
];

type Run = for<'a> fn(
    &'a mut dyn super::Fixture,
) -> futures::future::LocalBoxFuture<'a, anyhow::Result<()>>;

const fn case(name: &'static str, needs: &'static [Ability], run: Run) -> Case {
    Case { name, needs, run }
}
