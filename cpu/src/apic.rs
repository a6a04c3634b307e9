//! The local APIC: xAPIC registers, x2APIC MSRs, timer. SDM vol. 3, "Advanced Programmable Interrupt
//! Controller (APIC)".
//!
//! The timer counts the 25 MHz crystal of CPUID leaf 15h: one tick in [`TIMER_TICK`] instructions.

use crate::bus::{Destination, Message};
use crate::state::TSC_STEP;
use crate::state::apic::{BASE_BSP, BASE_EN, BASE_EXTD, MASKED, Vectors};
use crate::state::{Activity, Apic};
use crate::{Cpu, feature};
use mmu::{HostPhys, PageKind};

/// Instructions per tick of the APIC timer's input clock.
pub const TIMER_TICK: u64 = 40;

/// Version 15h, six LVT entries (the field has one less), EOI broadcasts may be suppressed.
pub(crate) const VERSION: u32 = 0x0105_0015;

const SVR_ENABLE: u32 = 1 << 8;
const SVR_SUPPRESS_EOI: u32 = 1 << 12;
/// Vector, enable, focus processor checking, suppression of EOI broadcasts.
const SVR_BITS: u32 = 0xff | SVR_ENABLE | 1 << 9 | SVR_SUPPRESS_EOI;
const DIVIDE_BITS: u32 = 0xb;
const LVT_TIMER: usize = 0;
const LVT_LINT0: usize = 3;
const LVT_LINT1: usize = 4;
const LVT_ERROR: usize = 5;
/// Delivery status and remote IRR.
const LVT_READ_ONLY: u32 = 1 << 12 | 1 << 14;
/// The mode of an LVT timer that counts to IA32_TSC_DEADLINE.
const LVT_TSC_DEADLINE: u64 = 1 << 18;
/// Of an LVT entry: the delivery modes NMI and ExtINT.
const NMI: u32 = 4 << 8;
const EXT_INT: u32 = 7 << 8;
/// Error status: illegal vector sent, received; illegal register.
const ESR_SEND_VECTOR: u32 = 1 << 5;
const ESR_RECEIVE_VECTOR: u32 = 1 << 6;
const ESR_REGISTER: u32 = 1 << 7;

/// Registers by their x2APIC number (xAPIC offset / 16).
pub(crate) mod reg {
    pub(super) const ID: u32 = 0x02;
    pub(super) const VERSION: u32 = 0x03;
    pub(super) const TPR: u32 = 0x08;
    pub(super) const PPR: u32 = 0x0a;
    pub(super) const EOI: u32 = 0x0b;
    pub(super) const LDR: u32 = 0x0d;
    pub(super) const DFR: u32 = 0x0e;
    pub(super) const SVR: u32 = 0x0f;
    pub(super) const ISR: u32 = 0x10;
    pub(super) const TMR: u32 = 0x18;
    pub(super) const IRR: u32 = 0x20;
    pub(super) const ESR: u32 = 0x28;
    pub(super) const ICR: u32 = 0x30;
    pub(super) const ICR_HIGH: u32 = 0x31;
    pub(super) const LVT: u32 = 0x32;
    pub(super) const INITIAL: u32 = 0x38;
    pub(crate) const CURRENT: u32 = 0x39;
    pub(super) const DIVIDE: u32 = 0x3e;
    pub(super) const SELF_IPI: u32 = 0x3f;
}

/// The highest vector of a set: of its four words of 64 bits, since most are empty.
#[inline]
fn highest(v: &Vectors) -> Option<u8> {
    let word = |i: usize| u64::from(v[2 * i + 1]) << 32 | u64::from(v[2 * i]);
    (0..4).rev().find(|&i| word(i) != 0).map(|i| (i as u32 * 64 + word(i).ilog2()) as u8)
}

fn set(v: &mut Vectors, n: u8, on: bool) {
    let (i, bit) = (n as usize / 32, 1 << (n % 32));
    v[i] = if on { v[i] | bit } else { v[i] & !bit };
}

fn has(v: &Vectors, n: u8) -> bool {
    v[n as usize / 32] & 1 << (n % 32) != 0
}

