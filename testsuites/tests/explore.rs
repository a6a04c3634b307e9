//! A fault that was planted in a test build of the hypervisor is found by `strata explore`, and shrunk to its cause.
//!
//! The fault: how far a list of a memory operation has come when its caller's slice ends is kept once for all callers.
//! So it shows only if two domains' slices end in their lists, one after the other, at different elements.

use std::fs;
use std::path::{Path, PathBuf};
use testsuites::outcome::Needed;
use testsuites::strata::{self, Ended};

/// Where two domUs that give pages back and take them again have begun to do so, under a hypervisor.
fn begin(hypervisor: &Path, name: &str) -> PathBuf {
    let file = place(&format!("{name}.snapshot"));
    let domu = |name: &str| format!("name={name},memory=80M,append=violate=lists");
    let (a, b, path) = (domu("a"), domu("b"), file.to_str().unwrap());
    let words = ["host", "--hypervisor", hypervisor.to_str().unwrap(), "--dom0", "append=watch"];
    let more = ["--domu", &a, "--domu", &b, "--limit-instructions", "60000000"];
    let keep = ["--snapshot", path, "--snapshot-at", "(b) domU violate=lists: at work"];
    strata::run(&[&words[..], &more, &keep].concat()).needed("strata");
    assert!(file.exists());
    file
}

/// A place of this name where nothing is.
fn place(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("explored-{name}"));
    _ = fs::remove_dir_all(&path);
    _ = fs::remove_file(&path);
    path
}

/// Explores from `snapshot`.
fn explore(snapshot: &Path, name: &str, seeds: &str) -> (PathBuf, Ended) {
    let to = place(name);
    let words = ["explore", "-o", to.to_str().unwrap(), "--seeds", seeds, "--jobs", "2"];
    let until = ["--until", "text:killed", "--until", "text:PANIC", "--budget", "40000000"];
    let from = [snapshot.to_str().unwrap()];
    let ended = strata::run(&[&words[..], &until, &from].concat()).needed("strata");
    (to, ended)
}

#[test]
fn a_state_that_is_used_across_a_preemption() {
    let planted = strata::planted_hypervisor().needed("the planted hypervisor");
    let (to, ended) = explore(&begin(&planted, "planted"), "found", "1000");
    assert_eq!(ended.status, Some(8), "{}\n{}", ended.stdout, ended.stderr);
    let first = ended.stdout.lines().next().unwrap();
    assert!(!first.contains(", by 0 of "), "nothing happens without perturbations: {first}");
    let future = first.rsplit(' ').next().unwrap();
    let replayed = strata::run(&["replay", future]).needed("strata");
    assert_eq!(replayed.status, Some(0), "{}", replayed.stderr);
    let condition = if first.contains("text:killed") { "killed" } else { "PANIC" };
    assert!(replayed.stdout.contains(condition), "{}", replayed.stdout);
    fs::remove_dir_all(to).unwrap();
}

/// The same futures of the hypervisor as it is.
#[test]
fn nothing_is_found_in_the_hypervisor_as_it_is() {
    let checked = strata::checked_hypervisor().needed("the hypervisor");
    let (to, ended) = explore(&begin(&checked, "checked"), "none", "100");
    assert_eq!(ended.status, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    fs::remove_dir_all(to).unwrap();
}
