//! Many tests at once: threads that each run one child after the other. What came of them is printed in the order
//! of the tests.

use super::run::{report_file, run as run_one};
use super::{Case, Outcome, Verdict, told};
use crate::limits::Limits;
use crate::status::Failure;
use crate::stop::{self, Stop};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fs;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

/// What the threads share.
struct Shared {
    cases: Vec<Case>,
    limits: Limits,
    stop: Stop,
    /// The next test that nobody has taken yet.
    next: AtomicUsize,
    folder: PathBuf,
    done: Mutex<Sender<(usize, Outcome)>>,
}

/// Runs the tests, `jobs` at once.
pub(super) fn run(
    cases: &[Case],
    limits: &Limits,
    jobs: usize,
    stop: &Stop,
) -> Result<Vec<Outcome>, Failure> {
    let folder = std::env::temp_dir().join(format!("strata-test.{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|error| {
        Failure::usage(
            folder.display(),
            format!("{error}; accepted is a folder for temporary files"),
        )
    })?;
    let ended = run_in(cases, limits, jobs, stop, folder.clone());
    _ = fs::remove_dir_all(folder);
    ended
}

fn run_in(
    cases: &[Case],
    limits: &Limits,
    jobs: usize,
    stop: &Stop,
    folder: PathBuf,
) -> Result<Vec<Outcome>, Failure> {
    let (done, outcomes) = channel();
    let (cases, limits, stop) = (cases.to_vec(), limits.clone(), stop.clone());
    let shared =
        Shared { cases, limits, stop, next: AtomicUsize::new(0), folder, done: Mutex::new(done) };
    let shared = Arc::new(shared);
    for _ in 0..jobs.min(shared.cases.len()) {
        let shared = shared.clone();
        stop::spawn("test", move || work(&shared))?;
    }
    let count = shared.cases.len();
    let bar = progress(count);
    let mut found: Vec<Option<Outcome>> = vec![None; count];
    let mut printed = 0;
    for (n, outcome) in outcomes.iter().take(count) {
        found[n] = Some(outcome);
        bar.inc(1);
        while let Some(Some(outcome)) = found.get(printed) {
            let line = told::line(&shared.cases[printed], outcome, &shared.limits);
            bar.suspend(|| told::print(&line))?;
            printed += 1;
        }
    }
    bar.finish_and_clear();
    Ok(found.into_iter().flatten().collect())
}

/// Takes one test after the other.
fn work(shared: &Shared) {
    loop {
        let n = shared.next.fetch_add(1, Ordering::Relaxed);
        let Some(case) = shared.cases.get(n) else { return };
        let outcome = match shared.stop.asked() {
            None => run_one(case, &shared.limits, &report_file(&shared.folder, n), &shared.stop),
            Some(_) => Outcome {
                verdict: Verdict::Skip,
                reason: "the tests were ended before".into(),
                status: None,
                state: None,
                instructions: 0,
                cpu_seconds: 0.0,
                output: String::new(),
            },
        };
        let Ok(done) = shared.done.lock() else { return };
        if done.send((n, outcome)).is_err() {
            return;
        }
    }
}

/// A bar on standard error, where that is a terminal.
fn progress(count: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(count as u64), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} tests, {elapsed}");
    style.into_iter().for_each(|style| bar.set_style(style));
    bar
}
