//! Walks by example, one rule a row: SDM vol. 3, chapter "Paging" and "The Extended Page Table
//! Mechanism (EPT)". Each row is also put to the reference.

mod reference;

use mmu::{
    Access, AccessKind, Eptp, Fault, GuestPhys, HostPhys, Limits, Linear, Mmu, Mode, Ram, Regime,
    Window,
};
use reference::Model;

const SIZE: u64 = 1 << 20;
/// The linear address asked for: index 1 at levels 5 to 2 where there is one, 3 at level 1.
const OFFSET: u64 = 0x3123;
const READ: Access = Access { kind: AccessKind::Read, user: false, ac: false, implicit: false };
const WRITE: Access = Access { kind: AccessKind::Write, ..READ };
const FETCH: Access = Access { kind: AccessKind::Execute, ..READ };
const USER: Access = Access { user: true, ..READ };
const USER_WRITE: Access = Access { user: true, ..WRITE };
const USER_FETCH: Access = Access { user: true, ..FETCH };
const AC: Access = Access { ac: true, ..READ };
const IMPLICIT: Access = Access { implicit: true, user: true, ac: true, ..READ };

const P: u64 = 1;
const W: u64 = 2;
const U: u64 = 4;
const PS: u64 = 0x80;
const PAT: u64 = 0x1000;
const NX: u64 = 1 << 63;
const ALL: u64 = P | W | U;

/// Tables at 0x1000 per level; the page is 0x9000.
const fn table(level: u64) -> u64 {
    level << 12
}
const PAGE: u64 = 0x9000;
/// EPT tables, the root (level 4) first.
const fn ept(level: u64) -> u64 {
    0x24000 - (level << 12)
}

/// A regime and its tables, in two memories.
struct World {
    r: Regime,
    mmu: Mmu,
    model: Model,
}

fn regime(mode: Mode) -> Regime {
    Regime {
        mode,
        root: 0,
        pdpte: [0; 4],
        wp: false,
        nxe: false,
        smep: false,
        smap: false,
        gib_pages: true,
        maxphys: 40,
        ept: None,
        window: Window::Closed,
    }
}

impl World {
    /// All rights everywhere, A and D clear.
    fn new(mode: Mode) -> World {
        let ram = Ram::new(SIZE).expect("1 MiB is a valid size");
        let model = Model { mem: vec![0; SIZE as usize], changes: 0 };
        let mut w = World { r: regime(mode), mmu: Mmu::new(ram, Limits::default()), model };
        let (top, bytes) = match mode {
            Mode::Off => (0, 8),
            Mode::Bits32 { .. } => (2, 4),
            Mode::Pae => (2, 8),
            Mode::Level4 => (4, 8),
            Mode::Level5 => (5, 8),
        };
        w.r.root = table(top);
        if mode == Mode::Pae {
            w.r.pdpte[1] = table(2) | P;
            w.r.root = 0x8000;
        }
        for level in (2..=top).rev() {
            w.put(table(level) + bytes, bytes, table(level - 1) | ALL);
        }
        w.put(table(1) + 3 * bytes, bytes, PAGE | ALL);
        w
    }

    /// The same under EPT, identity-mapped in the first 64 KiB.
    fn nested(mode: Mode, ad: bool) -> World {
        let mut w = World::new(mode);
        w.r.ept = Some(Eptp(ept(4) | 0x1e | u64::from(ad) << 6));
        for level in 2..=4 {
            w.put(ept(level), 8, ept(level - 1) | 7);
        }
        for page in 0..16 {
            w.put(ept(1) + page * 8, 8, page << 12 | 0x37);
        }
        w
    }

    fn la(&self) -> u64 {
        OFFSET
            | match self.r.mode {
                Mode::Off => return PAGE | 0x123,
                Mode::Bits32 { .. } => 1 << 22,
                Mode::Pae => 1 << 30 | 1 << 21,
                Mode::Level4 => 1 << 39 | 1 << 30 | 1 << 21,
                Mode::Level5 => 1 << 48 | 1 << 39 | 1 << 30 | 1 << 21,
            }
    }

    fn put(&mut self, p: u64, bytes: u64, value: u64) {
        self.model.write(p, bytes, value);
        assert!(self.mmu.write_slice(HostPhys(p), &value.to_le_bytes()[..bytes as usize]));
    }

