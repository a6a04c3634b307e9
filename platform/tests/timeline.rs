//! A run that is gone through backwards is the run that was gone through forwards, step by step.

mod common;

use common::guest::{self, copy, outd, store};
use common::turns::{COUNT, MAIN, TICK, TYPED, poll, run_to, set_up, start, work};
use platform::machine::debugging::{
    Breakpoints, CodeBreakpoint, DataBreakpoint, Event, Hit, Position, Space, Who,
};
use platform::machine::{Config, Icount, Input, Machine, OptionalDevice};
use platform::timeline::{End, Outcome, Past, Timeline};

/// Where the run ends.
const END: u64 = 400_000;

/// A run of so many processors that count, take interrupts, send each other NMIs and send back what is typed. The
/// machine can be had at the begin and later.
struct Run(u32, Vec<Icount>);

impl Past for Run {
    type Error = ();

    fn starts(&self) -> &[Icount] {
        &self.1
    }

    fn restore(&mut self, n: usize) -> Result<Machine, ()> {
        let program = [set_up(self.0 > 1), start(&poll()), work(false)].concat();
        let mut machine = guest::machine(Config { vcpus: self.0, ..Config::default() }, &program);
        for (at, port, bytes) in TYPED {
            machine.input(Icount(at), Input::Serial { port, bytes: bytes.into() });
        }
        run_to(&mut machine, self.1[n].0, END);
        Ok(machine)
    }
}

fn run(vcpus: u32) -> Timeline<Run> {
    let starts = [0, 150_000].map(Icount).to_vec();
    Timeline::new(Run(vcpus, starts), End::Time(Icount(END))).unwrap()
}

/// Numbers that look random.
fn numbers(mut seed: u64) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some(seed >> 33)
    })
}

/// What a debugger sees of a machine: where it is, and all registers of each processor.
fn seen(timeline: &Timeline<Run>) -> (Position, Vec<String>) {
    let machine = timeline.machine();
    let registers = machine.processors().map(|cpu| {
        let state = &cpu.state;
        format!("{:x} {:x?} {:x?}", state.rip, state.regs, state.flags)
    });
    (machine.position(), registers.collect())
}

/// At 1000 times, in any order, the whole state is as on the way forward.
#[test]
fn the_same_states() {
    for vcpus in [1, 2, 3] {
        let mut timeline = run(vcpus);
        let times: Vec<u64> = numbers(7).map(|n| n % END).take(1000).collect();
        let mut sorted = times.clone();
        sorted.sort_unstable();
        let mut plain = Run(vcpus, vec![Icount(0)]).restore(0).unwrap();
        let states: Vec<_> = sorted
            .iter()
            .map(|at| {
                run_to(&mut plain, *at, END);
                (*at, plain.state_hash())
            })
            .collect();
        for at in times {
            assert_eq!(timeline.go_to_time(Icount(at)), Ok(true));
            let machine = timeline.machine_mut();
            let expect = states[states.partition_point(|(time, _)| *time < at)];
            assert_eq!((machine.now().0, machine.state_hash()), expect, "-smp {vcpus}, at {at}");
        }
    }
}

/// Steps of a processor, forwards and back again.
#[test]
fn steps() {
    for (vcpus, processor) in [(1, 0), (2, 0), (2, 1), (3, 1)] {
        for at in [24_990, 60_990, 99_990, 250_003] {
            let mut timeline = run(vcpus);
            timeline.go_to_time(Icount(at)).unwrap();
            let mut forwards = Vec::new();
            for _ in 0..60 {
                let outcome = loop {
                    match timeline.go_on(Some(processor)) {
                        Outcome::More => {}
                        outcome => break outcome,
                    }
                };
                assert_eq!(outcome, Outcome::Event(Event::Step { processor }));
                forwards.push(seen(&timeline).1[processor].clone());
            }
            forwards.pop();
            while let Some(expect) = forwards.pop() {
                assert_eq!(timeline.step_back(processor), Ok(true));
                let n = forwards.len();
                assert_eq!(seen(&timeline).1[processor], expect, "-smp {vcpus}, {at}, step {n}");
            }
        }
    }
}

/// The end of the run, and what is met on the way there.
fn met(timeline: &mut Timeline<Run>, at: &Breakpoints) -> Vec<(Event, Position, Vec<String>)> {
    timeline.set_breakpoints(at.clone());
    timeline.go_to_time(Icount(0)).unwrap();
    let mut met = Vec::new();
    loop {
        match timeline.go_on(None) {
            Outcome::More => {}
            Outcome::Event(event) => {
                let (position, registers) = seen(timeline);
                met.push((event, position, registers));
            }
            Outcome::End => return met,
            outcome => panic!("{outcome:?}"),
        }
    }
}

