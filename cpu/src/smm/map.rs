//! The state save area: two maps of one [`Image`], each a table of offsets from SMBASE + 8000h.

use crate::Cpu;
use crate::model::Model;
use crate::state::control::*;
use crate::state::{Segment, TableRegister, ar, flags, seg};
use Item::*;

/// Where the save area begins, from SMBASE.
pub(super) const AREA: u32 = 0xfe00;
/// Bytes of the save area.
pub(super) const SIZE: usize = 512;
/// The number of LDTR among the segment registers of an [`Image`].
const LDTR: u8 = 6;
/// The number of TR.
const TR: u8 = 7;
/// In the rights of a segment: the register is unusable. Reserved for the processor.
const UNUSABLE: u64 = 1 << 8;

/// A value that the map has a place for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Reg(u8),
    Rip,
    Rflags,
    Cr0,
    Cr3,
    Cr4,
    Dr6,
    Dr7,
    Efer,
    Selector(u8),
    Rights(u8),
    Limit(u8),
    Base(u8),
    GdtBase,
    GdtLimit,
    IdtBase,
    IdtLimit,
    /// Auto HALT restart, bit 0.
    Halt,
    /// SMM revision identifier.
    Revision,
    Smbase,
}

/// Offset from SMBASE + 8000h, bytes, what is there.
type Row = (u16, u8, Item);

/// The map of processors with 64-bit mode, as firmware and kernels for virtual machines know it: AMD64
/// Architecture Programmer's Manual, vol. 2, "SMM State-Save Area".
#[rustfmt::skip]
const LONG: &[Row] = &[
    (0x7e00, 2, Selector(0)),    (0x7e02, 2, Rights(0)),    (0x7e04, 4, Limit(0)),    (0x7e08, 8, Base(0)),
    (0x7e10, 2, Selector(1)),    (0x7e12, 2, Rights(1)),    (0x7e14, 4, Limit(1)),    (0x7e18, 8, Base(1)),
    (0x7e20, 2, Selector(2)),    (0x7e22, 2, Rights(2)),    (0x7e24, 4, Limit(2)),    (0x7e28, 8, Base(2)),
    (0x7e30, 2, Selector(3)),    (0x7e32, 2, Rights(3)),    (0x7e34, 4, Limit(3)),    (0x7e38, 8, Base(3)),
    (0x7e40, 2, Selector(4)),    (0x7e42, 2, Rights(4)),    (0x7e44, 4, Limit(4)),    (0x7e48, 8, Base(4)),
    (0x7e50, 2, Selector(5)),    (0x7e52, 2, Rights(5)),    (0x7e54, 4, Limit(5)),    (0x7e58, 8, Base(5)),
    (0x7e64, 2, GdtLimit),       (0x7e68, 8, GdtBase),
    (0x7e70, 2, Selector(LDTR)), (0x7e72, 2, Rights(LDTR)), (0x7e74, 4, Limit(LDTR)), (0x7e78, 8, Base(LDTR)),
    (0x7e84, 2, IdtLimit),       (0x7e88, 8, IdtBase),
    (0x7e90, 2, Selector(TR)),   (0x7e92, 2, Rights(TR)),   (0x7e94, 4, Limit(TR)),   (0x7e98, 8, Base(TR)),
    (0x7ec9, 1, Halt),           (0x7ed0, 8, Efer),
    (0x7efc, 4, Revision),       (0x7f00, 4, Smbase),
    (0x7f48, 8, Cr4),            (0x7f50, 8, Cr3),          (0x7f58, 8, Cr0),
    (0x7f60, 8, Dr7),            (0x7f68, 8, Dr6),          (0x7f70, 8, Rflags),      (0x7f78, 8, Rip),
    (0x7f80, 8, Reg(15)),        (0x7f88, 8, Reg(14)),      (0x7f90, 8, Reg(13)),     (0x7f98, 8, Reg(12)),
    (0x7fa0, 8, Reg(11)),        (0x7fa8, 8, Reg(10)),      (0x7fb0, 8, Reg(9)),      (0x7fb8, 8, Reg(8)),
    (0x7fc0, 8, Reg(7)),         (0x7fc8, 8, Reg(6)),       (0x7fd0, 8, Reg(5)),      (0x7fd8, 8, Reg(4)),
    (0x7fe0, 8, Reg(3)),         (0x7fe8, 8, Reg(2)),       (0x7ff0, 8, Reg(1)),      (0x7ff8, 8, Reg(0)),
];

