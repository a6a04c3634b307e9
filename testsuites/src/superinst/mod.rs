//! The program that adds to `cpu/superinst/exact.txt`: handlers for operations that a guest often runs
//! one after the other.
//!
//! Reading order: [`sample`] finds which blocks a guest runs, and how often; [`names`] numbers operations; [`mod@choose`] takes the sequences that save the most dispatches; this file puts them together
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
use cpu::model::Model;
use cpu::superinst::select::Explained;
use names::Names;
use sample::{Begin, Blocks};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// Handlers of as many operations are not worth another sequence.
const LONG: usize = 3;

/// The runs of operations that no long sequence does, each weighed by how often it was met to the power of `power`.
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

fn members(begin: &Begin, filter: &FeatureFilter) -> Vec<Option<Explained>> {
    let key = Key { frame: 0, page_offset: begin.po, mode: begin.mode, limit: BlockLimit::ANY };
    explain(key, &Source { page: &begin.bytes, next: None, filter, breaks: &[] })
}

/// A block's operations without those that a long sequence does and those that no table knows.
fn pieces(members: &[Option<Explained>]) -> Vec<Vec<Explained>> {
    let (mut pieces, mut skip) = (vec![Vec::new()], 0);
    for member in members {
        match member {
            Some(m) if m.does < LONG && skip == 0 => {
                pieces.last_mut().expect("never empty").push(m.clone());
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
    [env!("CARGO_MANIFEST_DIR"), "../cpu/superinst/exact.txt"].iter().collect()
}

/// Those of `sequences` that the table lacks.
pub fn fresh(mut sequences: Vec<String>) -> Result<Vec<String>> {
    let text = fs::read_to_string(table())?;
    let known: BTreeSet<&str> = text.lines().collect();
    sequences.retain(|sequence| !known.contains(sequence.as_str()));
    Ok(sequences)
}

/// Adds a section to the table.
pub fn add(guest: &str, period: u64, sequences: &[String]) -> Result<()> {
    let git = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let git = git.context("git is needed, for the commit")?;
    let commit = String::from_utf8_lossy(&git.stdout);
    let section = section(guest, commit.trim(), period, sequences);
    let mut file = fs::OpenOptions::new().append(true).open(table())?;
    Ok(file.write_all(section.as_bytes())?)
}

fn section(guest: &str, commit: &str, period: u64, sequences: &[String]) -> String {
    let count = sequences.len();
    let lines: String = sequences.iter().map(|s| format!("{s}\n")).collect();
    format!("\n[guest: {guest}; commit: {commit}; period: {period}; count: {count}]\n{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_between_long_sequences() {
        let check = |does: &[usize], lengths: &[usize]| {
            // 9 stands for an operation that no table knows.
            let member = |&n: &usize| {
                (n < 9).then_some(Explained {
                    text: None,
                    number: 0,
                    operands: 0,
                    does: n,
                    chosen: None,
                })
            };
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
    fn a_section_says_where_it_comes_from() {
        let text = section("K", "abc", 97, &["ret".into(), "nop ; ret".into()]);
        assert_eq!(text, "\n[guest: K; commit: abc; period: 97; count: 2]\nret\nnop ; ret\n");
    }
}
