//! Takes rows from silicon: a few of each form in each mode.

use super::case::{Event, Mode, Outcome};
use super::differences::{compared, normalize, shown};
use super::host::Host;
use super::silicon::Silicon;
use super::{Case, Random, generate, row};
use anyhow::{Result, anyhow};
use iced_x86::Code;
use rayon::prelude::*;

/// Cases that are tried for a form.
const TRIES: u64 = 48;

/// The host's processor by name, family, model and stepping.
pub fn host_name() -> String {
    use std::arch::x86_64::__cpuid;
    let leaves = [0x8000_0002, 0x8000_0003, 0x8000_0004].map(__cpuid);
    let words = leaves.iter().flat_map(|l| [l.eax, l.ebx, l.ecx, l.edx]);
    let bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).filter(|b| *b != 0).collect();
    let name = String::from_utf8_lossy(&bytes);
    format!("{}, CPUID signature {:08x}", name.trim(), __cpuid(1).eax)
}

/// `n` rows for each form in each mode, sorted.
pub fn capture(forms: &[(Mode, Code)], n: usize, seed: u64) -> Result<Vec<String>> {
    let rows = forms.par_iter().map_init(Host::new, |host, &(mode, code)| {
        let host = host.as_mut().map_err(|e| anyhow!("{e:#}"))?;
        rows_of(host, mode, code, n, seed)
    });
    let mut rows: Vec<String> = rows.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    rows.sort();
    rows.dedup();
    Ok(rows)
}

fn rows_of(host: &mut Host, mode: Mode, code: Code, n: usize, seed: u64) -> Result<Vec<String>> {
    let salt = (code as u64) << 8 | mode.bits() as u64;
    let r = &mut Random(seed ^ salt.wrapping_mul(0x9e37_79b9_97f4_a7c1));
    let page = 1 + r.below(64);
    let cases: Vec<Case> = (0..TRIES)
        .filter_map(|_| generate::case(mode, code, page, r))
        .filter(|case| {
            compared(case, Silicon::host()) && !case.inward() && !generate::endless(case)
        })
        .collect();
    let outcomes = host.run(&cases)?;
    let mut pairs: Vec<(&Case, Outcome)> =
        cases.iter().zip(outcomes).filter_map(|(c, o)| Some((c, o?))).collect();
    pairs.retain(|(case, o)| o.event.vector != Event::SYSCALL && shown(case, Silicon::host(), o));
    // Those that ran to their end first, but one that did not is worth a row too.
    pairs.sort_by_key(|(_, o)| !matches!(o.event.vector, 1 | 3));
    let fault = pairs.pop();
    let few = pairs.into_iter().take(n.saturating_sub(1));
    let mut rows: Vec<String> =
        few.chain(fault).map(|(case, outcome)| text(case, outcome)).collect();
    rows.truncate(n);
    Ok(rows)
}

fn text(case: &Case, mut outcome: Outcome) -> String {
    normalize(case, &mut outcome);
    row::write(case, &outcome)
}
