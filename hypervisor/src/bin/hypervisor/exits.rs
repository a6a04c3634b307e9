//! VM exits: what each reason does.

use crate::control_registers;
use crate::host::Host;
use crate::vmx_ops;
use alloc::format;
use alloc::string::String;
use hypervisor::vmx::controls::{INVPCID, RDTSCP};
use hypervisor::vmx::exit::{self, Interruption};
use hypervisor::vmx::field;
use hypervisor::xen::devices::Msr;
use hypervisor::xen::hypercall::Context;
use hypervisor::xen::{DomId, Flow, Paging, Width};
use runtime::cpu::{cpuid, rdtsc};

/// The reason that ends a domain; `Ok` lets it go on.
pub(crate) type Outcome = Result<(), String>;

const UD: u8 = 6;
const GP: u8 = 13;
/// CPUID.7:EDX: IA32_ARCH_CAPABILITIES exists. Guests see it, so that they leave out the
/// mitigations that the processor does not need.
const ARCH_CAPABILITIES: u32 = 1 << 29;
const IA32_ARCH_CAPABILITIES: u32 = 0x10A;
/// The bits that say "not affected": RDCL_NO, SKIP_L1DFL, SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO,
/// SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, PBRSB_NO, GDS_NO, RFDS_NO.
const NOT_AFFECTED: u64 = 0x1 | 0x78 | 1 << 8 | 7 << 13 | 1 << 24 | 1 << 26 | 1 << 27;
const RFLAGS_TF: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
/// The L bit of the code segment's access rights.
const ACCESS_LONG: u64 = 1 << 13;
const RAX: u8 = 0;
const RCX: u8 = 1;
const RDX: u8 = 2;
const RBX: u8 = 3;

/// Skips the instruction that exited; shadows of STI and MOV SS end, a single step is due.
pub(crate) fn advance() {
    advance_by(vmx_ops::read(field::EXIT_INSTRUCTION_LENGTH));
}

/// Skips an instruction of `length` bytes, as [`advance`] does.
pub(crate) fn advance_by(length: u64) {
    let old = vmx_ops::read(field::GUEST_RIP);
    let mut rip = old.wrapping_add(length);
    // Outside 64-bit mode the instruction pointer wraps at 32 bits.
    if old >> 32 != rip >> 32 && vmx_ops::read(field::GUEST_CS_ACCESS) & ACCESS_LONG == 0 {
        rip &= 0xFFFF_FFFF;
    }
    vmx_ops::write(field::GUEST_RIP, rip);
    let interruptibility = vmx_ops::read(field::GUEST_INTERRUPTIBILITY);
    if interruptibility & 3 != 0 {
        vmx_ops::write(field::GUEST_INTERRUPTIBILITY, interruptibility & !3);
    }
    if vmx_ops::read(field::GUEST_RFLAGS) & RFLAGS_TF != 0 {
        let pending = vmx_ops::read(field::GUEST_PENDING_DEBUG);
        vmx_ops::write(field::GUEST_PENDING_DEBUG, pending | 1 << 14);
    }
}

/// With a shadow of STI or MOV SS and TF set, the entry demands a pending single step, which the
/// exit for #DB has taken away. SDM vol. 3, "Checks on Guest Non-Register State".
fn repair_pending_step() {
    let shadow = vmx_ops::read(field::GUEST_INTERRUPTIBILITY) & 3 != 0;
    let stepping = vmx_ops::read(field::GUEST_RFLAGS) & RFLAGS_TF != 0;
    let by_branch = vmx_ops::read(field::GUEST_DEBUGCTL) & 2 != 0;
    if shadow && stepping && !by_branch {
        vmx_ops::write(field::GUEST_PENDING_DEBUG, 1 << 14);
    }
}

/// The registers that decide how the current guest's linear addresses translate.
pub(crate) fn paging() -> Paging {
    Paging {
        cr0: vmx_ops::read(field::GUEST_CR0),
        cr3: vmx_ops::read(field::GUEST_CR3),
        cr4: vmx_ops::read(field::GUEST_CR4),
        efer: vmx_ops::read(field::GUEST_EFER),
    }
}

/// The width of the code that runs.
fn width(efer: u64) -> Width {
    if efer & EFER_LMA != 0 && vmx_ops::read(field::GUEST_CS_ACCESS) & ACCESS_LONG != 0 {
        Width::Long
    } else {
        Width::Compat
    }
}

