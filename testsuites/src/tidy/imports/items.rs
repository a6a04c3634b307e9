//! What a file's tokens declare, import and name.

use super::lexer::tokens;

/// A file's statements about modules and names, each with the inline module it stands in.
#[derive(Debug, Default)]
pub(super) struct Items {
    /// Modules in files of their own, each with the `#[path]` it may have.
    pub files: Vec<(Scope, String, Option<String>)>,
    /// Modules between braces.
    pub inline: Vec<Scope>,
    /// Names defined at the level of a module.
    pub defined: Vec<(Scope, String)>,
    /// Names of macros, wherever they stand.
    pub macros: Vec<String>,
    /// Macros that are names of the crate's root.
    pub exported: Vec<String>,
    pub imports: Vec<(Scope, Import)>,
    /// Paths of two names or more outside of imports, and macros by their only name.
    pub paths: Vec<(Scope, Vec<String>)>,
    /// Each word outside of imports.
    pub words: Vec<String>,
}

/// The inline modules around a place, from the file's own module inwards.
pub(super) type Scope = Vec<String>;

/// One leaf of a `use`.
#[derive(Debug, Clone)]
pub(super) struct Import {
    /// The path, ending in `*` for everything of a module.
    pub path: Vec<String>,
    /// The name that it gets here.
    pub name: String,
    /// Whether others may take it from here.
    pub public: bool,
}

/// Reads a file.
pub(super) fn items(text: &str) -> Items {
    let mut reader = Reader { tokens: tokens(text), ..Reader::default() };
    while reader.at < reader.tokens.len() {
        reader.step();
    }
    reader.items
}

/// What an open brace belongs to.
#[derive(Debug, PartialEq)]
enum Brace {
    Module,
    Other,
}

#[derive(Default)]
struct Reader<'a> {
    tokens: Vec<&'a str>,
    at: usize,
    braces: Vec<Brace>,
    scope: Scope,
    items: Items,
}