    /// Flips bits of the entry that the walk uses at `level`.
    fn flip(mut self, level: u64, bits: u64) -> World {
        let bytes = if matches!(self.r.mode, Mode::Bits32 { .. }) { 4 } else { 8 };
        let at = table(level) + bytes * if level == 1 { 3 } else { 1 };
        let old = self.model.read(at, bytes);
        self.put(at, bytes, old ^ bits);
        self
    }

    /// Flips bits of the EPT entry at `level` that maps guest page `page`.
    fn flip_ept(mut self, level: u64, page: u64, bits: u64) -> World {
        let at = ept(level) + if level == 1 { page * 8 } else { 0 };
        let old = self.model.read(at, 8);
        self.put(at, 8, old ^ bits);
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Regime)) -> World {
        change(&mut self.r);
        self
    }

    /// Checks one access: by the MMU (twice, so that what is cached is asked too), by the reference.
    #[track_caller]
    fn check(mut self, a: Access, want: Result<u64, Fault>) {
        let la = self.la();
        let bank = self.mmu.activate(&self.r);
        assert_eq!(self.model.translate(&self.r, la, a), want, "the reference");
        assert_eq!(self.mmu.translate(&self.r, Linear(la), a), want.map(HostPhys));
        let again = if a.kind == AccessKind::Execute && !a.implicit {
            self.mmu.fetch(&self.r, bank.index, a.user, Linear(la))
        } else {
            self.mmu.translate(&self.r, Linear(la), a)
        };
        assert_eq!(again, want.map(HostPhys), "again");
        for page in (0..0x25).map(|p| p << 12) {
            let mem = self.mmu.read_phys::<4096>(HostPhys(page)).expect("it is RAM");
            assert!(mem == self.model.mem[page as usize..][..4096], "flags in page {page:#x}");
        }
    }
}

const OK: Result<u64, Fault> = Ok(PAGE | 0x123);
const ALL_MODES: [Mode; 5] = [
    Mode::Bits32 { pse: false },
    Mode::Bits32 { pse: true },
    Mode::Pae,
    Mode::Level4,
    Mode::Level5,
];
const L4: Mode = Mode::Level4;
const PSE: Mode = Mode::Bits32 { pse: true };

fn fault(code: u32) -> Result<u64, Fault> {
    Err(Fault::Page { code })
}

#[test]
fn off_is_identity() {
    World::new(Mode::Off).check(WRITE, OK);
}

#[test]
fn every_mode_maps_and_protects() {
    for mode in ALL_MODES {
        World::new(mode).check(READ, OK);
        World::new(mode).check(USER_WRITE, OK);
        World::new(mode).check(USER_FETCH, OK);
        for level in [1, 2] {
            World::new(mode).flip(level, P).check(READ, fault(0));
            World::new(mode).flip(level, P).check(USER_WRITE, fault(6));
            World::new(mode).flip(level, P).with(|r| r.smep = true).check(FETCH, fault(0x10));
            World::new(mode).flip(level, U).check(USER, fault(5));
            World::new(mode).flip(level, U).check(IMPLICIT, OK);
            World::new(mode).flip(level, W).check(USER_WRITE, fault(7));
            World::new(mode).flip(level, W).check(WRITE, OK);
            World::new(mode).flip(level, W).with(|r| r.wp = true).check(WRITE, fault(3));
        }
    }
}

#[test]
fn smep_and_smap() {
    for mode in ALL_MODES {
        let smap = || World::new(mode).with(|r| r.smap = true);
        let smep = || World::new(mode).with(|r| r.smep = true);
        smap().check(READ, fault(1));
        smap().check(WRITE, fault(3));
        smap().check(AC, OK);
        smap().check(IMPLICIT, fault(1));
        smap().check(USER, OK);
        smap().check(FETCH, OK);
        smap().flip(1, U).check(READ, OK);
        smep().check(FETCH, fault(0x11));
        smep().check(USER_FETCH, OK);
        smep().flip(2, U).check(FETCH, OK);
        smep().flip(2, U).check(USER_FETCH, fault(0x15));
    }
}

