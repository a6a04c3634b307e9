//! Why an instruction did not complete: the guest's fault or exit, as data.

use serde::{Deserialize, Serialize};

/// An outcome other than completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// A fault of the instruction: nothing architectural has changed.
    Fault(Exception),
    /// The instruction runs again at the same RIP, and counts as retired (a chunk of a REP).
    Again,
    /// A VM exit with its reason, qualification and so on already stored in [`crate::state::Vmx`];
    /// nothing else architectural has changed, RIP is the instruction's.
    VmExit,
    /// The instruction is not implemented: #UD, counted by name.
    Unimplemented,
}

/// An exception with its error code. SDM vol. 3, "Exception and Interrupt Reference".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exception {
    /// Vector 0 to 31.
    pub vector: u8,
    /// Error code, for the vectors that push one.
    pub error: Option<u32>,
    /// Linear address for #PF (goes to CR2).
    pub address: u64,
}

/// Vectors of the exceptions.
pub mod vector {
    #![expect(missing_docs, reason = "the names are the SDM's")]
    pub const DE: u8 = 0;
    pub const DB: u8 = 1;
    pub const NMI: u8 = 2;
    pub const BP: u8 = 3;
    pub const OF: u8 = 4;
    pub const BR: u8 = 5;
    pub const UD: u8 = 6;
    pub const NM: u8 = 7;
    pub const DF: u8 = 8;
    pub const TS: u8 = 10;
    pub const NP: u8 = 11;
    pub const SS: u8 = 12;
    pub const GP: u8 = 13;
    pub const PF: u8 = 14;
    pub const MF: u8 = 16;
    pub const AC: u8 = 17;
    pub const MC: u8 = 18;
    pub const XM: u8 = 19;
}

impl Trap {
    /// A fault without an error code.
    pub const fn fault(vector: u8) -> Trap {
        Trap::Fault(Exception { vector, error: None, address: 0 })
    }

    /// A fault with an error code.
    pub const fn fault_code(vector: u8, error: u32) -> Trap {
        Trap::Fault(Exception { vector, error: Some(error), address: 0 })
    }

    /// #UD.
    pub const UD: Trap = Trap::fault(vector::UD);
    /// #NM.
    pub const NM: Trap = Trap::fault(vector::NM);
    /// #GP(0).
    pub const GP0: Trap = Trap::fault_code(vector::GP, 0);
    /// #SS(0).
    pub const SS0: Trap = Trap::fault_code(vector::SS, 0);
    /// #DE.
    pub const DE: Trap = Trap::fault(vector::DE);
}
