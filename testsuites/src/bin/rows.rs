//! `rows`: proposes, or adds, rows for the table of handlers for what runs most often.
//!
//! Built with `RUSTFLAGS="-C symbol-mangling-version=v0"`, because it reads off its own symbols what the handlers
//! are for.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command")]

use anyhow::Result;
use clap::Parser;
use testsuites::rows::names::Names;
use testsuites::rows::sample::Guest;
use testsuites::rows::{choose, fresh, runs};

/// Finds the operations that a guest often runs one after the other, and that have no handler of their own.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    guest: Guest,
    /// How many rows
    #[arg(long, default_value_t = 100)]
    count: usize,
    /// The most operations of a row, 2 to 8
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u8).range(2..=8))]
    longest: u8,
    /// Instructions from one look at the guest to the next
    #[arg(long, default_value_t = 9973, value_parser = clap::value_parser!(u64).range(1..))]
    period: u64,
    /// The power of a block's count that it weighs: less than 1 spreads the rows over more code
    #[arg(long, default_value_t = 0.75)]
    power: f64,
    /// Add the rows to cpu/src/isa/profile_rows.rs instead of printing them
    #[arg(long)]
    write: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut names = Names::new()?;
    let blocks = arguments.guest.blocks(arguments.period)?;
    let looks: u64 = blocks.values().sum();
    let runs = runs(&blocks, &mut names, arguments.power);
    eprintln!("{looks} looks, {} blocks, {} runs without a long row", blocks.len(), runs.len());
    let chosen = choose::choose(runs, arguments.count, arguments.longest.into());
    let rows = fresh(chosen.iter().map(|ops| names.row(ops)).collect(), arguments.write)?;
    eprintln!("of {} rows, {} are new", chosen.len(), rows.len());
    if !arguments.write {
        rows.iter().for_each(|row| println!("{row}"));
    }
    Ok(())
}
