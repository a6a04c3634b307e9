//! QEMU's command line: which of its flags mean what here, and the command as `qemu-system-x86_64`.
//!
//! Reading order: `table` (every flag), this file (from QEMU's flags to those of `strata run`), `cpu`
//! (models of processors), `machine` (`-machine`, `-accel`, `-action`), `help` (what scripts read).

pub(crate) mod cpu;
pub(crate) mod help;
mod machine;
mod table;

use crate::status::{Failure, Status};
use std::ffi::{OsStr, OsString};
use std::path::Path;
pub(crate) use table::{FLAGS, Meaning};

/// The program's name under which the command is QEMU.
pub(crate) const NAME: &str = "qemu-system-x86_64";

/// Whether the command was called by QEMU's name.
pub(crate) fn called(program: &OsStr) -> bool {
    Path::new(program).file_name().is_some_and(|name| name == NAME)
}

/// Whether a word is one of QEMU's flags, known here or not.
pub(crate) fn is_flag(word: &OsStr) -> bool {
    word.to_str().and_then(bare).is_some_and(|name| table::find(split(name).0).is_some())
}

/// Flags in Strata's form, and what the user is told of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    /// For the parser of `strata run`.
    pub(crate) words: Vec<OsString>,
    /// What has no effect; said where something is traced.
    pub(crate) notes: Vec<String>,
    /// What the user should know.
    pub(crate) warnings: Vec<String>,
    /// A list that was asked for, which is printed instead.
    pub(crate) text: Option<String>,
    /// As QEMU takes it: what it knows and this machine lacks is a warning.
    lenient: bool,
    accelerators: machine::Accelerators,
}

/// The name in a flag, which has one dash or two.
fn bare(word: &str) -> Option<&str> {
    let name = word.strip_prefix('-')?;
    Some(name.strip_prefix('-').unwrap_or(name)).filter(|name| !name.is_empty())
}

/// `name=value`, as it is not QEMU's form, but common.
fn split(name: &str) -> (&str, Option<&str>) {
    name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)))
}

/// Translates what follows `run`, or QEMU's name. `lenient`: as QEMU.
pub(crate) fn translate(
    args: impl IntoIterator<Item = OsString>,
    lenient: bool,
) -> Result<Words, Failure> {
    let mut args = args.into_iter();
    let mut words = Words { lenient, ..Words::default() };
    while let Some(arg) = args.next() {
        let Some(name) = arg.to_str().and_then(bare) else {
            words.words.push(arg);
            continue;
        };
        let (name, value) = split(name);
        // QEMU's flag of this name, which takes no file, has one dash.
        if !lenient && name.starts_with("snapshot") && arg.to_string_lossy().starts_with("--") {
            words.words.push(arg);
            continue;
        }
        let Some(flag) = table::find(name) else {
            words.strange(&arg, name)?;
            continue;
        };
        let value = match (flag.value, value) {
            (false, None) => OsString::new(),
            (false, Some(_)) => {
                return Err(Failure::usage(format!("-{name}"), "it takes no value"));
            }
            (true, Some(value)) => value.into(),
            (true, None) => args.next().ok_or_else(|| {
                let why = "requires an argument";
                Failure::usage(format!("-{name}"), why)
            })?,
        };
        words.flag(flag, value)?;
    }
    words.accelerators.settle(&mut words.warnings)?;
    Ok(words)
}

impl Words {
    /// A flag that is not QEMU's: Strata's own have two dashes.
    fn strange(&mut self, arg: &OsStr, name: &str) -> Result<(), Failure> {
        let word = arg.to_string_lossy();
        let own = [
            "limit-instructions",
            "limit-seconds",
            "input",
            "input-log",
            "report",
            "events",
            "last",
        ];
        match name {
            "h" | "help" => self.words.push("--help".into()),
            "V" | "version" => self.words.push("--version".into()),
            _ if own.contains(&name) && word.starts_with("--") => self.words.push(arg.to_owned()),
            _ => return Err(unknown(&word, name)),
        }
        Ok(())
    }

