//! Input as text: what is to be typed, and when (`--input`); and what was typed, in the same form
//! (`--input-log`). One entry a line:
//!
//! ```text
//! # what follows a number sign is a comment
//! 1500000000 com1 "root\r"           when the machine's clock shows so many nanoseconds
//! after "login: " com1 "root\r"      when the guest has printed this on that port
//! after "# " com1 break              a break on the line
//! 9000000000 power                   the power button
//! 9000000000 nmi                     an NMI for all processors
//! 9000000000 key a down              a key goes down, or up, by its name in `sendkey` or its number
//! 9000000000 stall 1 5000            processor 1 stands still for so many instructions
//! 9000000000 quantum 100             from now on a processor leads by so many instructions
//! 9000000000 random 7                RDRAND and RDSEED take from this sequence
//! 9000000000 tsc 1000                the time-stamp counters go on by so many ticks
//! 9500000000 end                     the end of the run
//! ```
//!
//! In quotes `\n`, `\r`, `\t`, `\\`, `\"` and `\xHH` are bytes. Entries with a text wait for each other: the
//! second is looked for in what is printed after the first. The clock of a machine that is reset goes on.

use crate::keys;
use crate::status::Failure;
use platform::machine::Input;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

/// Bytes that a file of input may have.
const MOST: u64 = 64 << 20;
/// Names of the serial ports.
const PORTS: [&str; 2] = ["com1", "com2"];
/// What an entry is.
const ACCEPTED: &str = "accepted are COUNT or after \"TEXT\", then com1 or com2 with \"BYTES\" or break; or COUNT \
     with power, nmi, key KEY down or up, stall PROCESSOR TIME, quantum N, random N, tsc N or end";

/// Something that is to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Input(Input),
    End,
}

/// A text that the guest is to print, and what happens then.
#[derive(Debug, PartialEq, Eq)]
struct After {
    port: usize,
    text: Vec<u8>,
    event: Input,
}

/// What is to be typed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Script {
    counted: VecDeque<(u64, Event)>,
    texts: VecDeque<After>,
    /// The end of what the guest has printed on the port of the next text.
    printed: Vec<u8>,
}

impl Script {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display().to_string();
        let failed = |why: String| Failure::usage(format!("--input {shown}"), why);
        let meta = fs::metadata(path).map_err(|error| failed(error.to_string()))?;
        if !meta.is_file() || meta.len() > MOST {
            return Err(failed(format!(
                "accepted is a regular file of at most {} MiB",
                MOST >> 20
            )));
        }
        let bytes = fs::read(path).map_err(|error| failed(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|_| failed("accepted is a text".into()))?;
        Self::parse(&text).map_err(|(line, why)| failed(format!("line {line}: {why}")))
    }

    /// Reads a text; `Err`: the number of a wrong line, and the reason.
    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut script = Self::default();
        for (n, line) in text.lines().enumerate() {
            script.line(line.trim_start()).map_err(|why| (n + 1, why))?;
        }
        script.counted.make_contiguous().sort_by_key(|(at, _)| *at);
        Ok(script)
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let (when, rest) = line.split_once(' ').ok_or(ACCEPTED)?;
        if when != "after" {
            let at = when.parse().map_err(|_| ACCEPTED)?;
            self.counted.push_back((at, event(rest.trim())?));
            return Ok(());
        }
        let (text, rest) = quoted(rest.trim_start())?;
        match (event(rest.trim())?, text.is_empty()) {
            (Event::Input(event), false) => {
                let (Input::Serial { port, .. } | Input::Break { port }) = event else {
                    return Err(ACCEPTED.into());
                };
                self.texts.push_back(After { port, text, event });
                Ok(())
            }
            _ => Err(ACCEPTED.into()),
        }
    }

    /// Passes over the counted entries that a machine at `at` has been given: none, if it has not run.
    pub(crate) fn pass(&mut self, at: u64) {
        while at > 0 && self.next().is_some_and(|next| next <= at) {
            self.counted.pop_front();
        }
    }

    /// When the next counted entry is due.
    pub(crate) fn next(&self) -> Option<u64> {
        self.counted.front().map(|(at, _)| *at)
    }

    /// Whether the next counted entry ends the run.
    pub(crate) fn ends_next(&self) -> bool {
        matches!(self.counted.front(), Some((_, Event::End)))
    }

    /// Takes the next counted entry.
    pub(crate) fn take(&mut self) -> Option<Event> {
        self.counted.pop_front().map(|(_, event)| event)
    }

    /// What follows from `bytes` that the guest has printed on a port.
    pub(crate) fn printed(&mut self, port: usize, bytes: &[u8]) -> Vec<Input> {
        let mut events = Vec::new();
        let mut rest = bytes;
        while let Some(next) = self.texts.front().filter(|next| next.port == port) {
            let before = self.printed.len();
            self.printed.extend(rest);
            let found = self.printed.windows(next.text.len()).position(|part| part == next.text);
            let Some(at) = found else {
                let keep = self.printed.len().min(next.text.len() - 1);
                self.printed.drain(..self.printed.len() - keep);
                break;
            };
            rest = &rest[at + next.text.len() - before..];
            self.printed.clear();
            events.extend(self.texts.pop_front().map(|next| next.event));
        }
        events
    }
}

