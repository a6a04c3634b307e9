//! The `oracle` command: compares single instructions with the host's processor.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_types)]

use super::campaign::{Difference, Pair, Plan, Report};
use super::{Mode, capture, compare::compare, row, silicon::Silicon, vectors};
use anyhow::{Context, Result, ensure};
use clap::Parser;
use iced_x86::Code;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

/// Runs random instructions on the host's processor and on ours; shrinks and prints the differences.
#[derive(Parser)]
struct Options {
    /// Number of cases to run
    #[arg(long, default_value_t = 1_000_000)]
    cases: u64,
    /// Seed of everything; without it, the clock.
    #[arg(long)]
    seed: Option<u64>,
    /// Only forms whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Only 64-, 32- or 16-bit code.
    #[arg(long)]
    mode: Option<u32>,
    /// One case in so many is of random bytes; 0 is none.
    #[arg(long, default_value_t = 16)]
    wild: u64,
    /// Differences shown, and shrunk, per form.
    #[arg(long, default_value_t = 1)]
    show: u64,
    /// Where the rows are to which differences are added.
    #[arg(long, default_value_os_t = vectors::directory())]
    vectors: PathBuf,
    /// Instead, add rows from silicon until each form has so many.
    #[arg(long)]
    capture: Option<usize>,
    /// Makes our handlers of forms whose name contains this wrong, to see that it is found.
    #[arg(long, hide = true)]
    break_handler: Option<String>,
}

/// Runs the command; whether nothing differs.
pub fn run() -> Result<bool> {
    let o = Options::parse();
    let clock = || SystemTime::UNIX_EPOCH.elapsed().map_or(1, |d| d.as_micros() as u64);
    let mut plan = Plan::everything();
    plan.forms.retain(|(m, c)| {
        o.mode.is_none_or(|n| n == m.bits()) && format!("{c:?}").contains(&o.only)
    });
    ensure!(!plan.forms.is_empty(), "no form's name contains {:?}", o.only);
    plan.cases = o.cases;
    plan.seed = o.seed.unwrap_or_else(clock);
    plan.wild = if o.only.is_empty() && o.mode.is_none() { o.wild } else { 0 };
    plan.broken = o.break_handler.clone();
    if let Some(n) = o.capture {
        return write_rows(&o, &plan, n).map(|()| true);
    }
    println!("seed {}, {} cases of {} forms", plan.seed, plan.cases, plan.forms.len());
    let started = Instant::now();
    let bar = bar(plan.cases);
    let report = plan.run(|done, report| {
        bar.inc(done);
        bar.set_message(format!("{} forms, {} differ", report.forms.len(), report.failed.len()));
    })?;
    bar.finish_and_clear();
    let rate = report.run as f64 / started.elapsed().as_secs_f64();
    show(&o, &report)?;
    let (forms, failed) = (report.forms.len(), report.failed.len());
    println!("{} cases of {forms} forms, {rate:.0} a second; {failed} forms differ", report.run);
    Ok(failed == 0)
}

fn bar(cases: u64) -> ProgressBar {
    let style = "{elapsed_precise} {wide_bar} {human_pos}/{human_len} cases, {per_sec}, {msg}";
    ProgressBar::new(cases)
        .with_style(ProgressStyle::with_template(style).unwrap_or(ProgressStyle::default_bar()))
}

fn write_rows(o: &Options, plan: &Plan, n: usize) -> Result<()> {
    let path = o.vectors.join(format!("{}.txt", Silicon::host().name()));
    let old = fs::read_to_string(&path).unwrap_or_default();
    let mut rows: Vec<String> =
        old.lines().filter(|l| vectors::useful(l)).map(str::to_string).collect();
    let count = |(mode, code): &(Mode, Code)| {
        let start = format!("{code:?} {} ", mode.bits());
        rows.iter().filter(|row| row.starts_with(&start)).count()
    };
    let few: Vec<_> = plan.forms.iter().copied().filter(|form| count(form) < n).collect();
    rows.extend(capture::capture(&few, n, plan.seed)?);
    rows.sort();
    rows.dedup();
    let mut text = format!("# {}\n", capture::host_name());
    text += "# oracle --capture; the format is in testsuites/src/oracle/row.rs\n";
    rows.iter().try_for_each(|row| writeln!(text, "{row}"))?;
    fs::write(&path, &text).with_context(|| format!("{}", path.display()))?;
    println!("{} rows, {} bytes: {}", rows.len(), text.len(), path.display());
    Ok(())
}

/// Shrinks and prints differences, and adds them to the rows.
fn show(o: &Options, report: &Report) -> Result<()> {
    for case in &report.deaths {
        println!("the host child did not survive {case}");
    }
    let mut shown = BTreeMap::new();
    let mut pair = Pair::new(o.break_handler.clone())?;
    for d in &report.differences {
        let n = shown.entry((d.case.mode, d.case.instruction().code())).or_insert(0);
        *n += 1;
        if *n <= o.show {
            let small = pair.shrink(d)?;
            print(&small);
            if o.break_handler.is_none() {
                add(o, &small)?;
            }
        }
    }
    Ok(())
}

fn print(d: &Difference) {
    println!("{}", compare(&d.case, Silicon::host(), &d.host, &d.ours).join("\n"));
    for (who, outcome) in [("host", &d.host), ("ours", &d.ours)] {
        let row = row::write(&d.case, outcome);
        let (before, after) = row.split_once(" => ").unwrap_or((&row, ""));
        if who == "host" {
            println!("  case  {before}");
        }
        println!("  {who}  => {after}");
    }
}

fn add(o: &Options, d: &Difference) -> Result<()> {
    let path = o.vectors.join(format!("{}-found.txt", Silicon::host().name()));
    let open = fs::OpenOptions::new().append(true).create(true).open(&path);
    let mut file = open.with_context(|| format!("{}", path.display()))?;
    writeln!(file, "{}", row::write(&d.case, &d.host))?;
    Ok(())
}
