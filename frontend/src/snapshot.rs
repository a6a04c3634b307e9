//! Snapshots as files: written whole or not at all, and read with those that they are increments to.

use crate::memory;
use crate::status::Failure;
use platform::machine::{Config, Machine};
use platform::snapshot::{self, Id, Lineage, Snapshot};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Increments to one another at most.
const CHAIN_MAX: usize = 100_000;

/// Writes a full snapshot of `machine` to `path`: a file of that name is replaced when all is on the disk.
pub(crate) fn write(machine: &mut Machine, path: &Path) -> Result<(), Failure> {
    replace(path, |file| snapshot::write(machine, file)).map(drop)
}

/// As [`write()`], the next snapshot of a run, as an increment to an earlier one.
pub(crate) fn write_next(
    machine: &mut Machine,
    path: &Path,
    lineage: &mut Lineage,
) -> Result<Id, Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    replace(path, |file| lineage.write(machine, name, file))
}

/// Has `write` write the file `path`, which is replaced when all is on the disk.
fn replace(path: &Path, write: impl FnOnce(&File) -> io::Result<Id>) -> Result<Id, Failure> {
    let failed = |error: io::Error| {
        let what = format!("snapshot {}: {error}", path.display());
        Failure::emulator(what)
    };
    let name = path.file_name().ok_or_else(|| failed(io::ErrorKind::IsADirectory.into()))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(".tmp");
    let temporary = path.with_file_name(temporary);
    let written = write_to(&temporary, write);
    let id = written.and_then(|id| fs::rename(&temporary, path).map(|()| id));
    id.map_err(|error| {
        // What there is of it is of no use to anybody.
        _ = fs::remove_file(&temporary);
        failed(error)
    })
}

fn write_to(path: &Path, write: impl FnOnce(&File) -> io::Result<Id>) -> io::Result<Id> {
    let file = File::create(path)?;
    let id = write(&file)?;
    file.sync_all()?;
    Ok(id)
}

/// A snapshot after those that it is an increment to, the full one first.
#[derive(Debug)]
pub(crate) struct Chain(Vec<Snapshot>);

impl Chain {
    /// Reads `path` and what it is an increment to. Pages are not looked at.
    pub(crate) fn read(path: &Path) -> Result<Chain, Failure> {
        let mut chain = Vec::new();
        let (mut path, mut wanted) = (path.to_owned(), None);
        loop {
            let snapshot = read(&path)?;
            if wanted.is_some_and(|id| id != snapshot.id()) {
                let why = "it has changed since a snapshot was made as an increment to it";
                return Err(Failure::usage(path.display(), why));
            }
            if chain.len() >= CHAIN_MAX {
                return Err(Failure::usage(path.display(), "too many increments to one another"));
            }
            let parent = snapshot.parent().cloned();
            chain.push(snapshot);
            let Some(parent) = parent else { break };
            (path, wanted) = (beside(&path, &parent.file)?, Some(parent.id));
        }
        chain.reverse();
        Ok(Chain(chain))
    }

    /// The snapshots, the full one first.
    pub(crate) fn snapshots(&self) -> &[Snapshot] {
        &self.0
    }

    /// The snapshot that was asked for.
    pub(crate) fn last(&self) -> &Snapshot {
        &self.0[self.0.len() - 1]
    }

    /// Compares all pages with what was written.
    pub(crate) fn verify(&self, path: &Path) -> Result<(), Failure> {
        self.0.iter().try_for_each(Snapshot::verify).map_err(|e| Failure::usage(path.display(), e))
    }

    /// The machine, whose memory stays in the files until it is used. `host` says what is written down and how code is
    /// kept.
    pub(crate) fn restore(&self, path: &Path, host: &Config) -> Result<Machine, Failure> {
        self.grant(path)?;
        snapshot::restore(&self.0, host).map_err(|e| Failure::usage(path.display(), e))
    }

    /// The machine, all pages of which are read and compared with what was written. `host` as in [`Chain::restore`].
    pub(crate) fn load(&self, path: &Path, host: &Config) -> Result<Machine, Failure> {
        self.grant(path)?;
        snapshot::load(&self.0, host).map_err(|e| Failure::usage(path.display(), e))
    }

    fn grant(&self, path: &Path) -> Result<(), Failure> {
        let size = self.last().saved().memory();
        memory::grant(size).map_err(|why| Failure::usage(path.display(), why))
    }
}

/// Reads one snapshot.
pub(crate) fn read(path: &Path) -> Result<Snapshot, Failure> {
    let wrong = |why: String| Failure::usage(path.display(), why);
    let meta = fs::metadata(path).map_err(|e| wrong(e.to_string()))?;
    if !meta.is_file() {
        return Err(wrong("not a regular file".into()));
    }
    let file = File::open(path).map_err(|e| wrong(e.to_string()))?;
    Snapshot::read(file).map_err(|e| wrong(e.to_string()))
}

/// The file `name` in the directory of `path`.
pub(crate) fn beside(path: &Path, name: &str) -> Result<PathBuf, Failure> {
    let plain = Path::new(name).file_name().is_some_and(|file| file == name);
    if !plain {
        let why = format!("it names the file {name:?}; accepted is a name without a directory");
        return Err(Failure::usage(path.display(), why));
    }
    Ok(path.with_file_name(name))
}
