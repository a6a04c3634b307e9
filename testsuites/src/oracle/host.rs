//! Runs cases on the host's processor: a traced child with one page of code and two of data, stepped
//! one instruction at a time.
#![expect(unsafe_code, reason = "fork, ptrace and shared memory")]

use super::case::Event;
use super::{CODE, Case, DATA, DATA_SIZE, Outcome};
use anyhow::{Context, Result, bail, ensure};
use std::ptr;

/// Flags that user code shows: the status flags and DF.
const SHOWN: u64 = 0xcd5;

/// A traced child.
pub struct Host {
    pid: libc::pid_t,
    code: *mut u8,
    data: *mut u8,
    /// The state in which the child stopped first: what a case does not say.
    regs: libc::user_regs_struct,
    fp: libc::user_fpregs_struct,
}

fn shared(at: u64, size: usize, protection: i32) -> Result<*mut u8> {
    let flags = libc::MAP_SHARED
        | libc::MAP_ANONYMOUS
        | if at != 0 { libc::MAP_FIXED_NOREPLACE } else { 0 };
    // SAFETY: a fresh mapping; a fixed one does not replace anything.
    let p = unsafe { libc::mmap(at as *mut _, size, protection, flags, -1, 0) };
    ensure!(p != libc::MAP_FAILED, "mmap at {at:#x}: {}", std::io::Error::last_os_error());
    Ok(p as *mut u8)
}

fn ptrace(request: u32, pid: libc::pid_t, addr: usize, data: usize) -> Result<()> {
    // SAFETY: `addr` and `data` are what the request wants; see each caller.
    let r = unsafe { libc::ptrace(request, pid, addr, data) };
    ensure!(r != -1, "ptrace {request}: {}", std::io::Error::last_os_error());
    Ok(())
}

impl Host {
    /// Starts the child. The pages are mapped here too, shared with it at the same addresses.
    pub fn new() -> Result<Host> {
        let rwx = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        let code = shared(CODE, 4096, rwx).context("the code page")?;
        let data =
            shared(DATA, DATA_SIZE, libc::PROT_READ | libc::PROT_WRITE).context("the data")?;
        // SAFETY: the child calls only async-signal-safe functions before it is stopped, for ever.
        let pid = unsafe { libc::fork() };
        ensure!(pid != -1, "fork: {}", std::io::Error::last_os_error());
        if pid == 0 {
            // SAFETY: as above. The code page loses its write permission in the child alone.
            unsafe {
                libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
                libc::mprotect(code as *mut _, 4096, libc::PROT_READ | libc::PROT_EXEC);
                libc::raise(libc::SIGSTOP);
                libc::_exit(1);
            }
        }
        // SAFETY: plain C structs.
        let (regs, fp) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        let mut host = Host { pid, code, data, regs, fp };
        host.wait()?;
        ptrace(libc::PTRACE_GETREGS, pid, 0, &raw mut host.regs as usize)?;
        ptrace(libc::PTRACE_GETFPREGS, pid, 0, &raw mut host.fp as usize)?;
        ptrace(libc::PTRACE_SETOPTIONS, pid, 0, libc::PTRACE_O_EXITKILL as usize)?;
        Ok(host)
    }

    /// The signal that stopped the child.
    fn wait(&self) -> Result<i32> {
        let mut status = 0;
        // SAFETY: waits for our own child.
        let r = unsafe { libc::waitpid(self.pid, &mut status, 0) };
        ensure!(r == self.pid, "waitpid: {}", std::io::Error::last_os_error());
        if !libc::WIFSTOPPED(status) {
            bail!("the child ended with status {status:#x}");
        }
        Ok(libc::WSTOPSIG(status))
    }

