//! What follows from control registers and segments: code mode, paging regime, TLB view.

use crate::flags;
use crate::state::{CodeMode, Cpu, Segment, ar, seg};
use mmu::{Mode, Regime, View};

/// CR0.PE.
pub const CR0_PE: u64 = 1;
/// CR0.MP.
pub const CR0_MP: u64 = 1 << 1;
/// CR0.EM.
pub const CR0_EM: u64 = 1 << 2;
/// CR0.TS.
pub const CR0_TS: u64 = 1 << 3;
/// CR0.ET, always 1.
pub const CR0_ET: u64 = 1 << 4;
/// CR0.NE.
pub const CR0_NE: u64 = 1 << 5;
/// CR0.WP.
pub const CR0_WP: u64 = 1 << 16;
/// CR0.AM.
pub const CR0_AM: u64 = 1 << 18;
/// CR0.NW.
pub const CR0_NW: u64 = 1 << 29;
/// CR0.CD.
pub const CR0_CD: u64 = 1 << 30;
/// CR0.PG.
pub const CR0_PG: u64 = 1 << 31;
/// CR4.VME.
pub const CR4_VME: u64 = 1;
/// CR4.PVI.
pub const CR4_PVI: u64 = 1 << 1;
/// CR4.TSD.
pub const CR4_TSD: u64 = 1 << 2;
/// CR4.DE.
pub const CR4_DE: u64 = 1 << 3;
/// CR4.PSE.
pub const CR4_PSE: u64 = 1 << 4;
/// CR4.PAE.
pub const CR4_PAE: u64 = 1 << 5;
/// CR4.MCE.
pub const CR4_MCE: u64 = 1 << 6;
/// CR4.PGE.
pub const CR4_PGE: u64 = 1 << 7;
/// CR4.PCE.
pub const CR4_PCE: u64 = 1 << 8;
/// CR4.OSFXSR.
pub const CR4_OSFXSR: u64 = 1 << 9;
/// CR4.OSXMMEXCPT.
pub const CR4_OSXMMEXCPT: u64 = 1 << 10;
/// CR4.UMIP.
pub const CR4_UMIP: u64 = 1 << 11;
/// CR4.LA57.
pub const CR4_LA57: u64 = 1 << 12;
/// CR4.VMXE.
pub const CR4_VMXE: u64 = 1 << 13;
/// CR4.FSGSBASE.
pub const CR4_FSGSBASE: u64 = 1 << 16;
/// CR4.PCIDE.
pub const CR4_PCIDE: u64 = 1 << 17;
/// CR4.OSXSAVE.
pub const CR4_OSXSAVE: u64 = 1 << 18;
/// CR4.SMEP.
pub const CR4_SMEP: u64 = 1 << 20;
/// CR4.SMAP.
pub const CR4_SMAP: u64 = 1 << 21;
/// EFER.SCE.
pub const EFER_SCE: u64 = 1;
/// EFER.LME.
pub const EFER_LME: u64 = 1 << 8;
/// EFER.LMA.
pub const EFER_LMA: u64 = 1 << 10;
/// EFER.NXE.
pub const EFER_NXE: u64 = 1 << 11;

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
        let regime = self.paging_regime();
        if !self.env.mmu.is_null() {
            self.caches.bank = self.mmu().activate(&regime).index;
        }
        self.caches.regime = regime;
        if self.env.mmu.is_null() {
            return;
        }
        self.update_mode();
        self.update_view();
    }

    fn paging_regime(&self) -> Regime {
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
