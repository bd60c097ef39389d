//! A validator for the part of JSON Schema that `docs/signaling-protocol.schema.json` uses.

use serde_json::Value;

pub struct Schema {
    root: Value,
}

impl Schema {
    pub fn load() -> Schema {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/signaling-protocol.schema.json");
        let text = std::fs::read_to_string(path).unwrap();
        Schema { root: serde_json::from_str(&text).unwrap() }
    }

    /// Why `value` does not match the definition of this name.
    pub fn check(&self, definition: &str, value: &Value) -> Result<(), String> {
        self.matches(&self.root["$defs"][definition], value, definition)
    }

    fn matches(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let Some(rules) = schema.as_object() else { return Err(format!("{at}: no schema")) };
        for (rule, wanted) in rules {
            let ok = match rule.as_str() {
                "$ref" => {
                    let name = wanted.as_str().unwrap().rsplit('/').next().unwrap();
                    return self.check(name, value).map_err(|error| format!("{at}: {error}"));
                }
                "description" | "title" => true,
                "const" => value == wanted,
                "enum" => wanted.as_array().unwrap().contains(value),
                "type" => match wanted {
                    Value::Array(types) => types.iter().any(|one| is_type(one, value)),
                    one => is_type(one, value),
                },
                "pattern" => is_id(wanted.as_str().unwrap(), value.as_str().unwrap_or_default()),
                "maxLength" => {
                    value.as_str().is_none_or(|text| text.chars().count() as u64 <= wanted.as_u64().unwrap())
                }
                "minimum" => value.as_u64().is_some_and(|number| number >= wanted.as_u64().unwrap()),
                "maximum" => value.as_u64().is_some_and(|number| number <= wanted.as_u64().unwrap()),
                "required" => {
                    wanted.as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some())
                }
                "additionalProperties" => {
                    let known = rules["properties"].as_object().unwrap();
                    value.as_object().is_some_and(|object| object.keys().all(|key| known.contains_key(key)))
                }
                "properties" => {
                    for (key, inner) in wanted.as_object().unwrap() {
                        if let Some(field) = value.get(key) {
                            self.matches(inner, field, &format!("{at}.{key}"))?;
                        }
                    }
                    true
                }
                "items" => {
                    for item in value.as_array().into_iter().flatten() {
                        self.matches(wanted, item, &format!("{at}[]"))?;
                    }
                    true
                }
                "oneOf" => {
                    let matching =
                        wanted.as_array().unwrap().iter().filter(|one| self.matches(one, value, at).is_ok());
                    matching.count() == 1
                }
                unknown => panic!("the validator does not know {unknown}"),
            };
            if !ok {
                return Err(format!("{at}: {rule} fails for {value}"));
            }
        }
        Ok(())
    }
}

fn is_type(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the validator does not know the type {other}"),
    }
}

/// The only patterns in use: `^p[0-9]+$` and `^t[0-9]+$`.
fn is_id(pattern: &str, text: &str) -> bool {
    let prefix = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix("[0-9]+$")).unwrap();
    text.strip_prefix(prefix)
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}
