//! CPU seconds of emulators that run the same guest program: all kernels in one run, the clock of
//! the emulator's process read at each line the guest prints. So start-up and firmware are left
//! out, and other load on the host disturbs little.

use super::count::Strata;
use super::guest;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An emulator with its arguments.
pub struct Peer {
    /// Heading of the peer's column.
    pub name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
}

/// What a run printed, each line with the CPU seconds used until then.
#[derive(Debug, Default)]
pub struct Run {
    /// Lines of output, each with its time.
    pub lines: Vec<(String, f64)>,
    /// The most memory that was resident besides the guest's RAM, in KiB.
    pub beyond: u64,
    /// Standard error of a run that was followed to its end.
    pub summary: String,
}

impl Run {
    /// The output as one text.
    pub fn output(&self) -> String {
        self.lines.iter().map(|(line, _)| format!("{line}\n")).collect()
    }

    /// Instructions of the levels of Strata's summary whose names begin with `prefix`.
    pub fn instructions(&self, prefix: &str) -> f64 {
        let rows = self.summary.lines().filter(|line| line.starts_with(prefix));
        rows.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).sum()
    }

    /// CPU seconds between the two lines of each word of the command line.
    pub fn items(&self) -> BTreeMap<String, f64> {
        let (mut seconds, mut began) = (BTreeMap::new(), 0.0);
        for (line, now) in &self.lines {
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                [.., "begin", _] => began = *now,
                [.., "end", name, _, _] => drop(seconds.insert(name.to_owned(), now - began)),
                _ => {}
            }
        }
        seconds
    }

    /// CPU seconds up to each `MARK name` from the one before.
    pub fn marks(&self) -> BTreeMap<String, f64> {
        let (mut seconds, mut began) = (BTreeMap::new(), 0.0);
        for (line, now) in &self.lines {
            let name = line.split_once("MARK ").and_then(|(_, name)| name.split(' ').next());
            if let Some(name) = name {
                seconds.entry(name.trim().to_owned()).or_insert(now - began);
                began = *now;
            }
        }
        seconds
    }
}

/// Whether a program can be started.
fn found(program: &Path) -> bool {
    let there = |folder: PathBuf| folder.join(program).is_file();
    program.components().count() > 1 && program.is_file()
        || std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(there)
}

/// What the emulators boot.
pub enum Guest<'a> {
    /// The bench's guest with these words.
    Bench(&'a str),
    /// The Linux guest in this folder, as made by `mkguest linux` or `mklinux.sh`.
    Linux(&'a Path),
}

impl Guest<'_> {
    /// QEMU's names for it, which are Strata's too.
    fn arguments(&self, strata: &Strata) -> Vec<String> {
        let (memory, kernel, append) = match self {
            Self::Bench(words) => (64, strata.guest.clone(), *words),
            Self::Linux(folder) => (512, folder.join("vmlinuz"), "console=ttyS0 panic=-1"),
        };
        let fixed = format!("-m {memory} -serial stdio -display none -no-reboot");
        let mut arguments: Vec<String> = fixed.split(' ').map(str::to_owned).collect();
        let mut pair = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
        pair("-kernel", kernel.display().to_string());
        pair("-append", append.to_owned());
        match self {
            Self::Bench(_) => pair("-device", "isa-debug-exit,iobase=0xf4,iosize=4".into()),
            Self::Linux(folder) => pair("-initrd", folder.join("initrd.gz").display().to_string()),
        }
        arguments
    }

    /// The command of `strata run` with this guest.
    pub fn of_strata(&self, strata: &Strata) -> Vec<String> {
        [vec!["run".to_owned()], self.arguments(strata)].concat()
    }

    /// Memory in MiB, and the CD, if it can be made.
    fn image(&self, strata: &Strata) -> Result<(u32, Option<PathBuf>)> {
        Ok(match self {
            Self::Bench(words) => (64, guest::image(&strata.guest, words)?),
            Self::Linux(folder) => (512, Some(folder.join("linux.iso")).filter(|f| f.is_file())),
        })
    }
}

/// Strata, bare and (Linux only) nested, and those of its peers that are installed, to run `guest`; the others'
/// names.
pub fn all(
    strata: &Strata,
    bochs: &Path,
    qemu: &Path,
    guest: &Guest<'_>,
) -> Result<(Vec<Peer>, Vec<&'static str>)> {
    let direct = guest.arguments(strata);
    let mut peers = vec![self::strata(&strata.program, guest.of_strata(strata))];
    if let Guest::Linux(folder) = guest {
        peers.push(Peer { name: "L2/L1", ..self::strata(&strata.program, nested(strata, folder)) });
    }
    let mut missing = Vec::new();
    match found(bochs).then(|| self::bochs(strata, bochs, guest)).transpose()?.flatten() {
        Some(peer) => peers.push(peer),
        None => missing.push("bochs"),
    }
    for (name, more) in [("qemu", ""), ("icount", " -icount shift=0,sleep=off")] {
        let fixed = format!("-accel tcg,thread=single -cpu max -smp 1 -monitor none{more}");
        let mut arguments: Vec<String> = fixed.split(' ').map(str::to_owned).collect();
        arguments.extend(direct.clone());
        match found(qemu) {
            true => peers.push(Peer { name, program: qemu.into(), arguments }),
            false => missing.push(name),
        }
    }
    Ok((peers, missing))
}

