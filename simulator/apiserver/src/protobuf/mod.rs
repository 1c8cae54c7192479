//! Request bodies in protobuf, which `kubectl create KIND` sends and cannot be told not to.
//! Answers are JSON, which its clients accept.
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding>

mod schema;
mod wire;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::object;
use schema::{Field, Message, Type};
use wire::{Fields, Malformed, Wire};

/// The media type of these bodies.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// What every body begins with, before the envelope.
const MAGIC: &[u8] = b"k8s\0";

/// Why a body cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// The envelope is not there.
    #[error("the body does not begin as Kubernetes protobuf does")]
    NoEnvelope,
    /// The message does not hold together.
    #[error("the protobuf message is cut short or malformed")]
    Malformed,
    /// A kind that is only read as JSON.
    #[error(
        "this server reads {kind} of {api_version} as JSON only; write it to a file and use kubectl apply -f"
    )]
    UnknownKind {
        /// Group and version.
        api_version: String,
        /// Kind.
        kind: String,
    },
}

impl From<Malformed> for DecodeError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// The object of a body, as JSON.
pub(crate) fn decode(body: &[u8]) -> Result<Value, DecodeError> {
    let envelope = body.strip_prefix(MAGIC).ok_or(DecodeError::NoEnvelope)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Fields::of(envelope) {
        match field? {
            (1, Wire::Bytes(type_meta)) => (api_version, kind) = type_of(type_meta)?,
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let Some(message) = schema::message(&api_version, &kind) else {
        return Err(DecodeError::UnknownKind { api_version, kind });
    };
    let mut object = json!({ "apiVersion": api_version, "kind": kind });
    let map = object
        .as_object_mut()
        .expect("made as an object just above");
    map.extend(read(message, raw)?);
    Ok(object)
}

fn type_of(type_meta: &[u8]) -> Result<(String, String), Malformed> {
    let (mut api_version, mut kind) = (String::new(), String::new());
    for field in Fields::of(type_meta) {
        match field? {
            (1, Wire::Bytes(bytes)) => api_version = text(bytes)?,
            (2, Wire::Bytes(bytes)) => kind = text(bytes)?,
            _ => {}
        }
    }
    Ok((api_version, kind))
}

fn text(bytes: &[u8]) -> Result<String, Malformed> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Malformed)
}

fn read(message: &Message, bytes: &[u8]) -> Result<Map<String, Value>, Malformed> {
    let mut map = Map::new();
    for field in Fields::of(bytes) {
        let (number, value) = field?;
        if let Some(field) = message.0.iter().find(|field| field.number == number) {
            put(&mut map, field, value)?;
        }
    }
    Ok(map)
}

/// Adds one occurrence of a field.
fn put(map: &mut Map<String, Value>, field: &Field, value: Wire<'_>) -> Result<(), Malformed> {
    match (field.type_, value) {
        (Type::Texts, Wire::Bytes(bytes)) => push(map, field, Value::from(text(bytes)?)),
        (Type::Numbers, Wire::Number(number)) => push(map, field, signed(number)),
        (Type::Many(message), Wire::Bytes(bytes)) => {
            push(map, field, Value::Object(read(message, bytes)?));
        }
        (Type::TextMap | Type::BytesMap | Type::QuantityMap, Wire::Bytes(bytes)) => {
            let (key, value) = entry(field.type_, bytes)?;
            let place = map.entry(field.name).or_insert_with(|| json!({}));
            place[key] = value;
        }
        (Type::One(message), Wire::Bytes(bytes)) if field.name.is_empty() => {
            map.extend(read(message, bytes)?);
        }
        (_, value) => {
            if let Some(value) = single(field.type_, value)? {
                map.insert(field.name.to_owned(), value);
            }
        }
    }
    Ok(())
}

fn push(map: &mut Map<String, Value>, field: &Field, item: Value) {
    let place = map.entry(field.name).or_insert_with(|| json!([]));
    if let Some(items) = place.as_array_mut() {
        items.push(item);
    }
}

