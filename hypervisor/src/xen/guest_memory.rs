//! Guest memory: guest-physical access to a domain, and the walk from its linear addresses.
//!
//! A guest handle is a linear address in the caller's current address space. The hypervisor's own
//! accesses ignore SMAP (Linux's privcmd opens it, but hypercall buffers of the kernel need no
//! such care) and the U/S bits; writable bits are honoured under CR0.WP.

use super::abi::{Errno, Width, layout::Layout};
use super::host_services::{DomId, HostServices, PAGE_SIZE};
use alloc::vec::Vec;

/// An address that names no accessible memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadAddress;

impl From<BadAddress> for Errno {
    fn from(_: BadAddress) -> Self {
        Errno::Fault
    }
}

/// A domain's guest-physical memory.
pub trait GuestMemory {
    /// Reads at guest-physical `gpa`; nothing but RAM can be read.
    fn read(&self, gpa: u64, buf: &mut [u8]) -> Result<(), BadAddress>;
    /// Writes at guest-physical `gpa`; nothing but writable RAM can be written.
    fn write(&mut self, gpa: u64, data: &[u8]) -> Result<(), BadAddress>;
}

/// The guest-physical memory of one domain, through [`HostServices`].
pub struct DomainMemory<'a> {
    /// The layer that has the frames.
    pub host: &'a mut dyn HostServices,
    /// The domain that the memory belongs to.
    pub dom: DomId,
}

/// Splits `[addr, addr + len)` at page boundaries: (address, offset in the buffer, length).
fn pages(addr: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut done = 0;
    core::iter::from_fn(move || {
        if done >= len {
            return None;
        }
        let at = addr.wrapping_add(done as u64);
        let chunk = (PAGE_SIZE - (at as usize & (PAGE_SIZE - 1))).min(len - done);
        let piece = (at, done, chunk);
        done += chunk;
        Some(piece)
    })
}

/// Reads guest-physical memory of `dom`.
pub fn read_gpa(
    host: &dyn HostServices,
    dom: DomId,
    gpa: u64,
    buf: &mut [u8],
) -> Result<(), BadAddress> {
    for (at, done, chunk) in pages(gpa, buf.len()) {
        let map = host.lookup(dom, at >> 12).filter(|map| map.kind.holds_reference());
        let map = map.ok_or(BadAddress)?;
        host.read(map.mfn, at as usize & (PAGE_SIZE - 1), &mut buf[done..done + chunk]);
    }
    Ok(())
}

/// Writes guest-physical memory of `dom`.
pub fn write_gpa(
    host: &mut dyn HostServices,
    dom: DomId,
    gpa: u64,
    data: &[u8],
) -> Result<(), BadAddress> {
    for (at, done, chunk) in pages(gpa, data.len()) {
        let map = host.lookup(dom, at >> 12);
        let map = map.filter(|map| map.kind.holds_reference() && map.kind.writable());
        let map = map.ok_or(BadAddress)?;
        host.write(map.mfn, at as usize & (PAGE_SIZE - 1), &data[done..done + chunk]);
    }
    Ok(())
}

impl GuestMemory for DomainMemory<'_> {
    fn read(&self, gpa: u64, buf: &mut [u8]) -> Result<(), BadAddress> {
        read_gpa(self.host, self.dom, gpa, buf)
    }
    fn write(&mut self, gpa: u64, data: &[u8]) -> Result<(), BadAddress> {
        write_gpa(self.host, self.dom, gpa, data)
    }
}

/// The registers that decide how linear addresses translate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Paging {
    /// CR0.
    pub cr0: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// `IA32_EFER`.
    pub efer: u64,
}

const CR0_PG: u64 = 1 << 31;
const CR0_WP: u64 = 1 << 16;
const CR4_PSE: u64 = 1 << 4;
const CR4_PAE: u64 = 1 << 5;
const CR4_LA57: u64 = 1 << 12;
const EFER_LMA: u64 = 1 << 10;
const P: u64 = 1;
const RW: u64 = 1 << 1;
const PS: u64 = 1 << 7;
const ADDR: u64 = 0x000F_FFFF_FFFF_F000;

