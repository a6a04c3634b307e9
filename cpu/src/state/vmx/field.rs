//! The VMCS fields as a table: name, encoding, and what a change of it makes worth checking again.
//! SDM vol. 3, "Field Encoding in VMCS".

/// Groups of entry rules that a written field can break, see [`crate::vmx::rules`].
pub mod group {
    /// VM-execution, VM-exit and VM-entry controls. Everything else depends on them.
    pub const CONTROL: u8 = 1;
    /// Host state.
    pub const HOST: u8 = 2;
    /// Guest control registers, debug registers, MSRs, link pointer.
    pub const REGISTERS: u8 = 4;
    /// Guest segments and descriptor tables.
    pub const SEGMENTS: u8 = 8;
    /// Guest RIP, RFLAGS, activity, interruptibility, pending debug exceptions.
    pub const RUNNING: u8 = 16;
    /// Guest PDPTEs.
    pub const PDPTES: u8 = 32;
    /// All guest state.
    pub const GUEST: u8 = REGISTERS | SEGMENTS | RUNNING | PDPTES;
    /// All three groups of fields.
    pub const ALL: u8 = CONTROL | HOST | GUEST;
    /// No rule looks at it, or only rules that are checked at every entry.
    pub const NONE: u8 = 0;
}
use group::*;

macro_rules! fields {
    ($($name:ident = $encoding:literal, $group:expr;)*) => {
        /// A VMCS field. The order is that of our VMCS layout, see [`crate::state::vmx::vmcs`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        #[expect(missing_docs, reason = "the names are the SDM's")]
        pub enum Field { $($name),* }

        /// Encoding and rule groups of each field, in the order of [`Field`].
        pub const FIELDS: &[Line] = &[
            $(Line { field: Field::$name, encoding: $encoding, groups: $group }),*
        ];
    };
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// The field that the line describes.
    pub field: Field,
    /// Its encoding (full access).
    pub encoding: u16,
    /// Groups of rules to check after a VMWRITE.
    pub groups: u8,
}

