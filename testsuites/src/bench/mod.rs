//! The bench: how much host work the emulator spends on a guest's work, beside its peers.
//!
//! Reading order: [`kernels`] is what the guest does; [`guest`] builds it from
//! `benches/guest`; [`count`] counts host instructions by callgrind, which is the figure of
//! record because it repeats; [`peers`] takes CPU seconds of Strata, Bochs and QEMU on the same
//! program; [`record`] keeps the figures of record in `benches/record.toml` and compares.
//!
//! Invariants: every figure is a difference of two runs that differ in a count alone, so what
//! comes before and after cancels; every run's checksums must equal those of the same source on
//! the host; nothing here passes or fails by time.

pub mod count;
pub mod guest;
pub mod kernels;
pub mod peers;
pub mod record;

use anyhow::{Context, Result, ensure};
use kernels::{KERNELS, Kernel, Memory};
use std::collections::BTreeMap;

/// The kernel of a name.
pub fn kernel(name: &str) -> Result<&'static Kernel> {
    let names = || KERNELS.map(|k| k.name).join(", ");
    KERNELS
        .iter()
        .find(|k| k.name == name)
        .with_context(|| format!("no {name}: there are {}", names()))
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
    /// The checksum of `count` times `kernel`.
    pub fn sum(&mut self, kernel: &'static Kernel, count: u32) -> u64 {
        let work = || (kernel.run)(count, &mut Box::new(Memory::new()));
        *self.0.entry((kernel.name, count)).or_insert_with(work)
    }

    /// Refuses output that lacks one of `wanted`, or that has another checksum than this host.
    pub fn check(
        &mut self,
        who: &str,
        output: &str,
        wanted: &[(&'static Kernel, u32)],
    ) -> Result<()> {
        let found = ends(output);
        for (kernel, count) in wanted {
            let here = self.sum(kernel, *count);
            let there = found.iter().find(|(name, n, _)| *name == kernel.name && n == count);
            let there =
                there.with_context(|| format!("{who}: {} did not end:\n{output}", kernel.name))?.2;
            ensure!(
                here == there,
                "{who}: {} is {there:016x}, on this host {here:016x}",
                kernel.name
            );
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
        let (mut native, sieve) = (Native::default(), kernel("sieve").unwrap());
        let right = native.sum(sieve, 1);
        let line = |sum: u64| format!("end sieve 1 {sum:016x}\n");
        assert!(native.check("x", &line(right), &[(sieve, 1)]).is_ok());
        assert!(native.check("x", &line(right ^ 1), &[(sieve, 1)]).is_err());
        assert!(native.check("x", "", &[(sieve, 1)]).is_err());
    }

    #[test]
    fn geometric() {
        assert_eq!(mean(&[]), 0.0);
        assert!((mean(&[2.0, 8.0]) - 4.0).abs() < 1e-9);
    }
}
