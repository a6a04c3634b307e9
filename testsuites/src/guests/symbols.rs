//! What a debugger needs for the kernel of [`super::linux`]: Debian's file with its symbols, and the kernel's commands
//! for gdb, from Debian's source. Some 420 MB are downloaded.

use super::{BUILDING, cache, cached, find, find_below, list, packages};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

/// The constants that the kernel's build takes from its headers for the commands: none of them is needed by those that
/// show tasks, modules and messages.
const CONSTANTS: &str = "def __getattr__(name):\n    return 0\n";

/// The files of one folder.
#[derive(Debug, Clone)]
pub struct Symbols {
    dir: PathBuf,
}

impl Symbols {
    /// The names of the files and folders.
    pub const FILES: [&str; 3] = ["vmlinux-debug", "vmlinux-gdb.py", "scripts"];

    /// The folder that holds [`Self::FILES`].
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The kernel's ELF file with symbols.
    pub fn vmlinux(&self) -> PathBuf {
        self.dir.join("vmlinux-debug")
    }

    /// The script that gives gdb the kernel's commands; the folder `scripts` beside it is needed too.
    pub fn commands(&self) -> PathBuf {
        self.dir.join("vmlinux-gdb.py")
    }
}

/// The symbols of the Linux guest, fetched at the first call on this machine.
///
/// # Errors
/// When Debian's packages cannot be had, or are not what the builder expects.
pub fn symbols() -> Result<Symbols> {
    let guest = super::linux()?;
    let _alone = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let packages = fs::read_to_string(guest.dir().join("packages.txt"))?;
    let kernel = packages.split(' ').next().context("packages.txt is empty")?;
    cached(&format!("symbols-{kernel}"), |tmp| build(kernel, tmp)).map(|dir| Symbols { dir })
}

/// Builds everything for the package `kernel` in `tmp/out`.
fn build(kernel: &str, tmp: &Path) -> Result<()> {
    let out = tmp.join("out");
    fs::create_dir_all(out.join("scripts"))?;
    let deb = |name: &str| packages::fetch(name, &cache().join("packages"));
    let version = kernel.trim_start_matches("linux-image-").split('.').take(2);
    let source = format!("linux-source-{}", version.collect::<Vec<_>>().join("."));
    let symbols = deb(&format!("{kernel}-dbg")).with_context(|| {
        let guests = cache();
        format!(
            "the Linux guest has another kernel than Debian's lists; remove {} and build it anew",
            guests.join("linux-*").display()
        )
    })?;
    let source = deb(&source)?;
    let [k, s] = [tmp.join("kernel"), tmp.join("source")];
    packages::unpack_part(&symbols, "usr/lib/debug/boot/vmlinux-", &k)?;
    fs::rename(find(&k.join("usr/lib/debug/boot"), "vmlinux-")?, out.join("vmlinux-debug"))?;
    packages::unpack_part(&source, "usr/src/linux-source-", &s)?;
    let archive = find(&s.join("usr/src"), "linux-source-")?;
    packages::untar_part(&archive, "*/scripts/gdb/*.py", &s)?;
    let script = find_below(&s, "vmlinux-gdb.py")?.context("no scripts/gdb in the source")?;
    let commands = script.parent().context("a file is in a folder")?;
    fs::write(commands.join("linux/constants.py"), CONSTANTS)?;
    fs::rename(&script, out.join("vmlinux-gdb.py"))?;
    fs::rename(commands, out.join("scripts/gdb"))?;
    fs::write(out.join("packages.txt"), list(&[symbols, source])?)?;
    Ok(())
}
