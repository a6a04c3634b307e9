//! `-machine`, `-accel` and `-action`.

use super::Words;
use crate::status::Failure;
use crate::values;
use std::ffi::OsStr;

/// Values of `-machine`.
pub(super) fn machine(words: &mut Words, text: &str) -> Result<(), Failure> {
    for (n, part) in values::list(text).iter().enumerate() {
        match part.split_once('=') {
            None if n == 0 => board(part)?,
            Some(("type", name)) => board(name)?,
            Some(("accel", names)) => accel(words, names)?,
            _ => words.note(&format!("machine {part}"), "the machine is as it is"),
        }
    }
    Ok(())
}

/// A machine's name.
fn board(name: &str) -> Result<(), Failure> {
    let known = ["q35", "pc"].contains(&name)
        || ["pc-q35-", "pc-i440fx-"].iter().any(|known| name.starts_with(known));
    let why = "unsupported machine type; accepted are q35 and pc, which are the same; -machine help lists them";
    known.then_some(()).ok_or_else(|| Failure::usage(format!("-machine {name}"), why))
}

/// Accelerators that there are, by QEMU's names and ours.
const KNOWN: [&str; 4] = ["strata", "interpreter", "tcg", "kvm"];
/// Those of QEMU's that there are not: in a list of several they are passed over, as QEMU does.
const ELSEWHERE: [&str; 6] = ["hvf", "whpx", "nvmm", "mshv", "xen", "nitro"];

/// Values of `-accel`: of several names between colons the first that there is.
pub(super) fn accel(words: &mut Words, text: &str) -> Result<(), Failure> {
    let (names, options) = text.split_once(',').unwrap_or((text, ""));
    let Some(found) = names.split(':').find(|name| KNOWN.contains(name)) else {
        if names.split(':').all(|name| ELSEWHERE.contains(&name)) {
            words.accelerators.missing.get_or_insert(names.to_owned());
            return Ok(());
        }
        return Err(no_accelerator(names));
    };
    words.accelerators.found = true;
    match found {
        "kvm" if names == "kvm" => words.accelerators.kvm = true,
        "tcg" | "kvm" if !options.is_empty() => {
            words.note(&format!("accel {text}"), "the processor is an interpreter");
        }
        "tcg" | "kvm" => {}
        _ if options.is_empty() => {}
        _ => words.push("accel", OsStr::new(&format!("interpreter,{options}"))),
    }
    Ok(())
}

fn no_accelerator(names: &str) -> Failure {
    let why = format!("accepted are {}", KNOWN.join(", "));
    Failure::usage(format!("-accel {names}"), why)
}

/// What was asked for by several `-accel`, of which one must be there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Accelerators {
    /// One that there is.
    found: bool,
    /// KVM by itself, the user should know, is not what is there.
    kvm: bool,
    /// The first that there is not.
    missing: Option<String>,
}

impl Accelerators {
    /// Once all words are read.
    pub(super) fn settle(&self, warnings: &mut Vec<String>) -> Result<(), Failure> {
        if self.kvm {
            warnings.push("-accel kvm: warning: the processor is in software".to_owned());
        }
        match &self.missing {
            Some(names) if !self.found => Err(no_accelerator(names)),
            _ => Ok(()),
        }
    }
}

/// Values of `-action`: what follows when the guest resets the machine or ends the run is heeded.
pub(super) fn action(words: &mut Words, text: &str) -> Result<(), Failure> {
    for part in values::list(text) {
        match part.split_once('=') {
            Some(("reboot", "shutdown")) => words.push("no-reboot", OsStr::new("")),
            Some(("reboot", "reset")) => {}
            Some(("shutdown", "pause")) => words.push("no-shutdown", OsStr::new("")),
            Some(("shutdown" | "panic" | "watchdog", _)) => {
                words.note(&format!("action {part}"), "the run ends with the guest");
            }
            _ => {
                let why = "accepted are reboot=, shutdown=, panic= and watchdog=";
                return Err(Failure::usage(format!("-action {part}"), why));
            }
        }
    }
    Ok(())
}
