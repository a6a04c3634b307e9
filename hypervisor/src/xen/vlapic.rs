//! The virtual local APIC: xAPIC page and x2APIC MSRs over one register file.
//!
//! SDM vol. 3, "Advanced Programmable Interrupt Controller (APIC)". Time comes in as the TSC;
//! what a write does beyond the register file goes out as an [`Effect`].
//!
//! DEPARTURE: the timer counts TSC ticks divided by the divide configuration; real Xen counts a
//! 100 MHz bus clock. Guests calibrate it or use the TSC deadline.
//! DEPARTURE: the APIC page cannot be moved from FEE00000h; trying is #GP.

mod record;

/// Register offsets of the xAPIC page; an x2APIC MSR is `800h + offset / 16`.
#[expect(missing_docs, reason = "the names are the SDM's")]
pub mod reg {
    pub const ID: u32 = 0x20;
    pub const VERSION: u32 = 0x30;
    pub const TPR: u32 = 0x80;
    pub const APR: u32 = 0x90;
    pub const PPR: u32 = 0xA0;
    pub const EOI: u32 = 0xB0;
    pub const LDR: u32 = 0xD0;
    pub const DFR: u32 = 0xE0;
    pub const SVR: u32 = 0xF0;
    pub const ISR: u32 = 0x100;
    pub const TMR: u32 = 0x180;
    pub const IRR: u32 = 0x200;
    pub const ESR: u32 = 0x280;
    pub const LVT_CMCI: u32 = 0x2F0;
    pub const ICR: u32 = 0x300;
    pub const ICR_HIGH: u32 = 0x310;
    pub const LVT_TIMER: u32 = 0x320;
    pub const LVT_THERMAL: u32 = 0x330;
    pub const LVT_PERF: u32 = 0x340;
    pub const LVT_LINT0: u32 = 0x350;
    pub const LVT_LINT1: u32 = 0x360;
    pub const LVT_ERROR: u32 = 0x370;
    pub const TIMER_INITIAL: u32 = 0x380;
    pub const TIMER_CURRENT: u32 = 0x390;
    pub const TIMER_DIVIDE: u32 = 0x3E0;
    pub const SELF_IPI: u32 = 0x3F0;
}

/// The guest-physical address of the xAPIC page.
pub const PAGE: u64 = 0xFEE0_0000;
const BASE_BSP: u64 = 1 << 8;
const BASE_EXTD: u64 = 1 << 10;
const BASE_EN: u64 = 1 << 11;
const VERSION: u32 = 0x0005_0014;
const SVR_ENABLE: u32 = 1 << 8;
const LVT_MASKED: u32 = 1 << 16;
const ESR_SEND_ILLEGAL: u32 = 1 << 5;
const ESR_RECEIVE_ILLEGAL: u32 = 1 << 6;
/// The shortest period of the periodic timer, in ticks: a guest cannot ask for more interrupts
/// than the hypervisor can deliver.
pub const MIN_PERIOD: u64 = 50_000;

/// An interrupt message: from an ICR, or from an I/O APIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// The delivery mode field (0 fixed, 1 lowest priority, 4 NMI, 5 INIT, 6 start-up, 7 `ExtINT`).
    pub mode: u8,
    /// The interrupt's vector.
    pub vector: u8,
    /// Logical destination mode.
    pub logical: bool,
    /// Level triggered.
    pub level: bool,
    /// Assert, for level INIT.
    pub assert: bool,
    /// Destination shorthand: 0 none, 1 self, 2 all, 3 all but self.
    pub shorthand: u8,
    /// The destination's APIC ID or mask.
    pub dest: u32,
    /// True if `dest` is 32 bits wide (the sender is in x2APIC mode).
    pub wide: bool,
}

/// The effect of a register write on the rest of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// No effect outside the APIC.
    None,
    /// Send this interprocessor message.
    Send(Message),
    /// A level-triggered interrupt with this vector has ended.
    Eoi(u8),
}

