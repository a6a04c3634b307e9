//! `console_io`: dom0's console, and anybody's debug output.

use super::super::abi::{Errno, nr::console};
use super::{Args, Call, Step};
use alloc::vec::Vec;

/// The most bytes moved before their effects are carried out; a longer write goes on afterwards.
/// Each may be a line, which is printed with its domain's name.
const CHUNK: u64 = 256;

impl Call<'_> {
    /// Unprivileged domains may write (their output carries their name) and not read.
    pub(super) fn console_io(&mut self, [cmd, len, buffer, ..]: Args) -> Result<Step, Errno> {
        match cmd {
            console::WRITE => {
                // The count is an `int` in the ABI.
                let len = i32::try_from(len as u32).map_err(|_| Errno::Inval)? as u64;
                let part = len.min(CHUNK);
                let bytes = self.c.bytes(self.host, buffer, part as usize)?;
                self.xen.output(self.c.dom, &bytes);
                if part < len {
                    return Ok(Step::Again([cmd, len - part, buffer.wrapping_add(part), 0, 0, 0]));
                }
                Ok(Step::Done(0))
            }
            console::READ => {
                self.privileged()?;
                let len = len.min(CHUNK).min(self.xen.console_input.len() as u64) as usize;
                let bytes: Vec<u8> = self.xen.console_input.iter().take(len).copied().collect();
                self.c.write(self.host, buffer, &bytes)?;
                self.xen.console_input.drain(..len);
                Ok(Step::Done(len as i64))
            }
            _ => Err(Errno::NoSys),
        }
    }
}
