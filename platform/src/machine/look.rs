//! Memory and translations to look at: whoever looks leaves no trace, not even an accessed bit.

use super::{Level, Machine};
use cpu::Cpu;
use cpu::limits::MAX_LEN;
use cpu::state::State;
use cpu::state::control::{CR0_PG, CR4_LA57, CR4_PAE, CR4_PSE, EFER_LMA};
use cpu::trace::disassemble;
use mmu::{HostPhys, Mmu};

/// Entries of paging structures that one look takes in at most.
const ENTRIES: u32 = 1 << 21;
/// Bits of a paging-structure entry.
const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;
/// Address bits of an entry of eight bytes.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// A range of linear addresses that one entry maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First linear address.
    pub linear: u64,
    /// First physical address; of a guest with EPT its guest-physical one.
    pub physical: u64,
    /// How many bytes the entry maps.
    pub size: u64,
    /// The entry that maps.
    pub entry: u64,
    /// Stores are permitted by the entries on the way together.
    pub writable: bool,
    /// User mode is permitted likewise.
    pub user: bool,
}

impl Machine {
    /// Reads the machine's memory; false where there is none.
    pub fn read_physical(&self, address: u64, bytes: &mut [u8]) -> bool {
        address.checked_add(bytes.len() as u64).is_some()
            && self.shared.mmu.read_slice(HostPhys(address), bytes)
    }

    /// Reads linear memory as processor `processor` has it mapped, without regard to rights; false where it is not.
    pub fn read_linear(&self, processor: usize, address: u64, bytes: &mut [u8]) -> bool {
        let mut done = 0;
        while done < bytes.len() {
            let at = address.wrapping_add(done as u64);
            let count = (bytes.len() - done).min(4096 - (at as usize & 0xfff));
            let Some(physical) = self.translation(processor, at) else { return false };
            if !self.read_physical(physical, &mut bytes[done..done + count]) {
                return false;
            }
            done += count;
        }
        true
    }

    /// The machine's address of a linear address.
    pub fn translation(&self, processor: usize, linear: u64) -> Option<u64> {
        let view = self.view(processor)?;
        view.host(view.guest(linear)?)
    }

    /// The mappings of processor `processor` in ascending order, until `visit` has seen enough. None without paging.
    pub fn mappings(&self, processor: usize, visit: &mut dyn FnMut(&Mapping) -> bool) {
        if let Some(view) = self.view(processor)
            && let Some(tables) = &view.tables
        {
            let mut left = ENTRIES;
            let all = Rights { writable: true, user: true };
            view.visit(tables, None, 0, 0, all, &mut left, visit);
        }
    }

    /// The instructions at an address, linear of a processor or physical, at most `count` of them.
    pub fn disassemble(&self, processor: Option<usize>, address: u64, count: usize) -> Vec<String> {
        let cpu = self.processors().nth(processor.unwrap_or(0));
        let Some(mode) = cpu.map(Cpu::mode) else { return Vec::new() };
        let mut bytes = vec![0; count * MAX_LEN];
        let read = |n: usize, bytes: &mut [u8]| {
            let at = address.wrapping_add(n as u64);
            match processor {
                Some(processor) => self.read_linear(processor, at, bytes),
                None => self.read_physical(at, bytes),
            }
        };
        let there = (0..bytes.len()).find(|&n| !read(n, &mut bytes[n..=n]));
        bytes.truncate(there.unwrap_or(bytes.len()));
        disassemble(&bytes, address, mode).into_iter().take(count).collect()
    }

    /// The level that runs on a processor.
    pub fn level(&self, processor: usize) -> Level {
        let Some(cpu) = self.processors().nth(processor) else { return Level::Root };
        let vmx = cpu.save().vmx;
        match vmx.eptp() {
            _ if !vmx.guest => Level::Root,
            Some(eptp) => Level::Ept(eptp.0),
            None => Level::Vmcs(vmx.vmcs.address),
        }
    }

    fn view(&self, processor: usize) -> Option<View<'_>> {
        let state = self.processors().nth(processor)?.save();
        let vmx = &state.vmx;
        let ept = vmx.eptp().filter(|_| vmx.guest).map(|eptp| eptp.0 & ADDRESS);
        Some(View { mmu: &self.shared.mmu, ept, tables: Tables::of(&state) })
    }
}

/// Paging structures. SDM vol. 3, "Paging".
struct Tables {
    /// The first structure, or in PAE paging its four entries.
    root: u64,
    pdptes: Option<[u64; 4]>,
    /// Bytes of an entry, and bits of a structure's index.
    bytes: u64,
    bits: u32,
    /// The lowest address bit that each structure translates.
    shifts: &'static [u32],
    /// Entries of the second-to-last structure may map pages.
    large: bool,
    /// The linear address has so many bits, and its last one is repeated above.
    width: u32,
}