impl<'a> Reader<'a> {
    /// The token `ahead` of the present one, empty at the end.
    fn peek(&self, ahead: usize) -> &'a str {
        self.tokens.get(self.at + ahead).copied().unwrap_or_default()
    }

    /// The token `back` before the present one, empty at the start.
    fn past(&self, back: usize) -> &'a str {
        self.at.checked_sub(back).map_or("", |at| self.tokens[at])
    }

    fn step(&mut self) {
        match self.peek(0) {
            "#" if self.for_tests() => self.skip_item(),
            "{" => self.open(Brace::Other, 1),
            "}" => self.close(),
            "use" => self.import(),
            "mod" if is_name(self.peek(1)) => self.module(),
            word if is_name(word) => self.word(word),
            _ => self.at += 1,
        }
    }

    fn open(&mut self, brace: Brace, tokens: usize) {
        self.braces.push(brace);
        self.at += tokens;
    }

    fn close(&mut self) {
        if self.braces.pop() == Some(Brace::Module) {
            self.scope.pop();
        }
        self.at += 1;
    }

    /// Whether `#[cfg(test)]` stands here.
    fn for_tests(&self) -> bool {
        let ahead: Vec<&str> = (1..7).map(|n| self.peek(n)).collect();
        ahead.starts_with(&["[", "cfg", "(", "test"])
            || ahead.starts_with(&["[", "cfg", "(", "all", "(", "test"])
    }

    /// Skips attributes and the item after them.
    fn skip_item(&mut self) {
        let mut depth = 0;
        while self.at < self.tokens.len() {
            match self.peek(0) {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            if depth < 0 {
                return;
            }
            let ends = matches!(self.peek(0), ";" | "}" | ",");
            self.at += 1;
            if ends && depth == 0 {
                return;
            }
        }
    }

    /// `mod x;` or `mod x {`.
    fn module(&mut self) {
        let name = self.peek(1).to_owned();
        match self.peek(2) {
            "{" => {
                self.scope.push(name);
                self.items.inline.push(self.scope.clone());
                self.open(Brace::Module, 3);
            }
            _ => {
                let path = self.path_attribute();
                self.items.files.push((self.scope.clone(), name, path));
                self.at += 2;
            }
        }
    }

    /// The `"x.rs"` of a `#[path = "x.rs"]` shortly before a `mod`.
    fn path_attribute(&self) -> Option<String> {
        let quoted =
            (2..7).find(|back| self.past(*back) == "=" && self.past(back + 1) == "path")?;
        Some(self.past(quoted - 1).trim_matches('"').to_owned())
    }

    /// A word that begins nothing special: perhaps a definition, perhaps a path.
    fn word(&mut self, word: &str) {
        self.items.words.push(word.to_owned());
        match word {
            "macro_rules" => self.macro_rules(),
            _ if DEFINES.contains(&word) && !self.braces.contains(&Brace::Other) => {
                self.definition();
            }
            _ if matches!(self.past(1), "::" | ".") => {}
            _ if self.past(1) == "in" && self.past(2) == "(" => {}
            _ => self.path(),
        }
        self.at += 1;
    }

    fn definition(&mut self) {
        let name = if self.peek(1) == "mut" { self.peek(2) } else { self.peek(1) };
        if is_name(name) {
            self.items.defined.push((self.scope.clone(), name.to_owned()));
        }
    }

    fn macro_rules(&mut self) {
        let name = self.peek(2).to_owned();
        if (1..=3).any(|back| self.past(back) == "macro_export") {
            self.items.exported.push(name.clone());
        }
        self.items.macros.push(name);
    }

    /// Notes the path that begins here. Its words after the first are read as words later.
    fn path(&mut self) {
        let mut path = vec![self.peek(0).to_owned()];
        let mut ahead = 1;
        while self.peek(ahead) == "::" && is_name(self.peek(ahead + 1)) {
            path.push(self.peek(ahead + 1).to_owned());
            ahead += 2;
        }
        let called = self.peek(ahead) == "!" && self.peek(ahead + 1) != "=";
        if path.len() > 1 || called || self.peek(ahead) == "::" {
            self.items.paths.push((self.scope.clone(), path));
        }
    }

    /// `use …;`.
    fn import(&mut self) {
        let public = self.past(1) == "pub" || self.past(1) == ")";
        let end = (1..).find(|n| matches!(self.peek(*n), ";" | "")).unwrap_or(1);
        let tree: Vec<&str> = (1..end).map(|n| self.peek(n)).collect();
        for (path, name) in leaves(&tree) {
            let import = Import { path, name, public };
            self.items.imports.push((self.scope.clone(), import));
        }
        self.at += end;
    }
}

/// The words before a new name.
const DEFINES: [&str; 9] =
    ["fn", "struct", "enum", "trait", "const", "static", "type", "union", "macro"];

/// Whether `token` can be a part of a path.
fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_') && !token.ends_with('"')
}

/// The paths of a tree of imports, each with the name it gives.
fn leaves(tree: &[&str]) -> Vec<(Vec<String>, String)> {
    let mut prefix = Vec::new();
    let mut alias = None;
    let mut tokens = tree.iter().enumerate();
    while let Some((at, token)) = tokens.next() {
        match *token {
            "::" | "$" => {}
            "as" => alias = tokens.next().map(|(_, name)| (*name).to_owned()),
            "{" => return branches(&tree[at + 1..], &prefix),
            word => prefix.push(word.to_owned()),
        }
    }
    let name = alias.or_else(|| prefix.last().cloned()).unwrap_or_default();
    if prefix.is_empty() { Vec::new() } else { vec![(prefix, name)] }
}

/// The leaves between braces, each after `prefix`.
fn branches(inside: &[&str], prefix: &[String]) -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    let (mut begin, mut depth) = (0, 0);
    for (at, token) in inside.iter().enumerate() {
        match *token {
            "{" => depth += 1,
            "}" if depth > 0 => depth -= 1,
            "," | "}" if depth == 0 => {
                found.extend(leaves(&inside[begin..at]));
                begin = at + 1;
            }
            _ => {}
        }
    }
    for (path, name) in &mut found {
        path.splice(0..0, prefix.iter().cloned());
        if path.last().is_some_and(|last| last == "self") {
            path.pop();
            if name == "self" {
                *name = path.last().cloned().unwrap_or_default();
            }
        }
    }
    found
}
