//! Writing a snapshot.

use super::{
    Id, MAGIC, METADATA, METADATA_MAX, Metadata, PAGE, PROGRAM, Parent, VERSION, id_of,
    memory_offset,
};
use crate::machine::Machine;
use crate::machine::pages::PageHash;
use rustix::fs::ftruncate;
use rustix::io::pwrite;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;

/// Writes `machine`, between two runs, to the empty file `to`: in full, or as an increment to `parent`, which is its
/// last snapshot or what it was restored from. The pages that change from now on are those of the next increment.
pub fn write(machine: &mut Machine, parent: Option<Parent>, to: &impl AsFd) -> io::Result<Id> {
    let changed = machine.changed_pages();
    let pages = if parent.is_some() { changed } else { machine.held_pages() };
    write_pages(machine, parent, pages, to)
}

/// Writes `machine`, between two runs, to the empty file `to`, in full. The next increment does not follow this one: it
/// is to the same parent as it would be without.
pub fn write_alone(machine: &mut Machine, to: &impl AsFd) -> io::Result<Id> {
    let pages = machine.held_pages();
    write_pages(machine, None, pages, to)
}

fn write_pages(
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
    write_at(to, &header(bytes.len() as u64, &id), 0)?;
    write_at(to, &bytes, METADATA)?;
    for (n, _) in metadata.pages {
        write_at(to, machine.page(n as usize), memory + u64::from(n) * PAGE)?;
    }
    Ok(id)
}

/// Writes all of `bytes` from byte `at` on.
fn write_at(to: &impl AsFd, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match pwrite(to, bytes, at) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => (bytes, at) = (&bytes[written..], at + written as u64),
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
