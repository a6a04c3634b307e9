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

/// Values of `-accel`: of several names between colons the first that there is.
pub(super) fn accel(words: &mut Words, text: &str) -> Result<(), Failure> {
    let (names, options) = text.split_once(',').unwrap_or((text, ""));
    let known = ["strata", "interpreter", "tcg", "kvm"];
    let found = names.split(':').find(|name| known.contains(name)).ok_or_else(|| {
        let why = "accepted are strata, interpreter, tcg and kvm";
        Failure::usage(format!("-accel {names}"), why)
    })?;
    match found {
        "kvm" if names == "kvm" => {
            words.warnings.push("-accel kvm: warning: the processor is in software".to_owned());
        }
        "tcg" | "kvm" if !options.is_empty() => {
            words.note(&format!("accel {text}"), "the processor is an interpreter");
        }
        "tcg" | "kvm" => {}
        _ if options.is_empty() => {}
        _ => words.push("accel", OsStr::new(&format!("interpreter,{options}"))),
    }
    Ok(())
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
