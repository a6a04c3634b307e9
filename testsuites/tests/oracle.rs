//! A slice of the oracle: single instructions on the host's processor and on ours.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use testsuites::oracle::campaign::Plan;
use testsuites::oracle::compare::compare;
use testsuites::oracle::host::missing;
use testsuites::oracle::silicon::Silicon;
use testsuites::outcome::skip;

#[test]
fn slice() {
    if let Some(why) = missing() {
        return skip("avx2", why);
    }
    let plan = Plan { seed: 1, cases: 200_000, wild: 16, ..Plan::everything() };
    let report = plan.run(|_, _| ()).expect("a host child");
    let text = |d: &testsuites::oracle::campaign::Difference| {
        compare(&d.case, Silicon::host(), &d.host, &d.ours).join("\n")
    };
    let some: Vec<String> = report.differences.iter().take(20).map(text).collect();
    assert!(report.failed.is_empty(), "{} forms differ:\n{}", report.failed.len(), some.join("\n"));
    assert!(report.run > 180_000, "only {} cases", report.run);
}

/// A handler that is wrong is found.
#[test]
fn a_broken_handler() {
    if let Some(why) = missing() {
        return skip("avx2", why);
    }
    let broken = Some("Adc_".to_string());
    let plan = Plan { seed: 1, cases: 40_000, broken, ..Plan::everything() };
    let report = plan.run(|_, _| ()).expect("a host child");
    assert!(report.failed.keys().any(|(_, code)| format!("{code:?}").starts_with("Adc_")));
}
