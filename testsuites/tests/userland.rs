//! Debian's programs print in the guest what the same bytes print on the host's processor.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use testsuites::guests::userland::{self, Set};
use testsuites::oracle::host::missing;
use testsuites::outcome::{Needed, skip};
use testsuites::strata;

/// Far above what a boot and the checks take.
const LIMIT: &str = "100000000000";

/// The lines between `MARK userland` and `MARK done`.
fn printed(console: &[String]) -> Option<&[String]> {
    let at = |mark: &str| console.iter().position(|line| line == mark);
    console.get(at("MARK userland")? + 1..at("MARK done")?)
}

/// Runs `set` on the processor `model` and on the host.
#[track_caller]
fn check(model: &str, set: Set) {
    let guest = userland::userland().needed("the guest");
    let [kernel, initrd] =
        [guest.vmlinuz(), guest.initrd()].map(|p| p.to_str().unwrap().to_owned());
    let append = format!("console=ttyS0 panic=-1 quiet loglevel=1 set={}", set.word());
    let mut words = vec!["run", "-m", "512", "-cpu", model, "-kernel", &kernel, "-initrd", &initrd];
    words.extend(["-append", &append, "-serial", "stdio", "-display", "none", "-no-reboot"]);
    words.extend(["--limit-instructions", LIMIT]);
    let run = strata::run(&words).needed("strata");
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    let console = run.console("");
    let found = printed(&console).unwrap_or_else(|| panic!("{}", run.stdout));
    let expected = guest.expected(set).needed("the host's output");
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
    assert!(expected.len() > 1000, "only {} lines", expected.len());
}

#[test]
fn as_on_the_host() {
    match missing() {
        None => check("v3", Set::Quick),
        Some(why) => skip("avx2", why),
    }
}
