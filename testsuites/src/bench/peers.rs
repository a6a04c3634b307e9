//! CPU seconds of emulators that run the same guest program: all kernels in one run, the clock of
//! the emulator's process read at each line the guest prints. So start-up and firmware are left
//! out, and other load on the host disturbs little.

use super::count::{Level, Strata};
use super::guest;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An emulator with its arguments.
pub struct Peer {
    /// Its column's name.
    pub name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
}

/// What one run took, by the names of the command line's words.
#[derive(Debug, Default)]
pub struct Run {
    /// CPU seconds between a word's two lines.
    pub seconds: BTreeMap<String, f64>,
    /// What the guest printed.
    pub output: String,
}

/// Whether a program can be started.
fn found(program: &Path) -> bool {
    let there = |folder: PathBuf| folder.join(program).is_file();
    program.components().count() > 1 && program.is_file()
        || std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(there)
}

/// Strata and those of its peers that are installed, to run `words`; the others' names.
pub fn all(
    strata: &Strata,
    bochs: &Path,
    qemu: &Path,
    words: &str,
) -> Result<(Vec<Peer>, Vec<&'static str>)> {
    let arguments = strata.arguments(Level::Bare, words);
    let mut peers = vec![Peer { name: "strata", program: strata.program.clone(), arguments }];
    let mut missing = Vec::new();
    match found(bochs).then(|| self::bochs(strata, bochs, words)).transpose()?.flatten() {
        Some(peer) => peers.push(peer),
        None => missing.push("bochs"),
    }
    if found(qemu) {
        peers.push(self::qemu(strata, qemu, words, &[]));
        let icount = ["-icount", "shift=0,sleep=off"];
        peers.push(Peer { name: "icount", ..self::qemu(strata, qemu, words, &icount) });
    } else {
        missing.push("qemu");
    }
    Ok((peers, missing))
}

fn qemu(strata: &Strata, program: &Path, words: &str, more: &[&str]) -> Peer {
    let fixed = "-accel tcg,thread=single -cpu max -smp 1 -m 64 -monitor none -serial stdio \
                 -display none -no-reboot -device isa-debug-exit,iobase=0xf4,iosize=4";
    let mut arguments: Vec<String> = fixed.split_whitespace().map(str::to_owned).collect();
    arguments.extend(more.iter().map(|word| (*word).to_owned()));
    arguments.extend(["-kernel".into(), strata.guest.display().to_string()]);
    arguments.extend(["-append".into(), words.into()]);
    Peer { name: "qemu", program: program.into(), arguments }
}

/// Bochs without a window; `BOCHS_DISPLAY_LIBRARY` names another display.
fn bochs(strata: &Strata, program: &Path, words: &str) -> Result<Option<Peer>> {
    let share = ["/usr/share/bochs", "/usr/local/share/bochs"].map(Path::new);
    let Some(share) = share.iter().find(|folder| folder.is_dir()) else { return Ok(None) };
    let Some(iso) = guest::image(&strata.guest, words)? else { return Ok(None) };
    let display = std::env::var_os("BOCHS_DISPLAY_LIBRARY").unwrap_or_else(|| "nogui".into());
    let rc = iso.with_extension("bochsrc");
    let text = format!(
        "display_library: {}\n\
         megs: 64\n\
         cpu: model=corei7_skylake_x, count=1, ips=200000000, reset_on_triple_fault=0\n\
         clock: sync=none, time0=1700000000\n\
         romimage: file={share}/BIOS-bochs-latest\n\
         vgaromimage: file={share}/VGABIOS-lgpl-latest\n\
         ata0-master: type=cdrom, path={}, status=inserted\n\
         boot: cdrom\n\
         com1: enabled=1, mode=file, dev=/dev/stdout\n\
         log: {}\n\
         panic: action=fatal\n\
         pci: enabled=1, chipset=i440fx\n",
        display.to_string_lossy(),
        iso.display(),
        iso.with_extension("log").display(),
        share = share.display(),
    );
    fs::write(&rc, text)?;
    let arguments = vec!["-q".into(), "-f".into(), rc.display().to_string()];
    Ok(Some(Peer { name: "bochs", program: program.into(), arguments }))
}

impl Peer {
    /// Runs to the guest's `done`.
    pub fn run(&self) -> Result<Run> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{}", self.program.display()))?;
        let stdout = child.stdout.take().context("a pipe")?;
        let run = watch(child.id(), BufReader::new(stdout));
        child.kill().ok();
        child.wait()?;
        run
    }
}

/// Reads the clock at each line.
fn watch(pid: u32, lines: impl BufRead) -> Result<Run> {
    let (mut run, mut began) = (Run::default(), 0.0);
    for line in lines.split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [.., "begin", _] => began = cpu_seconds(pid)?,
            [.., "end", name, _, _] => {
                run.seconds.insert(name.into(), cpu_seconds(pid)? - began);
            }
            _ => {}
        }
        run.output += &line;
        run.output.push('\n');
        if words.last() == Some(&"done") {
            break;
        }
    }
    Ok(run)
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
