//! INS and OUTS: one element an exit.
//! SDM vol. 3, "Exit Qualification for I/O Instructions" and the VM-exit instruction information.

use crate::exits::{advance, paging};
use crate::host::Host;
use crate::{control_registers, vmx_ops};
use hypervisor::vmx::{exit, field};
use hypervisor::xen::guest_memory::{BadAddress, read_gpa, write_gpa};

const PF: u8 = 14;
const RCX: u8 = 1;
const RSI: u8 = 6;
const RDI: u8 = 7;
const RFLAGS_DF: u64 = 1 << 10;

/// The bits of an address register that the instruction uses.
pub(crate) fn address_mask() -> u64 {
    match vmx_ops::read(field::EXIT_INSTRUCTION_INFO) >> 7 & 7 {
        0 => 0xFFFF,
        1 => 0xFFFF_FFFF,
        _ => u64::MAX,
    }
}

/// `old` with the bits of `mask` taken from `new`; a 32-bit register's upper half is cleared.
fn merge(old: u64, new: u64, mask: u64) -> u64 {
    let kept = if mask == 0xFFFF { old & !mask } else { 0 };
    kept | new & mask
}

impl Host {
    /// Carries one element over, and lets the instruction run again while its count lasts.
    pub(crate) fn string_io(&mut self, index: usize, io: exit::Io) {
        let linear = vmx_ops::read(field::GUEST_LINEAR_ADDRESS);
        let size = usize::from(io.size());
        let result = if io.is_in() {
            let value = self.port_read(self.slots[index].dom, io.port());
            self.store(index, linear, &value.to_le_bytes()[..size])
        } else {
            self.outs(index, linear, io)
        };
        if result.is_err() {
            return self.string_fault(index, linear, io);
        }
        self.finish_strings(index, io, 1);
    }

    /// #PF for an element that cannot be reached.
    pub(crate) fn string_fault(&mut self, index: usize, linear: u64, io: exit::Io) {
        // DEPARTURE: the error code says "not present" even where the page only lacks rights.
        let user = vmx_ops::read(field::GUEST_SS_ACCESS) >> 5 & 3 == 3;
        let code = u32::from(io.is_in()) << 1 | u32::from(user) << 2;
        control_registers::set_cr2(linear);
        self.fault(index, PF, Some(code));
    }

    /// Moves the registers on past `count` elements, at most as many as are left.
    pub(crate) fn finish_strings(&mut self, index: usize, io: exit::Io, count: u32) {
        let size = u64::from(io.size()) * u64::from(count);
        let mask = address_mask();
        let vcpu = &mut self.slots[index].vcpu;
        let pointer = if io.is_in() { RDI } else { RSI };
        let old = vcpu.gpr(pointer);
        let down = vmx_ops::read(field::GUEST_RFLAGS) & RFLAGS_DF != 0;
        let step = if down { size.wrapping_neg() } else { size };
        vcpu.set_gpr(pointer, merge(old, old.wrapping_add(step), mask));
        if io.is_rep() {
            let old = vcpu.gpr(RCX);
            let count = merge(old, old.wrapping_sub(count.into()), mask);
            vcpu.set_gpr(RCX, count);
            if count & mask != 0 {
                return;
            }
        }
        advance();
    }

    fn outs(&mut self, index: usize, linear: u64, io: exit::Io) -> Result<(), BadAddress> {
        let dom = self.slots[index].dom;
        let mut value = [0; 4];
        for (i, byte) in value[..usize::from(io.size())].iter_mut().enumerate() {
            let at = linear.wrapping_add(i as u64);
            let gpa = paging().translate(&self.memory, dom, at, false)?;
            read_gpa(&self.memory, dom, gpa, core::slice::from_mut(byte))?;
        }
        self.port_write(dom, io.port(), io.size(), u32::from_le_bytes(value));
        Ok(())
    }

    pub(crate) fn store(
        &mut self,
        index: usize,
        linear: u64,
        data: &[u8],
    ) -> Result<(), BadAddress> {
        let dom = self.slots[index].dom;
        for (i, byte) in data.iter().enumerate() {
            let at = linear.wrapping_add(i as u64);
            let gpa = paging().translate(&self.memory, dom, at, true)?;
            write_gpa(&mut self.memory, dom, gpa, core::slice::from_ref(byte))?;
        }
        Ok(())
    }
}
