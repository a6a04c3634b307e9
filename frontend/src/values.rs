//! The values of flags: sizes, counts, consoles, and QEMU's `key=value,key=value` options.

use platform::machine::{CodeOptions, OptionalDevice};
use std::path::PathBuf;

/// An error's text: what is accepted.
type Parsed<T> = Result<T, String>;

/// A size in bytes, whose number without a suffix counts in `unit`s. `size=` may stand before the number.
fn size(text: &str, unit: u32) -> Parsed<u64> {
    let accepted = || "accepted is a number above 0 with an optional K, M, G or T".to_owned();
    let number = text.strip_prefix("size=").unwrap_or(text);
    let (digits, shift) = match number.chars().last().map(|c| c.to_ascii_uppercase()) {
        Some('B') => (&number[..number.len() - 1], 0),
        Some('K') => (&number[..number.len() - 1], 10),
        Some('M') => (&number[..number.len() - 1], 20),
        Some('G') => (&number[..number.len() - 1], 30),
        Some('T') => (&number[..number.len() - 1], 40),
        _ => (number, unit),
    };
    let count: u64 = digits.parse().map_err(|_| accepted())?;
    count.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or_else(accepted)
}

/// The machine's memory: MiB without a suffix; whole MiB, from 1 MiB to 1 TiB.
pub(crate) fn memory(text: &str) -> Parsed<u64> {
    let bytes = size(text, 20)?;
    if !bytes.is_multiple_of(1 << 20) || bytes > 1 << 40 {
        return Err("accepted are whole MiB, from 1M to 1T".into());
    }
    Ok(bytes)
}

/// The number of virtual processors: `2`, or `cpus=2`.
pub(crate) fn processors(text: &str) -> Parsed<u32> {
    let number = text.strip_prefix("cpus=").unwrap_or(text);
    match number.parse() {
        Ok(count @ 1..=32) => Ok(count),
        _ => Err("accepted is 1 to 32".into()),
    }
}

/// Where a serial port's output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Serial {
    /// The terminal, input included.
    Stdio,
    /// A file, created anew.
    File(PathBuf),
    /// Output is thrown away.
    Null,
}

/// `stdio`, `file:F` or `null`.
pub(crate) fn serial(text: &str) -> Parsed<Serial> {
    match text {
        "stdio" | "mon:stdio" => Ok(Serial::Stdio),
        "null" | "none" => Ok(Serial::Null),
        _ => match text.strip_prefix("file:") {
            Some(name) if !name.is_empty() => Ok(Serial::File(name.into())),
            _ => Err("accepted are stdio, file:NAME and null".into()),
        },
    }
}

/// The optional devices by QEMU's names, with QEMU's defaults.
const DEVICES: [(&str, OptionalDevice); 4] = [
    ("edu", OptionalDevice::Edu { msix: false }),
    ("isa-debug-exit", OptionalDevice::DebugExit { base: 0x501, length: 2 }),
    ("pc-testdev", OptionalDevice::TestDevice),
    ("pvpanic", OptionalDevice::Pvpanic),
];

/// A device's name and its options.
pub(crate) fn device(text: &str) -> Parsed<OptionalDevice> {
    let accepted = || {
        let names = DEVICES.map(|(name, device)| name.to_owned() + device_options(device));
        format!("accepted are {}", names.join(", "))
    };
    let (name, rest) = text.split_once(',').unwrap_or((text, ""));
    let known = DEVICES.iter().find(|(known, _)| *known == name);
    let (_, mut device) = *known.ok_or_else(accepted)?;
    for (key, value) in key_values(rest)? {
        match (&mut device, key.as_str(), number(&value)) {
            (OptionalDevice::Edu { msix }, "msix", _) if ["on", "off"].contains(&&*value) => {
                *msix = value == "on";
            }
            (OptionalDevice::DebugExit { base, .. }, "iobase", Some(port)) => *base = port,
            (OptionalDevice::DebugExit { length, .. }, "iosize", Some(size @ (1 | 2 | 4))) => {
                *length = size
            }
            _ => return Err(accepted()),
        }
    }
    Ok(device)
}

/// The options that a device takes.
fn device_options(device: OptionalDevice) -> &'static str {
    match device {
        OptionalDevice::DebugExit { .. } => ",iobase=PORT,iosize=1|2|4",
        OptionalDevice::Edu { .. } => ",msix=on|off",
        _ => "",
    }
}

/// `interpreter,block=,cache=,fuse=`.
pub(crate) fn accel(text: &str) -> Parsed<CodeOptions> {
    let accepted = || {
        let longest = CodeOptions::MAX_BLOCK;
        format!("accepted is interpreter,block=1..{longest},cache=1..,fuse=on|off")
    };
    let (name, rest) = text.split_once(',').unwrap_or((text, ""));
    if name != "interpreter" {
        return Err(accepted());
    }
    let mut options = CodeOptions::default();
    for (key, value) in key_values(rest)? {
        match (key.as_str(), value.as_str(), value.parse()) {
            ("block", _, Ok(n @ 1..=CodeOptions::MAX_BLOCK)) => options.block = n,
            ("cache", _, Ok(n @ 1..)) => options.cache = n,
            ("fuse", "on" | "off", _) => options.fuse = value == "on",
            _ => return Err(accepted()),
        }
    }
    Ok(options)
}

