//! The effects of a domain's accesses to MSRs, ports and device memory: the local APICs, the I/O
//! APIC, COM1 and the hypercall page.

use super::abi::{Width, nr::hypercall};
use super::cpuid::HYPERCALL_MSR;
use super::guest_memory::write_gpa;
use super::host_services::{DomId, HostServices, PAGE_SIZE};
use super::vcpu::Activity;
use super::vlapic::{self, BadAccess, Effect, Message, reg};
use super::{Action, ShutdownReason, Xen, vioapic, vuart};
use alloc::vec::Vec;

/// The outcome of an MSR access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Msr {
    /// A read's value.
    Value(u64),
    /// A write was carried out.
    Done,
    /// #GP(0).
    Gp,
    /// Not an MSR of this module.
    NotMine,
}

const IA32_APIC_BASE: u32 = 0x1B;
const IA32_TSC_DEADLINE: u32 = 0x6E0;
const IA32_PLATFORM_ID: u32 = 0x17;
const IA32_BIOS_SIGN_ID: u32 = 0x8B;
const IA32_MISC_ENABLE: u32 = 0x1A0;
const X2APIC: core::ops::RangeInclusive<u32> = 0x800..=0x8FF;
const PIT: core::ops::RangeInclusive<u16> = 0x40..=0x43;
/// The sleep control register of a domU's ACPI tables; the status register follows.
pub const SLEEP_PORT: u16 = 0x604;
/// The reset register of a domU's ACPI tables.
pub const RESET_PORT: u16 = 0x606;
/// The value that resets the domain when written to [`RESET_PORT`].
pub const RESET_VALUE: u8 = 1;
/// `SLP_TYP` of S5 in a domU's tables.
pub const SLEEP_TYPE_S5: u8 = 5;

impl Xen {
    /// RDMSR.
    pub fn rdmsr(&mut self, dom: DomId, vcpu: u32, msr: u32, now: u64) -> Msr {
        let Ok(state) = self.vcpu_mut(dom, vcpu) else { return Msr::Gp };
        let lapic = &mut state.lapic;
        match msr {
            IA32_APIC_BASE => Msr::Value(lapic.base()),
            IA32_TSC_DEADLINE => Msr::Value(lapic.tsc_deadline(now)),
            HYPERCALL_MSR => Msr::Value(0),
            _ if X2APIC.contains(&msr) => {
                if !lapic.x2apic() {
                    return Msr::Gp;
                }
                let offset = (msr - X2APIC.start()) << 4;
                match offset {
                    reg::EOI | reg::SELF_IPI | reg::ICR_HIGH => Msr::Gp,
                    reg::ICR => icr_pair(lapic, now),
                    _ => lapic.read(offset, now).map_or(Msr::Gp, |v| Msr::Value(v.into())),
                }
            }
            _ => fixed_msr(msr).map_or(Msr::NotMine, Msr::Value),
        }
    }

    /// WRMSR. `width` is the vCPU's mode, latched by a write of the hypercall page's MSR.
    pub fn wrmsr(
        &mut self,
        host: &mut dyn HostServices,
        (dom, vcpu): (DomId, u32),
        msr: u32,
        value: u64,
        width: Width,
        now: u64,
    ) -> Msr {
        if msr == HYPERCALL_MSR {
            self.latch_width(host, dom, width);
            return write_hypercall_page(host, dom, value);
        }
        let Ok(state) = self.vcpu_mut(dom, vcpu) else { return Msr::Gp };
        let lapic = &mut state.lapic;
        match msr {
            IA32_APIC_BASE => lapic.set_base(value).map_or(Msr::Gp, |()| Msr::Done),
            IA32_TSC_DEADLINE => {
                lapic.set_tsc_deadline(value);
                Msr::Done
            }
            _ if X2APIC.contains(&msr) => {
                if !lapic.x2apic() {
                    return Msr::Gp;
                }
                let effect = lapic.write((msr - X2APIC.start()) << 4, value, now);
                self.apic_written(host, dom, vcpu, effect).map_or(Msr::Gp, |()| Msr::Done)
            }
            IA32_BIOS_SIGN_ID | IA32_MISC_ENABLE => Msr::Done,
            _ => Msr::NotMine,
        }
    }

    fn apic_written(
        &mut self,
        host: &mut dyn HostServices,
        dom: DomId,
        vcpu: u32,
        effect: Result<Effect, BadAccess>,
    ) -> Result<(), BadAccess> {
        match effect? {
            Effect::None => {}
            Effect::Send(message) => self.send_message(host, dom, Some(vcpu), message),
            Effect::Eoi(vector) => {
                let out = self.domain_mut(dom).map(|d| d.ioapic.eoi(vector)).unwrap_or_default();
                self.ioapic_outputs(host, dom, out);
            }
        }
        Ok(())
    }