/// The bits of LVT entry `n` that are not reserved.
fn lvt_bits(n: usize) -> u32 {
    match n {
        LVT_TIMER => 0x7_10ff,
        LVT_LINT0 | LVT_LINT1 => 0x1_f7ff,
        LVT_ERROR => 0x1_10ff,
        _ => 0x1_17ff,
    }
}

/// The bits of register `r` that are not reserved. SDM vol. 3, "Local APIC Register Address Map" and the
/// registers' figures; all of them where writes have no effect anyway.
fn bits(r: u32) -> u64 {
    match r {
        reg::EOI | reg::ESR => 0,
        reg::TPR | reg::SELF_IPI => 0xff,
        reg::SVR => SVR_BITS.into(),
        // Bit 12, the delivery status of xAPIC mode, is ignored.
        reg::ICR => 0xffff_ffff_000c_dfff,
        reg::LVT..=0x37 => lvt_bits((r - reg::LVT) as usize).into(),
        reg::DIVIDE => DIVIDE_BITS.into(),
        _ => u32::MAX.into(),
    }
}

impl Apic {
    /// Whether the xAPIC registers are mapped at physical address `p`.
    pub fn claims(&self, p: u64) -> bool {
        self.base & (BASE_EN | BASE_EXTD) == BASE_EN && p & !0xfff == self.base & !0xfff
    }

    fn x2(&self) -> bool {
        self.base & BASE_EXTD != 0
    }

    /// Turns the APIC off: what it is turned on again with is the state after power-up.
    fn turn_off(&mut self) {
        self.init();
        self.xapic_id = self.id as u8;
    }

    /// Whether the APIC is enabled, globally and by software.
    pub fn enabled(&self) -> bool {
        self.base & BASE_EN != 0 && self.svr & SVR_ENABLE != 0
    }

    /// Goes to virtual wire mode: enabled by software, with the 8259 pair at LINT0 and NMI at LINT1.
    /// MultiProcessor Specification 1.4, "Virtual Wire Mode".
    pub fn virtual_wire(&mut self) {
        self.svr = SVR_ENABLE | 0xff;
        self.lvt[LVT_LINT0] = EXT_INT;
        self.lvt[LVT_LINT1] = NMI;
    }

    /// Whether INTR from the 8259 pair reaches the processor: through LINT0 in ExtINT mode, or with
    /// the APIC disabled.
    pub fn accepts_extint(&self) -> bool {
        let lint0 = self.lvt[LVT_LINT0];
        self.base & BASE_EN == 0 || lint0 & (MASKED | EXT_INT) == EXT_INT
    }

    /// Processor-priority register.
    pub fn ppr(&self) -> u8 {
        let isrv = highest(&self.isr).unwrap_or(0);
        if self.tpr >> 4 >= isrv >> 4 { self.tpr } else { isrv & 0xf0 }
    }

    /// Whether any interrupt waits.
    #[inline]
    pub(crate) fn requests(&self) -> bool {
        self.irr != [0; 8]
    }

    /// The interrupt to deliver now, if any.
    #[inline]
    pub fn interrupt(&self) -> Option<u8> {
        if !self.requests() {
            return None;
        }
        highest(&self.irr).filter(|v| v >> 4 > self.ppr() >> 4)
    }

    /// Takes the interrupt to deliver: moves it from IRR to ISR.
    pub fn acknowledge(&mut self) -> Option<u8> {
        let v = self.interrupt()?;
        set(&mut self.irr, v, false);
        set(&mut self.isr, v, true);
        Some(v)
    }

    /// Raises fixed interrupt `vector`.
    pub fn raise(&mut self, vector: u8, level: bool) {
        if vector < 16 {
            self.error(ESR_RECEIVE_VECTOR);
            return;
        }
        set(&mut self.irr, vector, true);
        set(&mut self.tmr, vector, level);
    }

    fn error(&mut self, bit: u32) {
        let new = self.esr_latched & bit == 0;
        self.esr_latched |= bit;
        let lvt = self.lvt[LVT_ERROR];
        if new && lvt & MASKED == 0 && lvt as u8 >= 16 {
            set(&mut self.irr, lvt as u8, true);
        }
    }

    /// Whether a message with this destination is for this processor.
    pub fn matches(&self, m: &Message) -> bool {
        match m.destination {
            Destination::All => true,
            Destination::Others => m.source != self.id,
            Destination::Physical(d) if self.x2() => d == self.id || d == u32::MAX,
            Destination::Physical(d) => d as u8 == self.xapic_id || d as u8 == 0xff,
            Destination::Logical(d) => self.logical(d),
        }
    }

