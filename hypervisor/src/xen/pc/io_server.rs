//! Device models: who is asked for what the hypervisor does not emulate, and how. `hvm/ioreq.h` and
//! `hvm/dm_op.h`.
//!
//! A server belongs to the domain of its device model, which names the ports, memory and PCI functions
//! that it answers for. A request lies in the page that both see, one place for each vCPU, and travels
//! by an event channel of that vCPU, whose end in the domain is the hypervisor's.

use super::super::host_services::{DomId, HostServices};
use super::buffered::Ring;
use alloc::vec::Vec;

/// The most servers of a domain: `MAX_NR_IOREQ_SERVERS`.
pub const MOST: usize = 8;
/// The most ranges of each space that a server has: `MAX_NR_IO_RANGES`.
pub const MOST_RANGES: usize = 256;
/// Bytes of a `struct ioreq`.
pub const REQUEST: usize = 32;
/// The byte with the state and the flags.
const FLAGS: usize = 30;
const STATE: u8 = 15;
const READY: u8 = 1;
const ANSWERED: u8 = 3;
const POINTER: u8 = 1 << 4;
const IS_READ: u8 = 1 << 5;
const DOWN: u8 = 1 << 6;
const PORT_OF_EVENTS: usize = 24;

/// What an address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// The ports of IN and OUT.
    Port,
    /// Guest-physical memory.
    Memory,
    /// PCI configuration: the function in the upper half of the address, the register in the lower.
    Config,
}

impl Space {
    /// The spaces by the number that `dm_op` gives them.
    pub const ALL: [Self; 3] = [Self::Port, Self::Memory, Self::Config];
}

/// An access to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// What `addr` belongs to.
    pub space: Space,
    /// The address of the first byte.
    pub addr: u64,
    /// What is written, or, with `pointer`, the guest-physical address of the elements.
    pub data: u64,
    /// The size of an element, 1 to 8.
    pub size: u8,
    /// How many elements, of a string instruction.
    pub count: u32,
    /// True for an access that writes.
    pub write: bool,
    /// The elements are in the guest's memory.
    pub pointer: bool,
    /// String instructions go down in memory.
    pub down: bool,
}

impl Access {
    /// An access to one element.
    pub fn new(space: Space, addr: u64, size: u8, written: Option<u64>) -> Self {
        let (data, write) = (written.unwrap_or(0), written.is_some());
        Self { space, addr, data, size, count: 1, write, pointer: false, down: false }
    }

    /// The bits that an element has.
    pub fn mask(&self) -> u64 {
        u64::MAX >> (64 - 8 * u32::from(self.size.clamp(1, 8)))
    }

    /// The type of `struct ioreq`: `IOREQ_TYPE_*`.
    fn kind(&self) -> u8 {
        match self.space {
            Space::Port => 0,
            Space::Memory => 1,
            Space::Config => 2,
        }
    }

    /// The request as it stands in the page.
    fn encode(&self, events: u32) -> [u8; REQUEST] {
        let mut raw = [0; REQUEST];
        raw[..8].copy_from_slice(&self.addr.to_le_bytes());
        raw[8..16].copy_from_slice(&self.data.to_le_bytes());
        raw[16..20].copy_from_slice(&self.count.to_le_bytes());
        raw[20..24].copy_from_slice(&u32::from(self.size).to_le_bytes());
        raw[PORT_OF_EVENTS..28].copy_from_slice(&events.to_le_bytes());
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = flag(self.pointer, POINTER) | flag(!self.write, IS_READ);
        raw[FLAGS] = READY | flags | flag(self.down, DOWN);
        raw[FLAGS + 1] = self.kind();
        raw
    }
}

/// A device model with the ranges, pages and ports of its server.
#[derive(Debug, Clone)]
pub struct IoServer {
    /// The server's number.
    pub id: u16,
    /// The domain of its device model.
    pub owner: DomId,
    /// The device model is asked; before, nobody answers.
    pub enabled: bool,
    /// The machine frame of the requests.
    pub page: u64,
    /// Requests that need no answer.
    pub buffered: Option<Ring>,
    /// The port of each vCPU, in the domain that is served.
    pub ports: Vec<u32>,
    /// The ranges of each space, first and last, that it answers for.
    pub ranges: [Vec<(u64, u64)>; 3],
}