/// Breakpoints on instructions are met going back where they are met going on, and leave no trace.
#[test]
fn breakpoints() {
    let code = vec![CodeBreakpoint { address: TICK.into(), who: Who::Any }];
    let at = Breakpoints { code, ..Breakpoints::default() };
    for vcpus in [1, 2] {
        let mut timeline = run(vcpus);
        let mut met = met(&mut timeline, &at);
        assert!(met.len() > 10, "{} ticks", met.len());
        let mut plain = Run(vcpus, vec![Icount(0)]).restore(0).unwrap();
        run_to(&mut plain, END, END);
        assert_eq!(timeline.machine_mut().state_hash(), plain.state_hash());
        while let Some((event, position, registers)) = met.pop() {
            assert_eq!(timeline.go_back(&mut || false), Ok(Outcome::Event(event)));
            assert_eq!(seen(&timeline), (position, registers), "-smp {vcpus}");
            let rip = |e: &Event| match e {
                Event::Hit { processor, hit: Hit::Code { address } } => {
                    (timeline.machine().processor(*processor).unwrap().state.rip, *address)
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(rip(&event), (TICK.into(), TICK.into()));
        }
        assert_eq!(timeline.go_back(&mut || false), Ok(Outcome::Begin));
        assert_eq!(timeline.machine().position(), Position::default());
    }
}

/// A store is met after it, going on, and before it, going back; the first word that is stored is seen to change.
#[test]
fn watchpoints() {
    let words = [(1, MAIN), (2, MAIN), (2, COUNT)];
    let all = words.into_iter().flat_map(|row| [(row, Space::Linear), (row, Space::Physical)]);
    for ((vcpus, word), space) in all {
        let (first, last) = (word.into(), u64::from(word) + 3);
        let (loads, stores, who) = (false, true, Who::Any);
        let data = vec![DataBreakpoint { first, last, loads, stores, space, who }];
        let at = Breakpoints { data, ..Breakpoints::default() };
        let mut timeline = run(vcpus);
        let mut met = met(&mut timeline, &at);
        assert!(met.len() > 100, "{} stores", met.len());
        met.drain(..met.len().saturating_sub(20));
        let value = |timeline: &Timeline<Run>| {
            let mut bytes = [0; 4];
            assert!(timeline.machine().read_physical(word.into(), &mut bytes));
            u32::from_le_bytes(bytes)
        };
        while let Some((event, after, _)) = met.pop() {
            assert_eq!(timeline.go_back(&mut || false), Ok(Outcome::Event(event)));
            let Event::Hit { processor, .. } = event else { panic!("{event:?}") };
            assert!(timeline.machine().position() < after);
            let before = value(&timeline);
            let position = timeline.machine().position();
            timeline.set_breakpoints(Breakpoints::default());
            while timeline.go_on(Some(processor)) == Outcome::More {}
            let now = timeline.machine().position();
            assert_eq!((now.retired, now.steps), (after.retired, after.steps), "-smp {vcpus}");
            assert_ne!(value(&timeline), before, "-smp {vcpus}, {position:?}");
            timeline.set_breakpoints(at.clone());
            timeline.go_to(position).unwrap();
        }
    }
}

/// A run in which `fw_cfg` writes its signature to [`SIGNATURE`], asked by the second of two OUTs.
struct Asked;

/// Where the signature goes.
const SIGNATURE: u32 = 0x9100;

impl Past for Asked {
    type Error = ();

    fn starts(&self) -> &[Icount] {
        &[Icount(0)]
    }

    fn restore(&mut self, _: usize) -> Result<Machine, ()> {
        // Control (select item 0, and read), length, address: QEMU, docs/specs/fw_cfg.rst.
        let words = [0xa, 4, 0, SIGNATURE].map(u32::to_be_bytes).concat();
        let ask = [outd(0x514, 0), outd(0x518, 0x9000_u32.swap_bytes())];
        let program = [copy(0x9000, &words), ask.concat(), vec![0xeb, 0xfe]].concat();
        let devices = vec![OptionalDevice::FwCfg];
        Ok(guest::machine(Config { devices, ..Config::default() }, &program))
    }
}

/// What a device stores is met after the instruction that has asked for it, going on, and before it, going back.
#[test]
fn a_device_stores() {
    let mut timeline = Timeline::new(Asked, End::Time(Icount(10_000))).unwrap();
    let watched = u64::from(SIGNATURE) + 2;
    let (first, last, space) = (watched, watched, Space::Physical);
    let data =
        vec![DataBreakpoint { first, last, loads: false, stores: true, space, who: Who::Any }];
    timeline.set_breakpoints(Breakpoints { data, ..Breakpoints::default() });
    let hit = Hit::Data { address: watched, store: true };
    let event = Event::Hit { processor: 0, hit };
    let read = |timeline: &Timeline<Asked>, at: u64| {
        let mut bytes = [0];
        assert!(timeline.machine().read_physical(at, &mut bytes));
        bytes[0]
    };
    assert_eq!(timeline.go_on(None), Outcome::Event(event));
    assert_eq!(read(&timeline, watched), b'M');
    let after = timeline.machine().position();
    while timeline.go_on(None) == Outcome::More {}
    assert_eq!(timeline.go_back(&mut || false), Ok(Outcome::Event(event)));
    assert_eq!(timeline.machine().position().retired + 1, after.retired);
    let rip = timeline.machine().processor(0).unwrap().state.rip;
    assert_eq!((read(&timeline, watched), read(&timeline, rip)), (0, 0xef));
    assert_eq!(timeline.go_back(&mut || false), Ok(Outcome::Begin));
}

/// A run that stores to [`OFTEN`] some thousand times, once to [`ONCE`], and then counts down for long.
struct Long(Vec<Icount>);

/// What is stored to some thousand times.
const OFTEN: u32 = 0x9000;
/// What is stored to once.
const ONCE: u32 = 0xa000;
/// Where that run ends.
const LONG: u64 = 150_000_000;

impl Past for Long {
    type Error = ();

    fn starts(&self) -> &[Icount] {
        &self.0
    }

    fn restore(&mut self, n: usize) -> Result<Machine, ()> {
        // mov ecx, count; again: body; dec ecx; jnz again
        let again = |count: u32, body: &[u8]| {
            let back = -5 - body.len() as i8;
            [&[0xb9][..], &count.to_le_bytes(), body, &[0x83, 0xe9, 1, 0x75, back as u8]].concat()
        };
        // inc dword [OFTEN]
        let often = [&[0xff, 0x05][..], &OFTEN.to_le_bytes()].concat();
        let rest = [store(ONCE, 1), again(u32::MAX, &[])].concat();
        let mut machine = guest::machine(Config::default(), &[again(5000, &often), rest].concat());
        run_to(&mut machine, self.0[n].0, LONG);
        Ok(machine)
    }
}

/// What was last, far back: the same as on the way forward, from where there are points and where there are none, with
/// little and with much to be met there.
#[test]
fn far_back() {
    for starts in [vec![0], vec![0, 100_000_000]] {
        for word in [ONCE, OFTEN] {
            let starts = starts.iter().copied().map(Icount).collect();
            let mut timeline = Timeline::new(Long(starts), End::Time(Icount(LONG))).unwrap();
            let (first, last, space) = (word.into(), word.into(), Space::Linear);
            let stores =
                DataBreakpoint { first, last, loads: false, stores: true, space, who: Who::Any };
            let data = vec![stores];
            timeline.set_breakpoints(Breakpoints { data, ..Breakpoints::default() });
            assert_eq!(timeline.go_to_time(Icount(LONG)), Ok(true));
            let hit = Hit::Data { address: word.into(), store: true };
            let event = Event::Hit { processor: 0, hit };
            assert_eq!(timeline.go_back(&mut || false), Ok(Outcome::Event(event)));
            // The store comes after 5000 rounds of three instructions, or in the last of them.
            let before = if word == ONCE { 15_001 } else { 14_998 };
            assert_eq!(timeline.machine().position().retired, before);
            let next = timeline.go_back(&mut || false);
            if word == ONCE {
                assert_eq!(next, Ok(Outcome::Begin));
            } else {
                assert_eq!(timeline.machine().position().retired, before - 3);
            }
        }
    }
}

/// What is asked of a run that ends, or does not go so far back.
#[test]
fn ends() {
    let mut timeline = run(1);
    assert_eq!(timeline.step_back(0), Ok(false));
    assert_eq!(timeline.go_back(&mut || false), Ok(Outcome::Begin));
    assert_eq!(timeline.go_to_time(Icount(END + 1)), Ok(false));
    assert_eq!(timeline.machine().now(), Icount(END));
    assert_eq!(timeline.go_on(None), Outcome::End);
    timeline.go_to_time(Icount(5)).unwrap();
    assert_eq!(timeline.machine().now(), Icount(5));
    timeline.go_to_end();
    assert_eq!(timeline.machine().now(), Icount(END));
}