    fn logical(&self, d: u32) -> bool {
        if self.x2() {
            let ldr = self.x2_ldr();
            return d == u32::MAX || (d >> 16 == ldr >> 16 && d & ldr & 0xffff != 0);
        }
        let (d, l) = (d & 0xff, self.ldr >> 24);
        if self.dfr >> 28 == 0xf { d & l != 0 } else { d >> 4 == l >> 4 && d & l & 0xf != 0 }
    }

    fn x2_ldr(&self) -> u32 {
        (self.id >> 4) << 16 | 1 << (self.id & 15)
    }

    /// The retired-instruction count at which the timer fires next.
    #[inline]
    pub fn deadline(&self) -> u64 {
        self.fires
    }

    /// Instructions per count of the timer.
    fn tick(&self) -> u64 {
        let code = (self.divide & 3) | (self.divide >> 1 & 4);
        TIMER_TICK << ((code + 1) & 7)
    }

    fn deadline_mode(&self) -> bool {
        self.lvt[LVT_TIMER] >> 17 & 3 == 2
    }

    fn periodic(&self) -> bool {
        self.lvt[LVT_TIMER] >> 17 & 3 == 1
    }

    /// Starts the timer from its initial count.
    fn start(&mut self, now: u64) {
        let from = if self.deadline_mode() { 0 } else { self.initial };
        self.start_from(now, from);
    }

    /// Lets the timer count down from `from`; 0 stops the timer.
    fn start_from(&mut self, now: u64, from: u32) {
        (self.started, self.from) = (now, from);
        let span = (from as u64).saturating_mul(self.tick());
        self.fires = if from != 0 { now.saturating_add(span) } else { u64::MAX };
    }

    fn current(&self, now: u64) -> u32 {
        if self.fires == u64::MAX || self.deadline_mode() {
            return 0;
        }
        let gone = (now.saturating_sub(self.started)) / self.tick();
        (self.from as u64).saturating_sub(gone) as u32
    }

    /// Fires the timer, due at `now`.
    pub fn fire(&mut self, now: u64) {
        let lvt = self.lvt[LVT_TIMER];
        if lvt & MASKED == 0 {
            self.raise(lvt as u8, false);
        }
        if self.deadline_mode() {
            self.tsc_deadline = 0;
        }
        if self.periodic() && self.initial != 0 {
            let span = self.initial as u64 * self.tick();
            (self.started, self.from) = (self.fires, self.initial);
            self.fires = self.fires.saturating_add(span).max(now + 1);
        } else {
            self.fires = u64::MAX;
        }
    }

    /// Reads a register by its x2APIC number; `None` where there is none.
    pub(crate) fn read(&mut self, r: u32, now: u64) -> Option<u64> {
        Some(match r {
            reg::ID if self.x2() => self.id as u64,
            reg::ID => (self.xapic_id as u64) << 24,
            reg::VERSION => VERSION.into(),
            reg::TPR => self.tpr as u64,
            reg::PPR => self.ppr() as u64,
            reg::LDR if self.x2() => self.x2_ldr() as u64,
            reg::LDR => self.ldr as u64,
            reg::DFR if !self.x2() => self.dfr as u64,
            reg::SVR => self.svr as u64,
            reg::ISR..=0x17 => self.isr[(r - reg::ISR) as usize] as u64,
            reg::TMR..=0x1f => self.tmr[(r - reg::TMR) as usize] as u64,
            reg::IRR..=0x27 => self.irr[(r - reg::IRR) as usize] as u64,
            reg::ESR => self.esr as u64,
            reg::ICR if self.x2() => self.icr,
            reg::ICR => self.icr as u32 as u64,
            reg::ICR_HIGH if !self.x2() => self.icr >> 32,
            reg::LVT..=0x37 => self.lvt[(r - reg::LVT) as usize] as u64,
            reg::INITIAL => self.initial as u64,
            reg::CURRENT => self.current(now) as u64,
            reg::DIVIDE => self.divide as u64,
            _ => return None,
        })
    }

