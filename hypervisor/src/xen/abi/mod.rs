//! The Xen 4.17 guest ABI as data: numbers, error codes and structure layouts.
//!
//! The numbers are those of Xen's public headers (`xen/include/public`), which exist to be used
//! by guests and tools of any licence. Nothing here has behaviour beyond decoding and encoding.

pub mod control_nr;
pub mod hvm_context;
pub mod layout;
pub mod nr;

/// An error code of `public/errno.h`; a hypercall returns its negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are the documentation, as in errno.h")]
pub enum Errno {
    Perm = 1,
    NoEnt = 2,
    Srch = 3,
    Io = 5,
    TooBig = 7,
    NoExec = 8,
    Again = 11,
    NoMem = 12,
    Acces = 13,
    Fault = 14,
    Busy = 16,
    Exist = 17,
    XDev = 18,
    NoDev = 19,
    Inval = 22,
    NoSpc = 28,
    Range = 34,
    NoSys = 38,
    NoData = 61,
    Time = 62,
    Overflow = 75,
    OpNotSupp = 95,
    NoBufs = 105,
}

impl Errno {
    /// The value a hypercall returns for this error.
    pub fn result(self) -> i64 {
        -i64::from(self as u8)
    }
}

/// The result of a hypercall handler: a non-negative number, or an error.
pub type OpResult = Result<i64, Errno>;

/// The ABI width of a hypercall's caller: which layouts its structures have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Width {
    /// 64-bit code.
    #[default]
    Long,
    /// 32-bit code (protected or compatibility mode): the "compat" layouts.
    Compat,
}