/// The access is not allowed: #GP in x2APIC mode, ignored (reads 0) on the xAPIC page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadAccess;

/// A 256-bit vector register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bits256([u32; 8]);

impl Bits256 {
    fn set(&mut self, vector: u8) {
        self.0[vector as usize / 32] |= 1 << (vector % 32);
    }
    fn clear(&mut self, vector: u8) {
        self.0[vector as usize / 32] &= !(1 << (vector % 32));
    }
    /// True if `vector`'s bit is set.
    pub fn has(&self, vector: u8) -> bool {
        self.0[vector as usize / 32] & 1 << (vector % 32) != 0
    }
    /// The highest set bit.
    pub fn highest(&self) -> Option<u8> {
        let word = self.0.iter().rposition(|&word| word != 0)?;
        Some(word as u8 * 32 + 31 - self.0[word].leading_zeros() as u8)
    }
}

/// The register file of one local APIC.
#[derive(Debug, Clone)]
pub struct Vlapic {
    id: u32,
    base: u64,
    tpr: u32,
    ldr: u32,
    dfr: u32,
    svr: u32,
    esr: u32,
    esr_pending: u32,
    icr: u64,
    /// CMCI, timer, thermal, performance, LINT0, LINT1, error.
    lvt: [u32; 7],
    initial: u32,
    divide: u32,
    /// The expiry of the count-down timer; in deadline mode the deadline.
    expiry: Option<u64>,
    isr: Bits256,
    tmr: Bits256,
    irr: Bits256,
}

impl Vlapic {
    /// The APIC of vCPU `vcpu`, whose APIC ID is `2 * vcpu`, as in Xen. vCPU 0 is the BSP.
    pub fn new(vcpu: u32) -> Self {
        let bsp = if vcpu == 0 { BASE_BSP } else { 0 };
        Self {
            id: vcpu * 2,
            base: PAGE | BASE_EN | bsp,
            tpr: 0,
            ldr: 0,
            dfr: u32::MAX,
            svr: 0xFF,
            esr: 0,
            esr_pending: 0,
            icr: 0,
            lvt: [LVT_MASKED; 7],
            initial: 0,
            divide: 0,
            expiry: None,
            isr: Bits256::default(),
            tmr: Bits256::default(),
            irr: Bits256::default(),
        }
    }

    /// INIT: everything but the ID and the APIC base returns to its reset state.
    pub fn reset(&mut self) {
        let fresh = Self::new(self.id / 2);
        *self = Self { base: self.base, ..fresh };
        if self.x2apic() {
            self.ldr = self.x2apic_ldr();
        }
    }

    /// The APIC ID.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// True in x2APIC mode.
    pub fn x2apic(&self) -> bool {
        self.base & (BASE_EN | BASE_EXTD) == BASE_EN | BASE_EXTD
    }

    /// True if the xAPIC page answers.
    pub fn xapic(&self) -> bool {
        self.base & (BASE_EN | BASE_EXTD) == BASE_EN
    }

    /// True if enabled by hardware and software.
    pub fn enabled(&self) -> bool {
        self.base & BASE_EN != 0 && self.svr & SVR_ENABLE != 0
    }

    fn x2apic_ldr(&self) -> u32 {
        (self.id >> 4) << 16 | 1 << (self.id & 15)
    }

    /// `IA32_APIC_BASE`.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Writes `IA32_APIC_BASE`. SDM vol. 3, "x2APIC State Transitions".
    pub fn set_base(&mut self, value: u64) -> Result<(), BadAccess> {
        let fixed = PAGE | self.base & BASE_BSP;
        if value & !(BASE_EXTD | BASE_EN) != fixed {
            return Err(BadAccess);
        }
        let (old, new) = (self.base & (BASE_EN | BASE_EXTD), value & (BASE_EN | BASE_EXTD));
        let allowed = new != BASE_EXTD
            && !(old == 0 && new == BASE_EN | BASE_EXTD)
            && !(old == BASE_EN | BASE_EXTD && new == BASE_EN);
        if !allowed {
            return Err(BadAccess);
        }
        if new == 0 && old != 0 {
            self.reset();
        }
        self.base = value;
        if self.x2apic() && old & BASE_EXTD == 0 {
            self.ldr = self.x2apic_ldr();
        }
        Ok(())
    }

