//! The values of flags: sizes, counts, consoles, and QEMU's `key=value,key=value` options.

use crate::console::Language;
use crate::console::chardev::Serial;
use crate::pace::Pacing;
use platform::machine::{CodeOptions, FwCfgFile, OptionalDevice};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// An error's text: what is accepted.
pub(crate) type Parsed<T> = Result<T, String>;

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
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let count: u64 = whole.parse().map_err(|_| accepted())?;
    let bytes = count.checked_mul(1 << shift).zip(fraction(part, 1 << shift));
    bytes.and_then(|(all, part)| all.checked_add(part)).filter(|n| *n > 0).ok_or_else(accepted)
}

/// The digits behind a point, as a part of `unit`, rounded down.
fn fraction(digits: &str, unit: u64) -> Option<u64> {
    if digits.is_empty() {
        return Some(0);
    }
    let scale = 10u128.checked_pow(digits.len().try_into().ok().filter(|n| *n <= 20)?)?;
    let part: u64 = digits.parse().ok()?;
    u64::try_from(u128::from(part) * u128::from(unit) / scale).ok()
}

/// Memory of a machine or domain: MiB without a suffix; whole MiB, from 4 MiB to 1 TiB.
pub(crate) fn memory(text: &str) -> Parsed<u64> {
    // Memory that could be added is none.
    let parts = list(text);
    let plugged = |part: &&String| !part.starts_with("slots=") && !part.starts_with("maxmem=");
    let text = parts.iter().filter(plugged).cloned().collect::<Vec<_>>().join(",");
    let bytes = size(&text, 20)?;
    if !bytes.is_multiple_of(1 << 20) || !(4 << 20..=1 << 40).contains(&bytes) {
        return Err("accepted are whole MiB, from 4M to 1T".into());
    }
    Ok(bytes)
}

/// The name of a file that is written whole, and then takes the place of one that may be there: no device, which would
/// be lost thereby.
pub(crate) fn new_file(text: &str) -> Parsed<PathBuf> {
    let path = PathBuf::from(text);
    let fits = path.file_name().is_some() && path.metadata().map_or(true, |meta| meta.is_file());
    fits.then_some(path).ok_or_else(|| "accepted is a new file, or a regular one".into())
}

/// A count above 0: of instructions, or of seconds.
pub(crate) fn limit(text: &str) -> Parsed<u64> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "accepted is a whole number above 0".into())
}

/// The number of virtual processors: `2`, or `cpus=2`.
pub(crate) fn processors(text: &str) -> Parsed<u32> {
    let number = text.strip_prefix("cpus=").unwrap_or(text);
    match number.parse() {
        Ok(count @ 1..=32) => Ok(count),
        _ => Err("accepted is 1 to 32".into()),
    }
}

/// A moment of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The machine's time, in instructions.
    Icount(u64),
    /// COM1 has sent this text, which is not empty.
    Text(String),
}

/// A number, or a text.
pub(crate) fn moment(text: &str) -> Parsed<Moment> {
    match text.parse() {
        Ok(at) => Ok(Moment::Icount(at)),
        Err(_) if text.is_empty() => Err("accepted is a number of instructions, or a text".into()),
        Err(_) => Ok(Moment::Text(text.into())),
    }
}

/// What `-smp` says: `2`, `cpus=2`, or a topology whose product it is.
pub(crate) fn smp(text: &str) -> Parsed<u32> {
    let accepted = || "the number of SMP CPUs accepted is 1 to 32".to_owned();
    let whole = match text.split_once(',').map_or(text, |(first, _)| first).contains('=') {
        true => text.to_owned(),
        false => format!("cpus={text}"),
    };
    let (mut cpus, mut product) = (None, 1u32);
    for (key, value) in key_values(&whole)? {
        let count: u32 = value.parse().ok().filter(|n| *n > 0).ok_or_else(accepted)?;
        match key.as_str() {
            "cpus" => cpus = Some(count),
            "sockets" | "dies" | "clusters" | "modules" | "drawers" | "books" | "cores"
            | "threads" => {
                product = product.checked_mul(count).ok_or_else(accepted)?;
            }
            "maxcpus" => {}
            _ => {
                return Err(
                    "accepted are cpus=, sockets=, dies=, cores=, threads= and maxcpus=".into()
                );
            }
        }
    }
    Some(cpus.unwrap_or(product)).filter(|n| *n <= 32).ok_or_else(accepted)
}

/// A file for the guest, by `-fw_cfg`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FwCfg {
    pub(crate) name: String,
    pub(crate) content: Content,
}

