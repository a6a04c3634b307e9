//! `superinst`: proposes, or adds, sequences for the table of superinstructions.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command")]

use anyhow::Result;
use clap::Parser;
use testsuites::superinst::names::Names;
use testsuites::superinst::sample::Guest;
use testsuites::superinst::{add, choose, fresh, runs};

/// Finds the operations that a guest often runs one after the other, and that have no handler of their own.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    guest: Guest,
    /// The number of sequences
    #[arg(long, default_value_t = 100)]
    count: usize,
    /// The most operations of a sequence, 2 to 8
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u8).range(2..=8))]
    longest: u8,
    /// Instructions from one look at the guest to the next
    #[arg(long, default_value_t = 9973, value_parser = clap::value_parser!(u64).range(1..))]
    period: u64,
    /// The power of a block's count that it weighs: less than 1 spreads the sequences over more code
    #[arg(long, default_value_t = 0.75)]
    power: f64,
    /// Add the sequences to cpu/superinst/exact.txt instead of printing them, as a section of the guest of this name
    #[arg(long, value_name = "GUEST")]
    write: Option<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut names = Names::default();
    let blocks = arguments.guest.blocks(arguments.period)?;
    let looks: u64 = blocks.values().sum();
    let runs = runs(&blocks, &mut names, arguments.power);
    eprintln!(
        "{looks} looks, {} blocks, {} runs without a long sequence",
        blocks.len(),
        runs.len()
    );
    let chosen = choose::choose(runs, arguments.count, arguments.longest.into());
    let sequences = fresh(chosen.iter().map(|ops| names.sequence(ops)).collect())?;
    eprintln!("of {} sequences, {} are new", chosen.len(), sequences.len());
    match arguments.write {
        Some(guest) => add(&guest, arguments.period, &sequences)?,
        None => sequences.iter().for_each(|sequence| println!("{sequence}")),
    }
    Ok(())
}
