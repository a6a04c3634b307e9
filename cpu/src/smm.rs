//! System-management mode: SMIs, RSM, who sees system-management RAM. SDM vol. 3, "System Management Mode".
//!
//! Reading order: [`crate::state::smm`], `map` (the state save area), `Cpu::take_smi`, `Cpu::resume`.
//!
//! What the save area has no place for is kept inside the processor (`Before`): the interrupt shadows,
//! blocking of NMIs, debug exceptions not yet raised, and what the SDM calls VMX-critical state.
//! I/O instructions are not restarted, as bit 16 of the revision identifier says.

mod map;

use crate::Cpu;
use crate::debug::DR6_BT;
use crate::state::control::*;
use crate::state::smm::Before;
use crate::state::{Activity, Segment, Smm, Smram, ar, flags, seg};
use map::{AREA, Image, SIZE};
use mmu::{HostPhys, Window};

/// Where the handler begins, from SMBASE.
const ENTRY: u64 = 0x8000;

impl Smm {
    /// What the processor sees in the VGA window. Data sheet of the Q35 memory controller hub, "SMM Space
    /// Enable" (the rows of its table).
    pub(crate) fn window(&self) -> Window {
        let Smram { enabled, open, closed } = self.smram;
        match enabled && (self.active || open) {
            false => Window::Closed,
            true if closed => Window::Code,
            true => Window::Open,
        }
    }
}

impl Cpu {
    /// Whether an SMI is latched that can be taken. In shutdown and while a start-up IPI is awaited
    /// it waits.
    #[inline]
    pub(crate) fn smi_ready(&self) -> bool {
        let s = &self.state.sys;
        s.smm.pending
            && !s.smm.active
            && !matches!(s.activity, Activity::Shutdown | Activity::WaitSipi)
    }

    /// Takes an SMI: below the trap of a task switch, above all other events of an instruction boundary
    /// that are modelled. True if one was taken.
    pub(crate) fn take_smi(&mut self) -> bool {
        if !self.smi_ready() || self.state.sys.pending_debug & DR6_BT != 0 {
            return false;
        }
        // An event that a VM entry injects is part of the entry.
        self.vmx_inject();
        if self.state.sys.task_fault.is_some() || !self.smi_ready() {
            return true;
        }
        self.trace_smm("smi");
        self.state.sys.smm.pending = false;
        let image = Image::of(self);
        self.state.sys.smm.before = self.before_smm();
        self.vmx_leave_for_smm();
        self.enter_smm();
        let at = self.state.sys.smm.base.wrapping_add(AREA);
        let mut area = self.load_area(at);
        image.write(&self.state.model, &mut area);
        self.store_area(at, &area);
        true
    }

    fn before_smm(&self) -> Before {
        let s = &self.state.sys;
        Before {
            sti_shadow: s.sti_shadow,
            ss_shadow: s.ss_shadow,
            nmi_blocked: s.nmi_blocked,
            pending_debug: s.pending_debug,
            pdpte: s.pdpte,
            efer: s.efer,
            vmxe: s.cr4 & CR4_VMXE != 0,
            vmx: self.state.vmx.on,
            guest: self.state.vmx.guest,
            ss_dpl: s.seg[seg::SS].ar & 3 << ar::DPL_SHIFT,
            v86: self.state.flags.system & flags::VM != 0,
        }
    }

    /// SDM vol. 3, "Processor Register Initialization in SMM".
    fn enter_smm(&mut self) {
        let s = &mut self.state.sys;
        s.smm.active = true;
        s.cr0 &= !(CR0_PE | CR0_EM | CR0_TS | CR0_PG);
        s.cr4 = 0;
        s.efer = 0;
        s.dr7 = 0x400;
        s.cpl = 0;
        s.nmi_blocked = true;
        s.activity = Activity::Active;
        s.sti_shadow = false;
        s.ss_shadow = false;
        s.step_trap = false;
        s.pending_debug = 0;
        let base = s.smm.base;
        let rights = ar::P | ar::S | ar::RW | ar::ACCESSED | ar::G;
        let data = Segment { selector: 0, ar: rights, limit: u32::MAX, base: 0 };
        s.seg = [data; 6];
        s.seg[seg::CS] = Segment {
            selector: (base >> 4) as u16,
            ar: rights | ar::CODE,
            base: base.into(),
            ..data
        };
        self.state.rip = ENTRY;
        self.set_rflags(flags::FIXED);
        self.take_up_state();
    }

