//! Some hundred inputs of the fuzz target, the same in every run, and what it has found.

use super::world::{HOSTILE, LARGE, World};
use super::{count, run};
use crate::xen::abi::{Errno, nr::mem};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

/// A page whose old place has no table to become a hole in stays where it is. It once stood in both
/// places with one reference, and was another domain's as soon as one of them was given back.
#[test]
fn a_page_moves_or_stays() {
    let mut results = Vec::new();
    for tables in 250..258 {
        let mut world = World::new(tables);
        let (from, to) = (LARGE + 5, 300 << 9);
        results.push(world.place(HOSTILE[0], mem::SPACE_GMFN, from, to));
        count::check(&mut world);
    }
    let expected = [0, Errno::NoMem.result()];
    results.dedup();
    assert_eq!(results, expected);
}

/// Inputs of the test; the fuzz target runs many more.
const CASES: u32 = 300;

/// Bytes of an input at most.
const LENGTH: usize = 700;

/// A failing input is made smaller and shown.
#[test]
fn hostile_hypercalls() {
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let input = proptest::collection::vec(any::<u8>(), 0..LENGTH);
    let case = |bytes: Vec<u8>| {
        run(&bytes);
        Ok(())
    };
    match runner.run(&input, case) {
        Ok(()) => {}
        Err(TestError::Fail(why, bytes)) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            panic!("{hex}: {why}");
        }
        Err(other) => panic!("{other}"),
    }
}