/// Where a file's content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    File(PathBuf),
    Text(String),
}

/// `name=NAME,file=FILE`, `name=NAME,string=TEXT`, or the name alone first.
pub(crate) fn fw_cfg(text: &str) -> Parsed<FwCfg> {
    let accepted = || {
        format!(
            "accepted is name=NAME of at most {} letters, with file=FILE or string=TEXT",
            FwCfgFile::MOST_NAME
        )
    };
    let first = text.split_once(',').map_or(text, |(first, _)| first);
    let whole = if first.contains('=') { text.to_owned() } else { format!("name={text}") };
    let (mut name, mut content) = (String::new(), None);
    for (key, value) in key_values(&whole)? {
        match key.as_str() {
            "name" => name = value,
            "file" => content = Some(Content::File(value.into())),
            "string" => content = Some(Content::Text(value)),
            _ => return Err(accepted()),
        }
    }
    let fits = (1..=FwCfgFile::MOST_NAME).contains(&name.len()) && !name.contains('\0');
    content.filter(|_| fits).map(|content| FwCfg { name, content }).ok_or_else(accepted)
}

/// A number of lines.
pub(crate) fn lines(text: &str) -> Parsed<usize> {
    let found = text.parse().ok().filter(|lines| (1..=10_000_000).contains(lines));
    found.ok_or_else(|| "accepted is a number of lines from 1 to 10000000".into())
}

/// What `-icount` takes.
const ICOUNT: &str = "accepted is shift=0 (an instruction is a nanosecond) with sleep=on|off";

/// `shift=0,sleep=on|off`: whether the guest's clock is held back.
pub(crate) fn icount(text: &str) -> Parsed<Pacing> {
    let mut pacing = Pacing::On;
    let whole = if text.contains('=') { text.to_owned() } else { format!("shift={text}") };
    for (key, value) in key_values(&whole)? {
        pacing = match (key.as_str(), value.as_str()) {
            ("shift", "0" | "auto") | ("align", "off") => pacing,
            ("sleep", "on") => Pacing::On,
            ("sleep", "off") => Pacing::Off,
            _ => return Err(ICOUNT.into()),
        };
    }
    Ok(pacing)
}

/// `chardev=ID,mode=readline|control`, or the name alone first: a monitor.
pub(crate) fn mon(text: &str) -> Parsed<(Language, Serial)> {
    let accepted = || "accepted is chardev=ID with mode=readline or mode=control".to_owned();
    let first = text.split_once(',').map_or(text, |(first, _)| first);
    let whole = if first.contains('=') { text.to_owned() } else { format!("chardev={text}") };
    let (mut place, mut language) = (None, Language::Person);
    for (key, value) in key_values(&whole)? {
        match (key.as_str(), value.as_str()) {
            ("chardev", id) if !id.is_empty() => place = Some(Serial::Named(id.into())),
            ("mode", "readline") => language = Language::Person,
            ("mode", "control") => language = Language::Program,
            ("pretty", "on" | "off") => {}
            _ => return Err(accepted()),
        }
    }
    place.map(|place| (language, place)).ok_or_else(accepted)
}

/// What `-rtc` takes.
const RTC: &str = "accepted is base=utc or base=YYYY-MM-DDTHH:MM:SS";

/// `base=`: the date at the start, in seconds since 1970.
pub(crate) fn rtc(text: &str) -> Parsed<u64> {
    let mut start = now();
    for (key, value) in key_values(text)? {
        match (key.as_str(), value.as_str()) {
            ("base", "utc") | ("clock", "host" | "rt" | "vm") | ("driftfix", "none" | "slew") => {}
            ("base", date) => start = seconds(date).ok_or(RTC)?,
            _ => return Err(RTC.into()),
        }
    }
    Ok(start)
}

