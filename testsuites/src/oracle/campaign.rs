//! Many cases on all cores: batches, each with its own stream of random numbers, so that what is run
//! depends on the seed alone and not on how many threads there are.

use super::compare::compare;
use super::differences::normalize;
use super::host::Host;
use super::ours::Ours;
use super::{Case, Mode, Outcome, Random, generate, wild};
use anyhow::Result;
use iced_x86::Code;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// What to run.
pub struct Plan {
    /// Seed of everything.
    pub seed: u64,
    /// How many cases.
    pub cases: u64,
    /// The forms, by mode.
    pub forms: Vec<(Mode, Code)>,
    /// One case in so many is of random bytes; 0 is none.
    pub wild: u64,
}

/// A case with two outcomes.
pub struct Difference {
    /// The case.
    pub case: Case,
    /// What the host's processor did.
    pub host: Outcome,
    /// What ours did.
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
    pub forms: BTreeMap<(Mode, u32), u64>,
    /// Differences, of each form the first few.
    pub differences: Vec<Difference>,
    /// How many differences there were, by mode and form.
    pub failed: BTreeMap<(Mode, u32), u64>,
}

/// A processor of each kind.
pub struct Pair {
    host: Host,
    ours: Ours,
}

impl Pair {
    /// Starts a host child.
    pub fn new() -> Result<Pair> {
        Ok(Pair { host: Host::new()?, ours: Ours::default() })
    }

    /// Runs cases with the same page on both.
    pub fn run(&mut self, cases: &[Case]) -> Result<Vec<(Option<Outcome>, Outcome)>> {
        let mut out = Vec::with_capacity(cases.len());
        for batch in cases.chunks(Host::BATCH) {
            self.host.submit(batch);
            let ours: Vec<_> = batch.iter().map(|c| self.ours.run(c)).collect();
            out.extend(self.host.collect(batch)?.into_iter().zip(ours));
            let from = out.len() - batch.len();
            for (case, (host, ours)) in batch.iter().zip(&mut out[from..]) {
                host.iter_mut().chain([ours]).for_each(|o| normalize(case, o));
            }
        }
        Ok(out)
    }
}

/// Differences that are kept of a form.
const KEPT: u64 = 4;
/// Cases in a batch of the plan.
const BATCH: u64 = 256;

impl Plan {
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
            .collect()
    }

    /// Runs all; `progress` hears of the cases done, and of the forms seen so far.
    pub fn run(&self, progress: impl Fn(u64, &Report) + Sync) -> Result<Report> {
        let report = Mutex::new(Report::default());
        let batches = self.cases.div_ceil(BATCH);
        (0..batches).into_par_iter().try_for_each_init(
            || Pair::new(),
            |pair, n| {
                let pair = pair.as_mut().map_err(|e| anyhow::anyhow!("{e:#}"))?;
                let cases = self.batch(n);
                let outcomes = pair.run(&cases)?;
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
        let form = (case.mode, case.instruction().code() as u32);
        let Some(host) = host else { return self.deaths.push(case) };
        self.run += 1;
        *self.forms.entry(form).or_default() += 1;
        if compare(&case, &host, &ours).is_empty() {
            return;
        }
        let n = self.failed.entry(form).or_default();
        *n += 1;
        if *n <= KEPT {
            self.differences.push(Difference { case, host, ours });
        }
    }
}
