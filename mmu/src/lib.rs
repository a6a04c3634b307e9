//! mmu.
