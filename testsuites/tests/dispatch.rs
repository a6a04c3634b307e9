//! How operations hand over to one another, and how decoded code is cut, fused and kept, leaves no trace: every
//! way ends in the same state, behind the same output.

use std::path::{Path, PathBuf};
use testsuites::guests;
use testsuites::outcome::Needed;
use testsuites::strata;

/// Far above what the guests take: a hanging one ends with a status of its own.
const LIMIT: &str = "40000000000";

/// The command that hands over in a loop, as debug builds do, but optimised.
fn looped() -> PathBuf {
    strata::build(&["-p", "cpu", "--features", "cpu/loop-dispatch"], "loop-dispatch")
        .needed("strata")
}

/// `words` end in one state and one output: by the usual command, by the one with the loop, and with each of
/// `accel`.
#[track_caller]
fn check(words: &[&str], accel: &[&str]) {
    let threaded = strata::command().needed("strata");
    let end = |program: &Path, accel: &str| {
        let accel = format!("interpreter{accel}");
        let more = ["-accel", &accel, "--limit-instructions", LIMIT];
        let ended = strata::run_by(program, &[words, &more].concat()).needed("strata");
        assert_eq!(ended.status, Some(0), "{accel}: {}\n{}", ended.stdout, ended.stderr);
        (ended.state().unwrap().to_owned(), ended.stdout)
    };
    let usual = end(&threaded, "");
    assert!(end(&looped(), "") == usual, "the loop ends otherwise");
    for accel in accel {
        assert!(end(&threaded, accel) == usual, "{accel} ends otherwise");
    }
}

#[test]
fn main_job() {
    let cut =
        [",fuse=off", ",block=1", ",block=3", ",cache=200", ",cache=200,block=1", ",cache=5000"];
    check(&["host", "--domu", "name=a", "--until-domus-end"], &cut);
}

/// A cache of few operations would take Linux hours.
#[test]
fn linux() {
    let guest = guests::linux().needed("the Linux guest");
    let [kernel, initrd] = [guest.vmlinuz(), guest.initrd()].map(|f| f.display().to_string());
    let words = ["run", "-m", "512", "-kernel", &kernel, "-initrd", &initrd, "-serial", "stdio"];
    let more = ["-append", "console=ttyS0 panic=-1", "-display", "none", "-no-reboot"];
    check(&[&words[..], &more].concat(), &[",fuse=off", ",block=1", ",cache=20000"]);
}
