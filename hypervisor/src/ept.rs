//! Extended page tables of one domain: its physical-to-machine map, in the processor's own format.
//! SDM vol. 3, "The Extended Page Table Mechanism (EPT)".
//!
//! A leaf's ignored bits 57:52 hold what kind of page it is, for the hypervisor's own use.

use crate::phys::Physical;
use alloc::vec::Vec;

/// The right to read.
pub const READ: u64 = 1;
/// The right to write.
pub const WRITE: u64 = 2;
/// The right to execute.
pub const EXECUTE: u64 = 4;
/// All three rights together.
pub const ALL: u64 = READ | WRITE | EXECUTE;
/// Memory type write-back, at a leaf.
pub const WRITE_BACK: u64 = 6 << 3;
/// Memory type uncacheable, at a leaf.
pub const UNCACHED: u64 = 0;

/// The EPT pointer's bit that has the processor set [`DIRTY`].
const ACCESSED_DIRTY: u64 = 1 << 6;
/// A leaf through which was stored.
const DIRTY: u64 = 1 << 9;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;
const KIND_SHIFT: u32 = 52;
const KIND_MASK: u64 = 0x3F;

/// Frame numbers at and above this have no translation: four levels reach 48 address bits.
pub const GFN_END: u64 = 1 << 36;

/// A leaf: where a guest frame leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The machine frame.
    pub mfn: u64,
    /// Rights and memory type.
    pub flags: u64,
    /// The hypervisor's own note.
    pub kind: u8,
}

/// There was no memory for a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

/// The extent of an entry for 2 MiB that [`Ept::cut`] has cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The frame after those it was for.
    pub end: u64,
    /// The address of the table that it led to, which is the caller's now.
    pub table: Option<u64>,
}

/// The entry that [`Ept::replace`] has changed, and the tables that it has made.
#[derive(Debug, PartialEq, Eq)]
pub struct Replaced {
    at: u64,
    entry: u64,
    tables: Vec<u64>,
}

/// The tables of one domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ept {
    root: u64,
}

/// Gives the address of a 4-KiB frame for a table; what it holds does not matter.
pub type NewTable<'a> = &'a mut dyn FnMut() -> Option<u64>;

fn slot(table: u64, gfn: u64, level: u32) -> u64 {
    table + (gfn >> (9 * level) & 511) * 8
}

fn leaf_entry(leaf: Leaf, large: bool) -> u64 {
    let size = if large { LARGE } else { 0 };
    leaf.mfn << 12 | leaf.flags | size | (u64::from(leaf.kind) & KIND_MASK) << KIND_SHIFT
}

impl Ept {
    /// Empty tables.
    pub fn new(memory: &mut impl Physical, new_table: NewTable) -> Result<Self, NoMemory> {
        let root = new_table().ok_or(NoMemory)?;
        memory.clear(root, 4096);
        Ok(Self { root })
    }

    /// The value of the EPT-pointer field: write-back, four levels.
    pub fn pointer(self) -> u64 {
        self.root | 3 << 3 | 6
    }

    /// As [`Self::pointer`], and the processor notes in the leaves what is stored to.
    pub fn logging_pointer(self) -> u64 {
        self.pointer() | ACCESSED_DIRTY
    }

