//! What a translation depends on: the paging regime, the access, and how it can fail.

use crate::addr::GuestPhys;
use crate::ram::Window;

/// The paging mode. SDM vol. 3, "Paging Modes and Control Bits".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// CR0.PG = 0: linear addresses are guest-physical.
    Off,
    /// 32-bit paging.
    Bits32 {
        /// CR4.PSE.
        pse: bool,
    },
    /// PAE paging.
    Pae,
    /// 4-level paging.
    Level4,
    /// 5-level paging.
    Level5,
}

/// An EPT pointer as in the VMCS. SDM vol. 3, "Extended-Page-Table Pointer (EPTP)".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Eptp(pub u64);

impl Eptp {
    /// The physical address of the root table.
    #[must_use]
    #[inline]
    pub const fn root(self) -> u64 {
        self.0 & 0x000f_ffff_ffff_f000
    }

    /// Whether accessed and dirty flags are enabled.
    #[must_use]
    #[inline]
    pub const fn ad(self) -> bool {
        self.0 & 1 << 6 != 0
    }

    /// Levels of the walk: 4, or 5.
    #[must_use]
    #[inline]
    pub const fn levels(self) -> u8 {
        if self.0 >> 3 & 7 == 4 { 5 } else { 4 }
    }
}

/// Everything a translation depends on but memory; compared whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Regime {
    /// The paging mode.
    pub mode: Mode,
    /// CR3 without PCID, PWT and PCD; with PAE paging, CR3 without its low 5 bits.
    pub root: u64,
    /// The PDPTE registers, with PAE paging; otherwise zeros.
    pub pdpte: [u64; 4],
    /// CR0.WP.
    pub wp: bool,
    /// `IA32_EFER.NXE`.
    pub nxe: bool,
    /// CR4.SMEP.
    pub smep: bool,
    /// CR4.SMAP.
    pub smap: bool,
    /// The CPU has 1 GiB pages (for guest paging and for EPT).
    pub gib_pages: bool,
    /// MAXPHYADDR: 32 to 52.
    pub maxphys: u8,
    /// The EPT in force, if any.
    pub ept: Option<Eptp>,
    /// What the processor sees of system-management RAM: so that nothing cached for one view serves the
    /// other.
    pub window: Window,
}

/// A regime in a few words: equal tags are equal regimes.
#[derive(Clone, Copy)]
pub(crate) struct Tag {
    root: u64,
    ept: u64,
    bits: u64,
    pdpte: [u64; 4],
}

impl Tag {
    /// The tag of no regime.
    pub(crate) const NONE: Tag = Tag { root: 0, ept: 0, bits: u64::MAX, pdpte: [0; 4] };
    const PAE: u64 = 3;

    #[inline]
    pub(crate) fn new(r: &Regime) -> Tag {
        let Regime { mode, root, pdpte, wp, nxe, smep, smap, gib_pages, maxphys, ept, window } = *r;
        let mode = match mode {
            Mode::Off => 0,
            Mode::Bits32 { pse } => 1 + u64::from(pse),
            Mode::Pae => Tag::PAE,
            Mode::Level4 => 4,
            Mode::Level5 => 5,
        };
        let flags = [wp, nxe, smep, smap, gib_pages, ept.is_some()];
        let flags = flags.iter().fold(0, |b, f| b << 1 | u64::from(*f));
        let bits = mode | flags << 8 | u64::from(maxphys) << 16 | (window as u64) << 24;
        Tag { root, ept: ept.map_or(0, |e| e.0), bits, pdpte }
    }
}

impl PartialEq for Tag {
    #[inline]
    fn eq(&self, o: &Tag) -> bool {
        let same = self.root == o.root && self.ept == o.ept && self.bits == o.bits;
        // Without PAE paging the PDPTEs are zeros.
        same && (self.bits & 0xff != Tag::PAE || self.pdpte == o.pdpte)
    }
}

/// What an access does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessKind {
    /// A data read.
    Read,
    /// A data write, or a read with intent to write.
    Write,
    /// An instruction fetch.
    Execute,
}

/// One access to linear memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// Read, write or fetch.
    pub kind: AccessKind,
    /// CPL is 3 and the access is explicit.
    pub user: bool,
    /// EFLAGS.AC; ignored if implicit.
    pub ac: bool,
    /// A supervisor-mode access that the CPU makes itself: descriptor tables, TSS.
    pub implicit: bool,
}

impl Access {
    /// User-mode access in the sense of the paging rules.
    #[inline]
    pub(crate) const fn is_user(self) -> bool {
        self.user && !self.implicit
    }
}

/// Why an access cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// #PF; CR2 is the linear address asked for.
    Page {
        /// The error code.
        code: u32,
    },
    /// VM exit "EPT violation".
    EptViolation {
        /// To the byte for the data itself; the entry's address for a paging structure.
        gpa: GuestPhys,
        /// The exit qualification: bits 0-5, 7 and 8.
        qualification: u64,
        /// The linear address, where bit 7 is set.
        linear: u64,
    },
    /// VM exit "EPT misconfiguration".
    EptMisconfig {
        /// The guest-physical address being translated.
        gpa: GuestPhys,
    },
}

/// Which TLB table of a bank an access uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// Supervisor mode with CR4.SMAP = 0 or EFLAGS.AC = 1.
    Supervisor = 0,
    /// User mode.
    User = 1,
    /// Supervisor mode with CR4.SMAP = 1 and EFLAGS.AC = 0, or implicit: user pages never match.
    SupervisorSmap = 2,
}
