//! The command line of a module, which describes a domain.
//!
//! ```text
//! kernel name=web memory=256M vcpus=1 weight=512 cap=50 -- console=ttyS0 quiet
//! initrd
//! ```
//! A `kernel` module starts a new domain, the first of them dom0; what follows ` -- ` is the
//! guest's own command line. `weight` and `cap` are the domain's share of the processor as Xen's
//! credit scheduler has them: relative to the others' (256 unless said), and at most so many percent
//! (0 is no limit). With `console=own` the domain's console is no part of the physical one:
//! [`multiplex`](crate::multiplex). An `initrd` module belongs to the domain before it. A first word that is neither
//! is taken for the file's name, which some loaders put there.

use crate::xen::Share;
use alloc::format;
use alloc::string::{String, ToString};
use core::ops::RangeInclusive;

/// The words that describe a domain.
const WORDS: &str = "name=, memory=, vcpus=, weight=, cap=, console=own";
/// Memory of a domain that does not say.
pub const DEFAULT_MEMORY: u64 = 128 << 20;
/// Most virtual processors of a domain: those whose state fits the shared info page.
pub const MOST_VCPUS: u32 = 32;

/// The kind of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModuleKind {
    /// A kernel, and with it a domain.
    Kernel(DomainOptions),
    /// The initial RAM disk of the domain of the kernel module before.
    Initrd,
}

/// The description of one domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainOptions {
    /// The name, for people; empty when not given.
    pub name: String,
    /// The memory in bytes, a multiple of 4 KiB.
    pub memory: u64,
    /// The number of virtual processors.
    pub vcpus: u32,
    /// Its share of the processor.
    pub share: Share,
    /// It has a console of its own.
    pub own_console: bool,
    /// The guest's command line.
    pub cmdline: String,
}

/// Reads the command line of one module. The error says what was found and what is accepted.
pub fn parse(line: &str) -> Result<ModuleKind, String> {
    let (ours, cmdline) = match line.split_once(" --") {
        Some((ours, guest)) => (ours, guest.trim()),
        None => (line, ""),
    };
    let mut words = ours.split_ascii_whitespace().peekable();
    if words.peek().is_some_and(|w| !matches!(*w, "kernel" | "initrd")) {
        words.next();
    }
    match words.next() {
        Some("initrd") => Ok(ModuleKind::Initrd),
        Some("kernel") => domain(words, cmdline).map(ModuleKind::Kernel),
        _ => Err(format!("module '{line}': accepted is 'kernel …' or 'initrd'")),
    }
}

/// Whether a module's command line describes a domain.
pub fn is_kernel(line: &str) -> bool {
    matches!(parse(line), Ok(ModuleKind::Kernel(_)))
}

fn domain<'a>(
    words: impl Iterator<Item = &'a str>,
    cmdline: &str,
) -> Result<DomainOptions, String> {
    let mut domain = DomainOptions {
        name: String::new(),
        memory: DEFAULT_MEMORY,
        vcpus: 1,
        share: Share::default(),
        own_console: false,
        cmdline: cmdline.to_string(),
    };
    for word in words {
        match word.split_once('=') {
            Some(("name", name)) => domain.name = name.to_string(),
            Some(("memory", size)) => domain.memory = memory(size)?,
            Some(("vcpus", count)) => domain.vcpus = vcpus(count)?,
            Some(("weight", text)) => domain.share.weight = number(word, text, 1..=u16::MAX)?,
            Some(("console", "own")) => domain.own_console = true,
            Some(("cap", text)) => domain.share.cap = number(word, text, 0..=100)?,
            _ => return Err(format!("word '{word}': accepted are {WORDS}")),
        }
    }
    Ok(domain)
}

fn memory(size: &str) -> Result<u64, String> {
    let error = || format!("memory={size}: accepted is a number with K, M or G, from 1M to 1024G");
    let (digits, shift) = match size.as_bytes().last() {
        Some(b'K' | b'k') => (&size[..size.len() - 1], 10),
        Some(b'M' | b'm') => (&size[..size.len() - 1], 20),
        Some(b'G' | b'g') => (&size[..size.len() - 1], 30),
        _ => (size, 0),
    };
    let number: u64 = digits.parse().map_err(|_| error())?;
    let bytes = number.checked_mul(1 << shift).ok_or_else(error)?;
    if (1 << 20..=1 << 40).contains(&bytes) { Ok(bytes & !0xFFF) } else { Err(error()) }
}

fn vcpus(count: &str) -> Result<u32, String> {
    match count.parse() {
        Ok(n) if (1..=MOST_VCPUS).contains(&n) => Ok(n),
        _ => Err(format!("vcpus={count}: accepted is 1 to {MOST_VCPUS}")),
    }
}

/// The number `text` of the word `word`, if it is in `range`.
fn number(word: &str, text: &str, range: RangeInclusive<u16>) -> Result<u16, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("{word}: accepted is {} to {}", range.start(), range.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, name: &str, memory: u64, vcpus: u32, cmdline: &str) {
        let (name, cmdline) = (name.to_string(), cmdline.to_string());
        let (share, own_console) = (Share::default(), false);
        let options = DomainOptions { name, memory, vcpus, share, own_console, cmdline };
        assert_eq!(parse(line), Ok(ModuleKind::Kernel(options)));
    }

    #[track_caller]
    fn check_error(line: &str, found: &str) {
        let error = parse(line).expect_err("an error");
        assert!(error.contains(found), "{error}");
    }

    #[test]
    fn domains() {
        check("kernel name=a memory=256M vcpus=2 -- x=y  z", "a", 256 << 20, 2, "x=y  z");
        check("/boot/k kernel memory=1G", "", 1 << 30, 1, "");
        check("kernel", "", DEFAULT_MEMORY, 1, "");
        check("kernel name=a --", "a", DEFAULT_MEMORY, 1, "");
        assert_eq!(parse("initrd"), Ok(ModuleKind::Initrd));
        assert_eq!(parse("/boot/i initrd"), Ok(ModuleKind::Initrd));
    }

    #[test]
    fn shares() {
        let Ok(ModuleKind::Kernel(options)) = parse("kernel cap=30 weight=65535 -- cap=2") else {
            panic!("a kernel");
        };
        assert_eq!(options.share, Share { weight: 65_535, cap: 30 });
    }

    #[test]
    fn consoles() {
        let own = |line| match parse(line) {
            Ok(ModuleKind::Kernel(options)) => options.own_console,
            other => panic!("{other:?}"),
        };
        assert_eq!([own("kernel console=own"), own("kernel -- console=own")], [true, false]);
        check_error("kernel console=pty", "'console=pty'");
    }

    #[test]
    fn mistakes_are_named() {
        check_error("", "accepted is");
        check_error("a b", "'a b'");
        check_error("kernel memory=12Q", "memory=12Q");
        check_error("kernel memory=99999999999999999G", "from 1M");
        check_error("kernel vcpus=33", "1 to 32");
        check_error("kernel size=3", "'size=3'");
        check_error("kernel weight=0", "weight=0: accepted is 1 to 65535");
        check_error("kernel cap=101", "cap=101: accepted is 0 to 100");
    }
}
