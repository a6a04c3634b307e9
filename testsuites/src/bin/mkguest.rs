//! `mkguest linux OUT`: builds the Linux guest of the tests and copies its files to OUT.

#![expect(clippy::print_stdout, reason = "a command")]

use anyhow::{Context, Result, bail};
use std::path::Path;
use testsuites::guests::{self, Linux};

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["linux", out] => linux(Path::new(out)),
        _ => bail!("usage: mkguest linux OUT"),
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
