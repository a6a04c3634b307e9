//! VM entries: VMLAUNCH and VMRESUME. SDM vol. 3, "VM Entries".

use super::controls::{TIMER_SHIFT, entry, pin, proc, proc2};
use super::exit::CR0_KEPT;
use super::reason;
use super::rules::{self, Broken, Check, Kind};
use crate::Cpu;
use crate::state::TSC_STEP;
use crate::state::control::{CR0_PG, CR4_PAE, EFER_LMA, EFER_LME};
use crate::state::vmx::field::{Field, SEGMENT_FIELDS, group};
use crate::state::vmx::vmcs::{NO_VMCS, Vmcs};
use crate::state::vmx::{Exit, kind};
use crate::state::{Activity, Event, EventKind, Segment, System, TableRegister, gpr, seg};
use crate::trap::Trap;
use iced_x86::Instruction;
use mmu::HostPhys;

/// VM-instruction error: VMLAUNCH with a VMCS that is not clear.
const NOT_CLEAR: u32 = 4;
/// VM-instruction error: VMRESUME with a VMCS that is not launched.
const NOT_LAUNCHED: u32 = 5;
/// VM-instruction error: events blocked by MOV SS.
const MOV_SS: u32 = 26;

/// `VMLAUNCH`.
pub(crate) fn vmlaunch(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    cpu.vmx_operation(reason::VMLAUNCH)?;
    cpu.enter_guest(true);
    Ok(())
}

/// `VMRESUME`.
pub(crate) fn vmresume(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    cpu.vmx_operation(reason::VMRESUME)?;
    cpu.enter_guest(false);
    Ok(())
}

impl Cpu {
    fn enter_guest(&mut self, launch: bool) {
        if !self.state.vmx.vmcs.is_current() {
            return self.vm_fail_invalid();
        }
        if self.state.vmx.shadow & 2 != 0 {
            return self.vm_fail(MOV_SS);
        }
        match (launch, self.state.vmx.vmcs.launched) {
            (true, true) => return self.vm_fail(NOT_CLEAR),
            (false, false) => return self.vm_fail(NOT_LAUNCHED),
            _ => {}
        }
        let pdptes = self.entry_pdptes();
        if let Err(b) = self.check_entry(pdptes) {
            return self.refuse(b);
        }
        self.state.vmx.dirty = 0;
        self.load_guest(pdptes);
        if let Err(n) = self.load_entry_msrs() {
            return self.fail_entry(reason::ENTRY_MSR_LOAD, n);
        }
        if launch {
            self.state.vmx.vmcs.launched = true;
        }
        self.start_guest();
    }

    /// The PDPTEs that the entry loads.
    pub(super) fn entry_pdptes(&self) -> Option<[u64; 4]> {
        use Field::{GuestPdpte0, GuestPdpte1, GuestPdpte2, GuestPdpte3};
        let v = &self.state.vmx.vmcs;
        let pae = v[Field::GuestCr0] & CR0_PG != 0
            && v[Field::GuestCr4] & CR4_PAE != 0
            && v[Field::EntryControls] & entry::IA32E == 0;
        if !pae {
            return None;
        }
        if self.state.vmx.read_controls().proc2 & proc2::EPT == 0 {
            return Some(self.pdptes_at(v[Field::GuestCr3]));
        }
        Some([GuestPdpte0, GuestPdpte1, GuestPdpte2, GuestPdpte3].map(|f| v[f]))
    }

    /// The four PDPTEs in physical memory at a value of CR3.
    pub(super) fn pdptes_at(&self, cr3: u64) -> [u64; 4] {
        let at = cr3 & 0xffff_ffe0;
        std::array::from_fn(|n| self.phys_u64(at + 8 * n as u64))
    }

    /// Eight bytes of physical memory; all-ones outside RAM.
    pub(super) fn phys_u64(&self, at: u64) -> u64 {
        let bytes = self.mmu_ref().read_phys::<8>(HostPhys(at));
        bytes.map_or(u64::MAX, u64::from_le_bytes)
    }

    fn check_entry(&self, pdptes: Option<[u64; 4]>) -> Result<(), Broken> {
        let v = &self.state.vmx.vmcs;
        let active = self.state.vmx.read_controls();
        let shadow = active.proc & proc::TPR_SHADOW != 0;
        let reads_vtpr = shadow && active.proc2 & proc2::VIRTUALIZE_APIC == 0;
        let link = v[Field::VmcsLinkPointer];
        let check = Check {
            vmcs: v,
            model: &self.state.model,
            lma: self.long_mode(),
            vtpr_class: reads_vtpr.then(|| self.vtpr_in(v) as u64 >> 4),
            link_revision: (link != NO_VMCS).then(|| self.phys_u64(link & !0xfff) as u32),
            pdptes,
        };
        rules::before_host(&check, self.state.vmx.dirty)?;
        rules::guest_state(&check, self.state.vmx.dirty)
    }