    /// Calls `each` with the index, the machine frame and the dirtiness of each frame that is mapped among the 512 from
    /// `gfn` on, a multiple of 512. If `clean` they are clean afterwards, and told apart from then on if there is a
    /// table for that.
    pub fn dirty(
        self,
        memory: &mut impl Physical,
        new_table: NewTable,
        (gfn, clean): (u64, bool),
        each: &mut dyn FnMut(u64, u64, bool),
    ) {
        let (at, entry) = self.deepest(memory, gfn, 1);
        if entry & ALL == 0 {
            return;
        }
        let leaves = if entry & LARGE == 0 {
            Some(entry & ADDRESS)
        } else if clean && entry & DIRTY != 0 {
            split(memory, new_table, at, entry).ok()
        } else {
            None
        };
        let Some(leaves) = leaves else {
            let first = leaf(entry, 0).mfn;
            (0..512).for_each(|i| each(i, first + i, entry & DIRTY != 0));
            if clean {
                memory.write_u64(at, entry & !DIRTY);
            }
            return;
        };
        for i in 0..512 {
            let at = leaves + 8 * i;
            let entry = memory.read_u64(at);
            if entry & ALL == 0 {
                continue;
            }
            each(i, leaf(entry, 0).mfn, entry & DIRTY != 0);
            if clean && entry & DIRTY != 0 {
                memory.write_u64(at, entry & !DIRTY);
            }
        }
    }

    /// Maps one frame; `gfn` is below [`GFN_END`].
    pub fn map(
        self,
        memory: &mut impl Physical,
        new_table: NewTable,
        gfn: u64,
        leaf: Leaf,
    ) -> Result<(), NoMemory> {
        self.set(memory, new_table, (gfn, 0), leaf_entry(leaf, false))
    }

    /// Maps 512 frames with one entry: `gfn` and `leaf.mfn` are multiples of 512 and no frame of
    /// the range is mapped yet.
    pub fn map_large(
        self,
        memory: &mut impl Physical,
        new_table: NewTable,
        gfn: u64,
        leaf: Leaf,
    ) -> Result<(), NoMemory> {
        self.set(memory, new_table, (gfn, 1), leaf_entry(leaf, true))
    }

    /// Removes the mapping of a frame.
    pub fn unmap(
        self,
        memory: &mut impl Physical,
        new_table: NewTable,
        gfn: u64,
    ) -> Result<(), NoMemory> {
        if self.lookup(memory, gfn).is_some() {
            self.set(memory, new_table, (gfn, 0), 0)?;
        }
        Ok(())
    }

    /// As [`Self::map`], until [`Self::restore`]; what has been changed is told in any case.
    pub fn replace(
        self,
        memory: &mut impl Physical,
        new_table: NewTable,
        gfn: u64,
        leaf: Leaf,
    ) -> Result<Replaced, Replaced> {
        let (at, entry) = self.deepest(memory, gfn, 0);
        let mut tables = Vec::new();
        let counted = &mut || {
            let table = new_table()?;
            tables.push(table);
            Some(table)
        };
        let mapped = self.map(memory, counted, gfn, leaf);
        let replaced = Replaced { at, entry, tables };
        if mapped.is_ok() { Ok(replaced) } else { Err(replaced) }
    }

    /// Takes [`Self::replace`] back; the tables that it made are the caller's.
    pub fn restore(memory: &mut impl Physical, replaced: Replaced) -> Vec<u64> {
        memory.write_u64(replaced.at, replaced.entry);
        replaced.tables
    }

    /// The address and the content of the last entry on the way to `gfn`, down to `lowest`.
    fn deepest(self, memory: &impl Physical, gfn: u64, lowest: u32) -> (u64, u64) {
        let (mut table, mut level) = (self.root, 3);
        loop {
            let at = slot(table, gfn, level);
            let entry = memory.read_u64(at);
            let large = level > 0 && entry & LARGE != 0;
            if level == lowest || entry & ALL == 0 || large {
                return (at, entry);
            }
            (table, level) = (entry & ADDRESS, level - 1);
        }
    }

    /// Sets the entry for `gfn` in its table of `level`.
    fn set(
        self,
        memory: &mut impl Physical,
        new_table: NewTable,
        (gfn, level): (u64, u32),
        entry: u64,
    ) -> Result<(), NoMemory> {
        let table = self.descend(memory, new_table, gfn, level)?;
        memory.write_u64(slot(table, gfn, level), entry);
        Ok(())
    }

