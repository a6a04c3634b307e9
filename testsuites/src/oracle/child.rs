//! The host child: a process whose whole life after its start is one signal handler.
//!
//! Each case ends in a signal. The handler reads the outcome from the signal's frame, puts the next
//! case there, and returns into it by `rt_sigreturn`. FS and GS belong to the case, so nothing here
//! may touch thread-local storage: no library calls, no allocation, no panics. A seccomp filter lets
//! through only the two system calls of this file, told by their addresses.
//! Linux, arch/x86/kernel/signal.c and `man 2 rt_sigreturn`.
#![expect(unsafe_code, reason = "runs as a signal handler")]

use super::case::{CODE, DATA, DATA_SIZE, Event, LINE, St, State};
use super::segments::LOCAL;
use super::shared::{LINES, Shared, Slot};
use std::arch::{asm, global_asm};
use std::ptr::{copy_nonoverlapping, null_mut};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// No case runs.
pub(super) const IDLE: u32 = u32::MAX;
/// Flags that a case sees: status, TF, DF, NT, AC, ID.
const SHOWN: u64 = 0x24_4dd5;
/// Flags that `rt_sigreturn` leaves as they are at the call: NT, ID.
const KEPT: u64 = 0x20_4000;
/// Where gregs[] holds the registers, in encoding order, and RIP, EFLAGS, selectors and the rest.
const GREGS: [usize; 16] = [13, 14, 12, 11, 15, 10, 9, 8, 0, 1, 2, 3, 4, 5, 6, 7];
const RIP: usize = 16;
const EFL: usize = 17;
const SELECTORS: usize = 18;
const ERR: usize = 19;
const TRAPNO: usize = 20;
const CR2: usize = 22;

static mut SHARED: *mut Shared = null_mut();
static mut WRITABLE_CODE: *mut u8 = null_mut();
/// Memory as it was before the case.
static mut WAS: [u8; DATA_SIZE] = [0; DATA_SIZE];
static mut EXIT_FLAGS: u64 = 2;

global_asm!(
    // A handler begins with the case's AC and NT.
    "strata_oracle_entry:",
    "pushfq",
    "and qword ptr [rsp], -0x44001",
    "popfq",
    "jmp {handler}",
    "strata_oracle_restore:",
    "push qword ptr [rip + {flags}]",
    "popfq",
    "mov eax, 15",
    "syscall",
    "strata_oracle_restored:",
    "ud2",
    "strata_oracle_futex:",
    "mov r10, rcx",
    "mov eax, 202",
    "syscall",
    "strata_oracle_futex_done:",
    "ret",
    handler = sym handler,
    flags = sym EXIT_FLAGS,
);

unsafe extern "C" {
    fn strata_oracle_entry();
    fn strata_oracle_restore();
    fn strata_oracle_restored();
    fn strata_oracle_futex(word: *const u32, op: i32, value: u32, timeout: usize) -> i64;
    fn strata_oracle_futex_done();
}

/// The handler. `SHARED` and what it points to are this process's and its owner's, who keeps off them
/// between `asked` and `done`.
unsafe extern "C" fn handler(
    signal: i32,
    _info: *mut libc::siginfo_t,
    frame: *mut libc::ucontext_t,
) {
    // SAFETY: see above; the frame is the kernel's.
    unsafe {
        let shared = SHARED;
        let mut n = (*shared).current.load(Relaxed);
        if n != IDLE {
            save(&raw mut (*shared).slots[n as usize], signal, frame);
            n += 1;
            if n == (*shared).count.load(Relaxed) {
                finish(shared);
                n = 0;
            }
        } else {
            wait(shared);
            n = 0;
        }
        (*shared).current.store(n, Relaxed);
        load(&raw const (*shared).slots[n as usize], frame);
    }
}

/// Ends a batch, and waits for another.
unsafe fn finish(shared: *mut Shared) {
    // SAFETY: as `handler`.
    unsafe {
        (*shared).current.store(IDLE, Relaxed);
        let asked = (*shared).asked.load(Relaxed);
        (*shared).done.store(asked, Release);
        strata_oracle_futex((*shared).done.as_ptr(), libc::FUTEX_WAKE, 1, 0);
        wait(shared);
    }
}

