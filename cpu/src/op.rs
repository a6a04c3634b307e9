//! A pre-decoded operation: what the decoder leaves for the handlers.
#![expect(unsafe_code, reason = "a branch's tag lies where other operations have other fields")]

use crate::Cpu;

/// Runs an operation and all that follow, until one leaves. Behind operation and processor come the
/// [pinned](crate::dispatch::PINNED) registers. What is stored to the processor does not change the operation.
#[cfg(threaded)]
pub type HandlerFn = unsafe extern "sysv64" fn(*const Op, &mut Cpu, u64, u64, u64);

/// Runs one operation; returns the next, or null to leave.
#[cfg(not(threaded))]
pub type HandlerFn = unsafe fn(*const Op, *mut Cpu) -> *const Op;

/// One operation of a block: a handler and its small operands. Register operands are byte offsets
/// into [`crate::Cpu`], so that AH is 1 and CH is 9.
#[repr(C, align(32))]
#[derive(Clone, Copy)]
pub struct Op {
    /// Function that carries the operation out.
    pub handler: HandlerFn,
    /// Immediate operand; link of a branch; side data of a plain operation.
    pub imm: u64,
    /// Displacement of the memory operand, sign-extended; immediate of a fused operation.
    pub disp: i32,
    /// Destination register.
    pub dst: u8,
    /// Source register.
    pub src: u8,
    /// Base register of the memory operand, or [`slot::ZERO`].
    pub base: u8,
    /// Index register of the memory operand, or [`slot::ZERO`].
    pub index: u8,
    /// Guest instructions in the block up to and including this operation.
    pub retired: u16,
    /// Offset of the instruction in its page.
    pub page_offset: u16,
    /// Scale of the index: 1, 2, 4 or 8. A multiplication leaves the host's RCX alone.
    pub scale: u8,
    /// Slot of the segment base that the address adds.
    pub seg: u8,
    /// Length of the instruction in bytes.
    pub len: u8,
    /// Address size and segmentation, see [`op_flags`].
    pub flags: u8,
}

impl Op {
    /// Of a branch into another page: the tag that its link had before, under which the link holds as well,
    /// kept where other operations have a displacement and registers.
    ///
    /// # Safety
    /// `op` is a live branch into another page.
    #[inline(always)]
    pub(crate) unsafe fn alternate_tag(op: *const Op) -> u64 {
        // SAFETY: displacement and registers are eight bytes that a branch has to itself.
        unsafe { (&raw const (*op).disp).cast::<u64>().read() }
    }

    /// Sets the alternate tag.
    pub(crate) fn set_alternate_tag(&mut self, tag: u64) {
        let b = tag.to_le_bytes();
        self.disp = i32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        [self.dst, self.src, self.base, self.index] = [b[4], b[5], b[6], b[7]];
    }
}

/// Byte offsets into [`crate::Cpu`] after the sixteen registers.
pub mod slot {
    /// Always zero.
    pub const ZERO: u8 = 0x80;
    /// Linear address of the page that holds the running block.
    pub const PAGE_BASE: u8 = 0x88;
    /// Segment bases in the order ES, CS, SS, DS, FS, GS.
    pub const SEG: u8 = 0x90;
    /// Always 8192.
    pub const TWO_PAGES: u8 = 0xc0;
}

/// Bits of [`Op::flags`].
pub mod op_flags {
    /// The address is cut to 32 bits.
    pub const ADDR32: u8 = 1;
    /// The address is cut to 16 bits.
    pub const ADDR16: u8 = 2;
    /// The access goes through the segment's limit and type checks.
    pub const LEGACY: u8 = 4;
    /// Two guest instructions in one operation.
    pub const FUSED: u8 = 8;
    /// Where the segment number (ES, CS, SS, DS, FS, GS = 0 to 5) stands.
    pub const SEG_SHIFT: u32 = 4;
}

/// Bits of [`crate::dispatch::Semantics::READS`] and [`crate::dispatch::Semantics::SETS`]. The low sixteen
/// are registers that the instruction names by itself, by number.
pub mod uses {
    /// The register in [`super::Op::dst`].
    pub const DST: u32 = 1 << 16;
    /// The register in [`super::Op::src`].
    pub const SRC: u32 = 1 << 17;
    /// The register in [`super::Op::base`].
    pub const BASE: u32 = 1 << 18;
    /// The register in [`super::Op::index`].
    pub const INDEX: u32 = 1 << 19;
    /// Any of the sixteen registers.
    pub const ANY: u32 = 1 << 20;
    /// As the four above, of operands that only superinstructions know: vector registers, and ST(i).
    pub const fn vector_operands(used: u32) -> u32 {
        (used & (DST | SRC | BASE | INDEX)) << 8
    }
    /// The stack pointer.
    pub const RSP: u32 = 1 << crate::state::gpr::RSP;
    /// The accumulator, RAX.
    pub const RAX: u32 = 1 << crate::state::gpr::RAX;
    /// The count register.
    pub const RCX: u32 = 1 << crate::state::gpr::RCX;
}