/// The map of 32-bit processors: SDM vol. 3, "SMRAM State Save Map". The hidden parts of segment
/// registers and tables, and CR4, are in what the SDM reserves, where firmware for virtual machines
/// expects them.
#[rustfmt::skip]
const SHORT: &[Row] = &[
    (0x7ef8, 4, Smbase),      (0x7efc, 4, Revision),     (0x7f02, 2, Halt),           (0x7f14, 4, Cr4),
    (0x7f2c, 4, Rights(3)),   (0x7f30, 4, Limit(3)),     (0x7f34, 4, Base(3)),
    (0x7f38, 4, Rights(4)),   (0x7f3c, 4, Limit(4)),     (0x7f40, 4, Base(4)),
    (0x7f44, 4, Rights(5)),   (0x7f48, 4, Limit(5)),     (0x7f4c, 4, Base(5)),
    (0x7f54, 4, IdtLimit),    (0x7f58, 4, IdtBase),
    (0x7f5c, 4, Rights(TR)),  (0x7f60, 4, Limit(TR)),    (0x7f64, 4, Base(TR)),
    (0x7f70, 4, GdtLimit),    (0x7f74, 4, GdtBase),
    (0x7f78, 4, Rights(LDTR)),(0x7f7c, 4, Limit(LDTR)),  (0x7f80, 4, Base(LDTR)),
    (0x7f84, 4, Rights(0)),   (0x7f88, 4, Limit(0)),     (0x7f8c, 4, Base(0)),
    (0x7f90, 4, Rights(1)),   (0x7f94, 4, Limit(1)),     (0x7f98, 4, Base(1)),
    (0x7f9c, 4, Rights(2)),   (0x7fa0, 4, Limit(2)),     (0x7fa4, 4, Base(2)),
    (0x7fa8, 4, Selector(0)), (0x7fac, 4, Selector(1)),  (0x7fb0, 4, Selector(2)),    (0x7fb4, 4, Selector(3)),
    (0x7fb8, 4, Selector(4)), (0x7fbc, 4, Selector(5)),  (0x7fc0, 4, Selector(LDTR)), (0x7fc4, 4, Selector(TR)),
    (0x7fc8, 4, Dr7),         (0x7fcc, 4, Dr6),
    (0x7fd0, 4, Reg(0)),      (0x7fd4, 4, Reg(1)),       (0x7fd8, 4, Reg(2)),         (0x7fdc, 4, Reg(3)),
    (0x7fe0, 4, Reg(4)),      (0x7fe4, 4, Reg(5)),       (0x7fe8, 4, Reg(6)),         (0x7fec, 4, Reg(7)),
    (0x7ff0, 4, Rip),         (0x7ff4, 4, Rflags),       (0x7ff8, 4, Cr3),            (0x7ffc, 4, Cr0),
];

/// SMM revision identifiers: SMBASE can be moved (bit 17), I/O instructions are not restarted (bit 16).
const LONG_REVISION: u64 = 0x2_0064;
const SHORT_REVISION: u64 = 0x2_0000;

/// What SMI saves and RSM restores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) regs: [u64; 16],
    pub(super) rip: u64,
    pub(super) rflags: u64,
    pub(super) cr0: u64,
    pub(super) cr3: u64,
    pub(super) cr4: u64,
    pub(super) dr6: u64,
    pub(super) dr7: u64,
    pub(super) efer: u64,
    /// ES, CS, SS, DS, FS, GS, LDTR, TR.
    pub(super) seg: [Segment; 8],
    pub(super) gdtr: TableRegister,
    pub(super) idtr: TableRegister,
    pub(super) halt: bool,
    pub(super) smbase: u32,
    pub(super) revision: u64,
}

impl Image {
    /// The state of `cpu`.
    pub(super) fn of(cpu: &Cpu) -> Image {
        let s = &cpu.state.sys;
        let [es, cs, ss, ds, fs, gs] = s.seg;
        Image {
            regs: cpu.state.regs,
            rip: cpu.state.rip,
            rflags: cpu.rflags(),
            cr0: s.cr0,
            cr3: s.cr3,
            cr4: s.cr4 & !CR4_VMXE,
            dr6: s.dr6,
            dr7: s.dr7,
            efer: s.efer,
            seg: [es, cs, ss, ds, fs, gs, s.ldtr, s.tr],
            gdtr: s.gdtr,
            idtr: s.idtr,
            halt: s.activity == crate::state::Activity::Hlt,
            smbase: s.smm.base,
            revision: if has_long(&cpu.state.model) { LONG_REVISION } else { SHORT_REVISION },
        }
    }