    fn refuse(&mut self, b: Broken) {
        let text = match b.segment {
            Some(s) => format!("{s}: {}", b.says),
            None => b.says.to_string(),
        };
        *self.stats.vmx.refused.entry(text).or_default() += 1;
        match b.kind {
            Kind::Fail(n) => self.vm_fail(n),
            Kind::Guest(q) => self.fail_entry(reason::ENTRY_GUEST_STATE, q),
        }
    }

    /// A VM-entry failure after the checks of controls and host: SDM vol. 3, "VM-Entry Failures During or
    /// After Loading Guest State". Nothing of the VMCS changes but reason and qualification.
    fn fail_entry(&mut self, reason: u32, qualification: u64) {
        let reason = reason | reason::ENTRY_FAILED;
        let v = &mut self.state.vmx.vmcs;
        v[Field::ExitReason] = reason as u64;
        v[Field::ExitQualification] = qualification;
        self.state.vmx.dirty = group::ALL;
        self.stats.vmx.exit(reason);
        self.trace_exit(&Exit { qualification, ..Exit::new(reason) });
        self.finish_exit(reason);
    }

    /// SDM vol. 3, "Loading Guest State".
    pub(super) fn load_guest(&mut self, pdptes: Option<[u64; 4]>) {
        let controls = self.state.vmx.read_controls();
        let v = &self.state.vmx.vmcs;
        let s = &mut self.state.sys;
        load_registers(v, s);
        s.pdpte = pdptes.unwrap_or_default();
        load_segments(v, s);
        s.cpl = s.seg[seg::SS].dpl();
        s.activity = match v[Field::GuestActivity] {
            1 => Activity::Hlt,
            2 => Activity::Shutdown,
            3 => Activity::WaitSipi,
            _ => Activity::Active,
        };
        let blocked = v[Field::GuestInterruptibility];
        s.sti_shadow = blocked & 1 != 0;
        s.ss_shadow = blocked & 2 != 0;
        let nmi = blocked & 8 != 0;
        let virtual_nmis = controls.pin & pin::VIRTUAL_NMIS != 0;
        s.nmi_blocked = nmi && !virtual_nmis;
        s.pending_debug = pending_debug(v);
        s.step_trap = false;
        s.delivering = None;
        let (rip, rsp) = (v[Field::GuestRip], v[Field::GuestRsp]);
        let (rflags, inject) = (v[Field::GuestRflags], v[Field::EntryInterruptionInfo] >> 31 & 1);
        self.state.vmx.controls = controls;
        self.state.vmx.guest = true;
        self.state.vmx.virtual_nmi_blocked = nmi && virtual_nmis;
        self.state.vmx.inject = inject != 0;
        self.state.rip = rip;
        self.state.regs[gpr::RSP] = rsp;
        self.set_rflags(rflags);
        self.take_up_state();
    }

    /// What begins with the guest: counts, preemption timer, APIC virtualisation.
    pub(super) fn start_guest(&mut self) {
        // The entry itself still is the host's; the guest's first instruction comes after it.
        let now = self.now().wrapping_add(1);
        let level = self.state.vmx.level();
        self.stats.vmx.entries += 1;
        self.stats.vmx.pass(level, now);
        self.trace_entry(now);
        self.state.vmx.timer = if self.state.vmx.pin(pin::PREEMPTION_TIMER) {
            self.timer_deadline(now)
        } else {
            u64::MAX
        };
        self.watch_apic_page();
        self.check_tpr_at_entry();
    }

    /// When the preemption timer expires: it counts down whenever bit [`TIMER_SHIFT`] of the TSC
    /// changes.
    fn timer_deadline(&self, now: u64) -> u64 {
        let value = self.state.vmx.vmcs[Field::PreemptionTimer];
        if value == 0 {
            return now;
        }
        let tsc = self.tsc_at(now);
        let ticks = (tsc >> TIMER_SHIFT).wrapping_add(value) << TIMER_SHIFT;
        now.saturating_add(ticks.wrapping_sub(tsc).div_ceil(TSC_STEP))
    }

    /// Delivers the event that the entry injects. SDM vol. 3, "Event Injection".
    pub(super) fn inject_event(&mut self) {
        self.state.vmx.inject = false;
        let v = &self.state.vmx.vmcs;
        let info = v[Field::EntryInterruptionInfo];
        let error = (info & 1 << 11 != 0).then_some(v[Field::EntryErrorCode] as u32);
        let length = v[Field::EntryInstructionLength] as u8;
        let Some(kind) = event_kind((info >> 8 & 7) as u8) else {
            // Type 7, vector 0: a pending MTF exit.
            self.state.vmx.monitor_trap = true;
            return;
        };
        let by_program = kind as u8 >= kind::SOFTWARE_INTERRUPT;
        // A page fault that is injected leaves CR2 as it is.
        let address = self.state.sys.cr2;
        let debug = kind == EventKind::Hardware && info as u8 == crate::trap::vector::DB;
        let address = if debug { 0 } else { address };
        let event = Event { kind, vector: info as u8, error, address };
        if by_program {
            return self.inject_software(event, length);
        }
        self.state.vmx.injecting = true;
        self.inject(event);
        self.state.vmx.injecting = false;
    }

