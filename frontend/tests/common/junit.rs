//! The rules of JUnit's schema, as Jenkins has it (junit-10.xsd), and a reader of as much of XML as reports have.

/// An element of a document.
#[derive(Debug, Default)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) children: Vec<Element>,
    pub(crate) text: String,
}

impl Element {
    /// An attribute's value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What an element may have: attributes (those with `!` must be there) and children.
struct Rule(&'static str, &'static [&'static str], &'static [&'static str]);

const RULES: [Rule; 10] = [
    Rule("testsuites", &["name", "time", "tests", "failures", "errors"], &["testsuite"]),
    Rule(
        "testsuite",
        &[
            "name!",
            "tests!",
            "failures!",
            "errors!",
            "group",
            "time",
            "skipped",
            "timestamp",
            "hostname",
            "id",
            "package",
            "file",
            "log",
            "url",
            "version",
        ],
        &["testsuite", "properties", "testcase", "system-out", "system-err"],
    ),
    Rule(
        "testcase",
        &["name!", "time", "classname", "group"],
        &["skipped", "error", "failure", "system-out", "system-err"],
    ),
    Rule("properties", &[], &["property"]),
    Rule("property", &["name!", "value!"], &[]),
    Rule("skipped", &["type", "message"], &[]),
    Rule("error", &["type", "message"], &[]),
    Rule("failure", &["type", "message"], &[]),
    Rule("system-out", &[], &[]),
    Rule("system-err", &[], &[]),
];

/// What is against the rules in a document.
pub(crate) fn against(xml: &str) -> Vec<String> {
    let mut found = Vec::new();
    match read(xml) {
        Ok(root) if root.name == "testsuites" => look(&root, &mut found),
        Ok(root) => found.push(format!("the root is {}", root.name)),
        Err(why) => found.push(why),
    }
    found
}

fn look(element: &Element, found: &mut Vec<String>) {
    let Some(Rule(name, attributes, children)) = RULES.iter().find(|r| r.0 == element.name) else {
        return found.push(format!("no element {}", element.name));
    };
    for (attribute, value) in &element.attributes {
        if !attributes.iter().any(|known| known.trim_end_matches('!') == attribute) {
            found.push(format!("{name} has no {attribute}"));
        }
        let count = matches!(attribute.as_str(), "tests" | "failures" | "errors" | "skipped");
        if count && value.parse::<u32>().is_err() || attribute == "time" && !is_time(value) {
            found.push(format!("{name}: {attribute}={value}"));
        }
    }
    let needed = attributes.iter().filter_map(|known| known.strip_suffix('!'));
    for attribute in needed.filter(|attribute| element.get(attribute).is_none()) {
        found.push(format!("{name} lacks {attribute}"));
    }
    if !children.is_empty() && !element.text.trim().is_empty() {
        found.push(format!("{name} has text"));
    }
    for child in &element.children {
        if !children.contains(&child.name.as_str()) {
            found.push(format!("{name} has no {}", child.name));
        }
        look(child, found);
    }
    counts(element, found);
}

/// The numbers of a suite are those of its tests.
fn counts(element: &Element, found: &mut Vec<String>) {
    let cases = |suite: &Element, what: &str| {
        let cases = suite.children.iter().filter(|child| child.name == "testcase");
        cases.filter(|case| what == "tests" || case.children.iter().any(|c| c.name == what)).count()
    };
    for (attribute, child) in
        [("tests", "tests"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")]
    {
        let sum = match element.name.as_str() {
            "testsuite" => cases(element, child),
            "testsuites" => element.children.iter().map(|suite| cases(suite, child)).sum(),
            _ => return,
        };
        if element.get(attribute).is_some_and(|said| said != sum.to_string()) {
            found.push(format!("{}: {attribute} are {sum}", element.name));
        }
    }
}

/// `SUREFIRE_TIME`: digits, perhaps in threes, and at most three behind a point.
fn is_time(text: &str) -> bool {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    digits(whole) && digits(part) && part.len() <= 3 && !text.is_empty()
}

/// Reads a document: elements, attributes, text, and the five entities.
pub(crate) fn read(xml: &str) -> Result<Element, String> {
    let begin = xml.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>"));
    let mut rest = begin.ok_or("no declaration")?.1;
    let mut open = vec![Element::default()];
    while let Some((text, after)) = rest.split_once('<') {
        let (tag, left) = after.split_once('>').ok_or("a tag has no end")?;
        let place = open.last_mut().ok_or("text behind the root")?;
        place.text += &plain(text)?;
        if let Some(name) = tag.strip_prefix('/') {
            let done = open.pop().ok_or("an end without a start")?;
            let parent = open.last_mut().ok_or("an end without a start")?;
            if done.name != name.trim() {
                return Err(format!("{} ends as {tag}", done.name));
            }
            parent.children.push(done);
        } else {
            let alone = tag.strip_suffix('/');
            let element = start(alone.unwrap_or(tag))?;
            match alone {
                Some(_) => place.children.push(element),
                None => open.push(element),
            }
        }
        rest = left;
    }
    let [document] = &mut open[..] else { return Err("an element has no end".into()) };
    match (document.children.pop(), document.children.len()) {
        (Some(root), 0) if rest.trim().is_empty() => Ok(root),
        _ => Err("accepted is one root".into()),
    }
}

fn start(tag: &str) -> Result<Element, String> {
    let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
    let mut element = Element { name: name.into(), ..Element::default() };
    while !rest.trim().is_empty() {
        let (name, value) = rest.split_once("=\"").ok_or_else(|| format!("{tag}: no value"))?;
        let (value, left) = value.split_once('"').ok_or_else(|| format!("{tag}: no quote"))?;
        element.attributes.push((name.trim().into(), plain(value)?));
        rest = left;
    }
    Ok(element)
}

/// Text with its entities as what they stand for.
fn plain(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut parts = text.split('&');
    out += parts.next().unwrap_or_default();
    for part in parts {
        let (name, rest) = part.split_once(';').ok_or("an entity has no end")?;
        out.push(match name {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            other => return Err(format!("no entity {other}")),
        });
        out += rest;
    }
    match out.chars().find(|c| c.is_control() && !"\t\n\r".contains(*c)) {
        Some(c) => Err(format!("{c:?} is no character of XML")),
        None => Ok(out),
    }
}
