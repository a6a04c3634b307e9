//! Builds the freestanding programs of `hypervisor/` with a nested cargo and tells the frontend
//! where their ELF files are, for `include_bytes!(env!("STRATA_HYPERVISOR_ELF"))` and likewise
//! `STRATA_DOM0_ELF` and `STRATA_DOMU_ELF`.

#[path = "../hypervisor/runtime/programs.rs"]
mod programs;

use std::env;
use std::path::PathBuf;

const PROGRAMS: [(&str, &str); 3] = [
    ("strata-hypervisor", "STRATA_HYPERVISOR_ELF"),
    ("dom0", "STRATA_DOM0_ELF"),
    ("domu", "STRATA_DOMU_ELF"),
];

fn main() {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("..");
    let root = root.canonicalize().expect("the workspace's folder");
    for part in ["hypervisor", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(part).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    let target_dir = PathBuf::from(variable("OUT_DIR")).join("bare");
    let folder = programs::build(variable("CARGO").as_ref(), &root, &target_dir, "bare", "");
    for (program, name) in PROGRAMS {
        println!("cargo::rustc-env={name}={}", folder.join(program).display());
    }
}

#[expect(clippy::disallowed_methods, reason = "how cargo talks to build scripts")]
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
