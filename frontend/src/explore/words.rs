//! The words of `strata explore`.

use super::condition::{self, Condition};
use std::ffi::OsString;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Explore {
    /// Where recordings of what is found go: a directory that is empty, or is made
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// How many futures are tried at most
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: u64,
    /// From what number all futures follow: another number, others
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) seed: u64,
    /// How many futures run at once; what is found does not depend on it
    #[arg(long, value_name = "J", default_value = "1", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: u16,
    /// Instructions of machine time of each future
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1 << 48))]
    pub(crate) budget: u64,
    /// What is looked for, any of: text:TEXT on a serial port, status:N, triple-fault, panic (of pvpanic), failed-entry (to
    /// a VM), halted (for ever), stuck:N (in N instructions no byte for a serial port, and no VM exit for a new reason),
    /// expr:EXPRESSION (as gdb has them, of registers and memory, not zero of a processor); may be repeated [default: triple-fault, panic and failed-entry]
    #[arg(long, value_name = "CONDITION", value_parser = condition::parse)]
    pub(crate) until: Vec<Condition>,
    /// After how many futures in which something was found to end
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) findings: u64,
    /// Begin all futures in the state itself, instead of half of them where others came to something new
    #[arg(long)]
    pub(crate) plain: bool,
    /// A file with texts in quotes, one a line, as --input has them, which may be typed at COM1
    #[arg(long, value_name = "FILE")]
    pub(crate) dictionary: Option<PathBuf>,
    /// The snapshot in which all futures begin
    #[arg(value_name = "SNAPSHOT", required_unless_present = "words", conflicts_with = "words")]
    pub(crate) snapshot: Option<PathBuf>,
    /// Or the run in whose start they begin: the words after "strata", with their verb
    #[arg(last = true, value_name = "WORDS")]
    pub(crate) words: Vec<OsString>,
}
