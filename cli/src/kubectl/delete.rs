//! `kubectl delete`.

use std::time::Duration;

use serde_json::json;

use super::args::{Flag, maybe, switch, value};
use super::error::{Error, Result, said};
use super::print::{DRY_RUN, DryRun, OUTPUT};
use super::select::{self, Found, Wanted};
use super::{Call, POLL, Session, manifest, timeout};
use crate::output::{line, note};

/// Flags of `delete`, beside those that choose objects.
pub(super) const FLAGS: [Flag; 9] = [
    OUTPUT,
    DRY_RUN,
    switch("wait"),
    switch("ignore-not-found"),
    switch("now"),
    switch("force"),
    value("grace-period"),
    value("timeout"),
    maybe("cascade", "background"),
];

/// `kubectl delete`
pub(super) async fn delete(call: Call) -> Result<()> {
    let args = &call.args;
    let dry_run = DryRun::of(args)?;
    let limit = timeout(args, Duration::ZERO)?;
    let session = Session::open(args).await?;
    let (targets, mut errors) = targets(&session, &call).await?;
    if targets.is_empty() && errors.is_empty() {
        line("No resources found");
        return Ok(());
    }
    let grace = match (
        args.value("grace-period"),
        args.is_set("now"),
        args.is_set("force"),
    ) {
        (_, _, true) => Some(0),
        (_, true, _) => Some(1),
        (Some(text), ..) => Some(text.parse::<i64>().map_err(|_| {
            Error::Usage(format!(
                "invalid argument {text:?} for \"--grace-period\" flag"
            ))
        })?),
        _ => None,
    };
    if args.is_set("force") {
        note(
            "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run on the cluster indefinitely.",
        );
    }
    let propagation = match args.value("cascade") {
        None | Some("background" | "true") => "Background",
        Some("foreground") => "Foreground",
        Some("orphan" | "false") => "Orphan",
        Some(other) => {
            return Err(said(format!(
                "invalid cascade value ({other}). Must be \"background\", \"foreground\", or \"orphan\""
            )));
        }
    };
    let mut body = json!({"propagationPolicy": propagation});
    if let Some(grace) = grace.filter(|grace| *grace >= 0) {
        body["gracePeriodSeconds"] = grace.into();
    }
    if dry_run == DryRun::Server {
        body["dryRun"] = json!(["All"]);
    }
    let mut gone = Vec::new();
    for target in targets {
        if dry_run != DryRun::Client {
            match session.api.delete(&target.path(), &body).await {
                Ok(answer) => gone.push((target.clone(), uid(&answer))),
                Err(error)
                    if error.is(404) && (args.is_set("ignore-not-found") || args.is_set("all")) =>
                {
                    continue;
                }
                Err(error) => {
                    errors.push(match target.object["source"].as_str() {
                        Some(file) => error.when(&format!("error when deleting {file:?}")),
                        None => error,
                    });
                    continue;
                }
            }
        }
        let verb = if grace == Some(0) {
            "force deleted"
        } else {
            "deleted"
        };
        if args.value("output") == Some("name") {
            line(target.named());
        } else {
            let typed = target.resource.typed();
            let place = if target.resource.namespaced {
                format!(" from {} namespace", target.namespace)
            } else {
                String::new()
            };
            line(format_args!(
                "{}",
                dry_run.say(&format!("{typed} {:?} {verb}{place}", target.name))
            ));
        }
    }
    if !args.is_off("wait") && !args.is_set("force") && dry_run == DryRun::No {
        for (target, uid) in gone {
            if let Err(error) = until_gone(&session, &target, uid.as_deref(), limit).await {
                errors.push(error);
            }
        }
    }
    Error::all(errors)
}

/// What is to be deleted. Nothing is read where a name says it all.
async fn targets(session: &Session, call: &Call) -> Result<(Vec<Found>, Vec<Error>)> {
    let args = &call.args;
    let api = &session.api;
    let bare = |resource, namespace: &str, name: &str| Found {
        resource,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        object: serde_json::Value::Null,
    };
    if args.value("filename").is_some() {
        let (manifests, errors) =
            manifest::read_all(args, &session.discovery, &api.namespace, api.namespace_said)?;
        let found = manifests.into_iter().map(|one| Found {
            object: serde_json::json!({"source": one.source}),
            ..bare(one.resource, &one.namespace, &one.name)
        });
        return Ok((found.collect(), errors));
    }
    let wanted = select::wanted(&args.words, &session.discovery)?;
    let named = !wanted.is_empty() && wanted.iter().all(|one| matches!(one, Wanted::One(..)));
    if named && args.value("selector").is_none() && !args.is_set("all") {
        let found = wanted.into_iter().filter_map(|one| match one {
            Wanted::One(resource, name) => Some(bare(resource, &api.namespace, &name)),
            Wanted::Every(_) => None,
        });
        return Ok((found.collect(), Vec::new()));
    }
    select::find(session, args, &args.words).await
}

fn uid(answer: &serde_json::Value) -> Option<String> {
    let uid = match answer["metadata"]["uid"].as_str() {
        Some(uid) => Some(uid),
        None => answer["details"]["uid"].as_str(),
    };
    uid.map(str::to_owned)
}

/// Waits until an object, or this one of its name, is no more.
pub(super) async fn until_gone(
    session: &Session,
    target: &Found,
    uid: Option<&str>,
    limit: Duration,
) -> Result<()> {
    let gone = async {
        loop {
            match session.api.find(&target.path()).await? {
                None => return Ok(()),
                Some(object) if uid.is_some_and(|uid| object["metadata"]["uid"] != uid) => {
                    return Ok(());
                }
                Some(_) => tokio::time::sleep(POLL).await,
            }
        }
    };
    if limit.is_zero() {
        return gone.await;
    }
    match tokio::time::timeout(limit, gone).await {
        Ok(done) => done,
        Err(_) => Err(said(format!(
            "timed out waiting for the condition on {}/{}",
            target.resource.plural, target.name
        ))),
    }
}
