//! As much of JSON Schema as the schemas of this project use.

use serde_json::Value;

/// Words that ask for nothing. What a word asks for that is not known here would not be looked at.
const WORDS: [&str; 4] = ["$schema", "$defs", "title", "description"];

/// Whether `value` is as `schema` says; `root` is the whole schema.
#[track_caller]
pub(crate) fn check(root: &Value, schema: &Value, value: &Value, place: &str) {
    let words = schema.as_object().expect("a schema is an object");
    for (word, asked) in words {
        let fine = match word.as_str() {
            "$ref" => {
                let name = asked.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                check(root, &root["$defs"][name], value, place);
                true
            }
            "type" => types(asked).any(|name| is(value, name)),
            "const" => value == asked,
            "enum" => asked.as_array().unwrap().contains(value),
            "minimum" => value.as_f64().is_none_or(|n| n >= asked.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|n| n <= asked.as_f64().unwrap()),
            "pattern" => is_hash(asked, value),
            "required" => {
                let names = asked.as_array().unwrap();
                names.iter().all(|name| value.get(name.as_str().unwrap()).is_some())
            }
            "additionalProperties" => value
                .as_object()
                .unwrap()
                .keys()
                .all(|name| schema["properties"].get(name).is_some()),
            "properties" => {
                for (name, schema) in asked.as_object().unwrap() {
                    let Some(value) = value.get(name) else { continue };
                    check(root, schema, value, &format!("{place}/{name}"));
                }
                true
            }
            "items" => {
                for (n, item) in value.as_array().unwrap().iter().enumerate() {
                    check(root, asked, item, &format!("{place}/{n}"));
                }
                true
            }
            other => {
                assert!(WORDS.contains(&other), "{other} is not understood");
                true
            }
        };
        assert!(fine, "{place}: {value} is not as {word} {asked} says");
    }
}

fn types(asked: &Value) -> impl Iterator<Item = &str> {
    let one = asked.as_str();
    one.into_iter().chain(asked.as_array().into_iter().flatten().filter_map(Value::as_str))
}

fn is(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        other => panic!("{other} is no type"),
    }
}

/// The one pattern that is used: a hash in hexadecimal.
fn is_hash(pattern: &Value, value: &Value) -> bool {
    assert_eq!(pattern, "^[0-9a-f]{64}$");
    let text = value.as_str().unwrap_or_default();
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
