//! What is told of tests: a line of each, and files in the forms that other programs read.

use super::{Case, Outcome, Test, Verdict, run};
use crate::limits::Limits;
use crate::status::{Failure, one_line};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde_json::json;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Prints `text` on standard output.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    printed.map_err(|error| Failure::output("standard output", &error))
}

/// A test's line. Below a failure the end of the output, and the command that runs the test alone.
pub(super) fn line(case: &Case, outcome: &Outcome, limits: &Limits) -> String {
    let Outcome { verdict, reason, state, instructions, .. } = outcome;
    let mut line = format!("{:<5} {}", verdict.word(), case.name);
    if !reason.is_empty() {
        line += &format!(" ({})", one_line(reason));
    }
    if let Some(state) = state {
        line +=
            &format!(": {instructions} instructions, state {}", state.get(..16).unwrap_or(state));
    }
    line.push('\n');
    if matches!(verdict, Verdict::Fail | Verdict::Error) {
        for output in outcome.output.lines() {
            line += &format!("      | {}\n", one_line(output));
        }
        line += &format!("      $ {}\n", run::line(case, limits));
    }
    line
}

/// How many of each verdict there are.
pub(super) fn sums(all: &[(Case, Outcome)]) -> String {
    let count = |verdict: Verdict| all.iter().filter(|(_, o)| o.verdict == verdict).count();
    let [pass, fail, error, skip] =
        [Verdict::Pass, Verdict::Fail, Verdict::Error, Verdict::Skip].map(count);
    format!("{} tests: {pass} passed, {fail} failed, {error} errors, {skip} skipped\n", all.len())
}

/// The files that were asked for, which are there before the first test runs.
pub(super) struct Files(Vec<(File, String, Form)>);

/// What is written of all tests.
type Form = fn(&[(Case, Outcome)]) -> String;

impl Files {
    /// Creates the files.
    pub(super) fn create(asked: &Test) -> Result<Self, Failure> {
        let rows: [(&str, &Option<PathBuf>, Form); 3] = [
            ("--junit", &asked.junit, junit),
            ("--tap", &asked.tap, tap),
            ("--json", &asked.json, json),
        ];
        let mut files = Vec::new();
        for (flag, path, form) in rows {
            let Some(path) = path else { continue };
            files.push((create(flag, path)?, format!("{flag} {}", path.display()), form));
        }
        Ok(Self(files))
    }

    /// Writes all files.
    pub(super) fn write(self, all: &[(Case, Outcome)]) -> Result<(), Failure> {
        for (mut file, what, form) in self.0 {
            let written = file.write_all(form(all).as_bytes());
            written.map_err(|error| Failure::emulator(format_args!("{what}: {error}")))?;
        }
        Ok(())
    }
}

fn create(flag: &str, path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|error| {
        let what = format!("{flag} {}", path.display());
        Failure::usage(what, format!("{error}; accepted is a file that can be written"))
    })
}

