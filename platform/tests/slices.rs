//! How a run is sliced leaves no trace: the same input at the same machine times ends in the same
//! state, with one processor and with two.

mod common;

use common::guest;
use common::turns::{TYPED, poll, run_to, set_up, start, typed, work};
use platform::machine::{Config, Input, Machine, MachineStop, OptionalDevice, TraceItems};
use platform::time::Icount;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Lengths of slices in instructions.
const SLICES: [u64; 4] = [1, 7, 1000, 4_000_000];

/// When the machine is told of what is typed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    /// All before the run.
    Before,
    /// At the last moment.
    Live,
}

/// States on the way, and what both ports have sent.
type Trail = (Vec<[u8; 32]>, [String; 2]);

fn trail(vcpus: u32, program: &[u8], slice: u64, told: Told) -> Trail {
    let mut machine = guest::machine(Config { vcpus, ..Config::default() }, program);
    for (at, port, bytes) in TYPED {
        if told == Told::Live {
            run_to(&mut machine, at - 1, slice);
        }
        let input = Input::Serial { port, bytes: bytes.into() };
        assert_eq!(machine.input(Icount(at), input), Icount(at));
    }
    let states = [150_000, 200_000, 400_000].map(|to| {
        run_to(&mut machine, to, slice);
        machine.state_hash()
    });
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let sent = [0, 1].map(|port| text(machine.serial_output(port)));
    (states.to_vec(), sent)
}

/// With one processor and with two, whose second sends back `second`.
#[track_caller]
fn check(program: &[u8], second: &str) {
    for (vcpus, second) in [(1, ""), (2, second)] {
        let want = trail(vcpus, program, 4_000_000, Told::Before);
        assert_eq!(want.1, [&typed(0), second], "-smp {vcpus}");
        for slice in SLICES {
            for told in [Told::Before, Told::Live] {
                let got = trail(vcpus, program, slice, told);
                assert!(got == want, "-smp {vcpus}, slices of {slice}, {told:?}");
            }
        }
    }
}

#[test]
fn one_halts_and_one_polls() {
    check(&[set_up(false), start(&poll()), work(true)].concat(), &typed(1));
}

#[test]
fn both_run() {
    check(&[set_up(false), start(&poll()), work(false)].concat(), &typed(1));
}

/// The second processor: again: hlt; jmp again
#[test]
fn both_halt() {
    check(&[set_up(true), start(&[0xf4, 0xeb, 0xfd]), work(true)].concat(), "");
}

/// Long slices, each of many turns: the state after ten million instructions.
#[test]
fn many_turns() {
    let program = [set_up(false), start(&poll()), work(false)].concat();
    let state = |slice| {
        let mut machine = guest::machine(Config { vcpus: 2, ..Config::default() }, &program);
        run_to(&mut machine, 10_000_000, slice);
        machine.state_hash()
    };
    let want = state(10_000_000);
    for slice in [1000, 20_000, 99_999, 4_000_000] {
        assert_eq!(state(slice), want, "slices of {slice}");
    }
}

