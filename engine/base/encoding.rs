//! The byte encoding of structured values before they are hashed.
//!
//! | value | bytes |
//! | --- | --- |
//! | text, bytes | length as u64 little-endian, then the bytes |
//! | sequence | number of elements as u64 little-endian, then each |
//! | JSON null | `0` |
//! | JSON false, true | `1`, `2` |
//! | JSON whole number | `3`, then i128 little-endian |
//! | JSON real number | `4`, then the bits of the f64, little-endian; −0 is written as 0 |
//! | JSON string | `5`, then text |
//! | JSON array | `6`, then a sequence |
//! | JSON object | `7`, then a sequence of (text, value) in the order of the keys' bytes |
//!
//! Lengths come first, so ("ab", "c") and ("a", "bc") differ.

use std::borrow::Cow;

use serde_json::Value;

/// A JSON value that borrows what it is made of. What stages are made of is hashed in every run and kept in few.
pub(crate) enum Json<'a> {
    Value(Cow<'a, Value>),
    Null,
    Text(Cow<'a, str>),
    Array(Vec<Self>),
    Object(Vec<(&'a str, Self)>),
}

impl<'a> Json<'a> {
    pub(crate) fn text(text: &'a str) -> Self {
        Self::Text(text.into())
    }

    /// An object of `entries`, whose keys are in the order of their bytes.
    pub(crate) fn object(entries: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        let entries: Vec<_> = entries.into_iter().collect();
        debug_assert!(entries.is_sorted_by(|(a, _), (b, _)| a.as_bytes() < b.as_bytes()));
        Self::Object(entries)
    }
}

impl<'a> FromIterator<Json<'a>> for Json<'a> {
    fn from_iter<I: IntoIterator<Item = Self>>(items: I) -> Self {
        Self::Array(items.into_iter().collect())
    }
}

impl From<Json<'_>> for Value {
    fn from(json: Json<'_>) -> Self {
        match json {
            Json::Value(value) => value.into_owned(),
            Json::Null => Self::Null,
            Json::Text(text) => Self::String(text.into_owned()),
            Json::Array(items) => items.into_iter().map(Self::from).collect(),
            Json::Object(entries) => {
                entries.into_iter().map(|(key, item)| (key.to_owned(), Self::from(item))).collect()
            }
        }
    }
}

/// Hashes the encoding of values.
pub(crate) struct Encoder {
    context: &'static str,
    bytes: Vec<u8>,
}

impl Encoder {
    /// Starts a hash of its own domain: the same bytes under another `context` have another hash.
    pub(crate) fn new(context: &'static str) -> Self {
        Self { context, bytes: Vec::with_capacity(512) }
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.bytes.extend(number.to_le_bytes());
        self
    }

    pub(crate) fn fixed(&mut self, bytes: &[u8; 32]) -> &mut Self {
        self.bytes.extend(bytes);
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.number(text.len() as u64);
        self.bytes.extend(text.as_bytes());
        self
    }

    pub(crate) fn value(&mut self, value: &Value) -> &mut Self {
        match value {
            Value::Null => self.tag(0),
            Value::Bool(false) => self.tag(1),
            Value::Bool(true) => self.tag(2),
            Value::Number(number) => {
                let whole = number.as_i64().map(i128::from).or(number.as_u64().map(i128::from));
                if let Some(whole) = whole {
                    self.tag(3);
                    self.bytes.extend(whole.to_le_bytes());
                } else {
                    // Adding zero turns −0 into 0 and leaves every other number as it is.
                    let real = number.as_f64().unwrap_or(f64::NAN) + 0.0;
                    self.tag(4);
                    self.bytes.extend(real.to_bits().to_le_bytes());
                }
                self
            }
            Value::String(text) => self.tag(5).text(text),
            Value::Array(items) => {
                self.tag(6).number(items.len() as u64);
                for item in items {
                    self.value(item);
                }
                self
            }
            Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_unstable_by_key(|(key, _)| key.as_bytes());
                self.tag(7).number(entries.len() as u64);
                for (key, item) in entries {
                    self.text(key).value(item);
                }
                self
            }
        }
    }

    /// Encodes what the [`Value`] made of `json` is encoded as.
    pub(crate) fn json(&mut self, json: &Json<'_>) -> &mut Self {
        match json {
            Json::Value(value) => self.value(value),
            Json::Null => self.tag(0),
            Json::Text(text) => self.tag(5).text(text),
            Json::Array(items) => {
                self.tag(6).number(items.len() as u64);
                items.iter().fold(self, Self::json)
            }
            Json::Object(entries) => {
                self.tag(7).number(entries.len() as u64);
                entries.iter().fold(self, |encoder, (key, item)| encoder.text(key).json(item))
            }
        }
    }

    pub(crate) fn finish(&self) -> [u8; 32] {
        blake3::derive_key(self.context, &self.bytes)
    }

    fn tag(&mut self, tag: u8) -> &mut Self {
        self.bytes.push(tag);
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn hash(value: &Value) -> [u8; 32] {
        Encoder::new("test").value(value).finish()
    }

    #[test]
    fn boundaries_and_types_are_told_apart() {
        let values = [
            json!(["ab", "c"]),
            json!(["a", "bc"]),
            json!(["abc"]),
            json!("abc"),
            json!(1),
            json!("1"),
            json!(true),
            json!(null),
            json!([]),
            json!({}),
            json!([[]]),
            json!({"a": {"b": 1}}),
            json!({"a": 1, "b": {}}),
            json!(1.5),
        ];
        for (i, a) in values.iter().enumerate() {
            for b in &values[i + 1..] {
                assert_ne!(hash(a), hash(b), "{a} and {b}");
            }
        }
    }

    #[test]
    fn domains_are_told_apart() {
        let one = Encoder::new("one").text("x").finish();
        assert_ne!(one, Encoder::new("two").text("x").finish());
    }

    /// JSON values of every form, and borrowed as deep as it goes.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-zé]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-zé]{0,4}", inner, 0..5)
                    .prop_map(|entries| entries.into_iter().collect()),
            ]
        })
    }

    fn borrowed(value: &Value) -> Json<'_> {
        match value {
            Value::Null => Json::Null,
            Value::String(text) => Json::text(text),
            Value::Array(items) => items.iter().map(borrowed).collect(),
            Value::Object(map) => {
                Json::object(map.iter().map(|(key, item)| (key.as_str(), borrowed(item))))
            }
            other => Json::Value(Cow::Borrowed(other)),
        }
    }

    proptest! {
        #[test]
        fn what_is_borrowed_is_encoded_as_what_is_owned(value in value()) {
            let json = borrowed(&value);
            prop_assert_eq!(Encoder::new("test").json(&json).finish(), hash(&value));
            prop_assert_eq!(Value::from(json), value);
        }

        #[test]
        fn order_of_keys_is_nothing(entries in prop::collection::btree_map("[a-z]{0,8}", any::<i64>(), 0..12)) {
            let forward: serde_json::Map<_, _> = entries.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
            let backward: serde_json::Map<_, _> = entries.iter().rev().map(|(k, v)| (k.clone(), json!(v))).collect();
            prop_assert_eq!(hash(&Value::Object(forward)), hash(&Value::Object(backward)));
        }

        #[test]
        fn every_real_number_is_told_apart(a in any::<f64>(), b in any::<f64>()) {
            prop_assume!(a.is_finite() && b.is_finite() && (a < b || b < a));
            prop_assert_ne!(hash(&json!(a)), hash(&json!(b)));
        }
    }
}