    fn write_lvt(&mut self, n: usize, v: u32, now: u64) {
        let masked = if self.svr & SVR_ENABLE == 0 { MASKED } else { 0 };
        let old = std::mem::replace(&mut self.lvt[n], v & !LVT_READ_ONLY | masked);
        if n == LVT_TIMER && (old ^ v) >> 18 & 1 != 0 {
            // To and from TSC-deadline mode disarms the timer; between the others it counts on.
            (self.tsc_deadline, self.initial) = (0, 0);
            self.start(now);
        }
    }

    /// Writes the simple registers; false where there is none. Reserved bits are the caller's to clear.
    fn write(&mut self, r: u32, v: u32, now: u64) -> bool {
        match r {
            // The processors of a family differ in this; here software may change it, as on QEMU's.
            reg::ID if !self.x2() => self.xapic_id = (v >> 24) as u8,
            reg::TPR => self.tpr = v as u8,
            reg::LDR if !self.x2() => self.ldr = v & 0xff00_0000,
            reg::DFR if !self.x2() => self.dfr = v | 0x0fff_ffff,
            reg::SVR => {
                self.svr = v;
                if v & SVR_ENABLE == 0 {
                    self.lvt.iter_mut().for_each(|l| *l |= MASKED);
                }
            }
            reg::ESR => self.esr = std::mem::take(&mut self.esr_latched),
            reg::ICR_HIGH if !self.x2() => {
                self.icr = self.icr as u32 as u64 | (v as u64 & 0xff00_0000) << 32;
            }
            reg::LVT..=0x37 => self.write_lvt((r - reg::LVT) as usize, v, now),
            reg::INITIAL => {
                self.initial = v;
                self.start(now);
            }
            reg::DIVIDE => {
                // What is left to count is so at the new rate.
                let left = self.current(now);
                self.divide = v;
                if !self.deadline_mode() {
                    self.start_from(now, left);
                }
            }
            _ => return false,
        }
        true
    }
}

impl Cpu {
    /// Whether an external interrupt waits: from the 8259 pair through LINT0, or in the IRR above PPR.
    #[inline]
    pub(crate) fn interrupt_pending(&self) -> bool {
        self.state.apic.interrupt().is_some()
            || self.state.sys.intr && self.state.apic.accepts_extint()
    }

    /// Acknowledges the external interrupt that waits, if one does; its vector. The 8259 pair goes first.
    pub(crate) fn acknowledge_interrupt(&mut self) -> Option<u8> {
        if self.state.sys.intr && self.state.apic.accepts_extint() {
            self.state.sys.intr = false;
            return Some(self.bus().acknowledge());
        }
        self.state.apic.acknowledge()
    }

    /// The retired-instruction count at which the APIC timer is due; `u64::MAX` for never.
    pub(crate) fn apic_deadline(&self) -> u64 {
        self.state.apic.fires
    }

    /// Lets the APIC timer fire.
    pub(crate) fn apic_timer_due(&mut self) {
        let now = self.now();
        self.state.apic.fire(now);
    }

    /// Whether this is the bootstrap processor.
    pub(crate) fn apic_is_bsp(&self) -> bool {
        self.state.apic.base & BASE_BSP != 0
    }

    /// Resets the APIC; an INIT keeps its ID and base.
    pub(crate) fn apic_reset(&mut self, init: bool) {
        if init { self.state.apic.init() } else { self.state.apic = Apic::new(self.state.apic.id) }
    }

    pub(crate) fn apic_mmio_read(&mut self, offset: u64, _size: u8) -> u64 {
        let v = self.apic_read((offset >> 4) as u32).unwrap_or_else(|| {
            // The error may raise an interrupt.
            self.env.leave = true;
            self.state.apic.error(ESR_REGISTER);
            0
        });
        // Registers are 32 bits at multiples of 16; what lies between reads as the register shifted.
        v >> (8 * (offset & 0xf).min(7))
    }

    pub(crate) fn apic_mmio_write(&mut self, offset: u64, _size: u8, v: u64) {
        let r = (offset >> 4) as u32;
        let now = self.now();
        let v = v & self.apic_bits(r) & u64::from(u32::MAX);
        let written = offset & 0xf != 0 || self.apic_write(r, v);
        // What can only be read is no illegal register.
        if !written && self.state.apic.read(r, now).is_none() {
            self.state.apic.error(ESR_REGISTER);
        }
    }

