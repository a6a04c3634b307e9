//! The choice of the vCPU that runs next: processor time goes by domain, with the weights and caps
//! of Xen's credit scheduler.
//!
//! Each domain has a virtual time, which advances by the time that its vCPUs use, the slower the
//! more weight it has. Who is furthest behind runs next, for a slice; a domain that comes back from
//! a sleep begins where the others are, so that it is served soon and has saved nothing up. What is
//! counted is the time used, by the time-stamp counter, whenever another is chosen: no sleep and no
//! yield leaves it out. Within a domain the vCPUs take turns.
//!
//! Timers fire for the domain that runs, and for all whenever another is chosen: before that they
//! could change nothing, and nobody's timers cost a neighbour its time.

use super::Xen;
use super::domain::{Domain, MAX_VCPUS};
use super::host_services::{DomId, HostServices};

/// The time that a vCPU may run while others wait, in milliseconds.
pub const SLICE_MS: u64 = 5;
/// The period over which a cap holds, in milliseconds.
const PERIOD_MS: u64 = 30;
/// Fractional bits of virtual time.
const FRACTION: u32 = 20;

/// A domain's share of the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The domain's part relative to others' weights, from 1.
    pub weight: u16,
    /// The most it gets, in percent of a processor; 0 is no limit.
    pub cap: u16,
}

impl Default for Share {
    fn default() -> Self {
        Self { weight: 256, cap: 0 }
    }
}

/// The use that a domain has made of the processor.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// The share that the domain is to have.
    pub share: Share,
    /// Ticks used, divided by the weight.
    virtual_time: u128,
    /// The domain could have run when a vCPU was last chosen.
    waited: bool,
    /// Ticks used of what the cap allows, those of earlier periods taken off.
    spent: u64,
    /// The number of the period that `spent` belongs to.
    period: u64,
    /// The vCPU that ran last.
    last: u32,
}

impl Account {
    /// The account of a domain that has not run.
    pub fn new(share: Share) -> Self {
        Self { share, ..Self::default() }
    }

    fn charge(&mut self, ticks: u64) {
        let weighted = u128::from(ticks) << FRACTION;
        self.virtual_time += weighted / u128::from(self.share.weight.max(1));
        self.spent = self.spent.saturating_add(ticks);
    }

    /// The ticks that the cap allows from `now` on, or the time from which it allows some again.
    /// `length` is that of a period.
    fn allowance(&mut self, now: u64, length: u64) -> Result<u64, u64> {
        let cap = u64::from(self.share.cap);
        if cap == 0 || cap >= 100 {
            self.spent = 0;
            return Ok(u64::MAX);
        }
        let budget = (length * cap / 100).max(1);
        let period = now / length;
        let gone = budget.saturating_mul(period.saturating_sub(self.period));
        self.spent = self.spent.saturating_sub(gone);
        self.period = period;
        match budget.checked_sub(self.spent) {
            Some(left) if left > 0 => Ok(left),
            _ => Err((period + self.spent / budget).saturating_mul(length)),
        }
    }
}

/// The state of the scheduler beside the domains' accounts.
#[derive(Debug, Clone)]
pub struct Scheduler {
    /// Ticks in a millisecond.
    tsc_khz: u64,
    /// The vCPU that runs.
    running: Option<(DomId, u32)>,
    /// Its time is charged up to here.
    since: u64,
    /// The end of its slice.
    slice_end: u64,
    /// The virtual time of the domain chosen last, from which one that comes back begins.
    floor: u128,
    /// The domain chosen last, for turns among equals.
    last: DomId,
    /// The time from which a cap lets a domain run that waits for nothing else.
    resume: Option<u64>,
}

impl Scheduler {
    /// A scheduler of nobody, by a counter of `tsc_khz` ticks in a millisecond.
    pub fn new(tsc_khz: u64) -> Self {
        Self {
            tsc_khz,
            running: None,
            since: 0,
            slice_end: u64::MAX,
            floor: 0,
            last: DomId::XEN,
            resume: None,
        }
    }

    /// The account of a domain that begins while others wait: as one that has just had a slice, or
    /// who creates domains again and again would keep those others waiting.
    pub fn newcomer(&self, share: Share) -> Account {
        let mut account = Account::new(share);
        account.charge(SLICE_MS * self.tsc_khz);
        account.virtual_time += self.floor;
        Account { spent: 0, ..account }
    }