#[test]
fn execute_disable() {
    for mode in [Mode::Pae, Mode::Level4, Mode::Level5] {
        for level in [1, 2] {
            let nx = || World::new(mode).flip(level, NX).with(|r| r.nxe = true);
            nx().check(READ, OK);
            nx().check(FETCH, fault(0x11));
            nx().check(USER_FETCH, fault(0x15));
            World::new(mode).flip(level, NX).check(READ, fault(9));
            World::new(mode).flip(level, NX).check(USER_WRITE, fault(0xf));
        }
    }
    World::new(PSE).with(|r| r.nxe = true).flip(1, P).check(FETCH, fault(0));
}

#[test]
fn reserved_bits() {
    for level in 1..=5 {
        World::new(Mode::Level5).flip(level, 1 << 40).check(READ, fault(9));
        World::new(Mode::Level5).flip(level, 1 << 51).check(WRITE, fault(0xb));
        World::new(Mode::Level5).flip(level, 1 << 52 | 1 << 62).check(WRITE, OK);
        World::new(Mode::Level5)
            .flip(level, 1 << 51)
            .with(|r| r.maxphys = 52)
            .flip(level, P)
            .check(READ, fault(0));
    }
    for level in [4, 5] {
        World::new(Mode::Level5).flip(level, PS).check(READ, fault(9));
    }
    World::new(L4).flip(3, PS).with(|r| r.gib_pages = false).check(USER, fault(0xd));
    World::new(L4).flip(1, PS).check(READ, OK);
    for bit in [40, 51, 52, 62] {
        World::new(Mode::Pae).flip(1, 1 << bit).check(READ, fault(9));
        World::new(Mode::Pae).flip(2, 1 << bit).check(READ, fault(9));
    }
    World::new(Mode::Pae).with(|r| r.pdpte[1] = 0).check(READ, fault(0));
    // The upper entry is wrong before the lower one is missing.
    World::new(L4).flip(2, 1 << 45).flip(1, P).check(READ, fault(9));
    World::new(L4).flip(2, P).flip(1, 1 << 45).check(READ, fault(0));
}

#[test]
fn large_pages() {
    let large = |mode, level, bits| World::new(mode).flip(level, PS | bits | table(level - 1));
    large(L4, 2, 0).check(READ, Ok(OFFSET));
    large(L4, 2, PAT | 0x20_0000).check(READ, Ok(0x20_0000 | OFFSET));
    large(L4, 2, 0x2000).check(READ, fault(9));
    large(L4, 3, PAT | 0x4000_0000).check(READ, Ok(0x4000_0000 | 1 << 21 | OFFSET));
    large(L4, 3, 0x20_0000).check(READ, fault(9));
    large(Mode::Pae, 2, PAT | 0x20_0000).check(READ, Ok(0x20_0000 | OFFSET));
    large(Mode::Pae, 2, 1 << 20).check(READ, fault(9));
    large(PSE, 2, PAT | 0x40_0000).check(READ, Ok(0x40_0000 | OFFSET));
    large(PSE, 2, 1 << 13 | 1 << 20).check(READ, Ok(0x81_0000_0000 | OFFSET));
    large(PSE, 2, 1 << 21).check(READ, fault(9));
    large(PSE, 2, 1 << 16).with(|r| r.maxphys = 36).check(READ, Ok(8 << 32 | OFFSET));
    large(PSE, 2, 1 << 17).with(|r| r.maxphys = 36).check(READ, fault(9));
    // Without CR4.PSE the bit is ignored.
    World::new(Mode::Bits32 { pse: false }).flip(2, PS).check(READ, OK);
}

/// A paging structure where no RAM is reads as all ones.
#[test]
fn tables_outside_ram() {
    let hole = table(1) ^ 0xA_0000;
    World::new(L4).flip(2, hole).check(READ, fault(9));
    let all_ones = Ok(0xffff_f123);
    World::new(PSE).flip(2, hole).check(USER_WRITE, all_ones);
}

fn violation(gpa: u64, qualification: u64, w: &World) -> Result<u64, Fault> {
    Err(Fault::EptViolation { gpa: GuestPhys(gpa), qualification, linear: w.la() })
}