    /// Reads APIC MSR `n`: IA32_APIC_BASE, IA32_TSC_DEADLINE or an x2APIC register. `None`: #GP(0).
    pub(crate) fn apic_msr_read(&mut self, n: u32) -> Option<u64> {
        match n {
            0x1b => Some(self.state.apic.base),
            0x6e0 if self.state.apic.deadline_mode() => Some(self.state.apic.tsc_deadline),
            0x6e0 => Some(0),
            0x800..=0x8ff if self.state.apic.x2() => self.apic_read(n - 0x800),
            _ => None,
        }
    }

    /// Writes APIC MSR `n`. `None`: #GP(0), for reserved bits, read-only and missing registers.
    pub(crate) fn apic_msr_write(&mut self, n: u32, v: u64) -> Option<()> {
        self.env.leave = true;
        match n {
            0x1b => self.write_apic_base(v),
            0x6e0 => {
                self.write_tsc_deadline(v);
                Some(())
            }
            0x800..=0x8ff if self.state.apic.x2() => self.x2apic_write(n - 0x800, v),
            _ => None,
        }
    }

    fn x2apic_write(&mut self, r: u32, v: u64) -> Option<()> {
        (v & !self.apic_bits(r) == 0 && self.apic_write(r, v)).then_some(())
    }

    /// The bits of register `r` that are not reserved on this model.
    fn apic_bits(&self, r: u32) -> u64 {
        let without = r == reg::LVT && !self.state.model.has(feature::TSC_DEADLINE);
        bits(r) & if without { !LVT_TSC_DEADLINE } else { u64::MAX }
    }

    fn write_apic_base(&mut self, v: u64) -> Option<()> {
        let x2 = if self.state.model.has(feature::X2APIC) { BASE_EXTD } else { 0 };
        let valid = ((1u64 << self.state.model.maxphys) - 1) & !0xfff | BASE_BSP | BASE_EN | x2;
        let (old, mode) = (self.state.apic.base, v & (BASE_EN | BASE_EXTD));
        let from_x2 = old & BASE_EXTD != 0 && mode == BASE_EN;
        let from_off = old & BASE_EN == 0 && mode == BASE_EN | BASE_EXTD;
        if v & !valid != 0 || mode == BASE_EXTD || from_x2 || from_off {
            return None;
        }
        self.state.apic.base = v & !BASE_BSP | old & BASE_BSP;
        if mode == 0 && old & BASE_EN != 0 {
            self.state.apic.turn_off();
        }
        self.watch_apic_registers();
        Some(())
    }

    /// Sends accesses to the registers here where they lie over RAM.
    ///
    /// DEPARTURE: code is fetched from the RAM.
    pub(crate) fn watch_apic_registers(&mut self) {
        let page = self.state.apic.base & !0xfff;
        if self.state.apic.claims(page) {
            self.watch_page(HostPhys(page));
        }
    }

    /// Sends accesses to a page to [`Cpu::special_load`] and [`Cpu::special_store`], if it is RAM.
    pub(crate) fn watch_page(&mut self, page: HostPhys) {
        if self.mmu().ram.is_ram(page) && !self.mmu().kinds(page).slow_path {
            self.mmu().set_kind(page, PageKind::SlowPath, true);
            self.refresh_generation();
        }
    }

    fn write_tsc_deadline(&mut self, v: u64) {
        if !self.state.apic.deadline_mode() {
            return;
        }
        self.state.apic.tsc_deadline = v;
        let ahead = v.saturating_sub(self.tsc());
        let fires = self.now().saturating_add(ahead.div_ceil(TSC_STEP));
        self.state.apic.fires = if v == 0 { u64::MAX } else { fires };
    }

    /// Recomputes the deadline after a write to the TSC.
    pub(crate) fn tsc_changed(&mut self) {
        self.write_tsc_deadline(self.state.apic.tsc_deadline);
    }

    /// Writes register `r`; false where there is none.
    fn apic_write(&mut self, r: u32, v: u64) -> bool {
        let now = self.now();
        match r {
            reg::EOI => self.end_of_interrupt(),
            reg::SELF_IPI if self.state.apic.x2() => self.self_ipi(v as u8),
            reg::ICR if self.state.apic.x2() => self.send_ipi(v),
            reg::ICR => self.send_ipi(self.state.apic.icr >> 32 << 32 | v as u32 as u64),
            _ => return self.state.apic.write(r, v as u32, now),
        }
        true
    }