impl Paging {
    fn has(self, bit: u64) -> bool {
        self.cr4 & bit != 0
    }

    /// Translates `linear` of `dom`. SDM vol. 3, "Paging": presence and writability only.
    pub fn translate(
        self,
        host: &dyn HostServices,
        dom: DomId,
        linear: u64,
        write: bool,
    ) -> Result<u64, BadAddress> {
        if self.cr0 & CR0_PG == 0 {
            return Ok(linear & 0xFFFF_FFFF);
        }
        let write = write && self.cr0 & CR0_WP != 0;
        if self.efer & EFER_LMA != 0 {
            let levels = if self.has(CR4_LA57) { 5 } else { 4 };
            canonical(linear, levels)?;
            return walk(host, dom, self.cr3 & ADDR, linear, levels, write);
        }
        let linear = linear & 0xFFFF_FFFF;
        if self.has(CR4_PAE) {
            let pdpte = read_entry(host, dom, (self.cr3 & 0xFFFF_FFE0) + (linear >> 30) * 8, 8)?;
            return walk(host, dom, present(pdpte)? & ADDR, linear, 2, write);
        }
        walk32(host, dom, self, linear, write)
    }
}

fn canonical(linear: u64, levels: u32) -> Result<(), BadAddress> {
    let shift = 64 - (12 + 9 * levels);
    let extended = ((linear << shift) as i64 >> shift) as u64;
    if extended == linear { Ok(()) } else { Err(BadAddress) }
}

fn present(entry: u64) -> Result<u64, BadAddress> {
    if entry & P != 0 { Ok(entry) } else { Err(BadAddress) }
}

fn read_entry(
    host: &dyn HostServices,
    dom: DomId,
    gpa: u64,
    size: usize,
) -> Result<u64, BadAddress> {
    let mut raw = [0; 8];
    read_gpa(host, dom, gpa, &mut raw[..size])?;
    Ok(u64::from_le_bytes(raw))
}

/// Walks `levels` levels of 512-entry tables from `table`.
fn walk(
    host: &dyn HostServices,
    dom: DomId,
    mut table: u64,
    linear: u64,
    levels: u32,
    write: bool,
) -> Result<u64, BadAddress> {
    for level in (0..levels).rev() {
        let shift = 12 + 9 * level;
        let entry = present(read_entry(host, dom, table + (linear >> shift & 511) * 8, 8)?)?;
        if write && entry & RW == 0 {
            return Err(BadAddress);
        }
        let leaf = level == 0 || (level < 3 && entry & PS != 0);
        if leaf {
            let low = (1 << shift) - 1;
            return Ok(entry & ADDR & !low | linear & low);
        }
        table = entry & ADDR;
    }
    Err(BadAddress)
}

/// The two-level 32-bit walk, PSE-36 included.
fn walk32(
    host: &dyn HostServices,
    dom: DomId,
    paging: Paging,
    linear: u64,
    write: bool,
) -> Result<u64, BadAddress> {
    let pde = read_entry(host, dom, (paging.cr3 & 0xFFFF_F000) + (linear >> 22) * 4, 4)?;
    let check = |entry: u64| -> Result<u64, BadAddress> {
        if write && entry & RW == 0 { Err(BadAddress) } else { present(entry) }
    };
    let pde = check(pde)?;
    if pde & PS != 0 && paging.has(CR4_PSE) {
        return Ok(pde & 0xFFC0_0000 | (pde >> 13 & 0xFF) << 32 | linear & 0x003F_FFFF);
    }
    let pte = read_entry(host, dom, (pde & 0xFFFF_F000) + (linear >> 12 & 0x3FF) * 4, 4)?;
    Ok(check(pte)? & 0xFFFF_F000 | linear & 0xFFF)
}

