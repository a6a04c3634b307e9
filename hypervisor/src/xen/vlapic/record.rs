//! A local APIC as records of an HVM context.

use super::{BASE_EN, Bits256, Vlapic, reg};
use crate::xen::abi::hvm_context::{LAPIC_REGS_SIZE, LAPIC_SIZE};
use crate::xen::abi::layout::Field;

const STRIDE: usize = 16;

impl Vlapic {
    /// What the register page does not show: `hvm_hw_lapic`.
    pub fn hidden_record(&self, now: u64) -> [u8; LAPIC_SIZE] {
        let mut raw = [0; LAPIC_SIZE];
        raw[..8].copy_from_slice(&self.base.to_le_bytes());
        let disabled = u32::from(self.base & BASE_EN == 0);
        raw[8..12].copy_from_slice(&disabled.to_le_bytes());
        raw[12..16].copy_from_slice(&(self.divisor() as u32).to_le_bytes());
        raw[16..].copy_from_slice(&self.clone().tsc_deadline(now).to_le_bytes());
        raw
    }

    /// The register page: `hvm_hw_lapic_regs`.
    pub fn registers_record(&self, now: u64) -> [u8; LAPIC_REGS_SIZE] {
        let mut raw = [0; LAPIC_REGS_SIZE];
        let mut copy = self.clone();
        for (index, place) in raw.chunks_exact_mut(STRIDE).enumerate() {
            let value = copy.read((index * STRIDE) as u32, now).unwrap_or(0);
            place[..4].copy_from_slice(&value.to_le_bytes());
        }
        raw
    }

    /// Takes `hvm_hw_lapic` over; none if it is not one.
    pub fn load_hidden(&mut self, raw: &[u8]) -> Option<()> {
        if raw.len() != LAPIC_SIZE {
            return None;
        }
        let fixed = u64::load(raw) & !(super::BASE_EXTD | BASE_EN);
        let mode = u64::load(raw) & (super::BASE_EXTD | BASE_EN);
        if fixed != self.base & !(super::BASE_EXTD | BASE_EN) || mode == super::BASE_EXTD {
            return None;
        }
        self.base = u64::load(raw);
        let deadline = u64::load(&raw[16..]);
        self.expiry = (deadline != 0).then_some(deadline);
        Some(())
    }

    /// Takes `hvm_hw_lapic_regs` over; none if it is not one.
    pub fn load_registers(&mut self, raw: &[u8], now: u64) -> Option<()> {
        if raw.len() != LAPIC_REGS_SIZE {
            return None;
        }
        let word = |offset: u32| u32::load(&raw[offset as usize..]);
        let bank = |first: u32| Bits256(core::array::from_fn(|i| word(first + 16 * i as u32)));
        self.tpr = word(reg::TPR) & 0xFF;
        self.ldr = word(reg::LDR);
        self.dfr = word(reg::DFR) | 0x0FFF_FFFF;
        self.svr = word(reg::SVR) & 0x1FF;
        (self.isr, self.tmr, self.irr) = (bank(reg::ISR), bank(reg::TMR), bank(reg::IRR));
        // No interrupt has such a vector.
        self.irr.0[0] &= !0xFFFF;
        self.isr.0[0] &= !0xFFFF;
        self.esr = word(reg::ESR);
        self.icr = u64::from(word(reg::ICR_HIGH)) << 32 | u64::from(word(reg::ICR));
        self.lvt[0] = word(reg::LVT_CMCI) | super::LVT_MASKED;
        for (entry, lvt) in self.lvt.iter_mut().enumerate().skip(1) {
            *lvt = word(reg::LVT_TIMER + 16 * (entry as u32 - 1));
        }
        self.initial = word(reg::TIMER_INITIAL);
        self.divide = word(reg::TIMER_DIVIDE) & 0xB;
        if self.mode() != 2 {
            let left = u64::from(word(reg::TIMER_CURRENT)) * self.divisor();
            let counts = self.initial != 0 && (left != 0 || self.mode() == 1);
            self.expiry = counts.then(|| now.saturating_add(left.max(1)));
        }
        Some(())
    }
}
