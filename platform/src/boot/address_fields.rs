//! The address fields of a multiboot header: an image that says itself where it goes, whatever its
//! file format (the "a.out kludge").

use super::{BootError, BootRequest, GuestMemory};

/// What the fields hold; addresses are physical.
pub(super) struct AddressFields {
    /// File offset of the multiboot header.
    pub(super) header_at: u64,
    pub(super) header_addr: u32,
    pub(super) load_addr: u32,
    /// End of what is loaded; 0: to the file's end.
    pub(super) load_end_addr: u32,
    /// End of the zeroed memory after it; 0: there is none.
    pub(super) bss_end_addr: u32,
}

impl AddressFields {
    /// Copies the image and returns the first address past the copy.
    pub(super) fn load(
        &self,
        request: &BootRequest<'_>,
        memory: &mut dyn GuestMemory,
    ) -> Result<u64, BootError> {
        let kernel = &request.kernel;
        let ahead = self.header_addr.checked_sub(self.load_addr).map(u64::from);
        let offset =
            ahead.and_then(|ahead| self.header_at.checked_sub(ahead)).ok_or_else(|| {
                let accepted = "between header_addr minus the header's offset and header_addr";
                kernel.bad_field("load_addr", self.header_at, self.load_addr.into(), accepted)
            })?;
        let rest = (kernel.bytes.len() as u64).saturating_sub(offset);
        let size = match self.load_end_addr {
            0 => rest,
            end => end.checked_sub(self.load_addr).map(u64::from).ok_or_else(|| {
                kernel.bad_field("load_end_addr", self.header_at, end.into(), "at least load_addr")
            })?,
        };
        let base = u64::from(self.load_addr);
        let end = (base + size).max(self.bss_end_addr.into());
        if !request.is_free(base, end) {
            return Err(request.no_room(kernel, "image", base, end.saturating_sub(base)));
        }
        // Where the file ends before, memory is zero.
        memory.write(base, kernel.slice(offset, size.min(rest), "image")?)?;
        Ok(end)
    }
}