#[rustfmt::skip]
fields! {
    Vpid = 0x0000, ALL;
    GuestEsSelector = 0x0800, SEGMENTS;
    GuestCsSelector = 0x0802, SEGMENTS;
    GuestSsSelector = 0x0804, SEGMENTS;
    GuestDsSelector = 0x0806, SEGMENTS;
    GuestFsSelector = 0x0808, SEGMENTS;
    GuestGsSelector = 0x080a, SEGMENTS;
    GuestLdtrSelector = 0x080c, SEGMENTS;
    GuestTrSelector = 0x080e, SEGMENTS;
    HostEsSelector = 0x0c00, HOST;
    HostCsSelector = 0x0c02, HOST;
    HostSsSelector = 0x0c04, HOST;
    HostDsSelector = 0x0c06, HOST;
    HostFsSelector = 0x0c08, HOST;
    HostGsSelector = 0x0c0a, HOST;
    HostTrSelector = 0x0c0c, HOST;
    IoBitmapA = 0x2000, CONTROL;
    IoBitmapB = 0x2002, CONTROL;
    MsrBitmap = 0x2004, CONTROL;
    ExitMsrStoreAddress = 0x2006, CONTROL;
    ExitMsrLoadAddress = 0x2008, CONTROL;
    EntryMsrLoadAddress = 0x200a, CONTROL;
    ExecutiveVmcsPointer = 0x200c, NONE;
    TscOffset = 0x2010, NONE;
    VirtualApicAddress = 0x2012, CONTROL;
    ApicAccessAddress = 0x2014, CONTROL;
    EptPointer = 0x201a, CONTROL;
    XssExitingBitmap = 0x202c, NONE;
    GuestPhysicalAddress = 0x2400, NONE;
    VmcsLinkPointer = 0x2800, REGISTERS;
    GuestDebugctl = 0x2802, REGISTERS;
    GuestPat = 0x2804, REGISTERS;
    GuestEfer = 0x2806, GUEST;
    GuestPdpte0 = 0x280a, PDPTES;
    GuestPdpte1 = 0x280c, PDPTES;
    GuestPdpte2 = 0x280e, PDPTES;
    GuestPdpte3 = 0x2810, PDPTES;
    HostPat = 0x2c00, HOST;
    HostEfer = 0x2c02, HOST;
    PinControls = 0x4000, ALL;
    ProcControls = 0x4002, ALL;
    ExceptionBitmap = 0x4004, NONE;
    PageFaultMask = 0x4006, NONE;
    PageFaultMatch = 0x4008, NONE;
    Cr3TargetCount = 0x400a, CONTROL;
    ExitControls = 0x400c, ALL;
    ExitMsrStoreCount = 0x400e, CONTROL;
    ExitMsrLoadCount = 0x4010, CONTROL;
    EntryControls = 0x4012, ALL;
    EntryMsrLoadCount = 0x4014, CONTROL;
    EntryInterruptionInfo = 0x4016, NONE;
    EntryErrorCode = 0x4018, NONE;
    EntryInstructionLength = 0x401a, NONE;
    TprThreshold = 0x401c, CONTROL;
    ProcControls2 = 0x401e, ALL;
    InstructionError = 0x4400, NONE;
    ExitReason = 0x4402, NONE;
    ExitInterruptionInfo = 0x4404, NONE;
    ExitInterruptionError = 0x4406, NONE;
    VectoringInfo = 0x4408, NONE;
    VectoringError = 0x440a, NONE;
    ExitInstructionLength = 0x440c, NONE;
    ExitInstructionInfo = 0x440e, NONE;
    GuestEsLimit = 0x4800, SEGMENTS;
    GuestCsLimit = 0x4802, SEGMENTS;
    GuestSsLimit = 0x4804, SEGMENTS;
    GuestDsLimit = 0x4806, SEGMENTS;
    GuestFsLimit = 0x4808, SEGMENTS;
    GuestGsLimit = 0x480a, SEGMENTS;
    GuestLdtrLimit = 0x480c, SEGMENTS;
    GuestTrLimit = 0x480e, SEGMENTS;
    GuestGdtrLimit = 0x4810, SEGMENTS;
    GuestIdtrLimit = 0x4812, SEGMENTS;
    GuestEsRights = 0x4814, SEGMENTS;
    GuestCsRights = 0x4816, SEGMENTS | RUNNING;
    GuestSsRights = 0x4818, SEGMENTS | RUNNING;
    GuestDsRights = 0x481a, SEGMENTS;
    GuestFsRights = 0x481c, SEGMENTS;
    GuestGsRights = 0x481e, SEGMENTS;
    GuestLdtrRights = 0x4820, SEGMENTS;
    GuestTrRights = 0x4822, SEGMENTS;
    GuestInterruptibility = 0x4824, RUNNING;
    GuestActivity = 0x4826, RUNNING;
    GuestSmbase = 0x4828, NONE;
    GuestSysenterCs = 0x482a, NONE;
    PreemptionTimer = 0x482e, NONE;
    HostSysenterCs = 0x4c00, NONE;
    Cr0Mask = 0x6000, NONE;
    Cr4Mask = 0x6002, NONE;
    Cr0Shadow = 0x6004, NONE;
    Cr4Shadow = 0x6006, NONE;
    Cr3Target0 = 0x6008, NONE;
    Cr3Target1 = 0x600a, NONE;
    Cr3Target2 = 0x600c, NONE;
    Cr3Target3 = 0x600e, NONE;
    ExitQualification = 0x6400, NONE;
    IoRcx = 0x6402, NONE;
    IoRsi = 0x6404, NONE;
    IoRdi = 0x6406, NONE;
    IoRip = 0x6408, NONE;
    GuestLinearAddress = 0x640a, NONE;
    GuestCr0 = 0x6800, GUEST;
    GuestCr3 = 0x6802, REGISTERS | PDPTES;
    GuestCr4 = 0x6804, GUEST;
    GuestEsBase = 0x6806, SEGMENTS;
    GuestCsBase = 0x6808, SEGMENTS;
    GuestSsBase = 0x680a, SEGMENTS;
    GuestDsBase = 0x680c, SEGMENTS;
    GuestFsBase = 0x680e, SEGMENTS;
    GuestGsBase = 0x6810, SEGMENTS;
    GuestLdtrBase = 0x6812, SEGMENTS;
    GuestTrBase = 0x6814, SEGMENTS;
    GuestGdtrBase = 0x6816, SEGMENTS;
    GuestIdtrBase = 0x6818, SEGMENTS;
    GuestDr7 = 0x681a, REGISTERS;
    GuestRsp = 0x681c, NONE;
    GuestRip = 0x681e, RUNNING;
    GuestRflags = 0x6820, RUNNING | SEGMENTS;
    GuestPendingDebug = 0x6822, RUNNING;
    GuestSysenterEsp = 0x6824, REGISTERS;
    GuestSysenterEip = 0x6826, REGISTERS;
    HostCr0 = 0x6c00, HOST;
    HostCr3 = 0x6c02, HOST;
    HostCr4 = 0x6c04, HOST;
    HostFsBase = 0x6c06, HOST;
    HostGsBase = 0x6c08, HOST;
    HostTrBase = 0x6c0a, HOST;
    HostGdtrBase = 0x6c0c, HOST;
    HostIdtrBase = 0x6c0e, HOST;
    HostSysenterEsp = 0x6c10, HOST;
    HostSysenterEip = 0x6c12, HOST;
    HostRsp = 0x6c14, NONE;
    HostRip = 0x6c16, HOST;
}

/// The VMCS fields of one segment register.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct SegmentFields {
    pub selector: Field,
    pub base: Field,
    pub limit: Field,
    pub rights: Field,
    pub name: &'static str,
}

