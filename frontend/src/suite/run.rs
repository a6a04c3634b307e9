//! One test: a child process of this program, its output, its report, and the verdict.

use super::{Case, Expect, Outcome, Verdict, words};
use crate::limits::Limits;
use crate::stop::Stop;
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// Bytes at the end of the guest's output that are kept.
const KEPT: usize = 64 << 10;
/// Lines of them that are told of a failure.
const LINES: usize = 20;
/// How often it is looked whether a child has ended.
const LOOK: Duration = Duration::from_millis(5);
/// The limit's exit status, and that of a skip by kvm-unit-tests.
const LIMIT: u8 = 124;
const KUT_SKIP: u8 = 77;

/// The words of a test with its limits.
pub(super) fn words(case: &Case, limits: &Limits) -> Vec<OsString> {
    let mut all = case.words.clone();
    let most = limits.limit_instructions.unwrap_or(case.limit);
    let seconds = limits.limit_seconds.map(|seconds| ("--limit-seconds", seconds));
    for (flag, value) in [("--limit-instructions", most)].into_iter().chain(seconds) {
        all.extend([flag.into(), value.to_string().into()]);
    }
    all
}

/// The line by which a shell runs a test alone.
pub(super) fn line(case: &Case, limits: &Limits) -> String {
    let all = words(case, limits);
    let program = std::env::current_exe().unwrap_or_else(|_| "strata".into());
    let line =
        words::quoted([program.as_os_str()].into_iter().chain(all.iter().map(OsString::as_os_str)));
    format!("cd {} && {line}", words::quoted([case.folder.as_os_str()]))
}

/// Runs a test. Its report goes to `report` meanwhile.
pub(super) fn run(case: &Case, limits: &Limits, report: &Path, stop: &Stop) -> Outcome {
    if let Some(why) = &case.skip {
        return Outcome::without_run(Verdict::Skip, why);
    }
    let mut child = match start(case, limits, report) {
        Ok(child) => child,
        Err(error) => return Outcome::without_run(Verdict::Error, &error.to_string()),
    };
    let text = match &case.expect {
        Expect::Status { text, .. } => text.clone(),
        Expect::Kut => None,
    };
    let output = child.stdout.take().map(|pipe| thread::spawn(move || Output::read(pipe, text)));
    let errors = child.stderr.take().map(|pipe| thread::spawn(move || Output::read(pipe, None)));
    let status = wait(&mut child, stop);
    let [output, errors] = [output, errors]
        .map(|reader| reader.and_then(|reader| reader.join().ok()).unwrap_or_default());
    let told = fs::read_to_string(report).ok().and_then(|text| serde_json::from_str(&text).ok());
    _ = fs::remove_file(report);
    outcome(case, status, &output, &errors, &told.unwrap_or(Value::Null))
}

fn start(case: &Case, limits: &Limits, report: &Path) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(words(case, limits)).arg("--report").arg(report).current_dir(&case.folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// The exit status, 128 and the signal's number where a signal has ended the child. Who asks for the end of all
/// tests ends this one.
fn wait(child: &mut Child, stop: &Stop) -> Option<u8> {
    use std::os::unix::process::ExitStatusExt;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                let signal = status.signal().map(|signal| 128 + signal);
                return status.code().or(signal).and_then(|code| u8::try_from(code).ok());
            }
            Ok(None) if stop.asked().is_some() => {
                _ = child.kill();
                _ = child.wait();
                return None;
            }
            Ok(None) => thread::sleep(LOOK),
            Err(_) => return None,
        }
    }
}

/// What came out of a pipe.
#[derive(Debug, Default)]
struct Output {
    /// The last bytes.
    kept: Vec<u8>,
    /// The text that is waited for came.
    found: bool,
}

impl Output {
    fn read(mut pipe: impl Read, text: Option<String>) -> Self {
        let mut output = Self::default();
        let text = text.unwrap_or_default().into_bytes();
        let mut buffer = [0; 16 << 10];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            // A text may stand across two reads.
            let from = output.kept.len().saturating_sub(text.len());
            output.kept.extend(&buffer[..count]);
            output.found |= !text.is_empty()
                && output.kept[from..].windows(text.len()).any(|part| part == text);
            let many = output.kept.len().saturating_sub(KEPT);
            output.kept.drain(..many);
        }
        output
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.kept).replace('\r', "")
    }
}

impl Outcome {
    fn without_run(verdict: Verdict, reason: &str) -> Self {
        Self {
            verdict,
            reason: reason.to_owned(),
            status: None,
            state: None,
            instructions: 0,
            cpu_seconds: 0.0,
            output: String::new(),
        }
    }
}

