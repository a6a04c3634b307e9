//! `time-travel DIR`: what snapshots, and ways back in a boot, cost with the Linux guest that `mkguest` has put into DIR.
//!
//! Seconds are those of this thread's processor time, except where a disk is waited for.

#![expect(clippy::print_stdout, clippy::disallowed_types, reason = "a command that measures")]

use anyhow::{Context, Result, ensure};
use platform::boot::{BootFile, BootModule};
use platform::machine::debugging::{Breakpoints, DataBreakpoint, Space, Who};
use platform::machine::{Boot, Config, Icount, Machine, MachineStop};
use platform::snapshot::{self, Parent, Snapshot};
use platform::timeline::{End, Past, Timeline};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Memory of the guest.
const RAM: u64 = 1 << 30;
/// Instructions between two incremental snapshots.
const INCREMENT: u64 = 100_000_000;

fn main() -> Result<()> {
    let guest = std::env::args_os().nth(1).context("time-travel DIR, from mkguest linux DIR")?;
    let guest = Guest::read(Path::new(&guest))?;
    let directory = std::env::temp_dir().join(format!("time-travel-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let measured = snapshots(&guest, &directory);
    fs::remove_dir_all(&directory)?;
    let end = measured?;
    ways_back(&guest, end)
}

/// The files of a guest.
struct Guest {
    kernel: Vec<u8>,
    initrd: Vec<u8>,
}

impl Guest {
    fn read(from: &Path) -> Result<Guest> {
        let file = |name: &str| fs::read(from.join(name)).with_context(|| name.to_owned());
        Ok(Guest { kernel: file("vmlinuz")?, initrd: file("initrd.gz")? })
    }

    /// The machine as it is about to boot.
    fn machine(&self) -> Result<Machine> {
        let mut machine = Machine::new(&Config { ram: RAM, ..Config::default() })?;
        let kernel = BootFile { name: "vmlinuz", bytes: &self.kernel };
        let file = BootFile { name: "initrd.gz", bytes: &self.initrd };
        let modules = [BootModule { file, cmdline: "" }];
        machine.boot(&Boot { kernel, modules: &modules, cmdline: "console=ttyS0 panic=-1" })?;
        Ok(machine)
    }
}

/// Runs up to machine time `to`, or until COM1 has sent `text`.
fn run(machine: &mut Machine, to: u64, text: &str) -> Result<()> {
    let mut sent = String::new();
    while machine.now().0 < to && (text.is_empty() || !sent.contains(text)) {
        let stop = machine.run((to - machine.now().0).min(5_000_000));
        sent += &String::from_utf8_lossy(&machine.serial_output(0));
        ensure!(stop == MachineStop::Budget, "the guest has ended: {stop:?}");
    }
    Ok(())
}

/// Milliseconds that `work` takes.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let since = Instant::now();
    let done = work()?;
    Ok((done, since.elapsed().as_secs_f64() * 1000.0))
}

/// What a file has on the disk, in MiB.
fn on_disk(path: &Path) -> Result<f64> {
    Ok(fs::metadata(path)?.blocks() as f64 / 2048.0)
}

/// Snapshots of the booted guest; the time at which it was booted.
fn snapshots(guest: &Guest, directory: &Path) -> Result<u64> {
    let mut machine = guest.machine()?;
    run(&mut machine, 20_000_000_000, "Run /init")?;
    let end = machine.now().0;
    println!("booted at {end} instructions of machine time");
    let mut files: Vec<PathBuf> = Vec::new();
    let mut parent = None;
    for n in 0..4 {
        let path = directory.join(format!("{n}.snapshot"));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        let (id, took) = timed(|| Ok(snapshot::write(&mut machine, parent.take(), &file)?))?;
        let (_, synced) = timed(|| Ok(file.sync_all()?))?;
        let kind = if n == 0 { "full" } else { "incremental" };
        println!(
            "snapshot, {kind}: {took:.1} ms, and {synced:.1} ms until it is on the disk; {:.1} MiB",
            on_disk(&path)?
        );
        parent = Some(Parent { file: format!("{n}.snapshot"), id });
        files.push(path);
        let to = machine.now().0 + INCREMENT;
        run(&mut machine, to, "")?;
    }
    for count in [1, 4] {
        let restore = || {
            let chain = files[..count].iter().map(|path| Ok(Snapshot::read(File::open(path)?)?));
            let chain = chain.collect::<Result<Vec<_>>>()?;
            Ok(snapshot::restore(&chain, &Config::default())?)
        };
        let mut all =
            (0..20).map(|_| timed(restore).map(|(_, took)| took)).collect::<Result<Vec<_>>>()?;
        println!("restore of {count} file(s): {}", spread(&mut all));
    }
    Ok(end)
}

/// Median and 99th percentile of milliseconds.
fn spread(all: &mut [f64]) -> String {
    all.sort_by(f64::total_cmp);
    let at = |part: usize| all[((all.len() - 1) * part).div_ceil(100)];
    format!("median {:.1} ms, 99 % {:.1} ms, of {}", at(50), at(99), all.len())
}

/// A boot that can be begun again.
struct Begin<'a>(&'a Guest, [Icount; 1]);

impl Past for Begin<'_> {
    type Error = anyhow::Error;

    fn starts(&self) -> &[Icount] {
        &self.1
    }

    fn restore(&mut self, _: usize) -> Result<Machine> {
        self.0.machine()
    }
}

/// Numbers that follow from nothing but their place.
fn number(n: u64) -> u64 {
    let mixed = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 20
}

/// Ways back in the boot, whose end is at machine time `end`.
fn ways_back(guest: &Guest, end: u64) -> Result<()> {
    let mut plain = guest.machine()?;
    let (_, forward) = timed(|| run(&mut plain, end, ""))?;
    println!("the boot forwards: {forward:.0} ms");
    let begin = Begin(guest, [Icount(0)]);
    let mut timeline = Timeline::new(begin, End::Time(Icount(end)))?;
    let (_, took) = timed(|| timeline.go_to_time(Icount(end)))?;
    println!("the boot with points to go back to: {took:.0} ms");
    let middle = |n: u64| Icount(end / 4 + number(n) % (end / 2));
    let mut goes = Vec::new();
    let mut steps = Vec::new();
    for n in 0..100 {
        goes.push(timed(|| timeline.go_to_time(middle(n)))?.1);
        for _ in 0..3 {
            steps.push(timed(|| timeline.step_back(0))?.1);
        }
    }
    println!("goto in the middle: {}", spread(&mut goes));
    println!("reverse-stepi there: {}", spread(&mut steps));
    timeline.go_to_time(Icount(end))?;
    // A word that nobody stores to, so that the search goes back to the begin.
    let data = vec![DataBreakpoint {
        first: 0x10,
        last: 0x17,
        loads: false,
        stores: true,
        space: Space::Linear,
        who: Who::Any,
    }];
    timeline.set_breakpoints(Breakpoints { data, ..Breakpoints::default() });
    let (outcome, took) = timed(|| timeline.go_back(&mut || false))?;
    println!(
        "last-write over the whole boot: {took:.0} ms, {:.2} of forwards; {outcome:?}",
        took / forward
    );
    Ok(())
}
