//! A JSON object read field by field, so that every refusal names its field.

use serde_json::{Map, Value};

use super::ConfigError;

/// The fields of `config.json`, or of an object in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    /// Where the object stands: empty, or a field's name.
    path: &'static str,
    object: &'a Map<String, Value>,
}

/// What a field holds.
pub(super) trait Readable: Sized {
    /// What a refusal says is accepted.
    const ACCEPTED: &'static str;

    fn read(value: &Value) -> Option<Self>;
}

impl<'a> Fields<'a> {
    pub(super) fn new(object: &'a Map<String, Value>) -> Self {
        Self { path: "", object }
    }

    /// The object in a field; `None` where the field is absent, null or an empty object.
    pub(super) fn inner(&self, name: &'static str) -> Result<Option<Self>, ConfigError> {
        match self.object.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(object)) => {
                let inner = Self { path: name, object };
                Ok((!object.is_empty()).then_some(inner))
            }
            Some(other) => Err(self.refuse(name, other, "an object")),
        }
    }

    /// A field: `None` where it is absent, `Some(None)` where it is null.
    pub(super) fn get<T: Readable>(&self, name: &str) -> Result<Option<Option<T>>, ConfigError> {
        match self.object.get(name) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(None)),
            Some(value) => match T::read(value) {
                Some(read) => Ok(Some(Some(read))),
                None => Err(self.refuse(name, value, T::ACCEPTED)),
            },
        }
    }

    /// A field that may be absent or null, which mean the same.
    pub(super) fn optional<T: Readable>(&self, name: &str) -> Result<Option<T>, ConfigError> {
        Ok(self.get(name)?.flatten())
    }

    /// A field that must be there.
    pub(super) fn required<T: Readable>(&self, name: &str) -> Result<T, ConfigError> {
        match self.get(name)? {
            Some(Some(value)) => Ok(value),
            Some(None) => Err(self.refuse(name, "null", T::ACCEPTED)),
            None => Err(self.refuse(name, "missing", T::ACCEPTED)),
        }
    }

    /// The names of all fields, sorted.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.object.keys().map(String::as_str)
    }

    /// A field as it is written, for a message.
    pub(super) fn text(&self, name: &str) -> String {
        self.object
            .get(name)
            .map_or("missing".to_owned(), Value::to_string)
    }

    /// The refusal of a field of this object.
    pub(super) fn refuse(
        &self,
        name: &str,
        found: impl std::fmt::Display,
        accepted: impl Into<String>,
    ) -> ConfigError {
        let field = match self.path {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        ConfigError::unsupported(field, found, accepted)
    }
}

impl Readable for i64 {
    const ACCEPTED: &'static str = "an integer";

    fn read(value: &Value) -> Option<Self> {
        value.as_i64()
    }
}

impl Readable for f64 {
    const ACCEPTED: &'static str = "a number";

    fn read(value: &Value) -> Option<Self> {
        value.as_f64()
    }
}

impl Readable for bool {
    const ACCEPTED: &'static str = "true or false";

    fn read(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl Readable for String {
    const ACCEPTED: &'static str = "a string";

    fn read(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl Readable for Vec<String> {
    const ACCEPTED: &'static str = "a list of strings";

    fn read(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(String::read).collect()
    }
}