/// `strata host` with the Linux guest in `folder` as a domU beside an idle dom0.
fn nested(strata: &Strata, folder: &Path) -> Vec<String> {
    let [kernel, initrd] = ["vmlinux", "initrd.gz"].map(|f| folder.join(f).display().to_string());
    vec![
        "host".into(),
        "--until-domus-end".into(),
        format!("--dom0=kernel={},memory=64M,append=hold", strata.guest.display()),
        format!("--domu=name=k,kernel={kernel},initrd={initrd},memory=512M,append=console=ttyS0"),
    ]
}

/// Bochs without a window; `BOCHS_DISPLAY_LIBRARY` names another display.
fn bochs(strata: &Strata, program: &Path, guest: &Guest<'_>) -> Result<Option<Peer>> {
    let share = ["/usr/share/bochs", "/usr/local/share/bochs"].map(Path::new);
    let Some(share) = share.iter().find(|folder| folder.is_dir()) else { return Ok(None) };
    let (memory, Some(iso)) = guest.image(strata)? else { return Ok(None) };
    let display = std::env::var_os("BOCHS_DISPLAY_LIBRARY").unwrap_or_else(|| "nogui".into());
    let rc = strata.guest.with_extension("bochsrc");
    let text = format!(
        "display_library: {}\n\
         megs: {memory}\n\
         cpu: model=corei7_skylake_x, count=1, ips=200000000, reset_on_triple_fault=0\n\
         clock: sync=none, time0=1700000000\n\
         romimage: file={share}/BIOS-bochs-latest\n\
         vgaromimage: file={share}/VGABIOS-lgpl-latest\n\
         ata0-master: type=cdrom, path={}, status=inserted\n\
         boot: cdrom\n\
         com1: enabled=1, mode=file, dev=/dev/stdout\n\
         log: {}\n\
         panic: action=fatal\n\
         error: action=ignore\n\
         info: action=ignore\n\
         pci: enabled=1, chipset=i440fx\n",
        display.to_string_lossy(),
        iso.display(),
        strata.guest.with_extension("log").display(),
        share = share.display(),
    );
    fs::write(&rc, text)?;
    let arguments = vec!["-q".into(), "-f".into(), rc.display().to_string()];
    Ok(Some(Peer { name: "bochs", program: program.into(), arguments }))
}

/// Strata with any arguments.
pub fn strata(program: &Path, arguments: Vec<String>) -> Peer {
    Peer { name: "strata", program: program.into(), arguments }
}

impl Peer {
    /// Runs to the guest's `done`.
    pub fn run(&self) -> Result<Run> {
        self.follow(true)
    }

    /// Runs until `done` if `to_done`, or else to the end.
    pub fn follow(&self, to_done: bool) -> Result<Run> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(if to_done { Stdio::null() } else { Stdio::piped() })
            .spawn()
            .with_context(|| format!("{}", self.program.display()))?;
        let stdout = child.stdout.take().context("a pipe")?;
        let mut run = watch(child.id(), BufReader::new(stdout), to_done);
        if to_done {
            child.kill().ok();
        } else if let (Ok(run), Some(mut stderr)) = (&mut run, child.stderr.take()) {
            stderr.read_to_string(&mut run.summary)?;
        }
        child.wait()?;
        run
    }
}

/// Reads the clock at each line.
fn watch(pid: u32, lines: impl BufRead, to_done: bool) -> Result<Run> {
    let mut run = Run::default();
    for line in lines.split(b'\n') {
        let line = String::from_utf8_lossy(&line?).trim_end().to_owned();
        let done = line == "done" || line.starts_with("MARK done") || line.contains(" MARK done");
        run.lines.push((line, cpu_seconds(pid)?));
        run.beyond = beyond(pid).max(run.beyond);
        if done && to_done {
            break;
        }
    }
    Ok(run)
}

/// What memory a process has now besides its largest map, which is the guest's RAM, in KiB; 0 once it has ended.
fn beyond(pid: u32) -> u64 {
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
    all_but_the_largest(&maps)
}

/// The resident KiB of these maps, all but the largest. Linux, "/proc/PID/smaps".
fn all_but_the_largest(smaps: &str) -> u64 {
    let of = |name: &str| -> Vec<u64> {
        let values = smaps.lines().filter_map(|line| line.strip_prefix(name));
        values.filter_map(|v| v.split_whitespace().next()?.parse().ok()).collect()
    };
    let maps = of("Size:").into_iter().zip(of("Rss:"));
    let all: u64 = maps.clone().map(|(_, resident)| resident).sum();
    all - maps.max().map_or(0, |(_, resident)| resident)
}

/// What the threads of a process have used so far.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the two looks.
        let stat = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        nanoseconds += stat.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(nanoseconds as f64 / 1e9)
}

/// The host's load average over the last minute.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_besides_the_largest_map() {
        let map = |size: u64, resident: u64| {
            format!(
                "7f00-7f01 rw-p 0 00:00 0\nSize: {size} kB\nKernelPageSize: 4 kB\nRss: {resident} kB\n"
            )
        };
        let check = |maps: &[(u64, u64)], beyond: u64| {
            let text: String = maps.iter().map(|&(size, resident)| map(size, resident)).collect();
            assert_eq!(all_but_the_largest(&text), beyond, "{maps:?}");
        };
        check(&[], 0);
        check(&[(64, 4)], 0);
        check(&[(16, 8), (1 << 20, 512), (32, 32)], 40);
    }
}
