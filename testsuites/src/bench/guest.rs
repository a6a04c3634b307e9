//! Builds the guest of `benches/guest`, and an image of it for a machine with a BIOS.

use crate::strata::programs::flags;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How the program is compiled besides [`flags`]; vectors only where a kernel asks for them.
const FLAGS: [&str; 6] = [
    "--edition=2024",
    "--target=x86_64-unknown-linux-gnu",
    "-Copt-level=2",
    "-Ccodegen-units=1",
    "-Cpanic=abort",
    "-Cno-vectorize-loops",
];

/// The workspace's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folder for what is made here.
fn folder() -> Result<PathBuf> {
    let folder = root().join("target/bench");
    fs::create_dir_all(&folder)?;
    Ok(folder.canonicalize()?)
}

/// Builds the runtime and the guest; the guest's ELF file.
pub fn build() -> Result<PathBuf> {
    let (root, folder) = (root(), folder()?);
    let (library, elf) = (folder.join("libruntime.rlib"), folder.join("guest.elf"));
    let source = root.join("hypervisor/runtime/src/lib.rs");
    let bare = ["--crate-name=runtime", "--crate-type=rlib", "--cfg=feature=\"bare\""];
    compile(&root, &source, &library, &bare)?;
    let runtime = format!("--extern=runtime={}", library.display());
    let main = root.join("testsuites/benches/guest/main.rs");
    let guest = ["--crate-name=bench_guest", "--crate-type=bin", "-Wunsafe_code", &runtime];
    compile(&root, &main, &elf, &guest)?;
    Ok(elf)
}

/// Compiles the crate whose root is `source` into the file `out`.
fn compile(root: &Path, source: &Path, out: &Path, more: &[&str]) -> Result<()> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let status = Command::new(rustc)
        .args(FLAGS)
        .args(flags::freestanding(root))
        .arg("-Dwarnings")
        .args(more)
        .arg("-o")
        .arg(out)
        .arg(source)
        .status()
        .context("rustc")?;
    ensure!(status.success(), "{} does not build", source.display());
    Ok(())
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
