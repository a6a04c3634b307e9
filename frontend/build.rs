//! Builds the freestanding programs of `hypervisor/` with a nested cargo and tells the frontend
//! where their ELF files are, for `include_bytes!(env!("STRATA_HYPERVISOR_ELF"))` and likewise
//! `STRATA_DOM0_ELF` and `STRATA_DOMU_ELF`.

#[path = "../hypervisor/runtime/flags.rs"]
mod flags;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "x86_64-unknown-linux-gnu";
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
    build(&root, &target_dir);
    for (program, name) in PROGRAMS {
        let elf = target_dir.join(TARGET).join("bare").join(program);
        println!("cargo::rustc-env={name}={}", elf.display());
    }
}

#[expect(clippy::disallowed_methods, reason = "how cargo talks to build scripts")]
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}

/// The flags for freestanding code, with no path of this machine in the result.
fn rustflags(root: &Path) -> String {
    let mut flags = flags::freestanding(root);
    flags.push(format!("--remap-path-prefix={}=strata", root.display()));
    flags.join("\u{1f}")
}

fn build(root: &Path, target_dir: &Path) {
    let mut cargo = Command::new(variable("CARGO"));
    // What the outer cargo set for this build (wrappers of clippy, flags, profiles) is not for
    // the inner one.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let inherited = ["CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_TARGET_DIR"];
        if name.starts_with("CARGO") && !inherited.contains(&name.as_str())
            || name.starts_with("RUSTC_W")
            || name.starts_with("CLIPPY")
            || name == "RUSTFLAGS"
            || name == "RUSTDOCFLAGS"
        {
            cargo.env_remove(name);
        }
    }
    let status = cargo
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(root))
        .env("CARGO_PROFILE_BARE_DEBUG", "0")
        .env("CARGO_INCREMENTAL", "0")
        .current_dir(root)
        .args(["build", "-q", "-p", "hypervisor", "-p", "guests", "--bins", "--locked"])
        .args(["--features", "hypervisor/bare,guests/bare"])
        .args(["--profile", "bare", "--target", TARGET, "--target-dir"])
        .arg(target_dir)
        .status()
        .unwrap_or_else(|error| panic!("cargo for the freestanding programs: {error}"));
    assert!(status.success(), "the freestanding programs of hypervisor/ do not build: {status}");
}