fn outcome(
    case: &Case,
    status: Option<u8>,
    output: &Output,
    errors: &Output,
    report: &Value,
) -> Outcome {
    let (text, said) = (output.text(), errors.text());
    let (verdict, reason) = match (&case.expect, status) {
        (_, None) => (Verdict::Error, "ended from outside".into()),
        // Their runner leaves out what the emulator does not take.
        (Expect::Kut, Some(_)) if report.is_null() => (Verdict::Skip, last_line(&said)),
        // Bad input, and what the emulator could not do, are no guest's fault.
        (_, Some(_)) if report.is_null() => (Verdict::Error, last_line(&said)),
        (Expect::Kut, Some(status)) => kut(status, &text, &said),
        (Expect::Status { status: wanted, text: wanted_text }, Some(status)) => {
            let ending = report["ending"].as_str().unwrap_or_default();
            match wanted_text {
                _ if status != *wanted => {
                    (Verdict::Fail, format!("exit status {status}, not {wanted}: {ending}"))
                }
                Some(text) if !output.found => {
                    (Verdict::Fail, format!("the guest has not printed {text:?}"))
                }
                _ => (Verdict::Pass, String::new()),
            }
        }
    };
    let lines: Vec<_> = text.lines().collect();
    Outcome {
        verdict,
        reason,
        status,
        state: report["state"].as_str().map(str::to_owned),
        instructions: report["instructions"].as_u64().unwrap_or(0),
        cpu_seconds: report["cpu_seconds"].as_f64().unwrap_or(0.0),
        output: lines[lines.len().saturating_sub(LINES)..].join("\n"),
    }
}

/// The verdict of `scripts/runtime.bash`, and the test's own summary.
fn kut(status: u8, output: &str, errors: &str) -> (Verdict, String) {
    let summary = output.lines().rev().take(5).find_map(|line| line.strip_prefix("SUMMARY: "));
    let summary = summary.unwrap_or_default().to_owned();
    let strange = errors.lines().find(|line| !line.to_lowercase().contains("warning"));
    match (status, strange) {
        (1, None) => (Verdict::Pass, summary),
        (1, Some(line)) => (Verdict::Fail, line.to_owned()),
        (KUT_SKIP, _) => (Verdict::Skip, summary),
        (LIMIT, _) => (Verdict::Fail, "timeout".into()),
        (0, _) => (Verdict::Fail, "no exit status of the test's own".into()),
        (status, _) if summary.is_empty() => (Verdict::Fail, format!("exit status {status}")),
        (_, _) => (Verdict::Fail, summary),
    }
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or("no report").to_owned()
}

/// A file for the report of the `n`-th test.
pub(super) fn report_file(folder: &Path, n: usize) -> PathBuf {
    folder.join(OsStr::new(&format!("{n}.json")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_across_reads() {
        struct Pieces(Vec<&'static [u8]>);
        impl Read for Pieces {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                if self.0.is_empty() {
                    return Ok(0);
                }
                let piece = self.0.remove(0);
                buffer[..piece.len()].copy_from_slice(piece);
                Ok(piece.len())
            }
        }
        let found = |pieces: &[&'static [u8]]| {
            Output::read(Pieces(pieces.to_vec()), Some("end".into())).found
        };
        assert!(found(&[b"the e", b"n", b"d."]) && found(&[b"end"]));
        assert!(!found(&[b"the e", b"nnd"]) && !found(&[]));
        let long = Output::read(&vec![b'x'; 3 * KEPT][..], None);
        assert_eq!(long.kept.len(), KEPT);
    }

    #[test]
    fn verdicts_of_kvm_unit_tests() {
        let check = |status, output: &str, errors: &str, verdict, reason: &str| {
            assert_eq!(kut(status, output, errors), (verdict, reason.to_owned()));
        };
        check(1, "PASS: a\nSUMMARY: 1 tests\n", "", Verdict::Pass, "1 tests");
        check(1, "", "x: warning: y\n", Verdict::Pass, "");
        check(1, "", "bad flag\n", Verdict::Fail, "bad flag");
        check(3, "SUMMARY: 2 tests, 1 failed\n", "", Verdict::Fail, "2 tests, 1 failed");
        check(77, "SUMMARY: 1 tests, 1 skipped\n", "", Verdict::Skip, "1 tests, 1 skipped");
        check(124, "", "", Verdict::Fail, "timeout");
        check(0, "", "", Verdict::Fail, "no exit status of the test's own");
        check(255, "", "", Verdict::Fail, "exit status 255");
    }
}
