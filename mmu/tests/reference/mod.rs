//! A second, slow translation, written from the SDM without a look at the first: no cache, no
//! sharing, one table row for each kind of entry. It has its own copy of memory.

use mmu::{Access, AccessKind, Eptp, Fault, GuestPhys, Mode, Regime};

/// Memory, and how addresses are translated there.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) mem: Vec<u8>,
    /// Bytes that got another value.
    pub(crate) changes: u64,
}

/// How one level of a mode is indexed and read.
struct Level {
    index_lo: u32,
    index_bits: u32,
    /// Whether PS = 1 maps a page here; otherwise PS is ignored, or reserved.
    large: bool,
    ps_reserved: bool,
}

const fn level(index_lo: u32, index_bits: u32, large: bool, ps_reserved: bool) -> Level {
    Level { index_lo, index_bits, large, ps_reserved }
}

fn levels(r: &Regime) -> Vec<Level> {
    let gib = r.gib_pages;
    let pml4 = vec![
        level(39, 9, false, true),
        level(30, 9, gib, !gib),
        level(21, 9, true, false),
        level(12, 9, false, false),
    ];
    match r.mode {
        Mode::Off => vec![],
        Mode::Bits32 { pse } => vec![level(22, 10, pse, false), level(12, 10, false, false)],
        Mode::Pae => vec![level(21, 9, true, false), level(12, 9, false, false)],
        Mode::Level4 => pml4,
        Mode::Level5 => core::iter::once(level(48, 9, false, true)).chain(pml4).collect(),
    }
}

fn is_set(e: u64, bit: u32) -> bool {
    e >> bit & 1 != 0
}

/// The field `hi:lo`, in place.
fn field(e: u64, hi: u32, lo: u32) -> u64 {
    (lo..=hi).filter(|b| is_set(e, *b)).map(|b| 1 << b).sum()
}

/// Reserved bits set in a present entry.
fn reserved(r: &Regime, l: &Level, leaf: bool, e: u64) -> bool {
    let large = leaf && l.index_lo > 12;
    let m = u32::from(r.maxphys);
    match r.mode {
        Mode::Bits32 { .. } => {
            large && (is_set(e, 21) || (13..21).any(|b| is_set(e, b) && b - 13 + 32 >= m))
        }
        mode => {
            let top = if mode == Mode::Pae { 63 } else { 52 };
            (m..top).any(|b| is_set(e, b))
                || (is_set(e, 63) && !r.nxe)
                || (large && (13..l.index_lo).any(|b| is_set(e, b)))
                || (l.ps_reserved && is_set(e, 7))
        }
    }
}

fn page_fault(r: &Regime, a: Access, p: bool, rsvd: bool) -> Fault {
    let nx_possible = r.nxe && !matches!(r.mode, Mode::Bits32 { .. });
    let id = a.kind == AccessKind::Execute && (nx_possible || r.smep);
    let us = a.user && !a.implicit;
    let wr = a.kind == AccessKind::Write;
    let code = u32::from(p)
        + 2 * u32::from(wr)
        + 4 * u32::from(us)
        + 8 * u32::from(rsvd)
        + 16 * u32::from(id);
    Fault::Page { code }
}

/// SDM vol. 3, "Determination of Access Rights", sentence by sentence.
fn allowed(r: &Regime, a: Access, user_page: bool, writable: bool, nx: bool) -> bool {
    let supervisor = a.implicit || !a.user;
    match (a.kind, supervisor) {
        (AccessKind::Read, true) => !user_page || !r.smap || (a.ac && !a.implicit),
        (AccessKind::Write, true) => {
            let smap_ok = !user_page || !r.smap || (a.ac && !a.implicit);
            if r.wp { smap_ok && writable } else { smap_ok }
        }
        (AccessKind::Execute, true) => !(nx || (user_page && r.smep)),
        (AccessKind::Read, false) => user_page,
        (AccessKind::Write, false) => user_page && writable,
        (AccessKind::Execute, false) => user_page && !nx,
    }
}

impl Model {
    fn ram(&self, p: u64) -> bool {
        p < self.mem.len() as u64 && !(0xA0000..0xC0000).contains(&p)
    }

    pub(crate) fn read(&self, p: u64, bytes: u64) -> u64 {
        (0..bytes)
            .map(|i| {
                let byte = if self.ram(p + i) { self.mem[(p + i) as usize] } else { 0xff };
                u64::from(byte) << (8 * i)
            })
            .sum()
    }

    pub(crate) fn write(&mut self, p: u64, bytes: u64, value: u64) {
        for i in 0..bytes {
            let byte = (value >> (8 * i)) as u8;
            if self.ram(p + i) && self.mem[(p + i) as usize] != byte {
                self.mem[(p + i) as usize] = byte;
                self.changes += 1;
            }
        }
    }

    /// The physical address of `la`, with all effects on memory.
    pub(crate) fn translate(&mut self, r: &Regime, la: u64, a: Access) -> Result<u64, Fault> {
        let need = match a.kind {
            AccessKind::Read => 1,
            AccessKind::Write => 2,
            AccessKind::Execute => 4,
        };
        let gpa = self.guest(r, la, a)?;
        self.ept(r, gpa, need, 0x180, la)
    }

