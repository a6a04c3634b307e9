//! Physical memory as the library sees it: the machine's own in the freestanding program, a vector
//! in tests.

/// Byte access to the memory of the machine the hypervisor runs on.
///
/// The callers only use addresses of frames that they own, so accesses cannot fail: one outside
/// the memory is a bug of the hypervisor.
pub trait Physical {
    /// Fills `buf` from `addr` on.
    fn read(&self, addr: u64, buf: &mut [u8]);

    /// Stores `data` from `addr` on.
    fn write(&mut self, addr: u64, data: &[u8]);

    /// Stores `len` zero bytes from `addr` on.
    fn clear(&mut self, addr: u64, len: u64);

    /// One little-endian 64-bit word.
    fn read_u64(&self, addr: u64) -> u64 {
        let mut word = [0; 8];
        self.read(addr, &mut word);
        u64::from_le_bytes(word)
    }

    /// One little-endian 32-bit word.
    fn read_u32(&self, addr: u64) -> u32 {
        let mut word = [0; 4];
        self.read(addr, &mut word);
        u32::from_le_bytes(word)
    }

    /// Stores one little-endian 64-bit word.
    fn write_u64(&mut self, addr: u64, value: u64) {
        self.write(addr, &value.to_le_bytes());
    }
}

/// Memory of `Vec` size, for tests.
#[cfg(test)]
pub(crate) struct TestMemory(pub(crate) Vec<u8>);

#[cfg(test)]
impl Physical for TestMemory {
    fn read(&self, addr: u64, buf: &mut [u8]) {
        let addr = addr as usize;
        buf.copy_from_slice(&self.0[addr..addr + buf.len()]);
    }

    fn write(&mut self, addr: u64, data: &[u8]) {
        let addr = addr as usize;
        self.0[addr..addr + data.len()].copy_from_slice(data);
    }

    fn clear(&mut self, addr: u64, len: u64) {
        self.0[addr as usize..(addr + len) as usize].fill(0);
    }
}
