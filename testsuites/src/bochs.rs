//! The bundled hypervisor on another emulator: Debian's Bochs, by the image that `strata image`
//! writes. What it prints there is what it must print on Strata.

#![expect(clippy::disallowed_types, reason = "a guest that hangs must end the test")]

use crate::strata;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Bochs's configuration for the image `iso`, with COM1 written to `com1`.
fn config(folder: &Path, iso: &Path, com1: &Path) -> Result<String> {
    let share = ["/usr/share/bochs", "/usr/local/share/bochs"].map(Path::new);
    let share = share.iter().find(|p| p.is_dir());
    let share =
        share.context("Bochs is needed: Debian's packages bochs, bochs-sdl, bochsbios, vgabios")?;
    let [share, iso, com1] = [share, iso, com1].map(Path::display);
    let log = folder.join("log");
    Ok(format!(
        "display_library: sdl2\n\
         megs: 1024\n\
         cpu: model=corei7_haswell_4770, count=1, ips=100000000, reset_on_triple_fault=0\n\
         clock: sync=none, time0=1700000000\n\
         romimage: file={share}/BIOS-bochs-latest\n\
         vgaromimage: file={share}/VGABIOS-lgpl-latest\n\
         ata0-master: type=cdrom, path={iso}, status=inserted\n\
         boot: cdrom\n\
         com1: enabled=1, mode=file, dev={com1}\n\
         log: {}\n\
         panic: action=fatal\n\
         pci: enabled=1, chipset=i440fx\n",
        log.display()
    ))
}

/// Boots the image on Bochs and gives what it printed on COM1 until it shut Bochs down.
pub fn run(limit: Duration) -> Result<Vec<String>> {
    let folder = std::env::temp_dir().join(format!("strata-bochs.{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let printed = boot(&folder, limit);
    fs::remove_dir_all(&folder)?;
    printed
}

fn boot(folder: &Path, limit: Duration) -> Result<Vec<String>> {
    let [iso, com1, rc] = ["image.iso", "com1", "bochsrc"].map(|name| folder.join(name));
    let image = strata::run(&["image", &iso.to_string_lossy()])?;
    ensure!(image.status == Some(0), "strata image: {}", image.stderr);
    fs::write(&com1, "")?;
    fs::write(&rc, config(folder, &iso, &com1)?)?;
    let mut bochs = Command::new("bochs")
        .args(["-q", "-f"])
        .arg(&rc)
        .env("SDL_VIDEODRIVER", "dummy")
        .env("SDL_AUDIODRIVER", "dummy")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("Bochs is needed: Debian's packages bochs and bochs-sdl")?;
    // Debian's Bochs starts in its debugger.
    bochs.stdin.take().context("a pipe")?.write_all(b"c\n")?;
    let ended = wait(&mut bochs, &com1, limit);
    bochs.kill().ok();
    bochs.wait()?;
    ended
}

/// Waits until Bochs ends or `limit` is over.
fn wait(bochs: &mut Child, com1: &Path, limit: Duration) -> Result<Vec<String>> {
    let started = Instant::now();
    loop {
        let ended = bochs.try_wait()?.is_some();
        let text = String::from_utf8_lossy(&fs::read(com1)?).into_owned();
        if ended {
            return Ok(text.lines().map(|line| line.trim_end().to_owned()).collect());
        }
        if started.elapsed() > limit {
            bail!("no end on Bochs after {limit:?}; it printed:\n{text}");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
