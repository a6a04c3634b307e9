//! What hardware leaves open is chosen by inputs: however the run is sliced, and wherever it is saved, they leave the
//! same trace, which is another one than without them.

mod common;

use common::guest;
use common::turns::{poll, run_to, set_up, start, work};
use platform::machine::{Branch, Config, Input, Machine, QUANTUM};
use platform::time::Icount;

const END: u64 = 300_000;

fn program() -> Vec<u8> {
    [set_up(true), start(&poll()), work(false)].concat()
}

fn machine(vcpus: u32) -> Machine {
    guest::machine(Config { vcpus, ..Config::default() }, &program())
}

/// Perturbations of each kind.
fn perturbations() -> Vec<(u64, Input)> {
    vec![
        (9_001, Input::Quantum { instructions: 7 }),
        (30_000, Input::Stall { processor: 1, time: 11_111 }),
        (30_000, Input::Random { seed: 5 }),
        (31_003, Input::Stall { processor: 0, time: 60_000 }),
        (32_000, Input::Tsc { ticks: 1 << 40 }),
        (150_000, Input::Quantum { instructions: QUANTUM }),
        (150_001, Input::Stall { processor: 9, time: 1 }),
        (150_002, Input::Quantum { instructions: 123 }),
    ]
}

fn give(machine: &mut Machine, inputs: &[(u64, Input)]) {
    for (at, input) in inputs {
        machine.input(Icount(*at), input.clone());
    }
}

fn end(machine: &mut Machine) -> [u8; 32] {
    let left = END - machine.now().0;
    machine.run(left);
    assert_eq!(machine.now().0, END);
    machine.state_hash()
}

#[test]
fn slices_leave_no_trace() {
    for vcpus in [1, 2] {
        let state = |slice, inputs: &[(u64, Input)]| {
            let mut machine = machine(vcpus);
            give(&mut machine, inputs);
            let states = [30_000, 33_000, 90_001, END].map(|to| {
                run_to(&mut machine, to, slice);
                machine.state_hash()
            });
            states.to_vec()
        };
        let want = state(END, &perturbations());
        assert_ne!(want, state(END, &[]), "-smp {vcpus}");
        for slice in [1, 7, 1000] {
            assert!(state(slice, &perturbations()) == want, "-smp {vcpus}, slices of {slice}");
        }
    }
}

/// Each kind by itself is seen.
#[test]
fn each_leaves_a_trace() {
    let state = |inputs: &[(u64, Input)]| {
        let mut machine = machine(2);
        give(&mut machine, inputs);
        end(&mut machine)
    };
    let plain = state(&[]);
    for one in perturbations() {
        let seen = match &one.1 {
            Input::Stall { processor, .. } => *processor < 2,
            Input::Quantum { instructions } => *instructions != QUANTUM,
            // No timer waits, so that the counters go on.
            _ => true,
        };
        assert_eq!(state(std::slice::from_ref(&one)) != plain, seen, "{one:?}");
    }
}

/// A processor that stands still retires nothing while time passes.
#[test]
fn a_processor_stands_still() {
    let mut plain = machine(1);
    end(&mut plain);
    let mut machine = machine(1);
    give(&mut machine, &[(100_000, Input::Stall { processor: 0, time: 50_000 })]);
    machine.run(120_000);
    let retired = machine.retired();
    machine.run(29_000);
    assert_eq!((machine.now().0, machine.retired()), (149_000, retired));
    end(&mut machine);
    assert!(machine.retired() < plain.retired());
}

/// One machine runs futures of a state, and of a state in one of them, as machines of their own do.
#[test]
fn branches() {
    let given = |inputs: &[(u64, Input)]| {
        let mut machine = machine(2);
        give(&mut machine, inputs);
        machine
    };
    let (first, second) = (perturbations(), [(40_000, Input::Stall { processor: 1, time: 999 })]);
    let want = [end(&mut given(&first)), end(&mut given(&second))];
    let mut machine = machine(2);
    let root = self::machine(2);
    let begin = Branch::root(&root);
    let mut at = begin.clone();
    let mut middle = None;
    for (n, inputs) in [(0, &first[..]), (1, &second[..]), (0, &first[..])] {
        begin.put(&mut machine, &at, &root);
        at = begin.clone();
        give(&mut machine, inputs);
        if n == 0 {
            machine.run(33_333);
            middle = Some(Branch::of(&mut machine, &at));
        }
        assert_eq!(end(&mut machine), want[n]);
    }
    let middle = middle.unwrap();
    assert!(middle.own_pages() > 0 && middle.own_pages() < 100, "{}", middle.own_pages());
    middle.put(&mut machine, &at, &root);
    assert_eq!(end(&mut machine), want[0], "what is to come is part of the state");
    begin.put(&mut machine, &middle, &root);
    give(&mut machine, &second);
    assert_eq!(end(&mut machine), want[1]);
}