    /// The leaf that a frame leads to.
    pub fn lookup(self, memory: &impl Physical, gfn: u64) -> Option<Leaf> {
        if gfn >= GFN_END {
            return None;
        }
        let mut table = self.root;
        for level in (0..4).rev() {
            let entry = memory.read_u64(slot(table, gfn, level));
            if entry & ALL == 0 {
                return None;
            }
            if level == 0 || entry & LARGE != 0 {
                return Some(leaf(entry, gfn & ((1 << (9 * level)) - 1)));
            }
            table = entry & ADDRESS;
        }
        None
    }

    /// Clears the first entry for 2 MiB at or after frame `from` that leads anywhere, and calls
    /// `gone` with the leaves that it led to, in order. `None` if there is no such entry.
    pub fn cut(
        self,
        memory: &mut impl Physical,
        from: u64,
        gone: &mut dyn FnMut(Leaf),
    ) -> Option<Cut> {
        let (at, first) = entry_from(memory, (self.root, 3), 0, from)?;
        let entry = memory.read_u64(at);
        memory.write_u64(at, 0);
        let large = entry & LARGE != 0;
        let table = entry & ADDRESS;
        for i in 0..512 {
            if large {
                gone(leaf(entry, i));
                continue;
            }
            let entry = memory.read_u64(table + 8 * i);
            if entry & ALL != 0 {
                gone(leaf(entry, 0));
            }
        }
        Some(Cut { end: first + 512, table: (!large).then_some(table) })
    }

    /// Calls `free` with the address of every table, the root last.
    pub fn tables(self, memory: &impl Physical, free: &mut dyn FnMut(u64)) {
        visit(memory, self.root, 3, free);
    }

    /// The table of `level` that holds the entry for `gfn`, made where it is missing.
    fn descend(
        self,
        memory: &mut impl Physical,
        new_table: NewTable,
        gfn: u64,
        level: u32,
    ) -> Result<u64, NoMemory> {
        let mut table = self.root;
        for above in (level + 1..4).rev() {
            let at = slot(table, gfn, above);
            let entry = memory.read_u64(at);
            table = if entry & ALL == 0 {
                let new = new_table().ok_or(NoMemory)?;
                memory.clear(new, 4096);
                memory.write_u64(at, new | ALL);
                new
            } else if entry & LARGE != 0 {
                split(memory, new_table, at, entry)?
            } else {
                entry & ADDRESS
            };
        }
        Ok(table)
    }
}

/// Replaces a 2-MiB leaf by a table of 512 leaves that mean the same.
fn split(
    memory: &mut impl Physical,
    new_table: NewTable,
    at: u64,
    entry: u64,
) -> Result<u64, NoMemory> {
    let table = new_table().ok_or(NoMemory)?;
    for i in 0..512 {
        memory.write_u64(table + 8 * i, (entry & !LARGE) + (i << 12));
    }
    memory.write_u64(at, table | ALL);
    Ok(table)
}

/// The leaf in `entry`, `below` frames from its start.
fn leaf(entry: u64, below: u64) -> Leaf {
    Leaf {
        mfn: ((entry & ADDRESS) >> 12) + below,
        flags: entry & 0x3F,
        kind: (entry >> KIND_SHIFT & KIND_MASK) as u8,
    }
}

/// The first entry for 2 MiB, at or after frame `from`, that leads anywhere, in the tables below
/// one whose entries begin with frame `first`: its address and its first frame.
fn entry_from(
    memory: &impl Physical,
    (table, level): (u64, u32),
    first: u64,
    from: u64,
) -> Option<(u64, u64)> {
    let span = 1 << (9 * level);
    (from.saturating_sub(first) / span..512).find_map(|i| {
        let (at, gfn) = (table + 8 * i, first + i * span);
        let entry = memory.read_u64(at);
        match level {
            _ if entry & ALL == 0 => None,
            1 => Some((at, gfn)),
            _ => entry_from(memory, (entry & ADDRESS, level - 1), gfn, from),
        }
    })
}

