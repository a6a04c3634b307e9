//! `console_io`: dom0's console, and anybody's debug output.

use super::super::abi::{Errno, nr::console};
use super::{Args, Call, Step};

/// The most bytes moved before their effects are carried out; a longer write goes on afterwards.
/// Each may be a line, which is printed with its domain's name.
const CHUNK: usize = 256;

impl Call<'_> {
    /// Unprivileged domains may write (their output carries their name) and not read.
    pub(super) fn console_io(&mut self, [cmd, len, buffer, ..]: Args) -> Result<Step, Errno> {
        match cmd {
            console::WRITE => {
                // The count is an `int` in the ABI.
                let len = i32::try_from(len as u32).map_err(|_| Errno::Inval)? as u64;
                let mut piece = [0; CHUNK];
                let piece = &mut piece[..CHUNK.min(len as usize)];
                self.c.read(self.host, buffer, piece)?;
                self.xen.output(self.c.dom, piece);
                let done = piece.len() as u64;
                if done < len {
                    return Ok(Step::Again([cmd, len - done, buffer.wrapping_add(done), 0, 0, 0]));
                }
                Ok(Step::Done(0))
            }
            console::READ => {
                self.privileged()?;
                let len = self.xen.console_input.len().min(len.min(CHUNK as u64) as usize);
                let bytes = &self.xen.console_input.make_contiguous()[..len];
                self.c.write(self.host, buffer, bytes)?;
                self.xen.console_input.drain(..len);
                Ok(Step::Done(len as i64))
            }
            _ => Err(Errno::NoSys),
        }
    }
}
