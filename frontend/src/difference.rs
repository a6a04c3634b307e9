//! What differs between two saved machines, by the names of the fields.

use platform::machine::Saved;
use serde::Serialize;
use serde_json::Value;

/// One field in which two states differ.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Where it is: `processors[0].state.sys.cr2`.
    pub(crate) field: String,
    pub(crate) first: String,
    pub(crate) second: String,
}

/// The fields in which two machines differ, but for the pages of memory, in order.
pub(crate) fn between(first: Saved, second: Saved) -> Vec<Difference> {
    let mut all = Vec::new();
    compare("", &tree(&first.canonical()), &tree(&second.canonical()), &mut all);
    all
}

/// State by the names of the fields.
pub(crate) fn tree(state: &impl Serialize) -> Value {
    serde_json::to_value(state).expect("state has names and numbers alone")
}

fn compare(field: &str, first: &Value, second: &Value, all: &mut Vec<Difference>) {
    match (first, second) {
        _ if first == second => {}
        (Value::Object(a), Value::Object(b)) => {
            let names = a.keys().chain(b.keys().filter(|name| !a.contains_key(*name)));
            for name in names {
                let within =
                    if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
                let part = |of: &serde_json::Map<String, Value>| of.get(name).cloned();
                let (a, b) = (part(a).unwrap_or_default(), part(b).unwrap_or_default());
                compare(&within, &a, &b, all);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (n, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{field}[{n}]"), a, b, all);
            }
        }
        _ => {
            let (first, second) = (shown(first), shown(second));
            all.push(Difference { field: field.to_owned(), first, second });
        }
    }
}

/// Numbers in hexadecimal, what is longer in short.
fn shown(value: &Value) -> String {
    const MOST: usize = 60;
    let text = value.to_string();
    match text.parse::<u128>() {
        Ok(number) => format!("{number:#x}"),
        Err(_) => match text.char_indices().nth(MOST) {
            Some((end, _)) => format!("{}...", &text[..end]),
            None => text,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_by_name() {
        let [one, other] = [1, u128::MAX].map(|wide| tree(&wide));
        let first = json!({ "a": [one, { "b": 2 }], "c": "x", "d": null });
        let second = json!({ "a": [other, { "b": 255 }], "c": "x", "e": [1] });
        let mut all = Vec::new();
        compare("", &first, &second, &mut all);
        let lines: Vec<_> =
            all.iter().map(|d| format!("{} {} {}", d.field, d.first, d.second)).collect();
        let wide = format!("a[0] 0x1 {:#x}", u128::MAX);
        assert_eq!(lines, [&wide[..], "a[1].b 0x2 0xff", "e null [1]"]);
    }
}
