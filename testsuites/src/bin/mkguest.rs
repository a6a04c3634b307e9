//! `mkguest linux OUT`, `mkguest userland OUT`: builds a Linux guest of the tests and copies its files
//! to OUT; for the second also what its checks print on this host.

#![expect(clippy::print_stdout, reason = "a command")]

use anyhow::{Context, Result, bail};
use std::path::Path;
use testsuites::guests::userland::{self, Set};
use testsuites::guests::{self, Linux};

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["linux", out] => linux(Path::new(out)),
        ["userland", out] => userland(Path::new(out)),
        _ => bail!("usage: mkguest linux|userland OUT"),
    }
}

fn linux(out: &Path) -> Result<()> {
    let guest = guests::linux()?;
    std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    for name in Linux::FILES {
        std::fs::copy(guest.dir().join(name), out.join(name))?;
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