impl Tables {
    fn of(state: &State) -> Option<Tables> {
        let s = &state.sys;
        let wide = |shifts: &'static [u32], width| Tables {
            root: s.cr3 & ADDRESS,
            pdptes: None,
            bytes: 8,
            bits: 9,
            shifts,
            large: true,
            width,
        };
        Some(match () {
            () if s.cr0 & CR0_PG == 0 => return None,
            () if s.efer & EFER_LMA != 0 && s.cr4 & CR4_LA57 != 0 => {
                wide(&[48, 39, 30, 21, 12], 57)
            }
            () if s.efer & EFER_LMA != 0 => wide(&[39, 30, 21, 12], 48),
            () if s.cr4 & CR4_PAE != 0 => {
                Tables { pdptes: Some(s.pdpte), ..wide(&[30, 21, 12], 64) }
            }
            () => Tables {
                root: s.cr3 & 0xffff_f000,
                bytes: 4,
                bits: 10,
                large: s.cr4 & CR4_PSE != 0,
                ..wide(&[22, 12], 64)
            },
        })
    }

    /// Whether an entry of the structure of this depth maps a page.
    fn maps(&self, depth: usize, entry: u64) -> bool {
        let shift = self.shifts[depth];
        shift == 12 || shift <= 30 && self.large && entry & LARGE != 0 && !self.is_pdpte(depth)
    }

    fn is_pdpte(&self, depth: usize) -> bool {
        depth == 0 && self.pdptes.is_some()
    }

    /// The first address of the page that an entry maps.
    fn page(&self, depth: usize, entry: u64) -> u64 {
        let mask = !((1 << self.shifts[depth]) - 1);
        match (self.bytes, self.shifts[depth]) {
            // Bits 39:32 of a 4-MiB page stand in bits 20:13.
            (4, 22) => entry & 0xffc0_0000 | (entry >> 13 & 0xff) << 32,
            (4, _) => entry & 0xffff_f000,
            _ => entry & ADDRESS & mask,
        }
    }
}

/// What the entries on the way permit.
#[derive(Clone, Copy)]
struct Rights {
    writable: bool,
    user: bool,
}

impl Rights {
    fn and(self, tables: &Tables, depth: usize, entry: u64) -> Rights {
        if tables.is_pdpte(depth) {
            return self;
        }
        Rights { writable: self.writable && entry & 2 != 0, user: self.user && entry & 4 != 0 }
    }
}

/// Memory as a processor has it mapped.
struct View<'a> {
    mmu: &'a Mmu,
    /// The EPT paging structures of a guest.
    ept: Option<u64>,
    tables: Option<Tables>,
}

impl View<'_> {
    fn read(&self, address: u64, bytes: u64) -> Option<u64> {
        let mut entry = [0; 8];
        self.mmu
            .read_slice(HostPhys(address), &mut entry[..bytes as usize])
            .then(|| u64::from_le_bytes(entry))
    }

    /// Entry `n` of a structure, if it is present.
    fn entry(&self, tables: &Tables, structure: Option<u64>, n: u64) -> Option<u64> {
        let entry = match (structure, tables.pdptes) {
            (None, Some(pdptes)) => *pdptes.get(n as usize)?,
            _ => {
                let at = structure.unwrap_or(tables.root) + n * tables.bytes;
                self.read(self.host(at)?, tables.bytes)?
            }
        };
        (entry & PRESENT != 0).then_some(entry)
    }

    /// The guest-physical address of a linear one.
    fn guest(&self, linear: u64) -> Option<u64> {
        let Some(tables) = &self.tables else { return Some(linear) };
        let mut structure = None;
        for (depth, shift) in tables.shifts.iter().enumerate() {
            let entry =
                self.entry(tables, structure, linear >> shift & ((1 << tables.bits) - 1))?;
            if tables.maps(depth, entry) {
                return Some(tables.page(depth, entry) | linear & ((1 << shift) - 1));
            }
            structure = Some(entry & ADDRESS);
        }
        None
    }

    /// The machine's address of a guest-physical one. SDM vol. 3, "EPT Translation Mechanism".
    fn host(&self, guest: u64) -> Option<u64> {
        let Some(root) = self.ept else { return Some(guest) };
        let mut structure = root;
        for shift in [39, 30, 21, 12] {
            let entry = self.read(structure + (guest >> shift & 0x1ff) * 8, 8)?;
            if entry & 7 == 0 {
                return None;
            }
            if shift == 12 || shift <= 30 && entry & LARGE != 0 {
                let offset = (1 << shift) - 1;
                return Some(entry & ADDRESS & !offset | guest & offset);
            }
            structure = entry & ADDRESS;
        }
        None
    }

    /// Visits the mappings below a structure; false once there is enough of them.
    #[expect(clippy::too_many_arguments, reason = "a walk carries its place, rights and bounds")]
    fn visit(
        &self,
        tables: &Tables,
        structure: Option<u64>,
        depth: usize,
        base: u64,
        rights: Rights,
        left: &mut u32,
        visit: &mut dyn FnMut(&Mapping) -> bool,
    ) -> bool {
        let shift = tables.shifts[depth];
        for n in 0..1 << tables.bits {
            *left = left.saturating_sub(1);
            if *left == 0 {
                return false;
            }
            let Some(entry) = self.entry(tables, structure, n) else { continue };
            let (linear, rights) = (base | n << shift, rights.and(tables, depth, entry));
            let goes_on = match tables.maps(depth, entry) {
                true => visit(&Mapping {
                    linear: extended(linear, tables.width),
                    physical: tables.page(depth, entry),
                    size: 1 << shift,
                    entry,
                    writable: rights.writable,
                    user: rights.user,
                }),
                false => {
                    let next = Some(entry & ADDRESS);
                    self.visit(tables, next, depth + 1, linear, rights, left, visit)
                }
            };
            if !goes_on {
                return false;
            }
        }
        true
    }
}

/// A linear address in canonical form.
fn extended(linear: u64, width: u32) -> u64 {
    let unused = 64 - width;
    ((linear << unused) as i64 >> unused) as u64
}
