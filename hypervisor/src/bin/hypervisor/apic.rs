//! The machine's own local APIC (x2APIC where offered) and its timer.
#![expect(unsafe_code, reason = "the xAPIC is a page of device registers")]

use runtime::cpu::{cpuid, inb, outb, rdtsc};
use runtime::cpu::{rdmsr, wrmsr};

/// The timer's vector.
pub(crate) const TIMER: u8 = 0xF0;
/// The vector of spurious interrupts.
pub(crate) const SPURIOUS: u8 = 0xFF;

const IA32_APIC_BASE: u32 = 0x1B;
const IA32_TSC_DEADLINE: u32 = 0x6E0;

const ID: u32 = 0x20;
const EOI: u32 = 0xB0;
const SVR: u32 = 0xF0;
const LVT_TIMER: u32 = 0x320;
const LVT_LINT0: u32 = 0x350;
const LVT_LINT1: u32 = 0x360;
const LVT_ERROR: u32 = 0x370;
const INITIAL_COUNT: u32 = 0x380;
const CURRENT_COUNT: u32 = 0x390;
const DIVIDE: u32 = 0x3E0;
const MASKED: u32 = 1 << 16;

/// The way the timer is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    /// By the IA32_TSC_DEADLINE register.
    Deadline,
    /// By the count register, at this many counts per 2^20 TSC ticks.
    Count { per_tick: u64 },
}

/// The local APIC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Apic {
    x2apic: bool,
    timer: Timer,
    /// The frequency of the TSC.
    pub(crate) tsc_khz: u64,
}

impl Apic {
    /// Masks the legacy interrupt controllers and brings the local APIC up.
    pub(crate) fn init() -> Self {
        outb(0x21, 0xFF);
        outb(0xA1, 0xFF);
        let features = cpuid(1, 0)[2];
        let x2apic = features & 1 << 21 != 0;
        let enable = if x2apic { 3 << 10 } else { 1 << 11 };
        wrmsr(IA32_APIC_BASE, rdmsr(IA32_APIC_BASE) | enable);
        let mut apic = Self { x2apic, timer: Timer::Deadline, tsc_khz: 0 };
        for (register, value) in [
            (LVT_LINT0, MASKED),
            (LVT_LINT1, MASKED),
            (LVT_ERROR, MASKED),
            (LVT_TIMER, MASKED | u32::from(TIMER)),
            (SVR, 1 << 8 | u32::from(SPURIOUS)),
        ] {
            apic.write(register, value);
        }
        let (khz, per_tick) = apic.measure(features & 1 << 24 == 0);
        apic.tsc_khz = khz;
        if features & 1 << 24 != 0 {
            apic.write(LVT_TIMER, 2 << 17 | u32::from(TIMER));
        } else {
            apic.timer = Timer::Count { per_tick };
            apic.write(LVT_TIMER, TIMER.into());
        }
        apic
    }

    /// The frequency of the TSC in kHz; where `count` is wanted, the timer's counts per 2^20 ticks.
    fn measure(&self, count: bool) -> (u64, u64) {
        let told = told_khz();
        if let (Some(khz), false) = (told, count) {
            return (khz, 0);
        }
        self.write(DIVIDE, 0b1011);
        self.write(INITIAL_COUNT, u32::MAX);
        let (ticks, microseconds) = pit_interval();
        let counted = u64::from(u32::MAX - self.read(CURRENT_COUNT));
        self.write(INITIAL_COUNT, 0);
        let khz = told.unwrap_or(ticks * 1000 / microseconds);
        (khz, (counted << 20) / ticks.max(1))
    }

    fn read(&self, register: u32) -> u32 {
        if self.x2apic {
            return rdmsr(0x800 + (register >> 4)) as u32;
        }
        // SAFETY: the xAPIC's page, which the low identity map covers.
        unsafe { ((0xFEE0_0000 + u64::from(register)) as *const u32).read_volatile() }
    }

    fn write(&self, register: u32, value: u32) {
        if self.x2apic {
            return wrmsr(0x800 + (register >> 4), value.into());
        }
        // SAFETY: as `read`.
        unsafe { ((0xFEE0_0000 + u64::from(register)) as *mut u32).write_volatile(value) };
    }

    /// The local APIC's identifier, for the IOAPIC's destination field.
    pub(crate) fn id(&self) -> u8 {
        let id = self.read(ID);
        if self.x2apic { id as u8 } else { (id >> 24) as u8 }
    }

    /// Ends the interrupt in service.
    pub(crate) fn eoi(&self) {
        self.write(EOI, 0);
    }

    /// Interrupts at `deadline`, in TSC ticks, or never.
    pub(crate) fn set_deadline(&self, deadline: Option<u64>) {
        match self.timer {
            Timer::Deadline => wrmsr(IA32_TSC_DEADLINE, deadline.map_or(0, |d| d.max(1))),
            Timer::Count { per_tick } => {
                let counts = deadline.map_or(0, |deadline| {
                    let ticks = u128::from(deadline.saturating_sub(rdtsc()));
                    ((ticks * u128::from(per_tick)) >> 20).clamp(1, u32::MAX.into()) as u32
                });
                self.write(INITIAL_COUNT, counts);
            }
        }
    }
}

/// The TSC's frequency as CPUID tells it. SDM vol. 3, "Determining the Processor Base Frequency".
fn told_khz() -> Option<u64> {
    let last = cpuid(0, 0)[0];
    if last >= 0x15 {
        let [denominator, numerator, crystal, _] = cpuid(0x15, 0).map(u64::from);
        if denominator != 0 && numerator != 0 && crystal != 0 {
            return Some(crystal * numerator / denominator / 1000);
        }
    }
    None
}

/// Lets 10 ms pass on channel 2 of the PIT: how many TSC ticks, and how many microseconds.
fn pit_interval() -> (u64, u64) {
    const COUNTS: u16 = 11932;
    outb(0x61, inb(0x61) & !3);
    outb(0x43, 0xB0);
    outb(0x42, COUNTS as u8);
    outb(0x42, (COUNTS >> 8) as u8);
    outb(0x61, inb(0x61) & !3 | 1);
    let start = rdtsc();
    while inb(0x61) & 1 << 5 == 0 {}
    (rdtsc() - start, u64::from(COUNTS) * 1_000_000 / 1_193_182)
}
