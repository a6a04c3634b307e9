//! The host's processor as the oracle of single instructions in 64-bit user mode.
//!
//! Reading order: [`Case`] and [`Outcome`] (what is compared), [`generate`] (where cases come from),
//! [`host`] (a traced child runs them), [`ours`] (a bare processor runs them), [`compare`].

pub mod generate;
pub mod host;
pub mod ours;

use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter};

/// Linear address of the page that holds the instruction.
pub const CODE: u64 = 0x1000_0000;
/// Linear address of the data pages; what lies around them is not mapped.
pub const DATA: u64 = 0x2000_0000;
/// Bytes of data.
pub const DATA_SIZE: usize = 8192;

/// One instruction and the state that it meets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    /// The bytes; what the instruction does not use is of no consequence.
    pub code: [u8; 15],
    /// General-purpose registers in encoding order.
    pub regs: [u64; 16],
    /// Status flags and DF.
    pub flags: u64,
    /// Memory at [`DATA`].
    pub data: Vec<u8>,
    /// XMM registers.
    pub xmm: [u128; 16],
    /// MXCSR.
    pub mxcsr: u32,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// General-purpose registers.
    pub regs: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// Status flags and DF.
    pub flags: u64,
    /// Memory at [`DATA`].
    pub data: Vec<u8>,
    /// XMM registers.
    pub xmm: [u128; 16],
    /// MXCSR.
    pub mxcsr: u32,
    /// The fault, if there was one.
    pub fault: Option<Fault>,
}

/// Classes of faults that a user process can tell apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// #DE.
    Divide,
    /// #UD.
    Undefined,
    /// #PF at this address.
    Page(u64),
    /// #GP, #SS: no address.
    Protection,
    /// #BP, #DB.
    Trap,
    /// #MF, #XM.
    Float,
    /// #AC.
    Alignment,
    /// Something else.
    Other(i32),
}

impl Case {
    /// The decoded instruction.
    pub fn instruction(&self) -> Instruction {
        Decoder::with_ip(64, &self.code, CODE, DecoderOptions::NONE).decode()
    }

    /// Bytes and disassembly.
    pub fn describe(&self) -> String {
        let i = self.instruction();
        let mut text = String::new();
        IntelFormatter::new().format(&i, &mut text);
        let bytes: Vec<String> = self.code[..i.len()].iter().map(|b| format!("{b:02x}")).collect();
        format!("{}  {text}  {:?}", bytes.join(" "), i.code())
    }
}

/// The differences, a line each.
pub fn compare(case: &Case, host: &Outcome, ours: &Outcome) -> Vec<String> {
    let mut out = Vec::new();
    let mut line = |what: String, h: String, o: String| {
        if h != o {
            out.push(format!("  {what:8} host {h} ours {o}"));
        }
    };
    line("fault".into(), format!("{:x?}", host.fault), format!("{:x?}", ours.fault));
    line("rip".into(), format!("{:#x}", host.rip), format!("{:#x}", ours.rip));
    for n in 0..16 {
        line(format!("r{n}"), format!("{:#x}", host.regs[n]), format!("{:#x}", ours.regs[n]));
        line(format!("xmm{n}"), format!("{:#034x}", host.xmm[n]), format!("{:#034x}", ours.xmm[n]));
    }
    line("flags".into(), format!("{:#x}", host.flags), format!("{:#x}", ours.flags));
    line("mxcsr".into(), format!("{:#x}", host.mxcsr), format!("{:#x}", ours.mxcsr));
    if let Some(at) = (0..DATA_SIZE).find(|&k| host.data[k] != ours.data[k]) {
        let (h, o) = (host.data[at], ours.data[at]);
        line(format!("data+{at:#x}"), format!("{h:#x}"), format!("{o:#x}"));
    }
    if !out.is_empty() {
        out.insert(0, format!("{} flags {:#x} regs {:x?}", case.describe(), case.flags, case.regs));
    }
    out
}
