//! kvm-unit-tests: the tests of its configuration file, run with the words of its own runner.

use super::{Case, Expect, words};
use crate::status::Failure;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

/// The configuration file, and the folder of the kernels.
const CONFIG: &str = "x86/unittests.cfg";
/// Bytes that the file may have.
const MOST: u64 = 16 << 20;
/// Seconds that a test has if it does not say.
const TIMEOUT: u64 = 90;
/// The words that every test gets: those of `x86/run`, with the devices that there are, and a date that does not
/// change, as the host's would be another state for each run.
const WORDS: &[&str] = &[
    "qemu",
    "--no-reboot",
    "-nodefaults",
    "-global",
    "kvm-pit.lost_tick_policy=discard",
    "-device",
    "pc-testdev",
    "-device",
    "isa-debug-exit,iobase=0xf4,iosize=0x4",
    "-display",
    "none",
    "-serial",
    "stdio",
    "-machine",
    "accel=tcg",
    "-rtc",
    "base=2026-01-01",
];

/// A section of the file.
#[derive(Debug, Default)]
struct Section {
    name: String,
    /// Names and values in order.
    values: Vec<(String, String)>,
}

impl Section {
    fn get(&self, names: &[&str]) -> Option<&str> {
        let found = self.values.iter().rfind(|(name, _)| names.contains(&name.as_str()));
        found.map(|(_, value)| value.as_str())
    }
}

/// Reads the tests of a folder.
pub(super) fn read(folder: &Path) -> Result<Vec<Case>, Failure> {
    let path = folder.join(CONFIG);
    let wrong = |why: String| Failure::usage(format!("--kut {}", folder.display()), why);
    let shown = path.display();
    let meta = fs::metadata(&path).map_err(|error| {
        wrong(format!("{CONFIG}: {error}; accepted is a folder of kvm-unit-tests, built"))
    })?;
    if !meta.is_file() || meta.len() > MOST {
        return Err(wrong(format!(
            "{CONFIG}: accepted is a regular file of at most {} MiB",
            MOST >> 20
        )));
    }
    let text = fs::read_to_string(&path).map_err(|error| wrong(format!("{shown}: {error}")))?;
    let folder = fs::canonicalize(folder).map_err(|error| wrong(error.to_string()))?;
    // An architecture of the build, as `configure` has written it down.
    let config = fs::read_to_string(folder.join("config.mak")).unwrap_or_default();
    let arch = config.lines().find_map(|line| line.strip_prefix("ARCH=")).unwrap_or("x86_64");
    sections(&text).iter().map(|section| case(section, &folder, arch).map_err(&wrong)).collect()
}

/// The sections of a file. A value in three quotes goes on over lines.
fn sections(text: &str) -> Vec<Section> {
    let mut sections = Vec::<Section>::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            sections.push(Section { name: name.into(), values: Vec::new() });
            continue;
        }
        let Some((name, value)) = line.split_once('=') else { continue };
        let (name, mut value) = (name.trim().to_owned(), value.trim_start().to_owned());
        if let Some(begin) = value.strip_prefix("\"\"\"").map(str::to_owned) {
            value = begin;
            for line in lines.by_ref() {
                value.push('\n');
                match line.trim_end().strip_suffix("\"\"\"") {
                    Some(end) => {
                        value.push_str(end);
                        break;
                    }
                    None => value.push_str(line),
                }
            }
        }
        if let Some(section) = sections.last_mut().filter(|_| !name.starts_with('#')) {
            section.values.push((name, value));
        }
    }
    sections
}

