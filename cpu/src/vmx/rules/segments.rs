//! Rules on guest segment and descriptor-table registers. SDM vol. 3, "Checks on Guest Segment
//! Registers" and "Checks on Guest Descriptor-Table Registers".

use super::{Broken, Check, Kind, Rule, canonical, first, rules};
use crate::state::vmx::field::Field::*;
use crate::state::vmx::field::SEGMENT_FIELDS;
use crate::state::{ar, flags};
use crate::vmx::controls::{entry, proc2};

/// One register as the rules see it, and what they all depend on.
struct Seg<'a> {
    c: &'a Check<'a>,
    selector: u64,
    base: u64,
    limit: u64,
    rights: u32,
}

/// A rule on some registers.
struct SegmentRule {
    says: &'static str,
    /// Bit `n`: register `n` of [`SEGMENT_FIELDS`].
    of: u8,
    holds: fn(&Seg) -> bool,
}

const ES: u8 = 1;
const CS: u8 = 2;
const SS: u8 = 4;
const DS: u8 = 8;
const FS: u8 = 16;
const GS: u8 = 32;
const LDTR: u8 = 64;
const TR: u8 = 128;
const DATA: u8 = ES | DS | FS | GS;
const SIX: u8 = DATA | CS | SS;

impl Seg<'_> {
    fn usable(&self) -> bool {
        self.rights & ar::UNUSABLE == 0
    }

    fn kind(&self) -> u32 {
        self.rights & 15
    }

    fn dpl(&self) -> u64 {
        (self.rights >> ar::DPL_SHIFT & 3) as u64
    }

    fn restricted(&self) -> bool {
        !self.c.proc2(proc2::UNRESTRICTED)
    }

    fn ss_dpl(&self) -> u64 {
        self.c.get(GuestSsRights) >> ar::DPL_SHIFT & 3
    }

    fn cs_kind(&self) -> u64 {
        self.c.get(GuestCsRights) & 15
    }
}

/// The granularity bit goes with the limit.
fn granular(s: &Seg) -> bool {
    let g = s.rights & ar::G != 0;
    (!g || s.limit & 0xfff == 0xfff) && (g || s.limit >> 20 == 0)
}

/// The rules of CS bind it also if it is marked unusable: hardware lets only its other uses off.
fn unless_unusable(s: &Seg, holds: bool) -> bool {
    !s.usable() || holds
}

/// Rules in virtual-8086 mode.
#[rustfmt::skip]
const V86: &[SegmentRule] = &[
    SegmentRule { says: "in virtual-8086 mode the base is 16 times the selector", of: SIX,
        holds: |s| s.base == s.selector << 4 },
    SegmentRule { says: "in virtual-8086 mode the limit is 0xffff", of: SIX,
        holds: |s| s.limit == 0xffff },
    SegmentRule { says: "in virtual-8086 mode the access rights are 0xf3", of: SIX,
        holds: |s| s.rights == 0xf3 },
];

/// Rules outside virtual-8086 mode.
#[rustfmt::skip]
const PROTECTED: &[SegmentRule] = &[
    SegmentRule { says: "SS.RPL is CS.RPL", of: SS,
        holds: |s| !s.restricted() || s.selector & 3 == s.c.get(GuestCsSelector) & 3 },
    SegmentRule { says: "the base is canonical", of: FS | GS, holds: |s| canonical(s.base) },
    SegmentRule { says: "bits 63:32 of the base are 0", of: CS, holds: |s| s.base >> 32 == 0 },
    SegmentRule { says: "bits 63:32 of the base are 0", of: SS | DS | ES,
        holds: |s| unless_unusable(s, s.base >> 32 == 0) },
    SegmentRule { says: "CS is accessed code, or data if the guest is unrestricted", of: CS,
        holds: |s| matches!(s.kind(), 9 | 11 | 13 | 15) || (s.kind() == 3 && !s.restricted()) },
    SegmentRule { says: "SS is accessed and writable", of: SS,
        holds: |s| unless_unusable(s, matches!(s.kind(), 3 | 7)) },
    SegmentRule { says: "the segment is accessed", of: DATA,
        holds: |s| unless_unusable(s, s.kind() & 1 != 0) },
    SegmentRule { says: "code in a data register is readable", of: DATA,
        holds: |s| unless_unusable(s, s.kind() & 8 == 0 || s.kind() & 2 != 0) },
    SegmentRule { says: "S is 1", of: CS, holds: |s| s.rights & ar::S != 0 },
    SegmentRule { says: "S is 1", of: SS | DATA,
        holds: |s| unless_unusable(s, s.rights & ar::S != 0) },
    SegmentRule { says: "CS.DPL goes with its type and SS.DPL", of: CS,
        holds: |s| match s.kind() {
            3 => s.dpl() == 0,
            9 | 11 => s.dpl() == s.ss_dpl(),
            _ => s.dpl() <= s.ss_dpl(),
        } },
    SegmentRule { says: "SS.DPL is SS.RPL", of: SS,
        holds: |s| !s.restricted() || s.dpl() == s.selector & 3 },
    SegmentRule { says: "SS.DPL is 0 in real mode and with CS a data segment", of: SS,
        holds: |s| s.dpl() == 0 || (s.cs_kind() != 3 && s.c.protected()) },
    SegmentRule { says: "DPL is not below RPL", of: DATA,
        holds: |s| !s.restricted() || unless_unusable(s, s.kind() > 11 || s.dpl() >= s.selector & 3) },
    SegmentRule { says: "P is 1", of: CS, holds: |s| s.rights & ar::P != 0 },
    SegmentRule { says: "P is 1", of: SS | DATA,
        holds: |s| unless_unusable(s, s.rights & ar::P != 0) },
    SegmentRule { says: "bits 11:8 and 31:17 of the access rights are 0", of: CS,
        holds: |s| s.rights & 0xfffe_0f00 == 0 },
    SegmentRule { says: "bits 11:8 and 31:17 of the access rights are 0", of: SS | DATA,
        holds: |s| unless_unusable(s, s.rights & 0xfffe_0f00 == 0) },
    SegmentRule { says: "64-bit code has D clear", of: CS,
        holds: |s| !s.c.entry(entry::IA32E) || s.rights & ar::L == 0 || s.rights & ar::DB == 0 },
    SegmentRule { says: "G goes with the limit", of: CS, holds: granular },
    SegmentRule { says: "G goes with the limit", of: SS | DATA,
        holds: |s| unless_unusable(s, granular(s)) },
];

