//! Accesses that the EPT refused, emulated by the processor itself.
//!
//! For the time of one instruction (monitor trap flag) a page of the hypervisor's own stands in for the page that
//! is missing or may not be written. It holds what the device's registers read, or ones where there is none;
//! what the instruction has written there goes to the device, and is lost where there is none. So every
//! instruction works, by the processor's own semantics. The instruction may need several pages, one refusal each.
//! Whatever else exits before its end takes the pages back, and the instruction begins anew.

use crate::device_access;
use crate::exits::Outcome;
use crate::host::Host;
use crate::vmx_ops;
use crate::vmx_vcpu::EXCEPTIONS;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use hypervisor::memory::stand_in::{StandIn, written_words};
use hypervisor::phys::Physical;
use hypervisor::vmx::controls::MONITOR_TRAP_FLAG;
use hypervisor::vmx::field;
use runtime::cpu::rdtsc;

/// The most pages of an instruction: a gather of eight elements, each on two pages.
const MOST: usize = 16;
const PAGE: usize = 4096;
/// Bytes from one register of a device to the next.
const STRIDE: usize = 16;
/// All exceptions exit: an instruction that raises one has written nothing.
const EVERY_EXCEPTION: u64 = 0xFFFF_FFFF;

/// A page that stands in.
pub(crate) struct Page {
    pub(crate) stand_in: StandIn,
    /// Its content at the instruction's start.
    before: Vec<u8>,
    /// The offset that is written, if one is.
    written: Option<usize>,
    /// The pieces (offset, length) that are written, of an HVM domain's: its devices see each as it is.
    pub(crate) pieces: Option<Vec<(usize, usize)>>,
}

impl Page {
    /// A page that holds what an HVM domain's devices have answered.
    pub(crate) fn of_devices(stand_in: StandIn, pieces: Vec<(usize, usize)>) -> Self {
        Self { stand_in, before: Vec::new(), written: None, pieces: Some(pieces) }
    }
}

impl Host {
    /// Lets the instruction that was refused its access to `gpa` run with a page in its place.
    pub(crate) fn stand_in(&mut self, index: usize, gpa: u64, written: bool) -> Outcome {
        let dom = self.slots[index].dom;
        let found = if self.stand_ins.len() < MOST {
            self.memory.stand_in(dom, gpa >> 12, true)
        } else {
            None
        };
        let what = || format!("no page for an access at guest-physical {gpa:#x}");
        let stand_in = found.ok_or_else(what)?;
        self.fill(index, &stand_in);
        let mut before = vec![0; PAGE];
        self.memory.physical.read(stand_in.frame, &mut before);
        let written = written.then_some(gpa as usize % PAGE);
        self.stand_ins.push(Page { stand_in, before, written, pieces: None });
        self.begin_step(index);
        Ok(())
    }

    /// Lets the vCPU execute one instruction.
    pub(crate) fn begin_step(&mut self, index: usize) {
        vmx_ops::write(field::EXCEPTION_BITMAP, EVERY_EXCEPTION);
        self.slots[index].set_control(&self.controls, MONITOR_TRAP_FLAG);
    }

    /// Puts what a device's registers read into its page.
    fn fill(&mut self, index: usize, page: &StandIn) {
        let (dom, id) = self.slots[index].key();
        let now = rdtsc();
        for offset in (0..PAGE as u64).step_by(STRIDE) {
            let read = self.xen.mmio_read(dom, id, (page.gfn << 12) + offset, 4, now);
            // Where there is no device there is none in the whole page.
            let Some(value) = read else { return };
            let mut registers = [0; STRIDE];
            registers[..4].copy_from_slice(&(value as u32).to_le_bytes());
            self.memory.physical.write(page.frame + offset, &registers);
        }
    }

    /// The instruction has been executed: what it has written goes to the devices.
    pub(crate) fn stepped(&mut self, index: usize) {
        let key = self.slots[index].key();
        let now = rdtsc();
        let mut sent = VecDeque::new();
        for page in core::mem::take(&mut self.stand_ins) {
            let mut after = vec![0; PAGE];
            self.memory.physical.read(page.stand_in.frame, &mut after);
            let base = page.stand_in.gfn << 12;
            self.memory.take_back(page.stand_in);
            if let Some(pieces) = page.pieces {
                sent.extend(pieces.into_iter().flat_map(|(at, len)| {
                    let data = after.get(at..at + len).unwrap_or_default();
                    device_access::writes(base + at as u64, data)
                }));
                continue;
            }
            for (offset, value) in written_words(&page.before, &after, page.written) {
                // What nothing claims is dropped, as on a bus without a device.
                let at = base + offset as u64;
                let _ = self.xen.mmio_write(&mut self.memory, key, at, value.into(), now);
            }
        }
        self.end_step(index);
        self.slots[index].readings.clear();
        self.write_on(index, sent);
    }

    /// Takes the pages back, and with them what was written there.
    pub(crate) fn give_up_step(&mut self, index: usize) {
        for page in core::mem::take(&mut self.stand_ins) {
            self.memory.take_back(page.stand_in);
        }
        self.end_step(index);
    }

    fn end_step(&mut self, index: usize) {
        vmx_ops::write(field::EXCEPTION_BITMAP, EXCEPTIONS);
        self.slots[index].set_control(&self.controls, 0);
        self.timers_changed = true;
    }
}
