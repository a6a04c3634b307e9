//! The embedded guests' side of the Xen ABI: the hypercalls they make, with the numbers of Xen's
//! public headers (written down once more here, not taken from the hypervisor's own tables).
#![expect(unsafe_code, reason = "hypercalls are inline assembly on raw structures")]

use core::arch::asm;
use core::cell::UnsafeCell;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

/// `memory_op`.
pub const MEMORY_OP: u64 = 12;
/// `multicall`.
pub const MULTICALL: u64 = 13;
const CONSOLE_IO: u64 = 18;
const GRANT_TABLE_OP: u64 = 20;
const SCHED_OP: u64 = 29;
const EVENT_CHANNEL_OP: u64 = 32;
const SYSCTL: u64 = 35;
const DOMCTL: u64 = 36;
/// `XEN_DOMCTL_INTERFACE_VERSION` and `XEN_SYSCTL_INTERFACE_VERSION` of Xen 4.17.
const INTERFACE: u32 = 0x15;
/// `DOMID_SELF`.
pub const SELF: u16 = 0x7FF0;

/// An error number of Xen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(pub i64);

/// The value of a hypercall.
pub type Result<T> = core::result::Result<T, Error>;

/// A hypercall with up to three arguments.
pub fn hypercall(number: u64, a: u64, b: u64, c: u64) -> Result<u64> {
    let result: i64;
    // SAFETY: the structures the arguments name live in the callers' frames across the call.
    unsafe {
        asm!("vmcall", inlateout("rax") number as i64 => result, in("rdi") a, in("rsi") b,
            in("rdx") c, options(nostack));
    }
    if result < 0 { Err(Error(result)) } else { Ok(result as u64) }
}

fn address<T>(value: &mut T) -> u64 {
    core::ptr::from_mut(value) as u64
}

/// A page that the hypervisor or another domain changes without the compiler knowing.
#[repr(C, align(4096))]
pub struct Shared<T>(UnsafeCell<T>);

// SAFETY: the guests have one processor; what others change is read by volatile accesses only.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// A page that holds `value`.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// The address of the page.
    pub fn address(&self) -> u64 {
        self.0.get() as u64
    }

    /// Reads the field at byte `offset`.
    pub fn read<F: Copy>(&self, offset: usize) -> F {
        assert!(offset + size_of::<F>() <= 4096);
        // SAFETY: inside the page, and any bytes make a value of the integer types used.
        unsafe { self.0.get().byte_add(offset).cast::<F>().read_volatile() }
    }

    /// Writes the field at byte `offset`.
    pub fn write<F: Copy>(&self, offset: usize, value: F) {
        assert!(offset + size_of::<F>() <= 4096);
        // SAFETY: inside the page, which is this program's.
        unsafe { self.0.get().byte_add(offset).cast::<F>().write_volatile(value) };
    }
}

/// The text at `addr`, up to its zero byte: the command line of the start info.
pub fn command_line(start_info: u32) -> &'static str {
    // SAFETY: the loader's structures lie in identity-mapped memory that is not written.
    unsafe {
        let line = *((u64::from(start_info) + 24) as *const u64);
        if line == 0 {
            return "";
        }
        core::ffi::CStr::from_ptr(line as *const core::ffi::c_char).to_str().unwrap_or("")
    }
}

/// Maps a page of the hypervisor at one of ours: `space` 0 shared info, 1 grant table.
pub fn add_to_physmap(space: u32, index: u64, address: u64) -> Result<()> {
    #[repr(C)]
    struct Arguments {
        domid: u16,
        size: u16,
        space: u32,
        index: u64,
        gpfn: u64,
    }
    let mut a = Arguments { domid: SELF, size: 0, space, index, gpfn: address >> 12 };
    hypercall(MEMORY_OP, 7, self::address(&mut a), 0).map(drop)
}

/// Gives pages of ours back (`command` 1), or asks for new ones (6), one by one; the number of pages
/// until the first that failed.
pub fn reservation(command: u64, pages: &mut [u64]) -> Result<u64> {
    let (list, count) = (pages.as_mut_ptr() as u64, pages.len() as u64);
    let mut words = [list, count, 0, u64::from(SELF)];
    hypercall(MEMORY_OP, command, address(&mut words), 0)
}

