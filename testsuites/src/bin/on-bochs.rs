//! `on-bochs`: the bundled hypervisor and its embedded guests print the same lines on Debian's
//! Bochs as on Strata. Needs Debian's packages bochs and bochs-sdl, and what `strata image` needs.

#![expect(clippy::print_stdout, reason = "a command")]

use anyhow::{Result, ensure};
use std::time::Duration;
use testsuites::{bochs, strata};

/// Bochs's own speed is not ours to judge: this only ends a run that hangs.
const LIMIT: Duration = Duration::from_secs(1800);

fn main() -> Result<()> {
    let here = strata::run(&[])?;
    ensure!(here.status == Some(0), "the main job fails on Strata: {}", here.stderr);
    let here: Vec<String> = here.stdout.lines().map(|line| line.trim_end().to_owned()).collect();
    let there = bochs::run(LIMIT)?;
    for console in ["(dom0) ", "(a) ", "(b) "] {
        let [strata, bochs] = [&here, &there].map(|lines| of(console, lines));
        ensure!(!strata.is_empty(), "{console}: printed nothing on Strata");
        ensure!(strata == bochs, "{console}: on Strata {strata:#?}\non Bochs {bochs:#?}");
        println!("{console}: the same {} lines", strata.len());
    }
    Ok(())
}

/// The lines of one console.
fn of<'a>(console: &str, lines: &'a [String]) -> Vec<&'a str> {
    lines.iter().filter(|line| line.starts_with(console)).map(String::as_str).collect()
}