    /// Puts the image into the bytes of a save area; the rest of them stays.
    pub(super) fn write(&self, model: &Model, area: &mut [u8; SIZE]) {
        for &(offset, size, item) in map(model) {
            let at = offset as usize - 0x7e00;
            area[at..at + size as usize]
                .copy_from_slice(&self.get(item).to_le_bytes()[..size.into()]);
        }
    }

    /// What a save area holds; what the map lacks is as in `self`.
    pub(super) fn read(mut self, model: &Model, area: &[u8; SIZE]) -> Image {
        for &(offset, size, item) in map(model) {
            let at = offset as usize - 0x7e00;
            let mut bytes = [0; 8];
            bytes[..size as usize].copy_from_slice(&area[at..at + size as usize]);
            self.set(item, u64::from_le_bytes(bytes));
        }
        self
    }

    fn get(&self, item: Item) -> u64 {
        match item {
            Reg(n) => self.regs[n as usize],
            Rip => self.rip,
            Rflags => self.rflags,
            Cr0 => self.cr0,
            Cr3 => self.cr3,
            Cr4 => self.cr4,
            Dr6 => self.dr6,
            Dr7 => self.dr7,
            Efer => self.efer,
            Selector(n) => self.seg[n as usize].selector.into(),
            Rights(n) => {
                let g = &self.seg[n as usize];
                (g.ar & 0xf0ff) as u64 | if g.unusable() { UNUSABLE } else { 0 }
            }
            Limit(n) => self.seg[n as usize].limit.into(),
            Base(n) => self.seg[n as usize].base,
            GdtBase => self.gdtr.base,
            GdtLimit => self.gdtr.limit.into(),
            IdtBase => self.idtr.base,
            IdtLimit => self.idtr.limit.into(),
            Halt => self.halt.into(),
            Revision => self.revision,
            Smbase => self.smbase.into(),
        }
    }

    fn set(&mut self, item: Item, v: u64) {
        match item {
            Reg(n) => self.regs[n as usize] = v,
            Rip => self.rip = v,
            Rflags => self.rflags = v,
            Cr0 => self.cr0 = v,
            Cr3 => self.cr3 = v,
            Cr4 => self.cr4 = v,
            Dr6 => self.dr6 = v,
            Dr7 => self.dr7 = v,
            Efer => self.efer = v,
            Selector(n) => self.seg[n as usize].selector = v as u16,
            Rights(n) => {
                let unusable = v & UNUSABLE != 0 || v as u32 & ar::P == 0;
                let bit = if unusable { ar::UNUSABLE } else { 0 };
                self.seg[n as usize].ar = v as u32 & 0xf0ff | bit;
            }
            Limit(n) => self.seg[n as usize].limit = v as u32,
            Base(n) => self.seg[n as usize].base = v,
            GdtBase => self.gdtr.base = v,
            GdtLimit => self.gdtr.limit = v as u16,
            IdtBase => self.idtr.base = v,
            IdtLimit => self.idtr.limit = v as u16,
            Halt => self.halt = v & 1 != 0,
            Revision => self.revision = v,
            Smbase => self.smbase = v as u32,
        }
    }

    fn ia32e(&self) -> bool {
        self.efer & EFER_LME != 0 && self.cr0 & CR0_PG != 0
    }

    /// Whether the PDPTEs count.
    pub(super) fn pae(&self) -> bool {
        self.cr0 & CR0_PG != 0 && self.cr4 & CR4_PAE != 0 && !self.ia32e()
    }

