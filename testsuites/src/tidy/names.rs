//! What a piece of code may name.

use super::{Tree, code, names_path};

/// What reaches the host's clock, files, environment or threads, or has a random order.
const OUTSIDE: [&str; 9] = [
    "std::time",
    "std::fs",
    "std::thread",
    "std::env",
    "std::net",
    "std::process",
    "RandomState",
    "HashMap",
    "HashSet",
];

/// The crates that make up the machine.
const MACHINE: [&str; 3] = ["mmu/src/", "cpu/src/", "platform/src/"];

/// The machine's crates know only the machine.
pub fn clocks(tree: &Tree) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, text) in MACHINE.iter().flat_map(|prefix| tree.rust(prefix)) {
        for (line, code) in code(text) {
            let names = OUTSIDE.iter().filter(|name| names_path(code, name));
            wrong.extend(names.map(|name| format!("{path}:{line}: names {name}")));
        }
    }
    wrong
}

/// In `platform`, only the machine module names `cpu`.
pub fn machine_alone_names_cpu(tree: &Tree) -> Vec<String> {
    let machine = |path: &str| path.starts_with("platform/src/machine/");
    let mut wrong = Vec::new();
    for (path, text) in tree.rust("platform/src/").filter(|(path, _)| !machine(path)) {
        let lines = code(text).filter(|(_, code)| names_path(code, "cpu::"));
        wrong.extend(lines.map(|(line, _)| format!("{path}:{line}: names cpu")));
    }
    wrong
}

/// A device names no other device, nor the board or the machine. A device is a file of
/// `platform` that implements one of the traits that end in `Device` or `Function`.
pub fn devices(tree: &Tree) -> Vec<String> {
    let stem = |path: &str| {
        let file = path.rsplit('/').next().unwrap_or(path);
        file.strip_suffix(".rs").unwrap_or(file).to_owned()
    };
    let implements = |line: &str| line.contains("Device for ") || line.contains("Function for ");
    let is_device = |text: &str| code(text).any(|(_, line)| implements(line));
    let devices: Vec<_> = tree.rust("platform/src/").filter(|(_, text)| is_device(text)).collect();
    let mut forbidden: Vec<String> = devices.iter().map(|(path, _)| stem(path)).collect();
    forbidden.extend(["board".to_owned(), "machine".to_owned()]);
    let mut wrong = Vec::new();
    for (path, text) in devices {
        let own = stem(path);
        for (line, code) in code(text) {
            let other = |name: &&String| **name != own && names_module(code, name);
            let names = forbidden.iter().filter(other);
            wrong.extend(names.map(|name| format!("{path}:{line}: a device names {name}")));
        }
    }
    wrong
}

/// Whether `line` goes through the module `name`: `name::`, `crate::name`, `super::name`.
fn names_module(line: &str, name: &str) -> bool {
    names_path(line, &format!("{name}::"))
        || ["crate::", "super::", "crate::devices::"]
            .iter()
            .flat_map(|from| [format!("{from}{name}::"), format!("{from}{name};")])
            .any(|path| line.contains(&path))
}
