//! `bench`: prints how much host work Strata spends on the bench's guest, beside its peers.
//!
//! Nothing here fails by a figure: what moved is printed, and judged by a reader.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command")]

use anyhow::Result;
use clap::{Parser, ValueEnum};
use std::collections::BTreeMap;
use std::path::PathBuf;
use testsuites::bench::count::{self, Level, Strata};
use testsuites::bench::peers::{self, Guest, Run};
use testsuites::bench::record::{self, Figures};
use testsuites::bench::table::Table;
use testsuites::bench::{self, Item, Native, guest};

/// Measures Strata with the bench's guest programs.
#[derive(Parser)]
struct Arguments {
    /// The kind of measurement
    #[arg(value_enum, default_value = "count")]
    what: What,
    /// Only these kernels and events, by commas
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
    /// The folder of the Linux guest
    #[arg(long, default_value = "/tmp/guest")]
    guest: PathBuf,
    /// How often seconds are taken; the least counts
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Write the counts to benches/record.toml
    #[arg(long)]
    write: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Host instructions of the kernels and the events, bare
    Count,
    /// The same counts beside those on file
    Compare,
    /// The kernels: counts bare and nested, and CPU seconds beside the peers'
    Kernels,
    /// The events: counts, and CPU seconds beside the peers'
    System,
    /// The Linux guest: CPU seconds beside the peers'
    Linux,
    /// CPU seconds and memory with 1 to 16 busy domUs
    Domains,
    /// All of these, one after another
    All,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let program = count::program(arguments.strata.as_deref())?;
    let strata = Strata { program, guest: guest::build()? };
    let mut bench = Bench { arguments, strata, native: Native::default(), figures: Figures::new() };
    let what = bench.arguments.what;
    let is = |some: &[What]| what == What::All || some.contains(&what);
    if is(&[What::Count, What::Compare, What::Kernels]) {
        bench.kernels(is(&[What::Kernels]))?;
    }
    if is(&[What::Count, What::Compare, What::System]) {
        bench.events(is(&[What::System]))?;
    }
    if is(&[What::Linux]) {
        bench.linux()?;
    }
    if is(&[What::Domains]) {
        bench.domains()?;
    }
    if is(&[What::Compare]) {
        let (commit, old) = record::read()?;
        let moved = record::moved(&old, &bench.figures);
        println!("moved by more than 3 % since {commit}: {}", moved.len());
        moved.iter().for_each(|line| println!("  {line}"));
    }
    if bench.arguments.write { record::write(&bench.figures) } else { Ok(()) }
}

/// What is measured, and what was found so far.
struct Bench {
    arguments: Arguments,
    strata: Strata,
    native: Native,
    figures: Figures,
}

impl Bench {
    /// The kernels, with the nested run and the peers if `all`.
    fn kernels(&mut self, all: bool) -> Result<()> {
        let (items, mut table) = (bench::kernels(&self.arguments.only), Table::default());
        for item in &items {
            let [host, guest] = self.count(Level::Bare, item)?;
            table.set("host/guest", item.name, host / guest);
            if all {
                let [nested, _] = self.count(Level::Nested, item)?;
                table.set("L2/L1", item.name, nested / host);
            }
            table.set("guest/count", item.name, guest);
        }
        self.figures.insert("kernels".into(), table.column("host/guest"));
        if all {
            self.figures.insert("nested".into(), table.column("L2/L1"));
            let ours = self.seconds(&items, &mut table)?;
            for Item { name, long, .. } in &items {
                let guest = table.column("guest/count")[*name] * f64::from(*long);
                table.set("MIPS", name, guest / ours[*name] / 1e6);
            }
        }
        // A whole REP is one instruction, so the copies' say nothing beside the others'.
        let repeats =
            |title: &str, name: &str| name == "copy" && matches!(title, "host/guest" | "MIPS");
        print!("{}", table.text(&items, repeats));
        if !items.is_empty() {
            println!("means are geometric; copy is not in those of host/guest and MIPS\n");
        }
        Ok(())
    }

