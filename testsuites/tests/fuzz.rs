//! The fuzz target as a test: some thousand inputs, of code that decodes more often than not.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use testsuites::fuzz::{self, KNOBS};

/// Cases of the test; the fuzz target runs many more.
const CASES: u32 = if cfg!(debug_assertions) { 1500 } else { 6000 };

/// Openings of instructions: prefixes, escapes, and what is common or has a form of its own.
const OPENINGS: &[&[u8]] = &[
    &[],
    &[],
    &[0x66],
    &[0x67],
    &[0xf2],
    &[0xf3],
    &[0xf0],
    &[0x48],
    &[0x4d],
    &[0x2e],
    &[0x65],
    &[0x0f],
    &[0x0f],
    &[0x66, 0x0f],
    &[0xf3, 0x0f],
    &[0xf2, 0x0f],
    &[0x66, 0x0f, 0x38],
    &[0x66, 0x0f, 0x3a],
    &[0x0f, 0x01],
    &[0x0f, 0xc7],
    &[0x0f, 0x00],
    &[0x0f, 0xae],
    &[0x0f, 0x32],
    &[0x0f, 0x30],
    &[0xe6],
    &[0x0f, 0xaa],
    &[0xc5],
    &[0xc4, 0xe2],
    &[0xc4, 0xe3],
    &[0xd8],
    &[0xd9],
    &[0xdb],
    &[0xdf],
    &[0xcf],
    &[0x48, 0xcf],
    &[0xcd],
    &[0xff],
    &[0x8e],
    &[0x0f, 0x22],
    &[0x0f, 0x23],
    &[0x9a],
    &[0xea],
    &[0x75],
    &[0xeb],
    &[0xe2],
    &[0xf3, 0xa5],
    &[0xf3, 0xaa],
    &[0xf2, 0xae],
];

/// An opening and some bytes after.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let opening = prop::sample::select(OPENINGS);
    (opening, prop::collection::vec(any::<u8>(), 1..6)).prop_map(|(o, rest)| [o, &rest].concat())
}

fn input() -> impl Strategy<Value = Vec<u8>> {
    let knobs = prop::collection::vec(any::<u8>(), KNOBS);
    let code = prop::collection::vec(piece(), 1..60);
    (knobs, code).prop_map(|(knobs, code)| [knobs, code.concat()].concat())
}

/// Inputs that the fuzz target has found.
const FOUND: &[&str] = &[
    // Flags that IMUL leaves undefined are those of the DEC before it.
    "0501922fdd9f1af1585848b3bc95f742c35a4176409e93351be07d7c37611acd8eb574525848b3bc \
     95f742c35a4176409e93351be07d7c37611acd8eb5745295f948cf01ebd7f3aadbfb67790f32fda0 \
     047695f948cf01ebd7f3aadbfb67790f32fda004760f840969c3f20f81e3cfadf230468e3b4bec9a \
     2dfcab66a5da50660f3aaf1665d3ff1135ea0edbbef921eb3919dd9c657211791466b7d92d72c5eb \
     313400d9baf28a48cf4a69db",
    // Flags that a DIV which raises #DE finds are those of the ADD before it, though a SUB follows.
    "7afa000000000000000000000000000000000000000000002b3b8c3cb7383f0c6600f6f228c4660f3846",
    // #DB through a task gate to a task with the T flag, whose own #DB comes before its first instruction.
    "060727b9827af1e72c6ab15c58c4f73faf6ab15c58c4f73f39b988ac6f21f3a52a0b86f3190fc726e3",
    // Flags that nobody reads, of an ADD that changes the instruction behind itself into one that faults.
    "04064757990469b7cdd38845f800000000006d2c48cfeb646246f3a50c47436973f20f1237f042cb \
     e26bf00f23edf92ebfd074f4667279e2fdcf283f5c0feb62d9ea300406e0d07075b83d7cc7c7c7c7 \
     c7c7c7c7c7e71814fe26039fb3352dca24983b56bf5844fa06955ec20f00547c0f97de63e9c5029c \
     f2000100000000003ef88dea4a6c0f0083674e660f7a0013450f23051b4d41660f3a9b7d224837cf \
     bf0f660f0038",
    // A task switch to virtual-8086 mode that faults on the new LDT: the task is at CPL 3.
    "abffffffff996cffffb46b469e4d9f9a6f4b98bc996c4fd84c4f0ec8452edeef0001017f8d",
];

#[test]
fn found() {
    for row in FOUND {
        let hex = row.replace(' ', "");
        let byte = |k| u8::from_str_radix(&hex[k..k + 2], 16).expect("two digits");
        fuzz::run(&(0..hex.len()).step_by(2).map(byte).collect::<Vec<_>>());
    }
}

/// The same inputs in every run; a failing one is made smaller and shown.
#[test]
fn both_ways() {
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 300,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let case = |bytes: Vec<u8>| {
        fuzz::run(&bytes);
        Ok(())
    };
    if let Err(error) = runner.run(&input(), case) {
        match error {
            proptest::test_runner::TestError::Fail(why, bytes) => panic!("{}: {why}", hex(&bytes)),
            other => panic!("{other}"),
        }
    }
}

/// `FUZZ_INPUT=file cargo test -p testsuites --test fuzz -- --ignored` runs one input.
#[test]
#[ignore = "runs the input that the environment names"]
fn one_input() {
    let name = std::env::var_os("FUZZ_INPUT").expect("FUZZ_INPUT names a file");
    fuzz::run(&std::fs::read(name).unwrap());
}
