//! VM exits: records why, saves the guest, loads the host. SDM vol. 3, "VM Exits".

use super::controls::{exit, pin};
use super::reason;
use crate::Cpu;
use crate::state::TSC_STEP;
use crate::state::control::{CR0_CD, CR0_ET, CR0_NW, CR4_PAE, EFER_LMA, EFER_LME};
use crate::state::vmx::field::{Field, HOST_SELECTORS, SEGMENT_FIELDS, group};
use crate::state::vmx::stats::Level;
use crate::state::vmx::vmcs::Vmcs;
use crate::state::vmx::{Exit, kind};
use crate::state::{
    Activity, Event, EventKind, Segment, System, TableRegister, ar, flags, gpr, seg,
};
use crate::trap::{Trap, vector};
use mmu::GuestPhys;

/// CR0 bits that transitions leave alone.
pub(super) const CR0_KEPT: u64 = CR0_ET | CR0_CD | CR0_NW;

/// Interruption information of an event.
pub(super) fn interruption(e: &Event) -> u32 {
    let code = if e.error.is_some() { 1 << 11 } else { 0 };
    1 << 31 | code | (e.kind as u32) << 8 | e.vector as u32
}

impl Cpu {
    /// Makes the exit that a handler or a translation has recorded in `vmx.exit`; RIP is the
    /// instruction's.
    pub(crate) fn vm_exit(&mut self) {
        self.state.vmx.injecting = false;
        let event = self.state.sys.delivering.take();
        if event.is_none() && self.state.vmx.shadow != 0 {
            self.state.sys.sti_shadow = self.state.vmx.shadow & 1 != 0;
            self.state.sys.ss_shadow = self.state.vmx.shadow & 2 != 0;
        }
        self.leave_guest(event);
    }

    /// Makes an exit that no instruction and no delivery causes.
    pub(super) fn exit_now(&mut self, e: Exit) -> bool {
        self.state.vmx.exit = e;
        self.leave_guest(None);
        true
    }

    /// Makes the exit in `vmx.exit`, met while `event` was delivered.
    pub(super) fn leave_guest(&mut self, event: Option<Event>) {
        if !self.state.vmx.guest {
            // Nothing outside the guest records an exit.
            debug_assert!(self.state.vmx.guest, "VM exit outside VMX non-root operation");
            return;
        }
        self.record_vectoring(event);
        let e = self.state.vmx.exit;
        record(&mut self.state.vmx.vmcs, &e);
        self.save_guest(&e, event);
        self.trace_exit(&e);
        self.stats.vmx.exit(e.reason);
        self.finish_exit(e.reason);
    }

    /// IDT-vectoring information, and the length of the instruction that raised the event.
    fn record_vectoring(&mut self, event: Option<Event>) {
        let v = &mut self.state.vmx.vmcs;
        v[Field::VectoringInfo] = event.map_or(0, |e| interruption(&e)) as u64;
        v[Field::VectoringError] = event.and_then(|e| e.error).unwrap_or(0) as u64;
        let by_program = |k: EventKind| k as u8 >= kind::SOFTWARE_INTERRUPT;
        if event.is_some_and(|e| by_program(e.kind)) {
            self.state.vmx.exit.length = self.state.vmx.software_length as u32;
        }
    }

    /// Everything after saving the guest: MSR lists, host state.
    pub(super) fn finish_exit(&mut self, reason: u32) {
        if reason & reason::ENTRY_FAILED == 0 && !self.store_msrs() {
            return self.vmx_abort();
        }
        let now = self.now();
        self.stats.vmx.pass(Level::Root, now);
        let v = &mut self.state.vmx;
        v.guest = false;
        v.inject = false;
        v.monitor_trap = false;
        v.tpr_below = false;
        v.nmi_unblocked = false;
        v.timer = u64::MAX;
        self.load_host();
        if !self.load_exit_msrs() {
            self.vmx_abort();
        }
    }

    /// A VMX abort. SDM vol. 3, "VMX Aborts".
    pub(super) fn vmx_abort(&mut self) {
        self.state.vmx.guest = false;
        self.state.sys.activity = Activity::Shutdown;
    }

