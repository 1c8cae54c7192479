//! Objects as rows, for `kubectl get`.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables>

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::negotiate::{IncludeObject, TableOptions};
use crate::resources::{Column, ResourceDef};
use crate::respond;

/// A Table of objects. Every column is sent: kubectl hides those of priority 1 itself.
pub(crate) fn table(
    definition: &ResourceDef,
    options: TableOptions,
    metadata: &Value,
    objects: impl Iterator<Item = Value>,
    now: Timestamp,
) -> Value {
    let columns: Vec<Value> = definition.columns.iter().map(column).collect();
    let rows: Vec<Value> = objects
        .map(|object| row(definition, options, object, now))
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{}", options.version),
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

fn column(column: &Column) -> Value {
    json!({
        "name": column.name,
        "type": column.type_,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    })
}

fn row(definition: &ResourceDef, options: TableOptions, object: Value, now: Timestamp) -> Value {
    let cells: Vec<Value> = definition
        .columns
        .iter()
        .map(|column| (column.cell)(&object, now))
        .collect();
    let mut row = json!({ "cells": cells });
    match options.include {
        IncludeObject::None => {}
        IncludeObject::Metadata => row["object"] = respond::partial(&object),
        IncludeObject::Object => row["object"] = object,
    }
    row
}