/// What happens: `com1 "BYTES"`, `com1 break`, `power` or `end`.
fn event(text: &str) -> Result<Event, String> {
    let (what, rest) = text.split_once(' ').unwrap_or((text, ""));
    let port = PORTS.iter().position(|name| *name == what);
    match (port, what, rest.trim()) {
        (Some(port), _, "break") => Ok(Event::Input(Input::Break { port })),
        (Some(port), _, rest) => {
            let (bytes, behind) = quoted(rest)?;
            let fine =
                !bytes.is_empty() && (behind.trim().is_empty() || behind.trim().starts_with('#'));
            fine.then_some(Event::Input(Input::Serial { port, bytes })).ok_or(ACCEPTED.into())
        }
        (None, "power", "") => Ok(Event::Input(Input::PowerButton)),
        (None, "nmi", "") => Ok(Event::Input(Input::Nmi)),
        (None, "key", rest) => key(rest).map(Event::Input).ok_or_else(|| ACCEPTED.into()),
        (None, "end", "") => Ok(Event::End),
        (None, what, rest) => {
            perturbation(what, rest).map(Event::Input).ok_or_else(|| ACCEPTED.into())
        }
    }
}

/// A key, by name or number, and where it goes.
fn key(rest: &str) -> Option<Input> {
    let (key, way) = rest.split_once(' ')?;
    let down = ["up", "down"].iter().position(|known| *known == way.trim())? == 1;
    Some(Input::Key { key: keys::number(key)?, down })
}

/// What is chosen of what hardware leaves open.
fn perturbation(what: &str, rest: &str) -> Option<Input> {
    let numbers: Option<Vec<u64>> = rest.split_whitespace().map(|n| n.parse().ok()).collect();
    match (what, numbers?.as_slice()) {
        ("stall", &[processor, time]) => {
            Some(Input::Stall { processor: usize::try_from(processor).ok()?, time })
        }
        ("quantum", &[instructions]) => Some(Input::Quantum { instructions }),
        ("random", &[seed]) => Some(Input::Random { seed }),
        ("tsc", &[ticks]) => Some(Input::Tsc { ticks }),
        _ => None,
    }
}

/// Bytes in quotes, and what follows them.
pub(crate) fn quoted(text: &str) -> Result<(Vec<u8>, &str), String> {
    let mut rest = text.strip_prefix('"').ok_or(ACCEPTED)?;
    let mut bytes = Vec::new();
    loop {
        let mut chars = rest.chars();
        match chars.next().ok_or("no closing quote")? {
            '"' => return Ok((bytes, chars.as_str())),
            '\\' => {
                let (byte, behind) = escape(chars.as_str())?;
                bytes.push(byte);
                rest = behind;
            }
            c => {
                bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
                rest = chars.as_str();
            }
        }
    }
}

/// The byte after a backslash, and what follows.
fn escape(text: &str) -> Result<(u8, &str), String> {
    let plain = [('n', b'\n'), ('r', b'\r'), ('t', b'\t'), ('\\', b'\\'), ('"', b'"')];
    if let Some((c, byte)) = plain.iter().find(|(c, _)| text.starts_with(*c)) {
        return Ok((*byte, &text[c.len_utf8()..]));
    }
    let digits = text.strip_prefix('x').and_then(|hex| Some((hex.get(..2)?, hex.get(2..)?)));
    let byte = digits.and_then(|(hex, rest)| Some((u8::from_str_radix(hex, 16).ok()?, rest)));
    byte.ok_or_else(|| "after a backslash n, r, t, \\, \" and xHH are accepted".to_owned())
}

/// The name of a serial port.
fn port_name(port: usize) -> &'static str {
    PORTS.get(port).copied().unwrap_or("com?")
}

/// An entry's line.
pub(crate) fn line(at: u64, event: &Event) -> String {
    match event {
        Event::Input(Input::Serial { port, bytes }) => {
            let mut text = String::new();
            for &byte in bytes {
                match byte {
                    b'\n' => text.push_str("\\n"),
                    b'\r' => text.push_str("\\r"),
                    b'\t' => text.push_str("\\t"),
                    b'\\' | b'"' => text.extend(['\\', byte.into()]),
                    b' '..=b'~' => text.push(byte.into()),
                    _ => write!(text, "\\x{byte:02x}").expect("a String takes every write"),
                }
            }
            format!("{at} {} \"{text}\"\n", port_name(*port))
        }
        Event::Input(Input::Break { port }) => format!("{at} {} break\n", port_name(*port)),
        Event::Input(Input::PowerButton) => format!("{at} power\n"),
        Event::Input(Input::Nmi) => format!("{at} nmi\n"),
        Event::Input(Input::Key { key, down }) => {
            format!("{at} key {} {}\n", keys::name(*key), if *down { "down" } else { "up" })
        }
        Event::Input(Input::Stall { processor, time }) => {
            format!("{at} stall {processor} {time}\n")
        }
        Event::Input(Input::Quantum { instructions }) => format!("{at} quantum {instructions}\n"),
        Event::Input(Input::Random { seed }) => format!("{at} random {seed}\n"),
        Event::Input(Input::Tsc { ticks }) => format!("{at} tsc {ticks}\n"),
        Event::End => format!("{at} end\n"),
    }
}

