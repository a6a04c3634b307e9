//! Whatever a domU does, its neighbours keep their time, and dom0 goes on. What comes of each misdeed is in
//! `hostile/domains.rs`.

use testsuites::outcome::Needed;
use testsuites::strata::{self, Ended};

/// The longest gap of domU b in microseconds, and its part of the processor in percent.
fn measured(ended: &Ended) -> [u64; 2] {
    let lines = ended.console("(b) ");
    let line = lines.iter().find(|line| line.starts_with("longest gap")).expect("the measure");
    let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
    numbers.try_into().expect("two numbers")
}

/// Runs a domU with `options` that commits `violation` beside one that always runs, and measures: no gap
/// is longer than two slices of 5 ms, and it has its half of the processor, within a tenth.
#[track_caller]
fn check_time(violation: &str, options: &str) {
    let violator = format!("name=a,{options},append=violate={violation}");
    let limit = ["--limit-instructions", "2000000000"];
    let words = ["host", "--dom0", "append=watch", "--domu", &violator, "--domu"];
    let measure = ["name=b,append=violate=measure"];
    let ended = strata::run(&[&words[..], &measure, &limit].concat()).needed("strata");
    assert_eq!(ended.status, Some(0), "{violation}: {}\n{}", ended.stdout, ended.stderr);
    let [longest, part] = measured(&ended);
    assert!(longest <= 10_000 && part >= 45, "{violation}: {longest} us, {part} %");
    assert!(ended.console("(a) ").iter().any(|line| line == "still here"), "{violation}");
}

#[test]
fn a_neighbour_keeps_its_time() {
    check_time("multicalls", "vcpus=1");
    check_time("crowd", "vcpus=16");
}

/// The deadline of a poll once stayed behind its vCPU, and the hypervisor never ran anybody again.
#[test]
fn a_poll_ends_with_its_processor() {
    check_time("init-poller", "vcpus=2");
    check_time("down-poller", "vcpus=2");
}

/// A domU that offers an exchange and grants nothing: dom0 gives it up, and serves the other.
#[test]
fn dom0_outlives_bad_partners() {
    let words = ["host", "--domu", "name=a,append=violate=offer-nothing", "--domu", "name=b"];
    let limit = ["--limit-instructions", "2000000000"];
    let ended = strata::run(&[&words[..], &limit].concat()).needed("strata");
    assert_eq!(ended.status, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    let dom0 = ended.console("(dom0) ");
    for says in ["domain 1: exchange given up", "domain 2: grant unmapped", "all domUs have ended"]
    {
        assert!(dom0.iter().any(|line| line.starts_with(says)), "{says}: {dom0:#?}");
    }
    assert!(ended.console("(a) ").iter().any(|line| line == "still here"));
    assert!(ended.console("(b) ").iter().any(|line| line == "dom0 said goodbye"));
}

/// A large domU is destroyed while another runs, whose gaps stay short.
#[test]
fn a_destruction_takes_turns() {
    let words =
        ["host", "--dom0", "append=bury", "--domu", "name=a,memory=1G,append=violate=nothing"];
    let domu = ["--domu", "name=b,append=violate=measure", "--limit-instructions", "2000000000"];
    let ended = strata::run(&[&words[..], &domu].concat()).needed("strata");
    assert_eq!(ended.status, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    let [longest, _] = measured(&ended);
    assert!((1_000..=10_000).contains(&longest), "{longest} us");
    let dom0 = ended.console("(dom0) ");
    assert!(dom0.iter().any(|line| line == "all domUs are destroyed"), "{dom0:#?}");
}

/// With `--until-domus-end` the run goes on without dom0.
#[test]
fn domus_outlive_dom0() {
    let words = ["host", "--until-domus-end", "--dom0", "append=leave"];
    let domu = ["--domu", "name=b,append=violate=measure", "--limit-instructions", "2000000000"];
    let ended = strata::run(&[words, domu].concat()).needed("strata");
    assert_eq!(ended.status, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    let hypervisor = ended.console("(hv) ");
    let line = |what: &str| hypervisor.iter().position(|line| line.contains(what));
    assert!(line("(dom0) ended: Poweroff") < line("(b) ended: Poweroff"), "{hypervisor:#?}");
    assert!(line("the last domU has ended").is_some(), "{hypervisor:#?}");
}

/// Whatever a domain prints, by COM1 or by `console_io`, is on lines that begin with its name, and
/// moves no cursor.
#[test]
fn no_domain_prints_as_the_hypervisor() {
    let words = ["host", "--dom0", "append=watch", "--domu", "name=a,append=violate=forge"];
    let ended = strata::run(&[&words[..], &["--limit-instructions", "2000000000"]].concat())
        .needed("strata");
    assert_eq!(ended.status, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    let lines = ended.console("(a) ");
    for line in ["\\x1b[2K\\x1b[1G(hv) forged", "(hv) forged", "\\x9b1G(hv) forged"] {
        assert_eq!(lines.iter().filter(|found| *found == line).count(), 2, "{line}: {lines:#?}");
    }
    let moves = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    assert!(!ended.stdout.contains(moves), "{:?}", ended.stdout);
}