    /// Saves the guest at exit `e`, met while `event` was delivered.
    pub(super) fn save_guest(&mut self, e: &Exit, event: Option<Event>) {
        let rflags = self.rflags_at(e, event);
        let (rip, rsp, now) = (self.state.rip, self.state.regs[gpr::RSP], self.now());
        let ept = self.state.vmx.eptp().is_some();
        let nmi = if self.state.vmx.virtual_nmis() {
            self.state.vmx.virtual_nmi_blocked
        } else {
            self.state.sys.nmi_blocked
        };
        let active = self.state.vmx.controls;
        let s = &mut self.state.sys;
        let v = &mut self.state.vmx.vmcs;
        v[Field::GuestRip] = rip;
        v[Field::GuestRsp] = rsp;
        v[Field::GuestRflags] = rflags;
        save_registers(v, s, ept);
        save_segments(v, s);
        v[Field::GuestActivity] = s.activity as u64;
        v[Field::GuestInterruptibility] =
            s.sti_shadow as u64 | (s.ss_shadow as u64) << 1 | (nmi as u64) << 3;
        v[Field::GuestPendingDebug] = pending_debug(s);
        if active.pin & pin::PREEMPTION_TIMER != 0 && v[Field::ExitControls] & exit::SAVE_TIMER != 0
        {
            let left = self.state.vmx.timer.saturating_sub(now).saturating_mul(TSC_STEP);
            v[Field::PreemptionTimer] = left.div_ceil(1 << super::controls::TIMER_SHIFT);
        }
        if v[Field::EntryInterruptionInfo] >> 31 & 1 != 0 {
            v[Field::EntryInterruptionInfo] &= !(1 << 31);
        }
        // An NMI that exits blocks further ones.
        if e.reason == reason::EXCEPTION_OR_NMI && e.interruption >> 8 & 7 == kind::NMI as u32 {
            s.nmi_blocked = true;
        }
        self.save_mode();
    }

    /// EFER.LMA goes to the VM-entry controls.
    fn save_mode(&mut self) {
        let lma = self.state.sys.efer & EFER_LMA != 0;
        let v = &mut self.state.vmx.vmcs;
        let new = v[Field::EntryControls] & !super::controls::entry::IA32E
            | if lma { super::controls::entry::IA32E } else { 0 };
        if new != v[Field::EntryControls] {
            v[Field::EntryControls] = new;
            self.state.vmx.dirty |= group::ALL;
        }
    }

    /// SDM vol. 3, "Saving RIP, RSP, RFLAGS, and SSP". What is met while an event is delivered saves RF as
    /// that event's frame would hold it, an exception as its own frame would.
    fn rflags_at(&self, e: &Exit, event: Option<Event>) -> u64 {
        if let Some(event) = event
            && e.reason != reason::EXCEPTION_OR_NMI
        {
            return self.saved_flags(&event);
        }
        let r = self.rflags();
        match e.resume {
            Some(true) => r | flags::RF,
            Some(false) => r & !flags::RF,
            None => r,
        }
    }

    /// SDM vol. 3, "Loading Host State".
    pub(super) fn load_host(&mut self) {
        let v = &self.state.vmx.vmcs;
        let s = &mut self.state.sys;
        let controls = v[Field::ExitControls];
        let long = controls & exit::HOST_64 != 0;
        s.cr0 = s.cr0 & CR0_KEPT | v[Field::HostCr0] & !CR0_KEPT;
        s.cr3 = v[Field::HostCr3];
        s.cr4 = v[Field::HostCr4];
        s.dr7 = 0x400;
        s.msr.debugctl = 0;
        s.msr.sysenter_cs = v[Field::HostSysenterCs];
        s.msr.sysenter_esp = v[Field::HostSysenterEsp];
        s.msr.sysenter_eip = v[Field::HostSysenterEip];
        if controls & exit::LOAD_EFER != 0 {
            s.efer = v[Field::HostEfer];
        }
        let mode = EFER_LMA | EFER_LME;
        s.efer = s.efer & !mode | if long { mode } else { 0 };
        if controls & exit::LOAD_PAT != 0 {
            s.msr.pat = v[Field::HostPat];
        }
        load_host_segments(v, s, long);
        s.activity = Activity::Active;
        s.sti_shadow = false;
        s.ss_shadow = false;
        s.pending_debug = 0;
        s.step_trap = false;
        s.delivering = None;
        let (rip, rsp) = (v[Field::HostRip], v[Field::HostRsp]);
        self.state.rip = if long { rip } else { rip as u32 as u64 };
        self.state.regs[gpr::RSP] = rsp;
        self.set_rflags(flags::FIXED);
        self.state.sys.cpl = 0;
        self.state.vmx.shadow = 0;
        if !long && self.state.sys.cr4 & CR4_PAE != 0 && !self.load_plain_pdptes() {
            self.vmx_abort();
        }
        self.take_up_state();
    }