impl IoServer {
    /// Tells the model the event channel of each vCPU, in the page.
    pub fn show_ports(&self, host: &mut dyn HostServices) {
        for (vcpu, port) in self.ports.iter().enumerate() {
            host.write(self.page, vcpu * REQUEST + PORT_OF_EVENTS, &port.to_le_bytes());
        }
    }

    /// True if it answers for all of an access, which may lie in several ranges next to each other: QEMU tells of the
    /// address of PCI configuration in three: the reset register lies in the midst.
    pub fn answers(&self, space: Space, first: u64, last: u64) -> bool {
        let ranges = &self.ranges[space as usize];
        let end_of = |at: u64| ranges.iter().find(|range| (range.0..=range.1).contains(&at));
        let mut next = first;
        while let Some(&(_, end)) = end_of(next).filter(|_| self.enabled) {
            if end >= last {
                return true;
            }
            next = end + 1;
        }
        false
    }

    /// Puts a request of `vcpu` into the page.
    pub fn ask(&self, host: &mut dyn HostServices, vcpu: u32, access: &Access) {
        let events = self.ports.get(vcpu as usize).copied().unwrap_or(0);
        host.write(self.page, vcpu as usize * REQUEST, &access.encode(events));
    }

    /// Takes the answer for `vcpu` out of the page, if there is one.
    pub fn answer(&self, host: &mut dyn HostServices, vcpu: u32) -> Option<u64> {
        let at = vcpu as usize * REQUEST;
        let mut flags = [0];
        host.read(self.page, at + FLAGS, &mut flags);
        if flags[0] & STATE != ANSWERED {
            return None;
        }
        host.write(self.page, at + FLAGS, &[flags[0] & !STATE]);
        let mut data = [0; 8];
        host.read(self.page, at + 8, &mut data);
        Some(u64::from_le_bytes(data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn ranges_next_to_each_other() {
        let port = vec![(0xCF9, 0xCF9), (0xCFA, 0xCFB), (0xCF8, 0xCF8), (0xCFD, u64::MAX)];
        let mut server = IoServer {
            id: 0,
            owner: DomId(0),
            enabled: true,
            page: 0,
            buffered: None,
            ports: Vec::new(),
            ranges: [port, Vec::new(), Vec::new()],
        };
        let answers = |server: &IoServer, first, last| server.answers(Space::Port, first, last);
        for (first, last) in [(0xCF8, 0xCFB), (0xCF9, 0xCFA), (0xCFB, 0xCFB), (0xCFD, u64::MAX)] {
            assert!(answers(&server, first, last), "{first:x}");
        }
        for (first, last) in [(0xCF7, 0xCF8), (0xCFA, 0xCFD), (0xCFC, 0xCFC), (0, u64::MAX)] {
            assert!(!answers(&server, first, last), "{first:x}");
        }
        server.enabled = false;
        assert!(!answers(&server, 0xCF8, 0xCF8));
    }

    /// Offsets and values as a C program with Xen's headers has them.
    #[test]
    fn a_request_in_memory() {
        let access = Access {
            pointer: true,
            down: true,
            count: 3,
            ..Access::new(Space::Port, 0x1F0, 2, Some(0x12_3456))
        };
        let raw = access.encode(9);
        assert_eq!(raw[..8], 0x1F0_u64.to_le_bytes());
        assert_eq!(raw[8..16], 0x12_3456_u64.to_le_bytes());
        assert_eq!(raw[16..28], [3, 0, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0]);
        assert_eq!(raw[28..], [0, 0, 0x51, 0]);
        let read = Access::new(Space::Config, 1 << 35, 4, None).encode(0);
        assert_eq!(read[30..], [0x21, 2]);
    }
}
