//! JSON to a kind's type, with what Go's strict decoder would say of the rest.
//!
//! One pass finds the fields that the type does not have, with their paths, and turns a type
//! mismatch into the sentence of `encoding/json` that every Kubernetes user has met. serde's
//! own errors know neither the path nor the name of the struct, so the walk over the
//! [`Value`] is a deserializer of our own; types take part through `Deserialize` alone.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor,
};
use serde_json::Value;

use super::quantities;
use super::{DecodeError, UnknownField};

/// The outcome of reading a value as a type.
#[derive(Debug)]
pub(super) enum Failure {
    /// A field that the type cannot do without: its path.
    Missing(String),
    /// Something of the wrong shape.
    Wrong(DecodeError),
}

/// Reads `value` as `T`, and lists the fields that `T` does not have in document order.
pub(super) fn typed<T: DeserializeOwned>(value: &Value) -> Result<(T, Vec<UnknownField>), Failure> {
    let unknown = RefCell::new(Vec::new());
    let node = Node {
        value,
        path: &Path::Root,
        owner: "",
        unknown: &unknown,
    };
    match T::deserialize(node) {
        Ok(object) => Ok((object, unknown.into_inner())),
        Err(error) => Err(error.into_failure()),
    }
}

/// Where a value stands; lives on the stack of the walk.
enum Path<'p> {
    Root,
    Field(&'p Path<'p>, &'p str),
    /// A key of a map, which Go's decoder leaves out of its messages.
    Key(&'p Path<'p>, &'p str),
    Item(&'p Path<'p>, usize),
}

impl Path<'_> {
    /// The path as Go's JSON decoder names it: fields of structs only.
    fn fields_only(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Item(parent, _) | Self::Key(parent, _) => parent.fields_only(),
            Self::Field(parent, name) => join(&parent.fields_only(), name),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
            Self::Field(Path::Root, name) | Self::Key(Path::Root, name) => f.write_str(name),
            Self::Field(parent, name) | Self::Key(parent, name) => write!(f, "{parent}.{name}"),
        }
    }
}

/// `path.name`, or `name` at the root.
fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// What went wrong; `path` is set by the value where it went wrong, as the error passes.
#[derive(Debug)]
struct Error {
    path: Option<String>,
    missing: Option<&'static str>,
    message: String,
}

impl Error {
    fn at(mut self, path: &Path<'_>) -> Self {
        self.path.get_or_insert_with(|| path.to_string());
        self
    }

    fn into_failure(self) -> Failure {
        let path = self.path.unwrap_or_default();
        match self.missing {
            Some(field) => Failure::Missing(join(&path, field)),
            None => Failure::Wrong(DecodeError {
                path,
                message: self.message,
            }),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            path: None,
            missing: None,
            message: message.to_string(),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            path: None,
            missing: Some(field),
            message: format!("missing field {field:?}"),
        }
    }
}

/// One JSON value at its place.
#[derive(Clone, Copy)]
struct Node<'de, 'p> {
    value: &'de Value,
    path: &'p Path<'p>,
    /// The struct that has this value among its fields, for messages.
    owner: &'p str,
    unknown: &'p RefCell<Vec<UnknownField>>,
}

impl Node<'_, '_> {
    /// The complaint of Go's decoder about a value of the wrong type.
    fn mismatch<T>(&self) -> Error {
        let found = match self.value {
            Value::Null => "null".to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            Value::Number(n) if n.is_f64() => format!("number {n}"),
            Value::Number(n) if is_integer::<T>() => format!("number {n}"),
            Value::Number(_) => "number".to_owned(),
            Value::String(_) => "string".to_owned(),
            Value::Array(_) => "array".to_owned(),
            Value::Object(_) => "object".to_owned(),
        };
        let field = join(self.owner, &self.path.fields_only());
        let place = if field.is_empty() {
            "Go value".to_owned()
        } else {
            format!("Go struct field {field}")
        };
        let wanted = go_type(std::any::type_name::<T>());
        de::Error::custom(format!(
            "json: cannot unmarshal {found} into {place} of type {wanted}"
        ))
    }
}

fn is_integer<T>() -> bool {
    matches!(
        std::any::type_name::<T>(),
        "i32" | "i64" | "u16" | "u32" | "u64"
    )
}

