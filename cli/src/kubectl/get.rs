//! `kubectl get`.

use futures::AsyncBufReadExt;
use serde_json::Value;

use super::api::{Query, TABLE};
use super::args::{Args, Flag, switch, value};
use super::discovery::Resource;
use super::error::{Error, Result, said};
use super::jsonpath::Template;
use super::print::{self, Form, OUTPUT};
use super::select::{self, Wanted};
use super::table::Tabs;
use super::{Call, Session};
use crate::output::{blank, line, note};

/// Flags of `get`.
pub(super) const FLAGS: [Flag; 15] = [
    value("filename").short('f'),
    switch("recursive").short('R'),
    value("selector").short('l'),
    value("field-selector"),
    switch("all-namespaces").short('A'),
    OUTPUT,
    switch("no-headers"),
    switch("show-labels"),
    value("label-columns").short('L'),
    value("sort-by"),
    switch("ignore-not-found"),
    switch("watch").short('w'),
    switch("watch-only"),
    switch("show-kind"),
    value("raw"),
];

/// `kubectl get`
pub(super) async fn get(call: Call) -> Result<()> {
    let args = &call.args;
    let form = Form::of(args)?;
    let session = Session::open(args).await?;
    if let Some(path) = args.value("raw") {
        let text = session.api.get_text(path, &Query::default()).await?;
        let _ = crate::output::raw(text.as_bytes());
        return Ok(());
    }
    if args.words.is_empty() && args.value("filename").is_none() {
        return Err(Error::Plain("You must specify the type of resource to get. Use \"kubectl api-resources\" for a complete list of supported resources.\n\nerror: Required resource not specified.\nUse \"kubectl explain <resource>\" for a detailed description of that resource (e.g. kubectl explain pods).\nSee 'kubectl get -h' for help and examples".to_owned()));
    }
    let wanted = wanted(&session, args)?;
    if args.is_set("watch") || args.is_set("watch-only") {
        return watch(&session, args, &form, &wanted).await;
    }
    if form.needs_objects() {
        whole(&session, args, &form, &wanted).await
    } else {
        tables(&session, args, &form, &wanted).await
    }
}

fn wanted(session: &Session, args: &Args) -> Result<Vec<(Wanted, String)>> {
    let api = &session.api;
    if args.value("filename").is_some() {
        let (manifests, errors) = super::manifest::read_all(
            args,
            &session.discovery,
            &api.namespace,
            api.namespace_said,
        )?;
        Error::all(errors)?;
        let one = |manifest: super::manifest::Manifest| {
            (
                Wanted::One(manifest.resource, manifest.name),
                manifest.namespace,
            )
        };
        return Ok(manifests.into_iter().map(one).collect());
    }
    let all = select::wanted(&args.words, &session.discovery)?;
    let named = all.iter().any(|wanted| matches!(wanted, Wanted::One(..)));
    if named && args.value("selector").is_some() {
        return Err(said("name cannot be provided when a selector is specified"));
    }
    if named && args.is_set("all-namespaces") {
        return Err(said(
            "a resource cannot be retrieved by name across all namespaces",
        ));
    }
    Ok(all
        .into_iter()
        .map(|wanted| (wanted, api.namespace.clone()))
        .collect())
}

/// Objects as they are, for every form but rows.
async fn whole(
    session: &Session,
    args: &Args,
    form: &Form,
    wanted: &[(Wanted, String)],
) -> Result<()> {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for (wanted, namespace) in wanted {
        match wanted {
            Wanted::One(resource, name) => {
                match session.api.get(&resource.path(namespace, name)).await {
                    Ok(object) => found.push((resource.clone(), object)),
                    Err(error) if error.is(404) && args.is_set("ignore-not-found") => {}
                    Err(error) => errors.push(error),
                }
            }
            Wanted::Every(resource) => match select::list(session, args, resource).await {
                Ok(list) => {
                    found.extend(list.into_iter().map(|one| (one.resource, one.object)));
                }
                Err(error) => errors.push(error),
            },
        }
    }
    if let Some(path) = args.value("sort-by") {
        sort(&Template::relaxed(path)?, &mut found, |(_, object)| object);
    }
    let single = matches!(wanted, [(Wanted::One(..), _)]);
    // One name that is not there is an error and no empty list.
    if !(single && found.is_empty()) {
        print::objects(form, found, single)?;
    }
    Error::all(errors)
}

