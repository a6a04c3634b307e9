//! How code is decoded: a consequence of control and segment registers.

/// How code is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum CodeMode {
    /// Real, virtual-8086 or 16-bit protected mode.
    Bits16 = 0,
    /// 32-bit protected or compatibility mode with segments that are not all flat.
    Bits32 = 1,
    /// 32-bit mode with flat CS, SS, DS, ES: addresses need no segment.
    Flat32 = 2,
    /// 64-bit mode.
    Bits64 = 3,
}

impl CodeMode {
    /// Whether segments neither add to addresses nor limit them.
    pub fn flat(self) -> bool {
        matches!(self, CodeMode::Flat32 | CodeMode::Bits64)
    }
}