unsafe fn wait(shared: *mut Shared) {
    // SAFETY: as `handler`.
    unsafe {
        let done = (*shared).done.load(Relaxed);
        while (*shared).asked.load(Acquire) == done {
            strata_oracle_futex((*shared).asked.as_ptr(), libc::FUTEX_WAIT, done, 0);
        }
        let base = (&raw const (*shared).base).cast::<u8>();
        copy_nonoverlapping(base, DATA as *mut u8, DATA_SIZE);
        copy_nonoverlapping(base, (&raw mut WAS).cast(), DATA_SIZE);
    }
}

unsafe fn load(slot: *const Slot, frame: *mut libc::ucontext_t) {
    // SAFETY: as `handler`; the patches are inside the data.
    unsafe {
        copy_nonoverlapping((*slot).code.as_ptr(), WRITABLE_CODE, 16);
        for p in (&(*slot).patches)[..(*slot).patched as usize].iter() {
            copy_nonoverlapping(p.bytes.as_ptr(), (DATA as *mut u8).add(p.at as usize), 8);
            copy_nonoverlapping(
                p.bytes.as_ptr(),
                (&raw mut WAS).cast::<u8>().add(p.at as usize),
                8,
            );
        }
        let s = &(*slot).state;
        let g = &mut (*frame).uc_mcontext.gregs;
        for (k, at) in GREGS.iter().enumerate() {
            g[*at] = s.regs[k] as i64;
        }
        g[RIP] = s.rip as i64;
        g[EFL] = (s.flags | 0x202 | ((*slot).step as u64) << 8) as i64;
        g[SELECTORS] = (s.segs[1] as u64 | (s.segs[2] as u64) << 48) as i64;
        EXIT_FLAGS = s.flags & KEPT | 0x202;
        put_vectors(s, (*frame).uc_mcontext.fpregs.cast());
        put_segments(s);
    }
}

/// The registers in the XSAVE area. SDM vol. 1, "Legacy Region of an XSAVE Area".
unsafe fn put_vectors(s: &State, x: *mut u8) {
    // SAFETY: the kernel made the area with room for the YMM registers.
    unsafe {
        x.cast::<[u16; 4]>().write_unaligned([s.cw, s.sw, s.tags, 0]);
        x.add(8).cast::<[u64; 2]>().write_unaligned([0; 2]);
        x.add(24).cast::<u32>().write_unaligned(s.mxcsr);
        for (k, r) in s.st.iter().enumerate() {
            x.add(32 + 16 * k).cast::<[u64; 2]>().write_unaligned([r.m, r.se as u64]);
        }
        copy_nonoverlapping(s.xmm.as_ptr().cast(), x.add(160), 256);
        copy_nonoverlapping(s.upper.as_ptr().cast(), x.add(576), 256);
        x.add(512).cast::<u64>().write_unaligned(7);
    }
}

/// DS, ES, FS, GS and the bases of the last two.
unsafe fn put_segments(s: &State) {
    // SAFETY: the generator gives selectors that can be loaded.
    unsafe {
        asm!("mov es, {:e}", in(reg) s.segs[0] as u32);
        asm!("mov ds, {:e}", in(reg) s.segs[3] as u32);
        asm!("mov fs, {:e}", in(reg) s.segs[4] as u32);
        asm!("mov gs, {:e}", in(reg) s.segs[5] as u32);
        if s.segs[4] & 0xfffc == 0 {
            asm!("wrfsbase {}", in(reg) s.bases[0]);
        }
        if s.segs[5] & 0xfffc == 0 {
            asm!("wrgsbase {}", in(reg) s.bases[1]);
        }
    }
}

