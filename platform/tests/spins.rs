//! Processors that wait for others in a loop without PAUSE cost little, and leave no trace of how a run is sliced; what
//! goes on in a loop is done all the same.

mod common;

use common::guest::{self, copy};
use common::turns::{COUNT, MAIN, inc16, run_to, set_up, start};
use platform::machine::{Config, Machine, QUANTUM};

const END: u64 = 100 * QUANTUM;

/// again: cmp dword [COUNT], 0; je again; inc eax; lock inc dword [COUNT]; jmp again, as 16-bit code
fn wait() -> Vec<u8> {
    let [low, high, ..] = COUNT.to_le_bytes();
    let cmp = [0x66, 0x83, 0x3e, low, high, 0, 0x74, 0xf8];
    [&cmp[..], &[0x66, 0x40], &inc16(COUNT), &[0xeb, 0xee]].concat()
}

/// again: lock inc dword [COUNT]; jmp again, as 16-bit code
fn count() -> Vec<u8> {
    [&inc16(COUNT)[..], &[0xeb, 0xf8]].concat()
}

/// again: xor eax, eax; cpuid; lock inc dword [COUNT]; jmp again, as 16-bit code: an instruction that takes its time
fn takes_time() -> Vec<u8> {
    [&[0x31, 0xc0, 0x0f, 0xa2][..], &inc16(COUNT), &[0xeb, 0xf4]].concat()
}

/// A machine of two whose second runs `program`.
fn machine(program: &[u8], first: &[u8]) -> Machine {
    let program = [set_up(false), start(program), first.to_vec()].concat();
    guest::machine(Config { vcpus: 2, ..Config::default() }, &program)
}

/// again: inc eax; inc dword [MAIN]; jmp again: work that nobody takes for a wait
fn busy() -> Vec<u8> {
    [&[0x40, 0xff, 0x05][..], &MAIN.to_le_bytes(), &[0xeb, 0xf7]].concat()
}

/// How many instructions the second has run at the end, and what it and the first have counted.
fn end(machine: &mut Machine) -> (u64, [u32; 2]) {
    run_to(machine, END, END);
    let counted = [COUNT, MAIN].map(|at| {
        let mut bytes = [0; 4];
        assert_eq!(machine.peek_linear(0, at.into(), &mut bytes), 4);
        u32::from_le_bytes(bytes)
    });
    (machine.processors().nth(1).unwrap().stats.retired, counted)
}

#[test]
fn who_waits_costs_an_eighth() {
    let (waited, counted) = end(&mut machine(&wait(), &busy()));
    assert_eq!(counted[0], 0);
    assert!(u64::from(counted[1]) > END / 4, "the first goes on: {counted:?}");
    assert!(waited < END / 8, "{waited} of {END}");
}

/// The first stores what the second waits for, some turns later: mov ecx, turns; dec ecx; jnz; mov dword [COUNT], 1
#[test]
fn who_waits_goes_on() {
    let count_down = [&[0xb9][..], &(30 * QUANTUM as u32).to_le_bytes(), &[0x49, 0x75, 0xfd]];
    let first = [count_down.concat(), copy(COUNT, &[1, 0, 0, 0]), busy()].concat();
    let (ran, counted) = end(&mut machine(&wait(), &first));
    assert!(u64::from(counted[0]) > END / 20, "{counted:?}");
    assert!(ran > END / 4, "{ran} of {END}");
}

/// A loop that stores, and leaves registers as they were, is taken for one that waits: it is slower, and still goes on.
#[test]
fn who_counts_goes_on() {
    let (ran, counted) = end(&mut machine(&count(), &busy()));
    assert!(u64::from(counted[0]) > END / 100, "{counted:?} in {ran}");
}

#[test]
fn slices_leave_no_trace() {
    for (name, program) in [("wait", wait()), ("count", count()), ("cpuid", takes_time())] {
        let states = |slice| {
            let mut machine = machine(&program, &busy());
            [50_000, 60_001, 300_000, 777_777].map(|to| {
                run_to(&mut machine, to, slice);
                machine.state_hash()
            })
        };
        let want = states(END);
        for slice in [1, 7, 1000, QUANTUM] {
            assert!(states(slice) == want, "{name}, slices of {slice}");
        }
    }
}