    fn flag(&mut self, flag: &table::Flag, value: OsString) -> Result<(), Failure> {
        let name = flag.name;
        let text = value.to_string_lossy();
        match flag.meaning {
            Meaning::Absent(why) => Err(Failure::usage(format!("-{name}"), why)),
            Meaning::Ignored(why) => {
                self.note(name, why);
                Ok(())
            }
            Meaning::Warned(why) => {
                self.warnings.push(format!("-{name} {text}: warning: {why}"));
                Ok(())
            }
            Meaning::Only(values, why) if values.contains(&&*text) => {
                self.note(name, why);
                Ok(())
            }
            Meaning::Only(values, why) => {
                let accepted = values.join(", ");
                Err(Failure::usage(
                    format!("-{name} {text}"),
                    format!("{why}; accepted is {accepted}"),
                ))
            }
            Meaning::Known if matches!(&*text, "help" | "?") && self.list(name) => Ok(()),
            Meaning::Known => self.known(name, &value),
        }
    }

    /// The list of what a flag takes, if there is one.
    fn list(&mut self, name: &str) -> bool {
        let text = help::list(name, self.lenient);
        let known = text.is_some();
        self.text = self.text.take().or(text);
        known
    }

    fn known(&mut self, name: &str, value: &OsString) -> Result<(), Failure> {
        let text = value.to_string_lossy();
        match name {
            "qmp-pretty" => self.push("qmp", value),
            "M" | "machine" => machine::machine(self, &text)?,
            "accel" => machine::accel(self, &text)?,
            "enable-kvm" => machine::accel(self, "kvm")?,
            "action" => machine::action(self, &text)?,
            "cpu" => {
                let asked = cpu::translate(&text, self.lenient);
                self.warnings.extend(asked.warnings);
                self.push(name, OsStr::new(&asked.model));
            }
            "d" => self.trace(&text),
            _ => self.push(name, value),
        }
        Ok(())
    }

    /// What to trace: what QEMU has and Strata has not is left out.
    fn trace(&mut self, text: &str) {
        let foreign = |item: &&str| help::QEMU_ONLY.contains(item) || item.starts_with("trace:");
        let (left_out, items): (Vec<&str>, Vec<&str>) = text.split(',').partition(foreign);
        left_out.iter().for_each(|item| self.note("d", &format!("{item} is not traced")));
        if !items.is_empty() {
            self.push("d", OsStr::new(&items.join(",")));
        }
    }

    /// Adds a flag for the parser.
    fn push(&mut self, name: &str, value: &OsStr) {
        let mut word = OsString::from(format!("--{name}"));
        if table::find(name).is_some_and(|flag| flag.value) {
            word.push("=");
            word.push(value);
        }
        self.words.push(word);
    }

    fn note(&mut self, name: &str, why: &str) {
        self.notes.push(format!("-{name}: {why}"));
    }
}

/// A flag that nobody knows.
fn unknown(word: &str, name: &str) -> Failure {
    let digits = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    let glued =
        FLAGS.iter().find(|flag| flag.value && name.strip_prefix(flag.name).is_some_and(digits));
    let hint = match (glued, table::alike(name)) {
        (Some(flag), _) => {
            format!("; a space is accepted, -{} {}", flag.name, &name[flag.name.len()..])
        }
        (None, Some(like)) => format!("; did you mean -{like}?"),
        (None, None) => "; strata run --help lists the options".to_owned(),
    };
    Failure::input(format!("{word}: invalid option{hint}"))
}

/// QEMU's exit status.
pub(crate) fn code(status: Status) -> u8 {
    match status {
        Status::Usage | Status::Emulator => 1,
        Status::Success
        | Status::GuestPanicked
        | Status::Halted
        | Status::TripleFault
        | Status::Interrupted(_)
        | Status::Quit
        | Status::Closed => 0,
        Status::Limit
        | Status::Differs
        | Status::TestsFailed
        | Status::Found
        | Status::DebugExit(_) => status.code(),
    }
}

