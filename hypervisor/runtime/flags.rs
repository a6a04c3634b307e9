//! The flags that compile and link the freestanding programs: `frontend/build.rs` gives them to
//! cargo, the bench to rustc.

use std::path::Path;

/// Flags for code without an operating system: no relocation, no red zone (interrupts use the
/// same stack), nothing that unwinds, and a link without start files and libraries.
const FREESTANDING: [&str; 11] = [
    "-Crelocation-model=static",
    "-Cno-redzone=yes",
    "-Cforce-unwind-tables=no",
    "-Cno-vectorize-slp",
    "-Cstrip=symbols",
    "-Clink-arg=-nostartfiles",
    "-Clink-arg=-nostdlib",
    "-Clink-arg=-static",
    "-Clink-arg=-no-pie",
    "-Clink-arg=-Wl,--build-id=none",
    "-Clink-arg=-Wl,-n",
];

/// The flags of rustc for a freestanding program of the workspace at `root`.
pub(crate) fn freestanding(root: &Path) -> Vec<String> {
    let script = root.join("hypervisor/runtime/program.ld");
    let link = format!("-Clink-arg=-Wl,-T{}", script.display());
    FREESTANDING.iter().map(|flag| (*flag).to_owned()).chain([link]).collect()
}
