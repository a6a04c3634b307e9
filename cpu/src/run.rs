//! The outer loop: finds blocks, runs them for an exact number of instructions, turns what stops them
//! into events.
#![expect(unsafe_code, reason = "enters blocks, lends the environment to handlers")]

use crate::block::{BlockLimit, CodeCache, Key, Start};
use crate::bus::Bus;
use crate::decode::{self, DecodeError, Source};
use crate::feature_filter::FeatureFilter;
use crate::fpu::host;
use crate::isa::branch::{TAG_ADDRESS, jump_index};
use crate::limits::{MAX_BLOCK, MAX_LEN};
use crate::op::Op;
use crate::processor::{DEADLINE_ENTRIES, DeadlineEntry, JumpEntry};
use crate::state::{Activity, flags, seg};
use crate::trap::Trap;
use crate::{Cpu, dispatch};
use mmu::{HostPhys, Linear, Mmu};
use std::sync::atomic::Ordering;

/// The frame that all code outside RAM is taken to be in: it reads the same everywhere.
const OUTSIDE: u64 = mmu::ram::LOW_MAX >> 12;

/// The most instructions that run before the outer loop looks whether the host asks for a pause: less than
/// 0.1 s of the host's time, whatever they do. What one instruction may cost above some microseconds is
/// charged to [`Credit`](crate::processor::Credit), or leaves.
const LOOK: u64 = 1 << 15;

/// Why [`Cpu::run`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The instruction count asked for is reached.
    Budget,
    /// The bus has been used: lines may have changed.
    Io,
    /// HLT, wait-for-SIPI or an instruction that takes its time: nothing to do before an event or
    /// [`Cpu::wakes_at`].
    Idle,
    /// Shutdown by a triple fault outside VMX.
    TripleFault,
    /// The host has asked for it ([`Cpu::pause_by`]), or has many lines of the trace to take.
    Paused,
    /// A breakpoint of the host's is met ([`Cpu::break_at`]), or a step done.
    Debugger,
}

