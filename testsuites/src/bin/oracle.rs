//! Compares single instructions with the host's processor.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_types)]

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};
use testsuites::oracle::campaign::{Plan, Report};
use testsuites::oracle::{Mode, compare::compare, generate};

/// Runs random instructions on the host's processor and on ours, and prints the differences.
#[derive(Parser)]
struct Options {
    /// How many cases.
    #[arg(long, default_value_t = 1_000_000)]
    cases: u64,
    /// Seed of the generator; without it, the clock.
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
    /// Differences shown per form.
    #[arg(long, default_value_t = 2)]
    show: u64,
}

fn main() -> anyhow::Result<()> {
    let o = Options::parse();
    let clock = || SystemTime::UNIX_EPOCH.elapsed().map_or(1, |d| d.as_micros() as u64);
    let seed = o.seed.unwrap_or_else(clock);
    let modes = Mode::ALL.into_iter().filter(|m| o.mode.is_none_or(|n| n == m.bits()));
    let modes: Vec<_> = modes.collect();
    let forms: Vec<_> = modes
        .iter()
        .copied()
        .flat_map(|m| generate::forms(m).into_iter().map(move |c| (m, c)))
        .filter(|(_, c)| format!("{c:?}").contains(&o.only))
        .collect();
    anyhow::ensure!(!forms.is_empty(), "no form's name contains {:?}", o.only);
    let wild = if o.only.is_empty() { o.wild } else { 0 };
    let plan = Plan { seed, cases: o.cases, forms, wild };
    println!("seed {seed}, {} cases of {} forms", plan.cases, plan.forms.len());
    let bar = bar(plan.cases);
    let started = Instant::now();
    let report = plan.run(|done, report| {
        bar.inc(done);
        bar.set_message(format!("{} forms, {} differ", report.forms.len(), report.failed.len()));
    })?;
    bar.finish_and_clear();
    print(&report, o.show, started.elapsed());
    anyhow::ensure!(report.failed.is_empty(), "{} forms differ", report.failed.len());
    Ok(())
}

fn bar(cases: u64) -> ProgressBar {
    let style = "{elapsed_precise} {wide_bar} {human_pos}/{human_len} cases, {per_sec}, {msg}";
    ProgressBar::new(cases)
        .with_style(ProgressStyle::with_template(style).unwrap_or(ProgressStyle::default_bar()))
}

fn print(report: &Report, show: u64, took: Duration) {
    let mut shown = BTreeMap::new();
    for d in &report.differences {
        let n = shown.entry((d.case.mode, d.case.instruction().code() as u32)).or_insert(0);
        *n += 1;
        if *n <= show {
            println!("{}", compare(&d.case, &d.host, &d.ours).join("\n"));
        }
    }
    for case in &report.deaths {
        println!("the host child did not survive {case}");
    }
    let forms = report.forms.len();
    let rate = report.run as f64 / took.as_secs_f64();
    println!(
        "{} cases of {forms} forms, {rate:.0} a second; {} forms differ",
        report.run,
        report.failed.len()
    );
}
