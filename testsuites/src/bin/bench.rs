//! `bench`: prints how much host work Strata spends on the bench's guest, beside its peers.
//!
//! Nothing here fails by a figure: what moved is printed, and judged by a reader.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command")]

use anyhow::Result;
use clap::{Parser, ValueEnum};
use std::collections::BTreeMap;
use std::path::PathBuf;
use testsuites::bench::count::{self, Level, Strata};
use testsuites::bench::kernels::{KERNELS, Kernel};
use testsuites::bench::record::{self, Figures};
use testsuites::bench::{self, Native, guest, mean, peers};

/// How much larger a count the seconds are taken with than the instructions.
const LONGER: u32 = 100;
/// A whole REP is one instruction, so this kernel's instructions say nothing beside the others'.
const REPEATS: &str = "copy";

/// Measures Strata with the bench's guest programs.
#[derive(Parser)]
struct Arguments {
    /// What to measure
    #[arg(value_enum, default_value = "count")]
    what: What,
    /// Only these, by commas
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The command to measure [default: built from this workspace]
    #[arg(long)]
    strata: Option<PathBuf>,
    /// Bochs; without GRUB's tools or Bochs's BIOS it is left out
    #[arg(long, default_value = "bochs")]
    bochs: PathBuf,
    /// QEMU
    #[arg(long, default_value = "qemu-system-x86_64")]
    qemu: PathBuf,
    /// How often seconds are taken; the least counts
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Write the counts to benches/record.toml
    #[arg(long)]
    write: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Host instructions per guest instruction of the kernels, bare
    Count,
    /// The same counts beside those on file
    Compare,
    /// Counts bare and nested, and CPU seconds beside the peers'
    Kernels,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let chosen = chosen(&arguments.only)?;
    let program = count::program(arguments.strata.as_deref())?;
    let strata = Strata { program, guest: guest::build()? };
    let mut native = Native::default();
    let mut figures = Figures::new();
    let mut table = Table::default();
    count_kernels(&strata, &chosen, Level::Bare, &mut native, &mut table)?;
    figures.insert("kernels".into(), table.column("host/guest"));
    if arguments.what == What::Kernels {
        count_kernels(&strata, &chosen, Level::Nested, &mut native, &mut table)?;
        figures.insert("nested".into(), table.column("L2/L1"));
        seconds(&strata, &chosen, &arguments, &mut native, &mut table)?;
    }
    table.print(&chosen);
    if arguments.what == What::Compare {
        let (commit, old) = record::read()?;
        let moved = record::moved(&old, &figures);
        println!("moved by more than 3 % since {commit}: {}", moved.len());
        moved.iter().for_each(|line| println!("  {line}"));
    }
    if arguments.write { record::write(&figures) } else { Ok(()) }
}

/// The kernels named, or all.
fn chosen(only: &[String]) -> Result<Vec<&'static Kernel>> {
    match only {
        [] => Ok(KERNELS.iter().collect()),
        names => names.iter().map(|name| bench::kernel(name)).collect(),
    }
}

/// Columns of figures by kernel.
#[derive(Default)]
struct Table(Vec<(&'static str, BTreeMap<String, f64>)>);

impl Table {
    fn column(&self, title: &str) -> BTreeMap<String, f64> {
        self.0.iter().find(|(t, _)| *t == title).map(|(_, c)| c.clone()).unwrap_or_default()
    }

    fn set(&mut self, title: &'static str, kernel: &str, value: f64) {
        let at = self.0.iter().position(|(t, _)| *t == title).unwrap_or_else(|| {
            self.0.push((title, BTreeMap::new()));
            self.0.len() - 1
        });
        self.0[at].1.insert(kernel.into(), value);
    }

    fn print(&self, chosen: &[&Kernel]) {
        let titles: String = self.0.iter().map(|(title, _)| format!("{title:>13}")).collect();
        println!("{:<10}{titles}", "kernel");
        for kernel in chosen {
            let cell = |column: &BTreeMap<String, f64>| match column.get(kernel.name) {
                Some(value) => format!("{value:>13.2}"),
                None => format!("{:>13}", "-"),
            };
            let cells: String = self.0.iter().map(|(_, column)| cell(column)).collect();
            println!("{:<10}{cells}", kernel.name);
        }
        let mean = |(title, column): &(&str, BTreeMap<String, f64>)| {
            let counts = |name: &str| name != REPEATS || !matches!(*title, "host/guest" | "MIPS");
            let values = column.iter().filter(|(name, _)| counts(name)).map(|(_, v)| *v);
            format!("{:>13.2}", mean(&values.collect::<Vec<_>>()))
        };
        println!("{:<10}{}", "mean", self.0.iter().map(mean).collect::<String>());
        println!("means are geometric; {REPEATS} is not in those of instructions and of MIPS");
    }
}

/// Counts a level of every kernel.
fn count_kernels(
    strata: &Strata,
    chosen: &[&'static Kernel],
    level: Level,
    native: &mut Native,
    table: &mut Table,
) -> Result<()> {
    for kernel in chosen {
        let (low, high) = (kernel.unit, 2 * kernel.unit);
        let (work, output) = strata.difference(level, kernel.name, low, high)?;
        native.check("strata", &output, &[(kernel, low), (kernel, high)])?;
        let each = f64::from(kernel.unit);
        match level {
            Level::Bare => {
                table.set("host/guest", kernel.name, work.host / work.guest);
                table.set("host/count", kernel.name, work.host / each);
                table.set("guest/count", kernel.name, work.guest / each);
            }
            Level::Nested => {
                let bare = table.column("host/count")[kernel.name];
                table.set("L2/L1", kernel.name, work.host / each / bare);
            }
        }
        eprintln!("{level:?} {}: {:.2}", kernel.name, work.host / work.guest);
    }
    Ok(())
}

/// CPU seconds of Strata, and the peers' as multiples.
fn seconds(
    strata: &Strata,
    chosen: &[&'static Kernel],
    arguments: &Arguments,
    native: &mut Native,
    table: &mut Table,
) -> Result<()> {
    let counts: Vec<_> = chosen.iter().map(|kernel| (*kernel, kernel.unit * LONGER)).collect();
    let words: Vec<String> =
        counts.iter().map(|(k, count)| format!("{}={count}", k.name)).collect();
    let (peers, missing) = peers::all(strata, &arguments.bochs, &arguments.qemu, &words.join(" "))?;
    let mut best: BTreeMap<&str, BTreeMap<String, f64>> = BTreeMap::new();
    for _ in 0..arguments.rounds {
        for peer in &peers {
            let run = peer.run()?;
            native.check(peer.name, &run.output, &counts)?;
            eprintln!("{} (load {}): {:?}", peer.name, peers::load(), run.seconds);
            let best = best.entry(peer.name).or_default();
            for (name, seconds) in run.seconds {
                let least = best.entry(name).or_insert(seconds);
                *least = least.min(seconds);
            }
        }
    }
    let guest = table.column("guest/count");
    for (kernel, count) in &counts {
        let ours = best["strata"][kernel.name];
        table.set("MIPS", kernel.name, guest[kernel.name] * f64::from(*count) / ours / 1e6);
        for peer in peers.iter().filter(|peer| peer.name != "strata") {
            table.set(peer.name, kernel.name, best[peer.name][kernel.name] / ours);
        }
    }
    println!(
        "bochs, qemu, icount: their CPU seconds over Strata's, least of {}, load {}",
        arguments.rounds,
        peers::load()
    );
    missing.iter().for_each(|name| println!("{name}: not installed, left out"));
    Ok(())
}