    fn end_of_interrupt(&mut self) {
        let Some(v) = highest(&self.state.apic.isr) else { return };
        set(&mut self.state.apic.isr, v, false);
        if has(&self.state.apic.tmr, v) && self.state.apic.svr & SVR_SUPPRESS_EOI == 0 {
            self.bus().end_of_interrupt(v);
        }
    }

    fn self_ipi(&mut self, vector: u8) {
        if vector < 16 {
            self.state.apic.error(ESR_SEND_VECTOR);
        }
        self.state.apic.raise(vector, false);
    }

    fn send_ipi(&mut self, icr: u64) {
        let x2 = self.state.apic.x2();
        self.state.apic.icr = icr & !(1 << 12);
        let (vector, delivery) = (icr as u8, (icr >> 8 & 7) as u8);
        if vector < 16 && delivery <= 1 {
            return self.state.apic.error(ESR_SEND_VECTOR);
        }
        // INIT level de-assert is a no-op on all but the oldest processors.
        if delivery == 5 && icr & 0xc000 == 0x8000 {
            return;
        }
        let id = (icr >> 32) as u32;
        let id = if x2 { id } else { id >> 24 };
        let destination = match icr >> 18 & 3 {
            1 => return self.state.apic.raise(vector, false),
            2 => Destination::All,
            3 => Destination::Others,
            _ if icr & 1 << 11 != 0 => Destination::Logical(id),
            _ => Destination::Physical(id),
        };
        let source = self.state.apic.id;
        self.bus().message(Message { destination, delivery, vector, level: false, source });
    }

    /// Takes a message that [`Apic::matches`]. Lowest-priority delivery is the sender's choice of one.
    pub fn receive(&mut self, m: &Message) {
        match m.delivery {
            0 | 1 if self.state.apic.enabled() => self.state.apic.raise(m.vector, m.level),
            2 => self.state.sys.smm.pending = true,
            4 => self.latch_nmi(),
            5 => {
                self.state.sys.init_pending = true;
                self.state.sys.sipi_pending = None;
            }
            // An INIT that has come before, and is still to be taken, leads to waiting for this.
            6 if self.state.sys.activity == Activity::WaitSipi
                || self.state.sys.init_pending
                    && !self.state.vmx.on
                    && !self.state.sys.smm.active
                || self.state.vmx.guest =>
            {
                self.state.sys.sipi_pending = Some(m.vector);
            }
            7 => self.state.sys.intr = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIODIC: u32 = 1 << 17;
    const DEADLINE: u32 = 1 << 18;

    /// Writes a register at a time, and looks: current count, instant of the next interrupt.
    #[track_caller]
    fn check(a: &mut Apic, now: u64, write: (u32, u32), then: (u32, u64)) {
        assert!(a.write(write.0, write.1, now));
        assert_eq!((a.current(now), a.fires), then, "at {now}");
    }

    #[test]
    fn changes_while_the_timer_runs() {
        let mut a = Apic::new(0);
        a.svr |= SVR_ENABLE;
        check(&mut a, 0, (reg::DIVIDE, 0xb), (0, u64::MAX));
        check(&mut a, 0, (reg::INITIAL, 100), (100, 4000));
        // One-shot to periodic and back: it counts on.
        check(&mut a, 1200, (reg::LVT, PERIODIC), (70, 4000));
        a.fire(4000);
        check(&mut a, 4400, (reg::LVT, 0), (90, 8000));
        // At half the rate, what is left takes twice the time.
        check(&mut a, 6000, (reg::DIVIDE, 0), (50, 10_000));
        a.fire(10_000);
        check(&mut a, 10_000, (reg::LVT, PERIODIC), (0, u64::MAX));
        // TSC-deadline mode stops it.
        check(&mut a, 10_000, (reg::INITIAL, 5), (5, 10_400));
        check(&mut a, 10_000, (reg::LVT, DEADLINE), (0, u64::MAX));
        check(&mut a, 10_000, (reg::LVT, 0), (0, u64::MAX));
    }
}