#[test]
fn ept_data() {
    for ad in [false, true] {
        let new = || World::nested(L4, ad);
        let w = new();
        new().check(WRITE, OK);
        new().check(FETCH, OK);
        new().flip_ept(1, 9, 0xf000).check(READ, Ok(0x6123));
        new().flip_ept(1, 9, 7).check(READ, violation(PAGE | 0x123, 0x181, &w));
        new().flip_ept(1, 9, 7).check(WRITE, violation(PAGE | 0x123, 0x182, &w));
        new().flip_ept(1, 9, 2).check(READ, OK);
        new().flip_ept(1, 9, 2).check(WRITE, violation(PAGE | 0x123, 0x1aa, &w));
        new().flip_ept(1, 9, 4).check(FETCH, violation(PAGE | 0x123, 0x19c, &w));
        new().flip_ept(1, 9, 3).check(FETCH, OK);
        new().flip_ept(1, 9, 3).check(READ, violation(PAGE | 0x123, 0x1a1, &w));
        // Guest faults come first; so does setting guest flags.
        new().flip_ept(1, 9, 7).flip(1, P).check(READ, fault(0));
        new().flip_ept(1, 9, 7).flip(1, U).check(USER, fault(5));
    }
    let w = World::nested(Mode::Off, false);
    World::nested(Mode::Off, false).check(WRITE, OK);
    World::nested(Mode::Off, false)
        .flip_ept(1, 9, 2)
        .check(WRITE, violation(PAGE | 0x123, 0x1aa, &w));
}

#[test]
fn ept_tables() {
    let w = World::nested(L4, false);
    for level in 1..=4 {
        let entry = table(level) + if level == 1 { 24 } else { 8 };
        let off = || World::nested(L4, false).flip_ept(1, level, 2);
        off().flip_ept(1, level, 5).check(READ, violation(entry, 0x81, &w));
        off().check(READ, violation(entry, 0xab, &w));
        off().flip(level, 0x20).check(READ, OK);
        let on = || World::nested(L4, true).flip_ept(1, level, 2);
        on().flip(level, 0x20).check(READ, violation(entry, 0xab, &w));
        on().flip_ept(1, level, 5).check(READ, violation(entry, 0x83, &w));
    }
    // The dirty flag alone needs the right to write.
    World::nested(L4, false)
        .flip_ept(1, 1, 2)
        .flip(1, 0x20)
        .check(WRITE, violation(0x1018, 0xab, &w));
    World::nested(L4, false).flip_ept(1, 1, 2).flip(1, 0x60).check(WRITE, OK);
}

#[test]
fn ept_misconfigurations() {
    let data = Err(Fault::EptMisconfig { gpa: GuestPhys(PAGE | 0x123) });
    let first = Err(Fault::EptMisconfig { gpa: GuestPhys(0x4008) });
    for ad in [false, true] {
        let leaf = |bits| World::nested(L4, ad).flip_ept(1, 9, bits);
        leaf(5).check(READ, data);
        leaf(1).check(READ, data);
        for memory_type in [2, 3, 7] {
            leaf((memory_type ^ 6) << 3).check(READ, data);
        }
        for memory_type in [0, 1, 4, 5, 6] {
            leaf((memory_type ^ 6) << 3).check(READ, OK);
        }
        leaf(1 << 40).check(READ, data);
        leaf(1 << 51).check(READ, data);
        // Ignored: 6 (ignore PAT), 7 at level 1, 8 to 11, 52 to 63.
        leaf(0xfff << 52 | 0xfc0).check(WRITE, OK);
        for level in 2..=4 {
            let upper = |bits| World::nested(L4, ad).flip_ept(level, 0, bits);
            for bit in 3..=6 {
                upper(1 << bit).check(READ, first);
            }
            upper(1).check(READ, first);
            upper(1 << 45).check(READ, first);
            upper(0xfff << 52 | 0xf00).check(READ, OK);
        }
        World::nested(L4, ad).flip_ept(4, 0, PS).check(READ, first);
        World::nested(L4, ad).flip_ept(3, 0, PS).with(|r| r.gib_pages = false).check(READ, first);
        // Misconfiguration below wins over a missing right above.
        World::nested(Mode::Off, ad).flip_ept(2, 0, 2).flip_ept(1, 9, 1 << 45).check(WRITE, data);
    }
}