    /// A read of `len` bytes of device memory; `None` if nothing of this module is there.
    pub fn mmio_read(
        &mut self,
        dom: DomId,
        vcpu: u32,
        gpa: u64,
        len: usize,
        now: u64,
    ) -> Option<u64> {
        let offset = gpa as u32 & (PAGE_SIZE as u32 - 1);
        // A register is 4 bytes at a multiple of 16; wider or other accesses read 0.
        let (at, shift) = (offset & !3, (offset & 3) * 8);
        let whole = match gpa & !(PAGE_SIZE as u64 - 1) {
            vlapic::PAGE => {
                let lapic = &mut self.vcpu_mut(dom, vcpu).ok()?.lapic;
                let lapic = lapic.xapic().then_some(lapic)?;
                if at & 0xF == 0 { lapic.read(at, now).unwrap_or(0) } else { 0 }
            }
            vioapic::PAGE => self.domain(dom).ok()?.ioapic.read(at),
            _ => return None,
        };
        let mask = if len >= 4 { u32::MAX } else { (1 << (len * 8)) - 1 };
        Some(u64::from(whole >> shift & mask))
    }

    /// A write to device memory; `None` if nothing of this module is there.
    pub fn mmio_write(
        &mut self,
        host: &mut dyn HostServices,
        (dom, vcpu): (DomId, u32),
        gpa: u64,
        value: u64,
        now: u64,
    ) -> Option<()> {
        let offset = gpa as u32 & (PAGE_SIZE as u32 - 1);
        match gpa & !(PAGE_SIZE as u64 - 1) {
            vlapic::PAGE => {
                let lapic = &mut self.vcpu_mut(dom, vcpu).ok()?.lapic;
                let lapic = lapic.xapic().then_some(lapic)?;
                if offset & 0xF == 0 {
                    let effect = lapic.write(offset, value & 0xFFFF_FFFF, now);
                    // Reserved registers of the page ignore writes.
                    let _ = self.apic_written(host, dom, vcpu, effect);
                }
            }
            vioapic::PAGE => {
                let out = self.domain_mut(dom).ok()?.ioapic.write(offset, value as u32);
                self.ioapic_outputs(host, dom, out);
            }
            _ => return None,
        }
        Some(())
    }

    fn ioapic_outputs(
        &mut self,
        host: &mut dyn HostServices,
        dom: DomId,
        out: Vec<vioapic::Output>,
    ) {
        for output in out {
            match output {
                vioapic::Output::Deliver(message) => self.send_message(host, dom, None, message),
                vioapic::Output::Bind { gsi, masked, level, active_low } => {
                    self.actions.push(Action::BindGsi { gsi, masked, level, active_low });
                }
                vioapic::Output::Eoi(gsi) => self.actions.push(Action::EoiGsi(gsi)),
            }
        }
    }

    /// A line of the domain's I/O APIC changes. For dom0's physical pins an interrupt is a rise;
    /// the fall is the guest's EOI.
    pub fn set_gsi(&mut self, host: &mut dyn HostServices, dom: DomId, gsi: u32, level: bool) {
        let Ok(domain) = self.domain_mut(dom) else { return };
        let out = domain.ioapic.set_line(gsi, level);
        self.ioapic_outputs(host, dom, out.into_iter().collect());
    }

    /// Delivers an interrupt message inside `dom`.
    pub fn send_message(
        &mut self,
        host: &mut dyn HostServices,
        dom: DomId,
        source: Option<u32>,
        message: Message,
    ) {
        let Ok(domain) = self.domain(dom) else { return };
        let meant = domain.vcpus.iter().filter(|vcpu| match message.shorthand {
            1 => Some(vcpu.id) == source,
            2 => true,
            3 => Some(vcpu.id) != source,
            _ => vcpu.lapic.matches(&message),
        });
        let targets: Vec<u32> = if message.mode == 1 {
            let lowest = meant.filter(|v| v.lapic.enabled()).min_by_key(|v| v.lapic.ppr());
            lowest.map(|v| v.id).into_iter().collect()
        } else {
            meant.map(|v| v.id).collect()
        };
        targets.into_iter().for_each(|vcpu| self.deliver(host, dom, vcpu, message));
    }

    fn deliver(&mut self, host: &mut dyn HostServices, dom: DomId, vcpu: u32, message: Message) {
        let Ok(state) = self.vcpu_mut(dom, vcpu) else { return };
        match message.mode {
            0 | 1 if !state.lapic.enabled() => {}
            0 | 1 => state.lapic.accept(message.vector, message.level),
            4 => state.nmi = true,
            5 if message.level && !message.assert => {}
            5 => {
                state.lapic.reset();
                self.take_down(dom, vcpu);
                self.actions.push(Action::ResetVcpu { dom, vcpu });
            }
            6 if state.activity == Activity::Down => {
                state.activity = Activity::Runnable;
                self.actions.push(Action::StartVcpu { dom, vcpu, vector: message.vector });
            }
            // SMI, ExtINT and the reserved modes have no meaning here.
            _ => {}
        }
        self.wake(host, dom, vcpu);
    }

