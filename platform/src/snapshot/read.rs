//! Reading a snapshot.

use super::{
    Id, MAGIC, METADATA, METADATA_MAX, Metadata, PAGE, Parent, VERSION, id_of, memory_offset,
};
use crate::machine::pages::{self, PageHash};
use crate::machine::{Config, Error, Machine, Ram, Saved};
use rustix::fs::{SeekFrom, fstat, seek};
use rustix::io::pread;
use ruzstd::decoding::StreamingDecoder;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;

/// Why a file cannot be read as a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The host cannot read the file.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The file begins otherwise than a snapshot.
    #[error("byte 0: this is no snapshot")]
    Magic,
    /// Another version of the format.
    #[error(
        "byte 8: version {0} of the format, written by {1}; this program reads version {VERSION}"
    )]
    Version(u32, String),
    /// It ends too early.
    #[error("byte {0}: the file ends, {1} bytes are needed")]
    Short(u64, u64),
    /// A part is not what was written.
    #[error("byte {0}: {1}")]
    Damaged(u64, &'static str),
    /// A machine cannot be made from the file.
    #[error(transparent)]
    Machine(#[from] Error),
    /// The parent is another snapshot than that of the time.
    #[error("its parent {0} has changed since")]
    Parent(String),
}

/// A snapshot whose metadata has been read and found to be as written.
#[derive(Debug)]
pub struct Snapshot {
    file: OwnedFd,
    metadata: Metadata,
    id: Id,
    /// Offset of the memory in the file.
    memory: u64,
}

impl Snapshot {
    /// Reads all but the pages from `file`.
    pub fn read(file: impl Into<OwnedFd>) -> Result<Snapshot, SnapshotError> {
        let file = file.into();
        let length = fstat(&file).map_err(io::Error::from)?.st_size as u64;
        let mut header = [0; METADATA as usize];
        let have = length.min(METADATA) as usize;
        read_at(&file, &mut header[..have], 0)?;
        let known = MAGIC.len().min(have);
        if have == 0 || header[..known] != MAGIC[..known] {
            return Err(SnapshotError::Magic);
        }
        let needs =
            |bytes| if length < bytes { Err(SnapshotError::Short(length, bytes)) } else { Ok(()) };
        needs(METADATA)?;
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|n| header[at + n]));
        if word(8) != VERSION {
            let program = header[64..].split(|byte| *byte == 0).next().unwrap_or_default();
            let program = String::from_utf8_lossy(program).escape_debug().to_string();
            return Err(SnapshotError::Version(word(8), program));
        }
        let metadata_length = u64::from(word(16)) | u64::from(word(20)) << 32;
        if metadata_length > METADATA_MAX {
            return Err(SnapshotError::Damaged(16, "the length of the metadata is out of range"));
        }
        needs(METADATA + metadata_length)?;
        let mut bytes = vec![0; metadata_length as usize];
        read_at(&file, &mut bytes, METADATA)?;
        let id = id_of(&bytes);
        if id != header[24..56] {
            return Err(SnapshotError::Damaged(METADATA, "the metadata is not what was written"));
        }
        let metadata = unpack(&bytes).ok_or(SnapshotError::Damaged(METADATA, "no metadata"))?;
        let memory = memory_offset(metadata_length);
        needs(memory.saturating_add(metadata.saved.memory()))?;
        let pages = metadata.saved.memory() / PAGE;
        let ordered = metadata.pages.is_sorted_by(|a, b| a.0 < b.0);
        if !ordered || metadata.pages.last().is_some_and(|(n, _)| u64::from(*n) >= pages) {
            return Err(SnapshotError::Damaged(METADATA, "pages that memory does not have"));
        }
        Ok(Snapshot { file, metadata, id, memory })
    }

    /// The identity, a hash of the metadata.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }

    /// What it is an increment to.
    #[must_use]
    pub fn parent(&self) -> Option<&Parent> {
        self.metadata.parent.as_ref()
    }

    /// The machine but for its memory.
    #[must_use]
    pub fn saved(&self) -> &Saved {
        &self.metadata.saved
    }

    /// The pages in the file, with their hashes.
    pub fn pages(&self) -> impl Iterator<Item = (usize, PageHash)> {
        self.metadata.pages.iter().map(|(n, hash)| (*n as usize, *hash))
    }

    /// Page `n`, which must be one of [`Snapshot::pages`].
    pub fn page(&self, n: usize) -> io::Result<[u8; 4096]> {
        let mut page = [0; 4096];
        read_at(&self.file, &mut page, self.page_offset(n))?;
        Ok(page)
    }

    fn page_offset(&self, n: usize) -> u64 {
        self.memory + n as u64 * PAGE
    }

    /// Compares every page of the file with its hash; those that are not listed are zero.
    pub fn verify(&self) -> Result<(), SnapshotError> {
        for n in self.pages().map(|(n, _)| n).chain(self.stored_pages()?) {
            let listed = self.metadata.pages.binary_search_by_key(&(n as u32), |(n, _)| *n);
            let hash = listed.map_or(pages::ZERO_PAGE, |at| self.metadata.pages[at].1);
            self.check(n, &self.page(n)?, hash)?;
        }
        Ok(())
    }

    /// Compares what page `n` holds with its hash.
    fn check(&self, n: usize, page: &[u8; 4096], hash: PageHash) -> Result<(), SnapshotError> {
        let what = "a page of memory is not what was written";
        let is_so = pages::hash(page) == hash;
        is_so.then_some(()).ok_or_else(|| SnapshotError::Damaged(self.page_offset(n), what))
    }

    /// The pages for which the file has no hole, and which are not listed.
    fn stored_pages(&self) -> io::Result<Vec<usize>> {
        let end = self.page_offset((self.saved().memory() / PAGE) as usize);
        let listed =
            |n: usize| self.metadata.pages.binary_search_by_key(&(n as u32), |(n, _)| *n).is_ok();
        let (mut all, mut at) = (Vec::new(), self.memory);
        while let Ok(data) = seek(&self.file, SeekFrom::Data(at)) {
            let hole = seek(&self.file, SeekFrom::Hole(data))?.min(end);
            let pages = data.max(self.memory) - self.memory..hole.max(self.memory) - self.memory;
            let pages = (pages.start / PAGE) as usize..pages.end.div_ceil(PAGE) as usize;
            all.extend(pages.filter(|n| !listed(*n)));
            if hole <= at || hole >= end {
                break;
            }
            at = hole;
        }
        Ok(all)
    }
}