impl Host {
    /// Handles the exit of the current vCPU.
    pub(crate) fn handle(&mut self, index: usize, reason: u16) -> Outcome {
        match reason {
            exit::EXCEPTION_OR_NMI => self.exception(index),
            exit::EXTERNAL_INTERRUPT => {
                self.interrupt(vmx_ops::read(field::EXIT_INTERRUPTION_INFO) as u8);
                Ok(())
            }
            exit::INTERRUPT_WINDOW | exit::PREEMPTION_TIMER => Ok(()),
            exit::CPUID => self.cpuid(index),
            exit::HLT => self.hlt(index),
            exit::VMCALL => self.vmcall(index),
            exit::CR_ACCESS => self.cr_access(index),
            exit::IO => self.io(index),
            exit::RDMSR => self.rdmsr(index),
            exit::WRMSR => self.wrmsr(index),
            exit::EPT_VIOLATION => self.ept_violation(index),
            exit::MONITOR_TRAP => {
                self.stepped(index);
                Ok(())
            }
            // Caches are coherent and memory is the hypervisor's: nothing is to be written back.
            exit::INVD | exit::WBINVD | exit::PAUSE => {
                advance();
                Ok(())
            }
            exit::RDPMC | exit::XSETBV => {
                self.fault(index, GP, Some(0));
                Ok(())
            }
            exit::GETSEC
            | exit::MWAIT
            | exit::MONITOR
            | exit::INVEPT
            | exit::INVVPID
            | exit::VMFUNC
            | exit::ENCLS
            | exit::VMCLEAR..=exit::VMXON => {
                self.fault(index, UD, None);
                Ok(())
            }
            _ => Err(format!("{} (exit reason {reason})", exit::name(reason))),
        }
    }

    /// Has the guest take a fault at its next entry. Real mode knows no error codes, and the
    /// entry would fail with one.
    pub(crate) fn fault(&mut self, index: usize, vector: u8, code: Option<u32>) {
        let protected = vmx_ops::read(field::GUEST_CR0) & 1 != 0;
        let info = match code.filter(|_| protected) {
            Some(code) => {
                vmx_ops::write(field::ENTRY_ERROR_CODE, code.into());
                Interruption::exception_with_code(vector)
            }
            None => Interruption::exception(vector),
        };
        vmx_ops::write(field::ENTRY_INTERRUPTION_INFO, info.0.into());
        self.slots[index].injecting = true;
    }

    /// Delivers again what the exit interrupted the delivery of.
    /// SDM vol. 3, "Information for VM Exits That Occur During Event Delivery".
    pub(crate) fn resume_delivery(&mut self, index: usize) {
        let event = Interruption(vmx_ops::read(field::IDT_VECTORING_INFO) as u32);
        if event.valid() {
            self.reinject(index, event, field::IDT_VECTORING_ERROR);
        }
    }

    fn reinject(&mut self, index: usize, event: Interruption, code: field::Field) {
        if event.has_error_code() {
            vmx_ops::write(field::ENTRY_ERROR_CODE, vmx_ops::read(code));
        }
        if event.needs_length() {
            let length = vmx_ops::read(field::EXIT_INSTRUCTION_LENGTH);
            vmx_ops::write(field::ENTRY_INSTRUCTION_LENGTH, length);
        }
        vmx_ops::write(field::ENTRY_INTERRUPTION_INFO, event.for_entry().0.into());
        self.slots[index].injecting = true;
    }

    /// Exceptions go on to the guest; an NMI is the machine's and has no meaning here.
    fn exception(&mut self, index: usize) -> Outcome {
        let event = Interruption(vmx_ops::read(field::EXIT_INTERRUPTION_INFO) as u32);
        match (event.kind(), event.vector()) {
            (2, _) => self.resume_delivery(index),
            (_, 1) => {
                // The exit comes before DR6 and DR7 change. SDM vol. 3, "Debug Exceptions".
                let causes = vmx_ops::read(field::EXIT_QUALIFICATION) & 0xE00F;
                control_registers::set_dr6(control_registers::dr6() & !0xF | causes);
                vmx_ops::write(field::GUEST_DR7, vmx_ops::read(field::GUEST_DR7) & !(1 << 13));
                repair_pending_step();
                self.reinject(index, event, field::EXIT_INTERRUPTION_ERROR);
            }
            // One that would have gone to the guest, but for an access that is being emulated.
            (_, 14) => {
                control_registers::set_cr2(vmx_ops::read(field::EXIT_QUALIFICATION));
                self.reinject(index, event, field::EXIT_INTERRUPTION_ERROR);
            }
            (_, 18) => return Err(String::from("machine check")),
            _ => self.reinject(index, event, field::EXIT_INTERRUPTION_ERROR),
        }
        Ok(())
    }

    fn cpuid(&mut self, index: usize) -> Outcome {
        let slot = &self.slots[index];
        let leaf = slot.vcpu.gpr(RAX) as u32;
        let subleaf = slot.vcpu.gpr(RCX) as u32;
        let (dom, id) = slot.key();
        let physical = self.physical_cpuid(leaf, subleaf);
        let mut answer = self.xen.cpuid(dom, id, leaf, subleaf, physical);
        if (leaf, subleaf) == (7, 0) {
            answer[3] |= physical[3] & ARCH_CAPABILITIES;
        }
        let vcpu = &mut self.slots[index].vcpu;
        for (register, value) in [RAX, RBX, RCX, RDX].into_iter().zip(answer) {
            vcpu.set_gpr(register, value.into());
        }
        advance();
        Ok(())
    }

