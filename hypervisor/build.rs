//! Gives each freestanding program its linker script; an ordinary build needs none of this.

use std::env::var_os;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=link");
    if var_os("CARGO_FEATURE_BARE").is_none() {
        return;
    }
    let root = var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let root = root.to_str().expect("the path of the repository is UTF-8");
    for (program, script) in
        [("strata-hypervisor", "hypervisor.ld"), ("dom0", "guest.ld"), ("domu", "guest.ld")]
    {
        for arg in
            ["-nostartfiles", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,-n"]
        {
            println!("cargo::rustc-link-arg-bin={program}={arg}");
        }
        println!("cargo::rustc-link-arg-bin={program}=-Wl,-T{root}/link/{script}");
    }
}
