//! MOVS and STOS between RAM and the device memory of a domain that runs without paging, as firmware does: many elements
//! at once. With paging, where each page has rights and flags of its own, the instruction is executed instead
//! ([`crate::stand_in`]).

use crate::device_access::Wait;
use crate::exits::paging;
use crate::host::Host;
use crate::vmx_ops;
use hypervisor::vmx::field::{self, Field};
use hypervisor::xen::HostServices;
use hypervisor::xen::pc::io_server::{Access, Space};
use hypervisor::xen::pc::strings::Strings;

const PAGE: u64 = 4096;
const RAX: u8 = 0;
const RCX: u8 = 1;
const RSI: u8 = 6;
const RDI: u8 = 7;
const CR0_PG: u64 = 1 << 31;
/// TF and DF.
const RFLAGS_NOT_PLAIN: u64 = 1 << 8 | 1 << 10;
const ES: u8 = 0;
/// The most elements that are stored at once: others are to have the processor soon.
const MOST_STORED: u32 = 256;
/// Of a segment's access rights: unusable, present, no system segment, code, expands down, writable or readable.
const UNUSABLE: u64 = 1 << 16;
const PRESENT: u64 = 1 << 7;
const NO_SYSTEM: u64 = 1 << 4;
const CODE: u64 = 1 << 3;
const DOWN: u64 = 1 << 2;
const WRITABLE: u64 = 1 << 1;

/// Fields of a segment, whose encodings lie side by side: ES 0 to GS 5.
fn of_segment(first: Field, segment: u8) -> u64 {
    vmx_ops::read(Field(first.0 + 2 * u32::from(segment)))
}

/// The linear address of `offset` in a segment of data, and how many bytes from there on may be accessed; none if
/// there is more to check than a limit.
fn reach(segment: u8, offset: u64, written: bool) -> Option<(u64, u64)> {
    let rights = of_segment(field::GUEST_ES_ACCESS, segment);
    let data = rights & (UNUSABLE | PRESENT | NO_SYSTEM | CODE | DOWN) == PRESENT | NO_SYSTEM;
    if !data || written && rights & WRITABLE == 0 {
        return None;
    }
    let limit = of_segment(field::GUEST_ES_LIMIT, segment) & 0xFFFF_FFFF;
    let linear = of_segment(field::GUEST_ES_BASE, segment).wrapping_add(offset) & 0xFFFF_FFFF;
    let bytes = (limit + 1).checked_sub(offset)?;
    Some((linear, bytes.min(PAGE - linear % PAGE)))
}

impl Host {
    /// Moves elements between device memory at `gpa` and RAM, or stores RAX there; false if the instruction is to be
    /// executed instead.
    pub(crate) fn move_strings(
        &mut self,
        index: usize,
        gpa: u64,
        strings: Strings,
        written: bool,
    ) -> bool {
        let flags = vmx_ops::read(field::GUEST_RFLAGS);
        if paging().cr0 & CR0_PG != 0 || flags & RFLAGS_NOT_PLAIN != 0 {
            return false;
        }
        let vcpu = &self.slots[index].vcpu;
        let offset = |register| vcpu.gpr(register) & strings.mask;
        // A real-mode domain's segments may be longer than its addresses, which wrap.
        let within = |segment, offset, written| {
            let (linear, bytes) = reach(segment, offset, written)?;
            Some((linear, bytes.min(strings.before_wrap(offset))))
        };
        let to = within(ES, offset(RDI), true);
        let from = strings.source.map(|segment| within(segment, offset(RSI), false));
        let left = if strings.repeated { offset(RCX) } else { 1 };
        let (Some(to), Some(from)) = (to, from.unwrap_or(to)) else { return false };
        let (device, ram) = if written { (to, from) } else { (from, to) };
        let size = u64::from(strings.size);
        let count = left.min(device.1 / size).min(ram.1 / size) as u32;
        if device.0 != gpa || count == 0 {
            return false;
        }
        if strings.source.is_none() {
            self.store_elements(index, gpa, strings, count.min(MOST_STORED));
            return true;
        }
        self.copy_elements(index, gpa, (ram.0, written), strings, count)
    }

    /// Has a device model copy between device memory and RAM; false if it cannot.
    fn copy_elements(
        &mut self,
        index: usize,
        gpa: u64,
        (ram, written): (u64, bool),
        strings: Strings,
        count: u32,
    ) -> bool {
        let dom = self.slots[index].dom;
        let one = Access::new(Space::Memory, gpa, strings.size, written.then_some(0));
        let access = Access { data: ram, count, pointer: true, ..one };
        let kind = self.memory.lookup(dom, ram >> 12).map(|map| map.kind);
        let own = kind.is_some_and(|kind| kind.is_own() && (written || kind.writable()));
        if !own || !self.xen.takes_strings(dom, &access) {
            return false;
        }
        match self.access(index, access) {
            Some(_) => self.finish_string_moves(index, strings, count),
            None => self.slots[index].wait = Some(Wait::Strings(strings, count)),
        }
        true
    }

    /// Stores RAX `count` times, or fewer times if a device model is to answer.
    fn store_elements(&mut self, index: usize, gpa: u64, strings: Strings, count: u32) {
        let size = strings.size;
        for element in 0..count {
            let value = self.slots[index].vcpu.gpr(RAX) & u64::MAX >> (64 - 8 * u32::from(size));
            let at = gpa + u64::from(element) * u64::from(size);
            if self.access(index, Access::new(Space::Memory, at, size, Some(value))).is_none() {
                self.slots[index].wait = Some(Wait::Strings(strings, element + 1));
                return;
            }
        }
        self.finish_string_moves(index, strings, count);
    }

    /// Moves the registers on past `count` elements, at most as many as are left.
    pub(crate) fn finish_string_moves(&mut self, index: usize, strings: Strings, count: u32) {
        let vcpu = &mut self.slots[index].vcpu;
        let bytes = u64::from(strings.size) * u64::from(count);
        let mut change = |register, by| {
            let value = strings.advanced(vcpu.gpr(register), by);
            vcpu.set_gpr(register, value);
            value & strings.mask
        };
        change(RDI, bytes);
        if strings.source.is_some() {
            change(RSI, bytes);
        }
        if !strings.repeated || change(RCX, u64::from(count).wrapping_neg()) == 0 {
            self.finish_instruction(strings.length);
        }
    }
}