/// Runs to machine time `to` while another thread asks for pauses; how many there were.
fn run_with_pauses(machine: &mut Machine, to: u64) -> u32 {
    let (flag, done) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
    machine.pause_by(&flag);
    let mut pauses = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                flag.store(true, Ordering::Relaxed);
                thread::sleep(Duration::from_micros(10));
            }
        });
        while machine.now().0 < to {
            match machine.run(to - machine.now().0) {
                MachineStop::Paused => {
                    pauses += 1;
                    flag.store(false, Ordering::Relaxed);
                }
                stop => assert_eq!(stop, MachineStop::Budget),
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    pauses
}

/// lodsb and stosb of 64 KiB, and cmpsb of what is equal, again and again
const STRINGS: [u8; 35] = [
    0xbe, 0, 0, 0x20, 0, 0xb9, 0, 0, 1, 0, 0xf3,
    0xac, // mov esi, 200000h; mov ecx, 10000h; rep lodsb
    0xbf, 0, 0, 0x30, 0, 0xb9, 0, 0, 1, 0, 0xf3,
    0xaa, // mov edi, 300000h; mov ecx, 10000h; rep stosb
    0xbe, 0, 0, 0x20, 0, 0xb5, 0x80, 0xf3, 0xa6, // mov esi, 200000h; mov ch, 80h; repe cmpsb
    0xeb, 0xdd, // jmp to the begin
];

/// Pauses that the host asks for leave no trace either, wherever they cut a turn.
#[test]
fn pauses_at_any_moment() {
    let programs = [
        ("a second that polls", [set_up(false), start(&poll()), work(false)].concat()),
        ("halts", [set_up(true), start(&[0xf4, 0xeb, 0xfd]), work(true)].concat()),
        ("strings", STRINGS.to_vec()),
    ];
    let mut pauses = 0;
    for ((name, program), vcpus) in programs.iter().flat_map(|p| [1, 2, 4].map(|n| (p, n))) {
        let new = || guest::machine(Config { vcpus, ..Config::default() }, program);
        let (mut plain, mut paused) = (new(), new());
        let to = if *name == "strings" { 3_000 } else { 3_000_000 };
        run_to(&mut plain, to, to);
        pauses += run_with_pauses(&mut paused, to);
        assert_eq!(paused.now(), plain.now());
        assert_eq!(paused.state_hash(), plain.state_hash(), "{name}, -smp {vcpus}");
        assert_eq!(paused.serial_output(0), plain.serial_output(0), "{name}, -smp {vcpus}");
    }
    assert!(pauses > 20, "{pauses} pauses");
}

/// A long trace ends runs, so that the host can take it: no line is lost, and the machine is the same.
#[test]
fn a_trace_is_taken_in_time() {
    let run = |exec| {
        let trace = TraceItems { exec, ..TraceItems::default() };
        // inc eax; jmp $-1
        let mut machine =
            guest::machine(Config { trace, ..Config::default() }, &[0x40, 0xeb, 0xfd]);
        let (mut lines, mut most) = (0, 0);
        while machine.now().0 < 100_000 {
            let stop = machine.run(100_000 - machine.now().0);
            assert!(matches!(stop, MachineStop::Budget | MachineStop::Paused));
            let text = machine.take_trace();
            most = most.max(text.len());
            lines += text.lines().count();
        }
        (machine.state_hash(), lines, most)
    };
    let (plain, traced) = (run(false), run(true));
    assert_eq!(traced.0, plain.0);
    assert_eq!((plain.1, traced.1), (0, 100_000));
    assert!(traced.2 < 3 << 20, "{} bytes of trace", traced.2);
}

/// Nothing can wake the guest but the input, known before or after it halts: cli; hlt
#[test]
fn nothing_but_input() {
    let mut machine = guest::machine(Config::default(), &[0xfa, 0xf4]);
    assert_eq!(machine.run(1000), MachineStop::Idle);
    let at = machine.input(Icount(0), Input::Serial { port: 0, bytes: vec![b'x'] });
    assert_eq!(at, machine.now().plus(1), "the present has begun");
    assert_eq!(machine.run(1000), MachineStop::Idle);
    assert_eq!(machine.now(), at);
    machine.input(Icount(5000), Input::PowerButton);
    assert_eq!(machine.run(100), MachineStop::Budget);
    assert_eq!(machine.now(), at.plus(100));
    assert_eq!(machine.run(1_000_000), MachineStop::Idle);
    assert_eq!(machine.now(), Icount(5000));
}

/// The power button sets PWRBTN_STS (bit 8 of PM1_STS), for which the guest waits.
#[test]
fn power_button() {
    let program = [
        0x66, 0xba, 0x00, 0x06, // mov dx, 600h
        0x66, 0xed, // again: in ax, dx
        0xf6, 0xc4, 0x01, // test ah, 1
        0x74, 0xf9, // jz again
        0xb0, 0x01, 0xe6, 0xf4, // mov al, 1; out f4h, al
    ];
    let devices = vec![OptionalDevice::DebugExit { base: 0xf4, length: 4 }];
    let config = Config { devices, ..Config::default() };
    let mut machine = guest::machine(config, &program);
    machine.input(Icount(12_345), Input::PowerButton);
    assert_eq!(machine.run(20_000), MachineStop::DebugExit(3));
    // A look takes a microsecond and three instructions, the first begins at 1: the one at 13,040 sees it.
    assert_eq!(machine.now(), Icount(13_040 + 1001 + 4));
}
