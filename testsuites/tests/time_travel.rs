//! Runs that are recorded are replayed with the same console and the same states, and every snapshot on the way goes
//! on to the same end.

use std::fs;
use std::path::{Path, PathBuf};
use testsuites::guests;
use testsuites::outcome::Needed;
use testsuites::strata::{self, Ended};

/// A directory of this name for a recording, which is not there yet.
fn directory(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("recorded-{name}"));
    _ = fs::remove_dir_all(&path);
    path
}

/// Runs `strata words`, which must end with `status`.
#[track_caller]
fn run(words: &[&str], status: i32) -> Ended {
    let ended = strata::run(words).needed("strata");
    assert_eq!(ended.status, Some(status), "{words:?}: {}", ended.stderr);
    ended
}

/// What is recorded, and how.
struct Case<'a> {
    name: &'a str,
    words: &'a [&'a str],
    /// The most instructions.
    limit: &'a str,
    /// The exit status.
    status: i32,
    /// Instructions between two snapshots.
    every: &'a str,
    /// Goes on from each so manieth snapshot after the start.
    step: usize,
}

/// The snapshots of a recording, in order.
fn snapshots(recording: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(recording).unwrap().map(|file| file.unwrap().path());
    let mut all: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|e| e == "snapshot")).collect();
    all.sort();
    all
}

impl Case<'_> {
    /// Records, replays and verifies, with at least `least` snapshots, and goes on from some.
    #[track_caller]
    fn check(&self, least: usize) {
        let limit = ["--limit-instructions", self.limit];
        let words = [self.words, &limit].concat();
        let plain = run(&words, self.status);
        let path = directory(self.name);
        let path = path.to_str().unwrap();
        let options = ["--hash-every", self.every, "--snapshot-every", self.every, "--"];
        let recorded = run(&[&["record", "-o", path], &options[..], &words].concat(), self.status);
        assert_eq!(recorded.stdout, plain.stdout, "a recording changes nothing");
        assert_eq!(recorded.state().unwrap(), plain.state().unwrap());
        let replayed = run(&["replay", path, "--accel", "interpreter,block=7"], 0);
        assert_eq!(replayed.stdout, plain.stdout);
        assert_eq!(replayed.state().unwrap(), plain.state().unwrap());
        let verified = run(&["replay", path, "--verify", "--jobs", "2"], 0);
        let all = snapshots(Path::new(path));
        assert_eq!(verified.stdout, format!("{} parts are as recorded\n", all.len()));
        assert!(all.len() >= least, "{} snapshots", all.len());
        for snapshot in all.iter().skip(1).step_by(self.step) {
            let words = [&["restore", snapshot.to_str().unwrap()], &limit[..]].concat();
            let ended = run(&words, self.status);
            assert!(plain.stdout.ends_with(&ended.stdout), "{}", snapshot.display());
            assert_eq!(ended.state().unwrap(), plain.state().unwrap(), "{}", snapshot.display());
        }
        fs::remove_dir_all(path).unwrap();
    }
}

/// The hypervisor and its guests: most snapshots are made while a domU runs.
#[test]
fn main_job() {
    let (limit, every) = ("2000000000", "3000000");
    Case { name: "main-job", words: &[], limit, status: 0, every, step: 1 }.check(10);
}

/// What is typed at Linux before the second snapshot.
const TYPED: &str = "100000000 com1 \"early\\r\"\n150000000 com1 break\n190000000 com1 \"again\"\n";

/// Linux on two processors, at which somebody types, up to userspace.
#[test]
fn linux() {
    let guest = guests::linux().needed("the Linux guest");
    let (kernel, initrd) = (guest.vmlinuz(), guest.initrd());
    let typed = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("recorded-typed");
    fs::write(&typed, TYPED).unwrap();
    let [kernel, initrd, typed] =
        [&kernel, &initrd, &typed].map(|path| path.to_str().unwrap().to_owned());
    let words = ["run", "-m", "512", "-smp", "2", "-no-reboot", "-kernel", &kernel, "-initrd"];
    let more = [&initrd, "-append", "console=ttyS0 panic=-1", "--input", &typed];
    let (limit, every) = ("1200000000", "200000000");
    let words = [&words[..], &more].concat();
    Case { name: "linux", words: &words, limit, status: 124, every, step: 2 }.check(3);
}
