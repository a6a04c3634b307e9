//! What follows from control registers and segments: code mode, paging regime, TLB view.

use crate::Cpu;
use crate::state::control::*;
use crate::state::{CodeMode, Segment, ar, flags, seg};
use mmu::{Mode, Regime, View};

impl Cpu {
    /// Whether CR0.PE is set.
    pub fn protected(&self) -> bool {
        self.state.sys.cr0 & CR0_PE != 0
    }

    /// Whether EFER.LMA is set.
    pub fn long_mode(&self) -> bool {
        self.state.sys.efer & EFER_LMA != 0
    }

    /// Whether the processor is in virtual-8086 mode.
    pub(crate) fn v86(&self) -> bool {
        self.state.flags.system & flags::VM != 0 && self.protected()
    }

    /// Loads segment register `s` with its hidden part. CS and SS do not change the CPL; see
    /// [`Cpu::set_cpl`].
    pub fn set_segment(&mut self, s: usize, g: Segment) {
        self.state.sys.seg[s] = g;
        self.state.bases.seg[s] = g.base;
        self.update_mode();
    }

    /// Sets the current privilege level.
    pub fn set_cpl(&mut self, cpl: u8) {
        self.state.sys.cpl = cpl;
        self.update_view();
    }

    /// The mode that blocks are decoded for now.
    fn code_mode(&self) -> CodeMode {
        let cs = &self.state.sys.seg[seg::CS];
        if self.long_mode() && cs.has(ar::L) && !self.v86() {
            return CodeMode::Bits64;
        }
        if !cs.has(ar::DB) || (self.protected() && self.v86()) {
            return CodeMode::Bits16;
        }
        let flat = |s: usize| {
            let g = &self.state.sys.seg[s];
            let data = ar::S | ar::P | ar::RW;
            g.base == 0 && g.limit == u32::MAX && !g.unusable() && g.has(data)
        };
        let data = |s: usize| flat(s) && self.state.sys.seg[s].ar & (ar::CODE | ar::DC) == 0;
        let big_stack = self.state.sys.seg[seg::SS].has(ar::DB);
        let ok = flat(seg::CS) && data(seg::SS) && big_stack && data(seg::DS) && data(seg::ES);
        if ok && self.protected() { CodeMode::Flat32 } else { CodeMode::Bits32 }
    }

    /// Recomputes what depends on segments, mode bits and VM.
    pub(crate) fn update_mode(&mut self) {
        let mode = self.code_mode();
        if mode != self.caches.mode {
            self.caches.mode = mode;
            self.env.leave = true;
            self.update_view();
        }
    }

    /// Recomputes the paging regime from CR0, CR3, CR4, EFER (and EPT), and takes up its TLB bank.
    pub(crate) fn update_paging(&mut self) {
        self.update_fallback();
        self.caches.regime = self.paging_regime();
        if self.env.mmu.is_null() {
            return;
        }
        self.caches.bank = self.env.mmu().activate(&self.caches.regime).index;
        self.update_mode();
        self.update_view();
    }

    /// The regime of accesses now.
    #[inline(always)]
    pub fn paging_regime(&self) -> Regime {
        let s = &self.state.sys;
        let mode = if s.cr0 & CR0_PG == 0 {
            Mode::Off
        } else if s.efer & EFER_LMA != 0 {
            if s.cr4 & CR4_LA57 != 0 { Mode::Level5 } else { Mode::Level4 }
        } else if s.cr4 & CR4_PAE != 0 {
            Mode::Pae
        } else {
            Mode::Bits32 { pse: s.cr4 & CR4_PSE != 0 }
        };
        let address = ((1u64 << self.state.model.maxphys) - 1) & !0xfff;
        let root = match mode {
            Mode::Off => 0,
            Mode::Pae => s.cr3 & 0xffff_ffe0,
            Mode::Bits32 { .. } => s.cr3 & 0xffff_f000,
            _ => s.cr3 & address,
        };
        Regime {
            mode,
            root,
            pdpte: if mode == Mode::Pae { s.pdpte } else { [0; 4] },
            wp: s.cr0 & CR0_WP != 0,
            nxe: s.efer & EFER_NXE != 0,
            smep: s.cr4 & CR4_SMEP != 0,
            smap: s.cr4 & CR4_SMAP != 0,
            gib_pages: self.state.model.gib_pages(),
            maxphys: self.state.model.maxphys,
            ept: self.state.vmx.eptp(),
            window: s.smm.window(),
        }
    }

    /// Recomputes what depends on the privilege level and EFLAGS.AC: TLB view and generation.
    pub(crate) fn update_view(&mut self) {
        self.env.leave = true;
        if self.env.mmu.is_null() {
            return;
        }
        let ac = self.state.flags.system & flags::AC != 0;
        self.caches.view = if self.state.sys.cpl == 3 {
            View::User
        } else if self.caches.regime.smap && !ac {
            View::SupervisorSmap
        } else {
            View::Supervisor
        };
        let (bank, view) = (self.caches.bank, self.caches.view);
        self.caches.tlb = if self.aligned_only() || self.watching() {
            MISS.0.as_ptr().cast_mut()
        } else {
            self.mmu().tlb(bank, view)
        };
        let g = self.mmu().generation(bank);
        self.set_generation(g);
    }
}

/// A TLB that never hits, for when every access has to be looked at. Never written: fills
/// go to the bank.
static MISS: mmu::TlbView = mmu::TlbView::EMPTY;
