//! The bundled type-1 hypervisor: a Xen-HVM-like host for dom0 and domUs, as a library whose logic
//! runs (and is tested) anywhere, and the freestanding program `strata-hypervisor`, built with the
//! feature `bare`. `frontend/build.rs` builds it, and the embedded guests `dom0` and `domu` of
//! `guests/`, which share nothing with it but `runtime/`: entry code, ports, the heap.
//!
//! Reading order: [`boot`] and [`cmdline`] (what the loader brings), [`memory`] over [`phys`] and
//! [`ept`] (frames, owners, second-level tables), [`vmx`] (VMX as data), [`xen`] (the guest ABI),
//! then `src/bin/hypervisor/`: `main.rs`, `host.rs` (the loop), `exits.rs`, `domains.rs`.
//!
//! # Booting
//! By PVH, multiboot 1 or multiboot 2, as an ELF file at 2 MiB. Each module's command line
//! describes it; see [`cmdline`]. The first kernel is dom0:
//! ```text
//! multiboot2 /strata-hypervisor until-domus-end
//! module2 /dom0   kernel name=dom0 memory=512M vcpus=1 -- console=hvc0
//! module2 /initrd initrd
//! module2 /domu   kernel name=a memory=256M -- console=ttyS0
//! ```
//! The hypervisor's own option: `until-domus-end` powers the machine off when the last domU has
//! ended; without it dom0's end does. Its lines on COM1 begin with `(hv) `, a domain's with its
//! name; domains with `console=own` share COM2, see [`multiplex`].
//!
//! # Invariants
//! - The hypervisor runs with interrupts off except while it idles; there is one processor.
//! - A guest reaches only frames that its EPT names; every such frame holds a reference.
//! - Floating-point state is saved as FXSAVE does, so guests see no XSAVE.
#![cfg_attr(not(test), no_std)]

extern crate alloc;
#[cfg(all(feature = "fuzz", not(test)))]
extern crate std;

pub mod acpi;
pub mod boot;
pub mod cmdline;
pub mod dirty_log;
pub mod ept;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod memory;
pub mod multiplex;
pub mod p2m;
pub mod phys;
pub mod ranges;
pub mod vmx;
pub mod xen;