    /// The events, with the peers if `all`.
    fn events(&mut self, all: bool) -> Result<()> {
        let (items, mut table) = (bench::events(&self.arguments.only), Table::default());
        for item in &items {
            let [host, guest] = self.count(Level::Bare, item)?;
            table.set("host/event", item.name, host);
            table.set("guest/event", item.name, guest);
        }
        self.figures.insert("system".into(), table.column("host/event"));
        if all {
            let ours = self.seconds(&items, &mut table)?;
            for Item { name, long, .. } in &items {
                table.set("ns/event", name, ours[*name] * 1e9 / f64::from(*long));
            }
        }
        println!("{}", table.text(&items, |_, _| false));
        Ok(())
    }

    /// Instructions of host and guest for one of `item`.
    fn count(&mut self, level: Level, item: &Item) -> Result<[f64; 2]> {
        let (low, high) = (item.unit, 2 * item.unit);
        let (work, output) = self.strata.difference(level, item.name, low, high)?;
        self.native.check("strata", &output, &[(item.name, low), (item.name, high)])?;
        Ok([work.host, work.guest].map(|n| n / f64::from(item.unit)))
    }

    /// Runs the peers in turn and gives the least seconds of each figure that `figures` finds.
    /// Strata takes part with Linux only: see [`Self::ours`] for the bench's guest.
    fn rounds(
        &mut self,
        guest: &Guest<'_>,
        figures: impl Fn(&mut Native, &str, &Run) -> Result<BTreeMap<String, f64>>,
    ) -> Result<BTreeMap<&'static str, BTreeMap<String, f64>>> {
        let Arguments { bochs, qemu, rounds, .. } = &self.arguments;
        let (peers, missing) = peers::all(&self.strata, bochs, qemu, guest)?;
        missing.iter().for_each(|name| println!("{name}: not installed, left out"));
        let whole = |name: &str| name == "strata" && matches!(guest, Guest::Bench(_));
        let mut best: BTreeMap<&str, BTreeMap<String, f64>> = BTreeMap::new();
        for _ in 0..*rounds {
            for peer in peers.iter().filter(|peer| !whole(peer.name)) {
                let seconds = figures(&mut self.native, peer.name, &peer.run()?)?;
                eprintln!("{} (load {}): {seconds:?}", peer.name, peers::load());
                let best = best.entry(peer.name).or_default();
                for (name, seconds) in seconds {
                    let least = best.entry(name).or_insert(seconds);
                    *least = least.min(seconds);
                }
            }
        }
        println!("CPU seconds: the least of {rounds}; the load is {}", peers::load());
        Ok(best)
    }

    /// CPU seconds of Strata; the peers' as multiples of these into `table`.
    fn seconds(&mut self, items: &[Item], table: &mut Table) -> Result<BTreeMap<String, f64>> {
        let counts: Vec<_> = items.iter().map(|item| (item.name, item.long)).collect();
        let words: Vec<String> = counts.iter().map(|(name, n)| format!("{name}={n}")).collect();
        let best = self.rounds(&Guest::Bench(&words.join(" ")), |native, who, run| {
            native.check(who, &run.output(), &counts)?;
            Ok(run.items())
        })?;
        let ours = self.ours(items)?;
        ratios(&ours, best, table);
        Ok(ours)
    }

    /// CPU seconds of Strata for the long counts: differences of whole runs, because it prints
    /// only between slices of some millions of instructions.
    fn ours(&mut self, items: &[Item]) -> Result<BTreeMap<String, f64>> {
        let mut ours = BTreeMap::new();
        for Item { name, unit, long } in items {
            let mut whole = |count: u32| -> Result<f64> {
                let words = format!("{name}={count}");
                let arguments = Guest::Bench(&words).of_strata(&self.strata);
                let peer = peers::strata(&self.strata.program, arguments);
                let mut least = f64::INFINITY;
                for _ in 0..self.arguments.rounds {
                    let run = peer.run()?;
                    self.native.check("strata", &run.output(), &[(name, count)])?;
                    least = least.min(run.lines.last().map_or(0.0, |(_, now)| *now));
                }
                Ok(least)
            };
            ours.insert((*name).to_owned(), whole(unit + long)? - whole(*unit)?);
        }
        Ok(ours)
    }

    /// The Linux guest by its marks.
    fn linux(&mut self) -> Result<()> {
        const PHASES: [&str; 10] = [
            "userspace",
            "sha256",
            "gzip",
            "fork",
            "shell",
            "sort",
            "copy",
            "float",
            "work",
            "total",
        ];
        let guest = self.arguments.guest.clone();
        let mut best = self.rounds(&Guest::Linux(&guest), |_, who, run| {
            let mut marks = run.marks();
            if marks.remove("done").is_none() {
                eprintln!("{who}: did not come to its end, left out of this round");
                return Ok(BTreeMap::new());
            }
            let total = marks.values().sum();
            marks.insert("work".into(), total - marks.get("userspace").copied().unwrap_or(0.0));
            marks.insert("total".into(), total);
            Ok(marks)
        })?;
        let ours = best.remove("strata").unwrap_or_default();
        let mut table = Table::default();
        ours.iter().for_each(|(name, seconds)| table.set("seconds", name, *seconds));
        ratios(&ours, best, &mut table);
        println!(
            "{}",
            table.text(&PHASES.map(|name| Item { name, unit: 1, long: 1 }), |_, _| true)
        );
        Ok(())
    }

    /// 1 to 16 domUs that do as much work together: differences of two amounts of it, so that what starting
    /// and ending costs is not in the figures.
    fn domains(&self) -> Result<()> {
        println!(
            "{:<8}{:>14}{:>14}{:>16}{:>14}",
            "domUs", "guest Minsn", "CPU seconds", "ns/guest insn", "MiB beyond"
        );
        for domains in [1, 2, 4, 8, 16] {
            let [(few, begin), (many, end)] =
                [self.busy(domains, 1)?, self.busy(domains, 1 + 48 / domains)?];
            let guest = (many.instructions("k") - few.instructions("k")) / 1e6;
            let seconds = end - begin;
            let beyond = many.beyond as f64 / 1024.0;
            println!(
                "{domains:<8}{guest:>14.1}{seconds:>14.2}{:>16.3}{beyond:>14.1}",
                seconds * 1e3 / guest
            );
        }
        println!("the load is {}\n", peers::load());
        Ok(())
    }

    /// A run of that many domUs, each with `work`, and the least seconds of all rounds.
    fn busy(&self, domains: u64, work: u64) -> Result<(Run, f64)> {
        let kernel = self.strata.guest.display();
        let of = |append: &str| format!("kernel={kernel},memory={DOMAIN_MEMORY}M,append={append}");
        let mut words = vec!["host".to_owned(), "--until-domus-end".into()];
        words.push(format!("--dom0={}", of("hold")));
        let work = of(&format!("\"mixed={} sieve={}\"", 1000 * work, 50 * work));
        words.extend((0..domains).map(|n| format!("--domu=name=k{n},{work}")));
        let peer = peers::strata(&self.strata.program, words);
        let (mut last, mut least) = (Run::default(), f64::INFINITY);
        for _ in 0..self.arguments.rounds {
            last = peer.follow(false)?;
            let ended = bench::ends(&last.output()).len();
            anyhow::ensure!(
                ended == 2 * domains as usize,
                "not all domUs ended: {}",
                last.output()
            );
            least = least.min(last.lines.last().map_or(0.0, |(_, now)| *now));
        }
        Ok((last, least))
    }
}

/// MiB of a domain in [`Bench::domains`].
const DOMAIN_MEMORY: u64 = 64;

/// Each peer's seconds over ours, as a column.
fn ratios(
    ours: &BTreeMap<String, f64>,
    peers: BTreeMap<&'static str, BTreeMap<String, f64>>,
    table: &mut Table,
) {
    for (peer, seconds) in peers {
        for (name, seconds) in seconds {
            if let Some(ours) = ours.get(&name) {
                table.set(peer, &name, seconds / ours);
            }
        }
    }
}