    /// Takes an edge or level interrupt into the IRR, whatever the software enable says (a
    /// disabled APIC keeps it: an upcall must not be lost).
    pub fn accept(&mut self, vector: u8, level: bool) {
        if vector < 16 {
            self.error(ESR_RECEIVE_ILLEGAL);
            return;
        }
        if level {
            self.tmr.set(vector)
        } else {
            self.tmr.clear(vector)
        }
        self.irr.set(vector);
    }

    fn error(&mut self, bit: u32) {
        let new = self.esr_pending & bit == 0;
        self.esr_pending |= bit;
        let lvt = self.lvt[6];
        if !new || lvt & LVT_MASKED != 0 {
            return;
        }
        // The interrupt that tells of errors may be one itself.
        if lvt & 0xFF < 16 {
            self.esr_pending |= ESR_RECEIVE_ILLEGAL;
        } else {
            self.irr.set(lvt as u8);
        }
    }

    /// The processor priority. SDM vol. 3, "Task and Processor Priorities".
    pub fn ppr(&self) -> u8 {
        let service = self.isr.highest().unwrap_or(0);
        let task = self.tpr as u8;
        if task >> 4 >= service >> 4 { task } else { service & 0xF0 }
    }

    /// True if interrupts of the 8259A pair reach the processor: by LINT0, or past a disabled APIC.
    pub fn takes_legacy(&self) -> bool {
        const MODE: u32 = 7 << 8;
        self.base & BASE_EN == 0 || self.lvt[4] & (MODE | LVT_MASKED) == MODE
    }

    /// The vector that would be delivered now.
    pub fn deliverable(&self) -> Option<u8> {
        if !self.enabled() {
            return None;
        }
        self.irr.highest().filter(|vector| vector >> 4 > self.ppr() >> 4)
    }

    /// The processor takes `vector`: from IRR to ISR.
    pub fn acknowledge(&mut self, vector: u8) {
        self.irr.clear(vector);
        self.isr.set(vector);
    }

    /// The task priority, in the form of CR8.
    pub fn cr8(&self) -> u64 {
        u64::from(self.tpr >> 4 & 0xF)
    }

    /// A write of CR8.
    pub fn set_cr8(&mut self, value: u64) {
        self.tpr = (value as u32 & 0xF) << 4;
    }

    fn eoi(&mut self) -> Effect {
        let Some(vector) = self.isr.highest() else { return Effect::None };
        self.isr.clear(vector);
        if self.tmr.has(vector) { Effect::Eoi(vector) } else { Effect::None }
    }

    /// True if a message to `dest` means this APIC.
    pub fn matches(&self, message: &Message) -> bool {
        let Message { dest, logical, wide, .. } = *message;
        if dest == if wide { u32::MAX } else { 0xFF } {
            return true;
        }
        if !logical {
            return dest == if self.x2apic() || wide { self.id } else { self.id & 0xFF };
        }
        if self.x2apic() {
            // A narrow sender (an I/O APIC) reaches cluster 0 only.
            return dest >> 16 == self.ldr >> 16 && dest & self.ldr & 0xFFFF != 0;
        }
        let ldr = self.ldr >> 24;
        match self.dfr >> 28 {
            0xF => dest & ldr & 0xFF != 0,
            0 => dest >> 4 & 0xF == ldr >> 4 && dest & ldr & 0xF != 0,
            _ => false,
        }
    }
}

/// The local APIC's timer.
impl Vlapic {
    fn mode(&self) -> u32 {
        self.lvt[1] >> 17 & 3
    }

