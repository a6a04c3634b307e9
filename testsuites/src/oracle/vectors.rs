//! The rows in `testsuites/vectors/`: outcomes of silicon, to be replayed on any host.

use super::compare::compare;
use super::differences::{compared, normalize};
use super::ours::Ours;
use super::row;
use super::silicon::Silicon;
use anyhow::{Context, Result};
use iced_x86::Code;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Where the rows are.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// A row, and whose outcome it is.
pub struct Captured {
    /// Maker of the processor.
    pub silicon: Silicon,
    /// Case and outcome, see [`row`].
    pub text: String,
}

/// All rows, without comments.
pub fn rows() -> Result<Vec<Captured>> {
    let dir = directory();
    let list = fs::read_dir(&dir).with_context(|| format!("{}", dir.display()))?;
    let mut files: Vec<PathBuf> = list.filter_map(|e| Some(e.ok()?.path())).collect();
    files.sort();
    let mut out = Vec::new();
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "txt")) {
        let silicon = Silicon::of_file(file);
        let silicon = silicon.with_context(|| format!("{}: whose?", file.display()))?;
        let text = fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
        let lines = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
        out.extend(lines.map(|text| Captured { silicon, text: text.to_string() }));
    }
    Ok(out)
}

/// The forms that have a row.
pub fn forms() -> Result<BTreeSet<Code>> {
    let names: BTreeMap<String, Code> = Code::values().map(|c| (format!("{c:?}"), c)).collect();
    let rows = rows()?;
    let form = |row: &Captured| names.get(row.text.split(' ').next()?).copied();
    Ok(rows.iter().filter_map(form).collect())
}

/// What differs between a row and ours, a line each.
pub fn check(ours: &mut Ours, row: &Captured) -> Vec<String> {
    let text = &row.text;
    let (case, outcome) = match row::read(text) {
        Ok(read) => read,
        Err(e) => return vec![format!("{text}\n  cannot be read: {e:#}")],
    };
    let mut own = ours.run(&case);
    normalize(&case, &mut own);
    compare(&case, row.silicon, &outcome, &own)
}

/// Replays rows on all cores; what differs.
pub fn replay(rows: &[Captured]) -> Vec<String> {
    let each = rows.par_iter().map_init(Ours::default, |ours, row| check(ours, row).join("\n"));
    each.filter(|text| !text.is_empty()).collect()
}

/// Whether the outcome of a row of the host's would be looked at.
#[cfg(target_arch = "x86_64")]
pub fn useful(text: &str) -> bool {
    row::read(text).is_ok_and(|(case, _)| compared(&case, Silicon::host()))
}
