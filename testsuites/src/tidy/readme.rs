//! The commands of the documents exist: packages, targets, files and flags are looked up. The list
//! of departures from hardware, in one of them, has every file that confesses one.

use super::{CRATES, Tree, crate_name};

/// Where departures are confessed.
const MACHINE: [&str; 4] = ["mmu/src/", "cpu/src/", "platform/src/", "hypervisor/src/"];

/// The commands in code blocks of the documents that name something that is not there.
pub fn commands(tree: &Tree) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, text) in documents(tree) {
        for line in blocks(text) {
            let words: Vec<&str> = line.split_whitespace().collect();
            wrong.extend(command(tree, &words).map(|why| format!("{path}: `{line}`: {why}")));
        }
    }
    wrong
}

/// The files with a `DEPARTURE:` comment that no document names.
pub fn departures(tree: &Tree) -> Vec<String> {
    let listed = |path: &str| documents(tree).any(|(_, text)| text.contains(&format!("`{path}`")));
    let confesses =
        |text: &str| text.lines().any(|l| l.contains("//") && l.contains("DEPARTURE: "));
    MACHINE
        .iter()
        .flat_map(|prefix| tree.rust(prefix))
        .filter(|(path, text)| confesses(text) && !listed(path))
        .map(|(path, _)| format!("{path}: confesses a departure that no document lists"))
        .collect()
}

/// What is written for readers: `README.md`, `CONTRIBUTING.md` and the files of `docs`.
pub(super) fn documents(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    let document = |path: &str| {
        matches!(path, "README.md" | "CONTRIBUTING.md")
            || (path.starts_with("docs/") && path.ends_with(".md"))
    };
    let texts = tree.0.iter().map(|(path, text)| (path.as_str(), text.as_str()));
    texts.filter(move |(path, _)| document(path))
}

/// The lines of the blocks marked `sh`, without comments and with continued lines joined.
fn blocks(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in text.replace("\\\n", " ").lines() {
        match line.trim() {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside => lines.push(line.split(" #").next().unwrap_or(line).trim().to_owned()),
            _ => {}
        }
    }
    lines.retain(|line| !line.is_empty() && !line.starts_with('#'));
    lines
}

/// Why the command `words` cannot be right.
fn command(tree: &Tree, words: &[&str]) -> Option<String> {
    let program = *words.first()?;
    match program {
        "cargo" => cargo(tree, words).or_else(|| {
            let at = words.iter().position(|w| *w == "--")?;
            let package = words.iter().position(|w| *w == "-p").and_then(|p| words.get(p + 1));
            unknown_flag(tree, package.unwrap_or(&"frontend"), &words[at + 1..])
        }),
        "strata" | "target/release/strata" => unknown_flag(tree, "frontend", &words[1..]),
        // What a build makes.
        path if path.starts_with("target/") || path.starts_with('/') => None,
        path if path.contains('/') && !tree.0.contains_key(path) => {
            Some(format!("there is no {path}"))
        }
        _ => None,
    }
}

/// A package or a test target that is not there.
fn cargo(tree: &Tree, words: &[&str]) -> Option<String> {
    let after = |flag: &str| {
        let at = words.iter().position(|w| *w == flag)?;
        words.get(at + 1).copied()
    };
    if let Some(package) = after("-p")
        && CRATES.iter().all(|(folder, _)| crate_name(folder) != package)
    {
        return Some(format!("there is no package {package}"));
    }
    let package = after("-p").unwrap_or("frontend");
    let packages = match words.contains(&"--workspace") {
        true => CRATES.iter().map(|(package, _)| *package).collect(),
        false => vec![package],
    };
    let missing = |flag: &str, folder: &str| {
        let name = after(flag)?;
        let file = |package: &str| format!("{package}/{folder}/{name}.rs");
        let main = |package: &str| format!("{package}/{folder}/{name}/main.rs");
        let has =
            |package: &str| [file(package), main(package)].iter().any(|f| tree.0.contains_key(f));
        let there = packages.iter().any(|package| has(package));
        (!there).then(|| format!("there is no {}", file(package)))
    };
    let folders = [("--test", "tests"), ("--bin", "src/bin"), ("--example", "examples")];
    folders.iter().find_map(|(flag, folder)| missing(flag, folder))
}

/// A flag of a command of `package` that its source does not know, between quotes or as a field.
fn unknown_flag(tree: &Tree, package: &str, words: &[&str]) -> Option<String> {
    let source: String = tree.rust(&format!("{package}/src/")).map(|(_, text)| text).collect();
    let name = |word: &str| {
        let name = word.trim_start_matches('-');
        word.starts_with('-').then(|| name.split('=').next().unwrap_or(name).to_owned())
    };
    let known = |name: &String| {
        ["\"", "\"-", "\"--"].iter().any(|before| source.contains(&format!("{before}{name}\"")))
            || source.contains(&format!("{}:", name.replace('-', "_")))
    };
    let unknown = words.iter().filter_map(|w| name(w)).find(|name| !known(name))?;
    let program = if package == "frontend" { "strata" } else { package };
    Some(format!("{program} has no flag {unknown}"))
}
