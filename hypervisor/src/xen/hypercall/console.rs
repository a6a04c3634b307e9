//! `console_io`: dom0's console, and anybody's debug output.

use super::super::abi::{Errno, OpResult, nr::console};
use super::{Args, Call};
use alloc::vec::Vec;

/// The most bytes one call moves, as in Xen's buffer loop; a longer write is cut into several.
const CHUNK: u64 = 4096;

impl Call<'_> {
    /// Unprivileged domains may write (their output carries their name) and not read.
    pub(super) fn console_io(&mut self, [cmd, len, buffer, ..]: Args) -> OpResult {
        match cmd {
            console::WRITE => {
                // The count is an `int` in the ABI.
                let len = i32::try_from(len as u32).map_err(|_| Errno::Inval)? as u64;
                let len = len.min(CHUNK * 16);
                for at in (0..len).step_by(CHUNK as usize) {
                    let piece = (len - at).min(CHUNK) as usize;
                    let bytes = self.c.bytes(self.m, buffer.wrapping_add(at), piece)?;
                    self.xen.output(self.c.dom, &bytes);
                }
                Ok(0)
            }
            console::READ => {
                self.privileged()?;
                let len = len.min(CHUNK).min(self.xen.console_input.len() as u64) as usize;
                let bytes: Vec<u8> = self.xen.console_input.iter().take(len).copied().collect();
                self.c.write(self.m, buffer, &bytes)?;
                self.xen.console_input.drain(..len);
                Ok(len as i64)
            }
            _ => Err(Errno::NoSys),
        }
    }
}
