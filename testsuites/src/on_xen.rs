//! What commands in dom0 say on two hypervisors, compared.

use std::fmt;

/// What a command has printed and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its status; of a shell, so 124 if it took more than a minute.
    pub status: u32,
    /// The lines it printed, on either stream.
    pub said: Vec<String>,
}

/// How two answers compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// The same status and the same lines, but for what must differ.
    Same,
    /// The same status, with other lines.
    OtherLines,
    /// Another status.
    OtherStatus,
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Same => "same",
            Self::OtherLines => "lines",
            Self::OtherStatus => "status",
        })
    }
}

/// The answers on dom0's console: lines `STATUS N STATUS` and after each its lines `SAID N TEXT`.
#[must_use]
pub fn answers(console: &[String]) -> Vec<Answer> {
    let mut all: Vec<Answer> = Vec::new();
    for line in console {
        let mut words = line.splitn(3, ' ');
        let (kind, number, rest) = (words.next(), words.next(), words.next().unwrap_or_default());
        let number = number.and_then(|number| number.parse::<usize>().ok());
        match (kind, number) {
            (Some("STATUS"), Some(n)) if n == all.len() + 1 => {
                let status = rest.trim().parse().unwrap_or(u32::MAX);
                all.push(Answer { status, said: Vec::new() });
            }
            (Some("SAID"), Some(n)) if n == all.len() => {
                if let Some(answer) = all.last_mut() {
                    answer.said.push(rest.to_owned());
                }
            }
            _ => {}
        }
    }
    all
}

/// Compares two answers. What must differ: UUIDs, which are random, and what has a decimal point, which are seconds of
/// processor time and versions.
#[must_use]
pub fn compare(here: &Answer, there: &Answer) -> Compared {
    let plain = |answer: &Answer| answer.said.iter().map(|line| masked(line)).collect::<Vec<_>>();
    match (here.status == there.status, plain(here) == plain(there)) {
        (false, _) => Compared::OtherStatus,
        (true, false) => Compared::OtherLines,
        (true, true) => Compared::Same,
    }
}

/// A line with what must differ masked, and each run of blanks as one.
fn masked(line: &str) -> String {
    let mask = |word: &str| {
        let core = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let uuid = core.len() == 36 && core.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
        let decimal = core.contains('.') && core.chars().all(|c| c == '.' || c.is_ascii_digit());
        if uuid || decimal { word.replace(core, "#") } else { word.to_owned() }
    };
    line.split_whitespace().map(mask).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u32, lines: &[&str]) -> Answer {
        Answer { status, said: lines.iter().map(|line| (*line).to_owned()).collect() }
    }

    #[test]
    fn of_a_console() {
        let console =
            ["[ 0.1] boot", "STATUS 1 0", "SAID 1 a  b", "(a) x", "STATUS 2 1", "SAID 1 old"];
        let console = console.map(str::to_owned);
        assert_eq!(answers(&console), [said(0, &["a  b"]), said(1, &[])]);
    }

    #[test]
    fn comparisons() {
        let a = said(0, &["a 1 r----- 0.5", "\"uuid\": \"11112222-3333-4444-5555-666677778888\","]);
        let b =
            said(0, &["a   1 r----- 17.2", "\"uuid\": \"21112222-3333-4444-5555-666677778888\","]);
        assert_eq!(compare(&a, &b), Compared::Same);
        assert_eq!(compare(&a, &said(0, &["a 1 -b---- 0.5"])), Compared::OtherLines);
        assert_eq!(compare(&a, &Answer { status: 1, ..a.clone() }), Compared::OtherStatus);
    }
}
