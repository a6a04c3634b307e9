//! Runs that are recorded are replayed with the same console and the same states, and every snapshot on the way goes
//! on to the same end.

use std::fs;
use std::path::{Path, PathBuf};
use testsuites::guests;
use testsuites::outcome::Needed;
use testsuites::strata::{self, Ended};

/// Far above what the runs take: a hanging guest ends with a status of its own.
const LIMIT: [&str; 2] = ["--limit-instructions", "40000000000"];

/// A directory of this name for a recording, which is not there yet.
fn directory(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    _ = fs::remove_dir_all(&path);
    path
}

/// Runs `strata words`, which must end with status 0.
#[track_caller]
fn run(words: &[&str]) -> Ended {
    let ended = strata::run(words).needed("strata");
    assert_eq!(ended.status, Some(0), "{words:?}: {}", ended.stderr);
    ended
}

/// The snapshots of a recording, in order.
fn snapshots(recording: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(recording).unwrap().map(|file| file.unwrap().path());
    let mut all: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|e| e == "snapshot")).collect();
    all.sort();
    all
}

/// Records `words` with at least `least` snapshots, `every` so many instructions, replays and verifies the recording,
/// and goes on from each `step`th snapshot after the start.
#[track_caller]
fn check(name: &str, words: &[&str], every: &str, least: usize, step: usize) {
    let plain = run(words);
    let path = directory(name);
    let path = path.to_str().unwrap();
    let options = ["record", "-o", path, "--hash-every", every, "--snapshot-every", every, "--"];
    let recorded = run(&[&options[..], words].concat());
    assert_eq!(recorded.stdout, plain.stdout, "a recording changes nothing");
    assert_eq!(recorded.state().unwrap(), plain.state().unwrap());
    let replayed = run(&["replay", path, "--accel", "interpreter,block=7"]);
    assert_eq!(replayed.stdout, plain.stdout);
    assert_eq!(replayed.state().unwrap(), plain.state().unwrap());
    let verified = run(&["replay", path, "--verify", "--jobs", "2"]);
    let all = snapshots(Path::new(path));
    assert_eq!(verified.stdout, format!("{} parts are as recorded\n", all.len()));
    assert!(all.len() >= least, "{} snapshots", all.len());
    for snapshot in all.iter().skip(1).step_by(step) {
        let ended = run(&[&["restore", snapshot.to_str().unwrap()], &LIMIT[..]].concat());
        assert!(plain.stdout.ends_with(&ended.stdout), "{}", snapshot.display());
        assert_eq!(ended.state().unwrap(), plain.state().unwrap(), "{}", snapshot.display());
    }
    fs::remove_dir_all(path).unwrap();
}

/// The hypervisor and its guests: most snapshots are made while a domU runs.
#[test]
fn main_job() {
    check("main-job", &["host", "--until-domus-end", LIMIT[0], LIMIT[1]], "2500000", 10, 1);
}

/// What is typed at Linux before the second snapshot.
const TYPED: &str = "100000000 com1 \"early\\r\"\n150000000 com1 break\n200000000 com1 \"again\"\n";

/// Linux on two processors, at which somebody types.
#[test]
fn linux() {
    let guest = guests::linux().needed("the Linux guest");
    let (kernel, initrd) = (guest.vmlinuz(), guest.initrd());
    let typed = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("typed");
    fs::write(&typed, TYPED).unwrap();
    let words = ["run", "-m", "512", "-smp", "2", "-kernel", kernel.to_str().unwrap(), "-initrd"];
    let more = ["-append", "console=ttyS0 panic=-1", "-no-reboot", "--input"];
    let words =
        [&words[..], &[initrd.to_str().unwrap()], &more, &[typed.to_str().unwrap()], &LIMIT];
    check("linux", &words.concat(), "300000000", 5, 3);
}
