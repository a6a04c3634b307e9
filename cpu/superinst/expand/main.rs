//! The build script: expands the tables of superinstructions, `cpu/superinst/*.txt`, to Rust, for
//! `cpu/src/superinst/tables.rs`, and chooses how operations hand over, `cpu/src/dispatch.rs`.
//!
//! Reading order: [`operand`] reads an operand, [`instruction`] says which type does an instruction, this file
//! puts sequences together.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a build script")]

mod instruction;
mod operand;

use instruction::{Instruction, instruction};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::{env, fs, process};

/// The tables: their file and the name of what they become.
const TABLES: [(&str, &str); 4] =
    [("exact", "EXACT"), ("typed", "TYPED"), ("variants", "VARIANTS"), ("pairs", "PAIRS")];
/// The most operations of a sequence.
const LONGEST: usize = 8;

fn main() {
    println!("cargo::rerun-if-changed=superinst");
    #[expect(clippy::disallowed_methods, reason = "how cargo talks to build scripts")]
    let variable = |name| env::var(name).unwrap_or_default();
    println!("cargo::rustc-check-cfg=cfg(threaded)");
    // LLVM makes jumps of all tail calls only where it optimises; what `profile.dev` asks for is too little.
    let optimised = !matches!(variable("OPT_LEVEL").as_str(), "0" | "1");
    if optimised && variable("CARGO_FEATURE_LOOP_DISPATCH").is_empty() {
        println!("cargo::rustc-cfg=threaded");
    }
    let folder = Path::new(&variable("CARGO_MANIFEST_DIR")).join("superinst");
    let expanded = expand(&folder).unwrap_or_else(|error| {
        eprintln!("{error}");
        process::exit(1)
    });
    let path = Path::new(&variable("OUT_DIR")).join("superinst.rs");
    if let Err(error) = fs::write(&path, expanded) {
        eprintln!("{}: {error}", path.display());
        process::exit(1)
    }
}

/// The types met so far, by Rust's name: a number and a template.
#[derive(Default)]
struct Types(BTreeMap<String, (usize, String)>);

/// All tables as Rust.
fn expand(folder: &Path) -> Result<String, String> {
    let (mut types, mut out) = (Types::default(), String::new());
    for (file, name) in TABLES {
        let path = folder.join(file).with_extension("txt");
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let sequences = table(&text, &mut types)
            .map_err(|(line, error)| format!("{}:{line}: {error}", path.display()))?;
        _ = write!(out, "pub(super) static {name}: &[Superinst] = &[\n{sequences}];\n");
    }
    Ok(types.declared() + &out)
}

impl Types {
    /// The number of an instruction's type.
    fn number(&mut self, i: &Instruction) -> Result<usize, String> {
        let fresh = (self.0.len(), i.template.clone());
        let (number, template) = self.0.entry(i.name.clone()).or_insert(fresh);
        if *template != i.template {
            return Err(format!("{} is written {:?} and {template:?}", i.name, i.template));
        }
        Ok(*number)
    }

    fn declared(&self) -> String {
        let mut types: Vec<_> = self.0.iter().collect();
        types.sort_by_key(|(_, (number, _))| *number);
        let mut out = "pub(super) static TYPES: &[Type] = &[\n".to_owned();
        for (name, (_, template)) in types {
            _ = writeln!(out, "    declared::<{name}>({template:?}),");
        }
        out + "];\n"
    }
}

/// The sequences of a table, a line each; in case of an error the number of the line and what is wrong.
fn table(text: &str, types: &mut Types) -> Result<String, (usize, String)> {
    let (mut out, mut seen, mut section) = (String::new(), BTreeSet::new(), false);
    for (k, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with('[') {
            provenance(line).map_err(|e| (k + 1, e))?;
            section = true;
            continue;
        }
        if !section {
            return Err((k + 1, "no section says where this comes from".into()));
        }
        if !seen.insert(line) {
            return Err((k + 1, "stands here for the second time".into()));
        }
        out += &sequence(line, types).map_err(|e| (k + 1, e))?;
    }
    Ok(out)
}

/// Checks a section's line, `[guest: …; commit: …; period: …; count: …]`.
fn provenance(line: &str) -> Result<(), String> {
    let inner = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')).unwrap_or_default();
    let keys: Vec<&str> = inner.split("; ").filter_map(|f| f.split(": ").next()).collect();
    if keys == ["guest", "commit", "period", "count"] {
        return Ok(());
    }
    Err("a section is [guest: …; commit: …; period: …; count: …]".into())
}

/// A sequence as Rust: its link, and of each operation the type, its number and the operands.
fn sequence(line: &str, types: &mut Types) -> Result<String, String> {
    let parts: Vec<&str> = line.split(" ; ").collect();
    if parts.len() > LONGEST {
        return Err(format!("{} operations, {LONGEST} at most", parts.len()));
    }
    let (mut out, mut link) = (String::new(), "NONE");
    for (k, text) in parts.iter().enumerate() {
        let i = instruction(text).map_err(|e| format!("{text:?}: {e}"))?;
        let number = types.number(&i)?;
        let own = i.link.map_or("NONE", |slot| LINKS[slot]);
        if own != "NONE" {
            if (k, parts.len()) != (1, 2) {
                return Err(format!("{text:?}: only the second of two has an operand with ="));
            }
            link = own;
        }
        let [d, s, b, x, scale] = i.fields;
        _ = write!(out, " ({number}, {}, [{d}, {s}, {b}, {x}, {scale}], {own})", i.name);
    }
    Ok(format!("    superinst!({link};{out}),\n"))
}

/// The links by slot.
const LINKS: [&str; 4] = ["DST", "SRC", "BASE", "INDEX"];
