//! What a file or a folder is: the root's content, headers, sizes, manifests.

use super::{CRATES, Tree, crate_name};

/// The longest file that needs no excuse.
const LINES: usize = 600;

/// What the root holds besides dot-files and licences.
const ROOT: [&str; 6] =
    ["Cargo.toml", "Cargo.lock", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs"];

/// The root holds what the house rules list, and nothing else.
pub fn root(tree: &Tree) -> Vec<String> {
    let mut tops: Vec<&str> =
        tree.0.keys().map(|path| path.split('/').next().unwrap_or_default()).collect();
    tops.dedup();
    let known = |top: &str| {
        top.starts_with('.')
            || top.starts_with("LICENSE-")
            || ROOT.contains(&top)
            || CRATES.iter().any(|(name, _)| *name == top)
    };
    tops.into_iter()
        .filter(|top| !known(top))
        .map(|top| format!("{top}: does not belong in the root"))
        .collect()
}

/// Every Rust file says at its top what it is for.
pub fn headers(tree: &Tree) -> Vec<String> {
    tree.rust("")
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(path, _)| format!("{path}: begins without a `//!` header"))
        .collect()
}

/// No Rust file is too long, tables excepted: their header says `tidy: table`.
pub fn sizes(tree: &Tree) -> Vec<String> {
    let table = |text: &str| {
        text.lines().take_while(|l| l.starts_with("//!")).any(|l| l.contains("tidy: table"))
    };
    tree.rust("")
        .filter(|(_, text)| text.lines().count() > LINES && !table(text))
        .map(|(path, text)| format!("{path}: {} lines, {LINES} at most", text.lines().count()))
        .collect()
}

/// Each crate depends only on the crates below it, and takes the workspace's lints.
pub fn manifests(tree: &Tree) -> Vec<String> {
    CRATES.iter().flat_map(|(folder, below)| manifest(tree, folder, below)).collect()
}

fn manifest(tree: &Tree, folder: &str, below: &[&str]) -> Vec<String> {
    let (name, path) = (crate_name(folder), format!("{folder}/Cargo.toml"));
    let parsed: toml::Table = match tree.text(&path).parse() {
        Ok(table) => table,
        Err(error) => return vec![format!("{path}: {}", error.message())],
    };
    let mut wrong = Vec::new();
    if parsed.get("lints").and_then(|l| l.get("workspace")) != Some(&toml::Value::Boolean(true)) {
        wrong.push(format!("{path}: does not take the workspace's lints"));
    }
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let Some(toml::Value::Table(wanted)) = parsed.get(section) else { continue };
        let ours = |d: &&String| {
            CRATES.iter().any(|(folder, _)| crate_name(folder) == *d)
                && !below.contains(&d.as_str())
        };
        let complain = |d| format!("{path}: {name} may not depend on {d}");
        wrong.extend(wanted.keys().filter(ours).map(complain));
    }
    wrong
}
