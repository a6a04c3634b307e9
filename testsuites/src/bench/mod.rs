//! The bench: how much host work the emulator spends on a guest's work, beside its peers.
//!
//! Reading order: [`mod@kernels`] is what the guest does; [`guest`] builds it from
//! `benches/guest`; [`count`] counts host instructions by callgrind, which is the figure of
//! record because it repeats; [`peers`] takes CPU seconds of Strata, Bochs and QEMU on the same
//! program; [`table`] prints; [`record`] keeps the figures of record in `benches/record.toml`
//! and compares.
//!
//! Invariants: every figure is a difference of two runs that differ in a count alone, so what
//! comes before and after cancels; every run's checksums must equal those of the same source on
//! the host; nothing here passes or fails by time.

pub mod count;
pub mod guest;
pub mod kernels;
pub mod peers;
pub mod record;
pub mod table;

use anyhow::{Context, Result, ensure};
use kernels::{KERNELS, Memory};
use std::collections::BTreeMap;

/// What the guest measures besides the kernels, by `benches/guest/system.rs`: events of the
/// processor and of the platform, those that begin with `vm` by a monitor of its own.
pub const EVENTS: [&str; 16] = [
    "exception",
    "syscall",
    "pagefault",
    "cr3",
    "cr3-pcid",
    "invlpg",
    "port",
    "mmio",
    "self-ipi",
    "timer",
    "vmcall",
    "vm-cpuid",
    "vm-msr",
    "vm-io",
    "vm-ept",
    "vm-timer",
];

/// A word of the guest's command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Name on the command line.
    pub name: &'static str,
    /// The count for counting instructions.
    pub unit: u32,
    /// The count for taking seconds.
    pub long: u32,
}

/// The kernels, or those of them that are named.
pub fn kernels(only: &[String]) -> Vec<Item> {
    let item = |k: &kernels::table::Kernel| Item { name: k.name, unit: k.unit, long: k.unit * 100 };
    chosen(KERNELS.iter().map(item), only)
}

/// The events, or those of them that are named.
pub fn events(only: &[String]) -> Vec<Item> {
    chosen(EVENTS.map(|name| Item { name, unit: 2000, long: 300_000 }).into_iter(), only)
}

fn chosen(items: impl Iterator<Item = Item>, only: &[String]) -> Vec<Item> {
    items.filter(|item| only.is_empty() || only.iter().any(|name| name == item.name)).collect()
}

/// The lines `end name count checksum` of a guest's output, each console's prefix taken off.
pub fn ends(output: &str) -> Vec<(&str, u32, u64)> {
    output.lines().filter_map(end).collect()
}

fn end(line: &str) -> Option<(&str, u32, u64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [.., "end", name, count, sum] = words[..] else { return None };
    Some((name, count.parse().ok()?, u64::from_str_radix(sum, 16).ok()?))
}

/// The checksums of kernels on this host, computed once each.
#[derive(Default)]
pub struct Native(BTreeMap<(&'static str, u32), u64>);

impl Native {
    /// The checksum of `count` times a kernel; of an event it is the count.
    pub fn sum(&mut self, name: &'static str, count: u32) -> u64 {
        let kernel = KERNELS.iter().find(|kernel| kernel.name == name);
        let work = || kernel.map_or(count.into(), |k| (k.run)(count, &mut Box::new(Memory::new())));
        *self.0.entry((name, count)).or_insert_with(work)
    }

    /// Refuses output that lacks one of `wanted`, unless the guest skipped it, or that has
    /// another checksum than this host.
    pub fn check(&mut self, who: &str, output: &str, wanted: &[(&'static str, u32)]) -> Result<()> {
        let found = ends(output);
        for (name, count) in wanted {
            if output.lines().any(|line| line.trim_end().ends_with(&format!("skip {name}"))) {
                continue;
            }
            let here = self.sum(name, *count);
            let there = found.iter().find(|(other, n, _)| other == name && n == count);
            let there = there.with_context(|| format!("{who}: {name} did not end:\n{output}"))?.2;
            ensure!(here == there, "{who}: {name} is {there:016x}, on this host {here:016x}");
        }
        Ok(())
    }
}

/// The geometric mean; 0 of nothing.
pub fn mean(values: &[f64]) -> f64 {
    let logs: f64 = values.iter().map(|v| v.ln()).sum();
    if values.is_empty() { 0.0 } else { (logs / values.len() as f64).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let output = "begin a\n(k) end a 3 00000000000000ff\r\nend b x 1\nend\nthe end of it all\n";
        assert_eq!(ends(output), [("a", 3, 255)]);
    }

    #[test]
    fn a_wrong_checksum_is_noticed() {
        let mut native = Native::default();
        let right = native.sum("sieve", 1);
        let mut check = |text: &str| native.check("x", text, &[("sieve", 1)]).is_ok();
        assert!(check(&format!("(k) end sieve 1 {right:016x}\n")));
        assert!(!check(&format!("end sieve 1 {:016x}\n", right ^ 1)));
        assert!(!check(""));
        assert!(check("skip sieve\r\n"));
        assert_eq!(native.sum("vmcall", 7), 7);
    }

    #[test]
    fn geometric() {
        assert_eq!(mean(&[]), 0.0);
        assert!((mean(&[2.0, 8.0]) - 4.0).abs() < 1e-9);
    }
}