/// JUnit's XML.
fn junit(all: &[(Case, Outcome)]) -> String {
    let mut suite = TestSuite::new("strata test");
    for (case, outcome) in all {
        let mut status = match outcome.verdict {
            Verdict::Pass => TestCaseStatus::success(),
            Verdict::Skip => TestCaseStatus::skipped(),
            Verdict::Fail => TestCaseStatus::non_success(NonSuccessKind::Failure),
            Verdict::Error => TestCaseStatus::non_success(NonSuccessKind::Error),
        };
        if outcome.verdict != Verdict::Pass {
            status.set_message(one_line(&outcome.reason));
        }
        let mut test = TestCase::new(case.name.as_str(), status);
        test.set_time(Duration::try_from_secs_f64(outcome.cpu_seconds).unwrap_or_default());
        test.set_system_out(outcome.output.as_str());
        test.set_classname("strata");
        // Schemas have properties of suites, none of tests.
        if let Some(state) = &outcome.state {
            let name = |what: &str| format!("{}: {what}", case.name);
            suite.add_property((name("state"), state.clone()));
            suite.add_property((name("instructions"), outcome.instructions.to_string()));
        }
        suite.add_test_case(test);
    }
    let seconds = all.iter().map(|(_, outcome)| outcome.cpu_seconds).sum();
    suite.set_time(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    let mut report = Report::new("strata");
    report.add_test_suite(suite);
    // Nor do they have `skipped` of all suites, which the crate writes first.
    let skipped = format!(" skipped=\"{}\"", report.skipped);
    report.to_string().unwrap_or_default().replacen(&skipped, "", 1)
}

/// The Test Anything Protocol, version 13.
fn tap(all: &[(Case, Outcome)]) -> String {
    let mut text = format!("TAP version 13\n1..{}\n", all.len());
    for (n, (case, outcome)) in all.iter().enumerate() {
        let good = matches!(outcome.verdict, Verdict::Pass | Verdict::Skip);
        let (ok, name) = (if good { "ok" } else { "not ok" }, case.name.replace('#', "\\#"));
        let reason = one_line(&outcome.reason);
        let skip = if outcome.verdict == Verdict::Skip {
            format!(" # SKIP {reason}")
        } else {
            String::new()
        };
        text += &format!("{ok} {} - {name}{skip}\n", n + 1);
        if let Some(state) = &outcome.state {
            let Outcome { instructions, cpu_seconds, .. } = outcome;
            text += &format!(
                "  ---\n  message: {}\n  state: {state}\n  instructions: {instructions}\n  cpu_seconds: {cpu_seconds:.3}\n  ...\n",
                json!(reason)
            );
        }
    }
    text
}

fn json(all: &[(Case, Outcome)]) -> String {
    let test = |(case, outcome): &(Case, Outcome)| {
        json!({
            "name": case.name,
            "verdict": outcome.verdict.word().to_lowercase(),
            "reason": outcome.reason,
            "status": outcome.status,
            "state": outcome.state,
            "instructions": outcome.instructions,
            "cpu_seconds": outcome.cpu_seconds,
            "command": run::line(case, &Limits::default()),
            "output": outcome.output,
        })
    };
    format!("{:#}\n", json!({"version": 1, "tests": all.iter().map(test).collect::<Vec<_>>()}))
}

#[cfg(test)]
mod tests {
    use super::super::Expect;
    use super::*;

    fn all() -> Vec<(Case, Outcome)> {
        let verdicts = [Verdict::Pass, Verdict::Skip, Verdict::Fail, Verdict::Error];
        let one = |verdict: Verdict| {
            let case = Case {
                name: format!("a<{}> #1", verdict.word()),
                groups: Vec::new(),
                words: vec!["run".into(), "-kernel".into(), "k k".into()],
                folder: "/f".into(),
                limit: 7,
                expect: Expect::Kut,
                skip: None,
                by_hand: false,
            };
            let outcome = Outcome {
                verdict,
                reason: "because\nof \"that\"".into(),
                status: Some(3),
                state: (verdict != Verdict::Skip).then(|| "ab".repeat(32)),
                instructions: 12,
                cpu_seconds: 1.5,
                output: "one\n\u{1b}[1mtwo".into(),
            };
            (case, outcome)
        };
        verdicts.map(one).to_vec()
    }

    #[test]
    fn taps() {
        let tap = tap(&all());
        let lines: Vec<_> = tap.lines().filter(|line| !line.starts_with("  ")).collect();
        assert_eq!(
            lines,
            [
                "TAP version 13",
                "1..4",
                "ok 1 - a<PASS> \\#1",
                "ok 2 - a<SKIP> \\#1 # SKIP because of \"that\"",
                "not ok 3 - a<FAIL> \\#1",
                "not ok 4 - a<ERROR> \\#1"
            ]
        );
        assert!(tap.contains("  message: \"because of \\\"that\\\"\"\n  state: abab"), "{tap}");
    }

    #[test]
    fn junits() {
        let xml = junit(&all());
        for part in [
            "<testsuites name=\"strata\" tests=\"4\" failures=\"1\" errors=\"1\">",
            "<testsuite name=\"strata test\" tests=\"4\" skipped=\"1\" errors=\"1\" failures=\"1\" time=\"6.000\">",
            "<testcase name=\"a&lt;PASS&gt; #1\" classname=\"strata\" time=\"1.500\">",
            "<skipped message=\"because of &quot;that&quot;\"",
            "<failure message=",
            "<error message=",
            "<property name=\"a&lt;PASS&gt; #1: state\" value=\"abab",
        ] {
            assert!(xml.contains(part), "{xml} lacks {part}");
        }
        assert!(!xml.contains('\u{1b}'));
    }

    #[test]
    fn lines() {
        let all = all();
        let text = |n: usize| line(&all[n].0, &all[n].1, &Limits::default());
        assert_eq!(
            text(0),
            "PASS  a<PASS> #1 (because of \"that\"): 12 instructions, state abababababababab\n"
        );
        assert_eq!(text(1), "SKIP  a<SKIP> #1 (because of \"that\")\n");
        let failed = text(2);
        assert!(
            failed.contains("      | one\n      | \\u{1b}[1mtwo\n      $ cd /f && "),
            "{failed}"
        );
        assert!(failed.ends_with(" run -kernel 'k k' --limit-instructions 7\n"), "{failed}");
        assert_eq!(sums(&all), "4 tests: 1 passed, 1 failed, 1 errors, 1 skipped\n");
    }
}
