//! Hints for the compiler.

/// Tells the compiler that a path is rare.
#[cold]
pub(crate) fn rare() {}