    /// The time at which the vCPU that runs has had its slice.
    pub fn slice_end(&self) -> u64 {
        self.slice_end
    }

    /// The time from which a cap lets a domain run, if nothing but a cap keeps it from running.
    pub fn resume(&self) -> Option<u64> {
        self.resume
    }

    /// Ends the slice of the vCPU that runs.
    pub fn end_slice(&mut self) {
        self.slice_end = 0;
    }
}

const _: () = assert!(MAX_VCPUS <= u32::BITS, "a word holds a bit for each vCPU");

impl Domain {
    /// The vCPUs that could run now, a bit each.
    fn ready(&self) -> u32 {
        if !self.alive() || self.pause_count != 0 {
            return 0;
        }
        let ready = self.vcpus.iter().filter(|vcpu| vcpu.ready());
        ready.fold(0, |bits, vcpu| bits | 1 << vcpu.id)
    }
}

impl Xen {
    /// The vCPU to run at `now`: the one that runs while its slice lasts and it can, else that of
    /// the domain that is furthest behind, after all timers that are due. None if nobody can run.
    pub fn schedule(&mut self, host: &mut dyn HostServices, now: u64) -> Option<(DomId, u32)> {
        let scheduler = &self.scheduler;
        if let Some((dom, vcpu)) = scheduler.running
            && now < scheduler.slice_end
            && self.runnable(dom, vcpu)
        {
            return scheduler.running;
        }
        self.charge(now);
        self.tick(host, now);
        self.scheduler.running = self.choose(now);
        self.scheduler.running
    }

    /// True once the slice of the vCPU that runs is over: what may take long looks here after each
    /// step, and goes on later.
    pub fn slice_ended(&self, host: &dyn HostServices) -> bool {
        host.tsc() >= self.scheduler.slice_end
    }

    /// Charges the domain that runs with its time up to `now`.
    fn charge(&mut self, now: u64) {
        let used = now.saturating_sub(self.scheduler.since);
        self.scheduler.since = now;
        if let Some((dom, _)) = self.scheduler.running
            && let Ok(domain) = self.domain_mut(dom)
        {
            domain.account.charge(used);
        }
    }

    fn choose(&mut self, now: u64) -> Option<(DomId, u32)> {
        let Self { scheduler, domains, .. } = self;
        let [slice, period] = [SLICE_MS, PERIOD_MS].map(|ms| ms * scheduler.tsc_khz);
        scheduler.resume = None;
        let mut best: Option<(u128, bool, DomId, u64)> = None;
        for (&dom, domain) in domains.iter_mut() {
            let ready = domain.ready() != 0;
            let account = &mut domain.account;
            let allowance = account.allowance(now, period);
            let waits = ready && allowance.is_ok();
            if waits && !account.waited {
                // A moment before those that are level with it: it is served next.
                let start = scheduler.floor.saturating_sub(1);
                account.virtual_time = account.virtual_time.max(start);
            }
            account.waited = waits;
            match allowance {
                // Equals take turns: those after the last one come first.
                Ok(left) if ready => {
                    let row = (account.virtual_time, dom <= scheduler.last, dom, left);
                    best = Some(best.map_or(row, |best| best.min(row)));
                }
                Err(at) if ready => {
                    scheduler.resume = Some(scheduler.resume.map_or(at, |first| first.min(at)));
                }
                _ => {}
            }
        }
        let (virtual_time, _, dom, left) = best?;
        scheduler.floor = scheduler.floor.max(virtual_time);
        scheduler.last = dom;
        scheduler.slice_end = now.saturating_add(slice.min(left));
        let domain = domains.get_mut(&dom)?;
        let vcpu = after(domain.ready(), domain.account.last)?;
        domain.account.last = vcpu;
        Some((dom, vcpu))
    }
}

/// The first set bit above `last`, or else the first of all.
fn after(bits: u32, last: u32) -> Option<u32> {
    let above = u64::from(bits) >> (last + 1) << (last + 1);
    let bits = if above != 0 { above } else { bits.into() };
    (bits != 0).then(|| bits.trailing_zeros())
}