/// The host's date.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// `YYYY-MM-DDTHH:MM:SS`, or the date alone, in seconds since 1970; the years are those that the clock can show.
fn seconds(text: &str) -> Option<u64> {
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00:00"));
    let numbers = |text: &str, by: char| -> Option<[u64; 3]> {
        let numbers: Option<Vec<u64>> = text.split(by).map(|n| n.parse().ok()).collect();
        numbers?.try_into().ok()
    };
    let ([year, month, day], [hour, minute, second]) = (numbers(date, '-')?, numbers(time, ':')?);
    let leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let february = if leap(year) { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let fits = (1970..2100).contains(&year)
        && (1..=12).contains(&month)
        && (1..=months[(month as usize).clamp(1, 12) - 1]).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let years: u64 = (1970..year.min(2100)).map(|year| if leap(year) { 366 } else { 365 }).sum();
    fits.then(|| {
        let days = years + months[..month as usize - 1].iter().sum::<u64>() + day - 1;
        (days * 24 + hour) * 3600 + minute * 60 + second
    })
}

/// A device for `-device`.
pub(crate) struct Device {
    /// QEMU's name.
    pub(crate) name: &'static str,
    /// With QEMU's defaults.
    device: OptionalDevice,
    pub(crate) bus: &'static str,
    pub(crate) what: &'static str,
}

const fn row(
    name: &'static str,
    device: OptionalDevice,
    bus: &'static str,
    what: &'static str,
) -> Device {
    Device { name, device, bus, what }
}

/// The devices for `-device`.
#[rustfmt::skip]
pub(crate) const DEVICES: [Device; 4] = [
    row("edu", OptionalDevice::Edu { msix: false }, "PCI", "a function to learn by"),
    row("isa-debug-exit", OptionalDevice::DebugExit { base: 0x501, length: 2 }, "ISA", "a port that ends the run"),
    row("pc-testdev", OptionalDevice::TestDevice, "ISA", "interrupt lines, a latch and memory, for test programs"),
    row("pvpanic", OptionalDevice::Pvpanic, "ISA", "a port by which the guest tells that it has panicked"),
];

/// A device's name and its options.
pub(crate) fn device(text: &str) -> Parsed<OptionalDevice> {
    let accepted = || {
        let names = DEVICES.map(|row| row.name.to_owned() + device_options(row.device));
        format!("accepted are {}", names.join(", "))
    };
    let (name, rest) = text.split_once(',').unwrap_or((text, ""));
    let known = DEVICES.iter().find(|row| row.name == name);
    let mut device = known.ok_or_else(accepted)?.device;
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
        check(memory("4096K"), "4194304");
        check(memory("1.5G"), "1610612736");
        check(memory("size=512M,slots=2,maxmem=1G"), "536870912");
        check(memory("4.5"), "accepted are whole MiB, from 4M to 1T");
        check(memory("3"), "accepted are whole MiB, from 4M to 1T");
        let number = "accepted is a number above 0 with an optional K, M, G or T";
        for text in ["", "M", "0", "-1", "1.5.G", "1.x", "12Q", "1,2", "99999999999999T", "é"] {
            check(memory(text), number);
        }
        check(memory("1K"), "accepted are whole MiB, from 4M to 1T");
        check(memory("2T"), "accepted are whole MiB, from 4M to 1T");
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
    fn topologies() {
        check(smp("4"), "4");
        check(smp("2,cores=2,maxcpus=4"), "2");
        check(smp("sockets=2,cores=4,threads=2"), "16");
        for text in
            ["0", "33", "", "two", "sockets=99", "cpus=4294967296", "cores=65536,threads=65537"]
        {
            check(smp(text), "the number of SMP CPUs accepted is 1 to 32");
        }
        check(smp("2,cpu=1"), "accepted are cpus=, sockets=, dies=, cores=, threads= and maxcpus=");
    }

    #[test]
    fn files_for_the_guest() {
        check(fw_cfg("name=opt/a,string=b,,c"), r#"FwCfg { name: "opt/a", content: Text("b,c") }"#);
        check(fw_cfg("opt/a,file=F"), r#"FwCfg { name: "opt/a", content: File("F") }"#);
        let accepted = "accepted is name=NAME of at most 55 letters, with file=FILE or string=TEXT";
        let long = format!("{},string=", "n".repeat(56));
        for text in ["name=a", "string=b", "name=a,gen_id=b", long.as_str()] {
            check(fw_cfg(text), accepted);
        }
    }

    #[test]
    fn clocks() {
        check(icount("0"), "On");
        check(icount("shift=auto,sleep=off"), "Off");
        check(icount("shift=0,sleep=on,align=off"), "On");
        for text in ["7", "shift=3", "sleep=maybe", "shift=0,rr=record"] {
            check(icount(text), ICOUNT);
        }
        check(rtc("base=1970-01-02"), "86400");
        check(rtc("base=2000-02-29T23:59:59,clock=vm"), "951868799");
        check(rtc("base=2026-11-30T12:00:00"), "1796040000");
        for text in [
            "base=localtime",
            "base=2001-02-29",
            "base=2026-00-01",
            "base=1969-12-31",
            "base=2026-13-01",
            "base=2026-01-01T24:00:00",
            "base=2026-1",
            "drift=1",
        ] {
            check(rtc(text), RTC);
        }
        assert!(rtc("base=utc").unwrap() > 1_790_000_000);
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