/// Rows as the server makes them.
async fn tables(
    session: &Session,
    args: &Args,
    form: &Form,
    wanted: &[(Wanted, String)],
) -> Result<()> {
    let sort_by = args.value("sort-by").map(Template::relaxed).transpose()?;
    let (mut groups, mut errors): (Vec<(Resource, Vec<Value>)>, _) = (Vec::new(), Vec::new());
    for (wanted, namespace) in wanted {
        let (resource, path, query) = match wanted {
            Wanted::One(resource, name) => {
                (resource, resource.path(namespace, name), Query::default())
            }
            Wanted::Every(resource) => {
                let all = args.is_set("all-namespaces");
                let path = resource.collection((!all).then_some(namespace.as_str()));
                (resource, path, select::query(args))
            }
        };
        let whole = sort_by.is_some().then_some("Object");
        match session
            .api
            .get_as(&path, &query.maybe("includeObject", whole), TABLE)
            .await
        {
            Ok(table) => match groups.last_mut() {
                Some((last, tables)) if last == resource => tables.push(table),
                _ => groups.push((resource.clone(), vec![table])),
            },
            Err(error) if error.is(404) && args.is_set("ignore-not-found") => {}
            Err(error) => errors.push(error),
        }
    }
    let kinds = args.is_set("show-kind") || several(wanted);
    let mut printed = 0;
    for (resource, tables) in groups {
        let mut view = View::of(&resource, args, form, kinds);
        let mut table = tables.into_iter().reduce(joined).unwrap_or_default();
        if let (Some(path), Some(rows)) = (&sort_by, table["rows"].as_array_mut()) {
            sort(path, rows, |row| &row["object"]);
        }
        let rows = view.rows(&table);
        if rows.is_empty() {
            continue;
        }
        if printed > 0 {
            blank();
        }
        printed += rows.len();
        for text in view.lines(rows) {
            line(text);
        }
    }
    if printed == 0 && errors.is_empty() && !args.is_set("ignore-not-found") {
        let namespaced = wanted
            .iter()
            .any(|(wanted, _)| resource_of(wanted).namespaced);
        if namespaced && !args.is_set("all-namespaces") {
            note(format_args!(
                "No resources found in {} namespace.",
                session.api.namespace
            ));
        } else {
            note("No resources found");
        }
    }
    Error::all(errors)
}

fn joined(mut first: Value, mut second: Value) -> Value {
    if let (Some(rows), Some(more)) = (first["rows"].as_array_mut(), second["rows"].as_array_mut())
    {
        rows.append(more);
    }
    first
}

fn resource_of(wanted: &Wanted) -> &Resource {
    match wanted {
        Wanted::One(resource, _) | Wanted::Every(resource) => resource,
    }
}

fn several(wanted: &[(Wanted, String)]) -> bool {
    let mut kinds = wanted.iter().map(|(wanted, _)| resource_of(wanted));
    let first = kinds.next();
    kinds.any(|kind| Some(kind) != first)
}

/// Sorts by what a path finds: numbers as numbers, times and texts as texts.
fn sort<T>(path: &Template, items: &mut [T], object: impl Fn(&T) -> &Value) {
    items.sort_by(|a, b| {
        let key = |item: &T| path.values(object(item)).into_iter().next();
        match (key(a), key(b)) {
            (Some(Value::Number(a)), Some(Value::Number(b))) => a
                .as_f64()
                .partial_cmp(&b.as_f64())
                .unwrap_or(std::cmp::Ordering::Equal),
            (Some(Value::String(a)), Some(Value::String(b))) => a.cmp(&b),
            (a, b) => a.map(|a| a.to_string()).cmp(&b.map(|b| b.to_string())),
        }
    });
}

/// How rows of one kind are shown.
struct View<'a> {
    resource: &'a Resource,
    wide: bool,
    namespaces: bool,
    kinds: bool,
    headers: bool,
    labels: bool,
    label_columns: Vec<String>,
    columns: Vec<(String, bool)>,
    tabs: Tabs,
}

impl<'a> View<'a> {
    fn of(resource: &'a Resource, args: &Args, form: &Form, kinds: bool) -> Self {
        Self {
            resource,
            wide: matches!(form, Form::Wide),
            namespaces: args.is_set("all-namespaces") && resource.namespaced,
            kinds,
            headers: !args.is_set("no-headers"),
            labels: args.is_set("show-labels"),
            label_columns: args
                .all("label-columns")
                .flat_map(|labels| labels.split(','))
                .map(str::to_owned)
                .collect(),
            columns: Vec::new(),
            tabs: Tabs::default(),
        }
    }

    /// The cells that are shown.
    fn rows(&mut self, table: &Value) -> Vec<Vec<String>> {
        if let Some(columns) = table["columnDefinitions"].as_array()
            && !columns.is_empty()
        {
            let column = |column: &Value| {
                let name = column["name"].as_str().unwrap_or_default().to_uppercase();
                (
                    name,
                    self.wide || column["priority"].as_i64().unwrap_or_default() == 0,
                )
            };
            self.columns = columns.iter().map(column).collect();
        }
        let rows = table["rows"].as_array().map_or(&[][..], Vec::as_slice);
        rows.iter().map(|row| self.row(row)).collect()
    }