/// A port number, decimal or with `0x`.
fn number(text: &str) -> Option<u16> {
    match text.strip_prefix("0x") {
        Some(hex) => u16::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Splits `key=value,key=value`. A comma inside a value is doubled, or the value stands in
/// quotes. Empty text has no options.
pub(crate) fn key_values(text: &str) -> Parsed<Vec<(String, String)>> {
    let mut options = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(['=', ',']).unwrap_or(rest.len());
        let Some(after) = rest[end..].strip_prefix('=') else {
            return Err(format!("'{}' is not of the form key=value", &rest[..end]));
        };
        let (value, left) = value(after)?;
        options.push((rest[..end].to_owned(), value));
        rest = left;
    }
    Ok(options)
}

/// Splits a list at its commas; a doubled comma is one of the text.
pub(crate) fn list(text: &str) -> Vec<String> {
    let plain = text.replace(",,", "\0");
    plain.split(',').map(|part| part.replace('\0', ",")).collect()
}

/// One value, and what follows its comma.
fn value(text: &str) -> Parsed<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (value, rest) =
            quoted.split_once('"').ok_or_else(|| format!("no closing quote after '{quoted}'"))?;
        return match rest.strip_prefix(',') {
            Some(rest) => Ok((value.to_owned(), rest)),
            None if rest.is_empty() => Ok((value.to_owned(), rest)),
            None => Err(format!("'{rest}' follows a closing quote, where a comma is accepted")),
        };
    }
    let mut value = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(',') {
        value.push_str(before);
        match after.strip_prefix(',') {
            Some(after) => {
                value.push(',');
                rest = after;
            }
            None => return Ok((value, after)),
        }
    }
    value.push_str(rest);
    Ok((value, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: std::fmt::Debug>(found: Parsed<T>, expect: &str) {
        assert_eq!(found.map_or_else(|e| e, |v| format!("{v:?}")), expect);
    }

    #[test]
    fn memories() {
        check(memory("512"), "536870912");
        check(memory("512M"), "536870912");
        check(memory("size=1g"), "1073741824");
        check(memory("2048K"), "2097152");
        let number = "accepted is a number above 0 with an optional K, M, G or T";
        for text in ["", "M", "0", "-1", "1.5G", "12Q", "99999999999999T", "é"] {
            check(memory(text), number);
        }
        check(memory("1K"), "accepted are whole MiB, from 1M to 1T");
        check(memory("2T"), "accepted are whole MiB, from 1M to 1T");
    }

    #[test]
    fn counts() {
        check(processors("1"), "1");
        check(processors("cpus=4"), "4");
        for text in ["0", "33", "", "two", "2,sockets=2"] {
            check(processors(text), "accepted is 1 to 32");
        }
    }

    #[test]
    fn serials() {
        check(serial("stdio"), "Stdio");
        check(serial("null"), "Null");
        check(serial("file:a:b"), "File(\"a:b\")");
        for text in ["", "file:", "tcp::4444"] {
            check(serial(text), "accepted are stdio, file:NAME and null");
        }
    }

    #[test]
    fn devices() {
        check(device("isa-debug-exit"), "DebugExit { base: 1281, length: 2 }");
        check(
            device("isa-debug-exit,iobase=0xf4,iosize=0x4"),
            "DebugExit { base: 244, length: 4 }",
        );
        check(device("pc-testdev"), "TestDevice");
        check(device("pvpanic"), "Pvpanic");
        check(device("edu"), "Edu { msix: false }");
        check(device("edu,msix=on"), "Edu { msix: true }");
        let accepted = "accepted are edu,msix=on|off, isa-debug-exit,iobase=PORT,iosize=1|2|4, pc-testdev, pvpanic";
        for text in ["e1000", "", "isa-debug-exit,iosize=3", "isa-debug-exit,iobase=0x10000"] {
            check(device(text), accepted);
        }
        check(device("pc-testdev,iobase=1"), accepted);
        check(device("edu,msix=1"), accepted);
        check(device("isa-debug-exit,iobase"), "'iobase' is not of the form key=value");
    }

    #[test]
    fn accels() {
        let accepted = "accepted is interpreter,block=1..64,cache=1..,fuse=on|off";
        for wrong in
            ["", "tcg", "interpreter,block=0", "interpreter,block=65", "interpreter,fuse=1"]
        {
            check(accel(wrong), accepted);
        }
        check(
            accel("interpreter,block=1,cache=7,fuse=off"),
            "CodeOptions { block: 1, cache: 7, fuse: false }",
        );
    }

    #[test]
    fn lists() {
        assert_eq!(list("a b=1,c"), ["a b=1", "c"]);
        assert_eq!(list("a,,b,c"), ["a,b", "c"]);
    }

    #[test]
    fn key_value_lists() {
        check(key_values(""), "[]");
        check(key_values("a=b"), r#"[("a", "b")]"#);
        check(key_values("a=,b=c=d"), r#"[("a", ""), ("b", "c=d")]"#);
        check(key_values("a=x,,y,b=,,"), r#"[("a", "x,y"), ("b", ",")]"#);
        check(key_values("a=x,,,b=1"), r#"[("a", "x,"), ("b", "1")]"#);
        check(key_values(r#"a="x,y z",b=1"#), r#"[("a", "x,y z"), ("b", "1")]"#);
        check(key_values(r#"a="x,,y""#), r#"[("a", "x,,y")]"#);
        check(key_values(r#"a=x"y"#), r#"[("a", "x\"y")]"#);
        check(key_values("a"), "'a' is not of the form key=value");
        check(key_values("a=1,b,c=2"), "'b' is not of the form key=value");
        check(key_values(r#"a="x,b=1"#), "no closing quote after 'x,b=1'");
        check(
            key_values(r#"a="x"y,b=1"#),
            "'y,b=1' follows a closing quote, where a comma is accepted",
        );
    }
}
