//! The main job: the bundled hypervisor, its dom0 and two domUs, without a download.

use testsuites::outcome::Needed;
use testsuites::strata::{self, Ended};

/// The job takes some ten million instructions; a hanging one ends with a status of its own.
const LIMIT: &str = "2000000000";

fn run() -> Ended {
    let ended = strata::run(&["--limit-instructions", LIMIT]).needed("strata");
    assert_eq!(ended.status, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    ended
}

/// The number after `name` at the start of a line of the summary, or before the name.
fn count(summary: &str, name: &str) -> u64 {
    let line = summary.lines().find(|line| line.split_whitespace().any(|word| word == name));
    let words = line.unwrap_or_default().split_whitespace();
    words.filter_map(|word| word.parse().ok()).next().unwrap_or(0)
}

#[test]
fn everyone_works_and_it_repeats() {
    let [first, second] = [run(), run()];
    for (console, says) in [
        ("(hv) ", "Strata hypervisor"),
        ("(dom0) ", "domain 2: "),
        ("(dom0) ", "mapped and copied"),
        ("(dom0) ", "the answer is right"),
        ("(dom0) ", "paused, stood still, resumed"),
        ("(dom0) ", "all domUs have ended"),
        ("(a) ", "41538 primes below 500000"),
        ("(b) ", "41538 primes below 500000"),
    ] {
        let lines = first.console(console);
        assert!(lines.iter().any(|line| line.contains(says)), "{console}{says}: {lines:#?}");
    }
    for name in ["hypervisor", "dom0", "a", "b", "VMCALL", "I/O"] {
        assert!(count(&first.stderr, name) > 0, "{name} in\n{}", first.stderr);
    }
    assert_eq!(first.stdout, second.stdout);
    assert_eq!(first.state().unwrap(), second.state().unwrap());
}