    /// The processor's CPUID, without what the controls deny to guests.
    pub(crate) fn physical_cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        let mut physical = cpuid(leaf, subleaf);
        match (leaf, subleaf) {
            (7, 0) => {
                if !self.controls.secondary(INVPCID) {
                    physical[1] &= !(1 << 10);
                }
                if !self.controls.secondary(RDTSCP) {
                    physical[2] &= !(1 << 22);
                }
            }
            (0x8000_0001, _) if !self.controls.secondary(RDTSCP) => physical[3] &= !(1 << 27),
            _ => {}
        }
        physical
    }

    fn hlt(&mut self, index: usize) -> Outcome {
        advance();
        let interrupts = vmx_ops::read(field::GUEST_RFLAGS) & 1 << 9 != 0;
        let (dom, id) = self.slots[index].key();
        self.xen.halt(&self.memory, dom, id, interrupts);
        Ok(())
    }

    fn vmcall(&mut self, index: usize) -> Outcome {
        let paging = paging();
        let context = Context {
            paging,
            // The stack segment's DPL is the privilege level.
            cpl: (vmx_ops::read(field::GUEST_SS_ACCESS) >> 5 & 3) as u8,
            width: width(paging.efer),
            now: rdtsc(),
        };
        let slot = &mut self.slots[index];
        let key = slot.key();
        let gpr = &mut slot.vcpu.registers.gpr;
        if self.xen.hypercall(&mut self.memory, key, gpr, context) == Flow::Next {
            advance();
        }
        self.timers_changed = true;
        Ok(())
    }

    fn rdmsr(&mut self, index: usize) -> Outcome {
        let slot = &mut self.slots[index];
        let number = slot.vcpu.gpr(RCX) as u32;
        let answer = match number {
            IA32_ARCH_CAPABILITIES if cpuid(7, 0)[3] & ARCH_CAPABILITIES != 0 => {
                Msr::Value(runtime::cpu::rdmsr(number) & NOT_AFFECTED)
            }
            _ => self.xen.rdmsr(slot.dom, slot.id, number, rdtsc()),
        };
        match answer {
            Msr::Value(value) => {
                slot.vcpu.set_gpr(RAX, value & 0xFFFF_FFFF);
                slot.vcpu.set_gpr(RDX, value >> 32);
                advance();
            }
            Msr::Done | Msr::Gp | Msr::NotMine => self.fault(index, GP, Some(0)),
        }
        Ok(())
    }

    fn wrmsr(&mut self, index: usize) -> Outcome {
        let slot = &self.slots[index];
        let number = slot.vcpu.gpr(RCX) as u32;
        let value = slot.vcpu.gpr(RAX) & 0xFFFF_FFFF | slot.vcpu.gpr(RDX) << 32;
        let width = width(vmx_ops::read(field::GUEST_EFER));
        let done = self.xen.wrmsr(&mut self.memory, slot.key(), number, value, width, rdtsc());
        match done {
            Msr::Done | Msr::Value(_) => advance(),
            Msr::Gp | Msr::NotMine => self.fault(index, GP, Some(0)),
        }
        self.timers_changed = true;
        Ok(())
    }

    fn io(&mut self, index: usize) -> Outcome {
        let io = exit::Io(vmx_ops::read(field::EXIT_QUALIFICATION));
        if self.xen.pc(self.slots[index].dom).is_some() {
            self.device_port(index, io);
            return Ok(());
        }
        if io.is_string() {
            self.string_io(index, io);
            return Ok(());
        }
        let slot = &self.slots[index];
        let (dom, rax) = (slot.dom, slot.vcpu.gpr(RAX));
        if io.is_in() {
            let value = u64::from(self.port_read(dom, io.port()));
            self.finish_in(index, io, value);
        } else {
            let mask = u64::MAX >> (64 - 8 * u32::from(io.size()));
            self.port_write(dom, io.port(), io.size(), (rax & mask) as u32);
            advance();
        }
        Ok(())
    }

    /// Ends an IN that has read `value`.
    pub(crate) fn finish_in(&mut self, index: usize, io: exit::Io, value: u64) {
        let vcpu = &mut self.slots[index].vcpu;
        let mask = u64::MAX >> (64 - 8 * u32::from(io.size()));
        // A 32-bit result clears the upper half, a smaller one keeps the rest of RAX.
        let kept = if io.size() == 4 { 0 } else { vcpu.gpr(RAX) & !mask };
        vcpu.set_gpr(RAX, kept | value & mask);
        advance();
    }

    /// A read from a port: devices here are a byte wide, and nothing else drives the bus.
    pub(crate) fn port_read(&mut self, dom: DomId, port: u16) -> u32 {
        let byte = self.xen.port_read(&mut self.memory, dom, port);
        byte.map_or(u32::MAX, |byte| !0xFF | u32::from(byte))
    }

    pub(crate) fn port_write(&mut self, dom: DomId, port: u16, size: u8, value: u32) {
        if dom == DomId(0) {
            self.dom0_power(port, size, value);
        } else {
            // A write that nothing takes is lost.
            let _ = self.xen.port_write(&mut self.memory, dom, port, value);
        }
    }
}
