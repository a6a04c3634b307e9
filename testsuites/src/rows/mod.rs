//! The program that adds rows to `cpu/src/isa/profile_rows.rs`: handlers for operations that a guest often runs
//! one after the other.
//!
//! Reading order: [`sample`] finds which blocks a guest runs, and how often; [`names`] says in the table's words
//! what an operation is; [`mod@choose`] takes the rows that save the most dispatches; this file puts them together
//! and into the table.
//!
//! Invariant: what is proposed is made of words that the tables have already, so that it compiles.

pub mod choose;
pub mod names;
pub mod sample;

use anyhow::{Context, Result};
use choose::Run;
use cpu::block::{BlockLimit, Key};
use cpu::decode::{Source, explain};
use cpu::feature::ModelName;
use cpu::feature_filter::FeatureFilter;
use cpu::isa::profile::Member;
use cpu::model::Model;
use names::Names;
use sample::{Begin, Blocks};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// Handlers of as many operations are not worth another row.
const LONG: usize = 3;

/// The runs of operations that no long row does, each weighed by how often it was met to the power of `power`.
pub fn runs(blocks: &Blocks, names: &mut Names, power: f64) -> Vec<Run> {
    let filter = FeatureFilter::new(&Model::new(ModelName::Default));
    let mut runs = Vec::new();
    for (begin, count) in blocks {
        let weight = (*count as f64).powf(power);
        let pieces = pieces(&members(begin, &filter));
        for piece in pieces {
            runs.extend(names.runs(&piece).into_iter().map(|ops| Run { ops, weight }));
        }
    }
    runs
}

fn members(begin: &Begin, filter: &FeatureFilter) -> Vec<Option<Member>> {
    let key = Key { frame: 0, page_offset: begin.po, mode: begin.mode, limit: BlockLimit::ANY };
    explain(key, &Source { page: &begin.bytes, next: None, filter })
}

/// A block's operations without those that a long row does and those that no table knows.
fn pieces(members: &[Option<Member>]) -> Vec<Vec<Member>> {
    let (mut pieces, mut skip) = (vec![Vec::new()], 0);
    for member in members {
        match member {
            Some(m) if m.does < LONG && skip == 0 => {
                pieces.last_mut().expect("never empty").push(*m);
                continue;
            }
            Some(m) => skip = m.does.max(skip) - 1,
            None => skip = 0,
        }
        pieces.push(Vec::new());
    }
    pieces.retain(|piece| piece.len() > 1);
    pieces
}

/// The table's file.
fn table() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../cpu/src/isa/profile_rows.rs"].iter().collect()
}

/// Those of `rows` that the table lacks; puts them after those that it has, if asked to.
pub fn fresh(mut rows: Vec<String>, write: bool) -> Result<Vec<String>> {
    let path = table();
    let text = fs::read_to_string(&path)?;
    let known: BTreeSet<&str> = text.lines().map(str::trim).collect();
    rows.retain(|row| !known.contains(row.as_str()));
    if write {
        fs::write(&path, with(&text, &rows).context("profile_rows.rs has another shape")?)?;
    }
    Ok(rows)
}

/// The table's text with `rows` at the end of its first macro.
fn with(text: &str, rows: &[String]) -> Option<String> {
    let (begin, end) = text.split_at(text.find("        }\n    };\n}\n")?);
    let rows: String = rows.iter().map(|row| format!("            {row}\n")).collect();
    Some(format!("{begin}{rows}{end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_between_long_rows() {
        let check = |does: &[usize], lengths: &[usize]| {
            // 9 stands for an operation that no table knows.
            let member =
                |&n: &usize| (n < 9).then_some(Member { handler: 0, operands: 0, does: n });
            let members: Vec<_> = does.iter().map(member).collect();
            let found: Vec<usize> = pieces(&members).iter().map(Vec::len).collect();
            assert_eq!(found, lengths, "{does:?}");
        };
        check(&[], &[]);
        check(&[1], &[]);
        check(&[1, 1, 2, 0], &[4]);
        check(&[1, 1, 3, 0, 0, 1, 1, 1], &[2, 3]);
        check(&[1, 9, 1, 2, 0, 9, 1], &[3]);
        check(&[4, 0, 0, 0], &[]);
    }

    #[test]
    fn rows_go_to_the_end_of_the_first_macro() {
        let text = "x! {\n            A;\n        }\n    };\n}\ny! {\n        }\n    };\n}\n";
        let longer = text.replacen("A;\n", "A;\n            B;\n", 1);
        assert_eq!(with(text, &["B;".into()]), Some(longer));
        assert_eq!(with("", &[]), None);
    }
}
