//! `mkguest linux OUT`, `mkguest userland OUT`, `mkguest xen OUT`, `mkguest kvm OUT`: builds a guest of the
//! tests and copies its files to OUT; for the second also what its checks print on this host. `mkguest symbols OUT`
//! links the symbols of the first guest's kernel, and the kernel's commands for gdb, to OUT.

#![expect(clippy::print_stdout, reason = "a command")]

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use testsuites::guests::symbols::{self, Symbols};
use testsuites::guests::userland::{self, Set};
use testsuites::guests::{self, Linux, kvm, xen};

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["linux", out] => linux(Path::new(out)),
        ["userland", out] => userland(Path::new(out)),
        ["xen", out] => {
            let guest = xen::xen()?;
            let files = [guest.xen(), guest.kernel(), guest.initrd()];
            copy(Path::new(out), &["xen", "dom0-vmlinux", "dom0.cpio"], &files)
        }
        ["kvm", out] => {
            let guest = kvm::kvm()?;
            copy(Path::new(out), &["vmlinuz", "kvm.cpio"], &[guest.vmlinuz(), guest.initrd()])
        }
        ["symbols", out] => symbols(Path::new(out)),
        _ => bail!("usage: mkguest linux|userland|xen|kvm|symbols OUT"),
    }
}

fn linux(out: &Path) -> Result<()> {
    let guest = guests::linux()?;
    copy(out, &Linux::FILES, &Linux::FILES.map(|name| guest.dir().join(name)))
}

/// Links what is too large to be copied.
fn symbols(out: &Path) -> Result<()> {
    let symbols = symbols::symbols()?;
    std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    for name in Symbols::FILES {
        let link = out.join(name);
        _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(symbols.dir().canonicalize()?.join(name), &link)?;
        println!("{}", link.display());
    }
    Ok(())
}

/// Copies `files` to the folder `out` under `names`.
fn copy(out: &Path, names: &[&str], files: &[PathBuf]) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    for (name, file) in names.iter().zip(files) {
        std::fs::copy(file, out.join(name))?;
        println!("{}", out.join(name).display());
    }
    Ok(())
}

fn userland(out: &Path) -> Result<()> {
    let guest = userland::userland()?;
    std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    std::fs::copy(guest.vmlinuz(), out.join("vmlinuz"))?;
    std::fs::copy(guest.initrd(), out.join("userland"))?;
    for set in [Set::Quick, Set::Full] {
        let name = out.join(format!("{}.txt", set.word()));
        std::fs::write(&name, guest.expected(set)?.join("\n") + "\n")?;
        println!("{}", name.display());
    }
    Ok(())
}
