//! Hypercalls: the register ABI, the table of handlers, and multicalls.

mod claim;
mod console;
mod dm_op;
mod domctl;
mod evtchn;
mod grant;
mod grant_copy;
mod hvm_op;
mod memory;
mod platform;
mod sched;
mod sysctl;
mod vcpu_op;
mod version;

use super::Xen;
use super::abi::layout::{Layout, MulticallHead};
use super::abi::nr::{domid, hypercall as nr};
use super::abi::{Errno, OpResult, Width};
use super::guest_memory::{Caller, Paging};
use super::host_services::{DomId, HostServices};

/// The treatment of RIP by the bare-metal part after a hypercall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Skip the instruction.
    Next,
    /// Leave RIP on it: the call goes on with the registers as they are now.
    Again,
}

/// The progress of a handler.
enum Step {
    /// Finished, with this result.
    Done(i64),
    /// To be called again with these arguments.
    Again([u64; 6]),
}

/// The arguments of a hypercall.
type Args = [u64; 6];

/// A hypercall in progress.
struct Call<'a> {
    xen: &'a mut Xen,
    host: &'a mut dyn HostServices,
    c: Caller,
    in_multicall: bool,
}

type Handler = fn(&mut Call<'_>, Args) -> Result<Step, Errno>;

/// One row: number, handler.
struct Row(u32, Handler);

/// A handler that always finishes.
macro_rules! whole {
    ($f:path) => {
        |call, args| $f(call, args).map(Step::Done)
    };
}

/// Every hypercall that exists here; the others are `-ENOSYS`.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    Row(nr::PLATFORM_OP,      whole!(Call::platform_op)),
    Row(nr::MEMORY_OP,        |c, a| c.memory_op(a)),
    Row(nr::MULTICALL,        |c, a| c.multicall(a)),
    Row(nr::SET_TIMER_OP,     whole!(Call::set_timer_op)),
    Row(nr::XEN_VERSION,      whole!(Call::xen_version)),
    Row(nr::CONSOLE_IO,       |c, a| c.console_io(a)),
    Row(nr::GRANT_TABLE_OP,   |c, a| c.grant_table_op(a)),
    Row(nr::VCPU_OP,          whole!(Call::vcpu_op)),
    Row(nr::SCHED_OP,         whole!(Call::sched_op)),
    Row(nr::EVENT_CHANNEL_OP, |c, a| c.event_channel_op(a)),
    Row(nr::HVM_OP,           whole!(Call::hvm_op)),
    Row(nr::SYSCTL,           whole!(Call::sysctl)),
    Row(nr::DOMCTL,           |c, a| c.domctl(a)),
    Row(nr::DM_OP,            |c, a| c.dm_op(a)),
];

/// The positions of the arguments in the x86 register order.
const LONG_ARGS: [usize; 6] = [7, 6, 2, 10, 8, 9];
const COMPAT_ARGS: [usize; 6] = [3, 1, 2, 6, 7, 5];

/// The vCPU state that decides how a hypercall is taken.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// The address space.
    pub paging: Paging,
    /// The current privilege level.
    pub cpl: u8,
    /// The width of the code that executed VMCALL.
    pub width: Width,
    /// The TSC.
    pub now: u64,
}

impl Xen {
    /// Carries out the hypercall in `gpr` (x86 order: RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI,
    /// R8 …) and leaves its result in RAX. The vCPU may be blocked or its domain ended by it:
    /// ask [`Xen::runnable`] afterwards.
    pub fn hypercall(
        &mut self,
        host: &mut dyn HostServices,
        (dom, vcpu): (DomId, u32),
        gpr: &mut [u64; 16],
        context: Context,
    ) -> Flow {
        let Context { paging, cpl, width, now } = context;
        let places = if width == Width::Long { LONG_ARGS } else { COMPAT_ARGS };
        let cut = |word: u64| if width == Width::Long { word } else { word & 0xFFFF_FFFF };
        let args = places.map(|place| cut(gpr[place]));
        let number = gpr[0] as u32;
        let c = Caller { dom, vcpu, paging, width, now };
        let mut call = Call { xen: self, host, c, in_multicall: false };
        let step = if cpl == 0 { call.dispatch(number, args) } else { Err(Errno::Perm) };
        match step {
            Ok(Step::Again(args)) => {
                places.iter().zip(args).for_each(|(&place, arg)| gpr[place] = arg);
                return Flow::Again;
            }
            Ok(Step::Done(result)) => gpr[0] = cut(result as u64),
            Err(error) => gpr[0] = cut(error.result() as u64),
        }
        Flow::Next
    }
}