macro_rules! segment_fields {
    ($($name:literal $selector:ident $base:ident $limit:ident $rights:ident;)*) => {
        [$(SegmentFields {
            selector: Field::$selector,
            base: Field::$base,
            limit: Field::$limit,
            rights: Field::$rights,
            name: $name,
        }),*]
    };
}

/// ES, CS, SS, DS, FS, GS, LDTR, TR.
#[rustfmt::skip]
pub const SEGMENT_FIELDS: [SegmentFields; 8] = segment_fields! {
    "ES" GuestEsSelector GuestEsBase GuestEsLimit GuestEsRights;
    "CS" GuestCsSelector GuestCsBase GuestCsLimit GuestCsRights;
    "SS" GuestSsSelector GuestSsBase GuestSsLimit GuestSsRights;
    "DS" GuestDsSelector GuestDsBase GuestDsLimit GuestDsRights;
    "FS" GuestFsSelector GuestFsBase GuestFsLimit GuestFsRights;
    "GS" GuestGsSelector GuestGsBase GuestGsLimit GuestGsRights;
    "LDTR" GuestLdtrSelector GuestLdtrBase GuestLdtrLimit GuestLdtrRights;
    "TR" GuestTrSelector GuestTrBase GuestTrLimit GuestTrRights;
};

/// Host selectors of ES, CS, SS, DS, FS, GS.
pub const HOST_SELECTORS: [Field; 6] = [
    Field::HostEsSelector,
    Field::HostCsSelector,
    Field::HostSsSelector,
    Field::HostDsSelector,
    Field::HostFsSelector,
    Field::HostGsSelector,
];

/// Width of a field. SDM vol. 3, "Structure of VMCS Component Encoding".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 16 bits.
    W16,
    /// 64 bits, in two halves for 32-bit code.
    W64,
    /// 32 bits.
    W32,
    /// As wide as the machine: 64 bits.
    Natural,
}

impl Field {
    /// The line of the table that describes the field.
    pub fn line(self) -> &'static Line {
        &FIELDS[self as usize]
    }

    /// Width of the field.
    pub fn width(self) -> Width {
        match self.line().encoding >> 13 & 3 {
            0 => Width::W16,
            1 => Width::W64,
            2 => Width::W32,
            _ => Width::Natural,
        }
    }

    /// Whether VMWRITE may not write it (VM-exit information).
    pub fn read_only(self) -> bool {
        self.line().encoding >> 10 & 3 == 1
    }

    /// The field with this encoding, and whether its high half is meant.
    #[inline]
    pub fn find(encoding: u64) -> Option<(Field, bool)> {
        let high = encoding & 1 != 0;
        let e = u16::try_from(encoding & !1).ok().filter(|e| e & 0x9000 == 0)?;
        let field = BY_ENCODING[slot(e)?]?;
        let exists = !high || e >> 13 == Width::W64 as u16;
        exists.then_some((field, high))
    }
}

/// Fields of one width and type that the lookup table has room for.
const ROOM: usize = 32;

/// Where the lookup table keeps an encoding without its access-type bit.
const fn slot(encoding: u16) -> Option<usize> {
    let index = (encoding >> 1 & 0x1ff) as usize;
    let class = (encoding >> 13 & 3) << 2 | (encoding >> 10 & 3);
    if index < ROOM { Some(class as usize * ROOM + index) } else { None }
}

/// The fields by slot.
static BY_ENCODING: [Option<Field>; 16 * ROOM] = {
    let mut t = [None; 16 * ROOM];
    let mut i = 0;
    while i < FIELDS.len() {
        if let Some(s) = slot(FIELDS[i].encoding) {
            t[s] = Some(FIELDS[i].field);
        }
        i += 1;
    }
    t
};

/// IA32_VMX_VMCS_ENUM: the highest index of a field, in bits 9:1.
pub const VMCS_ENUM: u64 = {
    let mut highest = 0;
    let mut i = 0;
    while i < FIELDS.len() {
        let index = FIELDS[i].encoding as u64 & 0x3fe;
        if index > highest {
            highest = index;
        }
        i += 1;
    }
    highest
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_finds_its_field() {
        for l in FIELDS {
            assert_eq!(Field::find(l.encoding as u64), Some((l.field, false)), "{:?}", l.field);
            let high = l.field.width() == Width::W64;
            let found = Field::find(l.encoding as u64 | 1);
            assert_eq!(found, high.then_some((l.field, true)), "{:?}", l.field);
        }
        assert_eq!(
            FIELDS.len(),
            (0..1 << 16).filter(|&e| e & 1 == 0 && Field::find(e).is_some()).count()
        );
    }

    #[test]
    fn absent_fields_are_not_found() {
        for e in [0x0002, 0x0810, 0x200e, 0x2808, 0x4020, 0x482c, 0x6010, 0x8000, 0x1000, u64::MAX]
        {
            assert_eq!(Field::find(e), None, "{e:#x}");
        }
        assert_eq!(VMCS_ENUM, 0x2e);
    }
}