    fn divisor(&self) -> u64 {
        let code = (self.divide & 3 | self.divide >> 1 & 4) + 1;
        1 << (code & 7)
    }

    fn period(&self) -> u64 {
        u64::from(self.initial) * self.divisor()
    }

    /// The time of the next [`Vlapic::tick`]; a masked timer has none.
    pub fn deadline(&self) -> Option<u64> {
        self.expiry.filter(|_| self.lvt[1] & LVT_MASKED == 0)
    }

    /// Lets the timer expire if it is due at `now`; true if an interrupt was raised.
    pub fn tick(&mut self, now: u64) -> bool {
        let Some(expiry) = self.expiry.filter(|&expiry| expiry <= now) else { return false };
        self.expiry = None;
        if self.mode() == 1 {
            let period = self.period().max(MIN_PERIOD);
            let late = (now - expiry) % period;
            self.expiry = Some(now.saturating_add(period - late));
        }
        let fire = self.lvt[1] & LVT_MASKED == 0;
        if fire {
            self.accept(self.lvt[1] as u8, false);
        }
        fire
    }

    fn start(&mut self, now: u64) {
        let armed = self.initial != 0 && self.mode() < 2;
        let floor = if self.mode() == 1 { MIN_PERIOD } else { 0 };
        self.expiry = armed.then(|| now.saturating_add(self.period().max(floor)));
    }

    fn current(&self, now: u64) -> u32 {
        let counting = self.expiry.filter(|_| self.mode() < 2);
        let left = counting.map_or(0, |expiry| expiry.saturating_sub(now)) / self.divisor();
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// `IA32_TSC_DEADLINE`.
    pub fn tsc_deadline(&mut self, now: u64) -> u64 {
        self.tick(now);
        self.expiry.filter(|_| self.mode() == 2).unwrap_or(0)
    }

    /// Writes `IA32_TSC_DEADLINE`; ignored unless the timer is in that mode.
    pub fn set_tsc_deadline(&mut self, value: u64) {
        if self.mode() == 2 {
            self.expiry = (value != 0).then_some(value);
        }
    }
}

/// The local APIC's registers.
impl Vlapic {
    fn lvt_index(offset: u32) -> Option<usize> {
        match offset {
            reg::LVT_CMCI => Some(0),
            reg::LVT_TIMER..=reg::LVT_ERROR => Some((offset - reg::LVT_TIMER) as usize / 16 + 1),
            _ => None,
        }
    }

    /// Reads the 32-bit register at `offset`, a multiple of 16.
    pub fn read(&mut self, offset: u32, now: u64) -> Result<u32, BadAccess> {
        self.tick(now);
        let bank = |bits: &Bits256, first: u32| bits.0[((offset - first) / 16) as usize];
        Ok(match offset {
            reg::ID => {
                if self.x2apic() {
                    self.id
                } else {
                    self.id << 24
                }
            }
            reg::VERSION => VERSION,
            reg::TPR => self.tpr,
            reg::APR if !self.x2apic() => 0,
            reg::PPR => u32::from(self.ppr()),
            reg::LDR => self.ldr,
            reg::DFR if !self.x2apic() => self.dfr,
            reg::SVR => self.svr,
            reg::ISR..0x180 => bank(&self.isr, reg::ISR),
            reg::TMR..0x200 => bank(&self.tmr, reg::TMR),
            reg::IRR..0x280 => bank(&self.irr, reg::IRR),
            reg::ESR => self.esr,
            reg::ICR => self.icr as u32,
            reg::ICR_HIGH => (self.icr >> 32) as u32,
            reg::TIMER_INITIAL => self.initial,
            reg::TIMER_CURRENT => self.current(now),
            reg::TIMER_DIVIDE => self.divide,
            _ => return Self::lvt_index(offset).map(|index| self.lvt[index]).ok_or(BadAccess),
        })
    }

