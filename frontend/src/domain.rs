//! Domains as the user describes them: by options on the command line, or by a TOML file with the
//! same options.

use crate::console::chardev::{self, Serial};
use crate::status::{Failure, one_line};
use crate::values;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// A domain's memory where the user does not say, by whose kernel it is.
const MEMORY: u64 = 128 << 20;

/// A domain's weight where the user does not say: Xen's.
const WEIGHT: u16 = 256;

/// The options that describe a domain.
const OPTIONS: &str =
    "name=, kernel=, initrd=, memory=, vcpus=, weight=, cap=, console= and append=";

/// One domain. Without a kernel it is the embedded guest of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Domain {
    /// Where it is described, for messages.
    pub(crate) place: String,
    pub(crate) name: String,
    pub(crate) kernel: Option<PathBuf>,
    pub(crate) initrd: Option<PathBuf>,
    pub(crate) memory: u64,
    pub(crate) vcpus: u32,
    /// The share of the processor, relative to the other domains'.
    pub(crate) weight: u16,
    /// The most of the processor, in percent; 0 is no limit.
    pub(crate) cap: u16,
    /// A console of its own.
    pub(crate) console: Option<Serial>,
    pub(crate) append: String,
}

impl Domain {
    /// The embedded guest under `name`.
    pub(crate) fn embedded(name: &str) -> Self {
        Self {
            place: name.into(),
            name: name.into(),
            kernel: None,
            initrd: None,
            memory: MEMORY,
            vcpus: 1,
            weight: WEIGHT,
            cap: 0,
            console: None,
            append: String::new(),
        }
    }

    /// The options of `--dom0` or `--domu`; `flag` is for messages.
    pub(crate) fn parse(flag: &str, text: &str, name: &str) -> Result<Self, Failure> {
        let mut domain = Self::embedded(name);
        let mut seen = BTreeSet::new();
        for (key, value) in values::key_values(text).map_err(|why| Failure::usage(flag, why))? {
            if !seen.insert(key.clone()) {
                return Err(Failure::usage(flag, format!("{key}= is given twice")));
            }
            let what = format!("{flag}: {key}={value}");
            domain.set(&key, value).map_err(|why| Failure::usage(what, why))?;
        }
        domain.check(flag)
    }

    /// Sets the option `key`.
    fn set(&mut self, key: &str, value: String) -> Result<(), String> {
        match key {
            "name" => self.name = name(value)?,
            "kernel" => self.kernel = Some(file(value)?),
            "initrd" => self.initrd = Some(file(value)?),
            "memory" => self.memory = values::memory(&value)?,
            "vcpus" => self.vcpus = values::processors(&value)?,
            "weight" => self.weight = number(&value, 1..=u16::MAX)?,
            "cap" => self.cap = number(&value, 0..=100)?,
            "console" => self.console = Some(chardev::serial(&value)?),
            "append" => self.append = append(value)?,
            _ => return Err(format!("accepted are {OPTIONS}")),
        }
        Ok(())
    }

    fn check(mut self, flag: &str) -> Result<Self, Failure> {
        self.place = format!("{flag} (name={})", self.name);
        if self.initrd.is_some() && self.kernel.is_none() {
            return Err(Failure::usage(
                flag,
                "initrd= without kernel=: the embedded guest has none",
            ));
        }
        Ok(self)
    }
}

/// Names go in front of console lines and into the hypervisor's command lines.
fn name(text: String) -> Result<String, String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if (1..=32).contains(&text.len()) && text.chars().all(fine) {
        return Ok(text);
    }
    Err("accepted are 1 to 32 letters, digits, '-', '_' and '.'".into())
}

/// A number in `range`.
fn number(text: &str, range: RangeInclusive<u16>) -> Result<u16, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("accepted is {} to {}", range.start(), range.end()))
}

fn file(text: String) -> Result<PathBuf, String> {
    if text.is_empty() { Err("accepted is the name of a file".into()) } else { Ok(text.into()) }
}

fn append(text: String) -> Result<String, String> {
    if text.len() > 2048 || text.chars().any(|c| c.is_control()) {
        return Err("accepted are at most 2048 printable characters".into());
    }
    Ok(text)
}

/// All domains of a host: dom0 first.
///
/// # Errors
/// Two domains of one name, or a mistake in one's options.
pub(crate) fn list(dom0: Option<&str>, domus: &[String]) -> Result<Vec<Domain>, Failure> {
    let mut domains = vec![Domain::parse("--dom0", dom0.unwrap_or_default(), "dom0")?];
    for (n, options) in domus.iter().enumerate() {
        domains.push(Domain::parse("--domu", options, &format!("domu{}", n + 1))?);
    }
    unique("--domu", domains)
}