unsafe fn save(slot: *mut Slot, signal: i32, frame: *const libc::ucontext_t) {
    // SAFETY: as `handler`.
    unsafe {
        let g = &(*frame).uc_mcontext.gregs;
        let s = &mut (*slot).state;
        for (k, at) in GREGS.iter().enumerate() {
            s.regs[k] = g[*at] as u64;
        }
        s.rip = g[RIP] as u64;
        s.flags = g[EFL] as u64 & SHOWN;
        s.segs[1] = g[SELECTORS] as u16;
        s.segs[2] = (g[SELECTORS] >> 48) as u16;
        (*slot).signal = signal;
        (*slot).event = event(signal, g);
        take_segments(s);
        take_vectors(s, (*frame).uc_mcontext.fpregs.cast());
        take_memory(slot);
    }
}

fn event(signal: i32, g: &[i64; 23]) -> Event {
    let vector = if signal == libc::SIGSYS { Event::SYSCALL } else { g[TRAPNO] as u8 };
    let address = if vector == 14 { g[CR2] as u64 } else { 0 };
    let plain = matches!(vector, 0..=7 | 9 | 16 | 19 | Event::SYSCALL);
    Event { vector, error: if plain { 0 } else { g[ERR] as u32 }, address }
}

unsafe fn take_segments(s: &mut State) {
    let (es, ds, fs, gs): (u32, u32, u32, u32);
    // SAFETY: reads registers.
    unsafe {
        asm!("mov {:e}, es", out(reg) es);
        asm!("mov {:e}, ds", out(reg) ds);
        asm!("mov {:e}, fs", out(reg) fs);
        asm!("mov {:e}, gs", out(reg) gs);
        asm!("rdfsbase {}", out(reg) s.bases[0]);
        asm!("rdgsbase {}", out(reg) s.bases[1]);
    }
    (s.segs[0], s.segs[3], s.segs[4], s.segs[5]) = (es as u16, ds as u16, fs as u16, gs as u16);
}

unsafe fn take_vectors(s: &mut State, x: *const u8) {
    // SAFETY: as `put_vectors`.
    unsafe {
        [s.cw, s.sw, s.tags, _] = x.cast::<[u16; 4]>().read_unaligned();
        s.mxcsr = x.add(24).cast::<u32>().read_unaligned();
        for (k, r) in s.st.iter_mut().enumerate() {
            let [m, se] = x.add(32 + 16 * k).cast::<[u64; 2]>().read_unaligned();
            *r = St { m, se: se as u16 };
        }
        copy_nonoverlapping(x.add(160), s.xmm.as_mut_ptr().cast(), 256);
        copy_nonoverlapping(x.add(576), s.upper.as_mut_ptr().cast(), 256);
    }
}

type Words = [u64; LINE / 8];

/// Notes the lines that have changed, and puts memory back to the base of the batch.
unsafe fn take_memory(slot: *mut Slot) {
    // SAFETY: as `handler`; lines are inside the data.
    unsafe {
        let was = (&raw mut WAS).cast::<u8>();
        let now = DATA as *mut u8;
        let base = (&raw const (*SHARED).base).cast::<u8>();
        let mut changed = 0;
        for at in (0..DATA_SIZE).step_by(LINE) {
            let (a, b) = (was.add(at).cast::<Words>(), now.add(at).cast::<Words>());
            if same(&*a, &*b) {
                continue;
            }
            if changed < LINES {
                (*slot).at[changed] = at as u16;
                copy_nonoverlapping(now.add(at), (&raw mut (*slot).lines[changed]).cast(), LINE);
            }
            changed += 1;
            copy_nonoverlapping(base.add(at), now.add(at), LINE);
        }
        (*slot).changed = changed as u16;
        for p in (&(*slot).patches)[..(*slot).patched as usize].iter() {
            let at = p.at as usize;
            copy_nonoverlapping(base.add(at), now.add(at), 8);
            copy_nonoverlapping(base.add(at), was.add(at), 8);
        }
    }
}

fn same(a: &Words, b: &Words) -> bool {
    a.iter().zip(b).fold(0, |d, (a, b)| d | (a ^ b)) == 0
}

