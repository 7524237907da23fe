//! The keys of a kind's config, told in words, for those who write a pipeline.

use serde_json::Value;

use super::expectation;

/// A key of a kind's config.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigKey {
    /// The keys that lead to it, with dots between them.
    pub name: String,
    /// What it must be: "a whole number ≥ 1".
    pub wants: String,
    /// What it is when left out; `None` if it must be given or has no default of its own.
    pub default: Option<Value>,
    /// Whether it must be given.
    pub required: bool,
    /// The unit of its value, or empty.
    pub unit: String,
    /// What it is for, or empty.
    pub about: String,
}

/// The keys that the JSON schema `schema` of a config has, those within mappings after their mapping.
pub fn config_keys(schema: &Value) -> Vec<ConfigKey> {
    let mut keys = Vec::new();
    collect(schema, schema, "", None, 0, &mut keys);
    keys
}

fn collect(
    root: &Value,
    schema: &Value,
    prefix: &str,
    default: Option<&Value>,
    depth: usize,
    keys: &mut Vec<ConfigKey>,
) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (key, rules) in properties {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        let target = expectation::followed(root, rules);
        let get = |word: &str| {
            let found = rules.get(word).or_else(|| target.get(word)).and_then(Value::as_str);
            found.unwrap_or_default().to_owned()
        };
        let own = rules.get("default").or_else(|| default.and_then(|default| default.get(key)));
        let nested = target.get("properties").is_some() && depth < 4;
        keys.push(ConfigKey {
            name: name.clone(),
            wants: expectation::describe(root, rules),
            default: own.filter(|_| !nested).cloned(),
            required: required.contains(&key.as_str()),
            unit: get("unit"),
            about: get("description").split_whitespace().collect::<Vec<_>>().join(" "),
        });
        if nested {
            collect(root, target, &name, own, depth + 1, keys);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::config_keys;

    #[test]
    fn nested_keys_follow_their_mapping_with_their_own_defaults() {
        let schema = json!({
            "properties": {
                "axis": { "$ref": "#/$defs/Axis", "default": { "start": -5.0 } },
                "count": { "type": "integer", "minimum": 1, "description": "How\nmany." },
            },
            "required": ["count"],
            "$defs": { "Axis": { "type": "object", "properties": {
                "start": { "type": "number", "unit": "km/s" } } } },
        });
        let keys = config_keys(&schema);
        let names: Vec<_> = keys.iter().map(|key| key.name.as_str()).collect();
        assert_eq!(names, ["axis", "axis.start", "count"]);
        assert_eq!((keys[0].default.clone(), keys[1].default.clone()), (None, Some(json!(-5.0))));
        assert_eq!(keys[1].unit, "km/s");
        assert_eq!((keys[2].required, keys[2].about.as_str()), (true, "How many."));
        assert_eq!(keys[2].wants, "a whole number ≥ 1");
    }
}
