//! Compares single instructions with the host's processor.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_types)]

use clap::Parser;
use std::collections::BTreeMap;
use testsuites::oracle::{Random, compare::compare, generate, host::Host, ours::Ours};

/// Runs random instructions on the host's processor and on ours, and prints the differences.
#[derive(Parser)]
struct Options {
    /// How many cases.
    #[arg(long, default_value_t = 100_000)]
    cases: u64,
    /// Seed of the generator.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only forms whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Differences shown per form.
    #[arg(long, default_value_t = 2)]
    show: u64,
}

fn main() -> anyhow::Result<()> {
    let o = Options::parse();
    let forms: Vec<_> =
        generate::forms().into_iter().filter(|c| format!("{c:?}").contains(&o.only)).collect();
    anyhow::ensure!(!forms.is_empty(), "no implemented form's name contains {:?}", o.only);
    let (mut host, mut ours) = (Host::new()?, Ours::default());
    let mut r = Random(o.seed);
    let started = std::time::Instant::now();
    let (mut run, mut failed) = (0u64, BTreeMap::<String, u64>::new());
    for n in 0..o.cases {
        let code = forms[n as usize % forms.len()];
        let Some(case) = generate::case(code, 1 + n / 256, &mut r) else { continue };
        let differences = compare(&case, &host.run(&case)?, &ours.run(&case));
        run += 1;
        if !differences.is_empty() {
            let count = failed.entry(format!("{code:?}")).or_default();
            *count += 1;
            if *count <= o.show {
                println!("{}", differences.join("\n"));
            }
        }
    }
    let rate = run as f64 / started.elapsed().as_secs_f64();
    println!(
        "{run} cases of {} forms, {rate:.0} a second; differing forms: {failed:?}",
        forms.len()
    );
    anyhow::ensure!(failed.is_empty(), "{} forms differ", failed.len());
    Ok(())
}