fn visit(memory: &impl Physical, table: u64, level: u32, free: &mut dyn FnMut(u64)) {
    for i in 0..512 {
        let entry = memory.read_u64(table + 8 * i);
        if level > 0 && entry & ALL != 0 && entry & LARGE == 0 {
            visit(memory, entry & ADDRESS, level - 1, free);
        }
    }
    free(table);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phys::TestMemory;

    /// Tables in 64 frames of test memory.
    struct Fixture {
        memory: TestMemory,
        next: u64,
        ept: Ept,
    }

    impl Fixture {
        fn new() -> Self {
            let mut next = 0x1000;
            let mut memory = TestMemory(vec![0xFF; 64 << 12]);
            let ept = Ept::new(&mut memory, &mut || take(&mut next)).expect("memory");
            Self { memory, next, ept }
        }

        fn map(&mut self, gfn: u64, leaf: Leaf) {
            let next = &mut self.next;
            self.ept.map(&mut self.memory, &mut || take(next), gfn, leaf).expect("memory");
        }

        fn map_large(&mut self, gfn: u64, leaf: Leaf) {
            let next = &mut self.next;
            self.ept.map_large(&mut self.memory, &mut || take(next), gfn, leaf).expect("memory");
        }

        #[track_caller]
        fn check(&self, gfn: u64, expected: Option<Leaf>) {
            assert_eq!(self.ept.lookup(&self.memory, gfn), expected);
        }
    }

    fn take(next: &mut u64) -> Option<u64> {
        let at = *next;
        *next += 0x1000;
        (at < 64 << 12).then_some(at)
    }

    fn leaf(mfn: u64) -> Leaf {
        Leaf { mfn, flags: ALL | WRITE_BACK, kind: 5 }
    }

    #[test]
    fn frames_lead_where_they_were_mapped() {
        let mut f = Fixture::new();
        f.check(0, None);
        f.map(0x12345, leaf(0x777));
        f.map_large(0x1000, leaf(0x8000));
        f.check(0x12345, Some(leaf(0x777)));
        f.check(0x12346, None);
        f.check(0x11FF, Some(leaf(0x81FF)));
        f.check(GFN_END, None);
        f.check(u64::MAX, None);
    }

    #[test]
    fn a_large_page_is_split_when_one_frame_changes() {
        let mut f = Fixture::new();
        f.map_large(0x200, leaf(0x400));
        let next = &mut f.next;
        f.ept.unmap(&mut f.memory, &mut || take(next), 0x205).expect("memory");
        f.map(0x206, leaf(9));
        f.check(0x204, Some(leaf(0x404)));
        f.check(0x205, None);
        f.check(0x206, Some(leaf(9)));
        f.check(0x3FF, Some(leaf(0x5FF)));
    }

    /// The dirty ones among 512 frames, and then they are clean, if `clean`.
    fn dirty(f: &mut Fixture, gfn: u64, clean: bool) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        let next = &mut f.next;
        f.ept.dirty(&mut f.memory, &mut || take(next), (gfn, clean), &mut |index, mfn, dirty| {
            found.extend(dirty.then_some((index, mfn)));
        });
        found
    }

    #[test]
    fn stores_are_told_of_once() {
        let mut f = Fixture::new();
        f.map(0x203, leaf(7));
        f.map(0x204, leaf(8));
        f.map_large(0x400, leaf(0x600));
        let mark = |f: &mut Fixture, gfn| {
            let (at, entry) = f.ept.deepest(&f.memory, gfn, 0);
            f.memory.write_u64(at, entry | DIRTY);
        };
        mark(&mut f, 0x204);
        assert_eq!(dirty(&mut f, 0x200, false), [(4, 8)]);
        assert_eq!(dirty(&mut f, 0x200, true), [(4, 8)]);
        assert_eq!(dirty(&mut f, 0x200, true), []);
        assert_eq!(dirty(&mut f, 0, true), []);
        // Of a large page all is told, then each frame alone.
        mark(&mut f, 0x405);
        assert_eq!(dirty(&mut f, 0x400, true).len(), 512);
        assert_eq!(dirty(&mut f, 0x400, true), []);
        mark(&mut f, 0x405);
        assert_eq!(dirty(&mut f, 0x400, true), [(5, 0x605)]);
        f.check(0x405, Some(leaf(0x605)));
    }

    #[test]
    fn every_table_is_given_back_once() {
        let mut f = Fixture::new();
        f.map(1, leaf(1));
        f.map(1 << 27, leaf(2));
        f.map_large(0x4000, leaf(0x600));
        let mut tables = Vec::new();
        f.ept.tables(&f.memory, &mut |t| tables.push(t));
        tables.sort_unstable();
        let expected: Vec<u64> = (1..f.next >> 12).map(|i| i << 12).collect();
        assert_eq!(tables, expected);
    }

    #[test]
    fn entries_are_cut_in_order() {
        let mut f = Fixture::new();
        f.map(1, leaf(1));
        f.map(1 << 27, leaf(2));
        f.map_large(0x4000, leaf(0x600));
        let (mut from, mut cuts) = (0, Vec::new());
        let mut mfns = Vec::new();
        while let Some(cut) = f.ept.cut(&mut f.memory, from, &mut |leaf| mfns.push(leaf.mfn)) {
            cuts.push((cut.end, cut.table.is_some(), mfns.len()));
            from = cut.end;
        }
        let after = (1 << 27) + 512;
        assert_eq!(cuts, [(512, true, 1), (0x4200, false, 513), (after, true, 514)]);
        assert_eq!((mfns[0], mfns[1], mfns[512], mfns[513]), (1, 0x600, 0x7FF, 2));
        f.check(1, None);
        f.check(0x4005, None);
        f.check(1 << 27, None);
    }

    /// Frame `gfn` leads elsewhere for a while, by `tables` more tables.
    #[track_caller]
    fn check_replaced(gfn: u64, tables: usize) {
        let mut f = Fixture::new();
        f.map(0x12345, leaf(0x777));
        f.map_large(0x1000, leaf(0x8000));
        let before = f.ept.lookup(&f.memory, gfn);
        let next = &mut f.next;
        let new_table = &mut || take(next);
        let replaced = f.ept.replace(&mut f.memory, new_table, gfn, leaf(9)).expect("memory");
        f.check(gfn, Some(leaf(9)));
        assert_eq!(Ept::restore(&mut f.memory, replaced).len(), tables, "{gfn:#x}");
        f.check(gfn, before);
        f.check(0x12345, Some(leaf(0x777)));
        f.check(0x11FF, Some(leaf(0x81FF)));
    }

    #[test]
    fn a_replaced_frame_comes_back() {
        check_replaced(0x12345, 0);
        check_replaced(0x12346, 0);
        check_replaced(0x1001, 1);
        check_replaced(0x3000, 1);
        check_replaced(1 << 20, 2);
        check_replaced(1 << 30, 3);
    }

    #[test]
    fn a_replacement_without_memory_comes_back() {
        let mut f = Fixture::new();
        let mut left = 2;
        let (next, gfn) = (&mut f.next, 1 << 30);
        let new_table = &mut || {
            left -= 1;
            if left < 0 { None } else { take(next) }
        };
        let replaced =
            f.ept.replace(&mut f.memory, new_table, gfn, leaf(9)).expect_err("no memory");
        assert_eq!(Ept::restore(&mut f.memory, replaced).len(), 2);
        f.check(gfn, None);
        let mut tables = 0;
        f.ept.tables(&f.memory, &mut |_| tables += 1);
        assert_eq!(tables, 1, "the root alone");
    }

    #[test]
    fn running_out_of_memory_is_an_error() {
        let mut f = Fixture::new();
        let result = f.ept.map(&mut f.memory, &mut || None, 0, leaf(1));
        assert_eq!(result, Err(NoMemory));
    }
}