/// What the kernel calls `struct sigaction`.
#[repr(C)]
struct Action {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

const SA_RESTORER: u64 = 0x0400_0000;

/// Becomes the child. `code` is a shared page; the case sees it at [`CODE`].
///
/// # Safety
/// Only in a process that has just been forked, with nothing at [`CODE`] and [`DATA`].
pub(super) unsafe fn enter(shared: *mut Shared, code: *mut u8, stack: *mut u8, size: usize) -> ! {
    // SAFETY: only plain system calls.
    unsafe {
        let ok = map(code) && segments() && signals(stack, size);
        if !ok {
            libc::_exit(1);
        }
        SHARED = shared;
        WRITABLE_CODE = code;
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::setrlimit(libc::RLIMIT_CORE, &libc::rlimit { rlim_cur: 0, rlim_max: 0 });
        if !confine() {
            libc::_exit(2);
        }
        asm!("int3", "ud2", options(noreturn));
    }
}

unsafe fn map(code: *mut u8) -> bool {
    let fixed = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    let rw = libc::PROT_READ | libc::PROT_WRITE;
    let same = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: fresh mappings at free addresses. A shared page moved with length 0 is then there twice.
    unsafe {
        let data = libc::mmap(DATA as *mut _, DATA_SIZE, rw, fixed, -1, 0);
        let alias = libc::mremap(code.cast(), 0, 4096, same, CODE as *mut libc::c_void);
        data as u64 == DATA
            && alias as u64 == CODE
            && libc::mprotect(alias, 4096, libc::PROT_READ | libc::PROT_EXEC) == 0
    }
}

unsafe fn segments() -> bool {
    const WRITE: i32 = 0x11;
    LOCAL.iter().enumerate().all(|(n, row)| {
        let d = row.user_desc(n as u32);
        // SAFETY: the kernel checks the descriptor.
        unsafe { libc::syscall(libc::SYS_modify_ldt, WRITE, d.as_ptr(), size_of_val(&d)) == 0 }
    })
}

unsafe fn signals(stack: *mut u8, size: usize) -> bool {
    use libc::{SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
    let alternate = libc::stack_t { ss_sp: stack.cast(), ss_flags: 0, ss_size: size };
    let flags = (libc::SA_ONSTACK | libc::SA_SIGINFO | libc::SA_NODEFER) as u64 | SA_RESTORER;
    let action = Action {
        handler: strata_oracle_entry as *const () as usize,
        flags,
        restorer: strata_oracle_restore as *const () as usize,
        mask: 0,
    };
    // SAFETY: the handler and its stack last as long as the process.
    unsafe {
        libc::sigaltstack(&alternate, null_mut()) == 0
            && [SIGTRAP, SIGSEGV, SIGILL, SIGFPE, SIGBUS, SIGSYS].iter().all(|s| {
                libc::syscall(libc::SYS_rt_sigaction, *s, &action, null_mut::<Action>(), 8) == 0
            })
    }
}

/// Lets only the system calls of this file through; any other traps.
unsafe fn confine() -> bool {
    use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
    let load = |at| stmt(BPF_LD | BPF_W | BPF_ABS, at);
    let equal = |k, yes, no| libc::sock_filter {
        code: (BPF_JMP | BPF_JEQ | BPF_K) as u16,
        jt: yes,
        jf: no,
        k,
    };
    let sigreturn = strata_oracle_restored as *const () as u64;
    let futex = strata_oracle_futex_done as *const () as u64;
    if sigreturn >> 32 != futex >> 32 {
        return false;
    }
    // struct seccomp_data: nr, arch, instruction_pointer.
    let mut rows = [
        load(12),
        equal((sigreturn >> 32) as u32, 0, 3),
        load(8),
        equal(sigreturn as u32, 2, 0),
        equal(futex as u32, 1, 0),
        stmt(BPF_RET, libc::SECCOMP_RET_TRAP),
        stmt(BPF_RET, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: rows.len() as u16, filter: rows.as_mut_ptr() };
    // SAFETY: the program is copied by the call.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) == 0
    }
}

fn stmt(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}
