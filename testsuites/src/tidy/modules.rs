//! No orphans: each Rust file is a cargo target or a module of one.

use super::{CRATES, Tree};
use std::collections::BTreeSet;

/// The Rust files that nothing compiles.
pub fn orphans(tree: &Tree) -> Vec<String> {
    let mut reached = BTreeSet::new();
    for (name, _) in CRATES {
        for target in targets(tree, name) {
            reach(tree, &target, true, &mut reached);
        }
    }
    tree.rust("")
        .filter(|(path, _)| !reached.contains(*path))
        .map(|(path, _)| format!("{path}: neither a module nor a target: nothing compiles it"))
        .collect()
}

/// The files that cargo compiles by itself: by their place, or named in the manifest.
pub(super) fn targets(tree: &Tree, name: &str) -> Vec<String> {
    let manifest = tree.text(&format!("{name}/Cargo.toml"));
    let named = manifest.lines().filter_map(|line| {
        let value = ["path", "build"].iter().find_map(|key| line.trim().strip_prefix(key))?;
        let value = value.trim_start().strip_prefix('=')?;
        Some(format!("{name}/{}", value.trim().trim_matches('"')))
    });
    let placed = tree.rust("").map(|(path, _)| path.to_owned()).filter(|path| {
        let Some(rest) = path.strip_prefix(name).and_then(|p| p.strip_prefix('/')) else {
            return false;
        };
        matches!(rest, "build.rs" | "src/lib.rs" | "src/main.rs") || in_target_folder(rest)
    });
    placed.chain(named).collect()
}

/// `tests/x.rs`, `tests/x/main.rs` and so on for the other kinds of targets.
fn in_target_folder(path: &str) -> bool {
    ["src/bin/", "tests/", "benches/", "examples/", "fuzz/fuzz_targets/"]
        .iter()
        .filter_map(|folder| path.strip_prefix(folder))
        .any(|rest| {
            !rest.contains('/') || (rest.matches('/').count() == 1 && rest.ends_with("/main.rs"))
        })
}

/// Adds `path` and the modules it declares. The modules of a crate root or of a `mod.rs` are
/// its siblings, those of `x.rs` lie in `x/`.
fn reach(tree: &Tree, path: &str, root: bool, reached: &mut BTreeSet<String>) {
    let Some(text) = tree.0.get(path) else { return };
    if !reached.insert(path.to_owned()) {
        return;
    }
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let children =
        if root || stem == "mod" { folder.to_owned() } else { format!("{folder}/{stem}") };
    for declared in declarations(text) {
        match declared {
            Declared::Module(name) => {
                reach(tree, &format!("{children}/{name}.rs"), false, reached);
                reach(tree, &format!("{children}/{name}/mod.rs"), false, reached);
            }
            Declared::Path(file) => reach(tree, &join(folder, &file), true, reached),
        }
    }
}

/// How a file takes in another.
enum Declared {
    Module(String),
    Path(String),
}

/// `mod x;`, `#[path = "x.rs"]` and `include!("x.rs")`.
fn declarations(text: &str) -> Vec<Declared> {
    let mut found = Vec::new();
    let quoted = |line: &str| line.split('"').nth(1).map(str::to_owned);
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[path") || line.contains("include!(\"") {
            found.extend(quoted(line).map(Declared::Path));
        }
        let Some(before) = line.strip_suffix(';') else { continue };
        let words: Vec<&str> = before.split_whitespace().collect();
        if let [visibility @ .., "mod", name] = &words[..]
            && visibility.iter().all(|word| word.starts_with("pub"))
        {
            found.push(Declared::Module((*name).to_owned()));
        }
    }
    found
}

/// `folder/file` with each `..` resolved.
pub(super) fn join(folder: &str, file: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in file.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}
