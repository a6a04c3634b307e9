//! A case: one instruction and the state that it meets; and its outcome.
//!
//! The code page holds the instruction at its start and INT3 after it and all around, so that a case
//! ends in an exception always: its own fault, or #BP where it leads to, or, with TF set, #DB.

use super::base;
use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter};
use std::fmt;

/// Linear address of the page that holds the instruction: executable, not writable.
pub const CODE: u64 = 0x1000_0000;
/// Linear address of the data pages: not executable. What lies around them is not mapped.
pub const DATA: u64 = 0x2000_0000;
/// Bytes of data.
pub const DATA_SIZE: usize = 8192;
/// Bytes of data that a [`Line`] holds.
pub const LINE: usize = 64;

/// How the code segment has its instructions decoded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Mode {
    /// 64-bit mode.
    #[default]
    Bits64,
    /// Compatibility mode, 32-bit code.
    Bits32,
    /// Compatibility mode, 16-bit code, in a segment that begins at [`CODE`].
    Bits16,
}

impl Mode {
    /// The three modes, widest first.
    pub const ALL: [Mode; 3] = [Mode::Bits64, Mode::Bits32, Mode::Bits16];

    /// Width of the mode's code, in bits.
    pub fn bits(self) -> u32 {
        match self {
            Mode::Bits64 => 64,
            Mode::Bits32 => 32,
            Mode::Bits16 => 16,
        }
    }

    /// Where the instruction is, as an offset in CS.
    pub fn start(self) -> u64 {
        if self == Mode::Bits16 { 0 } else { CODE }
    }
}

/// A register of the x87 stack.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct St {
    /// Significand with its explicit integer bit; the MMX register.
    pub m: u64,
    /// Sign and exponent.
    pub se: u16,
}

/// What an instruction of user mode can see beside memory.
#[repr(C)]
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// General-purpose registers in encoding order.
    pub regs: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// Status flags, DF, AC, NT, ID. In an outcome TF too.
    pub flags: u64,
    /// Selectors of ES, CS, SS, DS, FS, GS. In 64-bit mode SS and CS are always Linux's own.
    pub segs: [u16; 6],
    /// Bases of FS and GS; of consequence in 64-bit mode.
    pub bases: [u64; 2],
    /// SSE control and status.
    pub mxcsr: u32,
    /// x87 control word.
    pub cw: u16,
    /// x87 status word with TOP.
    pub sw: u16,
    /// x87 tags as FXSAVE keeps them: a bit for each of R0 to R7 that is not empty.
    pub tags: u16,
    /// ST(0) to ST(7).
    pub st: [St; 8],
    /// XMM registers.
    pub xmm: [u128; 16],
    /// Upper halves of the YMM registers.
    pub upper: [u128; 16],
}

/// Eight bytes of data that differ from the base's.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Patch {
    /// Offset from [`DATA`].
    pub at: u16,
    /// Bytes at that place.
    pub bytes: [u8; 8],
}

/// One instruction and the state that it meets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    /// Mode of the code.
    pub mode: Mode,
    /// The bytes; INT3 from `len` on.
    pub code: [u8; 15],
    /// Length of the instruction, 15 if the decoder knows none.
    pub len: u8,
    /// Whether TF is set.
    pub step: bool,
    /// The state is written down as its difference from [`base::state`] of this seed.
    pub seed: u64,
    /// Memory is [`base::data`] of this seed, with the patches.
    pub page: u64,
    /// Registers before the instruction.
    pub state: State,
    /// What differs in memory.
    pub patches: Vec<Patch>,
}

/// The exception that ended a case.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Event {
    /// Vector; [`Event::SYSCALL`] for a system call, which is not run.
    pub vector: u8,
    /// Error code, 0 for vectors without one.
    pub error: u32,
    /// Address of a page fault.
    pub address: u64,
}

impl Event {
    /// The vector that stands for a system call.
    pub const SYSCALL: u8 = 0xff;
}

/// A line of data that is not as it was before, with its new contents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line {
    /// Offset from [`DATA`].
    pub at: u16,
    /// Content of the line.
    pub bytes: [u8; LINE],
}

/// What came of a case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Event that ended the case.
    pub event: Event,
    /// Registers after the instruction.
    pub state: State,
    /// Changed lines of memory, in order.
    pub lines: Vec<Line>,
}

impl Case {
    /// An instruction that meets the state and the data of two seeds.
    pub fn new(mode: Mode, code: [u8; 15], seed: u64, page: u64) -> Case {
        let state = base::state(mode, seed);
        let mut case =
            Case { mode, code, len: 15, step: false, seed, page, state, patches: vec![] };
        case.trim();
        case
    }

    /// Recomputes `len` from the bytes, and puts INT3 after.
    pub fn trim(&mut self) {
        self.len = 15;
        let i = self.instruction();
        if !i.is_invalid() {
            self.len = i.len() as u8;
            self.code[i.len()..].fill(0xcc);
        }
    }

    /// Whether the instruction branches into its own bytes; it has to be stepped then, or it might
    /// never end.
    pub fn inward(&self) -> bool {
        let i = self.instruction();
        let near = i.is_jmp_short_or_near()
            || i.is_jcc_short_or_near()
            || i.is_call_near()
            || i.is_loop()
            || i.is_loopcc()
            || i.is_jcx_short();
        near && i.near_branch_target().wrapping_sub(i.ip()) < i.len() as u64
    }

    /// The decoded instruction.
    pub fn instruction(&self) -> Instruction {
        let (bits, ip) = (self.mode.bits(), self.mode.start());
        Decoder::with_ip(bits, &self.code, ip, DecoderOptions::NONE).decode()
    }

    /// The data pages before the instruction.
    pub fn data(&self) -> Vec<u8> {
        let mut data = base::data(self.page).to_vec();
        for p in &self.patches {
            data[p.at as usize..][..8].copy_from_slice(&p.bytes);
        }
        data
    }

    /// Sets `bytes` of memory at linear address `la`, so far as it lies in the data pages.
    pub fn poke(&mut self, la: u64, bytes: &[u8]) {
        for (k, b) in bytes.iter().enumerate() {
            let at = la.wrapping_add(k as u64).wrapping_sub(DATA) as usize;
            if at < DATA_SIZE {
                self.patch(at & !7).bytes[at & 7] = *b;
            }
        }
    }

    /// The patch at an offset, which is one of nothing if there is none yet.
    fn patch(&mut self, at: usize) -> &mut Patch {
        let n = match self.patches.iter().position(|p| p.at as usize == at) {
            Some(n) => n,
            None => {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(&base::data(self.page)[at..at + 8]);
                self.patches.push(Patch { at: at as u16, bytes });
                self.patches.len() - 1
            }
        };
        &mut self.patches[n]
    }
}

/// The lines in which `now` is not `was`.
pub fn changes(was: &[u8], now: &[u8]) -> Vec<Line> {
    let pairs = was.chunks_exact(LINE).zip(now.chunks_exact(LINE)).enumerate();
    pairs
        .filter_map(|(n, (was, now))| {
            let bytes = now.try_into().ok()?;
            (was != now).then_some(Line { at: (n * LINE) as u16, bytes })
        })
        .collect()
}

/// Bytes, disassembly, form.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let i = self.instruction();
        let mut text = String::new();
        IntelFormatter::new().format(&i, &mut text);
        write!(f, "{:2} ", self.mode.bits())?;
        for b in &self.code[..self.len as usize] {
            write!(f, "{b:02x}")?;
        }
        write!(f, "  {text}  {:?}", i.code())
    }
}
