//! The options about runs that are kept: of `restore`, `snapshot`, `hash`, `record`, `replay`, `diff` and `debug`, and those of a
//! snapshot.

use crate::args::{Gdb, Serials};
use crate::debug::connection::{self, Where};
use crate::parts::{self, Slice};
use crate::trace::Trace;
use crate::values::{self, Moment};
use clap::Subcommand;
use platform::machine::CodeOptions;
use std::ffi::OsString;
use std::path::PathBuf;

/// When a snapshot is made, and where it goes.
#[derive(Debug, Default, Clone, clap::Args)]
pub(crate) struct SnapshotAt {
    /// Where a snapshot is written: at --snapshot-at, or when the run ends
    #[arg(long, value_name = "FILE", value_parser = values::new_file)]
    pub(crate) snapshot: Option<PathBuf>,
    /// When the snapshot is made: after N instructions of machine time, or once COM1 has sent a text
    #[arg(long, value_name = "N|TEXT", requires = "snapshot", value_parser = values::moment)]
    pub(crate) snapshot_at: Option<Moment>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Restore {
    /// The snapshot to go on from
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) serials: Serials,
    /// Cuts and keeps decoded code otherwise: interpreter,block=N,cache=N,fuse=on|off
    #[arg(long, value_name = "OPTIONS", value_parser = values::accel)]
    pub(crate) accel: Option<CodeOptions>,
    #[command(flatten)]
    pub(crate) trace: Trace,
    #[command(flatten)]
    pub(crate) keep: SnapshotAt,
    #[command(flatten)]
    pub(crate) gdb: Gdb,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Snapshot {
    #[command(subcommand)]
    pub(crate) verb: SnapshotVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotVerb {
    /// Say what is in a snapshot
    Info { file: PathBuf },
    /// Compare all of a snapshot with what was written
    Verify { file: PathBuf },
    /// Say in which fields and pages two snapshots differ; status 4 if they do
    Diff { first: PathBuf, second: PathBuf },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Hash {
    /// The snapshot whose state is hashed
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Record {
    /// The directory of the recording, which is made
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Instructions of machine time between two state hashes, more while processors are idle
    #[arg(long, value_name = "N", default_value_t = 1_000_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) hash_every: u64,
    /// Instructions of machine time between two snapshots, more while processors are idle
    #[arg(long, value_name = "N", default_value_t = 1_000_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) snapshot_every: u64,
    /// What to run: the words after "strata", with their verb; nothing for the main job
    #[arg(last = true, value_name = "WORDS")]
    pub(crate) words: Vec<OsString>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Replay {
    /// The directory of the recording
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// End at N instructions of machine time of the last run in it
    #[arg(long, value_name = "N", conflicts_with = "verify")]
    pub(crate) to: Option<u64>,
    /// Check the parts between snapshots each by itself
    #[arg(long)]
    pub(crate) verify: bool,
    /// How many parts are checked at once
    #[arg(long, value_name = "N", default_value = "1", requires = "verify",
          value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: u16,
    /// Check only part K of N, each some of the parts between snapshots
    #[arg(long, value_name = "K/N", requires = "verify", value_parser = parts::slice)]
    pub(crate) slice: Option<Slice>,
    /// Print in JSON what the parts between snapshots are, instead of running anything
    #[arg(long, conflicts_with_all = ["verify", "to"])]
    pub(crate) manifest: bool,
    /// Cuts and keeps decoded code otherwise: interpreter,block=N,cache=N,fuse=on|off
    #[arg(long, value_name = "OPTIONS", value_parser = values::accel)]
    pub(crate) accel: Option<CodeOptions>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Diff {
    /// The directory of a recording
    #[arg(value_name = "A")]
    pub(crate) first: PathBuf,
    /// The directory of the other
    #[arg(value_name = "B")]
    pub(crate) second: PathBuf,
    /// Instructions between two looks, until the runs have parted
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    pub(crate) every: u64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Debugger {
    /// The directory of the recording
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Where gdb is waited for: tcp:HOST:PORT, unix:PATH or stdio [default: tcp:127.0.0.1:1234]
    #[arg(long, value_name = "WHERE", value_parser = connection::place)]
    pub(crate) gdb: Option<Where>,
    /// Cuts and keeps decoded code otherwise: interpreter,block=N,cache=N,fuse=on|off
    #[arg(long, value_name = "OPTIONS", value_parser = values::accel)]
    pub(crate) accel: Option<CodeOptions>,
}