    /// `RSM`, in system-management mode: leaves it for the state in the save area, or shuts down.
    pub(crate) fn resume(&mut self) {
        let before = self.state.sys.smm.before;
        let area = self.load_area(self.state.sys.smm.base.wrapping_add(AREA));
        let image = Image { efer: before.efer, ..Image::default() }.read(&self.state.model, &area);
        match self.acceptable(image, &before) {
            Ok(image) => self.leave_smm(&image, &before),
            Err(says) => self.refuse_image(says),
        }
    }

    /// SDM vol. 3, "Default Treatment of RSM": the state to restore, or the rule that it breaks.
    fn acceptable(&self, mut image: Image, before: &Before) -> Result<Image, &'static str> {
        if image.cr4 & CR4_VMXE != 0 {
            return Err("CR4.VMXE is 0");
        }
        let holds = |image: &Image| image.broken(&self.state.model).map_or(Ok(()), Err);
        holds(&image)?;
        if before.vmxe {
            image.cr4 |= CR4_VMXE;
        }
        if before.vmx {
            let real = before.guest && self.vmx_unrestricted();
            (image.cr0, image.cr4) = crate::vmx::fixed_bits(image.cr0, image.cr4, real);
            image.rflags = image.rflags & !flags::VM | if before.v86 { flags::VM } else { 0 };
            let ss = &mut image.seg[seg::SS];
            ss.ar = ss.ar & !(3 << ar::DPL_SHIFT) | before.ss_dpl;
            if !before.v86 && !real {
                let rpl = (before.ss_dpl >> ar::DPL_SHIFT) as u16;
                for s in [seg::CS, seg::SS] {
                    image.seg[s].selector = image.seg[s].selector & !3 | rpl;
                }
            }
            holds(&image)?;
        }
        image.normalize(crate::isa::system::CR0_BITS);
        Ok(image)
    }

    fn leave_smm(&mut self, image: &Image, before: &Before) {
        self.state.regs = image.regs;
        self.state.rip = image.rip;
        let s = &mut self.state.sys;
        s.smm.active = false;
        s.smm.base = image.smbase;
        (s.cr0, s.cr3, s.cr4, s.efer) = (image.cr0, image.cr3, image.cr4, image.efer);
        (s.dr6, s.dr7) = (image.dr6, image.dr7);
        s.seg.copy_from_slice(&image.seg[..6]);
        (s.ldtr, s.tr) = (image.seg[6], image.seg[7]);
        (s.gdtr, s.idtr) = (image.gdtr, image.idtr);
        s.cpl = image.cpl();
        s.activity = if image.halt { Activity::Hlt } else { Activity::Active };
        s.sti_shadow = before.sti_shadow;
        s.ss_shadow = before.ss_shadow;
        s.nmi_blocked = before.nmi_blocked;
        s.pending_debug = before.pending_debug;
        s.step_trap = false;
        s.watch_hits = 0;
        s.pdpte = before.pdpte;
        self.set_rflags(image.rflags);
        self.vmx_return_from_smm(before);
        self.take_up_state();
        self.trace_smm("rsm");
        if image.pae() && self.state.vmx.eptp().is_none() && !self.load_plain_pdptes() {
            return self.refuse_image("the PDPTEs have no reserved bit");
        }
        self.take_up_state();
    }

    /// SDM vol. 3, "Exiting From SMM": an image that is not valid shuts the processor down.
    fn refuse_image(&mut self, says: &'static str) {
        self.stats.rsm_refused = Some(says);
        self.state.vmx.guest = false;
        self.state.sys.activity = Activity::Shutdown;
    }

    /// The save area at `at`.
    ///
    /// DEPARTURE: no device sees accesses to a save area outside RAM; it reads as all-ones.
    fn load_area(&mut self, at: u32) -> [u8; SIZE] {
        let mut area = [0xff; SIZE];
        let first = first_piece(at);
        let (a, b) = area.split_at_mut(first);
        for (part, at) in [(a, at), (b, at.wrapping_add(first as u32))] {
            if !self.mmu().read_slice(HostPhys(at.into()), part) {
                part.fill(0xff);
            }
        }
        area
    }

    fn store_area(&mut self, at: u32, area: &[u8; SIZE]) {
        let first = first_piece(at);
        let (a, b) = area.split_at(first);
        self.phys_write(HostPhys(at.into()), a);
        self.phys_write(HostPhys(at.wrapping_add(first as u32).into()), b);
    }
}

/// How many bytes of a save area at `at` lie in its first page.
fn first_piece(at: u32) -> usize {
    (4096 - (at as usize & 4095)).min(SIZE)
}
