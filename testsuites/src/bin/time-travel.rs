//! `time-travel DIR [PART]`: what snapshots, recordings, ways back and explored futures cost with the Linux guest that
//! `mkguest` has put into DIR, as rows of a table. PART is `snapshots` (and ways back), `recording` or `exploring`.
//!
//! Milliseconds are those that pass, so nothing else should run; what recording costs is processor time.

#![expect(clippy::print_stdout, clippy::disallowed_types, reason = "a command that measures")]

use anyhow::{Context, Result, ensure};
use platform::boot::{BootFile, BootModule};
use platform::machine::debugging::{Breakpoints, DataBreakpoint, Space, Who};
use platform::machine::{Boot, Config, Icount, Machine, MachineStop};
use platform::snapshot::{self, Lineage, Snapshot};
use platform::timeline::{End, Outcome, Past, Timeline};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;
use testsuites::bench::peers;
use testsuites::strata::{self, Ended};

/// Memory of the guest.
const RAM: u64 = 1 << 30;
/// Instructions between two incremental snapshots.
const INCREMENT: u64 = 100_000_000;

fn main() -> Result<()> {
    let from = std::env::args_os().nth(1).context("time-travel DIR, from mkguest linux DIR")?;
    let part = std::env::args().nth(2);
    let directory = std::env::temp_dir().join(format!("time-travel-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let measured = measure(Path::new(&from), &directory, part.as_deref());
    fs::remove_dir_all(&directory)?;
    measured
}

/// Measures one part, or everything, with the guest in the folder `from`.
fn measure(from: &Path, directory: &Path, part: Option<&str>) -> Result<()> {
    println!("| what | goal | measured |\n|---|---|---|");
    let all: [(&str, &dyn Fn() -> Result<()>); 3] = [
        ("snapshots", &|| {
            let guest = Guest::read(from)?;
            let end = snapshots(&guest, directory)?;
            ways_back(&guest, end)
        }),
        ("recording", &|| recording(from, directory)),
        ("exploring", &|| exploring(from, directory)),
    ];
    let mut asked = all.iter().filter(|(name, _)| part.is_none_or(|part| part == *name)).peekable();
    ensure!(asked.peek().is_some(), "accepted are snapshots, recording and exploring");
    asked.try_for_each(|(_, measure)| measure())
}

/// Prints a row of the table.
fn row(what: &str, goal: &str, measured: &str) {
    println!("| {what} | {goal} | {measured} |");
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
    row("instructions of machine time up to `/init`", "", &end.to_string());
    let mut files: Vec<PathBuf> = Vec::new();
    let mut lineage = Lineage::default();
    for n in 0..4 {
        let path = directory.join(format!("{n}.snapshot"));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        let name = format!("{n}.snapshot");
        let (_, took) = timed(|| Ok(lineage.write(&mut machine, name, &file)?))?;
        let (_, synced) = timed(|| Ok(file.sync_all()?))?;
        let size = on_disk(&path)?;
        let measured = format!("{took:.0} ms, {synced:.0} ms more to the disk; {size:.1} MiB");
        match n {
            0 => row("full snapshot, 1 GiB", "", &measured),
            _ => row("incremental snapshot, 100 M instructions later", "300 ms", &measured),
        }
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
        row(&format!("restore of {count} file(s)"), "10 ms", &spread(&mut all));
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
    let forwards = || {
        let mut plain = guest.machine()?;
        timed(|| run(&mut plain, end, "")).map(|(_, took)| took)
    };
    let begin = Begin(guest, [Icount(0)]);
    let mut timeline = Timeline::new(begin, End::Time(Icount(end)))?;
    let (_, took) = timed(|| timeline.go_to_time(Icount(end)))?;
    row("the boot with points to go back to", "", &format!("{took:.0} ms"));
    let middle = |n: u64| Icount(end / 4 + number(n) % (end / 2));
    let mut goes = Vec::new();
    let mut steps = Vec::new();
    for n in 0..100 {
        goes.push(timed(|| timeline.go_to_time(middle(n)))?.1);
        for _ in 0..3 {
            steps.push(timed(|| timeline.step_back(0))?.1);
        }
    }
    row("`goto` in the middle of the boot", "250 ms", &spread(&mut goes));
    row("`reverse-stepi` there", "50 ms", &spread(&mut steps));
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
    let (forward, back) = least(forwards, || {
        timeline.go_to_time(Icount(end))?;
        let (outcome, took) = timed(|| timeline.go_back(&mut || false))?;
        ensure!(outcome == Outcome::Begin, "the word is stored to: {outcome:?}");
        Ok(took)
    })?;
    let measured = format!("{:.2} ({back:.0} and {forward:.0} ms)", back / forward);
    row("`last-write` over the whole boot", "1 of forwards", &measured);
    Ok(())
}

/// The rounds of which the best counts.
const ROUNDS: u32 = 5;

/// The words that run the guest in `from`, with so many MiB of memory.
fn words(from: &Path, memory: &str) -> Vec<String> {
    let file = |name: &str| from.join(name).display().to_string();
    let words = ["run", "-m", memory, "-kernel", &file("vmlinuz"), "-initrd", &file("initrd.gz")];
    let more = ["-append", "console=ttyS0 panic=-1", "-no-reboot"];
    words.iter().chain(&more).map(|word| (*word).to_owned()).collect()
}

/// The least of some rounds of one and of the other, which take turns: what else the host does hits both.
fn least(
    mut one: impl FnMut() -> Result<f64>,
    mut other: impl FnMut() -> Result<f64>,
) -> Result<(f64, f64)> {
    let mut least = (f64::INFINITY, f64::INFINITY);
    for _ in 0..ROUNDS {
        least = (least.0.min(one()?), least.1.min(other()?));
    }
    Ok(least)
}

/// What it costs to record the guest's work, and to verify the recording by two jobs.
fn recording(from: &Path, directory: &Path) -> Result<()> {
    let program = strata::command()?;
    let run = words(from, "1024");
    let to = directory.join("recording");
    let begin = ["record", "-o", &to.display().to_string(), "--"].map(str::to_owned);
    let record = [&begin[..], &run].concat();
    let seconds = |words: &[String]| -> Result<f64> {
        let run = peers::strata(&program, words.to_vec()).follow(false)?;
        ensure!(run.output().contains("MARK done"), "the guest has not ended");
        Ok(run.lines.last().context("no output")?.1)
    };
    let (plain, recorded) = least(
        || seconds(&run),
        || {
            _ = fs::remove_dir_all(&to);
            seconds(&record)
        },
    )?;
    let cost = (recorded / plain - 1.0) * 100.0;
    let measured = format!("{cost:.1} % ({plain:.2} s without)");
    row("recording: processor time of boot and work", "3 %", &measured);
    sizes(&to)?;
    verifying(&to)
}

/// What a recording takes on the disk.
fn sizes(recording: &Path) -> Result<()> {
    let log = recording.join(platform::recording::FILE);
    let frames = platform::recording::Recording::read(File::open(&log)?)?.frames;
    let billions = frames.last().map_or(0, |frame| frame.at().0) as f64 / 1e9;
    let bytes = fs::metadata(&log)?.len() as f64;
    let files = fs::read_dir(recording)?.map(|file| on_disk(&file?.path()));
    let all: f64 = files.sum::<Result<_>>()?;
    row("log for 1,000 M instructions", "", &format!("{:.0} bytes", bytes / billions));
    let measured = format!("{:.1} MiB ({all:.1} MiB in all)", all / billions);
    row("with its snapshots", "", &measured);
    Ok(())
}

/// Runs the command, which must end with `status`.
fn ended(words: &[&str], status: i32) -> Result<Ended> {
    let ended = strata::run(words)?;
    ensure!(ended.status == Some(status), "{words:?}: {}", ended.stderr);
    Ok(ended)
}

/// How much faster two jobs verify a recording.
fn verifying(recording: &Path) -> Result<()> {
    let recording = recording.display().to_string();
    let verify = |jobs: &str| {
        let words = ["replay", &recording, "--verify", "--jobs", jobs];
        timed(|| ended(&words, 0)).map(|(_, took)| took)
    };
    let (one, two) = least(|| verify("1"), || verify("2"))?;
    let measured = format!("{:.2} ({one:.0} and {two:.0} ms)", one / two);
    row("`replay --verify`, by two jobs instead of one", "1.8 times as fast", &measured);
    Ok(())
}

/// How many futures of 1 M instructions a booted guest of 256 MiB has in a second, by two jobs.
fn exploring(from: &Path, directory: &Path) -> Result<()> {
    let snapshot = directory.join("booted").display().to_string();
    let run = words(from, "256");
    let keep = ["--snapshot", &snapshot, "--snapshot-at", "Run /init"];
    let run: Vec<&str> = run.iter().map(String::as_str).chain(keep).collect();
    ended(&run, 0)?;
    let to = directory.join("explored").display().to_string();
    let budget = ["--seeds", "2000", "--jobs", "2", "--budget", "1000000"];
    let explore = ["explore", "-o", &to, "--until", "status:255"];
    let said = ended(&[&explore[..], &budget, &[&snapshot]].concat(), 0)?.stderr;
    let rate = said.split_once(" s (").and_then(|(_, rest)| rest.split_once(" a second"));
    let rate = rate.context("no rate")?.0;
    row("`explore`: futures of 1 M instructions in a second", "200", rate);
    Ok(())
}
