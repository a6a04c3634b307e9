//! No large circles: the graph of who imports whom, file by file, and its circles.
//!
//! The files of a cargo target are the nodes. An edge goes from the file that names something
//! by a path to the file that defines it: a re-export is seen through, and neither `mod x;` nor a
//! `pub use` of a name that the file itself never says makes an edge. Code for unit tests is left
//! out.

mod circles;
mod items;
mod lexer;

use super::Tree;
use super::modules::{join, targets};
use circles::components;
use items::{Import, Items, Scope, items};
use std::collections::{BTreeMap, BTreeSet};

/// The most files in a circle of each crate.
const LIMITS: [(&str, usize); 6] = [
    ("mmu", 5),
    ("cpu", 8),
    ("platform", 8),
    ("hypervisor", 8),
    ("frontend", 8),
    ("testsuites", 8),
];

/// The crates with a circle of more files than they may have.
pub fn circles(tree: &Tree) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, limit) in LIMITS {
        for circle in import_circles(tree, name) {
            let count = circle.files.len();
            if count > limit {
                let files: Vec<&str> = circle.files.iter().map(String::as_str).collect();
                let files = files.join(", ");
                wrong.push(format!("{name}: a circle of {count} files, {limit} at most: {files}"));
            }
        }
    }
    wrong
}

/// Folders of `cpu` that stand below the rest, and what else their files may import.
const LAYERS: [(&str, &[&str]); 2] = [
    ("cpu/src/state/", &["cpu/src/model.rs", "cpu/src/trap.rs", "cpu/src/word.rs"]),
    ("cpu/src/fpu/", &["cpu/src/state/", "cpu/src/hint.rs"]),
];

/// The state of a processor names no behaviour, and floating-point arithmetic no processor.
pub fn layers(tree: &Tree) -> Vec<String> {
    let edges = Target::read(tree, "cpu/src/lib.rs").edges();
    let mut wrong = Vec::new();
    for (folder, others) in LAYERS {
        let allowed =
            |to: &str| to.starts_with(folder) || others.iter().any(|other| to.starts_with(other));
        for (from, to) in edges.iter().filter(|(from, _)| from.starts_with(folder)) {
            let above = to.keys().filter(|to| !allowed(to));
            wrong.extend(above.map(|to| format!("{from}: imports {to}")));
        }
    }
    wrong
}

/// Files each of which reaches each other by imports.
#[derive(Debug)]
pub struct Circle {
    /// The files, in order.
    pub files: Vec<String>,
    /// The edges between the files: from, to, and the names that make the edge.
    pub edges: Vec<(String, String, Vec<String>)>,
}

/// The circles of a crate's targets, largest first.
pub fn import_circles(tree: &Tree, name: &str) -> Vec<Circle> {
    let mut found: Vec<Circle> =
        targets(tree, name).iter().flat_map(|root| Target::read(tree, root).circles()).collect();
    found.sort_by_key(|circle| (usize::MAX - circle.files.len(), circle.files.clone()));
    found.dedup_by(|a, b| a.files == b.files);
    found
}

/// From file, to file, by which names.
type Edges = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// The modules of a cargo target, by their path from its root.
#[derive(Default)]
struct Target {
    modules: BTreeMap<Vec<String>, Module>,
    /// The file of each macro, which is known below the place where it stands without a path.
    macros: BTreeMap<String, String>,
    files: Vec<Read>,
}

/// A file, and the module that it is.
struct Read {
    module: Vec<String>,
    items: Items,
}

#[derive(Default)]
struct Module {
    file: String,
    defined: BTreeSet<String>,
    imports: Vec<Import>,
}

/// What a name stands for.
#[derive(Clone)]
enum Meaning {
    Module(Vec<String>),
    Item(String),
}

/// Re-exports of re-exports are followed this far.
const DEPTH: usize = 8;

