//! What operations are called in the table of rows: a handler's type, as `nm` reads it off this program, and the
//! operands.

use anyhow::{Context, Result, ensure};
use cpu::isa::profile::Member;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The handlers for any operands, by [`cpu::dispatch::class::UNKNOWN`].
const HANDLERS: (&str, &str) = ("cpu::dispatch::threaded::hot::<", ", 4294967295>");
/// How the program must be built.
const HOW: &str = "build with RUSTFLAGS=\"-C symbol-mangling-version=v0\": \
                   other symbols do not say what a handler is for";
/// Types whose first constant the tables write as a word, and the words.
const CONSTANTS: [(&[&str], &[&str]); 3] = [
    (
        &["RegRm", "RmReg", "RmImm", "Arithmetic", "Compare"],
        &["ADD", "OR", "ADC", "SBB", "AND", "SUB", "XOR", "CMP", "TEST"],
    ),
    (&["Unary"], &["INC", "DEC", "NEG", "NOT"]),
    (&["Shift"], &["ROL", "ROR", "RCL", "RCR", "SHL", "SHR", "SAL", "SAR"]),
];

/// The names of operations, each of which gets a number.
pub struct Names {
    /// Handlers by address.
    types: BTreeMap<usize, String>,
    /// The tables' text, which has all types that a row can have.
    tables: String,
    numbers: BTreeMap<String, u32>,
    /// By number.
    texts: Vec<String>,
}

impl Names {
    /// Those of this program.
    pub fn new() -> Result<Names> {
        let program = std::env::current_exe()?;
        let out = Command::new("nm").arg("-C").arg(&program).output();
        let out = out.context("nm is needed: Debian's package binutils")?;
        let base = base(&program)?;
        let symbols = String::from_utf8_lossy(&out.stdout);
        let types: BTreeMap<usize, String> =
            symbols.lines().filter_map(handler).map(|(at, name)| (base + at, name)).collect();
        ensure!(!types.is_empty(), HOW);
        let isa = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cpu/src/isa");
        let table = |name| fs::read_to_string(isa.join(name));
        let tables = table("profile_rows.rs")? + &table("profile_table.rs")?;
        Ok(Names { types, tables, numbers: BTreeMap::new(), texts: Vec::new() })
    }

    /// The parts of a piece of a block that a row can have, by number.
    pub fn runs(&mut self, piece: &[Member]) -> Vec<Vec<u32>> {
        let mut runs = vec![Vec::new()];
        for member in piece {
            let number = self.text(member).map(|text| self.number(text));
            match (number, runs.last_mut()) {
                (Some(number), Some(run)) => run.push(number),
                _ => runs.push(Vec::new()),
            }
        }
        runs.retain(|run| run.len() > 1);
        runs
    }

    /// The row of these operations, as it stands in the table.
    pub fn row(&self, ops: &[u32]) -> String {
        let texts: Vec<&str> = ops.iter().map(|n| self.texts[*n as usize].as_str()).collect();
        texts.join(", ") + ";"
    }

    fn text(&self, member: &Member) -> Option<String> {
        let name = self.types.get(&member.handler)?;
        let single = self.tables.contains(&format!(" {name}:"));
        if !single && !self.tables.contains(&format!(" {name} [")) {
            return None;
        }
        Some(format!("{name} [{}]", operands(member.operands)?))
    }

    fn number(&mut self, text: String) -> u32 {
        let fresh = self.texts.len() as u32;
        *self.numbers.entry(text).or_insert_with_key(|text| {
            self.texts.push(text.clone());
            fresh
        })
    }
}

/// Where this program is loaded.
fn base(program: &Path) -> Result<usize> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let path = program.display().to_string();
    let first = maps.lines().find(|line| line.ends_with(&path)).context("not in its own maps")?;
    let begin = first.split('-').next().unwrap_or_default();
    Ok(usize::from_str_radix(begin, 16)?)
}

/// Address and name of the handler of a line of `nm`.
fn handler(line: &str) -> Option<(usize, String)> {
    let mut words = line.splitn(3, ' ');
    let at = usize::from_str_radix(words.next()?, 16).ok()?;
    let name = words.nth(1)?.strip_prefix(HANDLERS.0)?.strip_suffix(HANDLERS.1)?;
    Some((at, table_name(name)))
}

/// A type without paths, as the tables write it.
fn table_name(name: &str) -> String {
    let separators = [' ', '<', '>', ',', '(', ')'];
    let words = name.split_inclusive(separators).map(|w| w.rsplit("::").next().unwrap_or(w));
    let short: String = words.collect();
    let mut short = short
        .replace("Memory<Base>", "Mb")
        .replace("Memory<Index>", "Mi")
        .replace("Memory<General>", "Mg");
    for (heads, words) in CONSTANTS {
        if heads.iter().any(|head| short.starts_with(&format!("{head}<"))) {
            short = with_word(&short, words);
        }
    }
    short
}

/// `name`, the first number in it written as one of `words`.
fn with_word(name: &str, words: &[&str]) -> String {
    let mut done = false;
    let parts = name.split(", ").map(|part| match part.parse::<usize>() {
        Ok(n) if !done && n < words.len() => {
            done = true;
            words[n].to_owned()
        }
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// `d s b x scale` of [`cpu::dispatch::class::exact`], as the tables write it; `None` of what they have no word for.
fn operands(code: u64) -> Option<String> {
    const WIDE: [&str; 16] = [
        "RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI", "R8", "R9", "R10", "R11", "R12",
        "R13", "R14", "R15",
    ];
    const HIGH: [&str; 4] = ["AH", "CH", "DH", "BH"];
    let word = |field: u8| match field {
        0x80 => Some("NIL"),
        0x88 => Some("PAGE"),
        0xff => Some("XX"),
        _ if field.is_multiple_of(8) => WIDE.get(field as usize / 8).copied(),
        _ if field % 8 == 1 => HIGH.get(field as usize / 8).copied(),
        _ => None,
    };
    let bytes = code.to_le_bytes();
    let words: Option<Vec<&str>> = bytes[..4].iter().map(|b| word(*b)).collect();
    Some(format!("{} {}", words?.join(" "), bytes[4]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers() {
        let check = |name: &str, text: &str| {
            let line = format!("00000000001a2b30 t {}{name}{}", HANDLERS.0, HANDLERS.1);
            assert_eq!(handler(&line), Some((0x1a_2b30, text.into())), "{name}");
        };
        check("cpu::isa::misc::Nop", "Nop");
        check(
            "cpu::isa::alu::RegRm<cpu::isa::rm::Memory<cpu::mem::Base>, u32, 6, true>",
            "RegRm<Mb, u32, XOR, true>",
        );
        check(
            "cpu::isa::shift::Shift<cpu::isa::rm::RegD, u8, 7, false, true>",
            "Shift<RegD, u8, SAR, false, true>",
        );
        check("cpu::isa::branch::Jcc<4, false>", "Jcc<4, false>");
        assert_eq!(handler("00000000001a2b30 t main"), None);
    }

    #[test]
    fn operand_words() {
        let check = |code: u64, text: Option<&str>| {
            assert_eq!(operands(code).as_deref(), text, "{code:x}");
        };
        check(0xffff_ffff, Some("XX XX XX XX 0"));
        check(0x08_4878_0110, Some("RDX AH R15 R9 8"));
        check(0xffff_ff90, None);
    }
}
