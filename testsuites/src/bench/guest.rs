//! Builds the guest of `benches/guest`, and an image of it for a machine with a BIOS.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What makes the program freestanding; vectors only where a kernel asks for them.
const FLAGS: [&str; 19] = [
    "--edition=2024",
    "--crate-name=bench_guest",
    "--crate-type=bin",
    "--target=x86_64-unknown-linux-gnu",
    "-Copt-level=2",
    "-Ccodegen-units=1",
    "-Cpanic=abort",
    "-Crelocation-model=static",
    "-Cno-redzone=yes",
    "-Cforce-unwind-tables=no",
    "-Cno-vectorize-loops",
    "-Cno-vectorize-slp",
    "-Cstrip=symbols",
    "-Clink-arg=-nostartfiles",
    "-Clink-arg=-nostdlib",
    "-Clink-arg=-static",
    "-Clink-arg=-no-pie",
    "-Clink-arg=-Wl,--build-id=none",
    "-Clink-arg=-Wl,-n",
];

/// The folder for what is made here.
fn folder() -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    fs::create_dir_all(&folder)?;
    Ok(folder.canonicalize()?)
}

/// Builds the guest; its ELF file.
pub fn build() -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/guest");
    let elf = folder()?.join("guest.elf");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let status = Command::new(rustc)
        .args(FLAGS)
        .args(["-Dwarnings", "-Wunsafe_code"])
        .arg(format!("-Clink-arg=-Wl,-T{}", source.join("guest.ld").display()))
        .arg("-o")
        .arg(&elf)
        .arg(source.join("main.rs"))
        .status()
        .context("rustc")?;
    ensure!(status.success(), "the bench's guest does not build");
    Ok(elf)
}

/// A CD image that boots `elf` with the command line `words` by GRUB. `None` without GRUB's tools.
pub fn image(elf: &Path, words: &str) -> Result<Option<PathBuf>> {
    let (tree, iso) = (folder()?.join("tree"), folder()?.join("guest.iso"));
    fs::create_dir_all(tree.join("grub"))?;
    fs::copy(elf, tree.join("guest"))?;
    let script = format!("set timeout=0\nmultiboot2 /boot/guest {words}\nboot\n");
    fs::write(tree.join("grub/grub.cfg"), script)?;
    let mut make = Command::new("grub-mkrescue");
    make.arg("-o").arg(&iso).arg(format!("boot={}", tree.display()));
    match make.output() {
        Err(_) => Ok(None),
        Ok(made) => {
            let said = String::from_utf8_lossy(&made.stderr).into_owned();
            ensure!(made.status.success(), "grub-mkrescue: {said}");
            Ok(Some(iso))
        }
    }
}