/// Rules on TR and LDTR.
#[rustfmt::skip]
const SYSTEM: &[SegmentRule] = &[
    SegmentRule { says: "TI is 0", of: TR, holds: |s| s.selector & 4 == 0 },
    SegmentRule { says: "TI is 0", of: LDTR, holds: |s| unless_unusable(s, s.selector & 4 == 0) },
    SegmentRule { says: "the base is canonical", of: TR, holds: |s| canonical(s.base) },
    SegmentRule { says: "the base is canonical", of: LDTR,
        holds: |s| unless_unusable(s, canonical(s.base)) },
    SegmentRule { says: "TR is a busy TSS, 64-bit in IA-32e mode", of: TR,
        holds: |s| s.kind() == 11 || (s.kind() == 3 && !s.c.entry(entry::IA32E)) },
    SegmentRule { says: "TR is usable", of: TR, holds: |s| s.usable() },
    SegmentRule { says: "LDTR is an LDT", of: LDTR, holds: |s| unless_unusable(s, s.kind() == 2) },
    SegmentRule { says: "S is 0", of: TR, holds: |s| s.rights & ar::S == 0 },
    SegmentRule { says: "S is 0", of: LDTR,
        holds: |s| unless_unusable(s, s.rights & ar::S == 0) },
    SegmentRule { says: "P is 1", of: TR, holds: |s| s.rights & ar::P != 0 },
    SegmentRule { says: "P is 1", of: LDTR,
        holds: |s| unless_unusable(s, s.rights & ar::P != 0) },
    SegmentRule { says: "bits 11:8 and 31:17 of the access rights are 0", of: TR,
        holds: |s| s.rights & 0xfffe_0f00 == 0 },
    SegmentRule { says: "bits 11:8 and 31:17 of the access rights are 0", of: LDTR,
        holds: |s| unless_unusable(s, s.rights & 0xfffe_0f00 == 0) },
    SegmentRule { says: "G goes with the limit", of: TR, holds: granular },
    SegmentRule { says: "G goes with the limit", of: LDTR,
        holds: |s| unless_unusable(s, granular(s)) },
];

/// GDTR and IDTR.
const TABLES: &[Rule] = rules! {
    "guest GDTR base is canonical" => |c| canonical(c.get(GuestGdtrBase));
    "guest IDTR base is canonical" => |c| canonical(c.get(GuestIdtrBase));
    "bits 31:16 of guest GDTR limit are 0" => |c| c.get(GuestGdtrLimit) >> 16 == 0;
    "bits 31:16 of guest IDTR limit are 0" => |c| c.get(GuestIdtrLimit) >> 16 == 0;
};

fn all(c: &Check, table: &[SegmentRule]) -> Result<(), Broken> {
    for (n, f) in SEGMENT_FIELDS.iter().enumerate() {
        let s = Seg {
            c,
            selector: c.get(f.selector),
            base: c.get(f.base),
            limit: c.get(f.limit),
            rights: c.get(f.rights) as u32,
        };
        let broken = table.iter().find(|r| r.of >> n & 1 != 0 && !(r.holds)(&s));
        if let Some(r) = broken {
            return Err(Broken { kind: Kind::Guest(0), says: r.says, segment: Some(f.name) });
        }
    }
    Ok(())
}

/// Checks all of them.
pub(super) fn check(c: &Check) -> Result<(), Broken> {
    let v86 = c.get(GuestRflags) & flags::VM != 0;
    all(c, if v86 { V86 } else { PROTECTED })?;
    all(c, SYSTEM)?;
    first(TABLES, c, Kind::Guest(0))
}

/// All sentences, for the test that looks for rules without a row.
#[cfg(test)]
pub(super) fn sentences() -> impl Iterator<Item = &'static str> {
    let of_segments = [V86, PROTECTED, SYSTEM].into_iter().flatten().map(|r| r.says);
    of_segments.chain(TABLES.iter().map(|r| r.says))
}