    /// Takes the PDPTEs at CR3 from physical memory; false if they are not valid.
    pub(crate) fn load_plain_pdptes(&mut self) -> bool {
        let pdptes = self.pdptes_at(self.state.sys.cr3);
        self.state.sys.pdpte = pdptes;
        mmu::pdptes_valid(&pdptes, self.state.model.maxphys)
    }

    /// Derives everything from `sys` after a transition.
    pub(crate) fn take_up_state(&mut self) {
        for (base, s) in self.state.bases.seg.iter_mut().zip(&self.state.sys.seg) {
            *base = s.base;
        }
        self.update_paging();
    }

    /// Records the exit of an instruction or translation, for the caller to return.
    pub(super) fn exit_trap(&mut self, e: Exit) -> Trap {
        self.state.vmx.exit = e;
        Trap::VmExit
    }

    /// An EPT violation, by a `fetch` or not: records the exit.
    pub(crate) fn ept_violation(
        &mut self,
        gpa: GuestPhys,
        qualification: u64,
        linear: u64,
        fetch: bool,
    ) -> Trap {
        let unblocked =
            (self.state.vmx.nmi_unblocked && self.state.sys.delivering.is_none()) as u64;
        self.exit_trap(Exit {
            qualification: qualification | unblocked << 12,
            linear,
            physical: gpa.0,
            ..self.access_exit(reason::EPT_VIOLATION, fetch)
        })
    }

    /// An EPT misconfiguration, met by a `fetch` or not: records the exit.
    pub(crate) fn ept_misconfig(&mut self, gpa: GuestPhys, fetch: bool) -> Trap {
        let e = self.access_exit(reason::EPT_MISCONFIG, fetch);
        self.exit_trap(Exit { physical: gpa.0, ..e })
    }

    /// An exit of a load, a store or a `fetch`: RF set, and the length of the instruction that makes it, if
    /// that is known. The SDM defines the length for few of these; hypervisors read it after all of them.
    pub(super) fn access_exit(&self, reason: u32, fetch: bool) -> Exit {
        let by_instruction = !fetch && self.state.sys.delivering.is_none();
        let length = if by_instruction { self.instruction_length() } else { 0 };
        Exit { length, resume: Some(true), ..Exit::new(reason) }
    }
}

/// Writes the exit-information fields.
fn record(v: &mut Vmcs, e: &Exit) {
    v[Field::ExitReason] = e.reason as u64;
    v[Field::ExitQualification] = e.qualification;
    v[Field::ExitInterruptionInfo] = e.interruption as u64;
    v[Field::ExitInterruptionError] = e.error as u64;
    v[Field::ExitInstructionLength] = e.length as u64;
    v[Field::ExitInstructionInfo] = e.info as u64;
    v[Field::GuestLinearAddress] = e.linear;
    v[Field::GuestPhysicalAddress] = e.physical;
}