    fn row(&self, row: &Value) -> Vec<String> {
        let metadata = &row["object"]["metadata"];
        let mut cells = Vec::new();
        if self.namespaces {
            cells.push(
                metadata["namespace"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            );
        }
        let shown = row["cells"]
            .as_array()
            .into_iter()
            .flatten()
            .zip(&self.columns);
        for (at, (cell, (_, shown))) in shown.enumerate() {
            if *shown {
                let mut text = text(cell);
                if at == 0 && self.kinds {
                    text = self.resource.named(&text);
                }
                cells.push(text);
            }
        }
        let labels = metadata["labels"].as_object();
        for name in &self.label_columns {
            let value = labels.and_then(|labels| labels.get(name));
            cells.push(value.map(text).unwrap_or_default());
        }
        if self.labels {
            let mut pairs: Vec<_> = labels
                .into_iter()
                .flatten()
                .map(|(name, value)| format!("{name}={}", text(value)))
                .collect();
            pairs.sort();
            cells.push(if pairs.is_empty() {
                "<none>".to_owned()
            } else {
                pairs.join(",")
            });
        }
        cells
    }

    /// Lines, below their heading where none was printed yet.
    fn lines(&mut self, mut rows: Vec<Vec<String>>) -> Vec<String> {
        if std::mem::take(&mut self.headers) {
            let mut heading = Vec::new();
            if self.namespaces {
                heading.push("NAMESPACE".to_owned());
            }
            let shown = self.columns.iter().filter(|(_, shown)| *shown);
            heading.extend(shown.map(|(name, _)| name.clone()));
            let last = |label: &String| label.rsplit('/').next().unwrap_or(label).to_uppercase();
            heading.extend(self.label_columns.iter().map(last));
            if self.labels {
                heading.push("LABELS".to_owned());
            }
            rows.insert(0, heading);
        }
        self.tabs.lines(&rows, false)
    }
}

/// A cell as kubectl prints it: its first line.
fn text(cell: &Value) -> String {
    match cell {
        Value::Null => "<none>".to_owned(),
        Value::String(text) => match text.split_once(['\n', '\r', '\u{c}']) {
            Some((first, _)) => format!("{first}..."),
            None => text.clone(),
        },
        other => other.to_string(),
    }
}

/// Rows, or objects, whenever something changes.
async fn watch(
    session: &Session,
    args: &Args,
    form: &Form,
    wanted: &[(Wanted, String)],
) -> Result<()> {
    let [(wanted, namespace)] = wanted else {
        return Err(said("you may only specify a single resource type"));
    };
    let accept = if form.needs_objects() {
        "application/json"
    } else {
        TABLE
    };
    let resource = resource_of(wanted);
    let namespace = (!args.is_set("all-namespaces")).then_some(namespace.as_str());
    let path = resource.collection(namespace);
    let mut query = select::query(args);
    if let Wanted::One(_, name) = wanted {
        session.api.get(&format!("{path}/{name}")).await?;
        query = query.with("fieldSelector", format!("metadata.name={name}"));
    }
    let mut view = View::of(resource, args, form, false);
    let list = session.api.get_as(&path, &query, accept).await?;
    if !args.is_set("watch-only") {
        if form.needs_objects() {
            for object in list["items"].as_array().into_iter().flatten() {
                print::objects(form, vec![(resource.clone(), object.clone())], true)?;
            }
        } else {
            show(&mut view, &list);
        }
    }
    let version = list["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default();
    let query = query.with("watch", "true").with("resourceVersion", version);
    let mut lines = session.api.stream(&path, &query, accept).await?.lines();
    while let Some(event) = futures::StreamExt::next(&mut lines).await {
        let event = event.map_err(|error| said(format!("the watch broke off: {error}")))?;
        let event: Value = serde_json::from_str(&event)
            .map_err(|error| said(format!("an event of the watch is not JSON: {error}")))?;
        match event["type"].as_str() {
            Some("BOOKMARK") => {}
            Some("ERROR") => {
                return Err(Error::from_body(
                    410,
                    event["object"].to_string().as_bytes(),
                ));
            }
            _ if form.needs_objects() => {
                print::objects(
                    form,
                    vec![(resource.clone(), event["object"].clone())],
                    true,
                )?;
            }
            _ => show(&mut view, &event["object"]),
        }
    }
    Ok(())
}

fn show(view: &mut View<'_>, table: &Value) {
    let rows = view.rows(table);
    if !rows.is_empty() {
        for text in view.lines(rows) {
            line(text);
        }
    }
}
