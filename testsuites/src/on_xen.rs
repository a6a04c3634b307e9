//! What commands in dom0 say on two hypervisors, compared; and what creating, saving and restoring domUs costs.

use crate::bench::peers::Run;
use std::collections::BTreeSet;
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

/// The tools' calls on dom0's console, a kind each: lines `CALL NUMBER OPERATION RESULT`.
#[must_use]
pub fn calls(console: &[String]) -> BTreeSet<String> {
    console.iter().filter_map(|line| line.strip_prefix("CALL ")).map(str::to_owned).collect()
}

/// Words for dom0: the domUs whose way is measured.
pub const STEPS: &str = "domus=pvh,hvm,saved";

/// Parts of a run with [`STEPS`]: a name, and the ends of the lines at which the part begins (the start if that is
/// empty) and ends.
const PARTS: [(&str, &str, &str); 5] = [
    ("dom0 to userspace", "", "MARK userspace"),
    ("PVH create to mark", "MARK create-pvh", "(pvh) MARK userspace"),
    ("HVM create to mark", "MARK create-hvm", "(hvm) MARK userspace"),
    ("save", "MARK saving", "MARK restoring"),
    ("restore", "MARK restoring", "MARK running"),
];

/// What a run with [`STEPS`] has cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// CPU seconds of each part.
    pub seconds: Vec<(&'static str, f64)>,
    /// The VM exits by reason, as the summary has them.
    pub exits: String,
}

impl Figures {
    /// Those of `run`; none if a part is missing.
    #[must_use]
    pub fn new(run: &Run) -> Option<Self> {
        let at = |mark: &str| {
            let is =
                |line: &str| line.rsplit_once(' ').is_some_and(|(line, _)| line.ends_with(mark));
            run.lines.iter().find(|(line, _)| is(line)).map(|(_, seconds)| *seconds)
        };
        let part = |(name, from, to): (&'static str, &str, &str)| {
            let from = if from.is_empty() { Some(0.0) } else { at(from) };
            Some((name, at(to)? - from?))
        };
        let seconds = PARTS.into_iter().map(part).collect::<Option<_>>()?;
        let exits = run.summary.lines().skip_while(|line| *line != "VM exits").skip(1);
        let exits = exits.take_while(|line| line.starts_with(' '));
        Some(Self { seconds, exits: exits.map(|line| format!("{line}\n")).collect() })
    }
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
    fn calls_of_a_console() {
        let lines = ["CALL 36 1 ok", "SAID 1 CALL", "CALL 12 6 error 22", "CALL 36 1 ok"];
        let all = calls(&lines.map(str::to_owned));
        assert_eq!(all.into_iter().collect::<Vec<_>>(), ["12 6 error 22", "36 1 ok"]);
    }

    #[test]
    fn figures() {
        let lines = [
            "(dom0) MARK userspace 1.4",
            "(dom0) MARK create-pvh 2",
            "(dom0) (pvh) MARK userspace 1.1",
            "(dom0) MARK create-hvm 3",
            "(dom0) (hvm) MARK userspace 9",
            "(dom0) MARK saving 7",
            "(dom0) MARK restoring 8",
            "(dom0) MARK running 9",
        ];
        let lines = lines.iter().zip(1..);
        let mut run = Run {
            lines: lines.map(|(line, n)| ((*line).to_owned(), f64::from(n * n))).collect(),
            summary: "a\nVM exits\n  3  VMCALL\n  2  HLT\ntranslations\n  1  x\n".to_owned(),
            ..Run::default()
        };
        let found = Figures::new(&run).unwrap();
        let seconds: Vec<f64> = found.seconds.iter().map(|(_, seconds)| *seconds).collect();
        assert_eq!(
            (seconds, found.exits),
            (vec![1.0, 5.0, 9.0, 13.0, 15.0], "  3  VMCALL\n  2  HLT\n".into())
        );
        run.lines.pop();
        assert_eq!(Figures::new(&run), None);
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