/// Any hypercall whose arguments name no memory.
pub fn refused(number: u64, operation: u64) -> Result<u64> {
    hypercall(number, operation, 0, 0)
}

/// Writes to the hypervisor's console.
pub fn console(text: &str) -> Result<()> {
    hypercall(CONSOLE_IO, 0, text.len() as u64, text.as_ptr() as u64).map(drop)
}

/// The console as a formatter's target.
pub struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        console(text).map_err(|_| fmt::Error)
    }
}

/// `SCHEDOP_shutdown`: 0 is power off, 3 crash.
pub fn shutdown(mut reason: u32) -> ! {
    // The domain ends here; an error would mean that it cannot, and then it stops.
    let _ = hypercall(SCHED_OP, 2, address(&mut reason), 0);
    runtime::cpu::stop()
}

/// `SCHEDOP_poll`: sleeps until `port` (unless 0) is pending or the system time `timeout` has come.
pub fn poll(mut port: u32, timeout: u64) -> Result<()> {
    #[repr(C)]
    struct Arguments {
        ports: u64,
        count: u32,
        timeout: u64,
    }
    let count = u32::from(port != 0);
    let mut a = Arguments { ports: address(&mut port), count, timeout };
    hypercall(SCHED_OP, 3, address(&mut a), 0).map(drop)
}

/// An event channel operation on words.
fn event<const N: usize>(operation: u64, mut words: [u32; N]) -> Result<[u32; N]> {
    hypercall(EVENT_CHANNEL_OP, operation, address(&mut words), 0)?;
    // SAFETY: read again after the hypervisor wrote to it.
    Ok(unsafe { core::ptr::from_ref(&words).read_volatile() })
}

/// `EVTCHNOP_alloc_unbound` for `remote` to bind; the port.
pub fn alloc_unbound(remote: u16) -> Result<u32> {
    event(6, [u32::from(SELF) | u32::from(remote) << 16, 0]).map(|[_, port]| port)
}

/// `EVTCHNOP_bind_interdomain` to a port that `remote` offers; the local port.
pub fn bind_interdomain(remote: u16, port: u32) -> Result<u32> {
    event(0, [remote.into(), port, 0]).map(|[_, _, local]| local)
}

/// `EVTCHNOP_send`.
pub fn send(port: u32) -> Result<()> {
    event(4, [port]).map(drop)
}

/// `EVTCHNOP_close`.
pub fn close(port: u32) -> Result<()> {
    event(3, [port]).map(drop)
}

/// `GNTTABOP_map_grant_ref`, writable, at a page of ours; the handle. The status is an error, too.
pub fn map_grant(domain: u16, reference: u32, at: u64) -> Result<u32> {
    let mut words = [at as u32, (at >> 32) as u32, 2, reference, domain.into(), 0, 0, 0];
    hypercall(GRANT_TABLE_OP, 0, address(&mut words), 1)?;
    // SAFETY: read again after the hypervisor wrote to it.
    let words = unsafe { core::ptr::from_ref(&words).read_volatile() };
    grant_status(words[4] >> 16).map(|()| words[5])
}

/// `GNTTABOP_unmap_grant_ref`.
pub fn unmap_grant(handle: u32, at: u64) -> Result<()> {
    let mut words = [at as u32, (at >> 32) as u32, 0, 0, handle, 0];
    hypercall(GRANT_TABLE_OP, 1, address(&mut words), 1)?;
    // SAFETY: read again after the hypervisor wrote to it.
    let words = unsafe { core::ptr::from_ref(&words).read_volatile() };
    grant_status(words[5] & 0xFFFF)
}

/// `GNTTABOP_copy` of the first `len` bytes of a granted page to the start of a page of ours.
pub fn copy_grant(domain: u16, reference: u32, to: u64, len: u16) -> Result<()> {
    let gfn = to >> 12;
    let mut words = [
        reference,
        0,
        domain.into(),
        0,
        gfn as u32,
        (gfn >> 32) as u32,
        SELF.into(),
        0,
        u32::from(len) | 1 << 16,
        0,
    ];
    hypercall(GRANT_TABLE_OP, 5, address(&mut words), 1)?;
    // SAFETY: read again after the hypervisor wrote to it.
    let words = unsafe { core::ptr::from_ref(&words).read_volatile() };
    grant_status(words[9] & 0xFFFF)
}

