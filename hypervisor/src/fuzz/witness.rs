//! The domU that does nothing wrong: each of its calls has the result that it has without neighbours,
//! nobody but itself changes its memory, and it waits for its turn no longer than others' slices.

use super::machine;
use super::world::{GRANTED, KHZ, LOW, MOST_CREATED, Registers, SHARED, WITNESS, World};
use crate::xen::Width;
use crate::xen::abi::layout::{
    EvtchnAllocUnbound, EvtchnBindIpi, EvtchnPort, GnttabQuerySize, MemoryDomain,
    MemoryReservation, SchedPoll,
};
use crate::xen::abi::nr::{console, domid, evtchn, gnt, hypercall as nr, mem, sched};
use crate::xen::guest_memory::read_gpa;
use crate::xen::hypercall::Flow;
use crate::xen::scheduler::SLICE_MS;

/// Where its arguments, and a list, stand.
const ARGUMENT: u64 = 0x1000;
const LIST: u64 = 0x2000;
/// The page that it gives back and takes again.
const LENT: u64 = 6;
/// Pages that hold its secret.
pub(super) const SECRET_PAGES: core::ops::Range<u64> = 10..14;
/// What no other domain may read: it is granted to nobody.
pub(super) const SECRET: [u8; 16] = *b"the witness's 0k";
/// Ticks that it waits at most for its turn: a slice of each other domain, and what a hypercall may
/// take beyond. A domain of the tools may end meanwhile, and another begin.
const PATIENCE: u64 = (3 + 2 * MOST_CREATED) * (SLICE_MS * KHZ + super::OVERRUN) + super::OVERRUN;

/// How far it has come.
#[derive(Default)]
pub(super) struct Witness {
    /// Calls made.
    calls: u64,
    /// The port of its last call that gave one.
    port: u32,
    /// The time from which it has been waiting for its turn.
    since: Option<u64>,
}

impl Witness {
    /// Looks whether it waits, and how long. With `shares` set, dom0 has changed what each has.
    pub(super) fn wait(&mut self, world: &World, now: u64, shares: bool) {
        let waits = world.current != Some((WITNESS, 0)) && world.xen.runnable(WITNESS, 0);
        self.since = waits.then(|| self.since.unwrap_or(now));
        if let Some(since) = self.since.filter(|_| !shares) {
            assert!(now - since <= PATIENCE, "the witness waits for {} ticks", now - since);
        }
    }

    /// Its turn: one call, finished later if the slice ends before.
    pub(super) fn turn(&mut self, world: &mut World) {
        let key = (WITNESS, 0);
        let mut registers = match world.unfinished.remove(&key) {
            Some(registers) => registers,
            None => self.begin(world),
        };
        match world.hypercall(key, &mut registers) {
            Flow::Again => {
                world.unfinished.insert(key, registers);
            }
            Flow::Next => self.finish(world, registers.gpr[0] as i64),
        }
    }

    /// The next call, with its arguments in memory.
    fn begin(&self, world: &mut World) -> Registers {
        for page in SECRET_PAGES {
            let mut found = SECRET;
            read_gpa(&world.memory, WITNESS, page << 12, &mut found).expect("memory");
            assert!(self.calls == 0 || found == SECRET, "page {page} of the witness has changed");
            world.write(WITNESS, page << 12, &SECRET);
        }
        let soon = world.xen.clock.ns(machine::now()) + 1_000_000;
        let (number, command) = match self.calls % 10 {
            0 => {
                let arg = EvtchnAllocUnbound { dom: domid::SELF, remote_dom: 1, port: 0 };
                world.put(WITNESS, ARGUMENT, Width::Long, &arg);
                (nr::EVENT_CHANNEL_OP, evtchn::ALLOC_UNBOUND)
            }
            1 | 9 => {
                world.put(WITNESS, ARGUMENT, Width::Long, &EvtchnPort { port: self.port });
                (nr::EVENT_CHANNEL_OP, evtchn::CLOSE)
            }
            2 => (nr::MEMORY_OP, self.reservation(world, mem::DECREASE_RESERVATION)),
            3 => (nr::MEMORY_OP, self.reservation(world, mem::POPULATE_PHYSMAP)),
            4 => {
                world.write(WITNESS, ARGUMENT, b"a line\n");
                return Registers::new(
                    Width::Long,
                    nr::CONSOLE_IO,
                    [console::WRITE, 7, ARGUMENT, 0, 0, 0],
                );
            }
            5 => {
                let query = GnttabQuerySize { dom: domid::SELF, ..Default::default() };
                world.put(WITNESS, ARGUMENT, Width::Long, &query);
                (nr::GRANT_TABLE_OP, gnt::QUERY_SIZE)
            }
            6 => {
                world.put(WITNESS, ARGUMENT, Width::Long, &MemoryDomain { domid: domid::SELF });
                (nr::MEMORY_OP, mem::CURRENT_RESERVATION)
            }
            7 => {
                let poll = SchedPoll { ports: LIST, nr_ports: 0, timeout: soon };
                world.put(WITNESS, ARGUMENT, Width::Long, &poll);
                (nr::SCHED_OP, sched::POLL)
            }
            _ => {
                world.put(WITNESS, ARGUMENT, Width::Long, &EvtchnBindIpi { vcpu: 0, port: 0 });
                (nr::EVENT_CHANNEL_OP, evtchn::BIND_IPI)
            }
        };
        Registers::new(Width::Long, number, [command, ARGUMENT, 1, 0, 0, 0])
    }

    /// Its lent page as a list of one extent; the command.
    fn reservation(&self, world: &mut World, command: u64) -> u64 {
        world.write(WITNESS, LIST, &LENT.to_le_bytes());
        let reservation = MemoryReservation {
            extent_start: LIST,
            nr_extents: 1,
            domid: domid::SELF,
            ..Default::default()
        };
        world.put(WITNESS, ARGUMENT, Width::Long, &reservation);
        command
    }

    /// The call is done: its result, and what it left in memory.
    fn finish(&mut self, world: &mut World, result: i64) {
        let expected = match self.calls % 10 {
            2 | 3 => 1,
            // Two were replaced by `shared_info` and the grant table.
            6 => LOW as i64 - 2,
            _ => 0,
        };
        assert_eq!(result, expected, "call {} of the witness", self.calls);
        match self.calls % 10 {
            0 => self.port = world.get::<EvtchnAllocUnbound>(WITNESS, ARGUMENT).port,
            8 => self.port = world.get::<EvtchnBindIpi>(WITNESS, ARGUMENT).port,
            3 => self.fill(world),
            4 => {
                world.settle();
                assert_eq!(world.lines, self.calls / 10 + 1, "lines of the witness");
            }
            5 => {
                let query: GnttabQuerySize = world.get(WITNESS, ARGUMENT);
                assert_eq!((query.status, query.nr_frames), (0, 1));
            }
            _ => {}
        }
        self.calls += 1;
    }

    /// The page that it has got is empty, until the secret is there.
    fn fill(&self, world: &mut World) {
        let mut page = [1; 4096];
        read_gpa(&world.memory, WITNESS, LENT << 12, &mut page).expect("memory");
        assert_eq!(page, [0; 4096], "a page for the witness");
        world.write(WITNESS, LENT << 12, &SECRET.repeat(256));
    }
}

const _: () = assert!(GRANTED != LENT && SHARED != LENT, "what is lent has no other use");
