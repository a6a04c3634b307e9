//! Tests as a TOML file lists them.

use super::{Case, Expect, words};
use crate::status::{Failure, one_line};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

/// Bytes that the file may have.
const MOST: u64 = 16 << 20;
/// Instructions that a test has if it does not say.
const LIMIT: u64 = 100_000_000_000;
/// What a test is.
const ACCEPTED: &str =
    "accepted are tables [[test]] with name, kernel, words, status, text, limit, groups and skip";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    test: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    /// As `run -kernel`.
    kernel: Option<String>,
    /// Behind that, or with their own verb.
    words: Option<Words>,
    #[serde(default)]
    status: u8,
    text: Option<String>,
    limit: Option<u64>,
    #[serde(default)]
    groups: Vec<String>,
    skip: Option<String>,
}

/// Words, or a line of words in a shell's form.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a text, or an array of texts")]
enum Words {
    Line(String),
    List(Vec<String>),
}

/// Reads the tests of a file; they run in its folder.
pub(super) fn read(path: &Path) -> Result<Vec<Case>, Failure> {
    let shown = format!("--list {}", path.display());
    let wrong = |why: String| Failure::usage(&shown, why);
    let meta = fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    if !meta.is_file() || meta.len() > MOST {
        return Err(wrong(format!("accepted is a regular file of at most {} MiB", MOST >> 20)));
    }
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder =
        fs::canonicalize(folder.unwrap_or(Path::new("."))).map_err(|e| wrong(e.to_string()))?;
    parse(&text, &folder).map_err(wrong)
}

fn parse(text: &str, folder: &Path) -> Result<Vec<Case>, String> {
    let file: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |s| text[..s.start].matches('\n').count() + 1);
        format!("line {line}: {}; {ACCEPTED}", one_line(error.message()))
    })?;
    let mut names = BTreeSet::new();
    let mut cases = Vec::new();
    for entry in file.test {
        let name = entry.name.clone();
        if name.is_empty() || name.chars().any(char::is_control) || !names.insert(name.clone()) {
            return Err(format!("name = {name:?}: accepted is a printable name of a test's own"));
        }
        cases.push(case(entry, folder).map_err(|why| format!("{name}: {why}"))?);
    }
    Ok(cases)
}

fn case(entry: Entry, folder: &Path) -> Result<Case, String> {
    let Entry { name, kernel, words, status, text, limit, groups, skip } = entry;
    let words = match words {
        None => Vec::new(),
        Some(Words::List(words)) => words,
        Some(Words::Line(line)) => words::split(&line)?,
    };
    if kernel.is_none() && words.is_empty() {
        return Err("nothing to run; accepted are kernel and words".into());
    }
    if limit == Some(0) {
        return Err("limit = 0: accepted is a whole number above 0".into());
    }
    let kernel = kernel.map(|file| vec!["run".to_owned(), "-kernel".into(), file]);
    let all = kernel.into_iter().flatten().chain(words);
    Ok(Case {
        name,
        groups,
        words: all.map(OsString::from).collect(),
        folder: folder.to_owned(),
        limit: limit.unwrap_or(LIMIT),
        expect: Expect::Status { status, text: text.filter(|text| !text.is_empty()) },
        skip,
        by_hand: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        let line = |case: &Case| {
            format!("{} {:?} {} {:?}", case.name, case.words, case.limit, case.expect)
        };
        match parse(text, Path::new("/f")) {
            Ok(cases) => cases.iter().map(line).collect::<Vec<_>>().join("; "),
            Err(why) => why,
        }
    }

    #[test]
    fn lists() {
        assert_eq!(show(""), "");
        assert_eq!(
            show(
                "[[test]]\nname = 'a'\nkernel = 'k'\nwords = \"-m 64 -append 'x y'\"\nstatus = 33\nlimit = 7"
            ),
            "a [\"run\", \"-kernel\", \"k\", \"-m\", \"64\", \"-append\", \"x y\"] 7 Status { status: 33, text: None }"
        );
        assert_eq!(
            show("[[test]]\nname = 'h'\nwords = ['host', '--domu', 'name=a']\ntext = 'end'"),
            "h [\"host\", \"--domu\", \"name=a\"] 100000000000 Status { status: 0, text: Some(\"end\") }"
        );
    }

    #[test]
    fn wrong_lists() {
        let check = |text: &str, expect: &str| {
            let found = show(text);
            assert!(found.starts_with(expect), "{found}");
        };
        check("[[test]]\nname = 'a'", "a: nothing to run; accepted are kernel and words");
        check(
            "[[test]]\nkernel = 'a'",
            "line 1: missing field `name`; accepted are tables [[test]]",
        );
        check("[[tests]]\nname = 'a'", "line 1: unknown field `tests`");
        check("[[test]]\nname = 'a'\nwords = 3", "line 3: a text, or an array of texts");
        check("[[test]]\nname = 'a'\nwords = \"'\"", "a: no closing '");
        check("[[test]]\nname = 'a'\nkernel = 'k'\nlimit = 0", "a: limit = 0: ");
        check(
            "[[test]]\nname = 'a'\nkernel = 'k'\nstatus = 256",
            "line 4: invalid value: integer `256`",
        );
        let one = "[[test]]\nname = 'a'\nkernel = 'k'\n";
        check(&one.repeat(2), "name = \"a\": accepted is a printable name");
    }
}