/// Refuses two domains of one name.
fn unique(what: &str, domains: Vec<Domain>) -> Result<Vec<Domain>, Failure> {
    let mut names = BTreeSet::from(["hv"]);
    for domain in &domains {
        if !names.insert(&domain.name) {
            let why = format!("name={}: taken; accepted is a name of its own", domain.name);
            return Err(Failure::usage(what, why));
        }
    }
    Ok(domains)
}

/// The TOML file: the table `[dom0]` and the array of tables `[[domu]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    dom0: Option<Options>,
    #[serde(default)]
    domu: Domus,
}

/// The tables of the domUs.
#[derive(Default)]
struct Domus(Vec<Options>);

impl<'de> Deserialize<'de> for Domus {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Tables;
        impl<'de> Visitor<'de> for Tables {
            type Value = Domus;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("tables [[domu]], with two brackets")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut tables: A) -> Result<Domus, A::Error> {
                let mut all = Vec::new();
                while let Some(table) = tables.next_element()? {
                    all.push(table);
                }
                Ok(Domus(all))
            }
        }
        from.deserialize_any(Tables)
    }
}

/// The same options as on the command line; numbers may be numbers.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table such as [dom0]")]
struct Options {
    name: Option<String>,
    kernel: Option<String>,
    initrd: Option<String>,
    memory: Option<Number>,
    vcpus: Option<Number>,
    weight: Option<Number>,
    cap: Option<Number>,
    console: Option<String>,
    append: Option<String>,
}