/// What QEMU says at such an end, if anything.
pub(crate) fn last_words(status: Status) -> Option<String> {
    match status {
        Status::Interrupted(signal @ 1..) => {
            Some(format!("{NAME}: terminating on signal {signal}\n"))
        }
        Status::Quit => Some("QEMU: Terminated\n".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(line: &str, lenient: bool) -> Result<Words, Failure> {
        translate(line.split_whitespace().map(OsString::from), lenient)
    }

    #[track_caller]
    fn check(line: &str, expect: &str) {
        let words = translated(line, true).unwrap().words;
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        assert_eq!(words.join(" "), expect);
    }

    #[track_caller]
    fn check_error(line: &str, expect: &str) {
        assert_eq!(translated(line, true).unwrap_err().text, expect);
    }

    #[test]
    fn flags() {
        check(
            "-kernel K --append -x=1 -m=64 --limit-seconds 3",
            "--kernel=K --append=-x=1 --m=64 --limit-seconds 3",
        );
        check("-M q35 -machine pc,accel=tcg -accel kvm:tcg -enable-kvm", "");
        check("-machine q35,accel=strata,vmport=on,kernel-irqchip=split", "");
        check("-accel interpreter,block=1", "--accel=interpreter,block=1");
        check("-accel tcg,thread=single", "");
        check("-accel kvm -accel hvf -accel tcg -machine accel=kvm:hvf:tcg", "");
        check("-action reboot=shutdown,panic=none", "--no-reboot");
        check("-d int,cpu_reset,guest_errors -D f", "--d=int --D=f");
        check("-d guest_errors", "");
        check("-cpu max,+pku", "--cpu=v3,+monitor,+movdiri,+movdir64b");
        check(
            "-nodefaults -vga none -vnc none -name n -no-shutdown -boot c -global a.b=c -overcommit x -uuid u",
            "--nodefaults --no-shutdown",
        );
        check("-action shutdown=pause -d int --last 3", "--no-shutdown --d=int --last 3");
    }

    #[test]
    fn notes_and_warnings() {
        let words = translated("-vga std -enable-kvm -machine vmport=on", true).unwrap();
        assert_eq!(
            words.notes,
            ["-vga: there is no display", "-machine vmport=on: the machine is as it is"]
        );
        assert_eq!(words.warnings, ["-accel kvm: warning: the processor is in software"]);
        let words = translated("-bios qboot.rom -kernel K", true).unwrap();
        let warning = "warning: there is no firmware to run, the kernel is loaded without it";
        assert_eq!(words.warnings, [format!("-bios qboot.rom: {warning}")]);
    }

    #[test]
    fn whole_words_in_errors() {
        check_error("-hda x", "-hda: there are no disks; -initrd loads an initial RAM disk");
        check_error("-netdev user", "-netdev: there is no network");
        check_error("-kernal x", "-kernal: invalid option; did you mean -kernel?");
        check_error(
            "--frobnicate",
            "--frobnicate: invalid option; strata run --help lists the options",
        );
        check_error("-m64", "-m64: invalid option; a space is accepted, -m 64");
        check_error("-kernel", "-kernel: requires an argument");
        check_error("-no-reboot=1", "-no-reboot: it takes no value");
        check_error(
            "-M virt",
            "-machine virt: unsupported machine type; accepted are q35 and pc, which are the same; \
             -machine help lists them",
        );
        check_error("-accel whpx", "-accel whpx: accepted are strata, interpreter, tcg, kvm");
        check_error("-accel tgc", "-accel tgc: accepted are strata, interpreter, tcg, kvm");
        check_error(
            "-action foo=bar",
            "-action foo=bar: accepted are reboot=, shutdown=, panic= and watchdog=",
        );
    }

    #[test]
    fn lists() {
        for line in [
            "-device help",
            "-device ?",
            "-machine help",
            "-M ?",
            "-cpu help",
            "-accel help",
            "-d help",
        ] {
            assert!(translated(line, true).unwrap().text.is_some(), "{line}");
        }
    }

    #[test]
    fn names() {
        assert!(called(OsStr::new("/a/qemu-system-x86_64")) && !called(OsStr::new("/a/strata")));
        assert!(is_flag(OsStr::new("-kernel")) && !is_flag(OsStr::new("--limit-seconds")));
    }
}