    /// IN of a byte; `None` where nothing of this module is. A wider access reads
    /// all-ones in its upper bytes.
    pub fn port_read(&mut self, host: &mut dyn HostServices, dom: DomId, port: u16) -> Option<u8> {
        if PIT.contains(&port) {
            // DEPARTURE: an absent timer reads 0, not all-ones, which Linux's calibration would
            // take for a running one and read 100 000 times.
            return Some(0);
        }
        let uart = self.domain_mut(dom).ok()?.uart.as_mut()?;
        if let Some(offset) = uart_offset(port) {
            let value = uart.read(offset);
            let line = uart.line();
            self.set_gsi(host, dom, vuart::GSI, line);
            return Some(value);
        }
        // The sleep registers read 0: no wake status.
        (port == SLEEP_PORT || port == SLEEP_PORT + 1).then_some(0)
    }

    /// OUT of a domU; `None` where nothing of this module is.
    pub fn port_write(
        &mut self,
        host: &mut dyn HostServices,
        dom: DomId,
        port: u16,
        value: u32,
    ) -> Option<()> {
        let uart = self.domain_mut(dom).ok()?.uart.as_mut()?;
        if let Some(offset) = uart_offset(port) {
            let sent = uart.write(offset, value as u8);
            let line = uart.line();
            if let Some(byte) = sent {
                self.output(dom, &[byte]);
            }
            self.set_gsi(host, dom, vuart::GSI, line);
            return Some(());
        }
        if port == SLEEP_PORT && value as u8 == SLEEP_TYPE_S5 << 2 | 1 << 5 {
            self.shutdown(dom, ShutdownReason::Poweroff);
        }
        if port == RESET_PORT && value as u8 == RESET_VALUE {
            self.shutdown(dom, ShutdownReason::Reboot);
        }
        (SLEEP_PORT..=RESET_PORT).contains(&port).then_some(())
    }

    /// CR8.
    pub fn cr8(&self, dom: DomId, vcpu: u32) -> u64 {
        self.vcpu(dom, vcpu).map_or(0, |state| state.lapic.cr8())
    }

    /// Writes CR8; the value has been checked to fit 4 bits.
    pub fn set_cr8(&mut self, dom: DomId, vcpu: u32, value: u64) {
        if let Ok(state) = self.vcpu_mut(dom, vcpu) {
            state.lapic.set_cr8(value);
        }
    }
}

/// MSRs of the processor model that read a constant. Machine checks, MTRRs and the rest are hidden
/// in CPUID and do not exist.
fn fixed_msr(msr: u32) -> Option<u64> {
    match msr {
        IA32_PLATFORM_ID => Some(0),
        // A microcode revision that no errata table knows.
        IA32_BIOS_SIGN_ID => Some(0xFFFF_FFFF_0000_0000),
        // Fast strings; no branch trace, no PEBS.
        IA32_MISC_ENABLE => Some(1 | 1 << 11 | 1 << 12),
        _ => None,
    }
}

fn uart_offset(port: u16) -> Option<u16> {
    port.checked_sub(vuart::BASE).filter(|&offset| offset < vuart::LEN)
}

fn icr_pair(lapic: &mut vlapic::Vlapic, now: u64) -> Msr {
    let mut half = |offset| u64::from(lapic.read(offset, now).unwrap_or(0));
    Msr::Value(half(reg::ICR) | half(reg::ICR_HIGH) << 32)
}

/// Fills the hypercall page: 32 bytes a number, `mov eax, nr; vmcall; ret`; IRET is UD2.
fn write_hypercall_page(host: &mut dyn HostServices, dom: DomId, value: u64) -> Msr {
    if value & 0xFFF != 0 {
        // Only one page exists.
        return Msr::Gp;
    }
    let mut page = [0xCC; PAGE_SIZE];
    for (number, stub) in page.chunks_exact_mut(32).enumerate() {
        stub[0] = 0xB8;
        stub[1..5].copy_from_slice(&(number as u32).to_le_bytes());
        stub[5..9].copy_from_slice(&[0x0F, 0x01, 0xC1, 0xC3]);
        if number as u32 == hypercall::IRET {
            stub[..2].copy_from_slice(&[0x0F, 0x0B]);
        }
    }
    write_gpa(host, dom, value, &page).map_or(Msr::Gp, |()| Msr::Done)
}