/// The Go name of a Rust type. Only for messages: the name of a type is not a stable thing.
fn go_type(name: &str) -> String {
    let (outer, inner) = match name.split_once('<') {
        Some((outer, rest)) => (outer, rest.strip_suffix('>').unwrap_or(rest)),
        None => (name, ""),
    };
    let short = |path: &str| path.rsplit("::").next().unwrap_or(path).to_owned();
    match short(outer).as_str() {
        "Vec" => format!("[]{}", go_type(inner)),
        "Option" => go_type(inner),
        "BTreeMap" => {
            let value = inner.split_once(", ").map_or(inner, |(_, value)| value);
            format!("map[string]{}", go_type(value))
        }
        "String" => "string".to_owned(),
        "bool" => "bool".to_owned(),
        "i32" => "int32".to_owned(),
        "i64" => "int64".to_owned(),
        "u16" => "uint16".to_owned(),
        "f64" => "float64".to_owned(),
        "Quantity" => "resource.Quantity".to_owned(),
        "IntOrString" => "intstr.IntOrString".to_owned(),
        other => format!("v1.{other}"),
    }
}

/// Methods for scalars: the visitor either takes the value, or it is a mismatch.
macro_rules! scalars {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.scalar(visitor)
        }
    )*};
}

impl<'de> Node<'de, '_> {
    fn scalar<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null | Value::Array(_) | Value::Object(_) => {
                Err(self.mismatch::<V::Value>().at(self.path))
            }
            scalar => scalar
                .deserialize_any(visitor)
                // serde_json's error has no place; the mismatch does. Errors of the type's own
                // making ("invalid timestamp") carry more than the type, so they stay.
                .map_err(|error| self.explain::<V::Value>(&error).at(self.path)),
        }
    }

    fn explain<T>(&self, error: &serde_json::Error) -> Error {
        let message = error.to_string();
        if std::any::type_name::<T>().ends_with("::ByteString") {
            let offset = message.rsplit("offset ").next().unwrap_or_default();
            let offset: usize = offset.trim_end_matches('.').parse().unwrap_or_default();
            de::Error::custom(format!("illegal base64 data at input byte {offset}"))
        } else if message.starts_with("invalid type") || message.starts_with("invalid value") {
            self.mismatch::<T>()
        } else {
            de::Error::custom(message)
        }
    }

    /// `owner` is the struct whose fields these are; a map has none.
    fn object<V: Visitor<'de>>(self, owner: Option<&str>, visitor: V) -> Result<V::Value, Error> {
        let Value::Object(map) = self.value else {
            return Err(self.mismatch::<V::Value>().at(self.path));
        };
        let fields = Fields {
            // An explicit null means the same as an absent field in every Kubernetes type.
            entries: map.iter().filter(|(_, value)| !value.is_null()),
            next: None,
            of_struct: owner.is_some(),
            node: Node {
                owner: owner.unwrap_or(self.owner),
                ..self
            },
        };
        visitor
            .visit_map(fields)
            .map_err(|error| error.at(self.path))
    }

    fn array<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Value::Array(items) = self.value else {
            return Err(self.mismatch::<V::Value>().at(self.path));
        };
        let items = Items {
            items: items.iter().enumerate(),
            node: self,
        };
        visitor
            .visit_seq(items)
            .map_err(|error| error.at(self.path))
    }
}

impl<'de> Deserializer<'de> for Node<'de, '_> {
    type Error = Error;

