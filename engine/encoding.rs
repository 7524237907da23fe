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

use serde_json::Value;

/// Feeds the encoding of values to a hasher.
pub(crate) struct Encoder(blake3::Hasher);

impl Encoder {
    /// Starts a hash of its own domain: the same bytes under another `context` have another hash.
    pub(crate) fn new(context: &'static str) -> Self {
        Self(blake3::Hasher::new_derive_key(context))
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.0.update(&number.to_le_bytes());
        self
    }

    pub(crate) fn fixed(&mut self, bytes: &[u8; 32]) -> &mut Self {
        self.0.update(bytes);
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
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
                    self.0.update(&whole.to_le_bytes());
                } else {
                    // Adding zero turns −0 into 0 and leaves every other number as it is.
                    let real = number.as_f64().unwrap_or(f64::NAN) + 0.0;
                    self.tag(4);
                    self.0.update(&real.to_bits().to_le_bytes());
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

    pub(crate) fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }

    fn tag(&mut self, tag: u8) -> &mut Self {
        self.0.update(&[tag]);
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

    proptest! {
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