/// The caller of a hypercall: whose memory, which address space, which layouts.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// The calling domain.
    pub dom: DomId,
    /// The calling vCPU's number.
    pub vcpu: u32,
    /// The caller's address space.
    pub paging: Paging,
    /// The width of the caller's layouts.
    pub width: Width,
    /// The time of the call, in TSC ticks.
    pub now: u64,
}

impl Caller {
    /// Masks an address to what the caller's mode can form.
    fn linear(self, addr: u64) -> u64 {
        if self.width == Width::Compat { addr & 0xFFFF_FFFF } else { addr }
    }

    /// Copies from the caller's linear memory.
    pub fn read(
        self,
        host: &dyn HostServices,
        addr: u64,
        buf: &mut [u8],
    ) -> Result<(), BadAddress> {
        for (at, done, chunk) in pages(self.linear(addr), buf.len()) {
            let gpa = self.paging.translate(host, self.dom, at, false)?;
            read_gpa(host, self.dom, gpa, &mut buf[done..done + chunk])?;
        }
        Ok(())
    }

    /// Copies to the caller's linear memory.
    pub fn write(
        self,
        host: &mut dyn HostServices,
        addr: u64,
        data: &[u8],
    ) -> Result<(), BadAddress> {
        for (at, done, chunk) in pages(self.linear(addr), data.len()) {
            let gpa = self.paging.translate(host, self.dom, at, true)?;
            write_gpa(host, self.dom, gpa, &data[done..done + chunk])?;
        }
        Ok(())
    }

    /// Reads a structure.
    pub fn load<T: Layout>(self, host: &dyn HostServices, addr: u64) -> Result<T, BadAddress> {
        let mut raw = [0; 128];
        let raw = &mut raw[..T::size(self.width)];
        self.read(host, addr, raw)?;
        Ok(T::decode(self.width, raw))
    }

    /// Writes a structure's fields; bytes between them keep their content.
    pub fn store<T: Layout>(
        self,
        host: &mut dyn HostServices,
        addr: u64,
        value: &T,
    ) -> Result<(), BadAddress> {
        let mut raw = [0; 128];
        let raw = &mut raw[..T::size(self.width)];
        self.read(host, addr, raw)?;
        value.encode(self.width, raw);
        self.write(host, addr, raw)
    }

    /// The address of entry `index` of an array of `T` at `addr`.
    pub fn entry<T: Layout>(self, addr: u64, index: u64) -> u64 {
        addr.wrapping_add(index.wrapping_mul(T::size(self.width) as u64))
    }

    /// Reads a word of the caller's width (`xen_ulong_t`, `xen_pfn_t`) at `addr`.
    pub fn load_long(self, host: &dyn HostServices, addr: u64) -> Result<u64, BadAddress> {
        let mut raw = [0; 8];
        self.read(host, addr, &mut raw[..self.long_size()])?;
        Ok(u64::from_le_bytes(raw))
    }

    /// Writes a word of the caller's width; a compat caller gets the lower half.
    pub fn store_long(
        self,
        host: &mut dyn HostServices,
        addr: u64,
        value: u64,
    ) -> Result<(), BadAddress> {
        self.write(host, addr, &value.to_le_bytes()[..self.long_size()])
    }

    /// The size of `xen_ulong_t`.
    pub fn long_size(self) -> usize {
        match self.width {
            Width::Long => 8,
            Width::Compat => 4,
        }
    }

    /// Reads `len` bytes, for texts; the callers bound `len`.
    pub fn bytes(
        self,
        host: &dyn HostServices,
        addr: u64,
        len: usize,
    ) -> Result<Vec<u8>, BadAddress> {
        let mut bytes = alloc::vec![0; len];
        self.read(host, addr, &mut bytes)?;
        Ok(bytes)
    }
}
