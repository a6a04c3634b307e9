//! `on-xen`: Xen's own tools in dom0 say the same on the bundled hypervisor as on Debian's Xen, both on Strata.
//! dom0 runs the lines of `src/guests/xen/commands.txt`; for each the status and the lines printed are compared.
//! Status 0: all statuses are the same.

#![expect(clippy::print_stdout, reason = "a command")]

use anyhow::{Result, ensure};
use testsuites::guests::xen::{self, COMMANDS, Hypervisor};
use testsuites::on_xen::{Answer, Compared, answers, compare};

/// Far above what the runs take: a hanging guest ends with a status of its own.
const LIMIT: &str = "120000000000";

fn main() -> Result<()> {
    let guest = xen::xen()?;
    let run = |hypervisor| -> Result<Vec<Answer>> {
        let ended = guest.run(hypervisor, "commands", LIMIT)?;
        let prefix = if hypervisor == Hypervisor::Strata { "(dom0) " } else { "" };
        let found = answers(&ended.console(prefix));
        let all = COMMANDS.lines().count();
        ensure!(
            found.len() == all,
            "{hypervisor:?}: {} of {all} commands\n{}{}",
            found.len(),
            ended.stdout,
            ended.stderr
        );
        Ok(found)
    };
    let (here, there) = (run(Hypervisor::Strata)?, run(Hypervisor::Xen)?);
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
    ensure!(other_status == 0, "statuses differ");
    Ok(())
}