    /// Injects INT n and its like, as if raised by an instruction of `length` bytes.
    fn inject_software(&mut self, event: Event, length: u8) {
        let rip = self.state.rip;
        self.state.vmx.software_length = length;
        self.state.vmx.monitor_trap |= self.state.vmx.proc(proc::MONITOR_TRAP);
        self.state.rip = rip.wrapping_add(length as u64);
        let Err(trap) = self.deliver(event) else { return };
        self.state.rip = rip;
        match trap {
            Trap::Fault(e) => self.raise(e),
            _ => self.vm_exit(),
        }
    }
}

/// Debug exceptions that are pending after the entry. SDM vol. 3, "Delivery of Pending Debug Exceptions
/// after VM Entry".
fn pending_debug(v: &Vmcs) -> u64 {
    let info = v[Field::EntryInterruptionInfo];
    let kind = (info >> 31 & 1 != 0).then_some((info >> 8 & 7) as u8);
    let mov_ss = v[Field::GuestInterruptibility] & 2 != 0;
    let dropped = match kind.filter(|k| *k != kind::OTHER) {
        Some(kind::SOFTWARE_INTERRUPT | kind::SOFTWARE) => !mov_ss,
        Some(_) => true,
        // Shutdown and wait-for-SIPI.
        None => v[Field::GuestActivity] >= 2,
    };
    if dropped { 0 } else { v[Field::GuestPendingDebug] & 0x400f }
}

fn event_kind(kind: u8) -> Option<EventKind> {
    Some(match kind {
        kind::EXTERNAL => EventKind::External,
        kind::NMI => EventKind::Nmi,
        kind::HARDWARE => EventKind::Hardware,
        kind::SOFTWARE_INTERRUPT => EventKind::Software,
        kind::PRIVILEGED => EventKind::Privileged,
        kind::SOFTWARE => EventKind::SoftwareException,
        _ => return None,
    })
}

/// SDM vol. 3, "Loading Guest Control Registers, Debug Registers, and MSRs".
fn load_registers(v: &Vmcs, s: &mut System) {
    let controls = v[Field::EntryControls];
    s.cr0 = s.cr0 & CR0_KEPT | v[Field::GuestCr0] & !CR0_KEPT;
    s.cr3 = v[Field::GuestCr3];
    s.cr4 = v[Field::GuestCr4];
    s.msr.sysenter_cs = v[Field::GuestSysenterCs];
    s.msr.sysenter_esp = v[Field::GuestSysenterEsp];
    s.msr.sysenter_eip = v[Field::GuestSysenterEip];
    if controls & entry::LOAD_DEBUG != 0 {
        s.dr7 = v[Field::GuestDr7] & 0xffff_2fff | 0x400;
        s.msr.debugctl = v[Field::GuestDebugctl];
    }
    if controls & entry::LOAD_PAT != 0 {
        s.msr.pat = v[Field::GuestPat];
    }
    let long = controls & entry::IA32E != 0;
    if controls & entry::LOAD_EFER != 0 {
        s.efer = v[Field::GuestEfer];
        return;
    }
    let changed = EFER_LMA | if s.cr0 & CR0_PG != 0 { EFER_LME } else { 0 };
    s.efer = s.efer & !changed | if long { changed } else { 0 };
}

fn load_segments(v: &Vmcs, s: &mut System) {
    let all = s.seg.iter_mut().chain([&mut s.ldtr, &mut s.tr]);
    for (g, f) in all.zip(&SEGMENT_FIELDS) {
        *g = Segment {
            selector: v[f.selector] as u16,
            ar: v[f.rights] as u32 & 0x1_f0ff,
            limit: v[f.limit] as u32,
            base: v[f.base],
        };
    }
    s.gdtr =
        TableRegister { base: v[Field::GuestGdtrBase], limit: v[Field::GuestGdtrLimit] as u16 };
    s.idtr =
        TableRegister { base: v[Field::GuestIdtrBase], limit: v[Field::GuestIdtrLimit] as u16 };
}

impl Exit {
    /// The exit of an instruction: its length, RF clear.
    pub(super) fn of(i: &Instruction, reason: u32) -> Exit {
        Exit { length: i.len() as u32, resume: Some(false), ..Exit::new(reason) }
    }
}
