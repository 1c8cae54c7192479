//! Request bodies.

use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::call::Call;
use crate::error::ApiError;
use crate::protobuf::{self, DecodeError};

/// The largest body that is read, in bytes; upstream's limit.
pub(crate) const LIMIT_BYTES: usize = 3 * 1024 * 1024;

const JSON: &str = "application/json";

/// A body, read.
#[derive(Clone, Debug)]
pub(crate) struct Parsed {
    /// The value; of fields given twice, the last one.
    pub(crate) value: Value,
    /// Paths of fields given twice.
    pub(crate) duplicates: Vec<String>,
}

/// Reads a JSON body and notes the fields that are given twice.
pub(crate) fn json(bytes: &Bytes) -> Result<Parsed, ApiError> {
    let mut duplicates = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let seed = Tree {
        place: Place::Root,
        duplicates: &mut duplicates,
    };
    let value = seed
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| {
            ApiError::BadRequest(format!(
                "couldn't get version/kind; json parse error: {error}"
            ))
        })?;
    Ok(Parsed { value, duplicates })
}

/// Reads a JSON object.
pub(crate) fn object(bytes: &Bytes) -> Result<Parsed, ApiError> {
    let parsed = json(bytes)?;
    if parsed.value.is_object() {
        Ok(parsed)
    } else {
        let message = "the body must be a JSON object with apiVersion and kind";
        Err(ApiError::BadRequest(message.to_owned()))
    }
}

/// Reads an object in any format that this server reads.
pub(crate) fn read(call: &Call) -> Result<Parsed, ApiError> {
    match media_type(call.content_type.as_deref()) {
        "" | JSON => object(&call.body),
        protobuf::MEDIA_TYPE => {
            let decoded = protobuf::decode(&call.body);
            let value = decoded.map_err(|error| match error {
                DecodeError::NoEnvelope | DecodeError::Malformed => {
                    ApiError::BadRequest(error.to_string())
                }
                DecodeError::UnknownKind { .. } => {
                    ApiError::UnsupportedMediaType(error.to_string())
                }
            })?;
            let duplicates = Vec::new();
            Ok(Parsed { value, duplicates })
        }
        other => Err(unsupported(other, &[JSON, protobuf::MEDIA_TYPE])),
    }
}

/// `Content-Type` without parameters.
pub(crate) fn media_type(content_type: Option<&str>) -> &str {
    let whole = content_type.unwrap_or_default();
    whole.split(';').next().unwrap_or_default().trim()
}

/// The refusal of a body, naming what it is and what would be read.
pub(crate) fn unsupported(media_type: &str, accepted: &[&str]) -> ApiError {
    ApiError::UnsupportedMediaType(format!(
        "the body of the request was in an unknown format ({media_type}) - accepted media types include: {}",
        accepted.join(", ")
    ))
}

/// Builds a [`Value`] and notes duplicates on the way: serde_json alone keeps the last in
/// silence.
struct Tree<'a> {
    place: Place<'a>,
    duplicates: &'a mut Vec<String>,
}

/// Where a value stands; on the stack, and spelt out only for a complaint.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Field(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let place = Place::Field(&self.place, &key);
            let value = access.next_value_seed(Tree {
                place,
                duplicates: self.duplicates,
            })?;
            if map.contains_key(&key) {
                self.duplicates.push(place.to_string());
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let seed = Tree {
                place: Place::Item(&self.place, items.len()),
                duplicates: self.duplicates,
            };
            match access.next_element_seed(seed)? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = serde_json::Number::from_f64(value);
        number
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::from(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_given_twice_are_noted_with_their_path() {
        let body = br#"{"a":1,"b":{"c":[{"d":1,"d":2}],"c2":0},"a":3}
"#;
        let parsed = object(&Bytes::from_static(body)).unwrap();
        assert_eq!(parsed.duplicates, ["b.c[0].d", "a"]);
        assert_eq!(parsed.value["a"], 3);
        assert_eq!(parsed.value["b"]["c"][0]["d"], 2);
    }

    #[test]
    fn bodies_that_are_no_object_are_refused() {
        for bad in ["", "[1]", "{", "{} x", "\"text\""] {
            assert!(
                object(&Bytes::from_static(bad.as_bytes())).is_err(),
                "{bad}"
            );
        }
    }
}