/// The value of a field that occurs once; `None` where it is the same as absent.
fn single(type_: Type, value: Wire<'_>) -> Result<Option<Value>, Malformed> {
    let value = match (type_, value) {
        (Type::Text, Wire::Bytes(bytes)) => Some(text(bytes)?)
            .filter(|text| !text.is_empty())
            .map(Value::from),
        (Type::Number, Wire::Number(number)) => (number != 0).then(|| signed(number)),
        (Type::OptionalNumber, Wire::Number(number)) => Some(signed(number)),
        (Type::Flag, Wire::Number(number)) => (number != 0).then(|| json!(true)),
        (Type::OptionalFlag, Wire::Number(number)) => Some(json!(number != 0)),
        (Type::Time, Wire::Bytes(bytes)) => time(bytes)?,
        (Type::Quantity, Wire::Bytes(bytes)) => Some(quantity(bytes)?),
        (Type::IntOrString, Wire::Bytes(bytes)) => Some(int_or_string(bytes)?),
        (Type::One(message), Wire::Bytes(bytes)) => Some(read(message, bytes)?)
            .filter(|map| !map.is_empty())
            .map(Value::Object),
        (Type::Present(message), Wire::Bytes(bytes)) => Some(Value::Object(read(message, bytes)?)),
        // A field of another shape than ours has been given another meaning.
        _ => return Err(Malformed),
    };
    Ok(value)
}

/// Negative numbers are written as their two's complement in 64 bits.
fn signed(number: u64) -> Value {
    Value::from(number.cast_signed())
}

fn entry(type_: Type, bytes: &[u8]) -> Result<(String, Value), Malformed> {
    let (mut key, mut value) = (String::new(), &[][..]);
    for field in Fields::of(bytes) {
        match field? {
            (1, Wire::Bytes(bytes)) => key = text(bytes)?,
            (2, Wire::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    let value = match type_ {
        Type::BytesMap => Value::from(STANDARD.encode(value)),
        Type::QuantityMap => quantity(value)?,
        _ => Value::from(text(value)?),
    };
    Ok((key, value))
}

/// `{1 string}`
fn quantity(bytes: &[u8]) -> Result<Value, Malformed> {
    for field in Fields::of(bytes) {
        if let (1, Wire::Bytes(bytes)) = field? {
            return Ok(Value::from(text(bytes)?));
        }
    }
    Ok(json!("0"))
}

/// `{1 type: 0 number, 1 text; 2 number; 3 text}`
fn int_or_string(bytes: &[u8]) -> Result<Value, Malformed> {
    let (mut is_text, mut number, mut string) = (false, 0, String::new());
    for field in Fields::of(bytes) {
        match field? {
            (1, Wire::Number(type_)) => is_text = type_ != 0,
            (2, Wire::Number(value)) => number = value,
            (3, Wire::Bytes(bytes)) => string = text(bytes)?,
            _ => {}
        }
    }
    Ok(if is_text {
        json!(string)
    } else {
        signed(number)
    })
}

/// `{1 seconds, 2 nanoseconds}`; empty is no time.
fn time(bytes: &[u8]) -> Result<Option<Value>, Malformed> {
    for field in Fields::of(bytes) {
        if let (1, Wire::Number(seconds)) = field? {
            let moment = Timestamp::from_second(seconds.cast_signed()).map_err(|_| Malformed)?;
            return Ok(Some(json!(object::time(moment))));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What kubectl 1.36 sends for `kubectl create namespace foo`.
    const NAMESPACE: &str = "6b3873000a0f0a02763112094e616d657370616365121b0a130a03666f6f12001a0022002a0032003800420012001a020a001a002200";

    fn bytes(hex: &str) -> Vec<u8> {
        let pairs = hex.as_bytes().chunks(2);
        pairs
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn a_namespace_of_kubectl_reads_as_json() {
        assert_eq!(
            decode(&bytes(NAMESPACE)),
            Ok(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "foo"}}))
        );
    }

    #[test]
    fn other_bodies_are_refused() {
        assert_eq!(decode(b"{}"), Err(DecodeError::NoEnvelope));
        let cut = &bytes(NAMESPACE)[..30];
        assert_eq!(decode(cut), Err(DecodeError::Malformed));
        let widget = b"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Widget";
        let error = decode(widget).unwrap_err().to_string();
        assert!(
            error.contains("Widget of v1") && error.contains("kubectl apply -f"),
            "{error}"
        );
    }

    #[test]
    fn numbers_and_texts_share_a_field() {
        assert_eq!(
            int_or_string(&[0x08, 0, 0x10, 0x50, 0x1a, 0]),
            Ok(json!(80))
        );
        assert_eq!(
            int_or_string(b"\x08\x01\x10\x00\x1a\x0325%"),
            Ok(json!("25%"))
        );
    }
}
