//! Builds the freestanding programs of `hypervisor/` with a nested cargo: for `frontend/build.rs`,
//! which embeds them, and for tests of the same programs under another profile.

#[path = "flags.rs"]
pub(crate) mod flags;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The flags for freestanding code, with no path of this machine in the result.
fn rustflags(root: &Path) -> String {
    let mut flags = flags::freestanding(root);
    flags.push(format!("--remap-path-prefix={}=strata", root.display()));
    flags.join("\u{1f}")
}

/// Builds the programs of the workspace at `root` under `profile` with `features` besides those that they need, below
/// `target_dir`; the folder with their ELF files.
///
/// # Panics
/// When they do not build.
pub(crate) fn build(
    cargo: &OsStr,
    root: &Path,
    target_dir: &Path,
    profile: &str,
    features: &str,
) -> PathBuf {
    let mut cargo = Command::new(cargo);
    // What the outer cargo set for its build (wrappers of clippy, flags, profiles) is not for the
    // inner one.
    for (name, _) in std::env::vars_os() {
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
        .args(["--features", &format!("hypervisor/bare,guests/bare,{features}")])
        .args(["--profile", profile, "--target", TARGET, "--target-dir"])
        .arg(target_dir)
        .status()
        .unwrap_or_else(|error| panic!("cargo for the freestanding programs: {error}"));
    assert!(status.success(), "the freestanding programs of hypervisor/ do not build: {status}");
    target_dir.join(TARGET).join(profile)
}
