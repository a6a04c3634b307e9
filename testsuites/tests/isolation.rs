//! A domU that breaks the rules is ended alone, with a reason, or nothing comes of it: its neighbour
//! and dom0 go on.

use testsuites::outcome::Needed;
use testsuites::strata;

/// Runs a domU that commits `violation` beside one that does nothing wrong. `reason` is in the hypervisor's line
/// about its end; `lives` says that the violation itself has no consequence.
#[track_caller]
fn check(violation: &str, reason: &str, lives: bool) {
    let violator = format!("name=a,append=violate={violation}");
    let ended = strata::run(&[
        "host",
        "--dom0",
        "append=watch",
        "--domu",
        &violator,
        "--domu",
        "name=b,append=violate=nothing",
        "--limit-instructions",
        "2000000000",
    ])
    .needed("strata");
    assert_eq!(ended.status, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    let hypervisor = ended.console("(hv) ");
    let says = |name: &str, what: &str| {
        hypervisor.iter().any(|line| line.contains(name) && line.contains(what))
    };
    assert!(says("(a)", reason), "{violation}: {hypervisor:#?}");
    assert!(says("(b)", "ended: Poweroff"), "{violation}: {hypervisor:#?}");
    assert_eq!(ended.console("(a) ").iter().any(|line| line == "still here"), lives, "{violation}");
    assert!(ended.console("(b) ").iter().any(|line| line == "still here"), "{violation}");
    assert!(ended.console("(dom0) ").iter().any(|line| line == "all domUs have ended"));
}

#[test]
fn what_cannot_go_on_ends_with_a_reason() {
    check("triple-fault", "killed: vCPU 0: triple fault", false);
    check("read-msr", "killed: vCPU 0: triple fault", false);
    check("jump-away", "killed: vCPU 0: instruction fetch at guest-physical 0x7fff0000", false);
}

#[test]
fn what_harms_nobody_goes_on() {
    check("real-mode", "ended: Poweroff", false);
    check("read-nothing", "ended: Poweroff", true);
    check("power-off", "ended: Poweroff", true);
}

#[test]
fn what_is_not_allowed_is_refused() {
    check("exhaust-tables", "ended: Poweroff", true);
    check("privileged-calls", "ended: Poweroff", true);
}