#[test]
fn ept_large_pages() {
    let data = Err(Fault::EptMisconfig { gpa: GuestPhys(0x4008) });
    for level in [2, 3] {
        let large = |bits| {
            World::nested(L4, true).flip_ept(level, 0, (ept(level - 1) | PS | 6 << 3) ^ bits)
        };
        large(0).check(WRITE, OK);
        for bit in 12..12 + 9 * (level - 1) {
            large(1 << bit).check(READ, data);
        }
    }
}

#[test]
fn no_linear_address() {
    let mut w = World::nested(L4, false).flip_ept(1, 9, 7);
    let fault = Fault::EptViolation { gpa: GuestPhys(PAGE), qualification: 1, linear: 0 };
    assert_eq!(w.mmu.guest_phys(&w.r, GuestPhys(PAGE), AccessKind::Read), Err(fault));
    let high = Fault::EptViolation { gpa: GuestPhys(1 << 48), qualification: 2, linear: 0 };
    assert_eq!(w.mmu.guest_phys(&w.r, GuestPhys(1 << 48), AccessKind::Write), Err(high));
    let low = w.mmu.guest_phys(&w.r, GuestPhys(0x1234), AccessKind::Read);
    assert_eq!(low, Ok(HostPhys(0x1234)));
}

/// A store through the flag of one reading of a table is seen by another reading of it: bit 5 of
/// the upper half of an 8-byte entry is an address bit.
#[test]
fn flags_set_in_entries_of_another_width() {
    let mut w = World::new(L4);
    // Slot 3 of the page table, its upper half, is entry 7 of the same table read with 4 bytes.
    let mut r32 = regime(Mode::Bits32 { pse: false });
    r32.root = 0x8000;
    r32.maxphys = 52;
    w.r.maxphys = 52;
    w.put(0x8004, 4, table(1) | ALL | 0x20);
    let la32 = Linear(1 << 22 | 7 << 12);
    w.put(table(1) + 28, 4, ALL);
    let first = w.model.translate(&w.r, w.la(), READ);
    w.mmu.activate(&w.r);
    assert_eq!(w.mmu.translate(&w.r, Linear(w.la()), READ), first.map(HostPhys));
    w.mmu.activate(&r32);
    assert_eq!(w.mmu.translate(&r32, la32, READ), Ok(HostPhys(0)));
    assert_eq!(w.model.translate(&r32, la32.0, READ), Ok(0));
    w.mmu.activate(&w.r);
    let second = w.model.translate(&w.r, w.la(), READ);
    assert_ne!(first, second);
    assert_eq!(w.mmu.translate(&w.r, Linear(w.la()), READ), second.map(HostPhys));
}

/// What INVEPT is for: the page of a guest's page table moves.
#[test]
fn invept_forgets_where_tables_were() {
    for ad in [false, true] {
        let mut w = World::nested(L4, ad);
        w.put(0xb018, 8, 0x7000 | ALL);
        w.mmu.activate(&w.r);
        assert_eq!(w.mmu.translate(&w.r, Linear(w.la()), READ), OK.map(HostPhys));
        let mut w = w.flip_ept(1, 1, 0xa000);
        w.mmu.flush_ept(w.r.ept);
        assert_eq!(w.mmu.translate(&w.r, Linear(w.la()), READ), Ok(HostPhys(0x7123)));
    }
}

/// Decoded code in a page table is told of the flags set there, once a page.
#[test]
fn flags_set_in_code() {
    let mut w = World::new(L4);
    w.mmu.activate(&w.r);
    for level in [1, 2] {
        w.mmu.set_kind(HostPhys(table(level)), mmu::PageKind::Code, true);
    }
    assert_eq!(w.mmu.translate(&w.r, Linear(w.la()), WRITE), OK.map(HostPhys));
    let told: Vec<_> = core::iter::from_fn(|| w.mmu.code_store()).collect();
    assert_eq!(told, [HostPhys(table(1)), HostPhys(table(2))]);
    assert_eq!(w.mmu.translate(&w.r, Linear(w.la()), WRITE), OK.map(HostPhys));
    assert_eq!(w.mmu.code_store(), None);
}