    scalars! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32
        deserialize_f64 deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_identifier
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Object(_) => self.object(None, visitor),
            Value::Array(_) => self.array(visitor),
            Value::Null => visitor.visit_unit(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => self.scalar(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == "Quantity" {
            // Whatever is not a number at all gets the message of an unreadable text.
            let checked = match self.value {
                Value::Number(_) => Ok(()),
                Value::String(text) => quantities::check(text),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                    quantities::check("")
                }
            };
            checked.map_err(|message| Error::at(de::Error::custom(message), self.path))?;
        }
        visitor
            .visit_newtype_struct(self)
            .map_err(|error| error.at(self.path))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.array(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.array(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.array(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.object(None, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.object(Some(name), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.value {
            Value::String(text) => visitor.visit_enum(StrDeserializer::<Error>::new(text.as_str())),
            _ => Err(self.mismatch::<V::Value>().at(self.path)),
        }
    }

    /// serde asks for a value to throw away where the type has no such field.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.unknown
            .borrow_mut()
            .push(UnknownField(self.path.to_string()));
        visitor.visit_unit()
    }
}

/// The fields of an object.
struct Fields<'de, 'p, I> {
    entries: I,
    next: Option<(&'de str, &'de Value)>,
    of_struct: bool,
    node: Node<'de, 'p>,
}

impl<'de, I> MapAccess<'de> for Fields<'de, '_, I>
where
    I: Iterator<Item = (&'de String, &'de Value)>,
{
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        self.next = Some((key, value));
        seed.deserialize(StrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (key, value) = self.next.take().expect("a value follows its key");
        let path = if self.of_struct {
            Path::Field(self.node.path, key)
        } else {
            Path::Key(self.node.path, key)
        };
        seed.deserialize(Node {
            value,
            path: &path,
            ..self.node
        })
    }
}

/// The items of an array.
struct Items<'de, 'p> {
    items: std::iter::Enumerate<std::slice::Iter<'de, Value>>,
    node: Node<'de, 'p>,
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some((index, value)) = self.items.next() else {
            return Ok(None);
        };
        let path = Path::Item(self.node.path, index);
        seed.deserialize(Node {
            value,
            path: &path,
            ..self.node
        })
        .map(Some)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use k8s_openapi::api::core::v1::{ConfigMap, Pod};
    use lab_api::gateway::Gateway;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn refused<T: DeserializeOwned + fmt::Debug>(value: &Value, path: &str, message: &str) {
        match typed::<T>(value) {
            Err(Failure::Wrong(error)) => {
                assert_eq!(
                    (error.path.as_str(), error.message.as_str()),
                    (path, message)
                );
            }
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[test]
    fn unknown_fields_have_their_full_path() {
        let (_, unknown) = typed::<Deployment>(&json!({
            "spec": {"bogus": 1, "template": {"spec": {"containers": [{"name": "a", "imagee": "b"}]}}},
            "extra": {},
        }))
        .unwrap();
        let paths: Vec<&str> = unknown.iter().map(|field| field.0.as_str()).collect();
        assert_eq!(
            paths,
            [
                "spec.bogus",
                "spec.template.spec.containers[0].imagee",
                "extra"
            ]
        );
    }

    #[test]
    fn a_wrong_type_reads_as_in_go() {
        refused::<Deployment>(
            &json!({"spec": {"replicas": "three"}}),
            "spec.replicas",
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        );
        refused::<ConfigMap>(
            &json!({"data": ["a"]}),
            "data",
            "json: cannot unmarshal array into Go struct field ConfigMap.data of type map[string]string",
        );
        refused::<ConfigMap>(
            &json!({"data": {"port": 80}}),
            "data.port",
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        );
        refused::<ConfigMap>(
            &json!({"metadata": {"finalizers": {}}}),
            "metadata.finalizers",
            "json: cannot unmarshal object into Go struct field ObjectMeta.metadata.finalizers of type []string",
        );
        refused::<Pod>(
            &json!({"spec": {"containers": {"name": "a"}}}),
            "spec.containers",
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        );
    }

    #[test]
    fn a_quantity_is_checked_where_it_stands() {
        refused::<Pod>(
            &json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "lots"}}}]}}),
            "spec.containers[0].resources.limits.cpu",
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        );
    }

    #[test]
    fn null_is_the_same_as_absent() {
        let (pod, unknown) =
            typed::<Pod>(&json!({"metadata": {"creationTimestamp": null}, "status": null}))
                .unwrap();
        assert_eq!((pod, unknown), (Pod::default(), Vec::new()));
    }

    #[test]
    fn a_missing_field_is_named() {
        let route = json!({"spec": {"gatewayClassName": "c", "listeners": [{"name": "a", "protocol": "HTTP"}]}});
        match typed::<Gateway>(&route) {
            Err(Failure::Missing(path)) => assert_eq!(path, "spec.listeners[0].port"),
            other => panic!("expected a missing field, got {other:?}"),
        }
    }
}