impl Call<'_> {
    fn dispatch(&mut self, number: u32, args: Args) -> Result<Step, Errno> {
        let row = TABLE.iter().find(|row| row.0 == number);
        let step = row.map_or(Err(Errno::NoSys), |row| row.1(self, args));
        if let Err(Errno::NoSys) = step {
            self.xen.refused.count(number, args[0]);
        }
        step
    }

    /// `multicall(entries, count)`: each entry is a hypercall with its own result.
    fn multicall(&mut self, [list, count, ..]: Args) -> Result<Step, Errno> {
        if self.in_multicall {
            return Err(Errno::Inval);
        }
        self.in_multicall = true;
        let stride = MulticallHead::size(self.c.width) as u64 + 6 * self.c.long_size() as u64;
        for index in 0..count {
            let entry = list.wrapping_add(index.wrapping_mul(stride));
            let again = !self.multicall_entry(entry)?;
            let done = index + u64::from(!again);
            if done < count && (again || self.interrupted()) {
                let next = list.wrapping_add(done.wrapping_mul(stride));
                return Ok(Step::Again([next, count - done, 0, 0, 0, 0]));
            }
        }
        Ok(Step::Done(0))
    }

    /// True if the rest of a multicall has to wait: for the calling vCPU to run again, or for the
    /// effects of what was done.
    fn interrupted(&self) -> bool {
        let stopped = !self.xen.runnable(self.c.dom, self.c.vcpu);
        stopped || !self.xen.actions.is_empty() || self.preempted()
    }

    /// True once the caller's slice is over: the rest of a list waits for its next one, as in Xen.
    fn preempted(&self) -> bool {
        self.xen.slice_ended(self.host)
    }

    /// One entry; false if it is to be called again, with arguments now in its memory.
    fn multicall_entry(&mut self, entry: u64) -> Result<bool, Errno> {
        let c = self.c;
        let head: MulticallHead = c.load(self.host, entry)?;
        let first = entry.wrapping_add(MulticallHead::size(c.width) as u64);
        let place = |index: usize| first.wrapping_add((index * c.long_size()) as u64);
        let mut args = [0; 6];
        for (index, arg) in args.iter_mut().enumerate() {
            *arg = c.load_long(self.host, place(index))?;
        }
        let result = match self.dispatch(head.op as u32, args) {
            Ok(Step::Done(result)) => result,
            Err(error) => error.result(),
            Ok(Step::Again(args)) => {
                for (index, &arg) in args.iter().enumerate() {
                    c.store_long(self.host, place(index), arg)?;
                }
                return Ok(false);
            }
        };
        c.store(self.host, entry, &MulticallHead { op: head.op, result: result as u64 })?;
        Ok(true)
    }

    /// The domain a structure names, `DOMID_SELF` included. Anyone but the caller itself needs
    /// privilege: `-EPERM`; an unknown one, or one that is being destroyed, is `-ESRCH`.
    fn target(&self, id: u16) -> Result<DomId, Errno> {
        if id == domid::SELF || DomId(id) == self.c.dom {
            return Ok(self.c.dom);
        }
        self.privileged()?;
        let domain = self.xen.domain(DomId(id))?;
        if domain.dying { Err(Errno::Srch) } else { Ok(domain.id) }
    }

    /// `-EPERM` unless the caller is dom0.
    fn privileged(&self) -> Result<(), Errno> {
        if self.xen.domain(self.c.dom)?.privileged { Ok(()) } else { Err(Errno::Perm) }
    }

    fn load<T: Layout>(&self, addr: u64) -> Result<T, Errno> {
        Ok(self.c.load(self.host, addr)?)
    }

    fn store<T: Layout>(&mut self, addr: u64, value: &T) -> Result<(), Errno> {
        Ok(self.c.store(self.host, addr, value)?)
    }

    fn now_ns(&self) -> u64 {
        self.xen.clock.ns(self.c.now)
    }
}

/// A count as a hypercall's result.
fn count(n: u64) -> OpResult {
    i64::try_from(n).map_err(|_| Errno::Inval)
}
