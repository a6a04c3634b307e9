//! Rules about the source that the compiler does not know, as functions from a [`Tree`] of texts
//! to a list of complaints. `tests/tidy.rs` applies them to the repository and shows that each
//! of them notices a violation.

mod docs;
mod imports;
mod layout;
mod modules;
mod names;
mod readme;
mod references;

pub use docs::docs;
pub use imports::{Circle, circles, import_circles, layers};
pub use layout::{headers, manifests, root, sizes};
pub use modules::orphans;
pub use names::{clocks, devices, machine_alone_names_cpu};
pub use readme::{commands, departures};
pub use references::references;

use std::collections::BTreeMap;
use std::fs;
use std::io::Result;
use std::path::Path;

/// The crates by their folders, each with the crates it may name. The embedded guests and the
/// hypervisor share the runtime alone: a constant that both took from one place would agree with
/// itself when wrong.
pub const CRATES: [(&str, &[&str]); 8] = [
    ("mmu", &[]),
    ("cpu", &["mmu"]),
    ("platform", &["cpu", "mmu"]),
    ("hypervisor/runtime", &[]),
    ("hypervisor", &["runtime"]),
    ("hypervisor/guests", &["runtime"]),
    ("frontend", &["platform"]),
    ("testsuites", &["mmu", "cpu", "platform"]),
];

/// The name of the crate in `folder`.
fn crate_name(folder: &str) -> &str {
    folder.rsplit('/').next().unwrap_or(folder)
}

/// The text files of a repository by their path from its root, with `/` between the parts.
#[derive(Debug, Default, Clone)]
pub struct Tree(pub BTreeMap<String, String>);

impl Tree {
    /// Reads everything below `root` but build results and git's own files. A file that is not
    /// text is listed with an empty text.
    pub fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.folder(root, "")?;
        Ok(tree)
    }

    fn folder(&mut self, dir: &Path, name: &str) -> Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let path = format!("{name}{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                if path != ".git" && entry.file_name() != "target" {
                    self.folder(&entry.path(), &format!("{path}/"))?;
                }
            } else {
                let text = String::from_utf8(fs::read(entry.path())?).unwrap_or_default();
                self.0.insert(path, text);
            }
        }
        Ok(())
    }

    /// The text of `path`, empty if there is none.
    pub fn text(&self, path: &str) -> &str {
        self.0.get(path).map_or("", String::as_str)
    }

    /// The Rust files whose path begins with `prefix`.
    pub fn rust<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let fits =
            move |(path, _): &(&String, _)| path.starts_with(prefix) && path.ends_with(".rs");
        self.0.iter().filter(fits).map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

/// The lines of `text` that are code of the product: numbered from 1, without comments, up to
/// the tests at the end of the file.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let product = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
    product.enumerate().map(|(n, line)| (n + 1, line.split("//").next().unwrap_or_default()))
}

/// Whether `line` has `path` as a path of its own: not as the end of a longer name or path.
fn names_path(line: &str, path: &str) -> bool {
    let free = |before: &str| {
        !before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '"'))
    };
    line.match_indices(path).any(|(at, _)| free(&line[..at]))
}