impl Cpu {
    /// Runs until the retired-instruction count `until`, from `now`, or until something stops it. All
    /// borrows end with the call.
    pub fn run<'a>(
        &mut self,
        mmu: &'a mut Mmu,
        code: &'a mut CodeCache,
        bus: &'a mut (dyn Bus + 'a),
        now: u64,
        until: u64,
    ) -> Stop {
        let bus: *mut (dyn Bus + 'a) = bus;
        // SAFETY: only the lifetime changes, and the pointer is gone again when this function returns.
        let bus: *mut (dyn Bus + 'static) = unsafe { std::mem::transmute(bus) };
        self.env.borrow(mmu, code, bus);
        self.set_now(now);
        self.env.until = until;
        self.env.turn_end = self.env.turn_end.max(until);
        self.update_paging();
        self.watch_apic_registers();
        self.watch_apic_page();
        let step_by_step = self.halts.active || self.trace.items.exec;
        self.env.attended = step_by_step || self.trace.items.transitions || self.trace.items.vmexit;
        let callers = host::mxcsr();
        host::set_mxcsr(host::MXCSR);
        let stop =
            if step_by_step { self.outer::<true>(until) } else { self.outer::<false>(until) };
        host::set_mxcsr(callers);
        self.env.turn_end = 0;
        self.env.release();
        stop
    }

    /// Lets the turn of this processor go up to `end`, which may be later than where the next run ends.
    pub fn take_turn(&mut self, end: u64) {
        self.env.turn_end = end;
    }

    fn set_now(&mut self, now: u64) {
        self.env.budget_zero_at = now;
        self.env.budget_at_op = 0;
    }

    /// The time at which idling ends by itself: by a timer of the processor's own, or as an instruction
    /// is done.
    pub fn wakes_at(&self) -> u64 {
        if self.stalled() {
            self.state.sys.stalled_until
        } else if self.state.sys.activity == Activity::WaitSipi {
            u64::MAX
        } else {
            self.next_timer()
        }
    }

    /// Whether an event waits that ends idling.
    pub fn wakeable(&self) -> bool {
        !self.stalled() && self.event_pending()
    }

    /// Whether the last instruction takes its time still.
    fn stalled(&self) -> bool {
        self.state.sys.stalled_until > self.now()
    }

    /// Whether the last instruction takes its time still; if not, that is over.
    fn still_stalled(&mut self) -> bool {
        let stalled = self.stalled();
        if !stalled {
            self.state.sys.stalled_until = 0;
        }
        stalled
    }

    /// Whether other processors run by turns with this one.
    pub(crate) fn bus_is_shared(&self) -> bool {
        // SAFETY: lent for the run.
        self.env.bus.is_some_and(|bus| unsafe { (*bus).shared() })
    }

    /// Lets the instruction that has just run take [`Env::stall`](crate::processor::Env) more, which
    /// nothing interrupts. The time passes at once where nothing can happen meanwhile: no timer of this
    /// processor's, no other one's turn. An instruction that has failed takes no time.
    #[cold]
    pub(crate) fn take_time(&mut self, failed: bool) {
        let time = std::mem::take(&mut self.env.stall);
        let yields = std::mem::take(&mut self.env.yields) && self.bus_is_shared();
        if failed && !matches!(self.env.trap, Some(Trap::Again)) {
            return;
        }
        // Not the run's end: how runs are cut makes no difference.
        let (timer, then) = (self.next_timer(), self.now().saturating_add(1 + time));
        if !yields && then < self.env.turn_end.min(timer) {
            // The block was chosen to end before the run does.
            self.env.leave |= then.saturating_add(MAX_BLOCK as u64) >= self.env.until.min(timer);
            self.env.budget -= time as i64;
            self.env.budget_at_op -= time as i64;
            self.env.stalled += time;
            self.count_idle(time);
        } else {
            self.state.sys.stalled_until = then;
            self.env.leave = true;
        }
    }

    /// Time that has passed within runs without an instruction, since the last call.
    pub fn take_stalled(&mut self) -> u64 {
        std::mem::take(&mut self.env.stalled)
    }

    /// Makes this an application processor that waits for its start-up IPI.
    pub fn wait_for_sipi(&mut self) {
        self.state.sys.activity = Activity::WaitSipi;
    }

    /// `ATTENDED`: somebody debugs, or each instruction is traced; nothing of that is looked at otherwise.
    fn outer<const ATTENDED: bool>(&mut self, asked: u64) -> Stop {
        loop {
            self.env.io = false;
            // Accesses on the way to a handler take no time.
            self.env.stall = 0;
            // What waits at the last boundary is for the next run: a boundary is looked at once, wherever
            // runs are cut.
            let (until, mut now) = (self.env.until, self.now());
            if now >= until {
                return if until < asked { Stop::Paused } else { Stop::Budget };
            }
            // Here a run may end anyway, so that it leaves no trace that it does.
            if self.pause.load(Ordering::Relaxed) {
                return Stop::Paused;
            }
            if self.state.sys.stalled_until != 0 && self.still_stalled() {
                return Stop::Idle;
            }
            let served = ATTENDED && std::mem::take(&mut self.halts.served);
            let event_may_be_pending = served || self.event_may_be_pending();
            let mut another_event_pending = served && self.event_pending();
            if event_may_be_pending {
                if !served && self.event_pending() {
                    if ATTENDED {
                        self.begin_step();
                    }
                    self.serve();
                    let halts = ATTENDED && self.end_step();
                    if self.env.io {
                        return Stop::Io;
                    }
                    if halts {
                        self.halts.served = true;
                        return Stop::Debugger;
                    }
                    // Another event waits for the next boundary, wherever runs are cut.
                    another_event_pending = self.event_pending();
                    now = self.now();
                }
                let activity = self.state.sys.activity;
                match activity {
                    Activity::Active => {}
                    Activity::Shutdown if !self.state.vmx.guest => return Stop::TripleFault,
                    _ if activity == Activity::Hlt && self.timer_due() => continue,
                    _ => return Stop::Idle,
                }
            }
            let until = until.min(self.next_timer());
            if now >= until {
                if self.timer_due() {
                    continue;
                }
                return Stop::Budget;
            }
            if ATTENDED {
                self.begin_step();
            }
            self.slice::<ATTENDED>(now, until, event_may_be_pending, another_event_pending);
            let halts = ATTENDED && self.end_step();
            if self.env.io {
                return Stop::Io;
            }
            if halts {
                return Stop::Debugger;
            }
        }
    }

    /// Takes an event, and the trap that a task switch on the way to its handler may have left, which comes before the
    /// handler's first instruction.
    #[inline(always)]
    fn serve(&mut self) {
        self.service_events();
        if self.state.sys.pending_debug != 0 && !self.env.io {
            self.service_events();
        }
    }

    /// Runs blocks from `now` until something stops them, at the latest at `until`; `event_may_be_pending` as of
    /// before; `alone`: one instruction; `ATTENDED` as of [`Cpu::outer`].
    #[inline(always)]
    fn slice<const ATTENDED: bool>(
        &mut self,
        now: u64,
        until: u64,
        event_may_be_pending: bool,
        alone: bool,
    ) {
        if event_may_be_pending && let Some(e) = self.state.sys.task_fault.take() {
            return self.handle(Trap::Fault(e));
        }
        if event_may_be_pending && self.virtual_interrupt_due() {
            return self.handle(Trap::GP0);
        }
        if ATTENDED && self.breaks_at(self.linear_rip()) {
            return;
        }
        self.env.leave = false;
        let remaining = until - now;
        let longest = self.code().max_block as u64 + 1;
        let stepping = event_may_be_pending && self.stepping();
        let near_limit = self.near_limit();
        let attended = ATTENDED && (self.trace.items.exec || self.halts.step);
        let single = stepping || alone || near_limit || attended;
        let op = match self.enter(if single { 0 } else { remaining }) {
            Ok(op) => op,
            Err(trap) => return self.handle(trap),
        };
        if near_limit && self.passes_limit(op) {
            return self.handle(Trap::GP0);
        }
        // What runs alone leaves behind the instruction, not before.
        self.env.leave &= !single;
        self.before_step(stepping);
        let next = if stepping { self.state.rip.wrapping_add(length(op)) } else { 0 };
        let guest = self.state.vmx.guest;
        // What follows on the first block may be any other.
        let budget = if single { 0 } else { remaining.saturating_sub(longest).min(LOOK) };
        self.env.budget_zero_at = now.wrapping_add(budget);
        self.env.budget = budget as i64;
        self.clear_host_exceptions();
        // SAFETY: `op` starts a live block; the environment is set.
        unsafe { dispatch::run(op, self) };
        self.collect_host_exceptions();
        self.env.budget_at_op = self.env.budget;
        self.env.stall = 0;
        // DEPARTURE: a branch to the instruction behind it is none to BTF.
        let branched = stepping && self.state.rip != next;
        self.after_dispatch::<ATTENDED>(stepping.then_some((guest, branched)))
    }

    /// Blocks have run; with `alone` one instruction, which began in a guest or not, and branched or not.
    fn after_dispatch<const ATTENDED: bool>(&mut self, alone: Option<(bool, bool)>) {
        match self.env.trap.take() {
            Some(Trap::Again) => {
                self.env.budget_at_op -= 1;
                // What interrupts a REP finds RF set. SDM vol. 3, "Instruction-Breakpoint Exception
                // Condition".
                self.state.flags.system |= flags::RF;
                if let Some((guest, _)) = alone {
                    self.after_step(guest, false);
                }
            }
            Some(trap) => {
                // The instructions before this one are steps of their own.
                if ATTENDED {
                    self.restart_step();
                }
                self.handle(trap);
            }
            None => {
                if let Some((guest, branched)) = alone {
                    self.after_step(guest, branched);
                }
            }
        }
    }

    /// Whether a block from here might run over the limit of CS.
    fn near_limit(&self) -> bool {
        let longest = (MAX_BLOCK * MAX_LEN) as u64;
        !self.caches.mode.flat()
            && self.state.rip.saturating_add(longest) > self.state.sys.seg[seg::CS].limit as u64
    }

    /// Whether the single instruction that `op` begins ends beyond the limit of CS.
    fn passes_limit(&self, op: *const Op) -> bool {
        let last = self.state.rip + length(op).max(1) - 1;
        last > u64::from(self.state.sys.seg[seg::CS].limit)
    }

    fn handle(&mut self, trap: Trap) {
        match trap {
            Trap::Again => self.env.budget_at_op -= 1,
            // A fault counts as an instruction, so that time passes for a guest that only faults.
            Trap::Fault(e) => {
                self.env.budget_at_op -= 1;
                self.raise(e);
            }
            Trap::Unimplemented => self.unimplemented(),
            Trap::VmExit => self.vm_exit(),
        }
    }

    /// The block at CS:RIP, with the page registers set for it: a whole one if it retires at most
    /// `room` instructions, or else a part of it that does; a single instruction for 0.
    #[inline(always)]
    fn enter(&mut self, room: u64) -> Result<*const Op, Trap> {
        self.sync_caches();
        // What the jump cache has is canonical.
        let la = if self.is_64() { self.state.rip } else { self.rip_linear()? };
        self.state.bases.page = la & !0xfff;
        self.caches.link_tag = (la & TAG_ADDRESS) | self.caches.space_tag;
        if room <= MAX_BLOCK as u64 {
            return self.enter_near_deadline(la, room);
        }
        let e = self.caches.jump_cache[jump_index(la, self.caches.space_tag)];
        if e.to == la && e.space_tag == self.caches.space_tag {
            return Ok(e.op);
        }
        self.enter_anew(la)
    }

    /// As `enter`, where the jump cache has nothing for `la`.
    #[inline(never)]
    fn enter_anew(&mut self, la: u64) -> Result<*const Op, Trap> {
        self.checked_rip(self.state.rip)?;
        let key = self.key_at(la)?;
        let op = self.block(key, self.state.bases.page)?.op;
        self.note_jump_entry(la, op);
        Ok(op)
    }

    /// As `enter`, where not every block may be run whole.
    #[inline(never)]
    fn enter_near_deadline(&mut self, la: u64, room: u64) -> Result<*const Op, Trap> {
        self.checked_rip(self.state.rip)?;
        let most = BlockLimit::within(room);
        let whole = self.deadline_entry(la, BlockLimit::ANY);
        if let Some(start) = whole
            && start.count <= room
        {
            return Ok(start.op);
        }
        if let Some(start) = self.deadline_entry(la, most)
            && !self.trace.items.exec
        {
            return Ok(start.op);
        }
        let key = self.key_at(la)?;
        // A block is not decoded only to see that it is too long.
        if room > 0
            && whole.is_none()
            && let Some(start) = self.code().find(key)
        {
            self.note_deadline_entry(la, BlockLimit::ANY, start);
            if start.count <= room {
                return Ok(start.op);
            }
        }
        let key = Key { limit: most, ..key };
        let start = self.block(key, self.state.bases.page)?;
        if self.trace.items.exec {
            self.trace_instruction(key);
        }
        self.note_deadline_entry(la, most, start);
        Ok(start.op)
    }

    /// Where the edge of a block at `la` is kept.
    fn deadline_index(la: u64, most: BlockLimit) -> usize {
        (la ^ la >> 12 ^ u64::from(most.index()) << 6) as usize % DEADLINE_ENTRIES
    }

    fn deadline_entry(&self, la: u64, most: BlockLimit) -> Option<Start> {
        let e = &self.caches.deadline_cache[Self::deadline_index(la, most)];
        (e.la == la && e.space_tag == self.caches.space_tag && e.limit == most).then_some(e.start)
    }

    fn note_deadline_entry(&mut self, la: u64, most: BlockLimit, start: Start) {
        let edge = DeadlineEntry { la, space_tag: self.caches.space_tag, limit: most, start };
        self.caches.deadline_cache[Self::deadline_index(la, most)] = edge;
    }

    /// Flushes an overgrown code cache; forgets jump_cache into dropped blocks.
    fn sync_caches(&mut self) {
        if self.code().full() || self.mmu().generation_wrapped() {
            // SAFETY: as `Cpu::mmu`: two distinct objects.
            let (code, mmu) = unsafe { (&mut *self.env.code, &mut *self.env.mmu) };
            code.flush(mmu);
        }
        let epoch = self.code().epoch();
        if epoch != self.caches.code_epoch {
            self.caches.code_epoch = epoch;
            self.caches.jump_cache.fill(JumpEntry::NONE);
            self.caches.deadline_cache.fill(DeadlineEntry::NONE);
        }
    }

    /// The linear address of CS:RIP. #GP(0) outside the limit of CS or if not canonical.
    #[inline(never)]
    fn rip_linear(&self) -> Result<u64, Trap> {
        self.checked_rip(self.state.rip)?;
        Ok(self.linear_rip())
    }

    /// `rip`, if code may be there. #GP(0) outside the limit of CS or if not canonical.
    pub(crate) fn checked_rip(&self, rip: u64) -> Result<u64, Trap> {
        let ok = if self.is_64() {
            self.canonical(rip)
        } else {
            rip <= self.state.sys.seg[seg::CS].limit as u64
        };
        if ok { Ok(rip) } else { Err(Trap::GP0) }
    }

    /// The key of the block at linear address `la`.
    pub(crate) fn key_at(&mut self, la: u64) -> Result<Key, Trap> {
        let (regime, bank, user) = (self.caches.regime, self.caches.bank, self.state.sys.cpl == 3);
        let p = self.mmu().fetch(&regime, bank, user, Linear(la));
        self.drop_flagged_code();
        let p = p.map_err(|f| self.translation_trap(f, la, true))?;
        let frame = if self.mmu().ram.is_code(p) { p.0 >> 12 } else { OUTSIDE };
        Ok(Key {
            frame,
            page_offset: (la & 0xfff) as u16,
            mode: self.caches.mode,
            limit: BlockLimit::ANY,
        })
    }

    /// The block with `key`, decoded if need be; `page` is the linear address of its page.
    pub(crate) fn block(&mut self, key: Key, page: u64) -> Result<Start, Trap> {
        match self.code().find(key) {
            Some(start) => Ok(start),
            None => self.decode_block(key, page),
        }
    }

    #[cold]
    fn decode_block(&mut self, key: Key, page: u64) -> Result<Start, Trap> {
        // It costs thousands of instructions, and the cache may be full then.
        self.env.leave = true;
        // As many bytes as the longest block has, and some to tell an instruction that is too long.
        let mut bytes = [0xff; (MAX_BLOCK + 1) * MAX_LEN];
        let len = bytes.len().min(4096 - key.page_offset as usize);
        let rest = &mut bytes[..len];
        // Code outside RAM reads as all-ones, which is no instruction.
        // DEPARTURE: no instruction fetch from devices.
        if !self.mmu().ram.read_code(HostPhys(key.frame << 12 | key.page_offset as u64), rest) {
            rest.fill(0xff);
        }
        let (max, fuse) = (self.code().max_block, self.code().fuse);
        // SAFETY: as `sync_caches`.
        let breaks: &[u16] = unsafe { &(*self.env.code).breaks };
        // SAFETY: as `sync_caches`.
        let filter = unsafe { &mut (*self.env.code).filter };
        if !filter.is_of(&self.state.model) {
            *filter = FeatureFilter::new(&self.state.model);
        }
        let first =
            decode::decode(key, &Source { page: rest, next: None, filter, breaks }, max, fuse);
        let (decoded, n) = match first {
            Ok(d) => d,
            Err(DecodeError::NeedsNextPage) => {
                let next = Some(self.next_page(page)?);
                // SAFETY: as `sync_caches`.
                let filter = unsafe { &(*self.env.code).filter };
                let d =
                    decode::decode(key, &Source { page: rest, next, filter, breaks }, max, fuse);
                d.map_err(|_| Trap::UD)?
            }
        };
        // SAFETY: as `sync_caches`.
        let (code, mmu) = unsafe { (&mut *self.env.code, &mut *self.env.mmu) };
        code.stats.instructions += n as u64;
        let start = code.insert(mmu, key, decoded);
        if self.trace.items.in_asm {
            self.trace_decoded(rest, page | key.page_offset as u64, n);
        }
        Ok(start)
    }

    /// Frame and first bytes of the page after `page`.
    fn next_page(&mut self, page: u64) -> Result<(u64, [u8; MAX_LEN]), Trap> {
        let la = if self.is_64() { page.wrapping_add(4096) } else { (page + 4096) as u32 as u64 };
        if !self.is_64() {
            // Bytes beyond the limit of CS are not fetched.
            let rip = la.wrapping_sub(self.state.bases.seg[seg::CS]) as u32;
            self.checked_rip(rip.into())?;
        }
        let key = self.key_at(la)?;
        let mut bytes = [0xff; MAX_LEN];
        if !self.mmu().ram.read_code(HostPhys(key.frame << 12), &mut bytes) {
            bytes.fill(0xff);
        }
        Ok((key.frame, bytes))
    }

    fn unimplemented(&mut self) {
        let name = self.describe_current();
        *self.stats.unimplemented.entry(name).or_default() += 1;
        self.handle(Trap::UD);
    }

    /// The instruction at `op`, which is a plain one, as text: its form.
    fn describe_current(&self) -> String {
        // SAFETY: only plain operations report themselves unimplemented, and they set `op`.
        let side = unsafe { &*((*self.env.op).imm as *const crate::plain::Side) };
        format!("{:?}", side.insn.code())
    }

    /// Takes up generations `g` (supervisor, user) of the current bank.
    pub(crate) fn set_generation(&mut self, g: [u64; 2]) {
        let g = g[(self.state.sys.cpl == 3) as usize] << 2 | self.caches.mode as u64;
        self.caches.space_tag = (g & 0xfff) | (g >> 12) << 48;
        self.caches.link_tag = (self.state.bases.page & TAG_ADDRESS) | self.caches.space_tag;
    }

    /// Whether the next instruction runs alone: single-stepping, an interrupt shadow, breakpoints.
    fn stepping(&self) -> bool {
        self.state.flags.system & (flags::TF | flags::RF) != 0
            || self.state.sys.sti_shadow
            || self.state.sys.ss_shadow
            || self.state.sys.dr7 & 0xff != 0
            || self.needs_exact_step()
    }
}

/// The length of the single instruction of a block that begins at `op`.
fn length(op: *const Op) -> u64 {
    // SAFETY: `op` starts a live block, before whose instruction a guard may stand.
    unsafe { if (*op).len == 0 { (*op.add(1)).len } else { (*op).len }.into() }
}
