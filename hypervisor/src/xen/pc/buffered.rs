//! Requests to a device model that need no answer: `hvm/ioreq.h`, `struct buffered_iopage`.
//!
//! Writes to the memory of a VGA wait in a ring until the model comes to them: at the latest with the next request that is
//! to be answered, before which it takes all that is in the ring.

use super::io_server::{Access, Space};
use crate::xen::host_services::HostServices;

/// The requests that the ring holds: `IOREQ_BUFFER_SLOT_NUM`.
const SLOTS: u32 = 511;
/// The bytes of a request, and of the two pointers before the first.
const SLOT: usize = 8;
/// The memory of a VGA. Requests have 20 bits of address.
const VGA: core::ops::RangeInclusive<u64> = 0xA_0000..=0xB_FFFF;
/// `IOREQ_TYPE_COPY`: an access to memory.
const COPY: u64 = 1;

/// Whether a device model takes requests that need no answer, and how: `HVM_IOREQSRV_BUFIOREQ_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buffering {
    /// Each request is to be answered.
    Off = 0,
    /// The model alone changes the pointer to what is read next.
    Legacy = 1,
    /// The model advances that pointer so that the hypervisor may change the pointer too.
    Atomic = 2,
}

impl Buffering {
    /// The one that has a number.
    pub fn of(number: u8) -> Option<Self> {
        [Self::Off, Self::Legacy, Self::Atomic].into_iter().find(|&one| one as u8 == number)
    }
}

/// The ring of a device model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    /// The machine frame of the requests.
    pub page: u64,
    /// The port that tells of new requests.
    pub port: u32,
    /// The pointers may be set back: [`Buffering::Atomic`].
    pub atomic: bool,
}

impl Ring {
    /// Puts an access into the ring; false if it needs an answer, or there is no room.
    pub fn put(&self, host: &mut dyn HostServices, access: &Access) -> bool {
        let Access { space, addr, data, size, count, write, pointer, .. } = *access;
        let alone = count == 1 && !pointer && size.is_power_of_two() && size <= 8;
        if space != Space::Memory || !write || !alone || !VGA.contains(&addr) {
            return false;
        }
        let (mut read, mut written) = (self.pointer(host, 0), self.pointer(host, 1));
        let needed = if size == 8 { 2 } else { 1 };
        // What the model has written there is not to be believed.
        let waiting = written.wrapping_sub(read);
        if waiting > SLOTS - needed {
            return false;
        }
        let request = COPY | u64::from(size.trailing_zeros()) << 10 | addr << 12;
        for (index, half) in (0..needed).zip([data, data >> 32]) {
            let at = (written.wrapping_add(index) % SLOTS) as usize;
            let slot = request | half << 32;
            host.write(self.page, (1 + at) * SLOT, &slot.to_le_bytes());
        }
        written = written.wrapping_add(needed);
        // The pointers only ever grow: they go on below before they would overflow.
        if self.atomic && read >= SLOTS && written >= SLOTS {
            (read, written) = (read - SLOTS, written - SLOTS);
            host.write(self.page, 0, &read.to_le_bytes());
        }
        host.write(self.page, 4, &written.to_le_bytes());
        true
    }

    fn pointer(&self, host: &dyn HostServices, index: usize) -> u32 {
        let mut raw = [0; 4];
        host.read(self.page, 4 * index, &mut raw);
        u32::from_le_bytes(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xen::host_services::DomId;
    use crate::xen::testing::VecMachine;

    fn ring() -> (VecMachine, Ring) {
        let mut host = VecMachine::new(16);
        let page = host.alloc(DomId(1)).expect("memory");
        (host, Ring { page, port: 5, atomic: true })
    }

    fn words(host: &VecMachine, ring: &Ring, first: usize, count: usize) -> Vec<u32> {
        let mut raw = vec![0; 4 * count];
        host.read(ring.page, 4 * first, &mut raw);
        raw.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
    }

    fn write(addr: u64, size: u8) -> Access {
        Access::new(Space::Memory, addr, size, Some(0x1122_3344_5566_7788))
    }

    /// Bits as a C program with Xen's headers has them.
    #[test]
    fn requests_in_memory() {
        let (mut host, ring) = ring();
        for (addr, size) in [(0xB8000, 2), (0xA0001, 1), (0xBFFF8, 8)] {
            assert!(ring.put(&mut host, &write(addr, size)));
        }
        #[rustfmt::skip]
        let expected = [
            0, 4,
            0xB800_0401, 0x5566_7788,
            0xA000_1001, 0x5566_7788,
            0xBFFF_8C01, 0x5566_7788, 0xBFFF_8C01, 0x1122_3344,
        ];
        assert_eq!(words(&host, &ring, 0, 10), expected);
    }

    #[test]
    fn what_needs_an_answer() {
        let (mut host, ring) = ring();
        let good = write(0xB8000, 4);
        for access in [
            Access { write: false, ..good },
            Access { space: Space::Port, ..good },
            Access { count: 2, ..good },
            Access { pointer: true, ..good },
            Access { addr: 0xC0000, ..good },
            Access { addr: 0x9FFFF, ..good },
            Access { size: 3, ..good },
        ] {
            assert!(!ring.put(&mut host, &access), "{access:?}");
        }
        assert_eq!(words(&host, &ring, 0, 2), [0, 0]);
    }

    /// The last slot is used, not more; where the model has read there is room again.
    #[test]
    fn a_full_ring() {
        let (mut host, ring) = ring();
        for _ in 0..SLOTS - 1 {
            assert!(ring.put(&mut host, &write(0xB8000, 4)));
        }
        assert!(!ring.put(&mut host, &write(0xB8000, 8)));
        assert!(ring.put(&mut host, &write(0xB8000, 4)));
        assert!(!ring.put(&mut host, &write(0xB8000, 1)));
        host.write(ring.page, 0, &SLOTS.to_le_bytes());
        assert!(ring.put(&mut host, &write(0xB8000, 8)));
        assert_eq!(words(&host, &ring, 0, 2), [0, 2], "both begin anew");
        assert_eq!(words(&host, &ring, 2, 4), [0xB800_0C01, 0x5566_7788, 0xB800_0C01, 0x1122_3344]);
    }

    /// Pointers that make no sense fill no more than the page.
    #[test]
    fn pointers_of_a_hostile_model() {
        let (mut host, ring) = ring();
        for read in [1, SLOTS, u32::MAX, u32::MAX - SLOTS, 1 << 31] {
            for written in [0, 7, SLOTS, u32::MAX, 1 << 31] {
                host.write(ring.page, 0, &read.to_le_bytes());
                host.write(ring.page, 4, &written.to_le_bytes());
                for _ in 0..2 * SLOTS {
                    ring.put(&mut host, &write(0xA0000, 8));
                }
                assert!(!ring.put(&mut host, &write(0xA0000, 8)));
            }
        }
    }
}