/// The test of a section, by the rules of `scripts/runtime.bash`.
fn case(section: &Section, folder: &Path, arch: &str) -> Result<Case, String> {
    let in_section = |why: String| format!("[{}]: {why}", section.name);
    let file = section.get(&["file"]).unwrap_or_default();
    let kernel = folder.join("x86").join(file);
    let mut all: Vec<OsString> = WORDS.iter().map(OsString::from).collect();
    all.extend(["-kernel".into(), kernel.clone().into_os_string()]);
    all.extend(["-smp".into(), section.get(&["smp"]).unwrap_or("1").trim().into()]);
    if let Some(args) = section.get(&["test_args"]) {
        all.push("-append".into());
        all.extend(words::split(args).map_err(in_section)?.into_iter().map(OsString::from));
    }
    if let Some(more) = section.get(&["qemu_params", "extra_params"]) {
        all.extend(words::split(more).map_err(in_section)?.into_iter().map(OsString::from));
    }
    let seconds = section.get(&["timeout"]).map_or(TIMEOUT, seconds);
    let groups = section.get(&["groups"]).unwrap_or_default().split_whitespace();
    Ok(Case {
        name: section.name.clone(),
        groups: groups.map(str::to_owned).collect(),
        words: all,
        folder: folder.to_owned(),
        // The guest's clock: an instruction is a nanosecond.
        limit: seconds.saturating_mul(1_000_000_000),
        expect: Expect::Kut,
        skip: skip(section, &kernel, arch),
        by_hand: section.get(&["groups"]).is_some_and(|g| g.split(' ').any(|g| g == "nodefault")),
    })
}

/// Seconds of a timeout such as `30` or `90s`; 0 is no limit.
fn seconds(text: &str) -> u64 {
    match text.trim().trim_end_matches('s').parse() {
        Ok(0) => u64::MAX,
        Ok(seconds) => seconds,
        Err(_) => TIMEOUT,
    }
}

/// Why the runner would leave a test out.
fn skip(section: &Section, kernel: &Path, arch: &str) -> Option<String> {
    let is = |name: &str, wanted: &[&str]| {
        let value = section.get(&[name]).filter(|value| !value.is_empty());
        value.filter(|value| !wanted.contains(value)).map(str::to_owned)
    };
    if let Some(other) = is("arch", &[arch]) {
        return Some(format!("{other} only"));
    }
    if let Some(other) = is("accel", &["tcg"]) {
        return Some(format!("{other} only, but ACCEL=tcg"));
    }
    let checks = section.get(&["check"]).unwrap_or_default().split_whitespace();
    for (path, value) in checks.filter_map(|check| check.split_once('=')) {
        if fs::read_to_string(path).map_or(true, |found| found.trim_end() != value) {
            return Some(format!("{path} not equal to {value}"));
        }
    }
    (!kernel.is_file()).then(|| format!("Test file '{}' not found", kernel.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "\
# comment = none
[a]
file = a.flat
smp = 2
qemu_params = -cpu max,+x2apic
arch = x86_64
timeout = 30
groups = apic vmx

[b]
file = b.flat
test_args = 'one two'
extra_params = \"\"\"-m 64 \\
  -device edu\"\"\"
arch = i386
[c]
file = none
accel = kvm
[d]
file = none
check = /proc/version=nothing
[e]
file = none
groups = nodefault
";

    #[test]
    fn a_configuration() {
        let cases: Vec<Case> = sections(CONFIG)
            .iter()
            .map(|section| case(section, Path::new("/kut"), "x86_64").unwrap())
            .collect();
        let words = |n: usize| {
            let words =
                cases[n].words[WORDS.len()..].iter().map(|w| w.to_string_lossy().into_owned());
            words.collect::<Vec<_>>()
        };
        assert_eq!(words(0), ["-kernel", "/kut/x86/a.flat", "-smp", "2", "-cpu", "max,+x2apic"]);
        let b = ["-kernel", "/kut/x86/b.flat", "-smp", "1", "-append", "one two", "-m", "64"];
        assert_eq!(words(1), [&b[..], &["-device", "edu"]].concat());
        assert_eq!((cases[0].limit, cases[1].limit), (30_000_000_000, 90_000_000_000));
        assert_eq!(cases[0].groups, ["apic", "vmx"]);
        let skips: Vec<_> = cases.iter().map(|case| case.skip.clone().unwrap()).collect();
        assert_eq!(
            skips,
            [
                "Test file '/kut/x86/a.flat' not found",
                "i386 only",
                "kvm only, but ACCEL=tcg",
                "/proc/version not equal to nothing",
                "Test file '/kut/x86/none' not found"
            ]
        );
        let by_hand: Vec<_> = cases.iter().map(|case| case.by_hand).collect();
        assert_eq!(by_hand, [false, false, false, false, true]);
    }

    #[test]
    fn timeouts() {
        assert_eq!(["30", "90s", "0", "x"].map(seconds), [30, 90, u64::MAX, TIMEOUT]);
    }
}