fn grant_status(status: u32) -> Result<()> {
    match status as u16 as i16 {
        0 => Ok(()),
        error => Err(Error(error.into())),
    }
}

/// `XEN_DOMCTL_getdomaininfo`'s answer, as far as the guests read it here.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct DomainInfo {
    /// The domain's number.
    pub domain: u16,
    pad: u16,
    /// `XEN_DOMINF_*`.
    pub flags: u32,
    /// The pages it owns.
    pub pages: u64,
    rest: [u64; 12],
}

impl DomainInfo {
    const NONE: Self = Self { domain: 0, pad: 0, flags: 0, pages: 0, rest: [0; 12] };

    /// The domain has shut down or is being destroyed.
    pub fn ended(&self) -> bool {
        self.flags & 5 != 0
    }

    /// The domain is paused.
    pub fn paused(&self) -> bool {
        self.flags & 8 != 0
    }

    /// The number of vCPUs that are up.
    pub fn vcpus(&self) -> u32 {
        self.rest[6] as u32
    }
}

/// `XEN_SYSCTL_getdomaininfolist`: up to eight domains from number `first` on, and how many.
pub fn list_domains(first: u16) -> Result<([DomainInfo; 8], usize)> {
    let mut list = [DomainInfo::NONE; 8];
    let mut sysctl = [0_u32; 34];
    let buffer = list.as_mut_ptr() as u64;
    sysctl[..6].copy_from_slice(&[
        6,
        INTERFACE,
        first.into(),
        8,
        buffer as u32,
        (buffer >> 32) as u32,
    ]);
    hypercall(SYSCTL, address(&mut sysctl), 0, 0)?;
    // SAFETY: both are read again after the hypervisor wrote to them.
    unsafe {
        let count = core::ptr::from_ref(&sysctl[6]).read_volatile() as usize;
        Ok((core::ptr::from_ref(&list).read_volatile(), count.min(8)))
    }
}

/// A domain control without arguments: 2 destroys, 3 pauses, 4 resumes.
pub fn domctl(command: u32, domain: u16) -> Result<()> {
    let mut domctl = [0_u32; 36];
    domctl[..3].copy_from_slice(&[command, INTERFACE, domain.into()]);
    hypercall(DOMCTL, address(&mut domctl), 0, 0).map(drop)
}

/// `struct shared_info` of a 64-bit guest.
pub struct SharedInfo(Shared<[u8; 4096]>);

impl SharedInfo {
    /// A page that [`Self::map`] replaces.
    pub const fn new() -> Self {
        Self(Shared::new([0; 4096]))
    }

    /// Has the hypervisor put the real one in its place.
    pub fn map(&self) -> Result<()> {
        add_to_physmap(0, 0, self.0.address())
    }

    /// Takes a pending event on `port`.
    pub fn take_event(&self, port: u32) -> bool {
        // In this order an event that comes in between is found by the next call or poll.
        self.0.write(0, 0_u8);
        self.0.write(8, 0_u64);
        let word = self.0.address() + 2048 + u64::from(port / 64) * 8;
        let bit = 1 << (port % 64);
        // SAFETY: an aligned word of the page; the hypervisor changes it by whole accesses.
        let pending = unsafe { AtomicU64::from_ptr(word as *mut u64) };
        pending.fetch_and(!bit, Ordering::SeqCst) & bit != 0
    }

    /// System time in nanoseconds, from vCPU 0's `vcpu_time_info`.
    pub fn time(&self) -> u64 {
        let (stamp, base): (u64, u64) = (self.0.read(40), self.0.read(48));
        let (mul, shift): (u32, i8) = (self.0.read(56), self.0.read(60));
        let ticks = runtime::cpu::rdtsc().wrapping_sub(stamp);
        let ticks = if shift < 0 { ticks >> -shift } else { ticks << shift };
        base + ((u128::from(ticks) * u128::from(mul)) >> 32) as u64
    }

    /// Sleeps for a time, or until `port` (unless 0) is pending.
    pub fn sleep(&self, port: u32, nanoseconds: u64) -> Result<()> {
        poll(port, self.time() + nanoseconds)
    }
}

impl Default for SharedInfo {
    fn default() -> Self {
        Self::new()
    }
}
