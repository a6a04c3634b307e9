//! `on-xen`: Xen's tools in dom0 on the bundled hypervisor beside Debian's Xen.
//!
//! Both run on Strata. dom0 runs the lines of `src/guests/xen/commands.txt`; for each the status and the lines printed
//! are compared. Status 0: all statuses are the same. `on-xen calls` compares the tools' hypercalls and what comes of
//! them too, `on-xen figures` the CPU seconds that it takes to create, save and restore domUs.

#![expect(clippy::print_stdout, reason = "a command")]

use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use testsuites::bench::peers;
use testsuites::guests::xen::{self, COMMANDS, Hypervisor, Xen};
use testsuites::on_xen::{Answer, Compared, Figures, STEPS, answers, calls, compare};
use testsuites::strata;

/// Far above what the runs take: a hanging guest ends with a status of its own.
const LIMIT: &str = "120000000000";

fn main() -> Result<()> {
    let guest = xen::xen()?;
    match std::env::args().nth(1).as_deref() {
        None => commands(&guest, "commands"),
        Some("calls") => commands(&guest, "commands watch"),
        Some("figures") => figures(&guest),
        Some(_) => bail!("usage: on-xen [calls|figures]"),
    }
}

/// CPU seconds of Strata for what the tools do, and the guests' VM exits.
fn figures(guest: &Xen) -> Result<()> {
    let of = |hypervisor| -> Result<Figures> {
        let mut words = guest.words([512, 1024], hypervisor, STEPS);
        words.extend(["--limit-instructions".to_owned(), LIMIT.to_owned()]);
        let run = peers::strata(&strata::command()?, words).follow(false)?;
        Figures::new(&run).with_context(|| run.output())
    };
    let (here, there) = (of(Hypervisor::Strata)?, of(Hypervisor::Xen)?);
    println!("{:<24}{:>8}{:>8}{:>8}", "CPU seconds", "strata", "Xen", "ratio");
    for ((name, here), (_, there)) in here.seconds.iter().zip(&there.seconds) {
        println!("{name:<24}{here:>8.2}{there:>8.2}{:>8.2}", here / there);
    }
    println!("VM exits on strata\n{}VM exits on Xen\n{}", here.exits, there.exits);
    println!("the load is {}", peers::load());
    Ok(())
}

/// What both run in dom0, and what both say.
fn commands(guest: &Xen, words: &str) -> Result<()> {
    let run = |hypervisor| -> Result<(Vec<Answer>, BTreeSet<String>)> {
        let ended = guest.run(hypervisor, words, LIMIT)?;
        let prefix = if hypervisor == Hypervisor::Strata { "(dom0) " } else { "" };
        let console = ended.console(prefix);
        let found = answers(&console);
        let all = COMMANDS.lines().count();
        ensure!(
            found.len() == all,
            "{hypervisor:?}: {} of {all} commands\n{}{}",
            found.len(),
            ended.stdout,
            ended.stderr
        );
        Ok((found, calls(&console)))
    };
    let (here, calls_here) = run(Hypervisor::Strata)?;
    let (there, calls_there) = run(Hypervisor::Xen)?;
    let mut counts = [0; 3];
    for ((command, here), there) in COMMANDS.lines().zip(&here).zip(&there) {
        let compared = compare(here, there);
        counts[compared as usize] += 1;
        println!("{compared:10} {:3} {:3}  {command}", here.status, there.status);
        if compared != Compared::Same {
            here.said.iter().for_each(|line| println!("        strata: {line}"));
            there.said.iter().for_each(|line| println!("        Xen:    {line}"));
        }
    }
    let [same, other_lines, other_status] = counts;
    println!("{same} the same, {other_lines} with other lines, {other_status} with another status");
    calls_here.difference(&calls_there).for_each(|call| println!("on strata only  {call}"));
    calls_there.difference(&calls_here).for_each(|call| println!("on Xen only     {call}"));
    let both = calls_here.intersection(&calls_there).count();
    println!("{both} kinds of calls on both, with the same results");
    ensure!(both > 0 || words == "commands", "the calls were not seen");
    ensure!(other_status == 0, "statuses differ");
    Ok(())
}