/// SDM vol. 3, "Saving Control Registers, Debug Registers, and MSRs".
fn save_registers(v: &mut Vmcs, s: &System, ept: bool) {
    let controls = v[Field::ExitControls];
    v[Field::GuestCr0] = s.cr0;
    v[Field::GuestCr3] = s.cr3;
    v[Field::GuestCr4] = s.cr4;
    v[Field::GuestSysenterCs] = s.msr.sysenter_cs as u32 as u64;
    v[Field::GuestSysenterEsp] = s.msr.sysenter_esp;
    v[Field::GuestSysenterEip] = s.msr.sysenter_eip;
    if controls & exit::SAVE_DEBUG != 0 {
        v[Field::GuestDr7] = s.dr7;
        v[Field::GuestDebugctl] = s.msr.debugctl;
    }
    if controls & exit::SAVE_PAT != 0 {
        v[Field::GuestPat] = s.msr.pat;
    }
    if controls & exit::SAVE_EFER != 0 {
        v[Field::GuestEfer] = s.efer;
    }
    if ept {
        use Field::{GuestPdpte0, GuestPdpte1, GuestPdpte2, GuestPdpte3};
        let fields = [GuestPdpte0, GuestPdpte1, GuestPdpte2, GuestPdpte3];
        fields.iter().zip(s.pdpte).for_each(|(f, p)| v[*f] = p);
    }
}

fn save_segments(v: &mut Vmcs, s: &System) {
    let all = s.seg.iter().chain([&s.ldtr, &s.tr]);
    for (g, f) in all.zip(&SEGMENT_FIELDS) {
        v[f.selector] = g.selector as u64;
        v[f.base] = g.base;
        v[f.limit] = g.limit as u64;
        // Bits 11:8 are reserved; an unusable register keeps only what the SDM lets survive.
        v[f.rights] = (g.ar & 0x1_f0ff) as u64;
    }
    v[Field::GuestGdtrBase] = s.gdtr.base;
    v[Field::GuestGdtrLimit] = s.gdtr.limit as u64;
    v[Field::GuestIdtrBase] = s.idtr.base;
    v[Field::GuestIdtrLimit] = s.idtr.limit as u64;
}

/// The pending-debug-exceptions field. SDM vol. 3, "Guest Non-Register State".
fn pending_debug(s: &System) -> u64 {
    let hits = s.pending_debug & 0xf;
    let bs = s.pending_debug & 1 << 14;
    let enabled = (0..4).any(|n| hits >> n & 1 != 0 && s.dr7 >> (2 * n) & 3 != 0);
    hits | bs | if enabled { 1 << 12 } else { 0 }
}

fn load_host_segments(v: &Vmcs, s: &mut System, long: bool) {
    const DATA: u32 = ar::P | ar::S | ar::RW | ar::ACCESSED | ar::DB | ar::G;
    for (n, f) in HOST_SELECTORS.iter().enumerate() {
        let selector = v[*f] as u16;
        let unusable = if selector == 0 { ar::UNUSABLE } else { 0 };
        s.seg[n] = Segment { selector, ar: DATA | unusable, limit: u32::MAX, base: 0 };
    }
    let size = if long { ar::L } else { ar::DB };
    s.seg[seg::CS].ar = ar::P | ar::S | ar::CODE | ar::RW | ar::ACCESSED | ar::G | size;
    s.seg[seg::FS].base = v[Field::HostFsBase];
    s.seg[seg::GS].base = v[Field::HostGsBase];
    s.ldtr = Segment { selector: 0, ar: ar::UNUSABLE, limit: 0, base: 0 };
    s.tr = Segment {
        selector: v[Field::HostTrSelector] as u16,
        ar: ar::P | 11,
        limit: 0x67,
        base: v[Field::HostTrBase],
    };
    s.gdtr = TableRegister { base: v[Field::HostGdtrBase], limit: 0xffff };
    s.idtr = TableRegister { base: v[Field::HostIdtrBase], limit: 0xffff };
}

/// The exit that an exception or NMI makes.
pub(super) fn exit_of_event(e: &Event) -> Exit {
    let debug = e.kind == EventKind::Hardware && e.vector == vector::DB;
    let page_fault = e.kind == EventKind::Hardware && e.vector == vector::PF;
    let fault =
        e.kind == EventKind::Hardware && !matches!(e.vector, vector::DB | vector::DF | vector::MC);
    Exit {
        qualification: if debug || page_fault { e.address } else { 0 },
        interruption: interruption(e),
        error: e.error.unwrap_or(0),
        resume: fault.then_some(true),
        ..Exit::new(reason::EXCEPTION_OR_NMI)
    }
}