    /// The first rule that does not hold.
    pub(super) fn broken(&self, model: &Model) -> Option<&'static str> {
        RULES.iter().find(|rule| !(rule.holds)(self, model)).map(|rule| rule.says)
    }

    /// Gives values that no rule forbids, but no register can hold, those that it does: SDM vol. 3,
    /// "SMRAM State Save Map": reserved bits are not restored.
    pub(super) fn normalize(&mut self, cr0_bits: u64) {
        self.cr0 = self.cr0 & cr0_bits | CR0_ET;
        self.efer = self.efer & !EFER_LMA | if self.ia32e() { EFER_LMA } else { 0 };
        let v86 = self.cr0 & CR0_PE != 0 && !self.ia32e();
        self.rflags =
            self.rflags & 0x3f_7fd7 & if v86 { u64::MAX } else { !flags::VM } | flags::FIXED;
        self.dr6 = self.dr6 & 0xe00f | 0xffff_0ff0;
        self.dr7 = self.dr7 & 0xffff_2fff | 0x400;
        if !self.ia32e() {
            self.cr3 &= 0xffff_ffff;
        }
        if !(self.ia32e() && self.seg[seg::CS].has(ar::L)) {
            self.rip &= 0xffff_ffff;
        }
        let up = if self.cr4 & CR4_LA57 != 0 { 7 } else { 16 };
        for (n, g) in self.seg.iter_mut().enumerate() {
            let wide = n >= seg::FS;
            g.base = if wide { canonical(g.base, up) } else { g.base & 0xffff_ffff };
        }
        self.gdtr.base = canonical(self.gdtr.base, up);
        self.idtr.base = canonical(self.idtr.base, up);
    }

    /// The privilege level that follows.
    pub(super) fn cpl(&self) -> u8 {
        if self.rflags & flags::VM != 0 {
            3
        } else if self.cr0 & CR0_PE == 0 {
            0
        } else {
            self.seg[seg::SS].dpl()
        }
    }
}

fn canonical(v: u64, up: u32) -> u64 {
    ((v << up) as i64 >> up) as u64
}

fn has_long(model: &Model) -> bool {
    model.has(crate::feature::LM)
}

fn map(model: &Model) -> &'static [Row] {
    if has_long(model) { LONG } else { SHORT }
}

/// A condition on an image that RSM is to take.
struct Rule {
    says: &'static str,
    holds: fn(&Image, &Model) -> bool,
}

/// SDM vol. 3, "Exiting From SMM"; the rows about 64-bit state as the AMD64 manual has them under
/// "Leaving SMM".
#[rustfmt::skip]
const RULES: &[Rule] = &[
    Rule { says: "CR0 bits 63:32 are 0", holds: |i, _| i.cr0 >> 32 == 0 },
    Rule { says: "CR0.PG is not set without PE", holds: |i, _| i.cr0 & (CR0_PG | CR0_PE) != CR0_PG },
    Rule { says: "CR0.NW is not set without CD", holds: |i, _| i.cr0 & (CR0_NW | CR0_CD) != CR0_NW },
    Rule { says: "CR4 has no reserved bit", holds: |i, m| i.cr4 & !m.cr4_bits() == 0 },
    Rule { says: "EFER has no reserved bit", holds: |i, m| i.efer & !m.efer_bits() == 0 },
    Rule { says: "CR4.PAE is set in IA-32e mode", holds: |i, _| !i.ia32e() || i.cr4 & CR4_PAE != 0 },
    Rule { says: "CR4.PCIDE is 0 outside IA-32e mode", holds: |i, _| i.ia32e() || i.cr4 & CR4_PCIDE == 0 },
    Rule { says: "CR3 is within the physical-address width", holds: |i, m| !i.ia32e() || i.cr3 >> m.maxphys == 0 },
    Rule { says: "CS is not 64-bit and 32-bit at once", holds: |i, _| !i.ia32e() || !i.seg[seg::CS].has(ar::L | ar::DB) },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::ModelName;

    /// Rows lie in the area and do not overlap, and what is written is read again.
    #[track_caller]
    fn check(name: ModelName, rows: &[Row]) {
        let model = Model::new(name);
        assert_eq!(map(&model), rows);
        let mut used = [false; SIZE];
        for &(offset, size, item) in rows {
            for byte in offset..offset + size as u16 {
                let was = std::mem::replace(&mut used[byte as usize - 0x7e00], true);
                assert!(!was, "{item:?} overlaps at {byte:#x}");
            }
        }
        let mut area = [0; SIZE];
        for (n, byte) in area.iter_mut().enumerate() {
            *byte = (n * 37 + 11) as u8;
        }
        let image = Image::default().read(&model, &area);
        let mut again = [0; SIZE];
        image.write(&model, &mut again);
        assert_eq!(Image::default().read(&model, &again), image);
    }

    #[test]
    fn maps() {
        check(ModelName::Default, LONG);
        check(ModelName::Min32, SHORT);
    }
}
