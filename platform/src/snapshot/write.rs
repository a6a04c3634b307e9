//! Writing a snapshot.

use super::{
    Id, MAGIC, METADATA, METADATA_MAX, Metadata, PAGE, PROGRAM, Parent, VERSION, id_of,
    memory_offset,
};
use crate::machine::Machine;
use crate::machine::pages::PageHash;
use rustix::fs::ftruncate;
use rustix::io::pwritev;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::AsFd;

/// Pages that one call to the host writes: IOV_MAX of Linux.
const AT_ONCE: usize = 1024;

/// Writes `machine`, between two runs, to the empty file `to`, in full.
pub fn write(machine: &mut Machine, to: &impl AsFd) -> io::Result<Id> {
    let pages = machine.held_pages();
    write_pages(machine, None, pages, to)
}

pub(super) fn write_pages(
    machine: &Machine,
    parent: Option<Parent>,
    pages: Vec<(usize, PageHash)>,
    to: &impl AsFd,
) -> io::Result<Id> {
    let pages: Vec<_> = pages.into_iter().map(|(n, hash)| (n as u32, hash)).collect();
    let metadata = Metadata { parent, saved: machine.save(), pages };
    let bytes = postcard::to_allocvec(&metadata).map_err(io::Error::other)?;
    if bytes.len() as u64 > METADATA_MAX {
        return Err(ErrorKind::FileTooLarge.into());
    }
    let bytes = compress_to_vec(&*bytes, CompressionLevel::Fastest);
    let id = id_of(&bytes);
    let memory = memory_offset(bytes.len() as u64);
    ftruncate(to, memory.saturating_add(machine.page_count() as u64 * PAGE))?;
    write_at(to, &[&header(bytes.len() as u64, &id)], 0)?;
    write_at(to, &[&bytes], METADATA)?;
    for run in metadata.pages.chunk_by(|(n, _), (next, _)| n + 1 == *next) {
        for run in run.chunks(AT_ONCE) {
            let pages: Vec<_> = run.iter().map(|(n, _)| &machine.page(*n as usize)[..]).collect();
            write_at(to, &pages, memory + u64::from(run[0].0) * PAGE)?;
        }
    }
    Ok(id)
}

/// Writes all bytes of `parts`, one after the other, from byte `at` on.
fn write_at(to: &impl AsFd, parts: &[&[u8]], mut at: u64) -> io::Result<()> {
    let mut parts: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut rest = &mut parts[..];
    while !rest.is_empty() {
        match pwritev(to, rest, at) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                IoSlice::advance_slices(&mut rest, written);
                at += written as u64;
            }
            Err(error) if error == rustix::io::Errno::INTR => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn header(length: u64, id: &Id) -> [u8; METADATA as usize] {
    let mut header = [0; METADATA as usize];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&length.to_le_bytes());
    header[24..56].copy_from_slice(id);
    header[64..64 + PROGRAM.len()].copy_from_slice(PROGRAM.as_bytes());
    header
}
