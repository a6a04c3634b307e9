//! Writing a recording.

use super::{FRAME_MAX, Frame, HEADER, MAGIC, VERSION, check_value};
use crate::snapshot::PROGRAM;
use rustix::fs::{fdatasync, ftruncate};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

/// Adds frames to a file.
#[derive(Debug)]
pub struct Writer<F> {
    file: F,
    /// Bytes written.
    length: u64,
}

impl<F: Write + AsFd> Writer<F> {
    /// Begins a recording in the empty file `file`.
    pub fn new(mut file: F) -> io::Result<Writer<F>> {
        let mut header = [0; HEADER as usize];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[64..64 + PROGRAM.len()].copy_from_slice(PROGRAM.as_bytes());
        file.write_all(&header)?;
        Ok(Writer { file, length: HEADER })
    }

    /// Adds a frame. After an error the file still holds all frames before: what there is of this one is removed.
    pub fn add(&mut self, frame: &Frame) -> io::Result<()> {
        let content = postcard::to_allocvec(frame).map_err(io::Error::other)?;
        if content.len() > FRAME_MAX {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let length = (content.len() as u32).to_le_bytes();
        let bytes = [&length[..], &check_value(&content), &content].concat();
        if let Err(error) = self.file.write_all(&bytes) {
            ftruncate(&self.file, self.length)?;
            return Err(error);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Has the host put on the disk what was added.
    pub fn sync(&self) -> io::Result<()> {
        fdatasync(&self.file).map_err(io::Error::from)
    }

    /// Bytes so far.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }
}
