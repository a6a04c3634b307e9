//! A domU that misbehaves is ended alone, with a reason, or nothing comes of it: its neighbour
//! and dom0 go on.

use testsuites::strata;

/// Runs a domU that commits `crime` beside an innocent one. `reason` is in the hypervisor's line
/// about its end; `lives` says that the misdeed itself has no consequence.
#[track_caller]
fn check(crime: &str, reason: &str, lives: bool) {
    let guilty = format!("name=a,append=misbehave={crime}");
    let ended = strata::run(&[
        "host",
        "--dom0",
        "append=watch",
        "--domu",
        &guilty,
        "--domu",
        "name=b,append=misbehave=nothing",
        "--limit-instructions",
        "2000000000",
    ])
    .unwrap();
    assert_eq!(ended.status, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    let hypervisor = ended.console("(hv) ");
    let says = |name: &str, what: &str| {
        hypervisor.iter().any(|line| line.contains(name) && line.contains(what))
    };
    assert!(says("(a)", reason), "{crime}: {hypervisor:#?}");
    assert!(says("(b)", "ended: Poweroff"), "{crime}: {hypervisor:#?}");
    assert_eq!(ended.console("(a) ").iter().any(|line| line == "still here"), lives, "{crime}");
    assert!(ended.console("(b) ").iter().any(|line| line == "still here"), "{crime}");
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
    check("scatter", "ended: Poweroff", true);
    check("beg", "ended: Poweroff", true);
}