    /// Guest paging alone.
    fn guest(&mut self, r: &Regime, la: u64, a: Access) -> Result<u64, Fault> {
        let bytes = if matches!(r.mode, Mode::Bits32 { .. }) { 4 } else { 8 };
        let mut table = match r.mode {
            Mode::Off => return Ok(la),
            Mode::Pae => {
                let e = r.pdpte[field(la, 31, 30) as usize >> 30];
                if !is_set(e, 0) {
                    return Err(page_fault(r, a, false, false));
                }
                field(e, 51, 12)
            }
            _ => field(r.root, 51, 12),
        };
        let table_need = if r.ept.is_some_and(Eptp::ad) { 3 } else { 1 };
        let (mut user, mut write, mut nx) = (true, true, false);
        let mut used = vec![];
        for l in levels(r) {
            let index = la >> l.index_lo & ((1 << l.index_bits) - 1);
            let gpa = table + index * bytes;
            let at = self.ept(r, gpa, table_need, 0x80, la)?;
            let e = self.read(at, bytes);
            if !is_set(e, 0) {
                return Err(page_fault(r, a, false, false));
            }
            let leaf = l.index_lo == 12 || (l.large && is_set(e, 7));
            if reserved(r, &l, leaf, e) {
                return Err(page_fault(r, a, true, true));
            }
            user &= is_set(e, 2);
            write &= is_set(e, 1);
            nx |= bytes == 8 && r.nxe && is_set(e, 63);
            used.push((gpa, leaf));
            if !leaf {
                table = field(e, 51.min(bytes as u32 * 8 - 1), 12);
                continue;
            }
            if !allowed(r, a, user, write, nx) {
                return Err(page_fault(r, a, true, false));
            }
            let mut page = field(e, 51.min(bytes as u32 * 8 - 1), l.index_lo);
            if bytes == 4 && l.index_lo == 22 {
                page += field(e, 20, 13) << 19;
            }
            self.mark(r, la, a, &used, bytes)?;
            return Ok(page + field(la, l.index_lo - 1, 0));
        }
        unreachable!("the last level is a leaf")
    }

    fn mark(
        &mut self,
        r: &Regime,
        la: u64,
        a: Access,
        used: &[(u64, bool)],
        bytes: u64,
    ) -> Result<(), Fault> {
        let table_need = if r.ept.is_some_and(Eptp::ad) { 3 } else { 1 };
        for (gpa, leaf) in used {
            let at = self.ept(r, *gpa, table_need, 0x80, la)?;
            let e = self.read(at, bytes);
            let dirty = *leaf && a.kind == AccessKind::Write;
            let new = e | 0x20 | if dirty { 0x40 } else { 0 };
            if new != e {
                let at = self.ept(r, *gpa, 3, 0x80, la)?;
                self.write(at, bytes, new);
            }
        }
        Ok(())
    }

    /// Guest-physical to physical. `report` is bits 7 and 8 of the qualification.
    pub(crate) fn ept(
        &mut self,
        r: &Regime,
        gpa: u64,
        need: u64,
        report: u64,
        linear: u64,
    ) -> Result<u64, Fault> {
        let Some(eptp) = r.ept else { return Ok(gpa) };
        let linear = if report == 0 { 0 } else { linear };
        let violation = |rights: u64| Fault::EptViolation {
            gpa: GuestPhys(gpa),
            qualification: need + (rights << 3) + report,
            linear,
        };
        if gpa >= 1 << 48 {
            return Err(violation(0));
        }
        let (mut table, mut rights, mut used) = (field(eptp.0, 51, 12), 7, vec![]);
        for lo in [39, 30, 21, 12] {
            let at = table + 8 * (gpa >> lo & 511);
            let e = self.read(at, 8);
            if e & 7 == 0 {
                return Err(violation(0));
            }
            let large = is_set(e, 7) && (lo == 21 || (lo == 30 && r.gib_pages));
            let leaf = lo == 12 || large;
            let bad_low = if leaf {
                matches!(e >> 3 & 7, 2 | 3 | 7) || field(e, lo, 12) & !(1 << lo) != 0
            } else {
                e & 0xf8 != 0
            };
            let bad_high = (u32::from(r.maxphys)..52).any(|b| is_set(e, b));
            if bad_low || bad_high || e & 3 == 2 {
                return Err(Fault::EptMisconfig { gpa: GuestPhys(gpa) });
            }
            rights &= e & 7;
            used.push(at);
            table = field(e, 51, 12);
            if leaf {
                if rights & need != need {
                    return Err(violation(rights));
                }
                self.mark_ept(eptp, &used, need & 2 != 0);
                return Ok(table + field(gpa, lo - 1, 0));
            }
        }
        unreachable!("the last level is a leaf")
    }

    fn mark_ept(&mut self, eptp: Eptp, used: &[u64], write: bool) {
        for (i, at) in used.iter().enumerate().filter(|_| eptp.ad()) {
            let dirty = if write && i + 1 == used.len() { 0x200 } else { 0 };
            let e = self.read(*at, 8);
            self.write(*at, 8, e | 0x100 | dirty);
        }
    }
}