    /// Runs `case`.
    pub fn run(&mut self, case: &Case) -> Result<Outcome> {
        // SAFETY: both mappings are ours and of these sizes; the child is stopped.
        unsafe {
            self.code.write_bytes(0xcc, 4096);
            ptr::copy_nonoverlapping(case.code.as_ptr(), self.code, case.code.len());
            ptr::copy_nonoverlapping(case.data().as_ptr(), self.data, DATA_SIZE);
        }
        let (mut regs, mut fp) = (self.regs, self.fp);
        put(&mut regs, &case.state.regs);
        regs.rip = CODE;
        regs.eflags = case.state.flags | 0x202;
        regs.orig_rax = u64::MAX;
        for (n, v) in case.state.xmm.iter().enumerate() {
            for k in 0..4 {
                fp.xmm_space[n * 4 + k] = (v >> (32 * k)) as u32;
            }
        }
        fp.mxcsr = case.state.mxcsr;
        ptrace(libc::PTRACE_SETREGS, self.pid, 0, &raw mut regs as usize)?;
        ptrace(libc::PTRACE_SETFPREGS, self.pid, 0, &raw mut fp as usize)?;
        ptrace(libc::PTRACE_SINGLESTEP, self.pid, 0, 0)?;
        let mut signal = self.wait()?;
        ptrace(libc::PTRACE_GETREGS, self.pid, 0, &raw mut regs as usize)?;
        // A REP string instruction is stepped one iteration at a time.
        let rep = case.instruction().has_rep_prefix() || case.instruction().has_repne_prefix();
        for _ in 0..100 {
            if !(rep && signal == libc::SIGTRAP && regs.rip == CODE) {
                break;
            }
            ptrace(libc::PTRACE_SINGLESTEP, self.pid, 0, 0)?;
            signal = self.wait()?;
            ptrace(libc::PTRACE_GETREGS, self.pid, 0, &raw mut regs as usize)?;
        }
        ptrace(libc::PTRACE_GETFPREGS, self.pid, 0, &raw mut fp as usize)?;
        self.outcome(case, signal, &regs, &fp)
    }

    fn outcome(
        &self,
        case: &Case,
        signal: i32,
        regs: &libc::user_regs_struct,
        fp: &libc::user_fpregs_struct,
    ) -> Result<Outcome> {
        let mut data = vec![0; DATA_SIZE];
        // SAFETY: as in `run`.
        unsafe { ptr::copy_nonoverlapping(self.data, data.as_mut_ptr(), DATA_SIZE) };
        let lanes =
            |n: usize| (0..4).fold(0, |v, k| v | (fp.xmm_space[n * 4 + k] as u128) << (32 * k));
        let mut state = case.state.clone();
        state.regs = take(regs);
        state.rip = regs.rip;
        state.flags = regs.eflags & SHOWN;
        state.xmm = std::array::from_fn(lanes);
        state.mxcsr = fp.mxcsr;
        let lines = super::case::changes(&case.data(), &data);
        Ok(Outcome { event: self.event(signal)?, state, lines })
    }

    fn event(&self, signal: i32) -> Result<Event> {
        // SAFETY: a plain C struct, filled by the request.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        ptrace(libc::PTRACE_GETSIGINFO, self.pid, 0, &raw mut info as usize)?;
        // SAFETY: the union's address field is valid for these signals.
        let address = unsafe { info.si_addr() } as u64;
        const SI_KERNEL: i32 = 0x80;
        let vector = match signal {
            libc::SIGTRAP => 1,
            libc::SIGFPE if info.si_code == 1 => 0,
            libc::SIGFPE => 16,
            libc::SIGILL => 6,
            libc::SIGSEGV if info.si_code == SI_KERNEL => 13,
            libc::SIGSEGV => return Ok(Event { vector: 14, error: 0, address }),
            libc::SIGBUS if info.si_code == libc::BUS_ADRALN => 17,
            _ => 13,
        };
        Ok(Event { vector, ..Event::default() })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // SAFETY: ends our own child and drops our own mappings.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, ptr::null_mut(), 0);
            libc::munmap(self.code as *mut _, 4096);
            libc::munmap(self.data as *mut _, DATA_SIZE);
        }
    }
}

fn put(r: &mut libc::user_regs_struct, v: &[u64; 16]) {
    [r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi] =
        [v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]];
    [r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15] =
        [v[8], v[9], v[10], v[11], v[12], v[13], v[14], v[15]];
}

fn take(r: &libc::user_regs_struct) -> [u64; 16] {
    [
        r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi, r.r8, r.r9, r.r10, r.r11, r.r12,
        r.r13, r.r14, r.r15,
    ]
}