    /// Writes the register at `offset`; only the ICR of x2APIC mode is 64 bits wide.
    pub fn write(&mut self, offset: u32, value: u64, now: u64) -> Result<Effect, BadAccess> {
        self.tick(now);
        let word = value as u32;
        if self.x2apic() && offset != reg::ICR && value >> 32 != 0 {
            return Err(BadAccess);
        }
        match offset {
            reg::TPR => self.tpr = word & 0xFF,
            reg::EOI if self.x2apic() && word != 0 => return Err(BadAccess),
            reg::EOI => return Ok(self.eoi()),
            reg::ID | reg::LDR | reg::DFR | reg::ICR_HIGH => return self.write_xapic(offset, word),
            reg::SVR => self.write_svr(word),
            reg::ESR => {
                self.esr = self.esr_pending;
                self.esr_pending = 0;
            }
            reg::ICR => return Ok(self.write_icr(value)),
            reg::TIMER_INITIAL => {
                if self.mode() != 2 {
                    self.initial = word;
                    self.start(now);
                }
            }
            reg::TIMER_DIVIDE => self.divide = word & 0xB,
            reg::SELF_IPI if self.x2apic() => self.accept(word as u8, false),
            _ => return self.write_lvt(offset, word),
        }
        Ok(Effect::None)
    }

    /// Registers that are writable on the xAPIC page only.
    fn write_xapic(&mut self, offset: u32, word: u32) -> Result<Effect, BadAccess> {
        if self.x2apic() {
            return Err(BadAccess);
        }
        match offset {
            reg::LDR => self.ldr = word & 0xFF00_0000,
            reg::DFR => self.dfr = word | 0x0FFF_FFFF,
            reg::ICR_HIGH => {
                self.icr = self.icr & 0xFFFF_FFFF | u64::from(word & 0xFF00_0000) << 32
            }
            // The ID is fixed, as on most processors.
            _ => {}
        }
        Ok(Effect::None)
    }

    fn write_svr(&mut self, word: u32) {
        self.svr = word & 0x1FF;
        if self.svr & SVR_ENABLE == 0 {
            self.lvt.iter_mut().for_each(|lvt| *lvt |= LVT_MASKED);
        }
    }

    fn write_lvt(&mut self, offset: u32, word: u32) -> Result<Effect, BadAccess> {
        /// The writable bits of each entry, in the order of `lvt`.
        const WRITABLE: [u32; 7] =
            [0x1_07FF, 0x7_00FF, 0x1_07FF, 0x1_07FF, 0x1_A7FF, 0x1_A7FF, 0x1_00FF];
        let index = Self::lvt_index(offset).filter(|&index| index != 0).ok_or(BadAccess)?;
        let disabled = if self.svr & SVR_ENABLE == 0 { LVT_MASKED } else { 0 };
        let mode = self.mode();
        self.lvt[index] = word & WRITABLE[index] | disabled;
        if index == 1 && self.mode() != mode {
            self.expiry = None;
        }
        Ok(Effect::None)
    }

    fn write_icr(&mut self, value: u64) -> Effect {
        let low = value as u32 & 0x000C_CFFF;
        if self.x2apic() {
            self.icr = value & 0xFFFF_FFFF_0000_0000 | u64::from(low);
        } else {
            self.icr = self.icr & 0xFFFF_FFFF_0000_0000 | u64::from(low);
        }
        let high = (self.icr >> 32) as u32;
        let message = Message {
            mode: (low >> 8 & 7) as u8,
            vector: low as u8,
            logical: low & 1 << 11 != 0,
            level: low & 1 << 15 != 0,
            assert: low & 1 << 14 != 0,
            shorthand: (low >> 18 & 3) as u8,
            dest: if self.x2apic() { high } else { high >> 24 },
            wide: self.x2apic(),
        };
        if message.mode < 2 && message.vector < 16 {
            self.error(ESR_SEND_ILLEGAL);
            return Effect::None;
        }
        Effect::Send(message)
    }
}
