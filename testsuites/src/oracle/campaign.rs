//! Many cases on all cores: batches, each with its own stream of random numbers, so that what is run
//! depends on the seed alone and not on how many threads there are.

use super::compare::compare;
use super::differences::normalize;
use super::host::Host;
use super::ours::Ours;
use super::shrink::shrink;
use super::silicon::Silicon;
use super::{Case, Mode, Outcome, Random, generate, wild};
use anyhow::{Result, bail};
use iced_x86::Code;
use rayon::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// The choices that make a campaign.
#[derive(Default)]
pub struct Plan {
    /// Seed of all random numbers.
    pub seed: u64,
    /// Number of cases to run.
    pub cases: u64,
    /// The forms, by mode.
    pub forms: Vec<(Mode, Code)>,
    /// One case in so many is of random bytes; 0 is none.
    pub wild: u64,
    /// Forms whose name contains this are made to fail: a test of the test.
    pub broken: Option<String>,
}

/// A case with two outcomes.
pub struct Difference {
    /// The case that was run.
    pub case: Case,
    /// What the host's processor did.
    pub host: Outcome,
    /// The outcome on our processor.
    pub ours: Outcome,
}

/// What came of a plan.
#[derive(Default)]
pub struct Report {
    /// Cases that were run and compared.
    pub run: u64,
    /// Cases that ended the host child: not compared.
    pub deaths: Vec<Case>,
    /// Cases by mode and form.
    pub forms: BTreeMap<(Mode, Code), u64>,
    /// Differences, of each form the first few.
    pub differences: Vec<Difference>,
    /// How many differences there were, by mode and form.
    pub failed: BTreeMap<(Mode, Code), u64>,
}

/// A processor of each kind.
pub struct Pair {
    host: Host,
    ours: Ours,
    broken: Option<String>,
}

impl Pair {
    /// Starts a host child.
    pub fn new(broken: Option<String>) -> Result<Pair> {
        Ok(Pair { host: Host::new()?, ours: Ours::default(), broken })
    }

    /// Runs cases on both. Some cases turn into stepped ones, see [`Ours::inward`].
    pub fn run(&mut self, cases: &mut [Case]) -> Result<Vec<(Option<Outcome>, Outcome)>> {
        let ours: Vec<_> = cases.iter_mut().map(|c| self.ours(c)).collect();
        let host = self.host.run(cases)?;
        let mut out: Vec<_> = host.into_iter().zip(ours).collect();
        for (case, (host, ours)) in cases.iter().zip(&mut out) {
            host.iter_mut().chain([ours]).for_each(|o| normalize(case, o));
        }
        Ok(out)
    }

    fn ours(&mut self, case: &mut Case) -> Outcome {
        let mut outcome = self.ours.run(case);
        if self.ours.inward {
            case.step = true;
            outcome = self.ours.run(case);
        }
        let form = || format!("{:?}", case.instruction().code());
        if self.broken.as_ref().is_some_and(|name| form().contains(name)) {
            spoil(case, &mut outcome);
        }
        outcome
    }

    /// The differences of one case, a line each.
    pub fn differences(&mut self, case: &Case) -> Result<Vec<String>> {
        let mut case = case.clone();
        let out = self.run(std::slice::from_mut(&mut case))?.pop();
        let Some((Some(host), ours)) = out else { return Ok(vec![]) };
        Ok(compare(&case, Silicon::host(), &host, &ours))
    }

    /// The smallest case like this one that shows a difference, with its outcomes.
    pub fn shrink(&mut self, d: &Difference) -> Result<Difference> {
        let pair = RefCell::new(self);
        let fails =
            |c: &Case| pair.borrow_mut().differences(c).is_ok_and(|lines| !lines.is_empty());
        let mut case = shrink(&d.case, fails);
        let out = pair.into_inner().run(std::slice::from_mut(&mut case))?.pop();
        let Some((Some(host), ours)) = out else { bail!("the host child died of {case}") };
        Ok(Difference { case, host, ours })
    }
}

/// Flips a bit of the first register that the instruction has written, or else the carry flag.
fn spoil(case: &Case, o: &mut Outcome) {
    if !matches!(o.event.vector, 1 | 3) {
        return;
    }
    let (was, now) = (&case.state.regs, &mut o.state.regs);
    match (0..16).find(|n| was[*n] != now[*n]) {
        Some(n) => now[n] ^= 4,
        None => o.state.flags ^= 1,
    }
}

/// Differences that are kept of a form.
const KEPT: u64 = 4;
/// Cases in a batch of the plan.
const BATCH: u64 = 256;

impl Plan {
    /// All forms in all modes; no cases yet.
    pub fn everything() -> Plan {
        let all = |m| generate::forms(m).into_iter().map(move |c| (m, c));
        Plan { forms: Mode::ALL.into_iter().flat_map(all).collect(), ..Plan::default() }
    }

    /// The cases of batch `n`.
    pub fn batch(&self, n: u64) -> Vec<Case> {
        let r = &mut Random(self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ n << 20);
        r.draw();
        let page = 1 + (r.draw() >> 40);
        let first = n * BATCH;
        (first..(first + BATCH).min(self.cases))
            .filter_map(|k| {
                let (mode, code) = self.forms[k as usize % self.forms.len()];
                if self.wild != 0 && r.one_in(self.wild) {
                    return Some(wild::case(mode, page, r));
                }
                generate::case(mode, code, page, r)
            })
            .filter(|case| !generate::endless(case))
            .collect()
    }

    /// Runs all; `progress` hears of the cases done, and of the forms seen so far.
    pub fn run(&self, progress: impl Fn(u64, &Report) + Sync) -> Result<Report> {
        let report = Mutex::new(Report::default());
        let batches = self.cases.div_ceil(BATCH);
        (0..batches).into_par_iter().try_for_each_init(
            || Pair::new(self.broken.clone()),
            |pair, n| {
                let pair = pair.as_mut().map_err(|e| anyhow::anyhow!("{e:#}"))?;
                let mut cases = self.batch(n);
                let outcomes = pair.run(&mut cases)?;
                let mut report = report.lock().unwrap_or_else(|e| e.into_inner());
                for (case, (host, ours)) in cases.into_iter().zip(outcomes) {
                    report.take(case, host, ours);
                }
                progress(((n + 1) * BATCH).min(self.cases) - n * BATCH, &report);
                anyhow::Ok(())
            },
        )?;
        Ok(report.into_inner().unwrap_or_else(|e| e.into_inner()))
    }
}

impl Report {
    fn take(&mut self, case: Case, host: Option<Outcome>, ours: Outcome) {
        let form = (case.mode, case.instruction().code());
        let Some(host) = host else { return self.deaths.push(case) };
        self.run += 1;
        *self.forms.entry(form).or_default() += 1;
        if compare(&case, Silicon::host(), &host, &ours).is_empty() {
            return;
        }
        let n = self.failed.entry(form).or_default();
        *n += 1;
        if *n <= KEPT {
            self.differences.push(Difference { case, host, ours });
        }
    }
}
