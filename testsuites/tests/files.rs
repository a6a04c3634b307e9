//! The fuzz targets of snapshots and recordings as tests: some hundred inputs, of a few changes to what is right.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::cell::Cell;
use testsuites::fuzz::files;

/// Runs `case` with the same inputs in every run; a failing one is made smaller and shown.
fn check(cases: u32, inputs: impl Strategy<Value = Vec<u8>>, case: impl Fn(&[u8])) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let run = |bytes: Vec<u8>| {
        case(&bytes);
        Ok(())
    };
    if let Err(error) = TestRunner::new_with_rng(config, rng).run(&inputs, run) {
        panic!("{error}");
    }
}

/// What to do, and up to `most` changes.
fn changes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    let edit = prop::array::uniform4(any::<u8>());
    let edits = prop::collection::vec(edit, 0..most);
    (any::<u8>(), edits).prop_map(|(kind, edits)| [&[kind], edits.as_flattened()].concat())
}

#[test]
fn snapshots() {
    let loaded = Cell::new(0);
    check(1000, changes(4), |bytes| {
        loaded.set(loaded.get() + u32::from(files::snapshot(bytes)));
    });
    assert!((100..900).contains(&loaded.get()), "{} load", loaded.get());
}

#[test]
fn recordings() {
    check(3000, prop::collection::vec(any::<u8>(), 0..60), |bytes| _ = files::recording(bytes));
}

/// `FUZZ_INPUT=file cargo test -p testsuites --test files -- --ignored` runs one input of the target `snapshot`.
#[test]
#[ignore = "runs the input that the environment names"]
fn one_snapshot() {
    let name = std::env::var_os("FUZZ_INPUT").expect("FUZZ_INPUT names a file");
    files::snapshot(&std::fs::read(name).unwrap());
}
