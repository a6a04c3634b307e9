//! Accesses to devices: those of the board, and the registers of the local APIC.
#![expect(unsafe_code, reason = "the environment of a run is reached through raw pointers")]

use crate::Cpu;
use crate::apic::reg;
use crate::bus::{Bus, Completion};
use crate::trap::Trap;
use mmu::HostPhys;

/// What a read of the APIC timer's current count takes besides its own instruction: about what an access to a register
/// of the APIC takes on silicon. Those who wait for a count read it again and again.
const CURRENT_COUNT_TIME: u64 = 100;

impl Cpu {
    /// Reads register `r` of the local APIC. `None`: there is none.
    pub(crate) fn apic_read(&mut self, r: u32) -> Option<u64> {
        if r == reg::CURRENT {
            self.env.stall += CURRENT_COUNT_TIME;
        }
        let now = self.now();
        self.state.apic.read(r, now)
    }

    /// Accesses a device at the present instant.
    #[inline(never)]
    pub(crate) fn access_device<T>(&mut self, access: impl FnOnce(&mut dyn Bus, u64) -> T) -> T {
        let now = self.now();
        let bus = self.env.bus.expect("a run has a bus");
        // SAFETY: as `mmu`.
        let bus = unsafe { &mut *bus };
        let value = access(bus, now);
        let Completion { resample, time } = bus.complete();
        if resample {
            self.env.leave = true;
            self.env.io = true;
        }
        self.env.stall += time;
        value
    }

    /// Loads `buf` from a device, by naturally aligned pieces.
    pub(crate) fn device_load(&mut self, p: HostPhys, buf: &mut [u8]) -> Result<(), Trap> {
        if is_piece(p, buf.len()) {
            let v = self.device_read(p, buf.len() as u8);
            buf.copy_from_slice(&v.to_le_bytes()[..buf.len()]);
            return Ok(());
        }
        for (at, size) in pieces(p, buf.len()) {
            let v = self.device_read(HostPhys(p.0 + at as u64), size as u8);
            buf[at..at + size].copy_from_slice(&v.to_le_bytes()[..size]);
        }
        Ok(())
    }

    /// Stores `buf` to a device, by naturally aligned pieces.
    pub(crate) fn device_store(&mut self, p: HostPhys, buf: &[u8]) -> Result<(), Trap> {
        for (at, size) in pieces(p, buf.len()) {
            let mut b = [0; 8];
            b[..size].copy_from_slice(&buf[at..at + size]);
            self.device_write(HostPhys(p.0 + at as u64), size as u8, u64::from_le_bytes(b));
        }
        Ok(())
    }

    fn device_read(&mut self, p: HostPhys, size: u8) -> u64 {
        if self.state.apic.claims(p.0) {
            return self.apic_mmio_read(p.0 & 0xfff, size);
        }
        self.access_device(|bus, now| bus.mmio_read(p, size, now))
    }

    fn device_write(&mut self, p: HostPhys, size: u8, v: u64) {
        if self.state.apic.claims(p.0) {
            self.env.leave = true;
            return self.apic_mmio_write(p.0 & 0xfff, size, v);
        }
        self.access_device(|bus, now| bus.mmio_write(p, size, v, now));
    }
}

/// Whether `len` bytes at `p` are one of the pieces below.
fn is_piece(p: HostPhys, len: usize) -> bool {
    matches!(len, 1 | 2 | 4 | 8) && p.0 & (len as u64 - 1) == 0
}

/// Naturally aligned pieces of at most 8 bytes that make up `len` bytes at `p`.
fn pieces(p: HostPhys, len: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= len {
            return None;
        }
        let align = 1 << ((p.0 + at as u64) | 8).trailing_zeros();
        let room = len - at;
        let size = align.min(1 << room.ilog2()).min(8);
        at += size;
        Some((at - size, size))
    })
}
