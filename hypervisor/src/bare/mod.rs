//! What every freestanding program needs: the C memory functions, ports, a heap.

pub mod cpu;
pub mod heap;
mod mem;