/// A number, or a text: a number with a unit.
struct Number(String);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Number;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a whole number, or a text such as \"512M\"")
            }

            fn visit_i64<E>(self, number: i64) -> Result<Number, E> {
                Ok(Number(number.to_string()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Number, E> {
                Ok(Number(number.to_string()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Number, E> {
                Ok(Number(text.to_owned()))
            }
        }
        from.deserialize_any(Text)
    }
}

impl Options {
    fn domain(self, place: &str, default: &str) -> Result<Domain, Failure> {
        let Self { name, kernel, initrd, memory, vcpus, weight, cap, console, append } = self;
        let number = |n: Option<Number>| n.map(|Number(text)| text);
        let options = [
            ("name", name),
            ("kernel", kernel),
            ("initrd", initrd),
            ("memory", number(memory)),
            ("vcpus", number(vcpus)),
            ("weight", number(weight)),
            ("cap", number(cap)),
            ("console", console),
            ("append", append),
        ];
        let mut domain = Domain::embedded(default);
        for (key, value) in options {
            let Some(value) = value else { continue };
            let what = format!("{place}: {key} = {value}");
            domain.set(key, value).map_err(|why| Failure::usage(what, why))?;
        }
        domain.check(place)
    }
}

/// Bytes that a file with domains may have.
const MOST: u64 = 1 << 20;

/// Reads the domains from a TOML file; its file names count from the file's own folder.
pub(crate) fn read(path: &Path) -> Result<Vec<Domain>, Failure> {
    let shown = path.display().to_string();
    let wrong = |why: String| Failure::usage(&shown, why);
    let meta = fs::metadata(path).map_err(|e| wrong(e.to_string()))?;
    if !meta.is_file() || meta.len() > MOST {
        return Err(wrong(format!("accepted is a regular file of at most {} MiB", MOST >> 20)));
    }
    let text = fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    let mut domains = from_toml(&shown, &text)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    for domain in &mut domains {
        for file in [&mut domain.kernel, &mut domain.initrd].into_iter().flatten() {
            *file = folder.join(&*file);
        }
    }
    Ok(domains)
}

fn from_toml(shown: &str, text: &str) -> Result<Vec<Domain>, Failure> {
    let file: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |s| text[..s.start].matches('\n').count() + 1);
        let why = one_line(error.message());
        Failure::usage(
            format!("{shown}:{line}"),
            format!("{why}; accepted are [dom0] and [[domu]] with {OPTIONS}"),
        )
    })?;
    let mut domains =
        vec![file.dom0.unwrap_or_default().domain(&format!("{shown}: [dom0]"), "dom0")?];
    for (n, options) in file.domu.0.into_iter().enumerate() {
        let place = format!("{shown}: [[domu]] {}", n + 1);
        domains.push(options.domain(&place, &format!("domu{}", n + 1))?);
    }
    unique(shown, domains)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name kernel initrd memory vcpus append` of each domain, or the failure.
    fn show(found: Result<Vec<Domain>, Failure>) -> String {
        let file = |f: &Option<PathBuf>| f.as_ref().map_or("-".into(), |f| f.display().to_string());
        let line = |d: &Domain| {
            let [kernel, initrd] = [file(&d.kernel), file(&d.initrd)];
            format!("{} {kernel} {initrd} {}M {} '{}'", d.name, d.memory >> 20, d.vcpus, d.append)
        };
        match found {
            Ok(domains) => domains.iter().map(line).collect::<Vec<_>>().join("; "),
            Err(failure) => failure.text,
        }
    }

    #[track_caller]
    fn check(dom0: &str, domus: &[&str], expect: &str) {
        let domus: Vec<String> = domus.iter().map(|d| (*d).to_owned()).collect();
        assert_eq!(show(list(Some(dom0), &domus)), expect);
    }

    #[track_caller]
    fn check_toml(text: &str, expect: &str) {
        assert_eq!(show(from_toml("f.toml", text)), expect);
    }

    #[test]
    fn options() {
        check("", &[], "dom0 - - 128M 1 ''");
        check(
            "kernel=k,initrd=i,memory=512M,append=console=hvc0 hold",
            &["name=a,kernel=k,vcpus=2,append=\"a=b,c\"", "kernel=k2,append=x,,y"],
            "dom0 k i 512M 1 'console=hvc0 hold'; a k - 128M 2 'a=b,c'; domu2 k2 - 128M 1 'x,y'",
        );
    }

    #[test]
    fn wrong_options() {
        check("kernel", &[], "--dom0: 'kernel' is not of the form key=value");
        check("initrd=i", &[], "--dom0: initrd= without kernel=: the embedded guest has none");
        check("kernel=", &[], "--dom0: kernel=: accepted is the name of a file");
        check("memory=4M,memory=8M", &[], "--dom0: memory= is given twice");
        let accepted = "accepted is a number above 0 with an optional K, M, G or T";
        check("", &["memory=lots"], &format!("--domu: memory=lots: {accepted}"));
        check("", &["vcpus=0"], "--domu: vcpus=0: accepted is 1 to 32");
        check("", &["weight=0"], "--domu: weight=0: accepted is 1 to 65535");
        check("", &["cap=101"], "--domu: cap=101: accepted is 0 to 100");
        let check_place = |options: &str, expect: &str| {
            let found = show(list(None, &[options.to_owned()]));
            assert!(found.starts_with(expect), "{found}");
        };
        check_place("console=vc", "--domu: console=vc: accepted are stdio, mon:stdio, file:NAME");
        check_place("console=unix:/a,server=on", "--domu: server=on: accepted are name=");
        check_place("console=\"unix:/a,server=on\"", "dom0 - - 128M 1 ''; domu1");
        check("", &["cpus=1"], &format!("--domu: cpus=1: accepted are {OPTIONS}"));
        let accepted = "accepted are 1 to 32 letters, digits, '-', '_' and '.'";
        check("", &["name=a b"], &format!("--domu: name=a b: {accepted}"));
        let taken = "taken; accepted is a name of its own";
        check("", &["name=a", "name=a"], &format!("--domu: name=a: {taken}"));
        check("", &["name=dom0"], &format!("--domu: name=dom0: {taken}"));
        check("", &["name=hv"], &format!("--domu: name=hv: {taken}"));
    }

    #[test]
    fn toml() {
        check_toml("", "dom0 - - 128M 1 ''");
        check_toml(
            "[dom0]\nkernel = 'k'\nmemory = 512\n[[domu]]\nname = 'a'\nmemory = '1G'\nvcpus = 2\n",
            "dom0 k - 512M 1 ''; a - - 1024M 2 ''",
        );
        let accepted = format!("accepted are [dom0] and [[domu]] with {OPTIONS}");
        check_toml(
            "[dom0]\nkernels = 'k'",
            &format!(
                "f.toml:2: unknown field `kernels`, expected one of `name`, `kernel`, `initrd`, \
                 `memory`, `vcpus`, `weight`, `cap`, `console`, `append`; {accepted}"
            ),
        );
        check_toml("[[domu]]\nvcpus = 99", "f.toml: [[domu]] 1: vcpus = 99: accepted is 1 to 32");
        let number = "accepted is a number above 0 with an optional K, M, G or T";
        check_toml("[dom0]\nmemory = -1", &format!("f.toml: [dom0]: memory = -1: {number}"));
        let check = |text: &str, expect: &str| {
            let found = show(from_toml("f.toml", text));
            assert!(found.starts_with(expect), "{found}");
        };
        let whole = "expected a whole number, or a text such as \"512M\"; accepted are";
        check(
            "[dom0]\nmemory = 1.5",
            &format!("f.toml:2: invalid type: floating point `1.5`, {whole}"),
        );
        check("[dom0]\nmemory = true", &format!("f.toml:2: invalid type: boolean `true`, {whole}"));
        check(
            "dom0 = 'x'",
            "f.toml:1: invalid type: string \"x\", expected a table such as [dom0]; ",
        );
        check(
            "[domu]",
            "f.toml:1: invalid type: map, expected tables [[domu]], with two brackets; ",
        );
        let found = show(from_toml("f.toml", "[dom0\n"));
        assert!(found.starts_with("f.toml:1: ") && found.ends_with(&accepted), "{found}");
    }
}