impl Target {
    fn read(tree: &Tree, root: &str) -> Self {
        let mut target = Self::default();
        target.file(tree, root, true, Vec::new());
        target
    }

    /// Takes in `path` as `module`, and the files that it declares.
    fn file(&mut self, tree: &Tree, path: &str, root: bool, module: Vec<String>) {
        let Some(text) = tree.0.get(path) else { return };
        let items = items(text);
        self.declare(path, &module, &items);
        let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
        let stem = file.strip_suffix(".rs").unwrap_or(file);
        let own =
            if root || stem == "mod" { folder.to_owned() } else { format!("{folder}/{stem}") };
        for (scope, name, place) in &items.files {
            let child = [&module[..], scope, std::slice::from_ref(name)].concat();
            if let Some(place) = place {
                self.file(tree, &join(folder, place), true, child);
                continue;
            }
            let inner: String = scope.iter().map(|s| format!("/{s}")).collect();
            self.file(tree, &format!("{own}{inner}/{name}.rs"), false, child.clone());
            self.file(tree, &format!("{own}{inner}/{name}/mod.rs"), false, child);
        }
        self.files.push(Read { module, items });
    }

    /// Enters the modules of a file, with what they define and import.
    fn declare(&mut self, path: &str, module: &[String], items: &Items) {
        let at = |scope: &Scope| [module, scope].concat();
        for scope in items.inline.iter().chain([&Vec::new()]) {
            self.modules.entry(at(scope)).or_default().file = path.to_owned();
        }
        for (scope, name) in &items.defined {
            self.modules.entry(at(scope)).or_default().defined.insert(name.clone());
        }
        for (scope, import) in &items.imports {
            self.modules.entry(at(scope)).or_default().imports.push(import.clone());
        }
        let macros = items.macros.iter().map(|name| (name.clone(), path.to_owned()));
        self.macros.extend(macros);
        let root = self.modules.entry(Vec::new()).or_default();
        root.defined.extend(items.exported.iter().cloned());
    }

    fn circles(&self) -> Vec<Circle> {
        let edges = self.edges();
        let graph = edges
            .iter()
            .map(|(from, to)| (from.as_str(), to.keys().map(String::as_str).collect()))
            .collect();
        let circle = |files: Vec<&str>| {
            let inside = |file: &&String| files.contains(&file.as_str());
            let of = |from: &String, to: &BTreeMap<String, BTreeSet<String>>| -> Vec<_> {
                let names = |set: &BTreeSet<String>| set.iter().cloned().collect();
                let to = to.iter().filter(|(to, _)| inside(to));
                to.map(|(to, set)| (from.clone(), to.clone(), names(set))).collect()
            };
            let from = edges.iter().filter(|(from, _)| inside(from));
            let edges = from.flat_map(|(from, to)| of(from, to)).collect();
            Circle { files: files.iter().map(|&file| file.to_owned()).collect(), edges }
        };
        components(&graph).into_iter().filter(|files| files.len() > 1).map(circle).collect()
    }

    fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for read in &self.files {
            let from = &self.modules[&read.module].file;
            for (to, name) in self.named(read) {
                if to != *from {
                    let from = edges.entry(from.clone()).or_default();
                    from.entry(to).or_default().insert(name);
                }
            }
        }
        edges
    }

    /// The files that define what `read` names, each with the name.
    fn named(&self, read: &Read) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let words: BTreeSet<&str> = read.items.words.iter().map(String::as_str).collect();
        for (scope, path) in &read.items.paths {
            let module = [&read.module[..], scope].concat();
            let file = self.resolve(&module, path, DEPTH).map(|meaning| self.file_of(&meaning));
            let by_name = || self.macros.get(path.last()?).filter(|_| path.len() == 1).cloned();
            found.extend(file.or_else(by_name).map(|file| (file, path.join("::"))));
        }
        for (scope, import) in &read.items.imports {
            let module = [&read.module[..], scope].concat();
            found.extend(self.imported(&module, import, &words));
        }
        found
    }

    /// The files that an import needs, where the file says `words` outside of imports.
    fn imported(
        &self,
        module: &[String],
        import: &Import,
        words: &BTreeSet<&str>,
    ) -> Vec<(String, String)> {
        let Import { path, name, public } = import;
        if let Some((star, from)) = path.split_last()
            && star == "*"
        {
            let Some(Meaning::Module(from)) = self.resolve(module, from, DEPTH) else {
                return self.whole(module, from);
            };
            let all = words.iter().filter_map(|word| {
                Some((self.file_of(&self.lookup(&from, word, DEPTH)?), (*word).to_owned()))
            });
            let own = (!public).then(|| (self.modules[&from].file.clone(), path.join("::")));
            return all.chain(own).collect();
        }
        match self.resolve(module, path, DEPTH) {
            Some(Meaning::Item(file)) if !public || words.contains(name.as_str()) => {
                vec![(file, name.clone())]
            }
            _ => Vec::new(),
        }
    }

    /// The file of an enum whose variants are all imported.
    fn whole(&self, module: &[String], path: &[String]) -> Vec<(String, String)> {
        let file = self.resolve(module, path, DEPTH).map(|meaning| self.file_of(&meaning));
        file.map(|file| (file, path.join("::"))).into_iter().collect()
    }

    fn file_of(&self, meaning: &Meaning) -> String {
        match meaning {
            Meaning::Module(path) => self.modules[path].file.clone(),
            Meaning::Item(file) => file.clone(),
        }
    }

    /// What `path` means in `module`; nothing if it leads out of the crate.
    fn resolve(&self, module: &[String], path: &[String], depth: usize) -> Option<Meaning> {
        let (first, rest) = path.split_first()?;
        let start = match first.as_str() {
            "crate" => Meaning::Module(Vec::new()),
            "self" => Meaning::Module(module.to_owned()),
            "super" => Meaning::Module(module[..module.len().checked_sub(1)?].to_owned()),
            name => self.lookup(module, name, depth)?,
        };
        rest.iter().try_fold(start, |meaning, name| match meaning {
            Meaning::Item(file) => Some(Meaning::Item(file)),
            Meaning::Module(at) if name == "super" => {
                Some(Meaning::Module(at[..at.len().checked_sub(1)?].to_owned()))
            }
            Meaning::Module(at) => {
                let file = self.modules.get(&at)?.file.clone();
                Some(self.lookup(&at, name, depth).unwrap_or(Meaning::Item(file)))
            }
        })
    }

    /// What `name` means as a name of `module`.
    fn lookup(&self, module: &[String], name: &str, depth: usize) -> Option<Meaning> {
        let depth = depth.checked_sub(1)?;
        let child = [module, &[name.to_owned()]].concat();
        let this = self.modules.get(module)?;
        if this.defined.contains(name) {
            return Some(Meaning::Item(this.file.clone()));
        }
        if self.modules.contains_key(&child) {
            return Some(Meaning::Module(child));
        }
        let named = this.imports.iter().filter(|import| import.name == name);
        let mut named = named.filter_map(|import| {
            if import.path[0] == name {
                return self.macros.get(name).cloned().map(Meaning::Item);
            }
            self.resolve(module, &import.path, depth)
        });
        named.next().or_else(|| self.lookup_globs(&this.imports, module, name, depth))
    }

    /// What `name` means by one of the `imports` of everything.
    fn lookup_globs(
        &self,
        imports: &[Import],
        module: &[String],
        name: &str,
        depth: usize,
    ) -> Option<Meaning> {
        let mut globs = imports.iter().filter(|import| import.name == "*");
        globs.find_map(|import| {
            let from = &import.path[..import.path.len() - 1];
            match self.resolve(module, from, depth)? {
                Meaning::Module(from) => self.lookup(&from, name, depth),
                Meaning::Item(_) => None,
            }
        })
    }
}