/// Where what was typed is written down.
pub(crate) struct Log(File);

impl Log {
    /// A new file.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let failed = |error| {
            let what = format!("--input-log {}", path.display());
            Failure::usage(what, format!("{error}; accepted is a file that can be written"))
        };
        File::create(path).map(Self).map_err(failed)
    }

    /// Writes an entry down at once, so that it is there whatever happens.
    pub(crate) fn write(&mut self, at: u64, event: &Event) -> Result<(), Failure> {
        let written = self.0.write_all(line(at, event).as_bytes());
        written.map_err(|error| Failure::emulator(format_args!("--input-log: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_as_they_were() {
        let bytes: Vec<u8> = (0..=255).collect();
        let events = [
            (5, Event::Input(Input::Serial { port: 0, bytes })),
            (5, Event::Input(Input::Serial { port: 1, bytes: b"a \"b\" # c\\".to_vec() })),
            (7, Event::Input(Input::Break { port: 1 })),
            (u64::MAX, Event::Input(Input::PowerButton)),
            (u64::MAX, Event::Input(Input::Nmi)),
            (u64::MAX, Event::Input(Input::Key { key: 0xd3, down: true })),
            (u64::MAX, Event::Input(Input::Key { key: 0x7f, down: false })),
            (u64::MAX, Event::Input(Input::Stall { processor: 1, time: 20 })),
            (u64::MAX, Event::Input(Input::Quantum { instructions: 3 })),
            (u64::MAX, Event::Input(Input::Random { seed: 4 })),
            (u64::MAX, Event::Input(Input::Tsc { ticks: 5 })),
            (u64::MAX, Event::End),
        ];
        let text: String = events.iter().map(|(at, event)| line(*at, event)).collect();
        assert!(text.is_ascii());
        let script = Script::parse(&text).unwrap();
        assert_eq!(Vec::from(script.counted), events);
    }

    #[test]
    fn order() {
        let mut script = Script::parse("9 end\n# x\n\n  3 com1 \"a\" # b\n4 power\n").unwrap();
        assert_eq!((script.next(), script.ends_next()), (Some(3), false));
        script.take();
        assert_eq!(script.take(), Some(Event::Input(Input::PowerButton)));
        assert!(script.ends_next());
    }

    #[test]
    fn what_is_passed_over() {
        let mut script = Script::parse("0 com1 \"a\"\n4 power\n5 end\n").unwrap();
        for (at, next) in [(0, Some(0)), (2, Some(4)), (4, Some(5)), (5, None)] {
            script.pass(at);
            assert_eq!(script.next(), next, "{at}");
        }
    }

    /// `printed` on COM1, piece by piece, has these bytes typed.
    #[track_caller]
    fn check(text: &str, printed: &[&str], expect: &[&str]) {
        let mut script = Script::parse(text).unwrap();
        let events = printed.iter().flat_map(|piece| script.printed(0, piece.as_bytes()));
        let typed: Vec<String> = events
            .collect::<Vec<_>>()
            .into_iter()
            .map(|event| match event {
                Input::Serial { bytes, .. } => String::from_utf8(bytes).unwrap(),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(typed, expect);
    }

    #[test]
    fn texts() {
        let two = "after \"login: \" com1 \"root\\r\"\nafter \"# \" com1 \"ls\\r\"";
        check(two, &["login: "], &["root\r"]);
        check(two, &["x log", "in", ": # "], &["root\r", "ls\r"]);
        check(two, &["# login:", " # #"], &["root\r", "ls\r"]);
        check(two, &["# login"], &[]);
        check(
            "after \"aab\" com1 \"x\"\nafter \"b\" com1 break",
            &["aa", "ab", "b"],
            &["x", "Break { port: 0 }"],
        );
        check("after \"a\" com2 \"x\"", &["aaa"], &[]);
    }

    #[test]
    fn wrong_lines() {
        let check = |text: &str, expect: &str| {
            let (line, why) = Script::parse(text).unwrap_err();
            let found = format!("{line}: {why}");
            assert!(found.starts_with(expect), "{found}");
        };
        for text in [
            "x",
            "1",
            "1 com3 \"a\"",
            "1 com1",
            "1 com1 \"\"",
            "-1 end",
            "after end",
            "after \"\" com1 \"a\"",
            "after \"a\" power",
            "after \"a\" end",
            "1 com1 \"a\" b",
            "1 powers",
            "99999999999999999999 end",
        ] {
            check(text, &format!("1: {ACCEPTED}"));
        }
        check("# fine\n1 com1 \"a", "2: no closing quote");
        check("1 com1 \"\\q\"", "1: after a backslash");
        check("1 com1 \"\\x4\"", "1: after a backslash");
        check("1 com1 \"\\xé\"", "1: after a backslash");
        check("after \"a", "1: no closing quote");
    }
}