/// The pages of memory that the last snapshot of `chain` stands for: in which file of the chain each is, and its hash.
type Pages = BTreeMap<usize, (usize, PageHash)>;

/// The last snapshot of `chain`, a full one and increments each to the one before, the size of its memory, and its
/// pages.
fn pages_of(chain: &[Snapshot]) -> Result<(&Snapshot, u64, Pages), SnapshotError> {
    let last = &chain[chain.len() - 1];
    let size = last.saved().memory();
    if chain.iter().any(|snapshot| snapshot.saved().memory() != size) {
        return Err(SnapshotError::Damaged(METADATA, "memory of another size than its parent's"));
    }
    let mut pages = Pages::new();
    for (index, snapshot) in chain.iter().enumerate() {
        pages.extend(snapshot.pages().map(|(n, hash)| (n, (index, hash))));
    }
    Ok((last, size, pages))
}

/// The machine of the last snapshot of `chain`: a full one, and increments each to the one before. Memory stays in the
/// file that has the most of it until it is used: that file must not be changed while the machine is in use. `host` as in
/// [`Machine::restore`].
///
/// # Panics
/// If there is no snapshot.
pub fn restore(chain: &[Snapshot], host: &Config) -> Result<Machine, SnapshotError> {
    let (last, size, pages) = pages_of(chain)?;
    let mut counts = vec![0; chain.len()];
    pages.values().for_each(|(index, _)| counts[*index] += 1);
    let most = (0..chain.len()).max_by_key(|index| counts[*index]).unwrap_or(0);
    let mapped = &chain[most];
    let mut ram = Ram::map(&mapped.file, mapped.memory, size).map_err(Error::Ram)?;
    for (&n, &(index, _)) in pages.iter().filter(|(_, (index, _))| *index != most) {
        *ram.page_mut(n) = chain[index].page(n)?;
    }
    machine_of(last, ram, pages, host)
}

/// As [`restore`], with all pages read and compared with their hashes. Nothing stays in the files.
///
/// # Panics
/// If there is no snapshot.
pub fn load(chain: &[Snapshot], host: &Config) -> Result<Machine, SnapshotError> {
    let (last, size, pages) = pages_of(chain)?;
    let mut ram = Ram::new(size).map_err(Error::Ram)?;
    for (&n, &(index, hash)) in &pages {
        let page = ram.page_mut(n);
        read_at(&chain[index].file, page, chain[index].page_offset(n))?;
        chain[index].check(n, page, hash)?;
    }
    machine_of(last, ram, pages, host)
}

fn machine_of(
    last: &Snapshot,
    mut ram: Ram,
    pages: Pages,
    host: &Config,
) -> Result<Machine, SnapshotError> {
    ram.all_clean();
    let held: Vec<_> = pages.into_iter().map(|(n, (_, hash))| (n, hash)).collect();
    Ok(Machine::restore(last.saved().clone(), ram, &held, host)?)
}

/// Fills `buffer` from byte `at` on.
fn read_at(file: &OwnedFd, buffer: &mut [u8], at: u64) -> io::Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        match pread(file, &mut buffer[done..], at + done as u64) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => done += read,
            Err(error) if error == rustix::io::Errno::INTR => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn unpack(bytes: &[u8]) -> Option<Metadata> {
    let mut plain = Vec::new();
    let mut decoder = StreamingDecoder::new(bytes).ok()?.take(METADATA_MAX);
    decoder.read_to_end(&mut plain).ok()?;
    postcard::from_bytes(&plain).ok()
}
